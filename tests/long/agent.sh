#!/usr/bin/env bash
# The agent's long forms: 200 kills of real agents; power cuts on every geometry, every byte of the small one, more pairs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
OTAD_KILLS=${OTAD_KILLS:-200} /usr/bin/python3 -m pytest -s -n0 tests/e2e/test_agent_kill.py
cmake --preset dev >/dev/null
ninja -C build/dev --quiet powercut
build/dev/tests/powercut --geometry all --pairs 2000
build/dev/tests/powercut --geometry 0 --bytes --pairs 20000
