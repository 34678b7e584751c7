"""A device that lost what it was seen running, or never had it: the tables say what it reports, and a retry mends it."""
import pytest

from harness import Agent, programs_missing, wait_for

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")


def drifted(fleet, name):
    return lambda: fleet.devices()[name]["drifted"]


@pytest.fixture(name="ran")
def fixture_ran(fleet):
    """One device on 1.0.0, and the push that brought it."""
    fleet.add(1)
    fleet.push = fleet.ctl.json("push", fleet.image("1.0.0", size=60_000), "--all", "--wait", "--timeout", "100s")[0]["id"]
    assert "!" not in fleet.ctl("status").out
    assert fleet.devices()["lamp-0"]["drifted"] is False
    return fleet


def row_of(text, name):
    return next(line for line in text.splitlines() if line.startswith(name + " "))


def is_said(fleet, name):
    """Every place that shows the device says the same."""
    status = fleet.ctl("status").out
    assert f"! {name} should run 1.0.0 and reports nothing of ours; offer it again: otactl retry {fleet.push[:8]}" in status
    assert "nothing of ours" in row_of(status, name) and "drifted: should run 1.0.0" in row_of(status, name)
    assert "1 ran it, none now" in fleet.ctl("rollout", "list").out
    assert "drifted: should run 1.0.0" in row_of(fleet.ctl("status", fleet.push).out, name)
    assert f"it should run 1.0.0; offer it again: otactl retry {fleet.push[:8]}" in fleet.ctl("device", "show", name).out
    assert f"runs nothing of ours; it should run 1.0.0: otactl retry {fleet.push[:8]}" in fleet.ctl("log", name).out
    rollout = fleet.ctl.json("rollout", "show", fleet.push)
    assert rollout["counts"]["running"] == 1 and rollout["drifted"] == 1


def is_mended(fleet, name):
    assert "offered again to 1 device\n" in fleet.ctl("retry", fleet.push).out
    fleet.wait_running("1.0.0", [name])
    wait_for("the push to be done", lambda: fleet.ctl.json("rollout", "show", fleet.push)["state"] == "done", 60)
    shown = fleet.ctl.json("rollout", "show", fleet.push)
    assert shown["drifted"] == 0 and len(shown["assignments"]) == 1
    assert not fleet.devices()[name]["drifted"] and "!" not in fleet.ctl("status").out
    assert "nothing to offer again" in fleet.ctl("retry", fleet.push, code=1).err


def test_a_lost_flash(ran):
    serial = ran.devices()["lamp-0"]["serial"]
    ran.agents[0].stop()
    path = ran.folder / "new.prov"
    ran.ctl("provision", "--board", "lamp", "--id", serial, "-o", path)
    agent = Agent("lamp-new", ran.folder, path).start()
    ran.agents.append(agent)
    wait_for("its new key", lambda: ran.devices()["lamp-0"]["rekey"], 60, alive=[agent])
    ran.ctl("device", "approve", "lamp-0")
    wait_for("its first word", drifted(ran, "lamp-0"), 60, alive=[agent])
    is_said(ran, "lamp-0")
    # The server forgets nothing.
    ran.otad.kill9()
    ran.otad.start()
    is_said(ran, "lamp-0")
    is_mended(ran, "lamp-0")


def test_a_replaced_device(ran):
    ran.agents[0].stop()
    new = ran.agent("lamp-new")
    wait_for("the new device", lambda: "lamp-new" in ran.devices(), 60, alive=[new])
    wait_for("its first word", lambda: ran.devices()["lamp-new"]["last_seen"], 60, alive=[new])
    ran.ctl("device", "replace", "lamp-0", "lamp-new", "-y")
    assert ran.devices()["lamp-0"]["drifted"] is True
    status = ran.ctl("status").out
    assert f"! lamp-0 should run 1.0.0 and reports nothing of ours; offer it again: otactl retry {ran.push[:8]}" in status
    is_mended(ran, "lamp-0")


def test_a_newer_push_is_no_drift(ran):
    ran.ctl("push", ran.image("1.1.0", size=60_000), "--all", "--wait", "--timeout", "100s")
    assert ran.ctl.json("rollout", "show", ran.push)["drifted"] == 0
    assert "nothing to offer again" in ran.ctl("retry", ran.push, code=1).err
    assert "!" not in ran.ctl("status").out


def test_every_end_is_in_the_log(ran):
    """A push taken back, one that another took the place of, and one of what runs already."""
    ran.agents[0].stop()
    taken = ran.ctl.json("push", ran.image("1.1.0", size=60_000), "--all")[0]["id"]
    ran.ctl("push", ran.image("1.2.0", size=60_000), "--all")
    last = ran.ctl.json("push", ran.image("1.3.0", size=60_000), "--all")[0]["id"]
    ran.ctl("cancel", last)
    again = ran.ctl.json("push", ran.folder / "1.0.0.bin", "--all")[0]["id"]
    wait_for("it to be done", lambda: ran.ctl.json("rollout", "show", again)["state"] == "done", 60)
    log = ran.ctl.json("log", "lamp-0")
    ends = {(row["kind"], row["release"]): row["text"] for row in log if row["kind"] in ("superseded", "cancelled", "cancelling")}
    assert set(ends) in ({("superseded", "1.1.0"), ("superseded", "1.2.0"), (kind, "1.3.0")} for kind in ("cancelled", "cancelling"))
    assert f"push {last[:8]} took its place" in ends["superseded", "1.2.0"] and taken
    assert [row["text"] for row in log if row["rollout"] == again and row["kind"] == "running"] == ["runs 1.0.0 already"]
