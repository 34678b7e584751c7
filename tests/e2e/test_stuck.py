"""Firmware that failed its trial where there is nothing to go back to, or after it was seen running: nobody calls that a
success."""
import pytest

from harness import programs_missing, wait_for

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")

JOURNAL = slice(20480, 28672)  # of the default flash file
STILL = "ill, still runs"


def device(fleet):
    return fleet.devices()["lamp-0"]


def state(fleet):
    return device(fleet)["assignment"]["state"]


def verdict(folder, code):
    path = folder / "verdict"
    path.with_suffix(".part").write_text(str(code))
    path.with_suffix(".part").rename(path)
    return f"exit $(cat {path})"


def test_ill_on_a_new_device(fleet, folder):
    [agent] = fleet.add(1, args=["--exec", verdict(folder, 1)])
    push = fleet.ctl.run("push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "100s")
    assert push.code == 1 and STILL in push.out, push
    assert "seen running it" not in push.out + push.err or "0 of 1 seen running it" in push.out + push.err, push
    assert device(fleet)["running"]["confirmed"] is False and device(fleet)["running"]["stuck"] is True
    shown = fleet.ctl("device", "show", "lamp-0").out
    assert "1.0.0 (failed)" in shown and "there is nothing to go back to" in shown, shown
    assert f"ill: release {device(fleet)['running']['sequence']}: new firmware was not well; it goes on running, for " \
           "there is nothing to go back to\n" in agent.text()
    assert "reverting" not in agent.text()
    # The same release again is no success because it runs; it is tried anew, where it is.
    push = fleet.ctl.run("push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "100s")
    assert push.code == 1 and STILL in push.out, push
    fleet.otad.restart()
    verdict(folder, 0)
    fleet.ctl("retry", device(fleet)["assignment"]["rollout"])
    fleet.wait_running("1.0.0", deadline_s=60)
    wait_for("success to be told", lambda: state(fleet) == "running", 60, alive=[agent])
    assert device(fleet)["running"]["confirmed"] is True and device(fleet)["running"]["stuck"] is False


def test_a_held_release_that_runs_by_accident(fleet, folder):
    [agent] = fleet.add(1, args=["--exec", verdict(folder, 0)])
    old = fleet.image("1.0.0")
    fleet.ctl("push", old, "--all", "--wait", "--timeout", "100s")
    fleet.ctl("push", fleet.image("1.1.0"), "--all", "--hold")
    wait_for("it to be held", lambda: "held: " in agent.text() and state(fleet) == "staged", 60, alive=[agent])
    agent.stop()
    flash = next(folder.rglob("lamp-0*.flash"))
    data = bytearray(flash.read_bytes())
    at = data.find(old.read_bytes())
    assert at > 0 and data.find(old.read_bytes(), at + 1) < 0
    data[at + 1000] ^= 1
    flash.write_bytes(data)
    verdict(folder, 1)
    agent.start()
    wait_for("the truth to be told", lambda: state(fleet) == "failed", 60, alive=[agent])
    assert "was not well, still runs" in fleet.ctl("log", "lamp-0").out
    assert "runs 1.1.0, confirmed" not in fleet.ctl("log", "lamp-0").out
    assert "1.1.0 (failed)" in fleet.ctl("device", "show", "lamp-0").out


def test_ill_after_it_was_seen_running(fleet, folder):
    """A journal that is lost counts from one again, and so does the server for a release that ran: one retry is enough."""
    [agent] = fleet.add(1, args=["--exec", f"eval {verdict(folder, 0)}"])
    fleet.ctl("push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "100s")
    push = fleet.ctl.json("push", fleet.image("1.1.0"), "--all", "--wait", "--timeout", "100s")[0]["id"]
    agent.stop()
    data = bytearray(agent.flash.read_bytes())
    data[JOURNAL] = b"\xff" * (JOURNAL.stop - JOURNAL.start)
    agent.flash.write_bytes(data)
    verdict(folder, "$OTA_SLOT")  # ill in slot 1, where 1.1.0 is: without its journal 1.0.0 is on trial, too
    agent.start()
    wait_for("it to go back", lambda: device(fleet)["drifted"], 60, alive=[agent])
    fleet.wait_running("1.0.0")
    verdict(folder, 0)
    assert "offered again to 1 device\n" in fleet.ctl("retry", push).out
    fleet.wait_running("1.1.0", deadline_s=60)
    wait_for("success to be told", lambda: state(fleet) == "running", 60, alive=[agent])
    assert device(fleet)["assignment"]["attempt"] == 2
    assert fleet.ctl("log", "lamp-0").out.count("1.1.0 failed there as attempt 1, unheard: this is attempt 2") == 1
