#!/usr/bin/env bash
# Every fuzz target on its corpus: tests/tools/fuzz.sh MINUTES (in all). What is found new stays in build/fuzz/corpus.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
minutes=${1:-2}
[[ $minutes =~ ^[0-9]+$ ]] || { echo "fuzz: minutes is a number" >&2; exit 2; }

mapfile -t targets < <(find build/fuzz -type f -executable -name 'fuzz_*' ! -path '*/CMakeFiles/*' | sort)
[ "${#targets[@]}" -gt 0 ] || { echo "fuzz: there are no targets" >&2; exit 1; }
jobs=$(nproc)
each=$((minutes * 60 * jobs / ${#targets[@]}))
[ "$each" -gt 0 ] || each=1
mkdir -p build/fuzz/crash
echo "${#targets[@]} targets, $each s each, $jobs at a time"

one() {
	local target=$1 seconds=$2 name seeds=() log
	name=$(basename "$target")
	mkdir -p "build/fuzz/corpus/$name"
	for dir in "tests/fuzz/corpus/$name" "tests/fuzz/corpus/${name#fuzz_}"; do
		if [ -d "$dir" ]; then seeds+=("$dir"); fi
	done
	log=build/fuzz/$name.log
	if "$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 \
		-artifact_prefix="build/fuzz/crash/$name-" "build/fuzz/corpus/$name" "${seeds[@]}" >"$log" 2>&1; then
		echo "ok      $name  $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs"
	else
		echo "FAILED  $name  (log: $log)"
		tail -n 30 "$log"
		return 1
	fi
}
export -f one
printf '%s\0' "${targets[@]}" | xargs -0 -P "$jobs" -I{} bash -c 'one "$@"' _ {} "$each"
