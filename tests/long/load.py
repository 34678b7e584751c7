#!/usr/bin/env python3
"""Everything at once for a while: uploads, releases, pushes, deletes, reports, enrollments, downloads, lists, a broker that goes
and comes, reloads, backups. Under ThreadSanitizer it is the load of R18. usage: load.py [--seconds N]"""
import os
import pathlib
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("OTAD_BIN", str(ROOT / "build/bin"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

import longrun  # noqa: E402
import rig  # noqa: E402
import upgrade  # noqa: E402
from harness import esp32_image  # noqa: E402

LISTS = ("images", "releases", "rollouts", "devices", "boards", "tokens", "enroll-secrets", "assignments")


class Readers(rig.Beside):
    """Lists, long polls and downloads beside the crew."""

    def __init__(self, fleet, sha256):
        steps = (self.lists, self.changes, lambda api: self.good(api, f"/i/{sha256}"))
        super().__init__(*((self.loop, step, rig.Api(fleet.otad.port, fleet.token())) for step in steps))
        self.done, self.bad = 0, []

    def good(self, api, path):
        status, _, data = api.ask("GET", path)
        self.done += 1
        if status != 200:
            self.bad.append((path, status, data[:200]))

    def lists(self, api):
        for noun in LISTS:
            self.good(api, f"/v1/{noun}")
        self.good(api, "/v1/status")
        self.good(api, "/v1/server")

    def changes(self, api):
        self.good(api, "/v1/changes?after=999999999&wait=1")

    def loop(self, step, api):
        while not self.halt.is_set():
            step(api)


def run(seconds):
    with longrun.place("load") as (folder, make_fleet):
        fleet = make_fleet(otad_args=["--log-level", "error"])
        fleet.init()
        fleet.board()
        secret, board = rig.secret_for(fleet)
        api = rig.Api(fleet.otad.port, fleet.token())
        book = rig.Book()
        operator = rig.Operator(book, fleet.otad.port, fleet.token(), "first")
        status, sha256 = operator.upload("1.0.0", len(esp32_image("1.0.0", size=400_000)))
        assert status == 201
        crew = rig.Crew(book, fleet.otad.port, fleet.token(), secret, board)
        crew.enlist(api)
        begin, number = time.monotonic(), 0
        with Readers(fleet, sha256) as readers:
            crew.start()
            while time.monotonic() - begin < seconds:
                number += 1
                fleet.otad.signal(signal.SIGHUP)
                upgrade.backup(fleet, folder / f"backup{number}")
                (folder / f"backup{number}").unlink()
                fleet.broker.kill9()
                time.sleep(min(1.0, seconds / 10))
                fleet.broker.start()
                time.sleep(min(2.0, seconds / 10))
            crew.stop()
        assert not readers.bad, readers.bad[:5]
        api.close()  # idle for longer than otad keeps a connection
        book.verify(api, every=True)
        rig.nothing_half(api)
        api.close()
    print(f"load: {seconds} s, {book.total} operations, {readers.done} reads, {number} backups, reloads and broker losses; "
          "no report, nothing lost")
    return True


longrun.main("load", run, seconds=60)
