#!/usr/bin/env python3
"""The README's Docker path as printed, with or without a Docker engine.

Builds both images, then runs the README's blocks marked "run: docker" in a shell and updates a simulated device through
them. Without an engine the word `docker` in those blocks is this program, which reads compose.yaml and starts the
services by buildah (chroot isolation, the host's network, folders for volumes). Needs root then, and the ports of compose.yaml.
"""
import json
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
STORE = ROOT / "build/image"
BUILDAH = ["buildah", "--root", str(STORE / "storage"), "--runroot", str(STORE / "run"), "--storage-driver", "vfs"]


def say(text):
    print(f"docker: {text}", flush=True)


def has_engine():
    return shutil.which("docker") and subprocess.run(["docker", "version"], stdout=subprocess.DEVNULL,
                                                     stderr=subprocess.DEVNULL, check=False).returncode == 0


# The stand-in for `docker compose`, run by the blocks through a link named docker.

def expand(text, env):
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: env.get(m.group(1)) or m.group(2), text)


class Services:
    """compose.yaml by buildah. State (containers, process ids) is a file, since each command is a new process."""

    def __init__(self, place):
        import yaml
        self.place = pathlib.Path(place)
        self.compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
        self.file = self.place / "services.json"
        self.state = json.loads(self.file.read_text()) if self.file.exists() else {"containers": {}, "pids": {}}
        dotenv = pathlib.Path(".env")
        lines = dotenv.read_text().splitlines() if dotenv.exists() else []
        self.env = dict(line.split("=", 1) for line in lines if "=" in line)

    def save(self):
        self.file.write_text(json.dumps(self.state))

    def container(self, name):
        if name not in self.state["containers"]:
            made = subprocess.run([*BUILDAH, "from", "--pull-never", "localhost/" + self.compose["services"][name]["image"]],
                                  stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
            self.state["containers"][name] = made
            self.save()
        return self.state["containers"][name]

    def argv(self, name, command, user=None):
        service = self.compose["services"][name]
        words = [*BUILDAH, "run", "--isolation", "chroot", "--network", "host"]
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            path = pathlib.Path(source).resolve() if source.startswith("./") else self.place / "volumes" / source
            if not path.exists():
                path.mkdir(parents=True)
                if not source.startswith("./"):  # a named volume takes the owner that the image's folder has
                    os.chown(path, 10001, 10001)
                    path.chmod(0o700)
            words += ["-v", ":".join([str(path), target, *mode])]
        for key, value in service.get("environment", {}).items():
            words += ["-e", f"{key}={expand(value, self.env).replace('//broker:', '//127.0.0.1:')}"]
        if user or service.get("user"):
            words += ["--user", user or service["user"]]
        return [*words, self.container(name), "--", *command]

    def health(self, name):
        text = (ROOT / "Dockerfile").read_text()
        stage = text[text.index(f" AS {'broker' if name == 'broker' else 'otad'}\n"):]
        return json.loads(re.search(r"^HEALTHCHECK.* CMD (\[.*\])$", stage, re.M).group(1))

    def start(self, name, command):
        with open(self.place / f"{name}.log", "ab") as log:
            child = subprocess.Popen(self.argv(name, command), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     start_new_session=True)
        self.state["pids"][name] = child.pid
        self.save()
        end = time.monotonic() + 60
        while subprocess.run(self.argv(name, self.health(name)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             check=False).returncode:
            if child.poll() is not None or time.monotonic() > end:
                sys.exit(f"{name} is not healthy:\n" + (self.place / f"{name}.log").read_text()[-3000:])
            time.sleep(0.5)
        say(f"{name} is healthy")

    def up(self):
        prepare = self.compose["services"]["prepare"]
        subprocess.run(self.argv("prepare", prepare["entrypoint"]), check=True)
        self.start("broker", ["broker-start"])
        self.start("otad", ["otad"])

    def down(self):
        for pid in self.state["pids"].values():
            end_family(pid)
        for name in self.state["containers"].values():
            subprocess.run([*BUILDAH, "rm", name], stdout=subprocess.DEVNULL, check=False)
        self.state = {"containers": {}, "pids": {}}
        self.save()


def family(pid):
    """`pid` and all that came from it, children last."""
    found = [pid]
    for one in found:
        for task in pathlib.Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def end_family(pid):
    pids = family(pid)
    for one in reversed(pids):
        try:
            os.kill(one, signal.SIGTERM)
        except ProcessLookupError:
            pass
    end = time.monotonic() + 20
    while time.monotonic() < end and any(pathlib.Path(f"/proc/{one}").exists() and state(one) != "Z" for one in pids):
        time.sleep(0.1)
    for one in pids:
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            pass


def state(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def stand_in(args):
    services = Services(os.environ["OTAD_DOCKER_PLACE"])
    if args[:2] == ["compose", "up"]:
        services.up()
        return 0
    if args[:2] == ["compose", "exec"]:
        words = [word for word in args[2:] if word != "-T"]
        os.execvp("buildah", services.argv(words[0], words[1:]))
    if args[:2] == ["compose", "down"]:
        services.down()
        return 0
    print(f"docker: this stand-in does not know: {' '.join(args)}", file=sys.stderr)
    return 2


# The test itself.

def blocks():
    text = (ROOT / "README.md").read_text()
    return re.findall(r"<!-- run: docker -->\n```sh\n(.*?)```", text, re.S)


def shell(script, cwd, env, secret):
    """Run in bash on a terminal of its own; questions for a passphrase are answered. The output."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        # Aliases, as at a prompt.
        os.execvpe("bash", ["bash", "--norc", "-c", "shopt -s expand_aliases\nset -e\n" + script], env)
    out = b""
    answered = 0
    end = time.monotonic() + 1800
    while time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            try:
                part = os.read(terminal, 65536)
            except OSError:
                break
            if not part:
                break
            out += part
            sys.stdout.write(part.decode(errors="replace"))
            sys.stdout.flush()
            asked = len(re.findall(rb"(?i)passphrase[^\n]*: ?$|passphrase[^\n]*: ", out))
            if asked > answered:
                answered = asked
                os.write(terminal, secret.encode() + b"\n")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        sys.exit(f"docker: the block ended with {code}")
    return out.decode(errors="replace")


def ports_are_free():
    for port in (1883, 8484, 8485):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                sys.exit(f"docker: port {port} is in use; compose.yaml publishes it")


def main():
    sys.path[:0] = [str(ROOT / "tests/tools")]
    from esp32_image import image
    with open(ROOT / "build/image.log", "wb") as log:
        if subprocess.run([ROOT / "packaging/image.sh"], stdout=log, stderr=log, check=False).returncode:
            sys.exit("docker: the images do not build, see build/image.log")
    ports_are_free()
    with tempfile.TemporaryDirectory(prefix="otad-docker-") as name:
        place = pathlib.Path(name)
        place.chmod(0o755)
        work = place / "checkout"
        work.mkdir()
        for item in ROOT.iterdir():
            if item.name not in ("build", ".git", ".env", "otad-root"):
                (work / item.name).symlink_to(item)
        env = {**os.environ, "OTAD_DOCKER_PLACE": name}
        stood_in = not has_engine()
        if stood_in:
            (place / "bin").mkdir()
            (place / "bin/docker").symlink_to(pathlib.Path(__file__).resolve())
            env["PATH"] = f"{place}/bin:{env['PATH']}"
        agent = None
        try:
            script = blocks()
            assert len(script) == 4, f"{len(script)} blocks marked in the README"
            (work / "firmware.bin").write_bytes(image("1.0.0", "lamp", "esp32c3", 600_000))
            shell("\n".join(script[:3]), work, env, "correct horse battery")
            keys = list((work / "otad-root").iterdir())
            assert keys and all(b"ENCRYPTED" in key.read_bytes() for key in keys if key.suffix == ".pem"), keys
            agent = subprocess.Popen([ROOT / "build/bin/ota-agent", "--provision", work / "kitchen.prov", "--flash",
                                      work / "kitchen.flash", "--interval", "2"], stdout=open(place / "agent.log", "wb"),
                                     stderr=subprocess.STDOUT)
            end = time.monotonic() + 60
            alias = script[0].split("\n")[2] + "\n"
            while "kitchen" not in shell(alias + "otactl device list", work, env, ""):
                assert time.monotonic() < end, "the device never came"
                time.sleep(1)
            shell(alias + script[3], work, env, "")
            table = shell(alias + "otactl status", work, env, "")
            assert re.search(r"kitchen.*1\.0\.0", table), table
            say("a device was updated through the README's Docker path")
            return 0
        finally:
            if agent:
                agent.terminate()
                agent.wait(20)
            subprocess.run(["docker", "compose", "down", "-v"], cwd=work, env=env, check=False)


if __name__ == "__main__":
    if pathlib.Path(sys.argv[0]).name == "docker":
        sys.exit(stand_in(sys.argv[1:]))
    sys.exit(main())
