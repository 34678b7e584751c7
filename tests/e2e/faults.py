"""Faults in otad's file calls (tests/tools/faults.c), and the work they are tried on."""
import copy
import errno
import hashlib
import mmap
import os
import pathlib
import shutil
import signal
import struct
import time

import harness
import rig

KINDS = ("write", "sync", "rename", "unlink", "truncate", "open", "make", "read")
CHANGES = KINDS[:-1]
NONE, ERROR, SHORT, KILL, CUT, HANG = range(6)
DATA, NAMES = 1, 2  # what a power cut takes back of what is not synced
EVER = 1 << 62
LAYOUT = struct.Struct("<4I4Q8Q")


def library():
    """The shim of the build under test, else of the build with tests beside it."""
    places = [harness.BIN.parent / "tests/faults.so", harness.BIN.parent / "dev/tests/faults.so"]
    return next((path for path in places if path.exists()), None)


class Faults:
    """The switchboard of one process."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / "faults"
        self.path.write_bytes(bytes(LAYOUT.size))
        with open(self.path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), LAYOUT.size)

    def env(self, under):
        asan = harness.sanitizer_env(under.parent, "otad")["ASAN_OPTIONS"]
        return {"LD_PRELOAD": str(library()), "FAULTS_CONTROL": str(self.path), "FAULTS_UNDER": str(under),
                "ASAN_OPTIONS": asan + ":verify_asan_link_order=0"}

    def arm(self, action, kinds, error=0, first=1, count=1, undo=0):
        self.lift()
        bits = sum(1 << KINDS.index(kind) for kind in kinds)
        LAYOUT.pack_into(self.map, 0, NONE, bits, error, undo, first, count, 0, 0, *[0] * len(KINDS))
        struct.pack_into("<I", self.map, 0, action)

    def lift(self):
        struct.pack_into("<I", self.map, 0, NONE)

    @property
    def matched(self):
        return LAYOUT.unpack_from(self.map)[6]

    @property
    def injected(self):
        return LAYOUT.unpack_from(self.map)[7]

    @property
    def seen(self):
        return dict(zip(KINDS, LAYOUT.unpack_from(self.map)[8:]))


class Work:
    """One of everything that changes files, in order: upload, release, push, report, enrollment, an upload that is
    refused, an upload that is deleted. Every answer is good, or a refusal of the kind that a fault allows."""

    ANSWERS = 8

    def __init__(self, fleet, secret, board, device):
        self.port, self.token = fleet.otad.port, fleet.token()
        self.secret, self.board, self.device = secret, board, device
        self.book = rig.Book()
        self.book.devices.append(device)
        self.count = 0

    def run(self, is_faulty):
        """How many answers were good. GONE when otad ends in the middle."""
        self.count += 1
        operator = rig.Operator(self.book, self.port, self.token, f"w{os.urandom(8).hex()}", sizes=(4000, 70_000))
        api = rig.Api(self.port)
        try:
            seen = operator.round(self.device.name)
            wrong = os.urandom(3000)
            refused, _, _ = operator.api.ask("PUT", "/v1/images/" + hashlib.sha256(wrong).hexdigest(), wrong[1:] + wrong[:1],
                                             "application/octet-stream")
            if refused not in (400, 422) and not (is_faulty and refused >= 500):
                raise AssertionError(f"other bytes than named: {refused}")
            seen.append(self.device.report(api))
            if seen[-1] == 200:
                self.book.add("check-in", self.device.verify)
            seen.append(self.device.checkin(api, state=rig.CONFIRMED)[0] if seen[-1] == 200 else 200)
            if seen[-1] != 200:
                raise AssertionError(f"a poll that changes nothing was answered {seen[-1]}")
            new = rig.Device(self.secret, self.board, os.urandom(8))
            seen.append(new.enroll(api))
            if seen[-1] == 200:
                self.book.devices.append(new)
                self.book.add("enroll", new.verify)
        finally:
            operator.api.close()
            api.close()
        bad = [status for status in seen if status not in (200, 201, 204)]
        if [status for status in bad if status not in (500, 503, 507)] or bad and not is_faulty:
            raise AssertionError(f"answers {seen}: {operator.refusals}")
        return len(seen) - len(bad)


def prepared(fleet):
    """A fleet with root, board, and one device that has reported; (secret, board, device)."""
    fleet.init()
    fleet.board()
    secret, board = rig.secret_for(fleet)
    api = rig.Api(fleet.otad.port)
    device = rig.Device(secret, board, os.urandom(8))
    assert device.enroll(api) == 200 and device.report(api) == 200
    api.close()
    return secret, board, device


def kill_points(fleet, every, undo=0, say=print):
    """R2: the work, with otad killed at each `every`-th file call, from its start on; how many kills. With `undo` each is a
    power cut: of what was not synced, file contents (DATA) or names (NAMES) are as before."""
    otad = fleet.otad
    secret, board, device = prepared(fleet)
    assert otad.stop() == 0
    template = fleet.folder / "template"
    shutil.copytree(otad.data, template)
    token = fleet.token()
    faults = Faults(fleet.folder)
    otad.env.update(faults.env(otad.data))
    if undo:
        otad.env["FAULTS_UNDO"] = "1"
    kills, acknowledged, number, total = 0, 0, 1, 0
    while True:
        shutil.rmtree(otad.data)
        shutil.copytree(template, otad.data)
        work = Work(fleet, secret, board, copy.deepcopy(device))
        faults.arm(CUT if undo else KILL, CHANGES, first=number, undo=undo)
        otad.start(until=None)
        killed = run_until_killed(otad, work, undo)
        otad.kill9()
        total = max(total, faults.matched)
        faults.lift()
        ready = rig.start_timed(otad)
        api = rig.Api(otad.port, token)
        work.book.verify(api, every=True)
        rig.nothing_half(api)
        api.close()
        otad.kill9()
        rig.check(otad)
        acknowledged += work.book.total
        if not killed:
            break
        kills += 1
        number += every
    otad.start()  # for the end of the test
    say(f"R2: {kills} {WHAT[undo]} at file calls ({total} in one run), {acknowledged} acknowledged, 0 lost, 0 half-visible; "
        f"ready after {ready:.0f} ms")
    return kills


def first_start_points(folder, every, undo, say=print):
    """Power cuts during the very first start: the next one ends it, and the token that lies there is good."""
    faults = Faults(folder)
    port = harness.free_port()
    otad = harness.Otad(folder, args=["--listen", f"https://127.0.0.1:{port}"])
    otad.env.update(faults.env(otad.data), FAULTS_UNDO="1")
    number = 1
    while True:
        shutil.rmtree(otad.data, ignore_errors=True)
        otad.data.mkdir(mode=0o700)
        faults.arm(CUT, CHANGES, first=number, undo=undo)
        otad.start(until=None)
        killed = wait_ready(otad, undo)
        calls = faults.matched
        otad.kill9()
        faults.lift()
        rig.start_timed(otad, ready=(503,))
        api = rig.Api(otad.port, (otad.data / "admin.token").read_text().strip())
        assert api.json("/v1/whoami")["role"] == "admin"
        api.close()
        otad.kill9()
        if not killed:
            break
        number += every
    say(f"R2: {number // every} {WHAT[undo]} in the first start ({calls} file calls), each ended by the next start")


def was_killed(otad, code, undo):
    """`undo` is done beside otad's other threads: one that reads a mapping whose end is taken back dies of that, before the kill."""
    assert code == -signal.SIGKILL or (undo & DATA and code == -signal.SIGBUS), f"otad ended with {code}\n{otad.tail()}"
    return True


def wait_ready(otad, undo):
    """True when otad was killed on the way."""
    end = time.monotonic() + 60 * harness.PATIENCE
    while otad.status("/readyz") not in (200, 503):
        if otad.code() is not None:
            return was_killed(otad, otad.code(), undo)
        assert time.monotonic() < end, f"otad is not ready\n{otad.tail()}"
        time.sleep(0.001)
    return False


WHAT = {0: "kills", DATA: "power cuts (contents lost)", NAMES: "power cuts (names lost)",
        DATA | NAMES: "power cuts (both lost)"}


def run_until_killed(otad, work, undo):
    """True when otad was killed on the way."""
    end = time.monotonic() + 60 * harness.PATIENCE
    while otad.status("/readyz") != 200:
        if otad.code() is not None:
            return was_killed(otad, otad.code(), undo)
        assert time.monotonic() < end, f"otad is not ready\n{otad.tail()}"
        time.sleep(0.001)
    try:
        work.run(is_faulty=False)
    except rig.GONE:
        return was_killed(otad, otad.wait(), undo)
    return False


FAULTS = (
    ("EIO", ERROR, errno.EIO, 1), ("ENOSPC", ERROR, errno.ENOSPC, 1), ("EINTR", ERROR, errno.EINTR, 1), ("short", SHORT, 0, 1),
    ("EIO for ever", ERROR, errno.EIO, EVER), ("ENOSPC for ever", ERROR, errno.ENOSPC, EVER),
    # a call that is interrupted for ever is no fault that exists
    ("EINTR 20 times", ERROR, errno.EINTR, 20), ("short for ever", SHORT, 0, EVER),
)


def fault_points(fleet, every, say=print):
    """R7: the work, with each `every`-th file call failing, in each way; how many points."""
    otad = fleet.otad
    secret, board, device = prepared(fleet)
    assert otad.stop() == 0
    faults = Faults(fleet.folder)
    otad.env.update(faults.env(otad.data))
    otad.start()
    token = fleet.token()
    work = Work(fleet, secret, board, device)
    work.run(is_faulty=False)
    faults.arm(NONE, KINDS)
    work.run(is_faulty=False)
    calls = faults.matched
    points = refused = 0
    for name, action, error, count in FAULTS:
        # each way begins elsewhere, so that a sample sees different calls
        for number in range(1 + points % every, calls + 1, every):
            work.book = rig.Book()
            work.book.devices.append(work.device)
            faults.arm(action, KINDS, error, number, count)
            try:
                refused += work.run(is_faulty=True) < Work.ANSWERS
                faults.lift()
                api = rig.Api(otad.port, token)
                work.book.verify(api, every=True)
                api.close()
                work.run(is_faulty=False)
            except (*rig.GONE, AssertionError) as wrong:
                faults.lift()
                state = f"otad ended with {otad.code()}" if otad.code() is not None else "otad lives"
                raise AssertionError(f"{name} at call {number} of {calls}: {wrong!r}; {state}\n{otad.tail(12)}") from wrong
            points += 1
    api = rig.Api(otad.port, token)
    rig.nothing_half(api)
    api.close()
    rig.check(otad)
    say(f"R7: {points} faults at {calls} file calls in {len(FAULTS)} ways, {refused} times something was refused; nothing "
        "acknowledged without data, all good again afterwards")
    return points
