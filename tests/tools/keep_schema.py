#!/usr/bin/env python3
"""Keep the database of today's schema for the otads to come: run once for each released schema, before it changes.

usage: keep_schema.py   writes tests/data/schema-N.backup.gz and schema-N.json (OTAD_BIN, or the release build)

The archive is what `otad backup --with-keys` made of a small fleet; the JSON says what has to be found in it.
"""
import contextlib
import gzip
import hashlib
import json
import os
import pathlib
import sqlite3
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("OTAD_BIN", str(ROOT / "build/bin"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

import rig  # noqa: E402
import upgrade  # noqa: E402
from harness import Fleet, esp32_image  # noqa: E402


def main():
    with tempfile.TemporaryDirectory(prefix="otad-schema-") as name:
        folder = pathlib.Path(name)
        fleet = Fleet(folder, broker=False)
        try:
            fleet.init()
            fleet.board()
            secret, board = rig.secret_for(fleet, uses=2)
            api = rig.Api(fleet.otad.port, fleet.token())
            data = esp32_image("1.0.0", size=2000)
            sha256 = hashlib.sha256(data).hexdigest()
            book = rig.Book()
            operator = rig.Operator(book, fleet.otad.port, fleet.token(), "kept")
            assert api.ask("PUT", f"/v1/images/{sha256}", data, "application/octet-stream")[0] == 201
            assert operator.release("1.0.0", sha256)[0] == 201
            devices = []
            for name in ("kitchen", "hall"):
                device = rig.Device(secret, board, name.encode())
                assert device.enroll(api) == 200 and device.report(api) == 200
                assert api.ask("PATCH", f"/v1/devices/{device.name}", {"name": name, "tags_add": ["home"]})[0] == 200
                devices.append(device)
            assert operator.push("lamp%3A1.0.0", "kitchen") == 201
            facts = upgrade.facts(api)
            facts["sha256"] = sha256
            facts["devices_keys"] = [{"id": d.id.hex(), "k_dev": d.k_dev.hex(), "counter": d.counter,
                                      "running": [d.running[0], d.running[1].hex()]} for d in devices]
            archive = folder / "archive"
            upgrade.backup(fleet, archive)
            with contextlib.closing(sqlite3.connect(fleet.otad.data / "otad.db")) as db:
                schema = db.execute("PRAGMA user_version").fetchone()[0]
            upgrade.DATA.mkdir(exist_ok=True)
            (upgrade.DATA / f"schema-{schema}.backup.gz").write_bytes(gzip.compress(archive.read_bytes(), mtime=0))
            (upgrade.DATA / f"schema-{schema}.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
            print(f"kept schema {schema}, {archive.stat().st_size} bytes")
        finally:
            for problem in fleet.close():
                print(problem, file=sys.stderr)


if __name__ == "__main__":
    main()
