"""Pushes by the API, with real agents; and everything that is refused."""
import hashlib
import os

import harness
from api import Api, refused


def release(admin, version, board="lamp", **how):
    """BOARD:VERSION of a new signed release."""
    digest = admin.upload(harness.esp32_image(version, size=60_000, **how))
    made = admin.ok("POST", "/v1/releases", board=board, version=version, images=[{"sha256": digest}], status=201)
    assert made["state"] == "signed"
    return made["id"]


def push(admin, which, selector="*", status=201, **more):
    name = os.urandom(16).hex()
    return admin.ok("PUT", f"/v1/rollouts/{name}", release=which, selector=selector, status=status, **more)


def is_done(admin, made):
    return lambda: admin.get(f"/v1/rollouts/{made['id']}")["state"] != "open"


def test_push(fleet):
    admin = Api(fleet.otad)
    fleet.add(2)
    first = push(admin, release(admin, "1.0"))
    assert first["targets"] == 2
    fleet.wait_running("1.0")
    harness.wait_for("the end of the push", is_done(admin, first))
    counts = admin.get(f"/v1/rollouts/{first['id']}")["counts"]
    assert counts["running"] == 2 and sum(counts.values()) == 2
    # One that runs it already is done at once.
    again = push(admin, "lamp:1.0")
    harness.wait_for("the push of what runs", is_done(admin, again))
    # A device that still reports would be a change of its own.
    for agent in fleet.agents:
        agent.stop()
    refused(admin, admin, 409, "stays as history", "DELETE", "/v1/releases/lamp:1.0")
    refused(admin, admin, 409, "has 2 devices, 1 release", "DELETE", "/v1/boards/lamp")
    rows = admin.get("/v1/devices/lamp-0/log")["items"]
    assert {"assigned"} <= {row["kind"] for row in rows}
    status = admin.get("/v1/status")
    assert status["running"] == [{"board": "lamp", "version": "1.0", "count": 2, "other": False}]
    assert status["rollouts"] == []


def test_second_push_over_the_first(fleet):
    """The newest decision wins, and the older push says by whom."""
    admin = Api(fleet.otad)
    fleet.add(1)
    fleet.agents[0].stop()
    first = push(admin, release(admin, "1.0"))
    second = push(admin, release(admin, "1.1"))
    old = admin.get(f"/v1/rollouts/{first['id']}")
    assert old["state"] == "superseded" and old["superseded_by"] == second["id"]
    fleet.agents[0].start()
    fleet.wait_running("1.1")


def test_cancel_and_hold(fleet):
    admin = Api(fleet.otad)
    fleet.add(1)
    made = push(admin, release(admin, "1.0"), hold=True)

    def state():
        return admin.get(f"/v1/rollouts/{made['id']}/assignments")["items"][0]["state"]

    harness.wait_for("it to be staged", lambda: state() == "staged", 60)
    cancelled = admin.ok("POST", f"/v1/rollouts/{made['id']}/cancel")
    assert (cancelled["withdrawn"], cancelled["committed"]) == (1, 0)
    assert state() == "cancelled"
    made = push(admin, "lamp:1.0", hold=True)
    harness.wait_for("it to be staged again", lambda: state() == "staged", 60)
    admin.ok("POST", f"/v1/rollouts/{made['id']}/release-hold")
    fleet.wait_running("1.0")
    refused(admin, admin, 409, "done", "POST", f"/v1/rollouts/{made['id']}/cancel")


def test_device_on_hold(fleet):
    """Hold is above every push."""
    admin = Api(fleet.otad)
    fleet.add(1)
    device = admin.ok("PATCH", "/v1/devices/lamp-0", hold=True)
    assert device["hold"] is True
    push(admin, release(admin, "1.0"))
    harness.wait_for("it to be staged", lambda: admin.get("/v1/devices/lamp-0")["assignment"]["state"] == "staged", 60)
    admin.ok("PATCH", "/v1/devices/lamp-0", hold=False)
    fleet.wait_running("1.0")


def test_if_match(fleet):
    admin = Api(fleet.otad)
    fleet.add(1)
    tag = admin.get("/v1/devices/lamp-0").headers["ETag"]
    changed = admin.ok("PATCH", "/v1/devices/lamp-0", headers={"If-Match": tag}, tags_add=["roof"])
    assert changed.headers["ETag"] != tag
    refused(admin, admin, 412, "", "PATCH", "/v1/devices/lamp-0", headers={"If-Match": tag}, tags_add=["cellar"])
    assert admin.get("/v1/devices/lamp-0")["tags"] == ["roof"]


def test_refused(fleet):
    """Wrong use of each endpoint: a clear line, nothing changed."""
    admin = Api(fleet.otad)
    fleet.add(1)
    which = release(admin, "1.0")
    digest = hashlib.sha256(harness.esp32_image("1.0", size=60_000)).hexdigest()
    other = admin.upload(harness.esp32_image("1.0", size=60_000, seed=5))
    esp32 = admin.upload(harness.esp32_image("1.0", size=60_000, chip="esp32"))
    raw = admin.upload(b"not firmware at all, but somebody's bytes")
    none = "0" * 64

    def image(sha256, **more):
        return {"board": "lamp", "version": "2.0", "images": [{"sha256": sha256, **more}]}

    for status, words, method, path, fields in [
            (409, "no approved device", "PUT", "/v1/rollouts/p", {"release": which, "selector": "tag=none"}),
            (404, "did you mean lamp-0?", "PUT", "/v1/rollouts/p", {"release": which, "selector": "lmap-0"}),
            (404, "there is no release", "PUT", "/v1/rollouts/p", {"release": "lamp:9", "selector": "*"}),
            (404, "did you mean lamp?", "PUT", "/v1/rollouts/p", {"release": "lmap:1.0", "selector": "*"}),
            (422, "", "PUT", "/v1/rollouts/p", {"release": which, "selector": "colour=red"}),
            (400, "'release' is missing", "PUT", "/v1/rollouts/p", {"selector": "*"}),
            (400, "unknown field", "PUT", "/v1/rollouts/p", {"release": which, "selector": "*", "force": True}),
            (409, "exists with other bytes", "POST", "/v1/releases", {**image(other), "version": "1.0"}),
            (422, "is for esp32", "POST", "/v1/releases", image(esp32)),
            (422, "no esp32c3 image", "POST", "/v1/releases", image(raw)),
            (404, "upload it first", "POST", "/v1/releases", image(none)),
            (422, "no component 'x'", "POST", "/v1/releases", image(digest, component="x")),
            (400, "'images' must have", "POST", "/v1/releases", {"board": "lamp", "version": "2.0", "images": []}),
            (400, "'images' is missing", "POST", "/v1/releases", {"board": "lamp", "version": "2.0"}),
            (400, "is no version", "POST", "/v1/releases", {**image(digest), "version": "a b"}),
            (404, "did you mean lamp?", "POST", "/v1/releases", {**image(digest), "board": "lampp"}),
            (409, "already", "POST", "/v1/boards", {"name": "lamp"}),
            (400, "no name for a board", "POST", "/v1/boards", {"name": "Lamp!"}),
            (400, "'name' must be a text", "POST", "/v1/boards", {"name": 7}),
            (404, "there is no device", "PATCH", "/v1/devices/nobody", {"hold": True}),
            (400, "'hold' must be true or false", "PATCH", "/v1/devices/lamp-0", {"hold": 1}),
            (400, "is no tag", "PATCH", "/v1/devices/lamp-0", {"tags_add": ["a b"]}),
            (409, "cannot replace itself", "POST", "/v1/devices/lamp-0/replace", {"new": "lamp-0"}),
            (404, "did you mean lamp?", "POST", "/v1/enroll-secrets", {"board": "lapm"}),
            (400, "'uses' must be", "POST", "/v1/enroll-secrets", {"board": "lamp", "uses": -1}),
            (409, "is taken", "POST", "/v1/provisions", {"board": "lamp", "name": "lamp-0"}),
            (400, "role must be", "POST", "/v1/tokens", {"name": "x", "role": "king"}),
    ]:
        refused(admin, admin, status, words, method, path, **fields)
    for status, words, method, path in [
            (404, "nothing is here", "GET", "/v1/nothing"),
            (405, "not possible", "DELETE", "/v1/boards"),
            (404, "there is no push", "POST", "/v1/rollouts/none/cancel"),
            (404, "there is no push", "POST", "/v1/rollouts/none/retry"),
            (404, "there is no enrollment secret", "DELETE", "/v1/enroll-secrets/0123456789abcdef"),
            (404, "there is no token", "DELETE", "/v1/tokens/none"),
            (409, "a release uses image", "DELETE", f"/v1/images/{digest}"),
            (404, "there is no image", "DELETE", f"/v1/images/{none}"),
            (404, "there is no root 9", "GET", "/v1/roots/9"),
            (400, "limit must be", "GET", "/v1/devices?limit=many"),
            (422, "state must be", "GET", "/v1/devices?state=odd"),
    ]:
        refused(admin, admin, status, words, method, path)
    json_type = {"Content-Type": "application/json"}
    for status, words, body, headers in [
            (400, "not JSON", '{"name": "pl', json_type),
            (400, "not JSON", "{}x", json_type),
            (400, "not JSON", '{"name": "\xff"}'.encode("latin-1"), json_type),
            (400, "JSON object", "[]", json_type),
            (400, "nested deeper", "[" * 1000 + "]" * 1000, json_type),
            (400, "not JSON", '{"name": "a", "name": "b"}', json_type),
            (400, "application/json", '{"name": "a"}', {"Content-Type": "application/x-www-form-urlencoded"}),
            (413, "larger", '{"name": "' + "a" * 20000 + '"}', json_type),
    ]:
        refused(admin, admin, status, words, "POST", "/v1/boards", body=body, headers=headers)
    refused(admin, admin, 422, "not accepted", "PUT", "/v1/roots/2", body=b"\xa0")
    refused(admin, admin, 413, "larger", "PUT", "/v1/roots/2", body=b"\xa0" * 2000)
    refused(admin, admin, 422, "no envelope", "PUT", f"/v1/releases/{which}/envelope", body=b"\xa0")
    assert fleet.agents[0].code() is None and fleet.otad.code() is None


def test_sdk_pair_of_the_shared_data(fleet):
    """An ESP8266 SDK image is linked for one slot: one of the two alone makes no release."""
    folder = harness.shared("firmware")
    admin = Api(fleet.otad)
    admin.ok("POST", "/v1/boards", name="plug", chip="esp8266", status=201)
    one, two = (admin.upload((folder / f"esp8266-sdk-user{n}.bin").read_bytes()) for n in (1, 2))
    assert admin.get(f"/v1/images/{one}")["variant"] == "user1"
    lone = {"board": "plug", "version": "1", "images": [{"sha256": one}]}
    refused(admin, admin, 422, "needs user1 and user2", "POST", "/v1/releases", **lone)
    wrong = {"board": "plug", "version": "1", "images": [{"sha256": one, "variant": "user2"}]}
    refused(admin, admin, 422, "linked as user1", "POST", "/v1/releases", **wrong)
    made = admin.ok("POST", "/v1/releases", board="plug", version="1",
                    images=[{"sha256": two}, {"sha256": one}], status=201)
    assert [image["variant"] for image in made["images"]] == ["user1", "user2"] and made["state"] == "signed"


def test_every_answer_is_as_described(fleet):
    """Api.check holds each answer against the description; here those that no other test asks for."""
    admin = Api(fleet.otad)
    fleet.add(1)
    which = release(admin, "1.0")
    made = push(admin, which)
    fleet.wait_running("1.0")
    admin.ok("POST", "/v1/enroll-secrets", board="lamp", uses=3, status=201)
    admin.ok("POST", "/v1/provisions", board="lamp", status=201)
    admin.ok("PATCH", "/v1/boards/lamp", poll_s=60)
    admin.ok("POST", "/v1/keys/release", status=200)
    device = admin.get("/v1/devices/lamp-0").json
    for path in ["/v1/server", "/v1/status", "/v1/whoami", "/v1/changes", "/v1/audit", "/v1/tokens", "/v1/boards",
                 "/v1/boards/lamp", "/v1/boards/lamp/card", "/v1/images", "/v1/releases", f"/v1/releases/{which}",
                 "/v1/devices", f"/v1/devices/{device['id'][:8]}", "/v1/devices/lamp-0/log", "/v1/enroll-secrets",
                 "/v1/selection?selector=lamp-0", "/v1/rollouts", f"/v1/rollouts/{made['id']}",
                 f"/v1/rollouts/{made['id']}/assignments", "/v1/assignments?device=lamp-0&state=running"]:
        admin.get(path)
    assert device["running"]["release"] == which and device["running"]["known"] and not device["drifted"]
    assert admin.get("/v1/boards/lamp/card")["predecessors"][0]["version"] == "1.0"
    assert admin.call("GET", f"/v1/releases/{which}/envelope").headers["Content-Type"] == "application/cbor"
    assert admin.get("/v1/roots/latest").headers["X-Otad-Root"] == "1"
