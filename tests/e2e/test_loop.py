"""The loop never waits: what its thread asks of the kernel during a whole push, and how long its turns are under load."""
import re
import signal
import subprocess

import pytest

import rig
import stalls
from harness import programs_missing, wait_for

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")

WAITS = ("fsync", "fdatasync", "sync_file_range", "pwrite64", "pwritev", "pread64", "open", "openat", "openat2", "rename",
         "renameat", "renameat2", "unlink", "unlinkat", "ftruncate", "mkdir", "mkdirat", "linkat", "flock")
TRACED = (*WAITS, "connect", "sendto", "sendmmsg", "accept4")


class Trace:
    """strace on all threads of a running process."""

    def __init__(self, process, folder):
        self.log = folder / "trace"
        self.err = folder / "trace.err"
        with open(self.err, "w", encoding="utf-8") as err:
            self.child = subprocess.Popen(["strace", "-f", "-p", str(process.pid), "-o", self.log, "-e",
                                           "trace=" + ",".join(TRACED)], stdin=subprocess.DEVNULL, stderr=err)
        wait_for("strace to be attached", lambda: "attached" in self.err.read_text())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGINT)
        self.child.wait(30)

    def calls(self):
        """(thread, call, rest) of each line."""
        return [match.groups() for match in re.finditer(r"^(\d+) +(\w+)\((.*)$", self.log.read_text(), re.M)]


def broker_state(fleet):
    return rig.Api(fleet.otad.port, fleet.token()).json("/v1/server")["broker"]["state"]


def test_what_the_loops_thread_calls_during_a_push(fleet, folder):
    fleet.add(2)
    fleet.ctl("push", fleet.image("1.0.0"), "--all", "-y", "--wait", "--timeout", "100s")
    with Trace(fleet.otad, folder) as trace:
        fleet.ctl("push", fleet.image("1.1.0"), "--all", "-y", "--wait", "--timeout", "100s")
        fleet.wait_running("1.1.0", deadline_s=5)
        fleet.broker.kill9()
        wait_for("the broker to be missed", lambda: broker_state(fleet) != "connected")
        fleet.broker.start()
        wait_for("the broker to be found again", lambda: broker_state(fleet) == "connected")
    calls = trace.calls()
    loop = [(call, rest) for thread, call, rest in calls if int(thread) == fleet.otad.pid]
    others = {call for thread, call, _ in calls if int(thread) != fleet.otad.pid}
    assert {"fdatasync", "pwrite64", "fsync"} <= others, f"the trace sees nothing: {sorted(others)}"
    assert any(call == "accept4" for call, _ in loop), "the loop's thread is not the one that is looked at"
    waited = [f"{call}({rest}" for call, rest in loop if call in WAITS or "htons(53)" in rest]
    assert not waited, "\n".join(waited[:20])
    print(f"loop: {len(calls)} calls traced, {len(loop)} of them the loop's, none that waits")


@pytest.mark.parametrize("broker", ["silent", "unresolved"])
def test_lag_under_load(make_fleet, folder, broker):
    try:
        stalls.Silent().close()
    except OSError:
        pytest.skip("skipped: needs root")
    lag = stalls.measure(make_fleet, folder, 64 << 20, broker)
    assert lag["worst_us"] < 2_000_000  # a wait for a name is 10 s; the aim is held by the long form
