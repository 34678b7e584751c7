"""A push to many devices is made in pieces: killed between two of them it is finished, by whoever is there. So is what
is done to all of it."""
import hashlib
import json
import os
import sqlite3

import pytest

import faults
import rig
from crowd import populate
from harness import esp32_image, programs_missing, wait_for

pytestmark = [pytest.mark.skipif(bool(programs_missing("otad", "otactl")), reason="skipped: programs missing"),
              pytest.mark.skipif(not faults.library(), reason="skipped: no fault library in this build")]

MANY = 1500
SYNC = 7  # a piece is a commit with a sync; so some are there, and most are not


def crowded(fleet, token):
    """A release, and many devices to have it; (api, switch)."""
    otad = fleet.otad
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
    with sqlite3.connect(otad.data / "otad.db") as db:
        db.execute("UPDATE device_said SET seen_at = NULL")  # nobody was told anything, so nothing is unsure after a restart
    db.close()
    switch = faults.Faults(fleet.folder)
    otad.env.update(switch.env(otad.data))
    otad.start(until="/readyz")
    return api, switch


@pytest.mark.parametrize("by", ["the same request", "upkeep"])
def test_killed_between_two_pieces(make_fleet, by):
    fleet = make_fleet(broker=False)
    otad, token = fleet.otad, fleet.token()
    api, switch = crowded(fleet, token)
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


def fail_all(otad, api):
    """All of them have tried it, and it did not work."""
    assert otad.stop() == 0
    with sqlite3.connect(otad.data / "otad.db") as db:
        db.execute("UPDATE assignment SET state = 6, offered_at = created_at, ended_at = created_at, reason = 1")
        db.execute("UPDATE rollout SET state = 1, ended_at = created_at")
    db.close()
    otad.start(until="/readyz")
    api.close()


@pytest.mark.parametrize("by", ["the same request", "upkeep"])
@pytest.mark.parametrize("verb, from_state, to_state, said, doing", [
    ("cancel", "waiting", "cancelled", "withdrawn", "cancelling"), ("retry", "failed", "waiting", "retried", "retrying")])
def test_what_is_done_to_all_is_finished(make_fleet, verb, from_state, to_state, said, doing, by):
    fleet = make_fleet(broker=False)
    otad, token = fleet.otad, fleet.token()
    api, switch = crowded(fleet, token)
    path = f"/v1/rollouts/{os.urandom(16).hex()}"
    assert api.ask("PUT", path, {"release": "lamp:1.0.0", "selector": "*"})[0] == 201
    if verb == "retry":
        fail_all(otad, api)
    switch.arm(faults.KILL, ["sync"], first=SYNC)
    with pytest.raises(rig.GONE):
        api.ask("POST", f"{path}/{verb}")
    otad.kill9()
    switch.lift()
    otad.start(until="/readyz")
    now = api.json(path)
    before = now["counts"]
    assert before[from_state] + before[to_state] == MANY + 1 and before[from_state] > 0, before
    assert now["doing"] == doing
    assert f" {doing} " in fleet.ctl("status").out
    if by == "upkeep":
        wait_for("all to be through", lambda: not api.json(path)["doing"], 60, every_s=0.5, alive=[otad])
        rest = [0, 0]
    else:
        rest = [before[from_state], 0]
    for left in rest:
        status, _, answer = api.ask("POST", f"{path}/{verb}")
        assert status == 200 and json.loads(answer)[said] == left, answer
        now = api.json(path)
        assert now["counts"][to_state] == MANY + 1 and not now["doing"]
    assert doing not in fleet.ctl("status").out
    api.close()
    rig.check(otad)
