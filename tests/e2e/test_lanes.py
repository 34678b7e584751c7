"""What a device waits for does not wait behind files: the lanes of server/jobs.h in a running otad."""
import concurrent.futures
import hashlib
import os

import pytest

import faults
import otaproto
import rig
from harness import programs_missing, wait_for

pytestmark = [pytest.mark.skipif(bool(programs_missing("otad", "otactl")), reason="skipped: programs missing"),
              pytest.mark.skipif(not faults.library(), reason="skipped: no fault library in this build")]

WANTS_SIGNED = 1
SIGN1 = 18


def image():
    content = os.urandom(5000)
    return f"/{hashlib.sha256(content).hexdigest()}", content


def test_tickets_are_signed_while_every_file_hangs(make_fleet):
    fleet = make_fleet(broker=False)
    fleet.otad.stop()
    switch = faults.Faults(fleet.folder)
    fleet.otad.env.update(switch.env(fleet.otad.data))
    fleet.otad.start()
    _, _, device = faults.prepared(fleet)
    token = fleet.token()

    def ask(method, path, body=None):
        api = rig.Api(fleet.otad.port, token)
        try:
            return api.ask(method, path, body, "application/octet-stream")[0]
        finally:
            api.close()

    stored = [image() for _ in range(2)]
    for name, content in stored:
        assert ask("PUT", "/v1/images" + name, content) == 201
    switch.arm(faults.HANG, ["open"], count=faults.EVER)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        try:
            # both threads that read, then both that write and hash
            waiting = [pool.submit(ask, "GET", "/i" + name) for name, _ in stored]
            wait_for("the readers to hang", lambda: switch.injected == 2, alive=[fleet.otad])
            waiting += [pool.submit(ask, "PUT", "/v1/images" + name, content) for name, content in (image(), image())]
            wait_for("the writers to hang", lambda: switch.injected == 4, alive=[fleet.otad])
            waiting += [pool.submit(ask, "PUT", "/v1/images" + name, content) for name, content in (image(), image())]
            api = rig.Api(fleet.otad.port)
            for said in ({}, {"state": rig.CONFIRMED, "running": (9, hashlib.sha256(b"new").digest())}):
                status, _, data = api.ask("POST", "/d/v1/checkin", device.checkin_bytes(flags=WANTS_SIGNED, **said),
                                          "application/cbor")
                assert status == 200 and otaproto.decode(data).tag == SIGN1
            api.close()
            assert not any(one.done() for one in waiting), "something did not hang"
        finally:
            switch.lift()
        assert [one.result() for one in waiting] == [200] * 2 + [201] * 4
