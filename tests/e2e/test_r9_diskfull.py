"""R9, short: see diskfull.py. The long form is tests/long/R9.py."""
import subprocess

import pytest

import diskfull
import stalls
from harness import programs_missing

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl")), reason="skipped: programs missing")


def test_full_disk(make_fleet, folder):
    if subprocess.run(stalls.alone(["mount", "-t", "tmpfs", "tmpfs", "/mnt"], folder, []), check=False,
                      stderr=subprocess.DEVNULL).returncode:
        pytest.skip("skipped: needs root")
    diskfull.rounds(make_fleet, folder, 2)
