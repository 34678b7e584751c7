#!/usr/bin/env python3
"""R9 disk-full: 64 MiB filled by uploads, then by the growth of the database, 20 times over.
usage: R9.py [--rounds N]"""
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("OTAD_BIN", str(ROOT / "build/bin"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

import diskfull  # noqa: E402
import longrun  # noqa: E402


def run(rounds):
    with longrun.place("R9") as (folder, make_fleet):
        diskfull.rounds(make_fleet, folder, rounds)
        return True


longrun.main("R9", run, rounds=20)
