"""What could make the loop wait: a large upload, a backup, a name server that is silent, a broker that is; under 200 polls a
second. How long the loop's turns were is otad's own word (/v1/server)."""
import contextlib
import hashlib
import os
import pathlib
import random
import socket
import subprocess
import time

import harness
import rig

POLLS_A_SECOND = 200
POLLERS = 4


class Silent:
    """Sockets of a name server and a broker that take everything and say nothing."""

    def __init__(self):
        self.broker = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.broker.getsockname()[1]
        self.names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # of 127/8 there is enough for everybody's run; root alone may have port 53
        self.address = f"127.83.{random.randrange(256)}.{random.randrange(1, 255)}"
        self.names.bind((self.address, 53))

    def asked(self):
        """Whether anybody asked for a name."""
        self.names.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self.names.recv(512)
            return True
        return False

    def close(self):
        self.broker.close()
        self.names.close()


def alone(argv, folder, mounts):
    """`argv` in a mount namespace of its own with files bound over others. The process id is that of the program."""
    script = " && ".join([*(f"mount --bind '{source}' '{target}'" for source, target in mounts), 'exec "$@"'])
    return ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount", "sh", "-c", script, "sh", *argv]


class Pollers(rig.Beside):
    """Devices that check in at a steady pace and have nothing to say."""

    def __init__(self, port, devices):
        super().__init__(*((self._poll, device) for device in devices))
        self.port, self.devices = port, devices
        self.polls, self.bad, self.worst_s = 0, [], 0.0

    def _poll(self, device):
        api, pause = rig.Api(self.port), len(self.devices) / POLLS_A_SECOND
        due = time.monotonic()
        try:
            while not self.halt.wait(max(due - time.monotonic(), 0)):
                begin = time.monotonic()
                status, _ = device.checkin(api, state=rig.CONFIRMED)
                self.worst_s = max(self.worst_s, time.monotonic() - begin)
                self.polls += 1
                if status != 200:
                    self.bad.append(status)
                due += pause
        except rig.GONE as gone:
            self.bad.append(gone)
        api.close()


def big_file(folder, size):
    """(path, sha256) of a file that is nothing but bytes."""
    path, block, digest = folder / "big", os.urandom(1 << 20), hashlib.sha256()
    with open(path, "wb") as out:
        for number in range(size >> 20):
            piece = number.to_bytes(8, "big") + block[8:]
            out.write(piece)
            digest.update(piece)
    return path, digest.hexdigest()


def prefer(otad):
    """Where it is allowed, what else runs on this machine does not count: otad's threads come first."""
    for thread in os.listdir(f"/proc/{otad.pid}/task"):
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, int(thread), -19)


def cpu_wait_s(otad):
    """How long the loop's thread has waited for a CPU so far."""
    return int(pathlib.Path(f"/proc/{otad.pid}/task/{otad.pid}/schedstat").read_text().split()[1]) / 1e9


def upload(fleet, path, sha256):
    api = rig.Api(fleet.otad.port, fleet.token(), timeout=600)
    with open(path, "rb") as body:
        status, _, data = api.ask("PUT", f"/v1/images/{sha256}", body, "application/octet-stream",
                                  {"Content-Length": str(path.stat().st_size)})
    api.close()
    assert status == 201, (status, data)


def backup(fleet):
    """`otad backup` while it runs."""
    target = fleet.folder / "backup.tar"
    done = subprocess.run([harness.BIN / "otad", "backup", target, "--data", fleet.otad.data], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout
    target.unlink()


def measure(make_fleet, folder, size, broker, say=print):
    """One otad with a broker that is `broker` ("silent" or "unresolved"); its lag in microseconds (p50, p99, worst)."""
    silent = Silent()
    resolv = folder / "resolv.conf"
    resolv.write_text(f"nameserver {silent.address}\noptions timeout:5 attempts:2\n")
    url = f"mqtt://127.0.0.1:{silent.port}" if broker == "silent" else "mqtt://broker.example.org"
    fleet = make_fleet(broker=False, otad_args=["--max-image", "2G", "--mqtt", url],
                       wrap=lambda argv: alone(argv, folder, [(resolv, "/etc/resolv.conf")]))
    try:
        fleet.init()
        fleet.board()
        secret, board = rig.secret_for(fleet)
        api = rig.Api(fleet.otad.port, fleet.token())
        devices = [rig.Device(secret, board, os.urandom(8)) for _ in range(POLLERS)]
        for device in devices:
            assert device.enroll(api) == 200 and device.report(api) == 200
        path, sha256 = big_file(folder, size)
        prefer(fleet.otad)
        before, waited_s = api.json("/v1/server"), cpu_wait_s(fleet.otad)
        with Pollers(fleet.otad.port, devices) as pollers:
            begin = time.monotonic()
            upload(fleet, path, sha256)
            middle = time.monotonic()
            backup(fleet)
            end = time.monotonic()
        after, waited_s = api.json("/v1/server"), cpu_wait_s(fleet.otad) - waited_s
        api.close()
        path.unlink()
        assert not pollers.bad, pollers.bad[:5]
        assert broker == "silent" or silent.asked(), "nobody asked the silent name server"
        assert after["broker"]["state"] == "connecting", after["broker"]
    finally:
        silent.close()
    lag = after["loop"]
    say(f"loop: {size >> 20} MiB upload in {middle - begin:.1f} s, backup in {end - middle:.1f} s, a broker that is {broker}: "
        f"{pollers.polls} polls, the slowest {pollers.worst_s * 1e3:.0f} ms; loop lag p99 {lag['p99_us'] / 1e3:.2f} ms, worst "
        f"{lag['worst_us'] / 1e3:.1f} ms (before {before['loop']['worst_us'] / 1e3:.1f}); it waited {waited_s * 1e3:.0f} ms "
        "for a CPU in all")
    return lag
