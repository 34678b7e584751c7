"""R9: a data directory on 64 MiB, filled by uploads, then by the growth of the database. What needs room is refused cleanly,
what needs none goes on, and after a delete all is as before, without a restart."""
import contextlib
import hashlib
import os
import pathlib
import time

import rig
import stalls
from harness import esp32_image, wait_for

SIZE_MIB, RESERVE_MIB = 64, 4
PIECE = 3 << 20


def make(make_fleet, folder):
    """The fleet, and its data directory as seen from outside; OSError where nothing may be mounted."""
    data = folder / "data"
    data.mkdir(mode=0o700)

    def wrap(argv):
        argv = stalls.alone(argv, folder, [])
        at = argv.index('exec "$@"')
        argv[at] = f"mount -t tmpfs -o size={SIZE_MIB}m,mode=700 tmpfs '{data}' && " + argv[at]
        return argv

    fleet = make_fleet(broker=False, otad_args=["--disk-reserve", f"{RESERVE_MIB}M", "--log-level", "error"], wrap=wrap)
    inside = pathlib.Path(f"/proc/{fleet.otad.pid}/root{data}")
    token = (inside / "admin.token").read_text().strip()
    fleet.token = lambda: token
    fleet.ctl.env.update(OTACTL_URL=fleet.otad.url, OTACTL_TOKEN=token)
    fleet.ctl.env.pop("OTAD_DATA")
    fleet.init()
    fleet.board()
    return fleet, inside


class Customers(rig.Beside):
    """Polls and downloads without a pause; each has to be good."""

    def __init__(self, port, token, device, sha256):
        super().__init__(
            (self._work, "polls", rig.Api(port, token), lambda api: device.checkin(api, state=rig.CONFIRMED)[0]),
            (self._work, "downloads", rig.Api(port, token), lambda api: self.fetch(api, sha256)))
        self.bad, self.done = [], {"polls": 0, "downloads": 0}

    @staticmethod
    def fetch(api, sha256):
        status, _, data = api.ask("GET", f"/i/{sha256}")
        return status if hashlib.sha256(data).hexdigest() == sha256 else -status

    def _work(self, kind, api, step):
        while not self.halt.wait(0.005):
            try:
                status = step(api)
            except rig.GONE as gone:
                status = gone
            self.done[kind] += 1
            if status != 200:
                self.bad.append((kind, status))
        api.close()


def put(api, data):
    sha256 = hashlib.sha256(data).hexdigest()
    return api.put(f"/v1/images/{sha256}", data)[0], sha256


def fill_by_uploads(api, tag):
    """The large images that went in before the first refusal; then ever smaller ones until nothing goes in."""
    inside, size = [], PIECE
    for number in range(1000):
        status, sha256 = put(api, f"{tag} {number}".encode() + os.urandom(size))
        assert status in (201, 507), status
        if status == 201 and size == PIECE:
            inside.append(sha256)
        elif status == 507 and size < 8192:
            return inside
        elif status == 507:
            size //= 8
    raise AssertionError("the disk never got full")


def fill_by_rows(api, board):
    """Grow the database until it is refused; how many rows went in."""
    for number in range(20_000):
        status, _, data = api.ask("POST", "/v1/enroll-secrets", {"board": board, "uses": 1, "name": os.urandom(30).hex()})
        if status == 507:
            return number
        assert status == 201, (status, data)
    raise AssertionError("the disk never got full")


def leave_free(inside, keep):
    """A neighbour's file that leaves `keep` bytes."""
    path = inside / "neighbour"
    free = os.statvfs(inside)
    with open(path, "wb") as out:
        out.write(bytes(max(free.f_bavail * free.f_frsize - keep, 0)))
    return path


def rounds(make_fleet, folder, count, say=print):
    fleet, inside = make(make_fleet, folder)
    otad = fleet.otad
    api = rig.Api(otad.port, fleet.token())
    secret, board = rig.secret_for(fleet)
    poller, reporter = (rig.Device(secret, board, os.urandom(8)) for _ in range(2))
    for device in poller, reporter:
        assert device.enroll(api) == 200 and device.report(api) == 200
    status, kept = put(api, esp32_image("1.0.0", size=300_000))
    assert status == 201
    refused = rows = 0
    with Customers(otad.port, fleet.token(), poller, kept) as customers:
        for number in range(count):
            images = fill_by_uploads(api, f"{number}")
            free = os.statvfs(inside)
            left = free.f_bavail * free.f_frsize
            # the rows of the uploads lie in the reserve
            assert left >= (RESERVE_MIB << 20) * 3 // 4, f"the reserve is eaten by uploads: {left} bytes are left"
            assert put(api, os.urandom(PIECE // 4))[0] == 507
            # the reserve is for this: reports and deletes go on
            assert reporter.report(api) == 200
            for sha256 in images.pop(), images.pop():
                assert api.ask("DELETE", f"/v1/images/{sha256}")[0] == 204
            status, again = put_when_free(api, f"again {number}".encode() + os.urandom(PIECE))
            assert status == 201, f"after a delete an upload is still refused: {status}"
            images.append(again)

            # a neighbour takes most of the reserve, the database grows into the rest: deletes still make room
            neighbour = leave_free(inside, (RESERVE_MIB << 20) // 4 + 200_000)
            rows += fill_by_rows(api, "lamp")
            assert reporter.report(api) == 200
            # and the brakes hold
            place = f"/v1/devices/{reporter.id.hex()}"
            for hold in True, False:
                assert api.ask("PATCH", place, {"hold": hold})[0] == 200
            for verb in "ack", "cancel":
                assert api.ask("POST", f"{place}/{verb}")[0] == 200
            assert api.ask("DELETE", f"/v1/images/{images.pop()}")[0] == 204
            wait_for("room for rows after a delete", lambda: api.ask("POST", "/v1/enroll-secrets", {
                "board": "lamp", "uses": 1, "name": os.urandom(30).hex()})[0] == 201)
            neighbour.unlink()

            # and it takes all: reports are refused until the neighbour leaves
            neighbour = leave_free(inside, 0)
            for _ in range(100):
                status = reporter.report(api)
                assert status in (200, 507), status
                refused += status != 200
            assert put(api, os.urandom(2000))[0] == 507
            neighbour.unlink()
            assert reporter.report(api) == 200, "no report after the disk has room again"
            for row in api.every("/v1/images"):
                assert row["sha256"] == kept or api.ask("DELETE", f"/v1/images/{row['sha256']}")[0] == 204
            status, again = put_when_free(api, f"free {number}".encode() + os.urandom(PIECE))
            assert status == 201, status
            assert api.ask("DELETE", f"/v1/images/{again}")[0] == 204
            reporter.verify(api)
    assert otad.code() is None
    assert not customers.bad, customers.bad[:5]
    done = customers.done
    assert all(done.values())
    rig.nothing_half(api)
    api.close()
    say(f"R9: {count} times filled by uploads and by {rows} rows; {refused} reports refused with 507; meanwhile "
        f"{done['polls']} polls and {done['downloads']} downloads, all good; each time good again without a restart")


def put_when_free(api, data, patience_s=5.0):
    """An upload after a delete: the file goes by a job behind the delete's answer."""
    end = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(rig.GONE):
            status, sha256 = put(api, data)
            if status != 507 or time.monotonic() > end:
                return status, sha256
        time.sleep(0.05)
