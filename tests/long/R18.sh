#!/usr/bin/env bash
# R18 races: everything that runs threads, under ThreadSanitizer: unit tests, the end-to-end tests, then 60 s of everything at once.
# A report fails its test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cmake --preset tsan >/dev/null
ninja -C build/tsan --quiet
failed=0
ctest --test-dir build/tsan -j "$(nproc)" --output-on-failure -L unit || failed=1
OTAD_BIN=$PWD/build/tsan/bin OTAD_TEST_PATIENCE=3 python3 -m pytest tests/e2e || failed=1
OTAD_BIN=$PWD/build/tsan/bin OTAD_TEST_PATIENCE=3 tests/long/load.py --seconds 60 || failed=1
exit "$failed"
