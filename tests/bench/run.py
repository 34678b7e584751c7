#!/usr/bin/env python3
"""Polls and downloads of otad beside nginx and beside the cheapest server there is, on this machine.

Server on one CPU with one thread, client on another, the two sides interleaved, the median of the rounds' ratios: single runs
of a few seconds swing too much to be compared. usage: run.py [--rounds N] [--seconds S]
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("OTAD_BIN", str(ROOT / "build/bin"))
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/tools")]

from harness import Fleet, Process, can_connect, esp32_image, free_port, wait_for  # noqa: E402

SERVER_CPU, CLIENT_CPU = "1", "0"
TOOLS = pathlib.Path(os.environ["OTAD_BIN"]).parent / "tests"
TICK = os.sysconf("SC_CLK_TCK")


def pin(pid):
    """All threads of a running process to the server's CPU."""
    subprocess.run(["taskset", "-a", "-p", "-c", SERVER_CPU, str(pid)], check=True, stdout=subprocess.DEVNULL)


def cpu_seconds(pid):
    """CPU time of a process, all threads, user and system."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def wrk(url, connections, seconds, headers=()):
    """Requests a second; every answer must have been a good one."""
    argv = ["taskset", "-c", CLIENT_CPU, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for header in headers:
        argv += ["-H", header]
    out = subprocess.run([*argv, url], check=True, stdout=subprocess.PIPE, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise AssertionError(f"{url}\n{out}")
    return float(re.search(r"Requests/sec:\s*([\d.]+)", out).group(1))


def herd(port, devices, seconds, connections=64):
    out = subprocess.run(["taskset", "-c", CLIENT_CPU, TOOLS / "herd", "checkin", str(port), devices, "--seconds", str(seconds),
                          "--connections", str(connections)], check=False, stdout=subprocess.PIPE, text=True).stdout
    done = json.loads(out)
    if done["bad"]:
        raise AssertionError(out)
    return done


class Nginx(Process):
    """One worker with the settings that serve it best: sendfile, an open file cache, no log."""

    def __init__(self, folder, root):
        self.port = free_port()
        config = folder / "nginx.conf"
        config.write_text(f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
{"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections 16384; }}
http {{
	access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
	open_file_cache max=100 inactive=1h; open_file_cache_valid 1h;
	client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
	uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
	server {{ listen 127.0.0.1:{self.port}; root {root}; }}
}}
""")
        super().__init__("nginx", ["/usr/sbin/nginx", "-c", config, "-e", folder / "nginx.err"], folder)

    def start(self):
        super().start()
        wait_for("nginx", lambda: can_connect(self.port), alive=[self])
        workers = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in [self.pid, *workers]:
            pin(pid)
        return self


def compare(title, aim, ours, theirs, rounds):
    """Interleaved rounds; prints the median of the ratios ours / theirs."""
    pairs = []
    for number in range(rounds):
        first, second = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        values = {first: first(), second: second()}
        pairs.append((values[ours], values[theirs]))
    ratios = [a / b for a, b in pairs]
    print(f"{title:<34} {statistics.median(a for a, _ in pairs):10.1f} {statistics.median(b for _, b in pairs):10.1f}"
          f"   ratio {statistics.median(ratios):5.2f} ({min(ratios):.2f} to {max(ratios):.2f})   aim {aim}", flush=True)


def enroll(fleet, folder, count):
    """A file with `count` enrolled devices for herd."""
    secret = fleet.ctl.json("enroll", "create", "--board", "lamp", "--uses", str(count), "--approve")
    board = fleet.ctl.json("board", "show", "lamp")
    devices = folder / "herd.devices"
    subprocess.run([TOOLS / "herd", "enroll", str(fleet.otad.port), devices, "--devices", str(count), "--vendor",
                    board["vendor_id"], "--class", board["class_id"], "--secret-id", secret["id"], "--secret",
                    secret["secret"], "--connections", "32"], check=True, stdout=subprocess.PIPE)
    return devices


def measure(folder, rounds, seconds):
    www = folder / "www"
    www.mkdir()
    (www / "small").write_bytes(b"x" * 200)
    image = esp32_image("1.0.0", size=1 << 20)
    (www / "image").write_bytes(image)
    folder.joinpath("image.bin").write_bytes(image)
    nginx = Nginx(folder, www).start()
    fleet = Fleet(folder, broker=False, otad_args=["--log-level", "warn"])
    floor = Process("floor", [TOOLS / "floor", str(free_port())], folder).start()
    try:
        pin(fleet.otad.pid)
        pin(floor.pid)
        fleet.init()
        fleet.board("lamp", "esp32c3")
        fleet.ctl("push", folder / "image.bin")
        listed = fleet.ctl.json("image", "list")
        image_url = f"{fleet.otad.url}i/{listed[0]['sha256']}"
        token = f"Authorization: Bearer {fleet.token()}"
        devices = enroll(fleet, folder, 1000)
        ngx = f"http://127.0.0.1:{nginx.port}"
        print(f"{'requests a second':<34} {'otad':>10} {'nginx':>10}")
        compare("token poll / 200-byte file, c=64", ">= 0.95", lambda: wrk(fleet.otad.url + "v1/whoami", 64, seconds, [token]),
                lambda: wrk(f"{ngx}/small", 64, seconds), rounds)
        compare("1 MiB, c=16", ">= 1.5", lambda: wrk(image_url, 16, seconds, [token]),
                lambda: wrk(f"{ngx}/image", 16, seconds), rounds)
        part = "Range: bytes=131072-196607"
        compare("64 KiB range, c=16", ">= 1.2", lambda: wrk(image_url, 16, seconds, [token, part]),
                lambda: wrk(f"{ngx}/image", 16, seconds, [part]), rounds)

        def cost(process, port):
            before = cpu_seconds(process.pid)
            done = herd(port, devices, seconds)
            return (cpu_seconds(process.pid) - before) * 1e6 / done["good"]

        print(f"{'CPU us a request':<34} {'otad':>10} {'floor':>10}")
        compare("MACed check-in / bare epoll, c=64", "<= 2.6", lambda: cost(fleet.otad, fleet.otad.port),
                lambda: cost(floor, int(floor.argv[-1])), rounds)
        done = herd(fleet.otad.port, devices, seconds)
        print(f"MACed check-ins: {done['per_second']} a second, p99 {done['p99_us']} us, worst {done['max_us']} us")
    finally:
        for process in (nginx, floor):
            process.stop()
        for problem in fleet.close():
            print(problem, file=sys.stderr)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    args = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        print("bench: needs two CPUs, one for the server and one for the client", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="otad-bench-") as name:
        measure(pathlib.Path(name), args.rounds, args.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
