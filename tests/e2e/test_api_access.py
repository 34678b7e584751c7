"""Who may call what, on a real otad."""
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest

import harness
from api import Api, nothing_changes, refused

ROLES = ["viewer", "uploader", "operator", "admin"]


def described_routes(admin):
    """(method, path, role) of every operators' route, out of the description that otad serves."""
    for path, methods in admin.get("/v1/openapi.json").json["paths"].items():
        for method, operation in methods.items():
            if operation["x-otad-role"] in ROLES:
                yield method.upper(), re.sub(r"\{\w+\}", "x", path), operation["x-otad-role"]


def test_every_route_asks_who(make_fleet):
    fleet = make_fleet(broker=False, otad_args=["--auth-failures", "100000"])
    admin = Api(fleet.otad)
    clients = {role: admin.make(role, "a-" + role) for role in ROLES}
    nobody, wrong = Api(fleet.otad, ""), Api(fleet.otad, "otad_00000000_" + "A" * 43)
    routes = list(described_routes(admin))
    assert len(routes) > 45
    with nothing_changes(admin):
        for method, path, role in routes:
            for client in nobody, wrong:
                answer = client.call(method, path)
                assert answer.status == 401, f"{method} {path}: {answer}"
                assert answer.headers["WWW-Authenticate"] == "Bearer"
            lower = ROLES[:ROLES.index(role)]
            if lower:
                answer = clients[lower[-1]].call(method, path)
                assert answer.status == 403, f"{method} {path} as {lower[-1]}: {answer}"
    for method, path, role in routes:
        if method == "GET" and "x" not in path.split("/") and path != "/v1/changes":
            assert clients[role].call(method, path).status == 200, (method, path, role)


def test_tokens(bare):
    admin = Api(bare.otad)
    first = Api(bare.otad, bare.token())
    assert first.get("/v1/whoami").json == {"kind": "token", "name": "admin", "role": "admin"}
    assert admin.get("/v1/whoami")["kind"] == "socket"
    ci = admin.make("uploader", "ci")
    assert ci.get("/v1/whoami")["role"] == "uploader"
    refused(admin, first, 409, "last administrator's token", "DELETE", "/v1/tokens/admin")
    refused(admin, admin, 409, "token 'ci' already", "POST", "/v1/tokens", name="ci", role="viewer")
    shown = next(t for t in admin.get("/v1/tokens")["items"] if t["name"] == "ci")
    assert ci.token not in str(admin.get("/v1/tokens").json)
    bare.otad.restart()
    assert ci.get("/v1/whoami")["name"] == "ci"
    assert admin.call("DELETE", f"/v1/tokens/{shown['id']}").status == 204
    assert ci.call("GET", "/v1/whoami").status == 401
    bare.otad.restart()
    assert ci.call("GET", "/v1/whoami").status == 401
    assert first.get("/v1/whoami")["name"] == "admin"
    # Nothing secret lies in the database: the token's text is nowhere in its files.
    for path in pathlib.Path(bare.otad.data).glob("otad.db*"):
        assert first.token.encode() not in path.read_bytes()


def test_files_of_the_first_start(bare):
    data = bare.otad.data
    assert (data / "admin.token").stat().st_mode & 0o777 == 0o600
    assert (data / "otad.sock").stat().st_mode & 0o777 == 0o600
    assert (data / "keys").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="skipped: needs root")
def test_socket_serves_its_owner_alone(bare):
    """Whoever else can reach the socket is nobody: the peer's user id decides, not the file's mode."""
    path = bare.otad.data / "otad.sock"
    path.chmod(0o666)
    for parent in path.parents:
        if parent.stat().st_uid == os.geteuid() and parent != pathlib.Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    code = ("import os,socket,sys\nos.setgid(65534); os.setuid(65534)\ns=socket.socket(socket.AF_UNIX); s.settimeout(20)\n"
            f"s.connect({str(path)!r}); s.sendall(b'GET /v1/whoami HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
            "print(s.recv(4096).decode(errors='replace'))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "200 OK" not in done.stdout and "admin" not in done.stdout, done.stdout + done.stderr


def test_no_root_yet(bare):
    admin = Api(bare.otad)
    admin.ok("POST", "/v1/boards", name="lamp", chip="esp32c3", status=201)
    digest = admin.upload(harness.esp32_image("1.0", size=20000))
    release = {"board": "lamp", "version": "1.0", "images": [{"sha256": digest}]}
    refused(admin, admin, 503, "no root yet: run otactl init", "POST", "/v1/releases", **release)
    refused(admin, admin, 503, "no root yet", "PUT", "/v1/rollouts/p", release="lamp:1.0", selector="*")
    refused(admin, admin, 503, "no root yet", "POST", "/v1/provisions", board="lamp")
    assert bare.otad.status("/readyz") == 503
    assert admin.get("/v1/server")["warnings"][0].startswith("no root yet")
    bare.init()
    assert bare.otad.status("/readyz") == 200
    admin.ok("POST", "/v1/releases", status=201, **release)


def test_second_otad_on_the_same_directory(bare):
    second = harness.Process("second", [harness.BIN / "otad", "--data", bare.otad.data, "--listen",
                                        f"http://127.0.0.1:{harness.free_port()}"], bare.folder).start()
    assert second.wait() == 1
    assert str(bare.otad.data) in second.text()
    assert Api(bare.otad).get("/v1/server")["version"]


def test_waiting_requests_do_not_hold_up_the_end(bare):
    admin = Api(bare.otad)
    seq = admin.seq()
    waiting = [admin.open() for _ in range(5)]
    for connection in waiting:
        connection.request("GET", f"/v1/changes?after={seq}&wait=55")
    # All of them are with the server once another request was answered after them.
    admin.get("/v1/server")
    assert bare.otad.stop(10) == 0
    for connection in waiting:
        connection.close()


def test_changes_wake(bare):
    admin = Api(bare.otad)
    seq = admin.seq()
    connection = admin.open()
    connection.request("GET", f"/v1/changes?after={seq}&wait=55")
    made = admin.ok("POST", "/v1/boards", name="lamp", status=201)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert '"kind":"board","id":"lamp"' in text
    assert int(made.headers["X-Otad-Change"]) > seq
    with pytest.raises(socket.timeout):
        slow = Api(bare.otad, timeout=1.0)
        slow.get(f"/v1/changes?after={admin.seq()}&wait=30")
