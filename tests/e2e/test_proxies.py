"""The settings for nginx, haproxy and Caddy in docs/operations.md, run as they stand there but for ports and files: devices on
plain HTTP and on HTTPS, operators on HTTPS alone, ranges and uploads that go through without being collected."""
import contextlib
import hashlib
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess

import pytest

import harness
import rig
from harness import ROOT

DOCS = (ROOT / "docs/operations.md").read_text()
# What surrounds the text of the document in the program's own configuration, and how it is started.
FRAMES = {
    "nginx": ("""daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 256; }}
http {{
access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
{text}
}}
""", ["-c", "{conf}", "-p", "{folder}"]),
    "haproxy": ("{text}", ["-db", "-f", "{conf}"]),
    "caddy": ("{{\nadmin off\nauto_https off\n}}\n{text}", ["run", "--adapter", "caddyfile", "--config", "{conf}"]),
}


def block(kind):
    found = re.findall(rf"^```{kind}\n(.*?)^```$", DOCS, re.M | re.S)
    assert len(found) == 1, f"{len(found)} texts for {kind}"
    return found[0]


class Proxied:
    """otad with the document's settings, and a proxy with the document's in front of it."""

    def __init__(self, folder, kind, program):
        self.kind, self.folder = kind, folder
        self.plain, self.tls, devices, operators = (harness.free_port() for _ in range(4))
        self.pem, key = folder / "otad.pem", folder / "otad.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-keyout", key, "-out", self.pem, "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
        self.authority = folder / "authority.pem"
        shutil.copy(self.pem, self.authority)
        if kind == "haproxy":
            self.pem.write_bytes(self.pem.read_bytes() + key.read_bytes())
        self.otad = harness.Otad(folder)
        settings = block("ini").replace(":8484", f":{devices}").replace(":8486", f":{operators}")
        (folder / "otad.conf").write_text(settings.replace("https://otad.example/", f"https://localhost:{self.tls}/"))
        self.otad.port = devices
        self.otad.argv = [str(harness.BIN / "otad"), "--data", str(self.otad.data), "--config", str(folder / "otad.conf")]
        self.otad.start()
        text = block(kind).replace(":8484", f":{devices}").replace(":8486", f":{operators}")
        text = text.replace("/etc/ssl/otad.pem", str(self.pem)).replace("/etc/ssl/otad.key", str(key))
        if kind == "caddy":
            text = text.replace("http://otad.example {", f"http://localhost:{self.plain} {{\nbind 127.0.0.1")
            text = text.replace("https://otad.example {", f"https://localhost:{self.tls} {{\nbind 127.0.0.1\ntls {self.pem} {key}")
        else:
            where = "127.0.0.1:" if kind == "nginx" else " 127.0.0.1:"
            text, bound = re.subn(r"(listen |bind) ?:?(80|443)\b", lambda found: found[1] + where + str(
                self.plain if found[2] == "80" else self.tls), text)
            assert bound == 2
        frame, argv = FRAMES[kind]
        conf = folder / "proxy.conf"
        conf.write_text(frame.format(folder=folder, text=text))
        self.proxy = harness.Process(kind, [program, *(word.format(conf=conf, folder=folder) for word in argv)], folder,
                                     env={"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)})
        self.proxy.start()
        for port in (self.plain, self.tls):
            harness.wait_for(kind, lambda: harness.can_connect(port), alive=[self.proxy])
        self.token = (self.otad.data / "admin.token").read_text().strip()
        self.ctl = harness.Otactl(self.otad)
        del self.ctl.env["OTAD_DATA"]  # it would win over the login
        url, env = f"https://localhost:{self.tls}", {"OTACTL_TOKEN": self.token}
        pin = re.search(r"--fingerprint (\S+)", self.ctl.run("login", url, env=env, code=2).err).group(1)
        self.ctl("login", url, "--fingerprint", pin, env=env)

    def close(self):
        if self.proxy.child:
            self.proxy.child.send_signal(signal.SIGTERM)
            self.proxy.child.wait()
            self.proxy.child = None
        assert self.otad.stop() == 0

    def connect(self, is_tls):
        if is_tls:
            return http.client.HTTPSConnection("localhost", self.tls, timeout=30 * harness.PATIENCE,
                                               context=ssl.create_default_context(cafile=str(self.authority)))
        return http.client.HTTPConnection("localhost", self.plain, timeout=30 * harness.PATIENCE)

    def ask(self, is_tls, method, path, body=None, headers=None):
        with contextlib.closing(self.connect(is_tls)) as connection:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()


# Caddy is no package that the tests ask for: its settings are run where it is there.
@pytest.fixture(scope="module", params=["nginx", "haproxy", *(["caddy"] if shutil.which("caddy") else [])])
def proxied(request, tmp_path_factory):
    program = shutil.which(request.param, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not program:
        pytest.skip(f"skipped: no {request.param}")
    made = Proxied(tmp_path_factory.mktemp(request.param), request.param, program)
    yield made
    made.close()
    assert not harness.sanitizer_reports(made.folder)


def test_who_is_let_through(proxied):
    bearer = {"Authorization": f"Bearer {proxied.token}"}
    for is_tls in (False, True):
        assert proxied.ask(is_tls, "GET", "/healthz")[0] == 200
        assert proxied.ask(is_tls, "GET", "/i/" + "0" * 64)[0] == 401
        assert proxied.ask(is_tls, "GET", "/i/" + "0" * 64, headers=bearer)[0] == 404
        assert proxied.ask(is_tls, "POST", "/d/v1/checkin", b"x", {"Content-Type": "application/cbor"})[0] in (400, 503)
        assert proxied.ask(is_tls, "GET", "/metrics")[0] == 404
    assert proxied.ask(True, "GET", "/v1/server", headers=bearer)[0] == 200
    assert proxied.ask(True, "GET", "/v1/server")[0] == 401
    # Not even with a right token, and in no spelling: the plain port knows no operators.
    for path in ("/v1/server", "//v1/server", "/d/../v1/server", "/d/%2e%2e/v1/server", "/%76%31/server", "/d//../../v1/server"):
        status, _, data = proxied.ask(False, "GET", path, headers=bearer)
        assert status in (400, 404) and b"version" not in data, f"{path}: {status} {data}"
    refused = proxied.ctl.run("board", "list", "--url", f"https://localhost:{proxied.tls}", env={
        "OTACTL_TOKEN": proxied.token, "XDG_CONFIG_HOME": str(proxied.folder / "nobody")}, code=1)
    assert "a certificate nobody vouches for" in refused.err, repr(refused)


def test_a_push_through_it(proxied):
    """Operator and agent on HTTPS; another device enrolls and looks on the plain port."""
    proxied.ctl("init", "--key", proxied.folder / "root.pem")
    proxied.ctl("board", "add", "lamp", "--chip", "esp32c3")
    file = proxied.folder / "secret.prov"
    file.write_bytes(proxied.ctl("provision", "--board", "lamp", "--name", "secret").raw)
    file.chmod(0o600)
    agent = harness.Agent("secret", proxied.folder, file, args=["--cacert", proxied.authority]).start()
    try:
        harness.wait_for("the agent", lambda: "secret" in proxied.ctl("device", "list").out, alive=[agent, proxied.otad])
        image = proxied.folder / "image.bin"
        image.write_bytes(harness.esp32_image("1.0", size=2_000_000))
        pushed = proxied.ctl("push", image, "--all", "--wait", "--timeout", "120s")
        assert "1 of 1 seen running it" in pushed.out + pushed.err, repr(pushed)
    finally:
        assert agent.stop() in (0, -signal.SIGTERM)
    api = rig.Api(proxied.plain)
    api.connection = proxied.connect(False)  # by the name that the proxy goes by
    bearer = {"Authorization": f"Bearer {proxied.token}"}
    secret = rig.json.loads(proxied.ask(True, "POST", "/v1/enroll-secrets", b'{"board":"lamp","approve":true}', {
        **bearer, "Content-Type": "application/json"})[2])
    device = rig.Device(secret, rig.json.loads(proxied.ask(True, "GET", "/v1/boards/lamp", headers=bearer)[2]), b"open")
    assert device.enroll(api) == 200 and device.report(api) == 200
    assert device.checkin(api)[0] == 200
    api.close()


def test_ranges_and_conditions(proxied):
    bearer = {"Authorization": f"Bearer {proxied.token}"}
    data = os.urandom(300_000)
    path = "/i/" + hashlib.sha256(data).hexdigest()
    assert proxied.ask(True, "PUT", "/v1/images/" + path[3:], data, {**bearer, "Content-Type": "application/octet-stream"})[0] == 201
    tag = proxied.ask(True, "HEAD", path, headers=bearer)[1]["ETag"]
    for more in ({}, {"Range": "bytes=5-9"}, {"Range": "bytes=-7"}, {"Range": "bytes=299999-"}, {"Range": "bytes=300000-"},
                 {"Range": "bytes=0-1,5-6"}, {"Range": "bytes=5-9", "If-Range": tag}, {"Range": "bytes=5-9", "If-Range": '"x"'},
                 {"If-None-Match": tag}, {"If-Match": '"x"'}):
        direct = proxied.otad.request("GET", path, headers={**bearer, **more})
        for is_tls in (False, True):
            through = proxied.ask(is_tls, "GET", path, headers={**bearer, **more})
            assert through[0] == direct[0] and [through[1][name] for name in ("Content-Range", "ETag", "Accept-Ranges")] == \
                [direct[1][name] for name in ("Content-Range", "ETag", "Accept-Ranges")], more
            if direct[0] == 200 or direct[0] == 206 and "," not in more["Range"]:
                assert through[2] == direct[2], more


def test_an_upload_goes_on_where_it_was_cut(proxied):
    """What was sent when the line broke is at otad, not in the proxy."""
    bearer = {"Authorization": f"Bearer {proxied.token}"}
    data = os.urandom(3_000_000)
    path = "/v1/images/" + hashlib.sha256(data).hexdigest()
    connection = proxied.connect(True)
    connection.putrequest("PUT", path)
    for name, value in {**bearer, "Content-Type": "application/octet-stream", "Content-Length": str(len(data))}.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(data[:1_500_000])
    part = proxied.otad.data / "blobs/tmp"
    harness.wait_for("bytes to be at otad", lambda: sum(f.stat().st_size for f in part.glob("*.part")) > 0,
                     alive=[proxied.proxy, proxied.otad])
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()

    def offset():
        status, headers, _ = proxied.ask(True, "HEAD", path, headers=bearer)
        return int(headers["Upload-Offset"]) if status == 204 else 0

    at = harness.wait_for("the offset", offset, alive=[proxied.otad])
    status = None
    while status not in (200, 201):
        # Until otad has noticed that the line is cut the first upload holds the place.
        at = offset()
        status, _, said = proxied.ask(True, "PUT", path, data[at:], {
            **bearer, "Content-Type": "application/octet-stream", "Upload-Offset": str(at)})
        assert status in (200, 201, 409, 503), said
    assert at > 0


def test_bodies_that_are_too_large(proxied):
    for is_tls in (False, True):
        assert proxied.ask(is_tls, "POST", "/d/v1/checkin", b"x" * 5000, {"Content-Type": "application/cbor"})[0] == 413


def test_a_waiting_request_is_kept(proxied):
    bearer = {"Authorization": f"Bearer {proxied.token}"}
    seq = int(re.search(rb'"seq":(\d+)', proxied.ask(True, "GET", "/v1/changes?after=999999999", headers=bearer)[2])[1])
    with contextlib.closing(proxied.connect(True)) as waiting:
        waiting.request("GET", f"/v1/changes?after={seq}&wait=55", headers=bearer)
        made = rig.json.dumps({"name": "a-" + os.urandom(4).hex()}).encode()
        assert proxied.ask(True, "POST", "/v1/boards", made, {**bearer, "Content-Type": "application/json"})[0] == 201
        answer = waiting.getresponse()
        assert answer.status == 200 and b'"kind":"board"' in answer.read()
