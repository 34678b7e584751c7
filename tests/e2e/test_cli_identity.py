"""Who a device is, as an operator meets it: one identity on two devices, lost provisioning files, secrets for a batch."""
import shutil

import pytest

from harness import Agent, programs_missing, wait_for

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")


def alarm(fleet, name):
    return fleet.devices().get(name, {}).get("alarm")


def test_one_provisioning_file_on_two_devices(fleet, folder):
    first = fleet.add(1)[0]
    assert alarm(fleet, "lamp-0") is None
    twin = Agent("twin", folder, first.provision)
    fleet.agents.append(twin.start())
    wait_for("the alarm", lambda: (alarm(fleet, "lamp-0") or {}).get("kind") == "shared-identity", 60)
    words = "two devices seem to use this identity"
    assert f"! lamp-0: {words}; see: otactl device show lamp-0" in fleet.ctl("status").out
    listed = fleet.ctl("device", "list").out
    assert "shared?" in listed and words in listed, listed
    shown = fleet.ctl("device", "show", "lamp-0").out
    assert words in shown and "otactl device ack lamp-0" in shown and "otactl device remove lamp-0" in shown, shown
    # Looked at while both still run: it comes back.
    fleet.ctl("device", "ack", "lamp-0")
    wait_for("it to come back", lambda: (alarm(fleet, "lamp-0") or {}).get("kind") == "shared-identity", 60)
    assert twin.stop() == 0
    seen = fleet.devices()["lamp-0"]["last_seen"]
    wait_for("the first one again", lambda: fleet.devices()["lamp-0"]["last_seen"] > seen + 1)
    fleet.ctl("device", "ack", "lamp-0")
    assert alarm(fleet, "lamp-0") is None and words not in fleet.ctl("status").out
    assert "acknowledged" in fleet.ctl("log", "lamp-0").out


def test_a_device_put_back_from_a_copy_is_no_second_one(fleet, folder):
    first = fleet.add(1)[0]
    first.stop()
    shutil.copy(first.flash, folder / "copy.flash")
    first.start()
    for _ in range(2):
        seen = fleet.devices()["lamp-0"]["last_seen"]
        wait_for("a poll", lambda: fleet.devices()["lamp-0"]["last_seen"] > seen)
    first.stop()
    shutil.copy(folder / "copy.flash", first.flash)
    first.start()
    row = wait_for("the alarm", lambda: alarm(fleet, "lamp-0"), 60)
    assert row["kind"] == "counter-back" and row["times"] == 1, row
    for _ in range(3):
        seen = fleet.devices()["lamp-0"]["last_seen"]
        wait_for("more polls", lambda: fleet.devices()["lamp-0"]["last_seen"] > seen)
    assert alarm(fleet, "lamp-0")["times"] == 1
    assert "restored from a copy does that once" in fleet.ctl("device", "show", "lamp-0").out
    assert "identity" not in fleet.ctl("status").out
