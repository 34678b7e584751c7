#!/usr/bin/env python3
"""The loop never waits: its lag beside a 1 GiB upload, a backup, and a broker that is silent or has a name nobody resolves.
usage: loop.py [--mib N]"""
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("OTAD_BIN", str(ROOT / "build/bin"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

import longrun  # noqa: E402
import stalls  # noqa: E402

WORST_MS = 20


def run(mib):
    worst_us = 0
    for broker in ("silent", "unresolved"):
        with longrun.place("loop") as (folder, make_fleet):
            worst_us = max(worst_us, stalls.measure(make_fleet, folder, mib << 20, broker)["worst_us"])
    print(f"loop: worst {worst_us / 1e3:.1f} ms, aim {WORST_MS} ms")
    return worst_us < WORST_MS * 1000


longrun.main("loop", run, mib=1024)
