"""A cancel says how sure it is, and what the device says next settles it."""
import time

import pytest

import rig
from faults import prepared
from harness import programs_missing, wait_for

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl")), reason="skipped: programs missing")

TICKET_S = 60  # a device arms by a ticket of the last minute


@pytest.fixture(name="told")
def fixture_told(make_fleet):
    """A device that was told this moment to install 1.0.0; nothing of that is on the disk for certain."""
    fleet = make_fleet(broker=False)
    _, _, device = prepared(fleet)
    api = rig.Api(fleet.otad.port, fleet.token())
    fleet.push = fleet.ctl.json("push", fleet.image("1.0.0", size=3000), "--all")[0]["id"]
    status, ticket = device.checkin(api, state=rig.CONFIRMED)
    assert status == 200 and not ticket.get(7, 0) & 1
    device.digest = ticket[5][0]

    def look():
        return api.json(f"/v1/devices/{device.name}")["assignment"]

    yield fleet, device, api, look
    api.close()


@pytest.mark.parametrize("what", ["push", "device"])
def test_in_time(told, what):
    fleet, device, api, look = told
    named = [fleet.push] if what == "push" else ["--device", device.name]
    answer = fleet.ctl.json("cancel", *named)
    assert answer.pop("ended", None) is (True if what == "push" else None)
    assert (answer["withdrawn"], answer["committed"], answer["unsure"]) == (0, 0, 1)
    again = fleet.ctl.json("cancel", *named)
    assert not again.pop("ended", False) and again == answer, "asked again it is no surer"
    assert TICKET_S - 30 < answer["until"] - time.time() < TICKET_S + 60
    assert look()["state"] == "offered" and look()["withdrawn"]
    assert "withdrawn, but its last ticket may still install it" in fleet.ctl("device", "show", device.name).out
    api.close()
    fleet.otad.kill9()
    fleet.otad.start()
    # It asked again, and got no ticket that names anything: it cannot begin.
    _, ticket = device.checkin(api, state=rig.IDLE)
    assert 5 not in ticket
    assert look()["state"] == "cancelled"
    assert "it was withdrawn in time" in fleet.ctl("log", device.name).out


@pytest.mark.parametrize("what", ["push", "device"])
def test_told_just_before_a_kill(told, what):
    """The kill came before the group in which "offered" is stored, or after it: nobody can know which."""
    fleet, device, api, look = told
    api.close()
    fleet.otad.kill9()
    fleet.otad.start()
    started = time.time()
    assert look()["state"] in ("waiting", "offered")
    named = [fleet.push] if what == "push" else ["--device", device.name]
    answer = fleet.ctl.json("cancel", *named)
    assert (answer["withdrawn"], answer["committed"], answer["unsure"]) == (0, 0, 1)
    assert TICKET_S - 30 < answer["until"] - started < TICKET_S + 60
    device.checkin(api, state=rig.TRIAL, running=(9, device.digest))
    assert look()["state"] == "trial", "it had been told"


def test_assigned_after_a_kill(told):
    """What is newer than the start was never told by another server."""
    fleet, device, api, look = told
    api.close()
    fleet.otad.kill9()
    fleet.otad.start()
    device.checkin(api, state=rig.CONFIRMED, running=(9, device.digest))
    assert look()["state"] == "running"
    started = int(time.time())
    wait_for("the next second", lambda: int(time.time()) > started)
    newer = fleet.ctl.json("push", fleet.image("1.1.0", size=3000), "--all")[0]["id"]
    answer = fleet.ctl.json("cancel", newer)
    assert (answer["withdrawn"], answer["committed"], answer["unsure"]) == (1, 0, 0)


def test_too_late(told):
    fleet, device, api, look = told
    assert "1 may still install it" in fleet.ctl("cancel", fleet.push).out
    for state, want in ((rig.TRIAL, "trial"), (rig.CONFIRMED, "running")):
        _, ticket = device.checkin(api, state=state, running=(9, device.digest))
        assert 5 not in ticket
        assert look()["state"] == want
    row = api.json(f"/v1/rollouts/{fleet.push}")
    assert row["state"] == "cancelled" and row["counts"]["running"] == 1


def test_in_time_by_its_own_word_and_installed(told):
    """Its word said that it had not begun, and it had been told: what it runs then is told, not the end rewritten."""
    fleet, device, api, look = told
    fleet.ctl("cancel", fleet.push)
    device.checkin(api, state=rig.IDLE)
    assert look()["state"] == "cancelled" and look()["late"] is False
    for state in (rig.TRIAL, rig.CONFIRMED, rig.IDLE):
        _, ticket = device.checkin(api, state=state, running=(9, device.digest))
        assert 5 not in ticket
    assert look()["state"] == "cancelled" and look()["late"] is True
    assert f"! {device.name[:12]} runs 1.0.0 all the same: it was cancelled too late; push what it should run" in fleet.ctl("status").out
    assert "1.0.0 cancelled, but runs it" in fleet.ctl("device", "list").out
    assert "it was cancelled too late; push what it should run" in fleet.ctl("device", "show", device.name).out
    lines = [row for row in fleet.ctl.json("log", device.name) if row["kind"] == "late"]
    assert [row["text"] for row in lines] == ["runs 1.0.0 all the same: it was withdrawn too late"], "told once"
    # What it goes on to run ends it.
    device.checkin(api, state=rig.CONFIRMED, running=(9, bytes(32)))
    assert look()["late"] is False and "!" not in fleet.ctl("status").out


def test_held_a_moment_too_late(told):
    """Staged on a device that is put on hold can be taken back; but it was told to begin a moment ago."""
    fleet, device, api, look = told
    device.checkin(api, state=rig.STAGED, target=[device.digest, 1, 3000])
    assert look()["state"] == "staged"
    assert fleet.ctl.json("cancel", "--device", device.name)["committed"] == 1
    fleet.ctl("device", "hold", device.name)
    answer = fleet.ctl.json("cancel", "--device", device.name)
    assert (answer["withdrawn"], answer["committed"], answer["unsure"]) == (0, 0, 1)
    _, ticket = device.checkin(api, state=rig.STAGED, target=[device.digest, 1, 3000])
    assert 5 not in ticket
    assert look()["state"] == "cancelled"


def test_superseded_a_moment_too_late(told):
    fleet, device, api, look = told
    run = fleet.ctl("push", fleet.image("1.1.0", size=3000), "--all")
    assert "1 may still install what they were told before: the last ticket there is good until" in run.err
    assert "took its place, but its last ticket may still install it first" in fleet.ctl("log", device.name).out
    # it goes by the newest ticket once it has asked again
    _, ticket = device.checkin(api, state=rig.IDLE)
    assert ticket[5][0] != device.digest
    assert look()["version"] == "1.1.0"
