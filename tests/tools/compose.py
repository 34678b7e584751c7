#!/usr/bin/env python3
"""A stand-in for `docker compose` on a machine without a Docker engine, for compose.yaml's services and the README's commands.

Linked as `docker` it knows `compose up`, `run`, `exec`, `logs` and `down`: services run by buildah with chroot isolation,
as root, on the network of whoever calls, so the caller brings one of its own (see long/docker.py). What chroot isolation
cannot keep apart is left out: the read-only root folder and the limits on privileges. Images are those of
packaging/image.sh; --build builds nothing, but what runs is replaced as by a new image.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
STORE = ROOT / "build/image"
BUILDAH = ["buildah", "--root", str(STORE / "storage"), "--runroot", str(STORE / "run"), "--storage-driver", "vfs"]


def buildah(*words):
    return subprocess.run([*BUILDAH, *words], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()


def expand(text, env):
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: env.get(m.group(1)) or m.group(2), text)


def stage(service):
    build = service["build"]
    return build.get("target", "otad") if isinstance(build, dict) else "otad"


class Services:
    """Containers and processes of one project folder. State is a file, since each command is a new process."""

    def __init__(self, place):
        self.place = pathlib.Path(place)
        self.services = yaml.safe_load(pathlib.Path("compose.yaml").read_text())["services"]
        self.file = self.place / "services.json"
        self.state = json.loads(self.file.read_text()) if self.file.exists() else {"containers": {}, "pids": {}}
        dotenv = pathlib.Path(".env")
        lines = dotenv.read_text().splitlines() if dotenv.exists() else []
        self.env = dict(line.split("=", 1) for line in lines if "=" in line)

    def save(self):
        self.file.write_text(json.dumps(self.state))

    def container(self, name):
        """Services find each other by their names, at this machine's own address."""
        if name not in self.state["containers"]:
            image = {"otad": "otad", "broker": "otad-broker"}[stage(self.services[name])]
            hosts = [word for other in self.services for word in ("--add-host", f"{other}:127.0.0.1")]
            made = buildah("from", "--pull-never", *hosts, f"localhost/{image}")
            # Buildah puts a folder of its own over each volume of the image, above or below what -v names there.
            buildah("config", "--volume", "-", made)
            self.state["containers"][name] = made
            self.save()
        return self.state["containers"][name]

    def volume(self, name, target, container):
        """A named volume begins as the image's folder, owner and mode included."""
        path = self.place / "volumes" / name
        if not path.exists():
            path.mkdir(parents=True)
            origin = pathlib.Path(buildah("mount", container)) / target.lstrip("/")
            if origin.exists():
                shutil.copytree(origin, path, dirs_exist_ok=True)
                os.chown(path, origin.stat().st_uid, origin.stat().st_gid)
        return path

    def argv(self, name, command, terminal):
        service, container = self.services[name], self.container(name)
        words = [*BUILDAH, "run", "--isolation", "chroot", "--network", "host", f"--terminal={str(terminal).lower()}"]
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            if source.startswith("./"):
                path = pathlib.Path(source).resolve()
                path.mkdir(exist_ok=True)
            else:
                path = self.volume(source, target, container)
            words += ["-v", ":".join([str(path), target, *mode])]
        for key, value in service.get("environment", {}).items():
            words += ["-e", f"{key}={expand(value, self.env)}"]
        if service.get("user"):
            words += ["--user", service["user"]]
        return [*words, container, "--", *command]

    def instruction(self, name, pattern):
        """The words of one instruction of a service's image; none where it has no such."""
        text = (ROOT / "Dockerfile").read_text()
        part = text[text.index(f" AS {stage(self.services[name])}\n"):].split("\nFROM ")[0]
        found = re.search(rf"^{pattern} (\[.*\])$", part, re.M)
        return json.loads(found.group(1)) if found else []

    def is_healthy(self, name):
        return subprocess.run(self.argv(name, self.instruction(name, "HEALTHCHECK.* CMD"), False), stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def start(self, name, command, ready):
        """Returns once `ready` says so."""
        with open(self.place / f"{name}.log", "ab") as log:
            child = subprocess.Popen(self.argv(name, command, False), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     start_new_session=True)
        self.state["pids"][name] = child.pid
        self.save()
        end = time.monotonic() + 60
        while not ready(child.pid):
            if child.poll() is not None or time.monotonic() > end:
                sys.exit(f"{name} does not start:\n" + (self.place / f"{name}.log").read_text()[-3000:])
            time.sleep(0.2)

    def end(self, name):
        """One service's process and container; its volumes stay."""
        if name in self.state["pids"]:
            end_family(self.state["pids"].pop(name))
        if name in self.state["containers"]:
            subprocess.run([*BUILDAH, "rm", self.state["containers"].pop(name)], stdout=subprocess.DEVNULL, check=False)
        self.save()

    def start_needed(self):
        """What otad depends on. As compose: it waits until the broker is healthy."""
        subprocess.run(self.argv("prepare", self.services["prepare"]["entrypoint"], False), check=True)
        if not is_alive(self.state["pids"].get("broker", 0)):
            self.start("broker", self.instruction("broker", "CMD"), lambda pid: self.is_healthy("broker"))

    def up(self):
        """Nobody waits for otad."""
        for name in self.services:
            self.end(name)
        self.start_needed()
        entry = self.instruction("otad", "ENTRYPOINT")
        self.start("otad", entry, lambda pid: any(program(one) == entry[0] for one in family(pid)))

    def down(self, has_volumes):
        for name in self.services:
            self.end(name)
        if has_volumes:
            shutil.rmtree(self.place / "volumes", ignore_errors=True)


def family(pid):
    """`pid` and all that came from it, children last."""
    found = [pid]
    for one in found:
        for task in pathlib.Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                pass
    return found


def program(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def end_family(pid):
    """The service itself first: the programs around it end by themselves then."""
    pids = family(pid)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for one in reversed(pids):
            if is_alive(one):
                try:
                    os.kill(one, number)
                except ProcessLookupError:
                    pass
        end = time.monotonic() + 20
        while time.monotonic() < end and any(map(is_alive, pids)):
            time.sleep(0.1)


def main(args):
    services = Services(os.environ["OTAD_DOCKER_PLACE"])
    verb, words = args[1] if args[:1] == ["compose"] else "", args[2:]
    name = next((word for word in words if not word.startswith("-")), "")
    # What stands before the service is compose's, what follows is the program's.
    options, words = (words[:words.index(name)], words[words.index(name) + 1:]) if name else (words, [])
    if (verb, name, options) == ("up", "", ["-d", "--build"]):
        services.up()
    elif verb == "exec" and name and options in ([], ["-T"]):
        os.execvp("buildah", services.argv(name, words, not options))
    elif verb == "run" and name and options in (["--rm"], ["--rm", "-T"]):
        if "depends_on" in services.services[name]:
            services.start_needed()
        words = services.instruction(name, "ENTRYPOINT") + words
        os.execvp("buildah", services.argv(name, words, "-T" not in options))
    elif verb == "logs" and name and not options:
        sys.stdout.write((services.place / f"{name}.log").read_text())
    elif verb == "down" and not name:
        services.down("-v" in options)
    else:
        sys.exit(f"docker: this stand-in does not know: {' '.join(args)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
