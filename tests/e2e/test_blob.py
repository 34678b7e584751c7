"""/i/<sha256> beside nginx with the same bytes: status, the headers that matter and the body, for every kind of
conditional and range request; and what only otad does: rights, damage, TLS."""
import hashlib
import http.client
import os
import re
import shutil
import ssl

import pytest

import harness

SIZE = 3 * 1024 * 1024 + 12345
BYTES = hashlib.shake_256(b"an image").digest(SIZE)
DIGEST = hashlib.sha256(BYTES).hexdigest()
BIG = 1 << 62  # nginx refuses numbers that do not fit 63 bits; the RFC does not

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; default_type application/octet-stream;
  server {{ listen 127.0.0.1:{port}; location / {{ root {folder}/www; }} }}
}}
"""


def put_blob(data, content):
    """An image as otad itself would have stored it."""
    digest = hashlib.sha256(content).hexdigest()
    folder = data / "blobs" / digest[:2]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / digest
    path.write_bytes(content)
    path.chmod(0o444)
    return digest


def ask(port, path, headers, method="GET", tls=None):
    if tls:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30 * harness.PATIENCE, context=tls)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30 * harness.PATIENCE)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def otad(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blob")
    tls_port = harness.free_port()
    process = harness.Otad(folder, args=["--listen", f"https://127.0.0.1:{tls_port}"])
    (process.data).mkdir(mode=0o700)
    put_blob(process.data, BYTES)
    put_blob(process.data, b"")
    process.start()
    process.tls_port = tls_port
    process.tls = ssl.create_default_context(cafile=process.data / "tls/cert.pem")
    process.right = {"Authorization": "Bearer " + (process.data / "admin.token").read_text().strip()}
    yield process
    assert process.stop() == 0
    assert not harness.sanitizer_reports(folder)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not program:
        pytest.skip("skipped: no nginx")
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "www/i").mkdir(parents=True)
    (folder / "www/i" / DIGEST).write_bytes(BYTES)
    folder.chmod(0o755)
    port = harness.free_port()
    (folder / "conf").write_text(NGINX.format(folder=folder, port=port))
    process = harness.Process("nginx", [program, "-c", folder / "conf", "-p", folder], folder).start()
    harness.wait_for("nginx", lambda: harness.can_connect(port), alive=[process])
    process.port = port
    yield process
    process.child.terminate()
    process.child.wait()
    process.child = None


# {etag}: the server's own entity tag.
CASES = {
    "whole": {},
    "first byte": {"Range": "bytes=0-0"},
    "first hundred": {"Range": "bytes=0-99"},
    "middle": {"Range": "bytes=1048570-1048590"},
    "second MiB on": {"Range": "bytes=1048576-"},
    "open": {"Range": f"bytes={SIZE - 5}-"},
    "suffix": {"Range": "bytes=-100"},
    "suffix of everything": {"Range": f"bytes=-{SIZE}"},
    "suffix too long": {"Range": f"bytes=-{BIG}"},
    "end past the end": {"Range": f"bytes=10-{BIG}"},
    "everything": {"Range": f"bytes=0-{SIZE - 1}"},
    "blanks": {"Range": "bytes= 1 - 5 "},
    "past the end": {"Range": f"bytes={SIZE}-"},
    "far past the end": {"Range": f"bytes={BIG}-"},
    "empty suffix": {"Range": "bytes=-0"},
    "backwards": {"Range": "bytes=5-4"},
    "no numbers": {"Range": "bytes=a-b"},
    "nothing": {"Range": "bytes="},
    "other unit": {"Range": "lines=0-5"},
    "two ranges": {"Range": "bytes=0-99,200-299"},
    "two ranges backwards": {"Range": "bytes=200-299,0-99"},
    "three, one past the end": {"Range": f"bytes=0-9,20-29,{SIZE}-"},
    "two, all but one past the end": {"Range": f"bytes={SIZE}-,0-9"},
    "suffix and prefix": {"Range": "bytes=-10,0-9"},
    "far apart": {"Range": "bytes=0-0,2097152-2097160,-1"},
    "more than there is": {"Range": "bytes=0-,0-"},
    "if-range, same": {"Range": "bytes=0-99", "If-Range": "{etag}"},
    "if-range, other": {"Range": "bytes=0-99", "If-Range": '"other"'},
    "if-none-match, same": {"If-None-Match": "{etag}"},
    "if-none-match, weak": {"If-None-Match": "W/{etag}"},
    "if-none-match, list": {"If-None-Match": '"a", {etag}, "b"'},
    "if-none-match, any": {"If-None-Match": "*"},
    "if-none-match, other": {"If-None-Match": '"other"'},
    "if-none-match and range": {"If-None-Match": "{etag}", "Range": "bytes=0-9"},
    "if-match, same": {"If-Match": "{etag}"},
    "if-match, any": {"If-Match": "*"},
    "if-match, other": {"If-Match": '"other"'},
    "if-match, other, and range": {"If-Match": '"other"', "Range": "bytes=0-9"},
    "if-match and range": {"If-Match": "{etag}", "Range": "bytes=0-9"},
}


def parts(headers, body):
    """The parts of multipart/byteranges: [(content range, bytes)]."""
    boundary = re.fullmatch(r"multipart/byteranges; boundary=(\S+)", headers["content-type"]).group(1)
    pieces = body.split(b"\r\n--" + boundary.encode())
    assert pieces[0] == b"" and pieces[-1] == b"--\r\n", "the frame of the parts"
    out = []
    for piece in pieces[1:-1]:
        head, content = piece.split(b"\r\n\r\n", 1)
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n") if line)
        out.append((fields[b"Content-Range"], content))
    return out


def facts(answer, method):
    """What two servers must agree on."""
    status, headers, body = answer
    out = {"status": status, "content-range": headers.get("content-range")}
    if status in (200, 206):
        out["accept-ranges"] = headers.get("accept-ranges", "bytes")
        if headers.get("content-type", "").startswith("multipart"):
            out["parts"] = parts(headers, body) if method == "GET" else None
            assert method == "HEAD" or int(headers["content-length"]) == len(body)
        else:
            out["content-length"] = headers.get("content-length")
            out["body"] = hashlib.sha256(body).hexdigest()
    elif status == 304:
        assert body == b""
    return out


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_like_nginx(otad, nginx, method):
    path = f"/i/{DIGEST}"
    theirs_tag = ask(nginx.port, path, {}, "HEAD")[1]["etag"]
    ours_tag = f'"{DIGEST}"'
    wrong = []
    for name, fields in CASES.items():
        theirs = facts(ask(nginx.port, path, {k: v.replace("{etag}", theirs_tag) for k, v in fields.items()}, method),
                       method)
        mine = {**{k: v.replace("{etag}", ours_tag) for k, v in fields.items()}, **otad.right}
        for way, ours in (("http", ask(otad.port, path, mine, method)),
                          ("https", ask(otad.tls_port, path, mine, method, otad.tls))):
            assert ours[0] in (412, 416) or ours[1]["etag"] == ours_tag
            if facts(ours, method) != theirs:
                wrong.append(f"{name} ({way}): {facts(ours, method)}\n   nginx: {theirs}")
    assert not wrong, "\n".join(wrong)


def test_whole_bytes_and_headers(otad):
    status, headers, body = ask(otad.port, f"/i/{DIGEST}", otad.right)
    assert (status, body) == (200, BYTES)
    assert headers["etag"] == f'"{DIGEST}"' and headers["accept-ranges"] == "bytes"
    assert headers["content-type"] == "application/octet-stream" and "private" in headers["cache-control"]
    status, headers, body = ask(otad.port, f"/i/{DIGEST}", {**otad.right, "If-None-Match": f'"{DIGEST}"'})
    assert (status, body) == (304, b"") and headers["etag"] == f'"{DIGEST}"'
    assert headers.get("content-length") in (None, str(SIZE))


def test_ranges_put_together(otad):
    """Any cut of the image into ranges gives the image."""
    got, at, step = b"", 0, 1
    while at < SIZE:
        end = min(at + step, SIZE) - 1
        status, _, body = ask(otad.port, f"/i/{DIGEST}", {**otad.right, "Range": f"bytes={at}-{end}"})
        assert status == 206
        got, at, step = got + body, end + 1, step * 3
    assert got == BYTES


def test_empty_image(otad):
    path = f"/i/{hashlib.sha256(b'').hexdigest()}"
    for tls, port in ((None, otad.port), (otad.tls, otad.tls_port)):
        assert ask(port, path, otad.right, tls=tls)[::2] == (200, b"")
        assert ask(port, path, {**otad.right, "Range": "bytes=0-"}, tls=tls)[0] == 200
        assert ask(port, path, {**otad.right, "Range": "bytes=5-"}, tls=tls)[0] == 416


def test_rights_and_names(otad):
    for fields in ({}, {"Authorization": "Bearer x"}, {"Authorization": "OTA " + "0" * 32 + "." + "0" * 64},
                   {"Authorization": "Basic YTpi"}):
        for path in (f"/i/{DIGEST}", f"/i/{'0' * 64}", f"/i/{DIGEST}?d={'0' * 32}&k={'0' * 32}"):
            assert ask(otad.port, path, fields)[0] == 401
    for name in ("0" * 64, DIGEST.upper(), DIGEST[:-1], DIGEST + "0", "x", "%2e%2e%2fotad.db"[:6]):
        assert ask(otad.port, f"/i/{name}", otad.right)[0] in (404, 400), name


def test_public_images(folder):
    otad = harness.Otad(folder, args=["--public-images"])
    otad.data.mkdir(mode=0o700)
    put_blob(otad.data, BYTES)
    otad.start()
    status, headers, body = ask(otad.port, f"/i/{DIGEST}", {})
    assert (status, body) == (200, BYTES) and headers["cache-control"] == "public, max-age=31536000, immutable"
    assert otad.stop() == 0


def test_many_at_once(otad):
    """More images than are mapped at once, read by several clients."""
    import concurrent.futures
    digests = [put_blob(otad.data, os.urandom(100_000)) for _ in range(90)]

    def fetch(digest):
        status, _, body = ask(otad.port, f"/i/{digest}", otad.right)
        return status == 200 and hashlib.sha256(body).hexdigest() == digest

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(fetch, digests * 2))
    # A lane of its own unmaps what is too many.
    harness.wait_for("64 that stay mapped", lambda: open(f"/proc/{otad.pid}/maps").read().count("/blobs/") <= 64)


@pytest.mark.parametrize("left", [0, 2 << 20], ids=["at the start", "in the middle"])
@pytest.mark.parametrize("way", ["http", "https"])
def test_damaged(folder, way, left):
    """Bytes that cannot be read (a mapping of a file that was cut short fails as a bad sector does): the answer is
    refused or broken off, the image is not offered any more, otad lives and serves the others."""
    tls_port = harness.free_port()
    otad = harness.Otad(folder, args=["--listen", f"https://127.0.0.1:{tls_port}"])
    otad.data.mkdir(mode=0o700)
    digest = put_blob(otad.data, BYTES * 8)
    other = put_blob(otad.data, b"another image")
    otad.start()
    tls = ssl.create_default_context(cafile=otad.data / "tls/cert.pem") if way == "https" else None
    port = tls_port if tls else otad.port
    right = {"Authorization": "Bearer " + (otad.data / "admin.token").read_text().strip()}
    assert ask(port, f"/i/{digest}", right, "HEAD", tls)[0] == 200
    blob = otad.data / "blobs" / digest[:2] / digest
    blob.chmod(0o600)
    os.truncate(blob, left)
    if left or tls:
        # Its beginning is there, or is read only while it is sent: the answer begins, and is broken off.
        try:
            status, _, body = ask(port, f"/i/{digest}", right, tls=tls)
            assert status == 503 or len(body) < 8 * SIZE
        except (http.client.IncompleteRead, OSError):
            pass
        harness.wait_for("the damage to be seen", lambda: "cannot be read" in otad.text(), alive=[otad])
    status, headers, _ = ask(port, f"/i/{digest}", right, tls=tls)
    assert status == 503 and "retry-after" in headers
    assert f"image {digest} cannot be read" in otad.text()
    assert ask(port, f"/i/{digest}", {**right, "Range": "bytes=0-9"}, tls=tls)[0] == 503
    assert ask(port, f"/i/{other}", right, tls=tls)[::2] == (200, b"another image")
    assert otad.status("/healthz") == 200
    assert otad.stop() == 0
