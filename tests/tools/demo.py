#!/usr/bin/env python3
"""What otad does, to be followed by eye: a broker, a server and simulated devices on this machine only; two pushes, one power
cut in the middle of a download, and the table at the end. Everything lives in a temporary folder and ends with this program."""
import os
import pathlib
import shlex
import signal
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("OTAD_BIN", str(ROOT / "build/bin"))
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/tools")]

from esp32_image import image  # noqa: E402
from harness import SHARED, Fleet, wait_for  # noqa: E402
from slow_link import SlowLink  # noqa: E402

DEVICES = ["kitchen", "hall", "cellar", "attic"]
CUT = "cellar"
RATE = 400_000  # bytes a second of each device's link: slow enough to watch


def heading(text):
    print(f"\n== {text}", flush=True)


def show(fleet, *args):
    """Print a command, run it, print what it printed."""
    print("$ otactl " + " ".join(shlex.quote(str(word)) for word in args), flush=True)
    result = fleet.ctl(*args)
    for line in (result.out + result.err).splitlines():
        print("  " + line)
    return result


def two_images(folder):
    """(path, path, chip, what they are): real neighbouring builds where they are at hand, else two made here."""
    real = [SHARED / f"firmware/micropython-esp32-v1.{minor}-app.bin" for minor in (15, 17)]
    if all(path.is_file() for path in real):
        return real[0], real[1], "esp32", "MicroPython for the ESP32, two real builds"
    made = []
    for version in ("1.0.0", "1.1.0"):
        made.append(folder / f"lamp-{version}.bin")
        made[-1].write_bytes(image(version, "lamp", "esp32c3", 1_500_000))
    return made[0], made[1], "esp32c3", "two images made for this, valid for the ESP32-C3"


def progress(fleet, name):
    """(state, bytes done) of a device's update."""
    task = fleet.devices().get(name, {}).get("assignment") or {}
    return task.get("state"), task.get("bytes") or 0


def power_cut(fleet, push):
    """kill -9 one agent while its download runs, then start it again."""
    agent = next(agent for agent in fleet.agents if agent.name == CUT)
    state, done = wait_for(f"{CUT} to be in the middle of its download",
                           lambda: (lambda at: at if at[0] == "fetching" and at[1] > 0 else None)(progress(fleet, CUT)),
                           60, alive=[agent, fleet.otad])
    agent.kill9()
    print(f"  !! power cut: {CUT} ({state}, it had told of {done // 1024} KiB)", flush=True)
    time.sleep(2)  # how long the light is off; nothing waits for it
    agent.start()
    print(f"  !! power is back: {CUT} starts, finds what it has in flash, and goes on from there", flush=True)
    return push.wait(180)


def story(folder):
    first, second, chip, what = two_images(folder)
    fleet = None
    link = SlowLink(0, RATE)
    try:
        heading("a broker and a server, on this machine only")
        fleet = Fleet(folder, public_url=link.url, otad_args=["--notice-spread", "0"])
        link.target = fleet.otad.port
        print(f"  otad on {fleet.otad.url}, data in {fleet.otad.data}")
        print(f"  devices reach it through a link of {RATE // 1000} kB/s each, so that there is something to see")

        heading("the owner's root key, made on the operator's side; the server never has it")
        show(fleet, "init", "--key", folder / "root.pem")

        heading("a kind of board, and four devices of it")
        show(fleet, "board", "add", "lamp", "--chip", chip)
        for name in DEVICES:
            print(f"$ otactl provision --board lamp --name {name} > {name}.prov; ota-agent --provision {name}.prov ...")
            fleet.agent(name, interval_s=2)
        wait_for("all devices to check in", lambda: len(fleet.devices()) == len(DEVICES), 30, alive=fleet.agents)

        heading(f"the first push ({what})")
        show(fleet, "push", first, "--all", "-y", "--wait", "--timeout", "3m")

        heading(f"the second push, and a power cut for {CUT}")
        print(f"$ otactl push {second} --all -y --wait", flush=True)
        push = fleet.ctl.start("push", second, "--all", "-y", "--wait", "--timeout", "3m")
        code = power_cut(fleet, push)
        for line in push.text().splitlines():
            print("  " + line)
        if code != 0:
            raise AssertionError(f"the push ended with {code}")

        heading("what the server has seen, and had confirmed")
        show(fleet, "status")
        return 0
    finally:
        problems = fleet.close() if fleet else []
        link.close()
        for problem in problems:
            print(problem, file=sys.stderr)


def main():
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="otad-demo-") as name:
        try:
            code = story(pathlib.Path(name))
        except KeyboardInterrupt:
            code = 130
        except AssertionError as error:
            print(f"\ndemo: {error}", file=sys.stderr)
            code = 1
    print("\nNothing is left running." if code == 0 else "")
    return code


if __name__ == "__main__":
    sys.exit(main())
