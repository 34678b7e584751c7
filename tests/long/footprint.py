#!/usr/bin/env python3
"""What otad weighs: resident memory with 10,000 enrolled devices, stripped programs, the container image, packages.

usage: footprint.py [--devices N]
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ["OTAD_BIN"] = str(ROOT / "build/bin")
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/bench")]

from harness import BIN, Fleet  # noqa: E402
from run import enroll, herd  # noqa: E402


def memory(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {name: int(kib) for name, kib in re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB", text, re.M)}


def row(what, value):
    print(f"{what:<52}{value}", flush=True)


def running(folder, count):
    fleet = Fleet(folder, broker=False, otad_args=["--log-level", "warn"])
    try:
        fleet.init()
        fleet.board("lamp", "esp32c3")
        empty = memory(fleet.otad.pid)
        devices = enroll(fleet, folder, count)
        herd(fleet.otad.port, devices, 5)
        fleet.otad.restart()
        herd(fleet.otad.port, devices, 2)
        full = memory(fleet.otad.pid)
        row("resident, no device (of it anonymous)", f"{empty['VmRSS']} KiB ({empty['RssAnon']})")
        row(f"resident, {count} devices after a restart and polls", f"{full['VmRSS']} KiB ({full['RssAnon']})")
        row("anonymous bytes a device", f"{(full['RssAnon'] - empty['RssAnon']) * 1024 // count}")
        row("database", f"{sum(f.stat().st_size for f in fleet.otad.data.glob('*.db*')) // 1024} KiB")
    finally:
        for problem in fleet.close():
            print(problem, file=sys.stderr)


def programs(folder):
    for name in ("otad", "otactl", "ota-agent"):
        shutil.copy(BIN / name, folder / name)
        subprocess.run(["strip", folder / name], check=True)
        row(f"{name}, stripped", f"{(folder / name).stat().st_size // 1024} KiB")


def images():
    store = ROOT / "build/image"
    if not (store / "storage").is_dir():
        row("container images", "not built (./dev image)")
        return
    listed = subprocess.run(["buildah", "--root", store / "storage", "--runroot", store / "run", "--storage-driver", "vfs",
                             "images", "--format", "{{.Name}} {{.Size}}"], stdout=subprocess.PIPE, text=True,
                            check=False).stdout
    for line in sorted(set(listed.splitlines())):
        if "otad" in line or "debian" in line:
            row(f"image {line.split()[0]}", " ".join(line.split()[1:]))


def packages():
    for role in ("demo", "test"):
        said = subprocess.run([ROOT / "packaging/packages", "sizes", role], stdout=subprocess.PIPE, text=True, check=True).stdout
        row(f"packages of ./dev {role} on a bare Debian", said.strip())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=10000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="otad-footprint-") as name:
        folder = pathlib.Path(name)
        running(folder, args.devices)
        programs(folder)
    images()
    packages()
    return 0


if __name__ == "__main__":
    sys.exit(main())
