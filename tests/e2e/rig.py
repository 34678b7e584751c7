"""What the reliability tests share: operators and devices in Python, and the book of what otad has acknowledged.

A request counts as acknowledged when its good answer arrived; the book is held against the server after every accident.
"""
import hashlib
import http.client
import json
import os
import random
import socket
import threading
import time
import uuid

import harness
from harness import esp32_image

import otaproto  # noqa: E402 (harness puts tests/tools in the path)

GONE = (OSError, http.client.HTTPException)  # the server went away in the middle
IDLE, FETCHING, STAGED, TRIAL, CONFIRMED = range(5)


class Lost(AssertionError):
    """Something that was acknowledged is not there, or something half is."""


class Api:
    """One kept-alive connection to otad."""

    def __init__(self, port, token=None, timeout=30.0):
        self.port, self.timeout = port, timeout * harness.PATIENCE
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.connection = None

    def ask(self, method, path, body=None, kind="application/json", headers=None):
        """(status, headers, bytes). GONE when there was no whole answer; the next call connects anew."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        more = {**self.headers, **({"Content-Type": kind} if body is not None else {}), **(headers or {})}
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
            self.connection.request(method, path, body=body, headers=more)
            answer = self.connection.getresponse()
            data = answer.read()
        except GONE:
            self.close()
            raise
        if answer.will_close:
            self.close()
        return answer.status, answer.headers, data

    def put(self, path, data, kind="application/octet-stream"):
        """As curl does it: nothing of the body is sent before the server wants it, so that a refusal is heard."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
            self.connection.putrequest("PUT", path)
            for name, value in {**self.headers, "Content-Type": kind, "Content-Length": str(len(data)),
                                "Expect": "100-continue"}.items():
                self.connection.putheader(name, value)
            self.connection.endheaders()
            if self.connection.sock.recv(12, socket.MSG_PEEK).endswith(b" 100"):
                self.connection.send(data)
            answer = self.connection.getresponse()
            body = answer.read()
        except GONE:
            self.close()
            raise
        if answer.will_close or answer.status >= 300:
            self.close()
        return answer.status, answer.headers, body

    def json(self, path):
        status, _, data = self.ask("GET", path)
        if status != 200:
            raise Lost(f"GET {path}: {status} {data[:200]!r}")
        return json.loads(data)

    def every(self, path):
        """All items of a list, page by page."""
        after, items = "", []
        while after is not None:
            page = self.json(f"{path}?limit=500" + (f"&after={after}" if after else ""))
            items += page["items"]
            after = page["next"]
        return items

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Device:
    """A device as docs/protocol.md describes it, without flash or patience."""

    def __init__(self, secret, board, serial):
        self.secret_id, self.secret = bytes.fromhex(secret["id"]), bytes.fromhex(secret["secret"])
        self.vendor, self.cls = (uuid.UUID(hex=board[name].replace("-", "")).bytes for name in ("vendor_id", "class_id"))
        self.serial, self.nonce_d = serial, os.urandom(16)
        self.id = self.k_dev = self.receipt = None
        self.counter = 0
        self.running = None   # (sequence, digest) as otad last acknowledged it
        self.untold = []      # those sent after it without an answer: any of them may be stored
        self.root = 1

    def enroll(self, api):
        """The status."""
        status, _, data = api.ask("POST", "/d/v1/enroll", kind="application/cbor", body=otaproto.enroll_request(
            self.secret, self.secret_id, self.vendor, self.cls, self.serial, self.nonce_d))
        if status == 200:
            payload = otaproto.cbor2.loads(otaproto.decode(data).value[2])
            if payload[2] != self.nonce_d:
                raise Lost("an enrollment was answered with another's nonce")
            self.id, self.receipt = payload[4], payload[5]
            self.k_dev = otaproto.device_key(self.secret, self.id, self.nonce_d, payload[3])
        return status

    @property
    def name(self):
        return self.id.hex()

    def checkin_bytes(self, **said):
        self.counter += 1
        running = said.pop("running", self.running)
        fields = otaproto.checkin_fields(self.id, os.urandom(16), self.counter, said.pop("root", self.root),
                                         list(running) if running else None, **said)
        return otaproto.checkin(self.k_dev, fields)

    def checkin(self, api, **said):
        """(status, ticket's fields or None)."""
        status, _, data = api.ask("POST", "/d/v1/checkin", self.checkin_bytes(**said), "application/cbor")
        ticket = None
        if status == 200:
            ticket = otaproto.cbor2.loads(otaproto.decode(data).value[2])
        return status, ticket

    def report(self, api):
        """A check-in that says it runs something new; the status."""
        news = (self.counter + 1, hashlib.sha256(os.urandom(8)).digest())
        self.untold.append(news)
        status, _ = self.checkin(api, running=news, state=CONFIRMED)
        if status == 200:
            self.running, self.untold = news, []
        return status

    def verify(self, api):
        """otad knows the device and says of it what it acknowledged."""
        row = api.json(f"/v1/devices/{self.name}")
        if row["state"] != "approved":
            raise Lost(f"device {self.name} was approved and is {row['state']}")
        if not self.running:
            return
        stored = bytes.fromhex(row["running"]["digest"]) if row["running"] else None
        if stored not in [digest for _, digest in [self.running, *self.untold]]:
            raise Lost(f"device {self.name} reported {self.running[1].hex()[:12]}, stored is {row['running']}")


class Book:
    """What was acknowledged. Threads add, the test verifies between two lives of the server."""

    def __init__(self):
        self.images, self.releases, self.pushes, self.devices, self.deleted = {}, {}, {}, [], set()
        self.acks = {"upload": 0, "release": 0, "push": 0, "enroll": 0, "check-in": 0, "delete": 0}
        self.news = []
        self.lock = threading.Lock()

    def add(self, kind, verify):
        with self.lock:
            self.acks[kind] += 1
            if verify:
                self.news.append(verify)

    @property
    def total(self):
        return sum(self.acks.values())

    def verify(self, api, every=False):
        """Hold what was acknowledged since the last time (and a sample of the rest, or all) against the server."""
        news, self.news = self.news, []
        for check in news:
            check(api)
        for table, check in ((self.images, verify_image), (self.releases, verify_release), (self.pushes, verify_push)):
            keys = [key for key in table if key not in self.deleted]
            for key in keys if every else random.sample(keys, min(3, len(keys))):
                check(api, key, table[key])
        for device in self.devices if every else random.sample(self.devices, min(3, len(self.devices))):
            device.verify(api)
        for key in self.deleted:
            if api.ask("HEAD", f"/v1/images/{key}")[0] == 200:
                raise Lost(f"image {key} was deleted and is back")


def verify_image(api, sha256, size):
    """Its row and all of its bytes."""
    row = api.json(f"/v1/images/{sha256}")
    status, _, data = api.ask("GET", f"/i/{sha256}")
    if row["damaged"] or status != 200 or len(data) != size or hashlib.sha256(data).hexdigest() != sha256:
        raise Lost(f"image {sha256}: {status}, {len(data)} bytes of {size}, damaged {row['damaged']}")


def verify_release(api, name, digest):
    row = api.json(f"/v1/releases/{name}")
    status, _, data = api.ask("GET", f"/v1/releases/{name}/envelope")
    if row["digest"] != digest or row["state"] != "signed" or status != 200 or len(data) != row["envelope_size"]:
        raise Lost(f"release {name}: {row}, envelope {status} {len(data)}")


def verify_push(api, ident, targets):
    row = api.json(f"/v1/rollouts/{ident}")
    tasks = api.json(f"/v1/rollouts/{ident}/assignments")["items"]
    if row["targets"] != targets or len(tasks) != targets:
        raise Lost(f"push {ident}: {row['targets']} targets and {len(tasks)} assignments, not {targets}")


def nothing_half(api):
    """Whatever the server lists is whole, whether its maker was told of it or not."""
    for row in api.every("/v1/images"):
        verify_image(api, row["sha256"], row["size"])
    for row in api.every("/v1/releases"):
        if row["state"] == "signed":
            verify_release(api, row["id"].replace(":", "%3A"), row["digest"])
    for row in api.every("/v1/rollouts"):
        verify_push(api, row["id"], row["targets"])


class Operator:
    """Uploads, makes releases, pushes and deletes, one after the other, as fast as otad answers."""

    def __init__(self, book, port, token, tag, board="lamp", sizes=(3000, 120_000)):
        self.api, self.book, self.board, self.tag, self.sizes = Api(port, token), book, board, tag, sizes
        self.count = 0
        self.refusals = []  # what was answered to the last round, where it was not good

    def ask(self, *args, **more):
        answer = self.api.ask(*args, **more)
        if answer[0] >= 300:
            self.refusals.append((*args[:2], answer[0], answer[2][:300]))
        return answer

    def upload(self, version, size):
        """(status, sha256)"""
        data = esp32_image(version, size=size, seed=self.tag)
        sha256 = hashlib.sha256(data).hexdigest()
        status, _, _ = self.ask("PUT", f"/v1/images/{sha256}", data, "application/octet-stream")
        if status in (200, 201):
            self.book.images[sha256] = len(data)
            self.book.add("upload", lambda api: verify_image(api, sha256, len(data)))
        return status, sha256

    def release(self, version, sha256):
        """(status, the API's name of it)"""
        status, _, data = self.ask("POST", "/v1/releases", {
            "board": self.board, "version": version, "images": [{"component": "app", "variant": "", "sha256": sha256}]})
        name = f"{self.board}%3A{version}"
        if status in (200, 201):
            digest = json.loads(data)["digest"]
            self.book.releases[name] = digest
            self.book.add("release", lambda api: verify_release(api, name, digest))
        return status, name

    def push(self, name, selector):
        ident = uuid.uuid4().hex
        status, _, data = self.ask("PUT", f"/v1/rollouts/{ident}",
                                       {"release": name.replace("%3A", ":"), "selector": selector, "hold": False})
        if status in (200, 201):
            targets = json.loads(data)["targets"]
            self.book.pushes[ident] = targets
            self.book.add("push", lambda api: verify_push(api, ident, targets))
        return status

    def delete(self, sha256):
        status, _, _ = self.ask("DELETE", f"/v1/images/{sha256}")
        if status == 204:
            self.book.deleted.add(sha256)
            self.book.images.pop(sha256, None)
            self.book.add("delete", None)
        return status

    def round(self, selector):
        """One of each; every status in order."""
        self.count += 1
        self.refusals = []
        version = f"{self.tag}.{self.count}"
        seen = [self.upload(version, random.randint(*self.sizes))]
        if seen[0][0] in (200, 201):
            seen.append(self.release(version, seen[0][1]))
        if seen[-1][0] in (200, 201) and len(seen) == 2:
            seen.append((self.push(seen[1][1], selector), None))
        spare = self.upload(version + ".spare", self.sizes[0])
        seen.append(spare)
        if spare[0] in (200, 201):
            # what an unanswered delete did is anybody's guess: out of the book before it is sent
            with self.book.lock:
                self.book.images.pop(spare[1], None)
                self.book.news = [check for check in self.book.news if spare[1] not in closure_of(check)]
            seen.append((self.delete(spare[1]), None))
        return [status for status, _ in seen]


def closure_of(check):
    return [cell.cell_contents for cell in check.__closure__ or ()]


class Beside:
    """Threads that run beside what is tested, each until `halt` is set at the end."""

    def __init__(self, *steps):
        self.halt = threading.Event()
        self.threads = [threading.Thread(target=step, args=args, daemon=True) for step, *args in steps]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.halt.set()
        for thread in self.threads:
            thread.join(60)


class Crew:
    """Operators, devices and newcomers at work at once until the server dies or stop() is called."""

    def __init__(self, book, port, token, secret, board, operators=2, devices=2, newcomers=1):
        self.book, self.port, self.token = book, port, token
        self.secret, self.board = secret, board
        self.operators = [Operator(book, port, token, f"{os.urandom(8).hex()}") for _ in range(operators)]
        self.fixed = []
        self.n_devices, self.n_newcomers = devices, newcomers
        self.threads, self.odd = [], []
        self.halt = threading.Event()

    def enlist(self, api):
        """The devices that report all the time."""
        for _ in range(self.n_devices):
            device = Device(self.secret, self.board, os.urandom(8))
            if device.enroll(api) != 200 or device.report(api) != 200:
                raise AssertionError("a device could not be enrolled")
            self.fixed.append(device)
            self.book.devices.append(device)

    def _loop(self, step):
        try:
            while not self.halt.is_set():
                step()
        except GONE:
            pass
        except Exception as error:  # pylint: disable=broad-except
            self.odd.append(error)

    def _operate(self, operator):
        def step():
            bad = [status for status in operator.round(random.choice(self.fixed).name) if status not in (200, 201, 204)]
            if bad:
                raise AssertionError(f"an operator was answered {operator.refusals}")
        return step

    def _report(self, device):
        api = Api(self.port)

        def step():
            status = device.report(api)
            if status != 200:
                raise AssertionError(f"a report was answered {status}")
            self.book.add("check-in", None)
        return step

    def _arrive(self):
        api = Api(self.port)

        def step():
            device = Device(self.secret, self.board, os.urandom(8))
            if device.enroll(api) != 200:
                raise AssertionError("an enrollment was refused")
            self.book.devices.append(device)
            self.book.add("enroll", device.verify)
            status = device.report(api)
            if status != 200:
                raise AssertionError(f"a first report was answered {status}")
            self.book.add("check-in", device.verify)
        return step

    def start(self):
        self.halt.clear()
        steps = [self._operate(one) for one in self.operators] + [self._report(one) for one in self.fixed]
        steps += [self._arrive() for _ in range(self.n_newcomers)]
        self.threads = [threading.Thread(target=self._loop, args=(step,), daemon=True) for step in steps]
        for thread in self.threads:
            thread.start()

    def join(self):
        """Wait for every thread; complain about answers that are wrong."""
        for thread in self.threads:
            thread.join(60 * harness.PATIENCE)
            if thread.is_alive():
                raise AssertionError("a request was never answered")
        for operator in self.operators:
            operator.api.close()
        if self.odd:
            raise self.odd[0]

    def stop(self):
        self.halt.set()
        self.join()


def start_timed(otad, ready=(200,)):
    """Start otad; ms from exec to the first good /readyz (503 is what it says until there is a root)."""
    begin = time.monotonic()
    otad.start(until=None)
    while otad.status("/readyz") not in ready:
        if otad.code() is not None:
            raise AssertionError(f"otad ended with {otad.code()}\n{otad.tail()}")
        if time.monotonic() - begin > 30 * harness.PATIENCE:
            raise AssertionError(f"otad is not ready\n{otad.tail()}")
        time.sleep(0.001)
    return (time.monotonic() - begin) * 1000


def check(otad, env=None):
    """`otad check` of the data directory, clean or Lost."""
    import subprocess
    done = subprocess.run([harness.BIN / "otad", "check", "--data", otad.data], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=120 * harness.PATIENCE,
                          env={**os.environ, **harness.sanitizer_env(otad.folder, "check"), **(env or {})})
    if done.returncode:
        raise Lost(f"otad check: {done.returncode}\n{done.stdout}")
    return done.stdout


def secret_for(fleet, uses=100_000, board="lamp"):
    """An enrollment secret that approves, as the API gives it, and the board."""
    made = fleet.ctl.json("enroll", "create", "--board", board, "--uses", str(uses), "--approve")
    return made, fleet.ctl.json("board", "show", board)
