"""The loop never waits: what its thread asks of the kernel during a whole push, and how long its turns are under load."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

import rig
import stalls
from harness import Process, free_port, programs_missing, wait_for

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


def loop_cpu_s(otad):
    """CPU time of the loop's thread so far."""
    return int(pathlib.Path(f"/proc/{otad.pid}/task/{otad.pid}/schedstat").read_text().split()[0]) / 1e9


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
def test_a_broker_that_is_silent_costs_nothing(make_fleet, scheme):
    """It takes the connection and says nothing: the loop sleeps."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        fleet = make_fleet(broker=False, otad_args=["--mqtt", f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"])
        with silent.accept()[0] as connection:
            assert connection.recv(16), "nothing came from otad"
            begin = loop_cpu_s(fleet.otad)
            time.sleep(1)  # the second that is measured
            used = loop_cpu_s(fleet.otad) - begin
        print(f"loop: {used * 1e3:.0f} ms of CPU in a second with a silent {scheme} broker")
        assert used < 0.2


def test_a_broker_behind_tls(make_fleet, folder):
    key, cert = folder / "broker.key", folder / "broker.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True,
                   stderr=subprocess.DEVNULL)
    port = free_port()
    (folder / "tls.conf").write_text(f"listener {port} 127.0.0.1\ncertfile {cert}\nkeyfile {key}\nallow_anonymous true\n"
                                     + ("user root\n" if os.geteuid() == 0 else ""))
    broker = Process("tls-broker", [shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin"), "-c",
                                    folder / "tls.conf"], folder).start()
    try:
        fleet = make_fleet(broker=False, otad_args=["--mqtt", f"mqtts://127.0.0.1:{port}", "--mqtt-ca", cert])
        wait_for("the broker behind TLS", lambda: broker_state(fleet) == "connected", alive=[fleet.otad, broker])
    finally:
        broker.stop()


@pytest.mark.parametrize("broker", ["silent", "unresolved"])
def test_lag_under_load(make_fleet, folder, broker):
    try:
        stalls.Silent().close()
    except OSError:
        pytest.skip("skipped: needs root")
    lag = stalls.measure(make_fleet, folder, 64 << 20, broker)
    assert lag["worst_us"] < 2_000_000  # a wait for a name is 10 s; the aim is held by the long form
