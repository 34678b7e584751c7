"""Wrong use of every endpoint, enumerated: the routes, their parameters and their bodies are taken from the description
that otad serves. Every refusal is the 4xx that is expected, says one clear line, and changes nothing that otad keeps."""
import copy
import http.client
import json
import os
import re
import socket

import pytest

import harness
from rig import GONE
from wronguse import State, a_world

ROLES = ["viewer", "uploader", "operator", "admin"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
SMALL, CBOR = 16 * 1024, 1024
NO_SHA = "0" * 64


class Row:
    """What the machine cannot know of a route. Texts may name things of the World: {image}, {device}, ...

    path: the value of the path's parameter that exists; unknown: values that name nothing -> 404;
    malformed: {value: status} of values that could not name anything; body: a good one; query: {name: {value: status}}
    of values that are no good; fine: (field, value) pairs that are accepted after all; stale: an ETag of another
    revision; wrong_bodies: {what: bytes} that are no good where the body is no JSON; root: 503 until there is a root; quiet: answers without a body, for devices."""

    def __init__(self, path=None, unknown=("nobody",), malformed=None, body=None, query=None, fine=(), root=False, quiet=False, wrong_bodies=None, stale=None):
        self.path, self.unknown, self.body = path, unknown, body
        self.malformed = {"x%20y": 404, "%22": 404, "a" * 257: 404, "%c3%28": 404, "-": 404, **(malformed or {})}
        self.query, self.fine, self.root, self.quiet = query or {}, fine, root, quiet
        self.wrong_bodies, self.stale = wrong_bodies or {}, stale


SHA = {"unknown": (NO_SHA,), "malformed": {"x%20y": 422, "%22": 422, "a" * 64 + "b": 422, "A" * 64: 422, "a" * 63: 422,
                                           "%c3%28": 422, "-": 422, "a" * 256: 422}}
DEVICE = {"path": "{device}", "unknown": ("nobody", "f" * 32), "malformed": {"7": 404}}
RELEASE = {"path": "lamp%3A1.0", "unknown": ("lamp%3A9.9", "nobody%3A1.0", NO_SHA), "malformed": {"%3A": 404, "lamp%3A": 404}}
PUSH = {"path": "first"}
# Bytes that are no COSE object of any kind.
NO_CBOR = {"nothing": b"", "JSON": b'{"serial":"x"}', "text": b"hello", "noise": b"\xff" * 40, "a cut array": b"\xd8\x6b\x84",
           "deep": b"\x81" * 900, "an endless one": b"\x9f" * 10, "a huge length": b"\x5b" + b"\xff" * 8 + b"x"}

ROWS = {
    "GET /healthz": Row(), "GET /readyz": Row(),
    "POST /d/v1/enroll": Row(root=True, quiet=True, wrong_bodies={**NO_CBOR, "the end cut off": "{enroll:-1}", "more": "{enroll:+1}"}),
    "POST /d/v1/checkin": Row(root=True, quiet=True, wrong_bodies={**NO_CBOR, "the end cut off": "{checkin:-1}",
                                                                   "more": "{checkin:+1}"}),
    "GET /d/v1/envelope/{digest}": Row(path="{envelope}", unknown=(NO_SHA,), quiet=True),
    "GET /d/v1/root/{n}": Row(path="1", quiet=True, unknown=("2", "0", "99999999999999999999", "1.0", "+1", "01x")),
    "GET /i/{sha256}": Row(path="{image}", unknown=(NO_SHA,), query={"d": {"x": 200}, "k": {"x": 200}}),
    "GET /v1/openapi.json": Row(), "GET /v1/server": Row(), "GET /v1/status": Row(), "GET /v1/whoami": Row(),
    "GET /v1/changes": Row(query={"after": {"x": 400, "-1": 400, "1.5": 400}}),
    "GET /v1/audit": Row(query={"who": {"nobody": 200}, "action": {"nothing": 200}, "target": {"nobody": 200}}),
    "POST /v1/keys/release": Row(),
    "GET /v1/roots/{n}": Row(path="1", unknown=("2", "0", "99999999999999999999", "1.0", "+1", "01x")),
    "PUT /v1/roots/{n}": Row(path="2", unknown=(), wrong_bodies=NO_CBOR, malformed={
        "0": 422, "1": 409, "99999999999999999999": 422, "x%20y": 422, "%22": 422, "-": 422, "%c3%28": 422, "nobody": 422}),
    "GET /v1/tokens": Row(), "POST /v1/tokens": Row(body={"name": "new", "role": "viewer", "expires_s": 3600}),
    "DELETE /v1/tokens/{id}": Row(path="{token}"),
    "GET /v1/boards": Row(query={"chip": {"nothing": 200}}),
    "POST /v1/boards": Row(body={"name": "new", "chip": "esp32c3", "domain": "lamps.example", "model": "m1", "components": [
        {"name": "app", "slot_size": 4096, "format": "esp32"}], "algorithms": ["esp256"], "client": "agent",
        "envelope_max": 1024, "poll_s": 300}),
    "GET /v1/boards/{name}": Row(path="lamp"),
    "PATCH /v1/boards/{name}": Row(path="lamp", body={"chip": "esp32c3", "poll_s": 600}, stale='"99"'),
    "DELETE /v1/boards/{name}": Row(path="spare", stale='"99"'),
    "GET /v1/boards/{name}/card": Row(path="lamp"),
    "GET /v1/images": Row(),
    "HEAD /v1/images/{sha256}": Row(path="{image}", **SHA), "GET /v1/images/{sha256}": Row(path="{image}", **SHA),
    "PUT /v1/images/{sha256}": Row(path="{new-image}", unknown=(), malformed={value: 400 for value in (*SHA["malformed"], "nobody")}),
    "DELETE /v1/images/{sha256}": Row(path="{spare-image}", **SHA),
    "GET /v1/releases": Row(query={"board": {"nobody": 404}}),
    "POST /v1/releases": Row(root=True, fine=[("notes", "a\nb")], body={"board": "lamp", "version": "2.0", "notes": "new", "images": [
        {"component": "app", "variant": "", "sha256": "{spare-image}"}]}),
    "GET /v1/releases/{id}": Row(**RELEASE), "DELETE /v1/releases/{id}": Row(**RELEASE),
    "POST /v1/releases/{id}/retire": Row(**RELEASE), "GET /v1/releases/{id}/envelope": Row(**RELEASE),
    "PUT /v1/releases/{id}/envelope": Row(root=True, wrong_bodies={**NO_CBOR, "the end cut off": "{envelope-bytes:-1}"}, **RELEASE),
    "GET /v1/devices": Row(query={"state": {"odd": 422}, "board": {"nobody": 404}, "hold": {"maybe": 422, "1": 422},
                                  "selector": {"odd=1": 422, "%2C": 422, "version%3C": 422, "tag=": 422, "=": 422}}),
    "GET /v1/devices/{ref}": Row(**DEVICE),
    "PATCH /v1/devices/{ref}": Row(body={"name": "porch", "tags_add": ["a"], "tags_remove": ["b"], "hold": True}, stale='"99"', **DEVICE),
    "DELETE /v1/devices/{ref}": Row(stale='"99"', **DEVICE),
    "POST /v1/devices/{ref}/approve": Row(stale='"99"', **{**DEVICE, "path": "{pending}"}),
    "POST /v1/devices/{ref}/reject": Row(stale='"99"', **DEVICE),
    "POST /v1/devices/{ref}/replace": Row(body={"new": "{pending}"}, stale='"99"', **DEVICE),
    "POST /v1/devices/{ref}/ack": Row(stale='"99"', **DEVICE),
    "POST /v1/devices/{ref}/cancel": Row(stale='"99"', **DEVICE),
    "GET /v1/devices/{ref}/log": Row(**DEVICE),
    "GET /v1/enroll-secrets": Row(),
    "POST /v1/enroll-secrets": Row(body={"board": "lamp", "uses": 1, "expires_s": 3600, "approve": False, "name": "n", "serial": "s"}),
    "DELETE /v1/enroll-secrets/{id}": Row(path="{secret}", unknown=("nobody", "f" * 16)),
    "POST /v1/provisions": Row(root=True, body={"board": "lamp", "name": "cellar", "serial": "123", "uses": 1, "expires_s": 3600,
                                                  "approve": True, "replace": False}),
    "GET /v1/selection": Row(query={"board": {"nobody": 404}, "release": {"nobody": 404, "lamp%3A9.9": 404, "nobody%3A1.0": 404},
                                     "selector": {"odd=1": 422, "%2C": 422, "version%3C": 422}}),
    "GET /v1/rollouts": Row(query={"state": {"odd": 422}}),
    "PUT /v1/rollouts/{id}": Row(root=True, path="second", unknown=(), malformed={"x%20y": 400, "%22": 400, "-": 400, "a" * 256: 400,
                                 "%c3%28": 400}, body={"release": "lamp:1.0", "selector": "*", "hold": False,
                                                      "accept_served": False, "timeout_s": 60}),
    "GET /v1/rollouts/{id}": Row(**PUSH), "GET /v1/rollouts/{id}/assignments": Row(**PUSH),
    "POST /v1/rollouts/{id}/cancel": Row(stale='"99"', **PUSH), "POST /v1/rollouts/{id}/retry": Row(stale='"99"', **PUSH),
    "POST /v1/rollouts/{id}/release-hold": Row(stale='"99"', **PUSH),
    "GET /v1/assignments": Row(query={"device": {"nobody": 404}, "state": {"odd": 422}}),
}


def names_of(world):
    """What the rows may name."""
    return {"device": world.devices["kitchen"].name, "pending": world.devices["attic"].name, "image": world.images[0],
            "spare-image": world.images[1], "new-image": "5" * 64, "token": world.tokens["viewer"]["id"],
            "secret": world.secret["id"], "envelope": world.release["digest"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong")
    with a_world(folder) as made:
        made.doc = json.loads(made.api.ask("GET", "/v1/openapi.json")[2])
        made.api.close()
        made.names = names_of(made)
        attic, hall = made.devices["attic"], made.devices["hall"]
        made.bytes = {"checkin": hall.checkin_bytes(), "enroll": bytes(attic.nonce_d), "envelope-bytes": made.envelope}
        made.state = State(made.otad.data)
        yield made


def operations(doc):
    """(METHOD, path, operation) of all that is described."""
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def fill(value, names):
    """`value` with the World's names in it."""
    if isinstance(value, str):
        return re.sub(r"\{([a-z-]+)\}", lambda found: names[found[1]], value)
    if isinstance(value, dict):
        return {key: fill(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, names) for item in value]
    return value


class Probe:
    """Asks, and holds every answer against what was expected; collects what is wrong."""

    def __init__(self, world):
        self.world, self.wrong, self.count = world, [], 0
        self.connection = None

    def send(self, method, path, body=None, headers=None):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.world.otad.port, timeout=30 * harness.PATIENCE)
        self.connection.request(method, path, body=body, headers=headers)
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.will_close:
            self.close()
        return answer, data

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def ask(self, what, operation, statuses, method, path, body=None, token=None, headers=None, words="", quiet=False):
        """One wrong request: one of `statuses`, a clear problem document, nothing changed."""
        self.count += 1
        headers = dict(headers or {})
        token = self.world.token if token is None else token
        if token:
            headers.setdefault("Authorization", f"Bearer {token}")
        if isinstance(body, (dict, list, str, int, float)) or body is None and headers.get("Content-Type"):
            body = json.dumps(body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        try:
            answer, data = self.send(method, path, body, headers)
        except GONE as error:
            self.close()
            self.wrong.append(f"{what}: no answer: {error!r}")
            return
        said = self.clear(answer, data, method, words, quiet) if answer.status >= 400 else None
        if answer.status not in statuses:
            said = f"{answer.status}, not {statuses}: {data[:200]!r}"
        elif operation and str(answer.status) not in operation["responses"] and answer.status not in (404, 405, 413):
            said = f"{answer.status} is not described"
        changed = None if answer.status < 300 and method == "GET" else self.world.state.changes()
        for fault in (said, changed and f"{answer.status}, and it changed {changed}"):
            if fault:
                self.wrong.append(f"{what}: {fault}")

    def clear(self, answer, data, method, words, quiet):
        """What is wrong with the answer of a refusal; None: nothing."""
        if method == "HEAD" or quiet:
            return f"a body: {data!r}" if data and not quiet else None
        if answer.headers["Content-Type"] != "application/problem+json":
            return f"{answer.status} {answer.headers['Content-Type']} {data[:100]!r}"
        problem = json.loads(data)
        detail = problem.get("detail", "")
        if problem["status"] != answer.status or not problem["title"] or not problem["code"]:
            return f"half a problem document: {problem}"
        if not 8 < len(detail) < 250 or not detail.isprintable() or re.search(r"[^.]\.$", detail) or words not in detail:
            return f"not clear, or without {words!r}: {detail!r}"
        return None

    def done(self, at_least):
        self.close()
        assert not self.wrong, f"{len(self.wrong)} of {self.count}:\n" + "\n".join(self.wrong)
        assert self.count >= at_least, self.count


def routes(world):
    """(name, METHOD, the path with its parameter filled in, Row, operation) of each."""
    for method, path, operation in operations(world.doc):
        row = ROWS[f"{method} {path}"]
        target = re.sub(r"\{\w+\}", lambda _: fill(row.path, world.names), path)  # pylint: disable=cell-var-from-loop
        yield f"{method} {path}", method, target, row, operation


def good_body(row, world):
    if row.body is not None:
        return fill(row.body, world.names)
    return None


def test_every_route_has_a_row(world):
    described = {f"{method} {path}" for method, path, _ in operations(world.doc)}
    assert described == set(ROWS), described ^ set(ROWS)
    assert len(described) >= 57
    for name, _, _, row, operation in routes(world):
        assert ("{" in name) == (row.path is not None), name
        described = {p["name"] for p in operation.get("parameters", []) if p["in"] == "query"}
        assert set(row.query) == described - {"limit", "wait"} - ({"after"} - set(row.query)), name
        content = operation.get("requestBody", {}).get("content", {})
        assert ("application/json" in content) == (row.body is not None), name
        assert ("application/cbor" in content) == bool(row.wrong_bodies), name
        match = [p for p in operation.get("parameters", []) if p["name"] == "If-Match"]
        assert bool(match) == bool(row.stale), name


def test_what_is_good_is_taken(tmp_path):
    """Else a body could be refused below for another reason than the one field that is wrong in it."""
    with a_world(tmp_path) as world:
        world.doc = json.loads(world.api.ask("GET", "/v1/openapi.json")[2])
        world.names = names_of(world)
        for name, method, target, row, _ in sorted(routes(world), key=lambda route: route[1] != "POST"):
            if row.body is not None:
                status, _, data = world.api.ask(method, target, fill(row.body, world.names))
                assert status in (200, 201), f"{name}: {status} {data}"


def test_who_asks(world):
    probe = Probe(world)
    for name, method, target, row, operation in routes(world):
        role = operation["x-otad-role"]
        if role in ("public", "device"):
            continue
        for what, value in {"no token": None, "a token nobody has": "Bearer otad_00000000_" + "A" * 43,
                            "half a token": "Bearer " + world.token[:-1], "a longer token": f"Bearer {world.token}x",
                            "no scheme": world.token, "another scheme": f"Basic {world.token}", "an empty one": "Bearer ",
                            "a revoked one": f"Bearer {world.tokens['revoked']['token']}",
                            "a device that is none": f"OTA {'0' * 32}.{'0' * 64}"}.items():
            headers = {"Authorization": value} if value else {}
            probe.ask(f"{name}: {what}", operation, [401], method, target, token="", headers=headers, words="token")
        if role in ROLES[1:]:
            lower = ROLES[ROLES.index(role) - 1]
            probe.ask(f"{name}: as {lower}", operation, [403], method, target, token=world.tokens[lower]["token"],
                      words="may not")
    probe.done(400)


def test_methods_that_are_not_there(world):
    probe = Probe(world)
    there = {}
    for method, path, _ in operations(world.doc):
        there.setdefault(path, set()).add(method)
    for _, method, target, _, _ in routes(world):
        path = next(path for path in there if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), target))
        for other in METHODS:
            if other not in there[path] and not (other == "HEAD" and "GET" in there[path]):
                probe.ask(f"{other} {path}", None, [405], other, target, words="is not possible here")
        there.setdefault("done", set()).add(path)
        probe.ask(f"BREW {path}", None, [501], "BREW", target, words="unknown method")
        probe.ask(f"{method} {path}/more", None, [404], method, target + "/more/of/it", words="nothing is here")
    probe.done(300)


def test_names_of_nothing(world):
    probe = Probe(world)
    for name, method, _, row, operation in routes(world):
        path = name.split(" ")[1]
        if row.path is None:
            continue
        body = good_body(row, world)
        if row.wrong_bodies:
            body = b"\xa0"
        for value, status in [*((value, 404) for value in row.unknown), *row.malformed.items()]:
            headers = {"Content-Type": "application/cbor"} if row.wrong_bodies else None
            probe.ask(f"{name}: '{value[:40]}'", operation, [404] if len(value) > 256 else [status], method,
                      re.sub(r"\{\w+\}", value, path), copy.deepcopy(body), headers=headers,
                      quiet=row.quiet and len(value) <= 256)
    probe.done(250)


def wrong_values(schema, doc):
    """Values that do not fit a schema, as far as the schema says so; lists and objects inside included."""
    if "$ref" in schema:
        schema = doc["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if "enum" in schema:
        return ["nonsense", "", 5, True, [], {}]
    kind = schema["type"]
    if kind == "string":
        return [5, 1.5, True, ["x"], {"x": 1}, "a\nb", "a\0b", "\x7f", "x" * 5000]
    if kind == "integer":
        return ["5", 1.5, True, [], {}, -1, 2 ** 63, 10 ** 30, 1e300]
    if kind == "boolean":
        return ["true", 1, 0, [], {}]
    if kind == "array":
        inner = [[value] for value in wrong_values(schema["items"], doc)]
        return ["x", 5, True, {}, [None], [[]], [{}] * 200, ["x"] * 200, *inner]
    assert kind == "object", schema
    found = [5, "x", [], {"no-such-field": 1}, {}]
    good = {"name": "app", "sha256": NO_SHA}
    for field, part in schema["properties"].items():
        base = {key: good[key] for key in schema.get("required", [])}
        found += [{**base, field: value} for value in wrong_values(part, doc)]
    return found


def test_bodies(world):
    """Each field with values of the wrong type and size, one at a time in a body that is good otherwise."""
    probe = Probe(world)
    for name, method, target, row, operation in routes(world):
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" not in content:
            continue
        schema = content["application/json"]["schema"]
        schema = world.doc["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        good = good_body(row, world)
        for field, part in schema["properties"].items():
            values = wrong_values(part, world.doc)
            required = field in schema.get("required", [])
            for value in [*values, *([None, ...] if required else [])]:
                body = {key: item for key, item in good.items() if not (key == field and value is ...)}
                if value is not ...:
                    body[field] = value
                if (field, value) in row.fine:
                    continue
                # A number that no machine has is refused before anybody asks whose it is.
                named = not isinstance(value, (list, dict)) and not (isinstance(value, int) and value >= 2 ** 63)
                probe.ask(f"{name}: '{field}' = {str(value)[:60]!r}", operation, [400, 422], method, target, body,
                          words=field if named else "")
        text = json.dumps(good)
        for what, body in {
            "an unknown field": json.dumps({**good, "no-such-field": 1}), "one twice": text[:-1] + "," + text[1:],
            "cut off": text[:-1], "cut in a word": text[:len(text) // 2], "a list": f"[{text}]", "a text": '"x"', "null": "null",
            "a number": "5", "two": text + text, "more behind it": text + "x", "not JSON": "name=x", "deep": "[" * 900,
            "deep inside": text[:-1] + ',"x":' + '{"x":' * 20 + "1" + "}" * 21, "no UTF-8": text.replace('"', '"\xff', 1),
            "a lone surrogate": text[:-1] + ',"x":"\\ud800"}', "a NUL": text + "\0", "spaces": " " * 100,
        }.items():
            probe.ask(f"{name}: {what}", operation, [400], method, target, body.encode("latin-1"))
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/cbor", "json", "*/*"):
            probe.ask(f"{name}: as {kind}", operation, [400], method, target, text.encode(), headers={"Content-Type": kind},
                      words="must be application/json")
        if schema.get("required"):
            for what, body in {"nothing": b"", "an empty object": b"{}"}.items():
                probe.ask(f"{name}: {what}", operation, [400], method, target, body, words="is missing")
    probe.done(700)


def test_bodies_of_devices_and_signers(world):
    probe = Probe(world)
    for name, method, target, row, operation in routes(world):
        for what, body in row.wrong_bodies.items():
            if isinstance(body, str):
                kept, cut = re.fullmatch(r"\{([a-z-]+):([+-]1)\}", body).groups()
                body = world.bytes[kept][:-1] if cut == "-1" else world.bytes[kept] + b"\0"
            probe.ask(f"{name}: {what}", operation, [400, 422], method, target, body,
                      headers={"Content-Type": "application/cbor"}, quiet=row.quiet)
    probe.done(30)


def test_a_body_that_nobody_asked_for(world):
    probe = Probe(world)
    for name, method, target, _, operation in routes(world):
        if method in ("GET", "HEAD") or "requestBody" in operation:
            continue
        for body in (b'{"no-such-field":1}', b"[]", b"x"):
            probe.ask(f"{name}: {body}", operation, [400, 413], method, target, body)
    probe.done(20)


def test_bodies_too_large_and_cut_off(world):
    """A length is refused before a byte of the body comes; a body whose last byte never comes is none."""
    probe = Probe(world)
    for name, method, target, row, operation in routes(world):
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {world.token}\r\n"
        content = operation.get("requestBody", {}).get("content", {})
        limit = SMALL if "application/json" in content else CBOR if "application/cbor" in content else \
            1 << 30 if content else 0
        with socket.create_connection(("127.0.0.1", world.otad.port), 30 * harness.PATIENCE) as sock:
            sock.sendall(f"{head}Content-Length: {limit + 1}\r\n\r\n".encode())
            answer = http.client.HTTPResponse(sock, method=method)
            answer.begin()
            data = answer.read()
        probe.count += 1
        fault = probe.clear(answer, data, method, "the body" if limit else "no body", row.quiet and not data)
        if answer.status != 413 or fault or not answer.will_close:
            probe.wrong.append(f"{name}: too large: {answer.status} {fault}")
        if not content:
            continue
        body = json.dumps(good_body(row, world)).encode() if row.body is not None else b"\xa0" * 10
        kind = next(iter(content))
        with socket.create_connection(("127.0.0.1", world.otad.port), 30 * harness.PATIENCE) as sock:
            sock.sendall(f"{head}Content-Type: {kind}\r\nContent-Length: {len(body) + 1}\r\n\r\n".encode() + body)
        probe.count += 1
    # Whatever the last byte's absence does, it has done it when otad has ended: the fixture looks then.
    probe.done(70)


def test_queries(world):
    probe = Probe(world)
    for name, method, target, row, operation in routes(world):
        for parameter in operation.get("parameters", []):
            if parameter["in"] != "query":
                continue
            cases = dict(row.query.get(parameter["name"], {}))
            if parameter["schema"]["type"] == "integer":
                bad = (parameter["schema"]["minimum"] - 1, parameter["schema"]["maximum"] + 1, "x", "1.5", "+1", "0x1", "1e1",
                       "%201", "99999999999999999999")
                cases.update((str(value), 400) for value in bad)
            elif parameter["name"] == "after":
                cases.update({"x": 400, "-1": 400, "1%20": 400, "99999999999999999999": 400, **cases})
            for value, status in cases.items():
                probe.ask(f"{name}?{parameter['name']}={value}", operation, [status], method,
                          f"{target}?{parameter['name']}={value}")
        if operation["x-otad-role"] in ROLES:
            for odd in ("stat=1", "limitx=5", "x%20y", "=1", "a" * 200):
                probe.ask(f"{name}?{odd}", operation, [400], method, f"{target}?{odd}", body=None,
                          words="unknown query parameter '")
        many = "&".join(f"a{i}=1" for i in range(17))
        probe.ask(f"{name}: seventeen parameters", None, [400], method, f"{target}?{many}", words="too many query parameters",
                  body=None)
    probe.done(200)


def test_stale_and_malformed_if_match(world):
    probe = Probe(world)
    for name, method, target, row, operation in routes(world):
        if not row.stale:
            continue
        for tag in (row.stale, "1", '"x"', 'W/"1"', '""', '"1", "2"', '"-1"', '"' + "9" * 40 + '"', "x" * 500):
            probe.ask(f"{name}: If-Match {tag[:40]}", operation, [412], method, target, good_body(row, world),
                      headers={"If-Match": tag})
    probe.done(80)


def test_uploads(world):
    """Bytes that are not what they are called, and places in an upload that are wrong."""
    probe = Probe(world)
    operation = world.doc["paths"]["/v1/images/{sha256}"]["put"]
    path = "/v1/images/" + os.urandom(32).hex()
    for offset in ("-1", "x", "1.5", "99999999999999999999", "", "1 2"):
        probe.ask(f"Upload-Offset: {offset}", operation, [400], "PUT", path, b"x", headers={"Upload-Offset": offset})
    probe.ask("beyond what is here", operation, [409], "PUT", path, b"x", headers={"Upload-Offset": "7"})
    probe.ask("other bytes than its name says", operation, [422], "PUT", path, b"hello" * 100)
    probe.done(8)


def test_no_root_yet(tmp_path):
    """What needs a root says so, on every route that needs one; nothing else does."""
    otad = harness.Otad(tmp_path, args=["--auth-failures", "1000000"]).start()
    try:
        token = (otad.data / "admin.token").read_text().strip()
        head = {"Authorization": f"Bearer {token}"}
        doc = json.loads(otad.request("GET", "/v1/openapi.json", headers=head)[2])
        state = State(otad.data)
        for method, path, _ in operations(doc):
            row = ROWS[f"{method} {path}"]
            if method in ("GET", "HEAD", "DELETE") or path == "/v1/keys/release":
                continue
            body = json.dumps(row.body).encode() if row.body and row.root else b"\xa0" if row.root else b"[]"
            status, headers, data = otad.request(method, re.sub(r"\{\w+\}", "x", path), body, head)
            assert (status == 503) == row.root, f"{method} {path}: {status} {data!r}"
            if row.root:
                assert "no root yet: run otactl init" in json.loads(data)["detail"] and headers["Retry-After"], data
        assert state.changes() is None
        state.close()
    finally:
        assert otad.stop() == 0
    assert not harness.sanitizer_reports(tmp_path)
