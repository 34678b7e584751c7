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


def test_a_stolen_identity_ends_with_its_device(fleet, folder):
    """The alarm's advice: remove it, which ends the key on the copy too, and provision the device anew."""
    first = fleet.add(1)[0]
    first.stop()
    twin = Agent("twin", folder, first.provision)
    shutil.copy(first.flash, twin.flash)
    fleet.agents.append(twin.start())
    first.start()
    wait_for("the alarm", lambda: (alarm(fleet, "lamp-0") or {}).get("kind") == "shared-identity", 60)
    fleet.ctl("device", "remove", "-y", "lamp-0")
    for agent in (first, twin):
        wait_for("it to be told", lambda: "it does not know this device: it was removed or replaced there" in agent.text())
    first.stop()
    made = folder / "anew.prov"
    fleet.ctl("provision", "--board", "lamp", "--name", "lamp-0", "-o", made)
    anew = Agent("anew", folder, made)
    fleet.agents.append(anew.start())
    wait_for("the device", lambda: fleet.devices().get("lamp-0", {}).get("state") == "approved")
    fleet.ctl("push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "60s")
    assert list(fleet.devices()) == ["lamp-0"] and alarm(fleet, "lamp-0") is None
    assert "!" not in fleet.ctl("status").out, fleet.ctl("status").out
    assert twin.stop() == 0


def test_a_device_put_back_from_a_copy_is_no_second_one(fleet, folder):
    first = fleet.add(1)[0]
    first.stop()
    shutil.copy(first.flash, folder / "copy.flash")
    first.start()
    for _ in range(2):
        seen = fleet.devices()["lamp-0"]["last_seen"] or 0
        wait_for("a poll", lambda: (fleet.devices()["lamp-0"]["last_seen"] or 0) > seen)
    first.stop()
    shutil.copy(folder / "copy.flash", first.flash)
    first.start()
    row = wait_for("the alarm", lambda: alarm(fleet, "lamp-0"), 60)
    assert row["kind"] == "counter-back" and row["times"] == 1, row
    for _ in range(3):
        seen = fleet.devices()["lamp-0"]["last_seen"] or 0
        wait_for("more polls", lambda: (fleet.devices()["lamp-0"]["last_seen"] or 0) > seen)
    assert alarm(fleet, "lamp-0")["times"] == 1
    assert "restored from a copy does that once" in fleet.ctl("device", "show", "lamp-0").out
    assert "identity" not in fleet.ctl("status").out


def test_a_lost_provisioning_file(fleet, folder):
    fleet.ctl("provision", "--board", "lamp", "--name", "kitchen", "--id", "SN-1", "-o", folder / "lost.prov")
    again = fleet.ctl.run("provision", "--board", "lamp", "--name", "kitchen", "-o", folder / "new.prov", code=1)
    assert "provision --replace" in again.err, repr(again)
    assert "--name" in fleet.ctl.run("provision", "--board", "lamp", "--replace", "-o", folder / "x", code=2).err
    waiting = fleet.ctl.json("enroll", "list")
    typo = fleet.ctl.run("provision", "--board", "lamp", "--name", "kitchn", "--replace", "-o", folder / "typo.prov", code=1)
    assert "no unused provisioning file is named 'kitchn'" in typo.err and not (folder / "typo.prov").exists()
    assert fleet.ctl.json("enroll", "list") == waiting
    made = fleet.ctl.json("provision", "--board", "lamp", "--name", "kitchen", "--replace", "-o", folder / "new.prov")
    assert made["serial"] == "SN-1" and made["name"] == "kitchen", made
    lost = Agent("lost", folder, folder / "lost.prov", args=["--once"])
    assert lost.start().wait() != 0 and fleet.devices() == {}
    found = Agent("kitchen", folder, folder / "new.prov")
    fleet.agents.append(found.start())
    wait_for("the device", lambda: fleet.devices().get("kitchen", {}).get("state") == "approved")
    # It has enrolled: now its name is a device's.
    taken = fleet.ctl.run("provision", "--board", "lamp", "--name", "kitchen", "--replace", "-o", folder / "more.prov", code=1)
    assert "a device has it" in taken.err and not (folder / "more.prov").exists(), repr(taken)
    assert [row["uses_left"] for row in fleet.ctl.json("enroll", "list") if not row["revoked"]] == [0]
    # Secrets that are over do not keep a board; what does is said.
    kept = fleet.ctl.run("board", "remove", "lamp", code=1)
    assert "board 'lamp' has 1 device\n" in kept.err and "otactl device list" in kept.err, repr(kept)
    fleet.ctl("device", "remove", "-y", "kitchen")
    fleet.ctl("board", "remove", "lamp")
    assert fleet.ctl.json("board", "list") == [] and fleet.ctl.json("enroll", "list") == []


def test_one_secret_for_a_batch(fleet, folder):
    batch = folder / "lamps.batch"
    told = fleet.ctl("enroll", "create", "--board", "lamp", "--uses", "2", "--expires", "1h", "-o", batch).err
    assert "2 devices of board lamp" in told and "wait for: otactl device approve" in told, told
    assert batch.stat().st_mode & 0o777 == 0o600
    assert "exists already" in fleet.ctl.run("enroll", "create", "--board", "lamp", "-o", batch, code=1).err
    assert len(fleet.ctl.json("enroll", "list")) == 1
    nowhere = {"OTAD_DATA": "/nonexistent"}
    for serial in ("SN-1", "SN-2", "SN-3"):
        fleet.ctl("provision", "--batch", batch, "--id", serial, "-o", folder / f"{serial}.prov", env=nowhere)
    for wrong, code in ((["--name", "x"], 2), (["--board", "other"], 1), (["--id", "x" * 33], 2)):
        fleet.ctl.run("provision", "--batch", batch, *wrong, "-o", folder / "wrong.prov", code=code)
    assert not (folder / "wrong.prov").exists()
    assert "no batch file" in fleet.ctl.run("provision", "--batch", folder / "SN-1.prov", "-o", folder / "w", code=1).err
    for n, serial in enumerate(("SN-1", "SN-2")):
        fleet.agents.append(Agent(serial, folder, folder / f"{serial}.prov").start())
        wait_for("it to wait", lambda: len(fleet.devices()) == n + 1)
    late = Agent("SN-3", folder, folder / "SN-3.prov", args=["--once"])
    assert late.start().wait() != 0, "a third one enrolled with two uses"
    names = sorted(fleet.devices())
    assert len(names) == 2 and {row["state"] for row in fleet.devices().values()} == {"pending"}
    fleet.ctl("device", "approve", *names)
    fleet.ctl("push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "60s")
    assert all(row["alarm"] is None for row in fleet.devices().values())
