#!/usr/bin/env python3
"""The Docker path of the documents as printed, with or without a Docker engine.

Builds both images, then runs the blocks marked "run: docker" of README.md and docs/operations.md, and their lines in the
text, in a shell, on a terminal and in a checkout of its own: updates a simulated device, backs up, restores on nothing,
updates the device again, and upgrades. Without an engine the word `docker` is tests/tools/compose.py there, and all
of it runs in a network of its own, so that compose.yaml's ports are free; that needs root.
"""
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/tools"))

from esp32_image import image  # noqa: E402

PASSPHRASE = "correct horse battery"
ISOLATED = "--isolated"


def say(text):
    print(f"docker: {text}", flush=True)


def has_engine():
    return shutil.which("docker") and subprocess.run(["docker", "version"], stdout=subprocess.DEVNULL,
                                                     stderr=subprocess.DEVNULL, check=False).returncode == 0


def blocks(document, count):
    found = re.findall(r"<!-- run: docker -->\n```sh\n(.*?)```", (ROOT / document).read_text(), re.S)
    if len(found) != count:
        sys.exit(f"docker: {len(found)} blocks are marked in {document}")
    return found


def line(document, beginning):
    """A command that stands in the text."""
    found = set(re.findall(rf"`({re.escape(beginning)}[^`]*)`", (ROOT / document).read_text()))
    if len(found) != 1:
        sys.exit(f"docker: {document} has {len(found)} lines that begin with: {beginning}")
    return found.pop() + "\n"


def shell(script, cwd, env):
    """Run in bash on a terminal of its own; who asks for a passphrase is answered. The output."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        # Aliases, as at a prompt.
        os.execvpe("bash", ["bash", "--norc", "-c", "shopt -s expand_aliases\nset -e\n" + script], env)
    out = b""
    answered = 0
    end = time.monotonic() + 900
    while True:
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
        if select.select([terminal], [], [], 1)[0]:
            try:
                part = os.read(terminal, 65536)
            except OSError:
                break
            out += part
            sys.stdout.write(part.decode(errors="replace"))
            sys.stdout.flush()
            asked = len(re.findall(rb"(?:passphrase for [^\n]*|once more): ", out))
            for _ in range(asked - answered):
                os.write(terminal, PASSPHRASE.encode() + b"\n")
            answered = asked
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    if code:
        sys.exit(f"docker: the block ended with {code}:\n{script}")
    return out.decode(errors="replace")


def own_network():
    """One interface that `hostname -I` lists; nothing else can hold a port here."""
    for words in ("link set lo up", "link add otad0 type bridge", "addr add 192.0.2.1/24 dev otad0", "link set otad0 up"):
        subprocess.run(["ip", *words.split()], check=True)


def ports_are_free():
    for port in (1883, 8484, 8485):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                sys.exit(f"docker: port {port} is in use; compose.yaml publishes it")


def refuse_unmounted(work, env):
    """init makes no key in a folder that ends with the container."""
    said = subprocess.run(["docker", "compose", "exec", "-T", "otad", "env", "OTACTL_ROOT_DIR=/srv", "OTACTL_PASSPHRASE="
                           + PASSPHRASE, "otactl", "init"], cwd=work, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False, text=True)
    assert said.returncode == 1 and "'/srv' is no mounted folder" in said.stdout, said


class Device:
    """A simulated one: its agent runs while this is entered, its flash stays."""

    def __init__(self, work, place):
        self.work = work
        self.log = place / "agent.log"

    def __enter__(self):
        with open(self.log, "ab") as log:
            self.begin = log.tell()
            self.agent = subprocess.Popen([ROOT / "build/bin/ota-agent", "--provision", "kitchen.prov", "--flash",
                                           "kitchen.flash"], cwd=self.work, stdout=log, stderr=log)

    def __exit__(self, kind, *_):
        self.agent.terminate()
        self.agent.wait(20)
        if kind:
            sys.stderr.write(self.log.read_text()[-3000:])

    def connected(self):
        """Waits until it can be woken."""
        end = time.monotonic() + 60
        while b"connected to the broker" not in self.log.read_bytes()[self.begin:]:
            assert time.monotonic() < end, "the broker does not take the device"
            time.sleep(0.2)


def listed(otactl, words, pattern, work, env):
    """Waits until otactl shows it."""
    end = time.monotonic() + 60
    while not re.search(pattern, shell(otactl + f"otactl {words}", work, env)):
        assert time.monotonic() < end, f"otactl {words} never showed {pattern}"
        time.sleep(1)


def push(otactl, text, version, work, env):
    """By the README's line. A device looks every five minutes by itself: that it comes at once is the broker's doing."""
    (work / "firmware.bin").write_bytes(image(version, "lamp", "esp32c3", 600_000))
    begin = time.monotonic()
    shell(otactl + text, work, env)
    assert time.monotonic() - begin < 60, "the device was not woken"
    listed(otactl, "status", rf"kitchen.*{re.escape(version)}", work, env)


def walk(work, env, place):
    """The documents' way from nothing to an updated device, to another machine and to another version; `work` is the checkout."""
    start, init, board, firmware = blocks("README.md", 4)
    backup, restore = blocks("docs/operations.md", 2)
    otactl = re.search(r"^alias .*\n", start, re.M).group()
    device = Device(work, place)
    shell(start, work, env)
    refuse_unmounted(work, env)
    said = shell(init, work, env)
    assert "Copy it off this machine" in said, said
    root = work / "otad-root"
    assert root.stat().st_uid == 10001 and root.stat().st_mode & 0o777 == 0o755  # a build by others than root reads it
    keys = list(root.iterdir())
    assert [key.name for key in keys] == ["root.pem"] and b"ENCRYPTED" in keys[0].read_bytes(), keys
    assert keys[0].stat().st_mode & 0o777 == 0o600
    shell(otactl + board, work, env)
    with device:
        listed(otactl, "device list", "kitchen", work, env)
        push(otactl, firmware, "1.0.0", work, env)
    read_lines(otactl, work, env)
    kept = work / "SOMEWHERE-ELSE"
    kept.mkdir()
    shell(backup, work, env)
    assert {path.name for path in kept.iterdir()} == {"otad.backup", "device.password"}
    assert [key.name for key in root.iterdir()] == ["root.pem"]
    shell(line("docs/operations.md", "docker compose down -v"), work, env)
    shutil.rmtree(root)
    shell(restore, work, env)
    with device:
        device.connected()
        push(otactl, firmware, "1.1.0", work, env)
    shell(line("docs/operations.md", "git pull"), work, env)
    assert (work / NEWS).exists(), "nothing was pulled"
    with device:
        device.connected()
        push(otactl, firmware, "1.2.0", work, env)


def read_lines(otactl, work, env):
    """Those that show something, or make a file through the container's output."""
    said = shell(otactl + line("README.md", "otactl image inspect -"), work, env)
    assert "1.0.0" in said and "esp32c3" in said, said
    shell(otactl + line("README.md", "(umask 077; otactl provision --board lamp --name porch"), work, env)
    assert (work / "porch.prov").stat().st_mode & 0o777 == 0o600 and (work / "porch.prov").stat().st_size
    said = shell(line("README.md", "docker compose logs"), work, env)
    assert re.search(r"operators' key sha256//\S+", said), said
    said = shell(otactl + line("README.md", "otactl token create"), work, env)
    assert said.strip(), said


NEWS = "news"


def check_out(place):
    """A clone, and one commit that it has not pulled yet."""
    origin, work = place / "origin", place / "checkout"
    shutil.copytree(ROOT, origin, ignore=shutil.ignore_patterns("build", "build-*", ".git", ".env", "otad-root"))
    git = ["git", "-c", "user.name=otad", "-c", "user.email=otad@localhost", "-C", origin]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "before"], check=True)
    subprocess.run(["git", "clone", "-q", origin, work], check=True)
    (origin / NEWS).write_text("news\n")
    subprocess.run([*git, "add", NEWS], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "after"], check=True)
    return work


def main():
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what was started is taken down
    stood_in = not has_engine()
    if ISOLATED not in sys.argv:
        with open(ROOT / "build/image.log", "wb") as log:
            if subprocess.run([ROOT / "packaging/image.sh"], stdout=log, stderr=log, check=False).returncode:
                sys.exit("docker: the images do not build, see build/image.log")
        for line in (ROOT / "build/image.log").read_text().splitlines():
            if re.match(r"(localhost/)?otad(-broker)? +latest ", line):
                say(line)
        if stood_in:
            os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, __file__, ISOLATED])
    if stood_in:
        own_network()
    ports_are_free()
    with tempfile.TemporaryDirectory(prefix="otad-docker-") as name:
        place = pathlib.Path(name)
        place.chmod(0o755)
        work = check_out(place)
        # Never the project of an otad that somebody uses on this machine.
        env = {**os.environ, "OTAD_DOCKER_PLACE": name, "COMPOSE_PROJECT_NAME": f"otad-long-{os.getpid()}"}
        (place / "bin").mkdir()
        env["PATH"] = f"{place}/bin:{env['PATH']}"
        if stood_in:
            (place / "bin/docker").symlink_to(ROOT / "tests/tools/compose.py")
        if os.getuid() == 0 and not shutil.which("sudo"):
            (place / "bin/sudo").symlink_to(shutil.which("env"))  # which runs its words, too
        os.environ["PATH"] = env["PATH"]
        try:
            walk(work, env, place)
        finally:
            subprocess.run(["docker", "compose", "down", "-v", "--rmi=local"], cwd=work, env=env, check=False)
    say("a device was updated through the documents' Docker path, before and after a restore and an upgrade" + (", by the stand-in" if stood_in else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
