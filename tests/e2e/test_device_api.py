"""The devices' API over a real connection, spoken by an encoder that is not otad's: statuses, what counts as a repeat,
what survives kill -9, and the rows C*, E*, K1, J1 of the attack list that a server has to answer."""
import concurrent.futures
import http.client
import os
import shutil
import subprocess
import uuid

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from harness import BIN, programs_missing

otaproto = pytest.importorskip("otaproto")

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl")), reason="skipped: programs missing")

IDLE, FETCHING, STAGED, TRIAL, CONFIRMED = range(5)


def mac_of(key, protected, aad, payload):
    return otaproto.hmac(key, otaproto.enc(["MAC0", protected, aad, payload]))


class Ticket:
    """An answer whose MAC or signature is right."""

    def __init__(self, body, device):
        message = cbor2.loads(body)
        protected, unprotected, payload, proof = message.value
        assert unprotected == {}
        self.signed = message.tag == 18
        if self.signed:
            assert cbor2.loads(protected)[1] == otaproto.ESP256
            signature = utils.encode_dss_signature(int.from_bytes(proof[:32], "big"), int.from_bytes(proof[32:], "big"))
            device.server_key.verify(signature, otaproto.to_sign(protected, "otad/ticket/1", payload),
                                     ec.ECDSA(hashes.SHA256()))
        else:
            assert message.tag == 17
            assert proof == mac_of(otaproto.s2d(device.k_dev), protected, b"otad/ticket/1", payload)
        fields = cbor2.loads(payload)
        assert payload == otaproto.enc(fields), "not deterministic"
        assert fields[1] == 1 and fields[2] == device.id and fields[3] == device.nonce
        self.root, self.assignment, self.poll = fields[4], fields.get(5), fields[6]
        self.flags, self.counter = fields[7], fields.get(8)


class Device:
    """A device that enrolls and checks in; it never installs anything."""

    def __init__(self, fleet, provisioning):
        self.fleet = fleet
        fields = cbor2.loads(provisioning[:-32])
        assert otaproto.sha256(provisioning[:-32]) == provisioning[-32:]
        self.vendor, self.cls, self.serial = fields[2], fields[3], fields[4]
        self.secret_id, self.secret = fields[6], fields[7]
        payload = cbor2.loads(cbor2.loads(fields[8])[1])
        index = payload[4][2][1]
        self.server_key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), payload[3][index][1])
        self.nonce_d = os.urandom(16)
        self.id = self.k_dev = self.nonce = self.sent = self.receipt = None
        self.counter = 0
        self.running = None

    def post(self, path, body):
        return self.fleet.otad.request("POST", path, body, {"Content-Type": "application/cbor"})

    def enroll(self):
        status, _, body = self.post("/d/v1/enroll", otaproto.enroll_request(
            self.secret, self.secret_id, self.vendor, self.cls, self.serial, self.nonce_d))
        if status != 200:
            assert body == b""
            return status
        message = cbor2.loads(body)
        protected, _, payload, mac = message.value
        label = b"otad/enrolled/1"
        assert mac == mac_of(otaproto.hmac(self.secret, label), protected, label, payload)
        answer = cbor2.loads(payload)
        assert answer[2] == self.nonce_d
        self.id, self.receipt = answer[4], answer[5]
        self.k_dev = otaproto.device_key(self.secret, self.id, self.nonce_d, answer[3])
        return status

    def make(self, **fields):
        self.counter += 1
        self.nonce = os.urandom(16)
        return otaproto.checkin(self.k_dev, otaproto.checkin_fields(
            self.id, self.nonce, **{"counter": self.counter, "running": self.running, **fields}))

    def send(self, body):
        """(status, Ticket or None)"""
        self.sent = body
        status, _, answer = self.post("/d/v1/checkin", body)
        if status in (200, 409):
            return status, Ticket(answer, self)
        if status in (400, 401, 404):
            assert answer == b""
        return status, None

    def checkin(self, **fields):
        return self.send(self.make(**fields))

    def ticket(self, **fields):
        status, ticket = self.checkin(**fields)
        assert status == 200
        return ticket

    @property
    def proof(self):
        return {"Authorization": f"OTA {self.id.hex()}.{otaproto.hmac(self.k_dev, b'otad/fetch/1').hex()}"}


@pytest.fixture
def lamp(make_fleet):
    """otad without a broker, with a root and a board."""
    fleet = make_fleet(broker=False)
    fleet.init()
    fleet.board()
    return fleet


def new_device(fleet, name):
    device = Device(fleet, fleet.ctl("provision", "--board", "lamp", "--name", name).raw)
    assert device.enroll() == 200
    return device


def push(fleet, version):
    fleet.ctl("push", fleet.image(version, size=8192), "--all", "-y")


def shown(fleet, name):
    return fleet.devices()[name]


def test_no_root_yet(make_fleet):
    fleet = make_fleet(broker=False)
    status, headers, body = fleet.otad.request("POST", "/d/v1/checkin", b"\xd1")
    assert status == 503 and b"otactl init" in body and headers["Retry-After"]


def test_from_enrollment_to_running(lamp):
    device = new_device(lamp, "kitchen")
    assert device.id == uuid.uuid5(uuid.UUID(bytes=device.vendor), device.serial.decode()).bytes
    ticket = device.ticket()
    assert not ticket.signed and ticket.assignment is None and 270 <= ticket.poll <= 330
    assert device.ticket(flags=1).signed
    push(lamp, "1.0.0")
    ticket = device.ticket()
    assert ticket.signed and ticket.flags == 0
    digest, size, attempt = ticket.assignment
    assert attempt == 1
    status, headers, envelope = lamp.otad.request("GET", f"/d/v1/envelope/{digest.hex()}", headers=device.proof)
    assert status == 200 and len(envelope) == size == int(headers["Content-Length"])
    assert headers["Content-Type"] == "application/cbor"
    manifest = cbor2.loads(envelope).value[3]
    assert otaproto.sha256(otaproto.enc(manifest)) == digest
    for state in (FETCHING, STAGED):
        assert device.ticket(state=state, target=[digest, 1, 4096]).assignment[0] == digest
    device.running = [cbor2.loads(manifest)[2], digest]
    assert device.ticket(state=TRIAL).assignment is None
    assert not shown(lamp, "kitchen")["running"]["confirmed"]
    assert device.ticket(state=CONFIRMED, result=[digest, 1, 0, 0, 0]).assignment is None
    row = shown(lamp, "kitchen")
    assert row["running"]["version"] == "1.0.0" and row["running"]["confirmed"]
    assert row["assignment"]["state"] == "running"


def test_statuses(lamp):
    device = new_device(lamp, "kitchen")
    good = device.make()
    wrong_key = otaproto.checkin(os.urandom(32), otaproto.checkin_fields(device.id, os.urandom(16), counter=9))
    stranger = otaproto.checkin(device.k_dev, otaproto.checkin_fields(os.urandom(16), os.urandom(16), counter=9))
    cases = [
        ("POST", "/d/v1/checkin", b"", 400), ("POST", "/d/v1/checkin", b"{}", 400),
        ("POST", "/d/v1/checkin", good[:-1], 400), ("POST", "/d/v1/checkin", good + b"\0", 400),
        ("POST", "/d/v1/checkin", b"\0" * 1025, 413), ("POST", "/d/v1/checkin", wrong_key, 401),
        ("POST", "/d/v1/checkin", stranger, 404), ("POST", "/d/v1/enroll", good, 400),
        ("POST", "/d/v1/enroll", b'{"serial":"x"}', 400), ("GET", "/d/v1/root/1", None, 401),
        ("GET", "/d/v1/envelope/" + "0" * 64, None, 401), ("GET", "/i/" + "0" * 64, None, 401),
        ("GET", "/d/v1/checkin", None, 405), ("GET", "/d/v1/nothing", None, 404),
    ]
    for method, path, body, want in cases:
        status, _, answer = lamp.otad.request(method, path, body)
        assert status == want, (method, path, body, answer)
    assert lamp.otad.request("GET", "/d/v1/envelope/" + "0" * 64, headers=device.proof)[0] == 404
    assert lamp.otad.request("GET", "/d/v1/root/2", headers=device.proof)[0] == 404
    assert lamp.otad.request("GET", "/d/v1/root/1", headers=device.proof)[0] == 200
    # The proof opens nothing else.
    assert lamp.otad.request("GET", "/v1/devices", headers=device.proof)[0] in (401, 403)
    assert device.send(good)[0] == 200


def test_public_images_open_nothing_else(make_fleet):
    fleet = make_fleet(broker=False, otad_args=["--public-images"])
    fleet.init()
    fleet.board()
    device = new_device(fleet, "kitchen")
    push(fleet, "1.0.0")
    digest = device.ticket().assignment[0].hex()
    image = otaproto.sha256((fleet.folder / "1.0.0.bin").read_bytes()).hex()
    for path, want in ((f"/i/{image}", 200), (f"/d/v1/envelope/{digest}", 401), ("/d/v1/root/1", 401)):
        assert fleet.otad.request("GET", path)[0] == want, path


def test_only_the_strict_form_is_taken(lamp):
    """Decoders that take more than one form of the same thing are where parsers begin to disagree."""
    device = new_device(lamp, "kitchen")
    fields = otaproto.checkin_fields(device.id, os.urandom(16), counter=1)
    body = otaproto.enc(fields)
    variants = {
        "unknown key": otaproto.enc({**fields, 13: 0}),
        "another format": otaproto.enc({**fields, 1: 2}),
        "missing key": otaproto.enc({k: v for k, v in fields.items() if k != 10}),
        "key twice": otaproto.enc(otaproto.Pairs(list(fields.items()) + [(11, 0)])),
        "unsorted": otaproto.enc(otaproto.Pairs(reversed(list(fields.items())))),
        "trailing byte": body + b"\0",
        "long head": body.replace(b"\x01\x01", b"\x01\x18\x01", 1),
        "state out of range": otaproto.enc({**fields, 7: 5}),
        "short nonce": otaproto.enc({**fields, 3: b"x" * 15}),
        "root version 0": otaproto.enc({**fields, 5: 0}),
    }
    for name, payload in variants.items():
        message = otaproto.mac0(otaproto.d2s(device.k_dev), "otad/checkin/1", payload)
        assert device.send(message)[0] == 400, name
    for change in ({"tag": 18}, {"unprotected": {1: 1}}, {"payload_slot": None}):
        message = otaproto.mac0(otaproto.d2s(device.k_dev), "otad/checkin/1", body, **change)
        assert device.send(message)[0] == 400, change
    for aad in ("otad/ticket/1", "", "otad/checkin/2"):
        assert device.send(otaproto.mac0(otaproto.d2s(device.k_dev), aad, body))[0] == 401, aad
    assert device.send(otaproto.mac0(otaproto.s2d(device.k_dev), "otad/checkin/1", body))[0] == 401
    assert device.ticket().assignment is None


def test_repeats_and_counters(lamp):
    device = new_device(lamp, "kitchen")
    device.ticket()
    push(lamp, "1.0.0")
    for _ in range(3):
        status, ticket = device.send(device.sent)
        assert status == 200 and ticket.assignment
    before = shown(lamp, "kitchen")
    device.counter = 0
    status, ticket = device.checkin(state=CONFIRMED, running=[1, os.urandom(32)])
    assert status == 409 and ticket.counter == 1 and not ticket.signed and ticket.assignment is None
    assert shown(lamp, "kitchen")["running"] == before["running"]
    device.counter = ticket.counter
    assert device.ticket().assignment
    log = lamp.ctl.json("log", "kitchen")
    rows = log if isinstance(log, list) else log["items"]
    assert sum(row["kind"] == "counter-back" for row in rows) == 1


def test_enroll_rows(lamp):
    made = lamp.ctl.json("enroll", "create", "--board", "lamp", "--uses", "2")
    base = lamp.ctl("provision", "--board", "lamp").raw
    devices = [Device(lamp, base) for _ in range(3)]
    for device in devices:
        device.secret_id, device.secret = bytes.fromhex(made["id"]), bytes.fromhex(made["secret"])
        device.serial = os.urandom(8)
    count = len(lamp.devices())
    wrong = devices[0].secret
    devices[0].secret = os.urandom(32)
    assert devices[0].enroll() == 401
    devices[0].secret = wrong
    assert devices[0].enroll() == 200
    k_dev = devices[0].k_dev
    assert devices[0].enroll() == 200 and devices[0].k_dev == k_dev
    assert devices[1].enroll() == 200
    assert devices[2].enroll() == 401
    assert len(lamp.devices()) == count + 2
    ticket = devices[0].ticket(flags=1)
    assert not ticket.signed and ticket.assignment is None
    lamp.ctl("device", "approve", devices[0].id.hex())
    push(lamp, "1.1.0")
    assert devices[0].ticket().assignment
    # Enrolled again under the same id: the old key stays until the operator says otherwise.
    again = Device(lamp, base)
    secret = lamp.ctl.json("enroll", "create", "--board", "lamp")
    again.secret_id, again.secret = bytes.fromhex(secret["id"]), bytes.fromhex(secret["secret"])
    again.serial = devices[0].serial
    assert again.enroll() == 200 and again.id == devices[0].id
    assert again.checkin()[0] == 401
    assert devices[0].ticket().assignment
    lamp.ctl("device", "approve", again.id.hex())
    assert devices[0].checkin()[0] == 401
    assert again.ticket()


def test_what_was_answered_survives_kill_9(lamp):
    device = new_device(lamp, "kitchen")
    push(lamp, "1.0.0")
    digest, _, _ = device.ticket().assignment
    steps = [dict(state=FETCHING, target=[digest, 1, 0]), dict(state=STAGED, target=[digest, 1, 8192]),
             dict(state=TRIAL, running=[1, digest]), dict(state=CONFIRMED, running=[1, digest])]
    for fields, want in zip(steps, ("fetching", "staged", "trial", "running")):
        device.ticket(**fields)
        lamp.otad.kill9()
        lamp.otad.start()
        assert shown(lamp, "kitchen")["assignment"]["state"] == want
        # The same again is a repeat; anything else at or under that counter is not taken.
        assert device.send(device.sent)[0] == 200
        device.counter -= 1
        assert device.checkin(state=IDLE)[0] == 409
    # C5: a word of yesterday rolls nothing back.
    assert shown(lamp, "kitchen")["assignment"]["state"] == "running"


def test_removed_stays_removed(lamp):
    """What a receipt is for is a restored backup (test_yesterdays_backup)."""
    device = new_device(lamp, "kitchen")
    device.ticket()
    lamp.ctl("device", "remove", "kitchen", "-y")
    assert device.checkin()[0] == 404
    assert device.checkin(receipt=b"\0" * 100)[0] == 404
    assert device.checkin(receipt=device.receipt)[0] == 404
    lamp.otad.kill9()
    lamp.otad.start()
    assert device.checkin(receipt=device.receipt)[0] == 404
    assert not lamp.devices()
    # The name is free, and the same hardware may come back with a file of its own.
    anew = new_device(lamp, "kitchen")
    assert anew.ticket().assignment is None
    assert lamp.devices()["kitchen"]["state"] == "approved"
    assert device.checkin(receipt=device.receipt)[0] == 404


def test_one_device_on_many_connections(lamp):
    """Check-ins of one device that overlap are judged one after the other."""
    device = new_device(lamp, "kitchen")
    device.ticket()
    bodies = [device.make(running=[i + 1, bytes([i]) * 32]) for i in range(40)]
    nonces = {}
    for body in bodies:
        nonces[body] = cbor2.loads(cbor2.loads(body).value[2])[3]

    def post(body):
        return device.post("/d/v1/checkin", body)[0]

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(post, bodies))
    # Those that came late are behind the counter; the last word is that of the highest counter.
    assert set(statuses) <= {200, 409} and statuses[-1] == 200
    row = shown(lamp, "kitchen")["running"]
    assert row["digest"] == (b"\x27" * 32).hex() and row["sequence"] == 40
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert set(pool.map(post, [bodies[-1]] * 40)) == {200}


def test_a_herd(lamp):
    """Many devices at once, each with something to say: every one is answered, or told when to come back."""
    devices = [new_device(lamp, f"lamp-{i}") for i in range(24)]
    push(lamp, "1.0.0")

    def live(device):
        connection = http.client.HTTPConnection("127.0.0.1", lamp.otad.port, timeout=60)
        seen = set()
        for i in range(12):
            connection.request("POST", "/d/v1/checkin", device.make(running=[i + 1, os.urandom(32)]))
            answer = connection.getresponse()
            body = answer.read()
            seen.add(answer.status)
            if answer.status == 200:
                assert Ticket(body, device).assignment
            else:
                assert answer.status in (429, 503) and int(answer.headers["Retry-After"]) > 0
        connection.close()
        return seen

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        for seen in pool.map(live, devices):
            assert 200 in seen


def test_yesterdays_backup(lamp):
    """K1: a backup is restored under a running fleet. Who enrolled after it is back as pending, by its receipt; nobody
    is offered anything older, and the next push reaches all."""
    old = new_device(lamp, "old")
    push(lamp, "1.0.0")
    digest = old.ticket().assignment[0]
    archive = lamp.folder / "yesterday"
    made = subprocess.run([BIN / "otad", "backup", archive, "--data", lamp.otad.data], check=False, capture_output=True)
    assert made.returncode == 0, made.stderr.decode(errors="replace")
    young = new_device(lamp, "young")
    push(lamp, "2.0.0")
    newest = old.ticket().assignment[0]
    for device in (old, young):
        device.running = [2, newest]
        device.ticket(state=CONFIRMED)
    assert lamp.otad.stop() == 0
    keys = lamp.otad.data.rename(lamp.folder / "lost") / "keys"
    subprocess.run([BIN / "otad", "restore", archive, "--data", lamp.otad.data], check=True, capture_output=True)
    shutil.copytree(keys, lamp.otad.data / "keys")
    lamp.otad.start()
    # The old assignment is open in that database; what the device runs is not, and its floor refuses 1.0.0 anyway.
    assert old.checkin()[0] in (200, 409)
    assert young.checkin()[0] == 404
    ticket = young.ticket(receipt=young.receipt)
    assert ticket.assignment is None and not ticket.signed
    rows = {row["id"]: row for row in lamp.devices().values()}
    assert rows[young.id.hex()]["state"] == "pending"
    assert rows[old.id.hex()]["running"]["digest"] == newest.hex() != digest.hex()
    lamp.ctl("device", "approve", young.id.hex())
    push(lamp, "3.0.0")
    assert len({old.ticket().assignment[0], young.ticket().assignment[0], newest, digest}) == 3


def test_the_signature_is_not_optional(lamp):
    """The test's own check of signatures bites."""
    device = new_device(lamp, "kitchen")
    push(lamp, "1.0.0")
    body = device.make()
    _, _, answer = device.post("/d/v1/checkin", body)
    Ticket(answer, device)
    with pytest.raises((InvalidSignature, AssertionError)):
        Ticket(answer[:-1] + bytes([answer[-1] ^ 1]), device)
