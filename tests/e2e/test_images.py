"""Images over HTTP: every kind of range and condition answered as nginx answers for the same file; nobody without a right."""
import gzip
import hashlib
import http.client
import json
import os
import re
import shutil
import struct
import subprocess

import pytest

from harness import BIN, ROOT, Process, can_connect, esp32_image, free_port, programs_missing, shared, wait_for
from esp32_image import CHIPS as ESP32_CHIPS  # beside the harness, which knows where

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl")), reason="skipped: programs missing")

SIZE = 300_000  # esp32_image makes it exactly this long


class Sides:
    """The same bytes at otad and at nginx."""

    def __init__(self, fleet, folder):
        path = fleet.image("1.0.0", size=SIZE)
        self.data = path.read_bytes()
        fleet.ctl("push", path)
        [listed] = fleet.ctl.json("image", "list")
        self.otad = fleet.otad
        self.path = f"/i/{listed['sha256']}"
        self.sha256 = listed["sha256"]
        self.auth = {"Authorization": f"Bearer {fleet.token()}"}
        www = folder / "www"
        www.mkdir()
        (www / "image").write_bytes(self.data)
        self.nginx_port = free_port()
        config = folder / "nginx.conf"
        config.write_text(f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid;
{"user root;" if os.geteuid() == 0 else ""}
events {{ }}
http {{
	access_log off;
	client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
	uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
	server {{ listen 127.0.0.1:{self.nginx_port}; root {www}; default_type application/octet-stream; }}
}}
""")
        program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        self.nginx = Process("nginx", [program, "-c", config, "-e", folder / "nginx.err"], folder).start()
        wait_for("nginx", lambda: can_connect(self.nginx_port), alive=[self.nginx])

    def ask(self, who, method="GET", headers=None, auth=True):
        port, path = (self.otad.port, self.path) if who == "otad" else (self.nginx_port, "/image")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request(method, path, headers={**(self.auth if auth and who == "otad" else {}), **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


@pytest.fixture
def sides(fleet, folder):
    made = Sides(fleet, folder)
    yield made
    made.nginx.stop()


def parts(headers, body):
    """[(content-range, bytes)] of a multipart answer."""
    boundary = re.search(r"boundary=\"?([^\";]+)", headers["Content-Type"]).group(1).encode()
    found = []
    for piece in body.split(b"--" + boundary)[1:-1]:
        head, _, content = piece.lstrip(b"\r\n").partition(b"\r\n\r\n")
        found.append((re.search(rb"(?i)content-range: *(.*)", head).group(1).strip(), content[:-2]))
    return found


LAST = SIZE - 1
REQUESTS = [
    {}, {"Range": "bytes=0-0"}, {"Range": "bytes=0-99"}, {"Range": "bytes=100-"}, {"Range": "bytes=-100"},
    {"Range": f"bytes={LAST}-"}, {"Range": f"bytes={LAST}-{LAST}"}, {"Range": f"bytes=0-{LAST}"},
    {"Range": f"bytes=0-{SIZE * 2}"}, {"Range": f"bytes=-{SIZE * 2}"}, {"Range": f"bytes={SIZE}-"},
    {"Range": f"bytes={SIZE}-{SIZE + 5}"}, {"Range": "bytes=0-9,20-29"}, {"Range": "bytes=0-9, 100-109,-5"},
    {"Range": "bytes=65536-131071"}, {"Range": f"bytes=0-9,{SIZE}-"},
    {"If-None-Match": "ETAG"}, {"If-None-Match": '"other"'}, {"If-None-Match": '"other", ETAG'}, {"If-None-Match": "*"},
    {"If-Match": "ETAG"}, {"If-Match": '"other"'}, {"If-Match": "*"},
    {"If-Range": "ETAG", "Range": "bytes=10-19"}, {"If-Range": '"other"', "Range": "bytes=10-19"},
    {"If-Match": '"other"', "Range": "bytes=10-19"}, {"If-None-Match": "ETAG", "Range": "bytes=10-19"},
    {"Range": "items=0-5"},
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_as_nginx_answers(sides, method):
    """One otad for all requests: each is asked of both sides, with the ETag of the side that is asked."""
    tags = {who: sides.ask(who, "HEAD")[1]["ETag"] for who in ("otad", "nginx")}
    assert tags["otad"] == f'"{sides.sha256}"'
    wrong = []
    for request in REQUESTS:
        got = {who: sides.ask(who, method, {name: value.replace("ETAG", tags[who]) for name, value in request.items()})
               for who in ("otad", "nginx")}
        (status, headers, body), (expected, theirs, their_body) = got["otad"], got["nginx"]
        label = f"{method} {request}"
        if status != expected:
            wrong.append(f"{label}: {status}, nginx says {expected}")
            continue
        names = ["Content-Range"]
        if status in (200, 206) and "multipart" not in (theirs["Content-Type"] or ""):
            names.append("Content-Length")
        if status == 200:  # on a 206 nginx leaves it out, and need not
            names.append("Accept-Ranges")
        for name in names:
            if status < 400 and status != 304 and headers[name] != theirs[name]:
                wrong.append(f"{label}: {name} {headers[name]}, nginx says {theirs[name]}")
        if status in (200, 206, 304) and headers["ETag"] != tags["otad"]:
            wrong.append(f"{label}: ETag {headers['ETag']}")
        if status == 416 and headers["Content-Range"] != f"bytes */{SIZE}":
            wrong.append(f"{label}: {headers['Content-Range']}")
        if method == "HEAD" or status not in (200, 206):
            if method == "HEAD" and body:
                wrong.append(f"{label}: a body after HEAD")
        elif "multipart" in (theirs["Content-Type"] or ""):
            if parts(headers, body) != parts(theirs, their_body):
                wrong.append(f"{label}: other parts")
        elif body != their_body:
            wrong.append(f"{label}: other bytes")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("auth", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Bearer "},
                                  {"Authorization": "OTA 00112233445566778899aabbccddeeff." + "0" * 64},
                                  {"Authorization": "OTA nonsense"}, {"Authorization": "Basic YTpi"}])
def test_nobody_without_a_right(sides, auth):
    status, _, body = sides.ask("otad", headers=auth, auth=False)
    assert status == 401
    assert sides.data[:16] not in body
    for other in ("/i/" + "0" * 64, "/i/" + sides.sha256.upper(), "/i/../v1/images", "/i/" + sides.sha256 + "0"):
        assert sides.otad.request("GET", other, headers=auth)[0] in (400, 401, 404)


def test_unknown_and_malformed_names(sides):
    for path, expected in [("/i/" + "0" * 64, 404), ("/i/" + sides.sha256.upper(), 404), ("/i/", 404),
                           ("/i/" + sides.sha256[:-1], 404), (sides.path + "/", 404)]:
        assert sides.otad.request("GET", path, headers=sides.auth)[0] in (expected, 400), path


def test_the_same_image_twice_is_one(fleet):
    path = fleet.folder / "a.bin"
    path.write_bytes(esp32_image("1.0.0", size=50_000))
    fleet.ctl("push", path, "--version", "1")
    fleet.ctl("push", path, "--version", "2")
    assert len(fleet.ctl.json("image", "list")) == 1


# What becomes of each file of ../shared/firmware when it is pushed with no flag but --all: the chip of its board, and its
# version or the words of its refusal.
REAL = {
    "micropython-esp32-v1.15-app.bin": ("esp32", "1.15", ""),
    "micropython-esp32-v1.17-app.bin": ("esp32", "1.17", ""),
    "micropython-esp32-v1.17-factory.bin": ("esp32", "", "use the application image"),
    "tasmota32-app.bin": ("esp32", "", ""),
    "micropython-esp8266-v1.22.1.bin": ("esp8266", "1.22.1", ""),
    "tasmota-esp8266-arduino.bin": ("esp8266", "", ""),
    "esp8266-sdk-user1.bin": ("esp8266", "", "needs user1 and user2"),
    "esp8266-sdk-user2.bin": ("esp8266", "", "needs user1 and user2"),
}


def made(fleet):
    """What a push adds to; the states of earlier ones go on changing meanwhile."""
    return ([image["sha256"] for image in fleet.ctl.json("image", "list")], len(fleet.ctl.json("release", "list")),
            [push["id"] for push in fleet.ctl.json("rollout", "list")])


def test_every_real_file(fleet, folder):
    """Each is taken or refused as it should be, and damaged by one byte it is refused before anything is sent."""
    files = sorted(path for path in shared("firmware").iterdir() if path.is_file())
    assert {path.name for path in files} == set(REAL)
    for chip in ("esp32", "esp8266"):
        fleet.board(f"{chip}-board", chip)
        fleet.agent(f"{chip}-1", f"{chip}-board")
    wait_for("the devices", lambda: [d["state"] for d in fleet.devices().values()] == ["approved"] * 2)
    broken = folder / "broken.bin"
    for path in files:
        chip, version, refusal = REAL[path.name]
        before = made(fleet)
        data = path.read_bytes()
        for at in (8000, len(data) * 2 // 3, len(data) - 3):
            broken.write_bytes(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1:])
            result = fleet.ctl.run("push", broken, "--all", code=1)
            assert refusal in result.err or "broken.bin" in result.err, repr(result)
            # Where nobody looks before (a browser, curl), the server does.
            status = fleet.otad.request("PUT", f"/v1/images/{hashlib.sha256(broken.read_bytes()).hexdigest()}",
                                        body=broken.read_bytes(), headers={"Authorization": f"Bearer {fleet.token()}"})[0]
            assert status == 422, f"{path.name} with byte {at} damaged: {status}"
        result = fleet.ctl.run("push", path, "--all", code=1 if refusal else 0)
        assert refusal in result.err, repr(result)
        if refusal:
            assert made(fleet) == before, path.name
            continue
        said = re.search(r"^version: (\S+)", result.err, re.M).group(1)
        assert version in ("", said), repr(result)
        fleet.wait_running(said, [f"{chip}-1"], 100)  # a device in its trial takes no push
        assert {i["sha256"]: i["chip"] for i in fleet.ctl.json("image", "list")}[hashlib.sha256(data).hexdigest()] == chip


def uf2(data, address, family):
    """A UF2 file as a linker's tools leave it: pages of 256 bytes."""
    pages = [data[at:at + 256] for at in range(0, len(data), 256)]
    return b"".join(
        struct.pack("<8I476sI", 0x0A324655, 0x9E5D5157, 0x2000, address + 256 * i, len(page), i, len(pages), family, page,
                    0x0AB16F30)
        for i, page in enumerate(pages))


def test_uf2(fleet, folder):
    """A UF2 file is pushed as the flash image in it; the server takes none."""
    fleet.board("pico", "esp32s3")
    fleet.agent("pico-1", "pico")
    wait_for("the device", lambda: fleet.devices().get("pico-1", {}).get("state") == "approved")
    data = esp32_image("4.5.6", chip="esp32s3", size=100_000)
    path = folder / "lamp.uf2"
    path.write_bytes(uf2(data, 0x10000, 0xC47E5767))
    seen = fleet.ctl.json("image", "inspect", path)
    assert (seen["sha256"], seen["version"]) == (hashlib.sha256(data).hexdigest(), "4.5.6")
    assert "of a UF2 file for address 0x10000" in seen["describe"]
    headers = {"Authorization": f"Bearer {fleet.token()}"}
    for body in (path.read_bytes(), gzip.compress(path.read_bytes())):
        status, _, answer = fleet.otad.request("PUT", f"/v1/images/{hashlib.sha256(body).hexdigest()}", body=body,
                                               headers=headers)
        assert status == 422 and b"otactl push" in answer, answer
    assert fleet.ctl.json("image", "list") == []
    for cut in (512 * 3 + 5, 512 * 3):
        (folder / "cut.uf2").write_bytes(path.read_bytes()[:-cut])
        assert "cut.uf2" in fleet.ctl.run("push", folder / "cut.uf2", "--all", code=1).err
    assert fleet.ctl.json("image", "list") == []
    # A byte that no check of UF2 covers: the application's own finds it.
    bad = bytearray(path.read_bytes())
    bad[512 * 50 + 100] ^= 1
    (folder / "bad.uf2").write_bytes(bad)
    assert "does not match" in fleet.ctl.run("push", folder / "bad.uf2", "--all", code=1).err
    (folder / "lamp.uf2.gz").write_bytes(gzip.compress(path.read_bytes()))
    fleet.ctl("push", folder / "lamp.uf2.gz", "--all", "--wait", "--timeout", "100s")
    [listed] = fleet.ctl.json("image", "list")
    assert (listed["sha256"], listed["format"]) == (hashlib.sha256(data).hexdigest(), "esp32")
    fleet.wait_running("4.5.6", ["pico-1"], 5)


def rp2040_image(size):
    """boot_stage2 with its CRC, a vector table, and bytes."""
    boot = bytes(range(252))
    crc = 0xFFFFFFFF
    for byte in boot:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return (boot + struct.pack("<49I", crc, 0x20042000, *[0x10000201] * 47)).ljust(size, b"\x5a")


def test_uf2_for_an_rp2040(fleet, folder):
    """The chip of the file finds its board, and what the agent boots is the flash image."""
    fleet.board("pico", "rp2040")
    fleet.board("other", "esp32c3")
    fleet.agent("pico-1", "pico")
    wait_for("the device", lambda: fleet.devices().get("pico-1", {}).get("state") == "approved")
    data = rp2040_image(50_000)
    path = folder / "blink.uf2"
    path.write_bytes(uf2(data, 0x10000000, 0xE48BFF56))
    result = fleet.ctl("push", path, "--all", "--wait", "--timeout", "100s")
    assert "chip rp2040" in result.err and "address 0x10000000" in result.err, repr(result)
    [listed] = fleet.ctl.json("image", "list")
    assert (listed["sha256"], listed["format"], listed["chip"]) == (hashlib.sha256(data).hexdigest(), "rp2", "rp2040")
    path.write_bytes(uf2(data, 0x20000000, 0xE48BFF56))
    assert "RAM" in fleet.ctl.run("push", path, "--all", code=1).err


def test_our_own_images_are_valid(folder):
    """What the tests and the demo push is an image of its chip in every respect that otactl looks at."""
    for chip in sorted(ESP32_CHIPS):
        path = folder / f"{chip}.bin"
        path.write_bytes(esp32_image("1.2.3", chip=chip, size=20_000))
        result = subprocess.run([BIN / "otactl", "--json", "image", "inspect", path], stdout=subprocess.PIPE, check=True)
        seen = json.loads(result.stdout)
        assert (seen["valid"], seen["chip"], seen["version"]) == (True, chip, "1.2.3")


def test_the_bytes_that_no_check_covers_are_named(folder):
    """Of the header of an ESP32 image without a hash, docs/operations.md names each byte whose change is not noticed."""
    row = re.search(r"^\| `esp32` .*$", (ROOT / "docs/operations.md").read_text(), re.M)[0]
    named = set()
    for listed in re.findall(r"\((?:bytes )?([\d, to]+)\)", row):
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", listed):
            named |= set(range(int(first), int(last or first) + 1))
    image = bytearray(esp32_image("1.0.0", "lamp", "esp32c3", 20_000)[:-32])
    image[23] = 0  # no hash appended

    def is_taken(at):
        path = folder / f"{at}.bin"
        path.write_bytes(image[:at] + bytes([image[at] ^ 1]) + image[at + 1:])
        done = subprocess.run([BIN / "otactl", "--json", "image", "inspect", path], capture_output=True, check=False)
        return done.returncode == 0 and json.loads(done.stdout)["format"] == "esp32"

    taken = {at for at in range(24) if is_taken(at)}
    # 4 to 7 is the entry point, 12 the chip: named in words.
    assert named and taken - {4, 5, 6, 7, 12} == named, (taken, named)
