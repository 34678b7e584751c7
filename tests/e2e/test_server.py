"""otad as a process: start, wrong use, reload, end; and its loop, which never waits."""
import collections
import concurrent.futures
import base64
import hashlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

import harness
from raw import Reader, exchange


def run(*args, env=None):
    done = subprocess.run([harness.BIN / "otad", *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True,
                          timeout=60 * harness.PATIENCE, env={**os.environ, **(env or {})}, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def right(otad):
    return {"Authorization": "Bearer " + (otad.data / "admin.token").read_text().strip()}


def main_pid(otad):
    return int((otad.data / "lock").read_text())


# Wrong use: exit code, a line that says what.
@pytest.mark.parametrize("args,code,words", [
    (["--bogus"], 2, "unknown option '--bogus'"),
    (["--lisen", "http://127.0.0.1:1"], 2, "unknown option '--lisen', did you mean '--listen'?"),
    (["serve"], 2, "'serve' is no command"),
    (["--plain-http", "serve"], 2, "'serve' is no command"),
    (["--poll", "never"], 2, "--poll: 'never' is not a time"),
    (["--mqtt-password", "x"], 2, "not on the command line"),
    (["--config", "/nowhere"], 1, "cannot open '/nowhere'"),
    (["--listen", "http://0.0.0.0:1"], 2, "plain HTTP beyond loopback"),
    (["--listen", "http://0.0.0.0:1=operators", "--plain-http"], 2, "operators are not served over plain HTTP"),
    (["--listen", "gopher://127.0.0.1:1"], 2, "does not begin with http"),
    (["--tls-cert", "/nowhere"], 2, "tls-cert and tls-key go together"),
    (["--mqtt", "http://broker"], 2, "does not begin with mqtt"),
    (["--mqtt", "mqtt://user:secret@broker"], 2, "do not belong into the URL"),
    (["--data", ""], 2, "no data directory"),
    (["backup"], 2, "backup needs a FILE"),
    (["restore"], 2, "restore needs a FILE"),
    (["backup", "x", "--with-keys"], 1, "otad.db': No such file"),
    (["backup", "x", "--passphrase-file", "y"], 2, "is for a backup --with-keys"),
    (["restore", "x", "--with-keys"], 1, "cannot open 'x'"),
    (["restore", "-", "--with-keys"], 2, "no terminal to ask for it: --passphrase-file FILE"),
    (["check", "x"], 2, "check takes no argument"),
    (["health"], 1, "there is no socket"),
    (["--plain-http", "check", "x"], 2, "check takes no argument"),
])
def test_wrong_use(folder, args, code, words):
    data = [] if "--data" in args else ["--data", folder / "data"]
    got, out, err = run(*args, *data)
    assert got == code and words in err and err.startswith("otad: ") and err.count("\n") == 1, (got, out, err)
    if code == 2:
        assert not (folder / "data").exists() or not list((folder / "data").glob("otad.db*"))


def test_check_config(folder):
    good, bad = folder / "good", folder / "bad"
    good.write_text("[server]\nlisten = http://127.0.0.1:1\n[devices]\npoll = 5m\n")
    bad.write_text("[server]\nlisten = http://127.0.0.1:1\n\nnonsense = 5\n")
    assert run("--check-config", "--config", good) == (0, "the settings are good\n", "")
    code, _, err = run("--check-config", "--config", bad)
    assert code == 2 and f"{bad}:4: unknown option 'nonsense'" in err
    assert run("--check-config", env={"OTAD_POLL": "x"})[0] == 2
    assert run("--check-config", env={"OTAD_POLL": "1h"})[0] == 0
    misspelt = (2, "", "otad: unknown variable OTAD_LISTNE: did you mean OTAD_LISTEN?\n")
    assert run("--check-config", env={"OTAD_LISTNE": "http://127.0.0.1:1"}) == misspelt
    assert run("--data", folder / "data", env={"OTAD_LISTNE": "http://127.0.0.1:1"}) == misspelt
    assert not (folder / "data").exists()
    assert run("--version")[1].startswith("otad ") and "--listen" in run("--help")[1]


def test_second_otad(folder):
    otad = harness.Otad(folder).start()
    code, _, err = run("--data", otad.data, "--listen", f"http://127.0.0.1:{harness.free_port()}")
    assert code == 1 and f"is in use by another otad, process {otad.pid}" in err
    assert otad.status("/healthz") == 200
    assert run("health", "--data", otad.data)[0] == 0
    # A kill -9 leaves the lock file and the socket; neither is in the way.
    otad.kill9()
    assert run("health", "--data", otad.data)[0] == 1
    otad.start()
    assert otad.stop() == 0
    assert not (otad.data / "otad.sock").exists()


def test_health_of_a_loop_that_takes_nobody(folder):
    """Its backlog is full: connect() would wait for ever."""
    with socket.socket(socket.AF_UNIX) as door, socket.socket(socket.AF_UNIX) as first:
        door.bind(str(folder / "otad.sock"))
        door.listen(0)
        first.connect(str(folder / "otad.sock"))
        code, _, err = run("health", "--data", folder)
    assert code == 1 and "otad does not answer" in err, err


def test_port_in_use(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        door = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = run("--data", folder / "data", "--listen", door)
    assert code == 1 and f"cannot listen on {door}: Address already in use" in err


def test_read_only_data(folder):
    """A data directory on a read-only mount: a clear line, exit 1."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    script = f'mount --bind "{data}" "{data}" && mount -o remount,ro,bind "{data}" && exec "$@"'
    argv = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", str(harness.BIN / "otad"), "--data",
            str(data)]
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    if b"unshare" in done.stderr or b"mount:" in done.stderr:
        pytest.skip("skipped: needs root")
    assert done.returncode == 1, done.stderr
    assert b"cannot write in the data directory" in done.stderr and b"Read-only file system" in done.stderr
    assert list(data.iterdir()) == []


def test_socket_door(folder):
    """Root and otad's own user are administrators; the socket is nobody else's."""
    otad = harness.Otad(folder).start()
    path = otad.data / "otad.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b"GET /v1/tokens HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert sock.recv(12) == b"HTTP/1.1 200"
    if os.geteuid() == 0:
        # Even if somebody made it reachable.
        otad.data.chmod(0o755)
        path.chmod(0o666)
        for parent in [*otad.data.parents][:-1]:
            if parent.stat().st_mode & 0o005 != 0o005 and str(parent).startswith(str(pathlib.Path(folder).parents[1])):
                parent.chmod(0o755)
        code = ("import os,socket,sys; os.setgid(65534); os.setuid(65534); s=socket.socket(socket.AF_UNIX);"
                "s.connect(sys.argv[1]); s.sendall(b'GET /v1/tokens HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n');"
                "print(s.recv(12).decode())")
        done = subprocess.run(["/usr/bin/python3", "-c", code, path], capture_output=True, text=True, check=False)
        assert done.stdout.strip() in ("HTTP/1.1 403", ""), done
    assert otad.stop() == 0


def test_doors_open_what_they_say(folder):
    devices, operators = harness.free_port(), harness.free_port()
    otad = harness.Otad(folder, args=["--listen", f"http://127.0.0.1:{devices}=devices", "--listen",
                                      f"http://127.0.0.1:{operators}=operators"]).start()
    token = right(otad)["Authorization"].encode()
    ask = b"GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: " + token + b"\r\nConnection: close\r\n\r\n"
    post = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    for port, path, status in ((devices, b"/v1/boards", 404), (operators, b"/v1/boards", 200),
                               (devices, b"/healthz", 200), (operators, b"/healthz", 200),
                               (devices, b"/i/" + b"0" * 64, 404), (operators, b"/i/" + b"0" * 64, 404)):
        assert exchange(port, ask % path)[0][0].status == status, (port, path)
    assert exchange(operators, post % b"/d/v1/checkin")[0][0].status == 404
    assert exchange(devices, post % b"/d/v1/checkin")[0][0].status != 404
    for port, path, words in ((devices, "/v1/tokens", ["this door is for devices;", "is for operators"]),
                              (operators, "/d/v1/enroll", ["this door is for operators;", "is for devices"])):
        told = http.client.HTTPConnection("127.0.0.1", port, timeout=20 * harness.PATIENCE)
        told.request("POST", path)
        problem = json.loads(told.getresponse().read())
        told.close()
        assert problem["code"] == "other-door" and all(word in problem["detail"] for word in words), problem
    assert otad.stop() == 0


def fingerprint(port):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))).hexdigest()


def pin(port):
    """The pin as curl writes it, by openssl alone."""
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    key = subprocess.run(["openssl", "x509", "-noout", "-pubkey"], input=pem, check=True, capture_output=True, text=True)
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key.stdout.encode(), check=True,
                         capture_output=True).stdout
    return "sha256//" + base64.b64encode(hashlib.sha256(der).digest()).decode()


def test_certificate(folder):
    """Made once, with the names; its fingerprint is logged; SIGHUP brings a new one without losing a connection."""
    port = harness.free_port()
    otad = harness.Otad(folder, args=["--listen", f"https://127.0.0.1:{port}", "--host-names",
                                      "otad.example 192.0.2.9"]).start()
    first = fingerprint(port)
    assert first.upper() in otad.text().replace(":", "")
    assert f"operators' key {pin(port)}" in otad.text(), "what otactl login shows"
    assert (otad.data / "tls/key.pem").stat().st_mode & 0o777 == 0o600
    text = subprocess.run(["openssl", "x509", "-noout", "-text", "-in", otad.data / "tls/cert.pem"], check=True,
                          capture_output=True, text=True).stdout
    for name in ("DNS:localhost", "IP Address:127.0.0.1", "DNS:otad.example", "IP Address:192.0.2.9", "CA:FALSE",
                 "prime256v1"):
        assert name in text, name
    context = ssl.create_default_context(cafile=otad.data / "tls/cert.pem")
    with socket.create_connection(("127.0.0.1", port)) as raw:
        with context.wrap_socket(raw, server_hostname="localhost") as old:
            stream = Reader(old)

            def asked():
                old.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                return stream.answer().status

            assert asked() == 200
            # A key that does not fit: said, and the old certificate stays.
            key = otad.data / "tls/key.pem"
            good_key = key.read_bytes()
            subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
                            key], check=True, capture_output=True)
            otad.signal(signal.SIGHUP)
            harness.wait_for("the refusal", lambda: "is not the key of" in otad.text(), alive=[otad])
            assert fingerprint(port) == first
            key.write_bytes(good_key)
            # A new pair.
            for name in ("cert.pem", "key.pem"):
                (otad.data / "tls" / name).unlink()
            otad.signal(signal.SIGHUP)
            harness.wait_for("the new certificate", lambda: fingerprint(port) != first, alive=[otad])
            assert asked() == 200, "a connection from before goes on"
    second = fingerprint(port)
    otad.restart()
    assert fingerprint(port) == second
    assert otad.stop() == 0


def test_reload_of_the_reserve(folder):
    config = folder / "conf"
    config.write_text("[limits]\ndisk-reserve = 1000000G\n")
    otad = harness.Otad(folder, args=["--config", config]).start()
    image = harness.esp32_image(version="1.2.3", size=20_000)

    def upload():
        return otad.request("PUT", f"/v1/images/{hashlib.sha256(image).hexdigest()}", image, right(otad))[0]

    assert upload() == 507
    config.write_text("[limits]\ndisk-reserve = 1M\n")
    otad.signal(signal.SIGHUP)
    harness.wait_for("the reload", lambda: "settings reloaded" in otad.text(), alive=[otad])
    assert upload() == 201
    assert otad.stop() == 0


def test_reload_of_settings(folder):
    config = folder / "conf"
    config.write_text("[server]\nlog-level = info\n")
    otad = harness.Otad(folder, args=["--config", config]).start()
    otad.status("/nothing")
    assert "GET /nothing" not in otad.text()
    config.write_text("[server]\nlog-level = debug\n")
    otad.signal(signal.SIGHUP)
    harness.wait_for("the reload", lambda: "settings reloaded" in otad.text(), alive=[otad])
    otad.status("/nothing")
    assert "GET /nothing 404" in otad.text()
    config.write_text("[server]\nlog-level = loud\n")
    otad.signal(signal.SIGHUP)
    harness.wait_for("the refusal", lambda: f"{config}:2: log-level: 'loud'" in otad.text(), alive=[otad])
    assert otad.status("/healthz") == 200
    assert otad.stop() == 0


def test_readiness_for_systemd(folder):
    path = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(30 * harness.PATIENCE)
        otad = harness.Otad(folder, env={"NOTIFY_SOCKET": str(path), "JOURNAL_STREAM": "1:2"}).start(until=None)
        assert notify.recv(100) == b"READY=1"
        otad.signal(signal.SIGHUP)
        assert notify.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert notify.recv(100) == b"READY=1"
        otad.signal(signal.SIGTERM)
        assert notify.recv(100) == b"STOPPING=1"
        assert otad.wait() == 0
    assert all(re.match(r"<[3467]>", line) for line in otad.text().splitlines()), otad.text()


def test_end_cuts_downloads_and_finishes_the_rest(folder):
    otad = harness.Otad(folder, args=["--public-images"])
    content = os.urandom(1 << 20) * 32
    digest = hashlib.sha256(content).hexdigest()
    place = otad.data / "blobs" / digest[:2]
    place.mkdir(mode=0o700, parents=True)
    otad.data.chmod(0o700)
    (place / digest).write_bytes(content)
    otad.start()
    with socket.create_connection(("127.0.0.1", otad.port)) as slow, \
            socket.create_connection(("127.0.0.1", otad.port)) as idle:
        slow.sendall(b"GET /i/%s HTTP/1.1\r\nHost: x\r\n\r\n" % digest.encode())
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert slow.recv(12) == idle.recv(12) == b"HTTP/1.1 200"
        begin = time.monotonic()
        assert otad.stop() == 0
        assert time.monotonic() - begin < 7 * harness.PATIENCE


def test_few_descriptors(folder):
    """The budget is counted at the start and said."""
    otad = harness.Otad(folder)
    otad.argv = ["prlimit", "--nofile=700:700", *otad.argv]
    otad.start()
    assert re.search(r"the limit of open descriptors allows 124 connections, not 4000", otad.text()), otad.text()
    socks = [socket.create_connection(("127.0.0.1", otad.port)) for _ in range(300)]
    for sock in socks:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    statuses = collections.Counter(sock.recv(12) for sock in socks)
    assert statuses == {b"HTTP/1.1 200": 124, b"HTTP/1.1 503": 176}, statuses
    for sock in socks:
        sock.close()
    harness.wait_for("otad to serve again", lambda: otad.status("/healthz") == 200, alive=[otad])
    assert otad.stop() == 0


def health(otad):
    return json.loads(otad.request("GET", "/healthz")[2])


def test_broker_comes_and_goes(folder):
    """Absent, then there, then gone, then back: polls go on, otad finds it again within seconds, one line a time."""
    broker = harness.Broker(folder)
    otad = harness.Otad(folder, broker).start()
    harness.wait_for("the line", lambda: "is away" in otad.text(), alive=[otad])
    broker.start()
    harness.wait_for("the connection", lambda: health(otad)["broker"] == "connected", alive=[otad])
    broker.stop()
    harness.wait_for("the loss", lambda: health(otad)["broker"] == "away", alive=[otad])
    broker.start()
    begin = time.monotonic()
    harness.wait_for("the connection", lambda: health(otad)["broker"] == "connected", alive=[otad])
    assert time.monotonic() - begin < 5 * harness.PATIENCE
    # The pselect limit of the library's own loop: its socket lies above descriptor 1,024 this time.
    socks = [socket.create_connection(("127.0.0.1", otad.port)) for _ in range(1100)]
    broker.stop()
    harness.wait_for("the loss", lambda: health(otad)["broker"] == "away", alive=[otad])
    broker.start()
    harness.wait_for("the connection", lambda: health(otad)["broker"] == "connected", alive=[otad])
    for sock in socks:
        sock.close()
    assert otad.text().count("is away") == 3 and otad.text().count("connected to the broker") == 3, otad.text()
    assert otad.stop() == 0
    broker.stop()


def test_broker_refuses(folder):
    broker = harness.Broker(folder).start()
    broker.passwords["otad"] = "wrong"
    otad = harness.Otad(folder, broker).start()
    harness.wait_for("the line", lambda: "refuses otad" in otad.text(), alive=[otad])
    time.sleep(3)
    assert otad.text().count("the broker ") == 1 and otad.status("/healthz") == 200, otad.text()
    assert otad.stop() == 0
    broker.stop()


def test_broker_without_a_name(folder):
    """A name that does not resolve costs a worker its time and nobody else."""
    otad = harness.Otad(folder, args=["--mqtt", "mqtt://no-such-host.invalid"]).start()
    harness.wait_for("the line", lambda: "is away" in otad.text(), 60, alive=[otad])
    assert otad.status("/healthz") == 200
    assert otad.stop() == 0


def test_silent_broker(folder):
    """One that takes the connection and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        otad = harness.Otad(folder, args=["--mqtt", f"mqtt://127.0.0.1:{silent.getsockname()[1]}"]).start()
        harness.wait_for("the line", lambda: "is away" in otad.text(), 60, alive=[otad])
        assert otad.stop() == 0


# What the loop's thread must never do.
FORBIDDEN = ("fsync", "fdatasync", "pwrite64", "pwritev", "pread64", "openat", "openat2", "open", "rename", "renameat",
             "renameat2", "unlink", "unlinkat", "ftruncate", "mkdir", "mkdirat", "statfs", "fstatfs")


def test_the_loop_never_waits(folder):
    """An upload, a download, writes and reads of the database and a broker, traced: not one forbidden call."""
    if not shutil.which("strace"):
        pytest.skip("skipped: no strace")
    broker = harness.Broker(folder).start()
    otad = harness.Otad(folder, broker)
    otad.argv = ["strace", "-f", "-qq", "-o", str(folder / "trace"), "-e", "trace=" + ",".join(FORBIDDEN) + ",connect",
                 *otad.argv]
    otad.env["ASAN_OPTIONS"] += ":detect_leaks=0"  # the leak check is a tracer of its own
    otad.start()
    harness.wait_for("the broker", lambda: health(otad)["broker"] == "connected", alive=[otad])
    mark = len((folder / "trace").read_text().splitlines())
    image = harness.esp32_image(version="1.2.3", size=2_000_000)
    digest = hashlib.sha256(image).hexdigest()
    fields = right(otad)
    assert otad.request("HEAD", f"/v1/images/{digest}", headers=fields)[0] == 404
    assert otad.request("PUT", f"/v1/images/{digest}", image, {**fields, "Upload-Offset": "0"})[0] == 201
    assert otad.request("GET", f"/i/{digest}", headers=fields)[::2] == (200, image)
    assert otad.request("POST", "/v1/boards", json.dumps({"name": "lamp", "chip": "esp32c3"}),
                        {**fields, "Content-Type": "application/json"})[0] == 201
    assert otad.request("GET", "/v1/boards", headers=fields)[0] == 200
    assert otad.request("DELETE", f"/v1/images/{digest}", headers=fields)[0] == 204
    pid = str(main_pid(otad))
    calls = [line for line in (folder / "trace").read_text().splitlines()[mark:]]
    assert any(" fdatasync(" in line or " fsync(" in line for line in calls), "the trace saw the other threads"
    bad = [line for line in calls if line.split()[0] == pid and line.split()[1].split("(")[0] in FORBIDDEN]
    assert not bad, "\n".join(bad)
    os.kill(int(pid), signal.SIGTERM)
    assert otad.wait() == 0
    broker.stop()


def test_lag_under_work(folder):
    """Polls beside uploads and a broker that is not there: the loop's own measure, printed. Counts decide here."""
    otad = harness.Otad(folder, args=["--mqtt", "mqtt://127.0.0.1:1"]).start()
    fields = right(otad)
    image = harness.esp32_image(version="1.2.3", size=8_000_000)

    def upload(number):
        content = image + bytes([number])
        digest = hashlib.sha256(content).hexdigest()
        return otad.request("PUT", f"/v1/images/{digest}", content, {**fields, "Upload-Offset": "0"}, 60)[0]

    def poll(_):
        return otad.request("GET", "/readyz")[0]

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        uploads = [pool.submit(upload, number) for number in range(4)]
        polls = list(pool.map(poll, range(600)))
        assert all(status in (200, 503) for status in polls)
        assert all(future.result() in (201, 422) for future in uploads)
    lag = health(otad)["loop"]
    print(f"loop lag: p50 {lag['p50_us']} us, p99 {lag['p99_us']} us, worst {lag['worst_us']} us, {lag['turns']} turns")
    assert lag["p99_us"] < 100_000
    assert otad.stop() == 0
