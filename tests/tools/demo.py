#!/usr/bin/env python3
"""What otad does, to be followed by eye: a broker, a server and simulated devices on this machine only; two pushes, one power
cut in the middle of a download, and the table at the end. Everything lives in a temporary folder and ends with this program."""
import os
import pathlib
import re
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


def follow(process, until):
    """Print what a program says as it says it, until until() is true."""
    shown = 0
    end = time.monotonic() + 240
    while True:
        is_over = until()
        lines = process.text().splitlines()
        for line in lines[shown:]:
            print("  " + line, flush=True)
        shown = len(lines)
        if is_over:
            return
        if time.monotonic() > end:
            raise AssertionError(f"{process.name} does not end")
        time.sleep(0.05)


def show(fleet, *args, during=None):
    """Print a command, run it, print what it prints; it must succeed."""
    print("$ otactl " + " ".join(shlex.quote(str(word)) for word in args), flush=True)
    process = fleet.ctl.start(*args, cwd=fleet.folder)
    follow(process, lambda: (during and during()) or process.code() is not None)
    if process.wait() != 0:
        raise AssertionError(f"otactl {args[0]} failed")


def two_images(folder):
    """(name, name, chip, what they are) in `folder`: real neighbouring builds where they are at hand, else two made here."""
    real = [SHARED / f"firmware/micropython-esp32-v1.{minor}-app.bin" for minor in (15, 17)]
    if all(path.is_file() for path in real):
        for path in real:
            (folder / path.name).symlink_to(path)
        return real[0].name, real[1].name, "esp32", "MicroPython for the ESP32, two real builds"
    names = []
    for version in ("1.0.0", "1.1.0"):
        names.append(f"lamp-{version}.bin")
        (folder / names[-1]).write_bytes(image(version, "lamp", "esp32c3", 1_500_000))
    return names[0], names[1], "esp32c3", "two images made for this, valid for the ESP32-C3"


class PowerCut:
    """kill -9 of one agent when its download is half way, and its start a while later."""

    def __init__(self, agent):
        self.agent = agent
        self.before = len(agent.text())
        self.off_since = None
        self.is_done = False

    def __call__(self):
        if self.is_done:
            return False
        if self.off_since is None:
            told = re.findall(r"fetching: (\d+)%", self.agent.text()[self.before:])
            if told and int(told[-1]) >= 40:
                self.agent.kill9()
                self.off_since = time.monotonic()
                print(f"  !! power cut: {self.agent.name} is off, {told[-1]} % of the image in its flash", flush=True)
        elif time.monotonic() - self.off_since > 2:
            print(f"  !! power is back: {self.agent.name} starts again", flush=True)
            self.before = len(self.agent.text())
            self.agent.start()
            self.is_done = True
        return False

    def afterwards(self):
        """What the device said after power came back."""
        return [line for line in self.agent.text()[self.before:].splitlines() if not line.startswith("fetching")]


def story(folder):
    first, second, chip, what = two_images(folder)
    fleet = None
    link = SlowLink(0, RATE)
    try:
        heading("a broker and a server, on this machine only")
        fleet = Fleet(folder, public_url=link.url, otad_args=["--notice-spread", "0"])
        link.target = fleet.otad.port
        print(f"  otad serves {fleet.otad.url}")
        print(f"  devices reach it through a link of {RATE // 1000} kB/s each, so that there is something to see")

        heading("the owner's root key, made on the operator's side; the server never has it")
        show(fleet, "init", "--key", "root.pem")

        heading("a kind of board, and four devices of it")
        show(fleet, "board", "add", "lamp", "--chip", chip)
        for name in DEVICES:
            print(f"$ otactl provision --board lamp --name {name} > {name}.prov")
            print(f"$ ota-agent --provision {name}.prov --flash {name}.flash &", flush=True)
            fleet.agent(name, interval_s=2)
        wait_for("all devices to check in", lambda: len(fleet.devices()) == len(DEVICES), 30, alive=fleet.agents)

        heading(f"the first push ({what})")
        show(fleet, "push", first, "--all", "-y", "--wait", "--timeout", "3m")

        heading(f"the second push, and a power cut for {CUT} in the middle of its download")
        cut = PowerCut(next(agent for agent in fleet.agents if agent.name == CUT))
        show(fleet, "push", second, "--all", "-y", "--wait", "--timeout", "3m", during=cut)
        if not cut.is_done:
            raise AssertionError(f"{CUT} was too fast for the power cut")
        print(f"  what {CUT} said after power came back:")
        for line in cut.afterwards():
            print("    " + line)

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
