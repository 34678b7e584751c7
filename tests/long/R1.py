#!/usr/bin/env python3
"""R1 kill9: kill -9 at random moments of mixed work. Nothing acknowledged is lost, nothing is half there, ready in 300 ms.
usage: R1.py [--kills N]"""
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("OTAD_BIN", str(ROOT / "build/bin"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

import kill9  # noqa: E402
import longrun  # noqa: E402

READY_MS = 300
A_LIFE = 100  # kills of one data directory


def run(kills):
    acknowledged, ready = 0, []
    while len(ready) < kills:
        with longrun.place("R1") as (_, make_fleet):
            fleet = make_fleet(broker=False, otad_args=["--log-level", "error"])
            fleet.init()
            fleet.board()
            book, times = kill9.kills(fleet, min(A_LIFE, kills - len(ready)), 0.12, check_every=10)
        acknowledged += book.total
        ready += times
    slow = sum(1 for ms in ready if ms >= READY_MS)
    print(f"R1: {len(ready)} kills, {acknowledged} acknowledged, 0 lost; ready after {max(ready):.0f} ms at worst, "
          f"{slow} times over {READY_MS} ms")
    return not slow


longrun.main("R1", run, kills=1000)
