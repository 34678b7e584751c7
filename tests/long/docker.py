#!/usr/bin/env python3
"""The README's Docker path as printed, with or without a Docker engine.

Builds both images, then runs the README's blocks marked "run: docker" in a shell, on a terminal and in a folder of its own,
and updates a simulated device through them. Without an engine the word `docker` is tests/tools/compose.py there, and all
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
PASSPHRASE = "correct horse battery"
ISOLATED = "--isolated"


def say(text):
    print(f"docker: {text}", flush=True)


def has_engine():
    return shutil.which("docker") and subprocess.run(["docker", "version"], stdout=subprocess.DEVNULL,
                                                     stderr=subprocess.DEVNULL, check=False).returncode == 0


def blocks():
    text = (ROOT / "README.md").read_text()
    found = re.findall(r"<!-- run: docker -->\n```sh\n(.*?)```", text, re.S)
    if len(found) != 4:
        sys.exit(f"docker: {len(found)} blocks are marked in README.md")
    return found


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


def walk(work, env, place):
    """The README's way from nothing to an updated device; `work` is the checkout."""
    sys.path[:0] = [str(ROOT / "tests/tools")]
    from esp32_image import image
    start, init, board, push = blocks()
    alias = re.search(r"^alias .*\n", start, re.M).group() if "alias " in start else ""
    (work / "firmware.bin").write_bytes(image("1.0.0", "lamp", "esp32c3", 600_000))
    shell(start, work, env)
    refuse_unmounted(work, env)
    said = shell(init, work, env)
    assert "Copy it off this machine" in said, said
    root = work / "otad-root"
    assert root.stat().st_uid == 10001 and root.stat().st_mode & 0o777 == 0o755  # a build by others than root reads it
    keys = list(root.iterdir())
    assert [key.name for key in keys] == ["root.pem"] and b"ENCRYPTED" in keys[0].read_bytes(), keys
    assert keys[0].stat().st_mode & 0o777 == 0o600
    shell(alias + board, work, env)
    with open(place / "agent.log", "wb") as log:
        agent = subprocess.Popen([ROOT / "build/bin/ota-agent", "--provision", "kitchen.prov", "--flash", "kitchen.flash"],
                                 cwd=work, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while "kitchen" not in shell(alias + "otactl device list", work, env):
            assert time.monotonic() < end, "the device never came"
            time.sleep(1)
        # It looks every five minutes by itself: that it comes at once is the broker's doing.
        begin = time.monotonic()
        shell(alias + push, work, env)
        assert time.monotonic() - begin < 60, "the device was not woken"
        table = shell(alias + "otactl status", work, env)
        assert re.search(r"kitchen.*1\.0\.0", table), table
    except BaseException:
        sys.stderr.write((place / "agent.log").read_text()[-3000:])
        raise
    finally:
        agent.terminate()
        agent.wait(20)


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
        work = place / "checkout"
        shutil.copytree(ROOT, work, ignore=shutil.ignore_patterns("build", "build-*", ".git", ".env", "otad-root"))
        # Never the project of an otad that somebody uses on this machine.
        env = {**os.environ, "OTAD_DOCKER_PLACE": name, "COMPOSE_PROJECT_NAME": f"otad-long-{os.getpid()}"}
        if stood_in:
            (place / "bin").mkdir()
            (place / "bin/docker").symlink_to(ROOT / "tests/tools/compose.py")
            env["PATH"] = f"{place}/bin:{env['PATH']}"
        os.environ["PATH"] = env["PATH"]
        try:
            walk(work, env, place)
        finally:
            subprocess.run(["docker", "compose", "down", "-v", "--rmi", "local"], cwd=work, env=env, check=False)
    say("a device was updated through the README's Docker path" + (", by the stand-in" if stood_in else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
