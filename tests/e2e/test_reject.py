"""A new key that nobody expects is refused: the device goes on with the one it has."""
import pytest

from harness import Agent, programs_missing, wait_for

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")


def test_a_new_key_is_rejected(fleet):
    old = fleet.add(1)[0]
    wait_for("the device", lambda: fleet.devices().get("lamp-0", {}).get("last_seen"), 60, alive=fleet.agents)
    nothing = fleet.ctl.run("device", "reject", "lamp-0")
    assert nothing.code == 1 and "no new key of 'lamp-0' waits" in nothing.err and not nothing.out, nothing
    # The same device with a new flash.
    made = fleet.folder / "again.prov"
    fleet.ctl("provision", "--device", "lamp-0", "-o", made)
    row = next(line for line in fleet.ctl("enroll", "list").out.splitlines() if " if new " in line)
    assert f" {fleet.devices()['lamp-0']['serial'][:9]}... " in row, row
    other = Agent("again", fleet.folder, made).start()
    fleet.agents.append(other)
    wait_for("its new key", lambda: fleet.devices()["lamp-0"]["rekey"], 60, alive=fleet.agents)
    for shown in (fleet.ctl("status").out, fleet.ctl("device", "show", "lamp-0").out):
        assert "otactl device approve lamp-0" in shown and "otactl device reject lamp-0" in shown, shown
        assert all(len(line) <= 80 for line in shown.splitlines() if "reject" in line), shown
    assert fleet.ctl("device", "reject", "lamp-0").out == "refused the new key of lamp-0\n"
    assert not fleet.devices()["lamp-0"]["rekey"] and "otactl device" not in fleet.ctl("status").out
    assert "its new key was refused by " in fleet.ctl("log", "lamp-0").out
    assert "device.reject" in fleet.ctl("audit", "list").out
    # Neither a restart of otad nor of the other brings it back, and the other is told once each time.
    assert other.stop() == 0
    fleet.otad.restart()
    other.start()
    words = "its new key waits for: otactl device approve"
    wait_for("its words", lambda: "(rejected there, or " in other.text().rsplit(words, 1)[-1] and other.text().count(words) == 2,
             60, alive=fleet.agents)
    fleet.ctl("push", fleet.image("2.0"), "--all", "--wait", "--timeout", "120s")
    fleet.wait_running("2.0", ["lamp-0"])
    assert other.text().count(words) == 2 and "\nreached" not in other.text(), other.text()
    assert "confirmed" in old.text(), old.text()
    row = fleet.devices()["lamp-0"]
    assert list(fleet.devices()) == ["lamp-0"] and not row["rekey"] and not row["alarm"], row
