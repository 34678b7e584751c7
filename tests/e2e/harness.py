"""Real programs for the end-to-end tests: a broker, otad, otactl, agents. Loopback only, free ports, every process
ended by its own id. Nothing here sleeps for luck: what is waited for is an observable state with a deadline."""
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/tools"))

# pylint: disable=wrong-import-position
from esp32_image import image as esp32_image  # noqa: E402,F401 (tests import it from here)

BIN = pathlib.Path(os.environ.get("OTAD_BIN") or ROOT / "build/dev/bin")
SHARED = pathlib.Path(os.environ.get("OTA_SHARED") or ROOT.parent / "shared")
PASSPHRASE = "correct horse battery staple"

# Under sanitizers everything is several times slower; deadlines are for hangs, not for speed.
PATIENCE = float(os.environ.get("OTAD_TEST_PATIENCE", "1"))


def shared(path):
    """A file of the shared data; the test is skipped where there is none."""
    import pytest
    if not SHARED.is_dir():
        pytest.skip("skipped: no shared data")
    return SHARED / path


def wait_for(what, probe, deadline_s=30.0, every_s=0.05, alive=()):
    """The first true value of probe(); AssertionError that says what never came. Processes in `alive` must live."""
    end = time.monotonic() + deadline_s * PATIENCE
    while True:
        value = probe()
        if value:
            return value
        for process in alive:
            if process.code() is not None:
                raise AssertionError(f"{process.name} ended with {process.code()} while waiting for {what}\n"
                                     + process.tail())
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_s * PATIENCE:.0f} s in vain for {what}"
                                 + "".join(f"\n{p.name}:\n{p.tail()}" for p in alive))
        time.sleep(every_s)


def free_port():
    """A port nobody listens on, outside the range the kernel gives to clients; each worker of a run has its own part."""
    worker = int("".join(filter(str.isdigit, os.environ.get("PYTEST_XDIST_WORKER", "0"))) or 0)
    start = 20000 + worker % 6 * 2000
    for _ in range(2000):
        free_port.last = (free_port.last + 1) % 2000
        port = start + (os.getpid() * 7 + free_port.last) % 2000
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


free_port.last = 0


def sanitizer_env(folder, name):
    """Reports of ASan and UBSan go to files that the test looks at when it ends."""
    return {
        "ASAN_OPTIONS": f"log_path={folder}/{name}.asan:detect_leaks=1:strict_string_checks=1",
        "UBSAN_OPTIONS": f"log_path={folder}/{name}.ubsan:print_stacktrace=1:halt_on_error=1",
        "TSAN_OPTIONS": f"log_path={folder}/{name}.tsan:halt_on_error=0",
    }


def sanitizer_reports(folder):
    return [path for path in sorted(pathlib.Path(folder).rglob("*.*san.*")) if path.stat().st_size]


class Process:
    """One program with its log in a file."""

    def __init__(self, name, argv, folder, env=None, cwd=None, stdin=subprocess.DEVNULL):
        self.name = name
        self.argv = [str(word) for word in argv]
        self.folder = pathlib.Path(folder)
        self.log = self.folder / f"{name}.log"
        self.env = {**os.environ, **sanitizer_env(folder, name), **(env or {})}
        self.cwd = cwd
        self.stdin = stdin
        self.child = None

    def start(self):
        assert self.child is None, f"{self.name} runs already"
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(self.argv, stdin=self.stdin, stdout=out, stderr=subprocess.STDOUT,
                                          env=self.env, cwd=self.cwd)
        return self

    @property
    def pid(self):
        return self.child.pid

    def code(self):
        """None while it runs."""
        return self.child.poll() if self.child else 0

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines=25):
        return "\n".join(self.text().splitlines()[-lines:])

    def signal(self, number):
        self.child.send_signal(number)

    def kill9(self):
        """As a power cut: nothing is finished."""
        if self.child:
            self.child.kill()
            self.child.wait()
            self.child = None

    def wait(self, deadline_s=30.0):
        try:
            code = self.child.wait(deadline_s * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end\n{self.tail()}") from None
        self.child = None
        return code

    def stop(self, deadline_s=20.0):
        """SIGTERM; its exit code."""
        if not self.child:
            return 0
        if self.child.poll() is None:
            self.child.terminate()
        try:
            return self.wait(deadline_s)
        except AssertionError:
            self.kill9()
            raise


class Broker(Process):
    """mosquitto with the configuration and the access rules that are shipped, on a free port with new passwords."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.port = free_port()
        self.passwords = {"otad": "server-" + os.urandom(6).hex(), "device": "device-" + os.urandom(6).hex()}
        source = ROOT / "packaging/mosquitto"
        shutil.copy(source / "otad.acl", folder / "broker.acl")
        passwd = folder / "broker.passwd"
        passwd.write_text("".join(f"{user}:{word}\n" for user, word in self.passwords.items()))
        passwd.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", passwd], check=True)
        text = (source / "otad.conf").read_text()
        text = text.replace("/etc/mosquitto/otad.passwd", str(passwd))
        text = text.replace("/etc/mosquitto/otad.acl", str(folder / "broker.acl"))
        text = text.replace("listener 1883", f"listener {self.port} 127.0.0.1")
        if os.geteuid() == 0:
            text += "user root\n"
        (folder / "broker.conf").write_text(text)
        super().__init__("broker", [shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin"), "-c",
                                    folder / "broker.conf"], folder)

    @property
    def url(self):
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self):
        super().start()
        wait_for("the broker", lambda: can_connect(self.port), alive=[self])
        return self


def can_connect(port):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 0.5).close()
        return True
    return False


class Otad(Process):
    """otad on a data directory of its own."""

    def __init__(self, folder, broker=None, args=(), env=None, data=None, name="otad", public_url=None, wrap=None):
        folder = pathlib.Path(folder)
        self.data = pathlib.Path(data or folder / "data")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.broker = broker
        argv = [BIN / "otad", "--data", self.data, "--listen", f"http://127.0.0.1:{self.port}",
                "--public-url", public_url or self.url]
        more = dict(env or {})
        if broker:
            argv += ["--mqtt", broker.url]
            more.update(OTAD_MQTT_USER="otad", OTAD_MQTT_PASSWORD=broker.passwords["otad"],
                        OTAD_DEVICE_MQTT_USER="device", OTAD_DEVICE_MQTT_PASSWORD=broker.passwords["device"])
        argv = [*argv, *args]
        super().__init__(name, wrap([str(word) for word in argv]) if wrap else argv, folder, env=more)

    def start(self, until="/healthz"):
        self.data.mkdir(mode=0o700, exist_ok=True, parents=True)
        super().start()
        if until:
            wait_for(f"otad's {until}", lambda: self.status(until) == 200, alive=[self])
        return self

    def request(self, method, path, body=None, headers=None, timeout=20.0):
        """(status, headers, bytes) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout * PATIENCE)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def status(self, path):
        """Status of a GET; None when nobody answers."""
        try:
            return self.request("GET", path)[0]
        except (OSError, http.client.HTTPException):
            return None

    def restart(self):
        code = self.stop()
        assert code == 0, f"otad ended with {code}\n{self.tail()}"
        return self.start()


class Result:
    """What a command did."""

    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        words = " ".join(map(str, self.argv)).encode(errors="backslashreplace").decode()  # a report is UTF-8
        return f"$ {words}\nexit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Otactl:
    """Runs otactl against one otad, by its socket, or by URL and token."""

    def __init__(self, otad, env=None):
        self.otad = otad
        self.folder = otad.folder
        self.count = 0
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        self.env = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "OTAD_DATA": str(otad.data),
                    "OTACTL_PASSPHRASE": PASSPHRASE, **(env or {})}

    def start(self, *args, env=None, stdin=subprocess.DEVNULL, cwd=None):
        """In the background; a Process."""
        self.count += 1
        return Process(f"otactl{self.count}", [BIN / "otactl", *args], self.folder, env={**self.env, **(env or {})},
                       stdin=stdin, cwd=cwd).start()

    def run(self, *args, code=None, input=None, env=None, deadline_s=120.0):
        """Run to the end. `code` None: any exit code."""
        self.count += 1
        argv = [BIN / "otactl", *args]
        if isinstance(input, str):
            input = input.encode()
        done = subprocess.run(
            [str(word) for word in argv], input=input if input is not None else b"", stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=deadline_s * PATIENCE, check=False,
            env={**os.environ, **sanitizer_env(self.folder, f"otactl{self.count}"), **self.env, **(env or {})})
        result = Result(["otactl", *args], done.returncode, done.stdout.decode(errors="replace"),
                        done.stderr.decode(errors="replace"))
        result.raw = done.stdout
        if code is not None:
            assert result.code == code, repr(result)
        return result

    def __call__(self, *args, **more):
        """Run; it must succeed. The result."""
        return self.run(*args, **{"code": 0, **more})

    def json(self, *args, **more):
        return self("--json", *args, **more).json()


class Agent(Process):
    """One simulated device: ota-agent with its flash in a file."""

    def __init__(self, name, folder, provision, interval_s=1, args=(), env=None):
        folder = pathlib.Path(folder)
        self.flash = folder / f"{name}.flash"
        self.provision = pathlib.Path(provision)
        super().__init__(name, [BIN / "ota-agent", "--provision", self.provision, "--flash", self.flash,
                                "--interval", str(interval_s), *args], folder, env=env)


class Fleet:
    """Broker (or none), otad with a root, one board, N agents."""

    def __init__(self, folder, broker=True, otad_args=(), otad_env=None, public_url=None, wrap=None):
        self.folder = pathlib.Path(folder)
        self.agents = []
        self.links = []
        self.broker = self.otad = None
        try:
            self.broker = Broker(self.folder).start() if broker else None
            self.otad = Otad(self.folder, self.broker, otad_args, otad_env, public_url=public_url, wrap=wrap)
            self.otad.start()
        except BaseException:
            self.close()
            raise
        self.ctl = Otactl(self.otad)

    def init(self):
        """Root 1, as scripts make it."""
        root = self.folder / "root-key"
        root.mkdir(exist_ok=True, mode=0o700)
        return self.ctl("init", "--key", root / "root.pem")

    def board(self, name="lamp", chip="esp32c3", *more):
        return self.ctl("board", "add", name, "--chip", chip, *more)

    def provision(self, name, board="lamp"):
        """A provisioning file for a new device that needs no approval."""
        path = self.folder / f"{name}.prov"
        path.write_bytes(self.ctl("provision", "--board", board, "--name", name).raw)
        path.chmod(0o600)
        return path

    def agent(self, name, board="lamp", start=True, **more):
        agent = Agent(name, self.folder, self.provision(name, board), **more)
        self.agents.append(agent)
        return agent.start() if start else agent

    def add(self, count, board="lamp", prefix="lamp", **more):
        """`count` agents, started; returns once the server has seen each."""
        first = len(self.agents)
        new = [self.agent(f"{prefix}-{first + i}", board, **more) for i in range(count)]
        wait_for(f"{count} devices to be enrolled", lambda: len(self.devices()) >= len(self.agents), 60, alive=new)
        return new

    def token(self):
        """The administrator's, as the first start wrote it."""
        return (self.otad.data / "admin.token").read_text().strip()

    def devices(self):
        """{name: what the server says of the device}"""
        rows = self.ctl.json("device", "list")
        rows = rows if isinstance(rows, list) else rows.get("items", rows.get("devices", []))
        return {row["name"]: row for row in rows}

    def image(self, name, **how):
        """A made-up image in a file."""
        path = self.folder / f"{name}.bin"
        path.write_bytes(esp32_image(**{"version": name, "size": 200_000, **how}))
        return path

    def wait_running(self, version, names=None, deadline_s=120.0):
        """Until every named device (all agents without names) is seen running `version`, confirmed."""
        names = set(names or (agent.name for agent in self.agents))

        def seen():
            rows = self.devices()
            return all(name in rows and is_running(rows[name], version) for name in names)

        try:
            wait_for(f"{sorted(names)} to run {version}", seen, deadline_s, every_s=0.2, alive=[self.otad])
        except AssertionError as error:
            rows = json.dumps(self.devices(), indent=1)
            raise AssertionError(f"{error}\n{rows}\n" + "\n".join(f"{a.name}:\n{a.tail(8)}" for a in self.agents)) \
                from None

    def close(self):
        """End everything; what ended badly, as lines of text."""
        problems = []
        for process in [*self.agents, self.otad, self.broker]:
            if process is None or process.child is None:
                continue
            try:
                code = process.stop()
            except AssertionError as error:
                problems.append(str(error))
                continue
            if code not in (0, -signal.SIGTERM) and process is not self.broker:
                problems.append(f"{process.name} ended with {code}\n{process.tail()}")
        for link in self.links:
            link.close()
        return problems


def is_running(row, version):
    """Whether a device of a JSON list was seen running `version`, confirmed."""
    running = row.get("running") or {}
    return running.get("version") == version and running.get("confirmed", False) is True


def programs_missing(*names):
    return [name for name in names if not (BIN / name).exists()]
