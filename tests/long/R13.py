#!/usr/bin/env python3
"""R13 herd: many clients at once. No stall over 250 ms and no error at the counts where event loops stumble (around 128 ready
connections), then 10,000 connections that come and poll within a second. usage: R13.py [--seconds S]"""
import argparse
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ["OTAD_BIN"] = str(ROOT / "build/bin")
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/bench")]

from harness import Fleet  # noqa: E402
from run import TOOLS, enroll  # noqa: E402

import json  # noqa: E402

STALL_US = 250_000


def herd(port, devices, *args):
    out = subprocess.run([TOOLS / "herd", "checkin", str(port), devices, *map(str, args)], stdout=subprocess.PIPE, text=True,
                         check=False).stdout
    return json.loads(out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=5)
    args = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    failed = 0
    with tempfile.TemporaryDirectory(prefix="otad-herd-") as name:
        folder = pathlib.Path(name)
        fleet = Fleet(folder, broker=False, otad_args=["--log-level", "warn", "--connections", "16000"])
        try:
            fleet.init()
            fleet.board("lamp", "esp32c3")
            devices = enroll(fleet, folder, 10000)
            print(f"{'connections':>11}{'a second':>10}{'p50 ms':>9}{'p99 ms':>9}{'worst ms':>10}{'errors':>8}")
            for count in (1, 64, 127, 128, 129, 256, 512, 4096):
                done = herd(fleet.otad.port, devices, "--connections", count, "--seconds", args.seconds)
                bad = done["bad"] or done["max_us"] > STALL_US and count < 4096
                failed += bool(bad)
                print(f"{count:>11}{done['per_second']:>10}{done['p50_us'] / 1e3:>9.1f}{done['p99_us'] / 1e3:>9.1f}"
                      f"{done['max_us'] / 1e3:>10.1f}{done['bad']:>8}{'  FAILED' if bad else ''}", flush=True)
            many = min(10000, hard - 500)
            done = herd(fleet.otad.port, devices, "--connections", many, "--seconds", 1)
            bad = done["bad"] or done["good"] < many
            failed += bool(bad)
            print(f"{many:>11}{done['per_second']:>10}{done['p50_us'] / 1e3:>9.1f}{done['p99_us'] / 1e3:>9.1f}"
                  f"{done['max_us'] / 1e3:>10.1f}{done['bad']:>8}{'  FAILED' if bad else ''}   (all within a second)")
        finally:
            problems = fleet.close()
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if failed or problems else 0


if __name__ == "__main__":
    sys.exit(main())
