#!/usr/bin/env python3
"""R7 io-errors: EIO, ENOSPC, EINTR and short transfers at every file call, once and for ever; at least 1,000 points.
usage: R7.py [--every N]"""
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("OTAD_BIN", str(ROOT / "build/bin"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

import faults  # noqa: E402
import longrun  # noqa: E402


def run(every):
    with longrun.place("R7") as (_, make_fleet):
        return faults.fault_points(make_fleet(broker=False, otad_args=["--log-level", "error"]), every) >= 1000 // every


longrun.main("R7", run, every=1)
