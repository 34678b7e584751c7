#!/usr/bin/env bash
# Build the container images "otad" and "otad-broker".
# With a Docker engine: docker build. Without: buildah, on a Debian base made here by debootstrap, all of it below
# build/image (./dev clean removes it); prints the command that shows the images.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
base=localhost/debian:bookworm-slim

if docker version >/dev/null 2>&1; then
	docker build --target broker -t otad-broker .
	docker build -t otad .
	docker image ls --filter reference='otad*'
	exit 0
fi

[ "$(id -u)" = 0 ] || { echo "image: no Docker engine answers; without one this needs root" >&2; exit 1; }
store=$PWD/build/image
mkdir -p "$store"
options=(--root "$store/storage" --runroot "$store/run" --storage-driver vfs)

if ! buildah "${options[@]}" inspect --type image "$base" >/dev/null 2>&1; then
	echo "making the Debian base with debootstrap"
	tree=$(mktemp -d "$store/base.XXXXXX")
	trap 'rm -rf "$tree"' EXIT
	debootstrap --variant=minbase bookworm "$tree" >"$store/debootstrap.log" 2>&1 ||
		{ tail -n 20 "$store/debootstrap.log" >&2; exit 1; }
	chmod 755 "$tree" # the root folder of every container
	# As the public image of this name is: without documents, and packages are not kept once they are installed.
	rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/* "$tree"/usr/share/{doc,man,info,locale}/*
	echo 'DPkg::Post-Invoke { "rm -rf /var/cache/apt/*.bin /var/cache/apt/archives/*.deb || true"; };' \
		>"$tree/etc/apt/apt.conf.d/clean"
	printf 'path-exclude /usr/share/%s/*\n' doc man info locale >"$tree/etc/dpkg/dpkg.cfg.d/slim"
	tar -C "$tree" -c . | podman "${options[@]}" import -q - "$base" >/dev/null
fi

# $1 is the target and the name of the image.
build() {
	buildah "${options[@]}" bud --isolation chroot --network host --format docker --pull-never \
		--build-arg BASE="$base" --target "$1" -t "localhost/$2" .
}
build broker otad-broker
[ "${1:-}" = broker ] && exit 0
build otad otad
buildah "${options[@]}" images
printf 'images are below %s: buildah %s images\n' "$store" "${options[*]}"
