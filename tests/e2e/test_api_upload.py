"""Uploads on a real otad: whole, in parts, cut, killed, refused."""
import contextlib
import gzip
import hashlib
import shutil
import threading

import harness
from api import Api, nothing_changes, refused

IMAGE = harness.esp32_image("1.0", size=3_000_000)
DIGEST = hashlib.sha256(IMAGE).hexdigest()
PATH = f"/v1/images/{DIGEST}"


def send_part(client, data, announce, path=PATH, offset=0):
    """Send `data` of a body announced as `announce` bytes, then let go."""
    connection = client.open()
    with contextlib.closing(connection):
        connection.putrequest("PUT", path)
        connection.putheader("Content-Length", str(announce))
        connection.putheader("Upload-Offset", str(offset))
        if client.token:
            connection.putheader("Authorization", f"Bearer {client.token}")
        connection.endheaders()
        connection.send(data)


def offset_of(client, path=PATH):
    answer = client.call("HEAD", path)
    return int(answer.headers["Upload-Offset"]) if answer.status == 204 else None


def test_upload(bare):
    admin = Api(bare.otad)
    assert admin.call("HEAD", PATH).status == 404
    made = admin.ok("PUT", PATH, body=IMAGE, status=201)
    assert made["sha256"] == DIGEST and made["size"] == len(IMAGE) and made["chip"] == "esp32c3"
    assert made["version"] == "1.0" and made["format"] == "esp32"
    assert admin.call("HEAD", PATH).status == 200
    with nothing_changes(admin):
        again = admin.ok("PUT", PATH, body=IMAGE, status=200)
    assert {**again.json, "created": 0} == {**made.json, "created": 0}
    status, _, body = bare.otad.request("GET", f"/i/{DIGEST}", headers={"Authorization": f"Bearer {bare.token()}"})
    assert status == 200 and body == IMAGE
    assert bare.otad.request("GET", f"/i/{DIGEST}")[0] == 401


def test_upload_in_parts(bare):
    admin = Api(bare.otad)
    send_part(admin, IMAGE[:1_000_000], len(IMAGE))
    seen = []

    def settled():
        seen.append(offset_of(admin))
        return len(seen) > 5 and len(set(seen[-5:])) == 1 and seen[-1]

    at = harness.wait_for("the part", settled)
    assert 0 < at <= 1_000_000
    wrong = refused(admin, admin, 409, "", "PUT", PATH, body=IMAGE[5:], headers={"Upload-Offset": "5"})
    assert int(wrong.headers["Upload-Offset"]) == at
    made = admin.ok("PUT", PATH, body=IMAGE[at:], headers={"Upload-Offset": str(at)}, status=201)
    assert made["sha256"] == DIGEST


def test_upload_over_a_kill(bare):
    admin = Api(bare.otad)
    connection = admin.open()
    connection.putrequest("PUT", PATH)
    connection.putheader("Content-Length", str(len(IMAGE)))
    connection.endheaders()
    connection.send(IMAGE[:2_000_000])
    part = bare.otad.data / "blobs" / "tmp" / f"{DIGEST}.part"
    harness.wait_for("bytes on the disk", lambda: part.exists() and part.stat().st_size > 500_000)
    bare.otad.kill9()
    connection.close()
    bare.otad.start()
    at = offset_of(admin)
    assert at and at <= 2_000_000
    admin.ok("PUT", PATH, body=IMAGE[at:], headers={"Upload-Offset": str(at)}, status=201)
    assert admin.call("HEAD", PATH).status == 200
    assert not part.exists()


def test_upload_is_there_after_a_kill(bare):
    """What was answered with 201 is on the disk."""
    admin = Api(bare.otad)
    admin.ok("PUT", PATH, body=IMAGE, status=201)
    bare.otad.kill9()
    bare.otad.start()
    assert admin.get(PATH)["size"] == len(IMAGE)


def test_two_at_once(bare):
    """Two uploads of the same bytes: one of them may be told to come back, neither breaks the other."""
    admin = Api(bare.otad)
    got = []
    threads = [threading.Thread(target=lambda: got.append(admin.call("PUT", PATH, body=IMAGE).status)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(got) <= {200, 201, 503, 409} and 201 in got, got
    assert admin.call("HEAD", PATH).status == 200


def digest_path(data):
    return f"/v1/images/{hashlib.sha256(data).hexdigest()}"


def test_refused(make_fleet):
    fleet = make_fleet(broker=False, otad_args=["--max-image", "4M"])
    admin = Api(fleet.otad)
    uploader = admin.make("uploader")

    refused(admin, uploader, 422, "other bytes", "PUT", PATH, body=IMAGE[:-1] + b"x")
    assert uploader.call("HEAD", PATH).status == 404
    refused(admin, uploader, 400, "SHA-256", "PUT", "/v1/images/abc", body=b"x")
    refused(admin, uploader, 400, "Upload-Offset", "PUT", PATH, body=b"x", headers={"Upload-Offset": "1e3"})
    large = b"x" * (5 << 20)
    with nothing_changes(admin), contextlib.suppress(BrokenPipeError, ConnectionResetError):
        assert uploader.call("PUT", digest_path(large), body=large).status == 413
    refused(admin, uploader, 413, "at most", "PUT", PATH, body=b"x", headers={"Upload-Offset": str(4 << 20)})

    flipped = bytearray(IMAGE)
    flipped[len(flipped) // 2] ^= 1
    refused(admin, uploader, 422, "damaged", "PUT", digest_path(flipped), body=bytes(flipped))
    refused(admin, uploader, 422, "damaged", "PUT", digest_path(IMAGE[:-100]), body=IMAGE[:-100])
    elf = b"\x7fELF\1\1\1" + bytes(200)
    refused(admin, uploader, 422, "not to be installed", "PUT", digest_path(elf), body=elf)
    intel = b":020000040800F2\r\n:00000001FF\r\n"
    refused(admin, uploader, 422, "not to be installed", "PUT", digest_path(intel), body=intel)
    for data in bytes(flipped), elf, intel:
        assert uploader.call("HEAD", digest_path(data)).status == 404
    assert admin.get("/v1/images")["items"] == []


def test_gzip(bare):
    """Stored as it was sent, known for what is inside."""
    admin = Api(bare.otad)
    packed = gzip.compress(harness.esp32_image("2.0", size=100_000), 1)
    made = admin.ok("PUT", digest_path(packed), body=packed, status=201)
    assert made["format"] == "gzip" and made["size"] == len(packed)
    assert made["chip"] == "esp32c3" and made["version"] == "2.0"
    bad = packed[:len(packed) // 2]
    refused(admin, admin, 422, "", "PUT", digest_path(bad), body=bad)


def test_full_disk(make_fleet, folder):
    """Into the reserve no image is taken, and otad keeps serving; its last quarter takes nothing new at all."""
    free = shutil.disk_usage(folder).free >> 20
    fleet = make_fleet(broker=False, otad_args=["--disk-reserve", f"{2 * free}M"])
    admin = Api(fleet.otad)
    refused(admin, admin, 507, "", "PUT", PATH, body=IMAGE[:1000], headers={})
    server = admin.get("/v1/server")
    assert any("disk" in warning for warning in server["warnings"])
    assert server["disk"]["reserve"] == 2 * free << 20 and 0 < server["disk"]["free"] < server["disk"]["reserve"]
    admin.ok("POST", "/v1/boards", name="lamp", status=201)


def test_factory_image_of_the_shared_data(bare):
    folder = harness.shared("firmware")
    admin = Api(bare.otad)
    for path in sorted(folder.rglob("*.bin")):
        data = path.read_bytes()
        answer = admin.call("PUT", digest_path(data), body=data)
        assert answer.status in (200, 201, 422), f"{path.name}: {answer}"
        if answer.status == 422:
            assert answer["detail"], path.name
            assert admin.call("HEAD", digest_path(data)).status == 404
