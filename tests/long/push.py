#!/usr/bin/env python3
"""What a push to a large fleet costs the devices that report meanwhile. Prints how long the push takes and the
times of check-ins beside it; fails above an aim. usage: push.py [--devices N]"""
import argparse
import hashlib
import os
import pathlib
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("OTAD_BIN", str(ROOT / "build/bin"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

import harness  # noqa: E402
import rig  # noqa: E402
from crowd import populate  # noqa: E402

WORST_AIM_S = 1.0


def spread(times):
    times = sorted(times)
    return (f"p50 {times[len(times) // 2] * 1e3:.1f} ms, p99 {times[len(times) * 99 // 100] * 1e3:.1f} ms, "
            f"worst {times[-1] * 1e3:.1f} ms of {len(times)}")


def report_until(device, api, done):
    times = []
    while not done.is_set():
        begin = time.monotonic()
        if device.report(api) != 200:
            raise AssertionError("a check-in was refused")
        times.append(time.monotonic() - begin)
        time.sleep(0.005)
    return times


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=50_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="otad-push-") as name:
        fleet = harness.Fleet(pathlib.Path(name), broker=False, otad_args=["--max-devices", "100000", "--log-level", "warn"])
        try:
            return measure(fleet, args.devices)
        finally:
            for problem in fleet.close():
                print(problem, file=sys.stderr)


def measure(fleet, count):
    fleet.init()
    fleet.board()
    secret, board = rig.secret_for(fleet)
    api = rig.Api(fleet.otad.port, fleet.token(), timeout=300)
    device = rig.Device(secret, board, b"reporting")
    assert device.enroll(api) == 200 and device.report(api) == 200
    sha256 = hashlib.sha256(data := harness.esp32_image("1.0.0", size=2000)).hexdigest()
    assert api.ask("PUT", f"/v1/images/{sha256}", data, "application/octet-stream")[0] == 201
    made = {"board": "lamp", "version": "1.0.0", "images": [{"component": "app", "variant": "", "sha256": sha256}]}
    assert api.ask("POST", "/v1/releases", made)[0] == 201
    api.close()
    fleet.otad.stop()
    populate(fleet.otad.data / "otad.db", count)
    fleet.otad.start(until="/readyz")
    quiet, done = [], threading.Event()
    threading.Timer(2.0, done.set).start()
    quiet = report_until(device, api, done)
    done.clear()
    outcome = {}

    def push():
        begin = time.monotonic()
        mine = rig.Api(fleet.otad.port, fleet.token(), timeout=300)
        outcome["status"], _, body = mine.ask("PUT", f"/v1/rollouts/{os.urandom(16).hex()}", {"release": "lamp:1.0.0", "selector": "*"})
        outcome["body"], outcome["s"] = body, time.monotonic() - begin
        done.set()

    thread = threading.Thread(target=push)
    thread.start()
    beside = report_until(device, api, done)
    thread.join()
    assert outcome["status"] == 201, outcome
    print(f"push to {count + 1} devices: {outcome['s']:.1f} s")
    print(f"check-ins that report, alone:      {spread(quiet)}")
    print(f"check-ins that report, beside it:  {spread(beside)}")
    return max(beside) > WORST_AIM_S


if __name__ == "__main__":
    sys.exit(main())
