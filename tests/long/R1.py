#!/usr/bin/env python3
"""R1 kill9: kill -9 at random moments of mixed work. Nothing acknowledged is lost, nothing is half there, ready in 300 ms.
usage: R1.py [--kills N]"""
import argparse
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("OTAD_BIN", str(ROOT / "build/bin"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

from harness import Fleet  # noqa: E402
from kill9 import kills  # noqa: E402

READY_MS = 300
A_LIFE = 100  # kills of one data directory


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1000)
    args = parser.parse_args()
    acknowledged, ready, left = 0, [], args.kills
    while left > 0:
        with tempfile.TemporaryDirectory(prefix="otad-R1-") as name:
            fleet = Fleet(pathlib.Path(name), broker=False, otad_args=["--log-level", "warn"])
            try:
                fleet.init()
                fleet.board()
                book, times = kills(fleet, min(A_LIFE, left), 0.12, check_every=10)
            finally:
                problems = fleet.close()
            if problems:
                print("\n".join(problems), file=sys.stderr)
                return 1
        acknowledged += book.total
        ready += times
        left -= A_LIFE
    slow = sum(1 for ms in ready if ms >= READY_MS)
    print(f"R1: {len(ready)} kills, {acknowledged} acknowledged, 0 lost; ready after {max(ready):.0f} ms at worst, "
          f"{slow} times over {READY_MS} ms")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
