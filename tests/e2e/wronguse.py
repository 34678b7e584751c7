"""What the tests of wrong use share: an otad with one of everything, and proof that nothing of it has changed."""
import contextlib
import json
import os
import pathlib
import sqlite3

import harness
import rig


class State:
    """All that otad keeps, by value: every table row, and every file beside the database."""

    def __init__(self, data):
        self.data = pathlib.Path(data)
        self.db = sqlite3.connect(f"file:{self.data}/otad.db?mode=ro", uri=True, timeout=20)
        self.kept = self.read()

    def close(self):
        self.db.close()

    def rows(self):
        tables = [name for name, in self.db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        # used_at: when a token was last seen, written in the background
        return {table: [tuple(row[name] for name in row.keys() if (table, name) not in (("token", "used_at"),))
                        for row in self.query(f"SELECT * FROM {table}") if table != "lease"] for table in tables}

    def query(self, sql):
        cursor = self.db.cursor()
        cursor.row_factory = sqlite3.Row
        return cursor.execute(sql).fetchall()

    def files(self):
        kept = {}
        for place, _, names in os.walk(self.data):
            for name in names:
                path = pathlib.Path(place, name)
                # What came of an upload is kept to go on with.
                if not name.startswith("otad.db") and path.suffix != ".part" and path.is_file():
                    kept[str(path.relative_to(self.data))] = path.stat().st_size
        return kept

    def read(self):
        return {"files": self.files(), **self.rows()}

    def changes(self):
        """What differs from the last time it was asked, as text; None: nothing."""
        before, self.kept = self.kept, self.read()
        if before == self.kept:
            return None
        return "; ".join(f"{name}: {difference(before.get(name), now)}" for name, now in self.kept.items()
                         if before.get(name) != now)


def difference(before, now):
    """Files by name, rows by value."""
    before, now = (set(kept.items() if isinstance(kept, dict) else kept) for kept in (before, now))
    return f"gone {sorted(before - now, key=str)}, new {sorted(now - before, key=str)}"


class World:
    """otad with a root, a board, images, a release, devices in every state, a push that is open, tokens."""

    def __init__(self, folder):
        self.fleet = harness.Fleet(folder, broker=False, otad_args=["--auth-failures", "1000000"])
        self.state = None
        try:
            self.fill()
        except BaseException:
            self.fleet.close()
            raise

    def fill(self):
        fleet = self.fleet
        fleet.init()
        fleet.board()
        fleet.board("spare", "esp32")
        self.otad, self.token = fleet.otad, fleet.token()
        self.api = api = rig.Api(self.otad.port, self.token)
        board = api.json("/v1/boards/lamp")
        self.tokens = {role: self.make("POST", "/v1/tokens", name="a-" + role, role=role)
                       for role in ("viewer", "uploader", "operator", "admin")}
        self.tokens["revoked"] = self.make("POST", "/v1/tokens", name="revoked", role="admin")
        assert api.ask("DELETE", f"/v1/tokens/{self.tokens['revoked']['id']}")[0] == 204
        self.images = [rig.Operator(rig.Book(), self.otad.port, self.token, f"w{i}").upload(f"1.{i}", 5000)[1] for i in (0, 1)]
        self.release = self.make("POST", "/v1/releases", board="lamp", version="1.0", images=[{"sha256": self.images[0]}])
        self.envelope = api.ask("GET", "/v1/releases/lamp%3A1.0/envelope")[2]
        self.secret = self.make("POST", "/v1/enroll-secrets", board="lamp", uses=9, approve=True)
        asks = self.make("POST", "/v1/enroll-secrets", board="lamp", uses=9)
        self.devices = {}
        for name, secret in (("kitchen", self.secret), ("hall", self.secret), ("attic", asks), ("shed", asks)):
            device = self.devices[name] = rig.Device(secret, board, name.encode())
            assert device.enroll(api) == 200, name
            if secret is self.secret:
                assert device.report(api) == 200
        self.push = self.make("PUT", "/v1/rollouts/first", release="lamp:1.0", selector="board=lamp", hold=True)
        api.close()

    def make(self, method, path, **fields):
        status, _, data = self.api.ask(method, path, fields)
        assert status in (200, 201), f"{method} {path} {fields}: {status} {data}"
        return json.loads(data)

    def close(self):
        return self.fleet.close()


@contextlib.contextmanager
def a_world(folder):
    """A World that ends well, and with all that it kept in `state`, where that was taken."""
    made = World(folder)
    try:
        yield made
    finally:
        problems = made.close()
    assert not problems, "\n".join(problems)
    if made.state:
        assert made.state.changes() is None
        made.state.close()
    assert not harness.sanitizer_reports(folder)
