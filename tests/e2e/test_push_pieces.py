"""A push to many devices is made in pieces: killed between two of them it is finished, by whoever is there."""
import hashlib
import os

import pytest

import faults
import rig
from crowd import populate
from harness import esp32_image, programs_missing, wait_for

pytestmark = [pytest.mark.skipif(bool(programs_missing("otad", "otactl")), reason="skipped: programs missing"),
              pytest.mark.skipif(not faults.library(), reason="skipped: no fault library in this build")]

MANY = 1500
SYNC = 7  # a piece is a commit with a sync; so some are there, and most are not


@pytest.mark.parametrize("by", ["the same request", "upkeep"])
def test_killed_between_two_pieces(make_fleet, by):
    fleet = make_fleet(broker=False)
    otad, token = fleet.otad, fleet.token()
    faults.prepared(fleet)
    api = rig.Api(otad.port, token)
    data = esp32_image("1.0.0", size=2000)
    sha256 = hashlib.sha256(data).hexdigest()
    assert api.ask("PUT", f"/v1/images/{sha256}", data, "application/octet-stream")[0] == 201
    assert api.ask("POST", "/v1/releases", {"board": "lamp", "version": "1.0.0", "images": [
        {"component": "app", "variant": "", "sha256": sha256}]})[0] == 201
    api.close()
    assert otad.stop() == 0
    populate(otad.data / "otad.db", MANY)
    switch = faults.Faults(fleet.folder)
    otad.env.update(switch.env(otad.data))
    otad.start(until="/readyz")
    path, body = f"/v1/rollouts/{os.urandom(16).hex()}", {"release": "lamp:1.0.0", "selector": "*"}
    switch.arm(faults.KILL, ["sync"], first=SYNC)
    with pytest.raises(rig.GONE):
        api.ask("PUT", path, body)
    otad.kill9()
    switch.lift()
    otad.start(until="/readyz")
    now = api.json(path)
    assert now["state"] == "open" and now["growing"] and 0 < now["targets"] < MANY, now
    if by == "upkeep":
        wait_for("the push to be whole", lambda: not api.json(path)["growing"], 60, every_s=0.5, alive=[otad])
    status, _, _ = api.ask("PUT", path, body)
    assert status == 200
    now = api.json(path)
    assert not now["growing"] and now["targets"] == now["counts"]["waiting"] == MANY + 1, now
    names = [row["device"]["name"] for row in api.every(f"{path}/assignments")]
    assert len(set(names)) == len(names) == MANY + 1
    api.close()
    rig.check(otad)
