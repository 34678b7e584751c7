"""R20: databases of former schemas, a database of a later one, backups while otad works, a backup that is a day old."""
import contextlib
import gzip
import hashlib
import json
import sqlite3
import time

import pytest

import rig
import upgrade
from harness import Otad, Otactl, programs_missing, wait_for

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")

KEPT = sorted(upgrade.DATA.glob("schema-*.backup.gz"), key=lambda path: int(path.name.split(".")[0][7:]))


def schema_of(data, change=None):
    """The number in the database; changed to `change` first."""
    with contextlib.closing(sqlite3.connect(data / "otad.db")) as db:
        if change is not None:
            db.execute(f"PRAGMA user_version = {change}")
        return db.execute("PRAGMA user_version").fetchone()[0]


def test_every_schema_is_kept(make_fleet):
    fleet = make_fleet(broker=False)
    newest = schema_of(fleet.otad.data)
    kept = [int(path.name.split(".")[0][7:]) for path in KEPT]
    assert kept and set(range(kept[0], newest)) <= set(kept), f"schema {newest}, kept are {kept}: tests/tools/keep_schema.py"
    print(f"R20: schema {newest}, kept are {kept}")


@pytest.mark.parametrize("kept", KEPT, ids=[path.name.split(".")[0] for path in KEPT])
def test_a_former_schema(folder, kept):
    facts = json.loads(kept.with_suffix("").with_suffix(".json").read_text())
    otad = Otad(folder)
    archive = folder / "archive"
    archive.write_bytes(gzip.decompress(kept.read_bytes()))
    upgrade.restore(folder, archive, otad.data)
    before = schema_of(otad.data)
    otad.start(until="/readyz")
    try:
        # the administrator's token is no part of a backup: a new one by the socket
        token = Otactl(otad).json("token", "create", "after", "--role", "admin")["token"]
        api = rig.Api(otad.port, token)
        now = upgrade.facts(api)
        assert now == {name: facts[name] for name in now}
        status, _, data = api.ask("GET", f"/i/{facts['sha256']}")
        assert status == 200 and hashlib.sha256(data).hexdigest() == facts["sha256"]
        for known in facts["devices_keys"]:
            device = rig.Device.__new__(rig.Device)
            device.id, device.k_dev = bytes.fromhex(known["id"]), bytes.fromhex(known["k_dev"])
            device.counter, device.root, device.untold = known["counter"], 1, []
            device.running = (known["running"][0], bytes.fromhex(known["running"][1]))
            status, ticket = device.checkin(api, state=rig.CONFIRMED)
            assert status == 200
            if device.id == bytes.fromhex(facts["devices_keys"][0]["id"]):
                assert ticket[5][0].hex() == facts["releases"][0]["digest"]
            assert device.report(api) == 200
            device.verify(api)
        api.close()
        rig.check(otad)
        assert (otad.data / f"otad.db.schema-{before}").exists() == (schema_of(otad.data) != before)
    finally:
        assert otad.stop() == 0


def test_a_later_schema_is_refused(make_fleet):
    fleet = make_fleet(broker=False)
    assert fleet.otad.stop() == 0
    newest = schema_of(fleet.otad.data)
    schema_of(fleet.otad.data, newest + 1)
    content = (fleet.otad.data / "otad.db").read_bytes()
    fleet.otad.start(until=None)
    assert fleet.otad.wait() == 1
    assert f"schema {newest + 1}" in fleet.otad.tail(1), fleet.otad.tail(3)
    assert (fleet.otad.data / "otad.db").read_bytes() == content
    check = upgrade.otad_command(fleet.folder, "check", "--data", fleet.otad.data)
    assert check.returncode == 1 and f"schema {newest + 1}" in check.stdout
    schema_of(fleet.otad.data, newest)
    fleet.otad.start()


def test_backups_of_a_working_server(make_fleet, folder):
    """Whatever was acknowledged before a backup began is in it, whole."""
    fleet = make_fleet(broker=False)
    fleet.init()
    fleet.board()
    secret, board = rig.secret_for(fleet)
    book = rig.Book()
    crew = rig.Crew(book, fleet.otad.port, fleet.token(), secret, board)
    api = rig.Api(fleet.otad.port, fleet.token())
    crew.enlist(api)
    crew.start()
    kept = []
    for number in range(2):
        target = book.total + 60
        wait_for("some work to be done", lambda: book.total >= target)
        seen = upgrade.facts(api)
        archive = folder / f"archive{number}"
        upgrade.backup(fleet, archive)
        kept.append((archive, seen))
    crew.stop()
    assert fleet.otad.stop() == 0
    for archive, seen in kept:
        copy = Otad(folder, data=folder / archive.name.replace("archive", "copy"), name=archive.name.replace("archive", "otad-"))
        upgrade.restore(folder, archive, copy.data)
        assert "0 damaged, 0 findings" in rig.check(copy)
        copy.start()
        token = Otactl(copy).json("token", "create", "after", "--role", "admin")["token"]
        there = rig.Api(copy.port, token)
        now = upgrade.facts(there)
        for noun, key in (("releases", "id"), ("rollouts", "id"), ("devices", "id")):
            missing = {row[key] for row in seen[noun]} - {row[key] for row in now[noun]}
            assert not missing, f"{noun} missing in {archive.name}: {missing}"
        rig.nothing_half(there)
        there.close()
        assert copy.stop() == 0
    print(f"R20: {len(kept)} backups while {book.total} operations went on, each whole")


def test_yesterdays_backup_under_five_agents(make_fleet, folder):
    fleet = make_fleet(broker=False)
    fleet.init()
    fleet.board()
    fleet.add(3)
    fleet.ctl("push", fleet.image("1.0.0", size=60_000), "--all", "-y", "--wait", "--timeout", "100s")
    archive = folder / "yesterday"
    upgrade.backup(fleet, archive)
    fleet.add(2)
    fleet.ctl("push", fleet.image("1.1.0", size=60_000), "--all", "-y", "--wait", "--timeout", "100s")
    # Sequences follow the clock, eight apart at least: in a day it has passed all of them, here it needs its moment.
    lost = max(row["sequence"] for row in fleet.ctl.json("release", "list"))
    assert fleet.otad.stop() == 0
    wait_for("the clock to pass what was lost", lambda: time.time() > lost)
    fleet.otad.data.rename(folder / "lost")
    upgrade.restore(folder, archive, fleet.otad.data)
    fleet.otad.start()

    def strangers():
        return [row for row in fleet.ctl.json("device", "list") if row["state"] == "pending"]

    wait_for("the two that came later to show their receipts", lambda: len(strangers()) == 2, 60, alive=fleet.agents)
    for row in strangers():
        fleet.ctl("device", "approve", row["id"])
    fleet.ctl("push", fleet.image("1.2.0", size=60_000), "--all", "-y", "--wait", "--timeout", "100s")
    rows = fleet.ctl.json("device", "list")
    assert len(rows) == 5 and all(row["running"]["version"] == "1.2.0" for row in rows), rows
    print("R20: a day-old backup under 5 agents, 2 of them enrolled after it: all 5 updated")
