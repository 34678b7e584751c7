#!/usr/bin/env python3
"""R2 kill-at-syscall: otad killed at every file call of its start and of uploads, a push, check-ins and enrollments; then the
same as power cuts, after which contents, names or both are back to what was synced.
usage: R2.py [--every N]"""
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("OTAD_BIN", str(ROOT / "build/bin"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

import faults  # noqa: E402
import longrun  # noqa: E402


def run(every):
    points = 0
    for undo in (0, faults.DATA, faults.NAMES, faults.DATA | faults.NAMES):
        with longrun.place("R2") as (_, make_fleet):
            points += faults.kill_points(make_fleet(broker=False, otad_args=["--log-level", "error"]), every, undo)
        if undo:
            with longrun.place("R2") as (folder, _):
                faults.first_start_points(folder, every, undo)
    return points > 0


longrun.main("R2", run, every=1)
