"""R1, short: see kill9.py. The long form is tests/long/R1.py."""
import pytest

from harness import programs_missing
from kill9 import kills

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl")), reason="skipped: programs missing")


def test_nothing_acknowledged_is_lost(make_fleet):
    fleet = make_fleet(broker=False)
    fleet.init()
    fleet.board()
    book, _ = kills(fleet, 10, 0.4, check_every=5)
    assert all(book.acks.values()), book.acks
