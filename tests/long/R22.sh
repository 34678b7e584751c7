#!/usr/bin/env bash
# R22 quality gates: both compilers with every warning an error, gcc's analyzer, the lint, coverage of the core.
# usage: R22.sh [gcc|clang|analyzer|lint|coverage]...   (all of them without an argument)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
failed=0
wanted=" ${*:-gcc clang analyzer lint coverage} "
gate() {
	local name=$1
	shift
	case $wanted in *" $name "*) ;; *) return 0 ;; esac
	if "$@" >"build/R22-$name.log" 2>&1; then
		echo "ok      $name"
	else
		echo "FAILED  $name (build/R22-$name.log)"
		tail -n 25 "build/R22-$name.log"
		failed=1
	fi
}
# shellcheck disable=SC2317 # run by gate
build() { cmake --preset "$1" && ninja -C "build/$1" -k 0; }
# shellcheck disable=SC2317 # run by gate
covered() {
	cmake -G Ninja -B build/coverage -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS='--coverage -Og' -DOTAD_TESTS=ON &&
		ninja -C build/coverage && find build/coverage -name '*.gcda' -delete &&
		ctest --test-dir build/coverage -j "$(nproc)" -L 'unit|sim|fuzz|attack'
}
gate gcc build dev
gate clang build clang
gate analyzer build analyze
gate lint tests/lint/run.py
gate coverage covered
case $wanted in
*" coverage "*)
	# What writes flash, and what says that it may be run, is covered in every branch.
	needs=()
	for file in src/journal.c src/slot.c src/trust.c src/release.c boot/boot.c; do
		needs+=(--need "device-agent/$file:100:100")
	done
	for part in proto db device-agent/src device-agent/boot \
		server/{plan,registry,sign,follow,h_checkin,stranger,h_enroll}.c; do
		needs+=(--need "$part:90:80")
	done
	tests/tools/coverage.py build/coverage "${needs[@]}" || failed=1
	;;
esac
exit "$failed"
