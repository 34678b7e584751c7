"""What the tables, the lines with "!" and the log say of devices and pushes agrees with what is so, and what they advise helps."""
import shutil

import pytest

import rig
from faults import prepared
from harness import programs_missing, wait_for

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")

OLD = "older; push what it should run again: otactl push FILE --to lamp-0"


@pytest.fixture(name="one")
def fixture_one(make_fleet):
    """One device that the test speaks for, named lamp-0, and its pushes: push(version) -> (id, (sequence, digest))."""
    fleet = make_fleet(broker=False)
    _, _, device = prepared(fleet)
    api = rig.Api(fleet.otad.port, fleet.token())
    fleet.ctl("device", "rename", device.name, "lamp-0")

    def push(version, *more):
        ident = fleet.ctl.json("push", fleet.image(version, size=3000), "--all", *more)[0]["id"]
        release = fleet.ctl.json("release", "show", f"lamp:{version}")
        return ident, (release["sequence"], bytes.fromhex(release["digest"]))

    yield fleet, device, api, push
    api.close()


def row_of(text, name="lamp-0"):
    return next(line for line in text.splitlines() if line.startswith(name + " "))


def kinds(fleet):
    return [row["kind"] for row in fleet.ctl.json("log", "lamp-0")]


def test_an_older_backup(fleet, folder):
    """The device runs what the restored server never heard of: a retry would be refused, a push is not."""
    [agent] = fleet.add(1)
    push = fleet.ctl.json("push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "100s")[0]["id"]
    assert fleet.otad.stop() == 0
    shutil.copytree(fleet.otad.data, folder / "older")
    fleet.otad.start()
    fleet.ctl("push", fleet.image("1.1.0"), "--all", "--wait", "--timeout", "100s")
    assert fleet.otad.stop() == 0
    shutil.rmtree(fleet.otad.data)
    shutil.move(folder / "older", fleet.otad.data)
    fleet.otad.start()
    wait_for("its word", lambda: fleet.devices()["lamp-0"]["drifted"], 60, alive=[agent])

    def is_said():
        status = fleet.ctl("status").out
        assert f"! lamp-0 runs a newer release, which this otad does not know, and refuses 1.0.0, which is {OLD}" in status
        assert "retry" not in status and OLD in fleet.ctl("status", "lamp-0").out, status

    is_said()
    assert "drifted: runs something newer" in row_of(fleet.ctl("status").out)
    assert "which it should run, and refuses that: push again what it should run" in fleet.ctl("log", "lamp-0").out
    # Who retries all the same is told the same again.
    fleet.ctl("retry", push)
    wait_for("its refusal", lambda: fleet.devices()["lamp-0"]["assignment"]["state"] == "failed", 60, alive=[agent])
    is_said()
    assert fleet.devices()["lamp-0"]["assignment"]["older"] is True
    fleet.ctl("push", fleet.image("1.1.0"), "--to", "lamp-0", "--wait", "--timeout", "100s")
    assert "!" not in fleet.ctl("status").out
    assert fleet.devices()["lamp-0"]["assignment"]["older"] is False


def test_an_older_release(one):
    """The same where both are known here."""
    fleet, device, api, push = one
    old = push("1.0.0")[1]
    newer = push("1.1.0")[1]
    device.checkin(api, state=rig.CONFIRMED, running=newer)
    again, _ = push("1.0.0", "-y")
    device.checkin(api, state=rig.IDLE, running=newer, result=[old[1], 1, 10, 104, 0])
    status = fleet.ctl("status").out
    assert "! lamp-0 runs 1.1.0 and refuses 1.0.0, which is older; to go back: otactl push FILE --to lamp-0 --version NEW" in status
    assert "retry" not in status and "1.0.0 failed: below the floor" in row_of(status), status
    assert again


def test_drifted_and_back(one):
    """A copy of its flash spoke once."""
    fleet, device, api, push = one
    old = push("1.0.0")[1]
    device.checkin(api, state=rig.CONFIRMED, running=old)
    ident, new = push("1.1.0")
    device.checkin(api, state=rig.CONFIRMED, running=new)
    device.checkin(api, state=rig.IDLE, running=old)
    assert kinds(fleet)[0] == "drifted" and "! lamp-0 should run 1.1.0" in fleet.ctl("status").out
    for _ in range(2):
        device.checkin(api, state=rig.IDLE, running=new)
    log = fleet.ctl.json("log", "lamp-0")
    assert log[0]["text"] == "runs 1.1.0 again" and log[0]["rollout"] == ident and log[1]["kind"] == "drifted", log
    assert "!" not in fleet.ctl("status").out


def test_marks_are_the_same_everywhere(one):
    fleet, device, api, push = one
    ident, new = push("1.1.0")

    def cells(mark, update):
        for words in (["status"], ["status", ident], ["rollout", "show", ident], ["device", "list"]):
            row = row_of(fleet.ctl(*words).out)
            assert mark in row and update in row and len(row) <= 80, row

    device.checkin(api, state=rig.TRIAL, running=new)
    cells("1.1.0 (trial)", "trial")
    device.checkin(api, state=rig.IDLE, running=new, flags=4, result=[new[1], 1, 11, 126, 0])
    cells("1.1.0 (failed)", "failed: ill, still runs")
    assert "there is nothing to go back to" in fleet.ctl("status", "lamp-0").out


def test_what_an_ended_push_reached_and_what_is_now(one):
    fleet, device, api, push = one
    first, old = push("1.0.0")
    device.checkin(api, state=rig.CONFIRMED, running=old)
    assert "1 running" in fleet.ctl("status", first).out
    _, new = push("1.1.0")
    assert "1 running" in fleet.ctl("status", first).out, "it does still"
    device.checkin(api, state=rig.CONFIRMED, running=new)
    for words in (["status", first], ["rollout", "list"]):
        assert "1 ran it, none now" in fleet.ctl(*words).out
    row = fleet.ctl.json("rollout", "show", first)
    assert (row["counts"]["running"], row["gone"], row["drifted"]) == (1, 1, 0)


def test_what_runs_in_place_of_it_is_named_in_the_log(one):
    fleet, device, api, push = one
    _, old = push("1.0.0")
    device.checkin(api, state=rig.CONFIRMED, running=old)
    _, new = push("1.1.0")
    device.checkin(api, state=rig.CONFIRMED, running=new)
    device.checkin(api, state=rig.CONFIRMED, running=old)
    assert "runs 1.0.0; it should run 1.1.0: otactl retry " in fleet.ctl("log", "lamp-0").out
    device.checkin(api, state=rig.CONFIRMED, running=new)
    device.checkin(api, state=rig.CONFIRMED, running=(old[0], bytes(32)))
    assert "runs something else; it should run 1.1.0: otactl retry " in fleet.ctl("log", "lamp-0").out


def test_an_unknown_release_without_a_push(one):
    fleet, device, api, push = one
    device.checkin(api, state=rig.CONFIRMED, running=(7, bytes(32)))
    shown = fleet.ctl("status", "lamp-0").out
    assert "unknown release" in shown and "this otad does not know it" in shown, shown
    assert "otactl push FILE --to lamp-0" in shown and max(map(len, shown.splitlines())) <= 80, shown
    # Not while just that is under way.
    push("1.0.0")
    assert "otactl push FILE" not in fleet.ctl("status", "lamp-0").out


def test_an_unknown_release_after_a_cancel(one):
    """What was to be installed last ended; what runs came after the backup."""
    fleet, device, api, push = one
    ident, (sequence, _) = push("1.0.0")
    fleet.ctl("cancel", ident)
    device.checkin(api, state=rig.IDLE)
    device.checkin(api, state=rig.CONFIRMED, running=(sequence + 9, bytes(32)))
    status = fleet.ctl("status").out
    assert "! lamp-0 runs a newer release, which this otad does not know, and refuses 1.0.0" in status, status
    assert "1.0.0 cancelled" in row_of(status)


def test_an_empty_device_behind_a_cancelled_push(one):
    """No retry brings back what it ran: that push was not its last one."""
    fleet, device, api, push = one
    _, new = push("1.0.0")
    device.checkin(api, state=rig.CONFIRMED, running=new)
    fleet.ctl("cancel", push("2.0.0")[0])
    device.checkin(api, state=rig.IDLE, running=new)
    assert "!" not in fleet.ctl("status").out
    device.checkin(api, state=rig.IDLE, running=None)
    status = fleet.ctl("status").out
    assert "! lamp-0 reports nothing of ours and ran 1.0.0; push what it should run: otactl push FILE --to lamp-0" in status, status
    assert "it ran 1.0.0; push what it should run:" in fleet.ctl("status", "lamp-0").out
    push("3.0.0")
    assert "nothing of ours" not in fleet.ctl("status").out


@pytest.mark.parametrize("what", ["push", "device"])
def test_a_cancel_that_came_too_late_is_in_the_log(one, what):
    fleet, device, api, push = one
    ident, new = push("1.0.0")
    device.checkin(api, state=rig.TRIAL, running=new)
    assert "1 past the point of no return" in fleet.ctl("cancel", *([ident] if what == "push" else ["--device", "lamp-0"])).out
    assert kinds(fleet)[0] == "cancel-late"
    assert "cancelled too late: nothing takes it back here any more" in fleet.ctl("log", "lamp-0").out
    device.checkin(api, state=rig.CONFIRMED, running=new)
    assert kinds(fleet)[0] == "running"


def test_who_was_replaced_is_no_device_of_the_fleet(fleet):
    fleet.add(2)
    fleet.ctl("device", "replace", "lamp-0", "lamp-1", "-y")
    status, listed = fleet.ctl("status").out, fleet.ctl("device", "list").out
    assert "revoked" not in "\n".join(line for line in status.splitlines() if line.startswith("lamp-")), status
    assert "1 replaced, not shown; see: otactl device list\n" in status
    assert "revoked" in listed
    gone = next(line.split()[0] for line in listed.splitlines() if " revoked " in line)
    assert f"forget it: otactl device remove {gone}\n" in fleet.ctl("device", "show", gone).out
    fleet.ctl("device", "remove", gone, "-y")
    assert "not shown" not in fleet.ctl("status").out
    told = fleet.ctl.json("status")
    assert [row["state"] for row in told["fleet"]] == ["approved"] and told["devices"]["total"] >= 1


def test_json_has_what_the_table_has(one):
    fleet, device, api, push = one
    ident, new = push("1.0.0")
    device.checkin(api, state=rig.TRIAL, running=new)
    [row] = fleet.ctl.json("status")["fleet"]
    [listed] = fleet.ctl.json("device", "list")
    assert row == listed and row["name"] == "lamp-0" and row["id"] == device.name
    assert row["running"]["confirmed"] is False and row["assignment"]["state"] == "trial" and row["alarm"] is None
    assert row["assignment"]["rollout"] == ident
    summary = fleet.ctl.json("status", "--summary")
    assert "fleet" not in summary and summary["devices"]["approved"] == 1
    text = fleet.ctl("status", "--summary").out
    assert "devices: 1; 1 approved, 0 pending, 0 on hold, 1 seen in the last day\n1 run lamp 1.0.0\n" in text, text
    assert "lamp-0" not in text and ident[:8] in text
    assert "of all devices" in fleet.ctl.run("status", "--summary", "lamp-0", code=2).err


def test_who_is_on_hold_is_counted(one):
    fleet, _, _, _ = one
    image = fleet.image("1.0.0", size=3000)
    assert "to: 1 device of board lamp\n" in fleet.ctl("push", image, "--all", "--dry-run").err
    fleet.ctl("device", "hold", "lamp-0")
    assert "to: 1 device of board lamp (1 on hold: fetched, not installed)\n" in fleet.ctl("push", image, "--all", "--dry-run").err
