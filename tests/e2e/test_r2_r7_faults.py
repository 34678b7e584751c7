"""R2 and R7, short: kills, power cuts and errors at file calls; see faults.py. The long forms are tests/long/R2.py and R7.py."""
import pytest

import faults
from harness import programs_missing

pytestmark = [pytest.mark.skipif(bool(programs_missing("otad", "otactl")), reason="skipped: programs missing"),
              pytest.mark.skipif(not faults.library(), reason="skipped: no fault library in this build")]


def test_killed_at_file_calls(make_fleet):
    assert faults.kill_points(make_fleet(broker=False), every=20) > 5


def test_power_cuts_at_file_calls(make_fleet):
    assert faults.kill_points(make_fleet(broker=False), every=40, undo=faults.DATA | faults.NAMES) > 5


def test_power_cuts_in_the_first_start(folder):
    faults.first_start_points(folder, every=25, undo=faults.DATA | faults.NAMES)


def test_errors_of_file_calls(make_fleet):
    assert faults.fault_points(make_fleet(broker=False), every=50) > 10
