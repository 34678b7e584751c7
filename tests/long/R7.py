#!/usr/bin/env python3
"""R7 io-errors: EIO, ENOSPC, EINTR and short transfers at every file call, once and for ever.
usage: R7.py [--every N]"""
import argparse
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("OTAD_BIN", str(ROOT / "build/bin"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

import faults  # noqa: E402
from harness import Fleet  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="otad-R7-") as name:
        fleet = Fleet(pathlib.Path(name), broker=False, otad_args=["--log-level", "error"])
        try:
            points = faults.fault_points(fleet, args.every)
        finally:
            problems = fleet.close()
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    if points < 1000 and args.every == 1:
        print(f"R7: only {points} points", file=sys.stderr)
        return 1
    return 0 if points else 1


if __name__ == "__main__":
    sys.exit(main())
