"""A client of the operators' API for the tests: JSON in and out, and proof that a refusal changed nothing."""
import contextlib
import hashlib
import http.client
import json
import re
import socket


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.json = json.loads(body) if body and "json" in headers.get("Content-Type", "") else None

    def __getitem__(self, key):
        return self.json[key]

    def __repr__(self):
        return f"{self.status} {self.body[:400]!r}"


TYPES = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list, "null": type(None)}


def misfit(doc, schema, value, at="answer"):
    """Where `value` is not what `schema` of the OpenAPI document `doc` says, as text; None where it is. The part of
    JSON Schema that our description uses; a property that is described must be there, one that is not must not."""
    if "$ref" in schema:
        return misfit(doc, doc["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], value, at)
    if "oneOf" in schema:
        found = [misfit(doc, option, value, at) for option in schema["oneOf"]]
        return None if None in found else "; ".join(found)
    if "allOf" in schema:
        merged = {"type": "object", "properties": {}}
        for part in schema["allOf"]:
            if "$ref" in part:
                part = doc["components"]["schemas"][part["$ref"].rsplit("/", 1)[1]]
            merged["properties"].update(part["properties"])
        return misfit(doc, merged, value, at)
    if "const" in schema and value != schema["const"]:
        return f"{at}: {value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{at}: {value!r} is none of {schema['enum']}"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(type(value) is TYPES[kind] for kind in kinds):
        return f"{at}: {value!r} is no {kinds}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return f"{at}: {value!r} is not {schema['pattern']}"
    if isinstance(value, list) and "items" in schema:
        return next(filter(None, (misfit(doc, schema["items"], item, f"{at}[{i}]") for i, item in enumerate(value))), None)
    if isinstance(value, dict) and "properties" in schema:
        optional = {"hint"}
        odd = value.keys() ^ schema["properties"].keys()
        if odd - optional:
            return f"{at}: {sorted(odd - optional)} is on one side only"
        return next(filter(None, (misfit(doc, schema["properties"][key], item, f"{at}.{key}")
                                  for key, item in value.items())), None)
    return None


class SocketConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.socket_path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.socket_path)


class Api:
    """By the socket, or by TCP with a token (`token` "": none)."""

    def __init__(self, otad, token=None, timeout=60.0):
        self.otad, self.token, self.timeout = otad, token, timeout
        self.doc = None

    def open(self):
        if self.token is None:
            return SocketConnection(self.otad.data / "otad.sock", self.timeout)
        return http.client.HTTPConnection("127.0.0.1", self.otad.port, timeout=self.timeout)

    def call(self, method, path, body=None, headers=None, **fields):
        """One request; `fields` are a JSON body."""
        head = dict(headers or {})
        if self.token:
            head["Authorization"] = f"Bearer {self.token}"
        if fields:
            body = json.dumps(fields)
            head["Content-Type"] = "application/json"
        connection = self.open()
        with contextlib.closing(connection):
            # An answer that came before the body was sent is an answer.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body=body, headers=head)
            answer = connection.getresponse()
            answer = Answer(answer.status, answer.headers, answer.read())
        self.check(method, path, answer)
        return answer

    def check(self, method, path, answer):
        """What the server says is what its description says."""
        path = path.split("?")[0]
        if path == "/v1/openapi.json" or answer.json is None:
            return
        if self.doc is None:
            self.doc = Api(self.otad).get("/v1/openapi.json").json
        for template, methods in self.doc["paths"].items():
            operation = methods.get(method.lower())
            if operation and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
                described = operation["responses"].get(str(answer.status))
                assert described or answer.status in (404, 405, 413, 429), f"{method} {path}: {answer} is not described"
                for media in (described or {}).get("content", {}).values():
                    wrong = misfit(self.doc, media.get("schema", {}), answer.json)
                    assert wrong is None, f"{method} {path}: {wrong}"

    def get(self, path, status=200):
        return self.ok("GET", path, status=status)

    def ok(self, method, path, body=None, headers=None, status=None, **fields):
        answer = self.call(method, path, body, headers, **fields)
        assert answer.status == status if status else 200 <= answer.status < 300, f"{method} {path}: {answer}"
        return answer

    def upload(self, data):
        """Its digest."""
        digest = hashlib.sha256(data).hexdigest()
        self.ok("PUT", f"/v1/images/{digest}", body=data)
        return digest

    def seq(self):
        return self.get("/v1/changes?after=999999999999")["seq"]

    def audit(self):
        items = self.get("/v1/audit?limit=1")["items"]
        return items[0]["seq"] if items else 0

    def make(self, role, name=None):
        """A client with a token of that role."""
        token = self.ok("POST", "/v1/tokens", name=name or role, role=role)["token"]
        return Api(self.otad, token, self.timeout)


@contextlib.contextmanager
def nothing_changes(admin):
    """No change row and no audit row comes from what happens inside."""
    before = admin.seq(), admin.audit()
    yield
    assert (admin.seq(), admin.audit()) == before


def refused(admin, client, status, words, method, path, body=None, headers=None, **fields):
    """`client` is told `words` with `status`, and nothing has changed."""
    with nothing_changes(admin):
        answer = client.call(method, path, body, headers, **fields)
    assert answer.status == status, f"{method} {path}: {answer}"
    if method != "HEAD":
        assert answer.headers["Content-Type"] == "application/problem+json", answer
        assert answer.json["status"] == status and answer.json["title"] and answer.json["code"], answer
        said = answer.json["detail"] + " " + answer.json.get("hint", "")
        assert words in said, f"{method} {path}: {said!r} does not say {words!r}"
        assert "\n" not in answer.json["detail"]
    return answer
