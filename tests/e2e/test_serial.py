"""Serials: which device is which, and a new file for one that is known."""
import json

import pytest

from harness import Agent, programs_missing, wait_for

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")


def test_devices_of_a_batch(fleet):
    batch = fleet.folder / "lamps.batch"
    fleet.ctl("enroll", "create", "--board", "lamp", "--uses", "2", "-o", batch)
    for serial in ("SN-0001", "SN-0002"):
        path = fleet.folder / f"{serial}.prov"
        fleet.ctl("provision", "--batch", batch, "--id", serial, "-o", path)
        fleet.agents.append(Agent(serial, fleet.folder, path).start())
    wait_for("both to be heard", lambda: [d["last_seen"] is not None for d in fleet.devices().values()] == [True, True], 60,
             alive=fleet.agents)
    status = fleet.ctl("status").out
    assert "# serial SN-0001, from 127.0.0.1" in status and "# serial SN-0002, from 127.0.0.1" in status
    assert "serial SN-0001" in fleet.ctl("log", "SN-0001").out
    fleet.ctl("device", "approve", "SN-0001")
    state = {d["serial"]: d["state"] for d in fleet.devices().values()}
    assert state == {"SN-0001": "approved", "SN-0002": "pending"}
    shown = fleet.ctl("device", "show", "SN-0002").out
    assert "SN-0002" in shown and "127.0.0.1" in shown
    # A name comes before a serial.
    fleet.ctl("device", "rename", "SN-0001", "SN-0002")
    assert fleet.ctl.json("device", "show", "SN-0002")["serial"] == "SN-0001"
    assert fleet.ctl.run("device", "show", "SN-0003").code == 1


def test_a_new_file_for_a_known_device(fleet):
    fleet.add(1)
    before = fleet.devices()["lamp-0"]
    path = fleet.folder / "again.prov"
    # Guesses make no other device.
    for guess in ("lamp-0", before["id"]):
        refused = fleet.ctl.run("provision", "--board", "lamp", "--id", guess, "-o", path)
        assert refused.code == 1 and "otactl provision --device lamp-0" in refused.err, refused
    assert not path.exists()
    for extra in (["--board", "lamp"], ["--name", "x"], ["--id", "x"], ["--replace"], ["--batch", "x"]):
        assert fleet.ctl.run("provision", "--device", "lamp-0", *extra, "-o", path).code == 2
    assert fleet.ctl.run("provision", "--device", "nobody", "-o", path).code == 1
    assert not path.exists()
    made = fleet.ctl("provision", "--device", "lamp-0", "-o", path)
    assert "otactl device approve lamp-0" in made.err
    fleet.agents.append(Agent("again", fleet.folder, path).start())
    wait_for("its new key", lambda: fleet.devices()["lamp-0"]["rekey"], 60, alive=fleet.agents[1:])
    # The one with the new key is told what to do; the one with the old key when that counts no more.
    wait_for("its words", lambda: "the server answered 401: this device has enrolled anew, its new key waits for: "
             f"otactl device approve {before['id'][:8]}" in fleet.agents[1].text(), 60, alive=fleet.agents)
    # Not forgotten over a restart either.
    fleet.agents[1].stop()
    fleet.agents[1].start()
    wait_for("the same words", lambda: fleet.agents[1].text().count("its new key waits for: otactl device approve") == 2, 60,
             alive=fleet.agents)
    assert "key is not the one it has there" not in fleet.agents[1].text()
    assert "its new key waits: otactl device approve lamp-0" in fleet.ctl("device", "show", "lamp-0").out
    assert "a new key waits: otactl device approve lamp-0" in fleet.ctl("status").out
    fleet.ctl("device", "approve", "lamp-0")
    after = fleet.devices()
    assert list(after) == ["lamp-0"] and after["lamp-0"]["id"] == before["id"] and not after["lamp-0"]["rekey"], json.dumps(after)
    wait_for("the new one's ticket", lambda: "reached" in fleet.agents[1].text(), 60, alive=fleet.agents)
    wait_for("the old one's words", lambda: "the server answered 401: this device's key is not the one it has there" in
             fleet.agents[0].text(), 60, alive=fleet.agents)
    assert "otactl provision --device" in fleet.agents[0].text()
