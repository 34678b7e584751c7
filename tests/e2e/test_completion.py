"""Completion in a real bash: the words of the command table, and names from the server that otactl would ask."""
import os
import subprocess

import pytest

import harness
from harness import BIN, ROOT, programs_missing

pytestmark = pytest.mark.skipif(bool(programs_missing("otactl")), reason="skipped: no otactl")


def completed(line, env=None):
    """What bash offers with the cursor at the end of `line`. As in a terminal the part up to the last ':' or '=' is left out."""
    done = subprocess.run(["bash", "-c", f"source '{ROOT}/packaging/completion/otactl'; COMP_LINE=$1; COMP_POINT=${{#1}}; "
                           "_otactl; printf '%s\\n' \"${COMPREPLY[@]}\"", "bash", line],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True, timeout=60,
                          env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **(env or {})})
    return set(done.stdout.split())


@pytest.mark.parametrize("line,expected", [
    ("otactl pu", {"push"}), ("otactl board ", {"add", "list", "show", "export", "remove"}), ("otactl push --wa", {"--wait"}),
    ("otactl --js", {"--json"}), ("otactl nonsense x", set()), ("otactl board nonsense x", set()), ("otactl push ", set()),
    ("otactl --data /nonexistent dev", {"device"}), ("otactl push --version 1 --no", {"--notes"}),
])
def test_words_of_the_table(line, expected):
    assert completed(line) == expected


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """otad with one of each; nobody changes it."""
    made = harness.Fleet(tmp_path_factory.mktemp("names"), broker=False)
    try:
        made.init()
        made.board()
        made.board("plug", "esp32")
        made.add(2)
        made.ctl("device", "tag", "lamp-0", "kitchen", "spare")
        made.ctl("push", made.image("1.0.0"), "--to", "lamp-0", "--wait", "--timeout", "60s")
        yield made
    finally:
        problems = made.close()
    assert not problems


def test_names_of_the_server(named):
    if programs_missing("otad", "ota-agent"):
        pytest.skip("skipped: programs missing")
    ctl = named.ctl
    push = ctl.json("rollout", "list")[0]["id"]
    image = ctl.json("image", "list")[0]["sha256"]
    tokens = {row["name"] for row in ctl.json("token", "list")}
    secrets = {word for row in ctl.json("enroll", "list") for word in (row["id"], row["name"]) if word}
    devices, tags = {"lamp-0", "lamp-1"}, {"kitchen", "spare"}
    for line, expected in (
        ("device show ", devices), ("device show lamp-1", {"lamp-1"}), ("device show x", set()), ("log l", devices),
        ("device hold lamp-0 ", devices), ("device rename lamp-0 ", set()), ("device replace lamp-0 ", devices),
        ("device tag lamp-0 ", tags), ("device tag lamp-0 kitchen s", {"spare"}),
        ("board show p", {"plug"}), ("board add ", set()), ("board show lamp ", set()),
        ("push x.bin --board ", {"lamp", "plug"}), ("push x.bin --board=pl", {"--board=plug"}), ("device list --board la", {"lamp"}),
        ("push x.bin --to ", {*devices, "tag=kitchen", "tag=spare", "board=lamp", "board=plug"}), ("push x.bin --to tag=ki", {"tag=kitchen"}),
        ("push x.bin --to tag=kitchen,bo", {"tag=kitchen,board=lamp", "tag=kitchen,board=plug"}),
        ("push x.bin --to=lamp-", {"--to=lamp-0", "--to=lamp-1"}), ("cancel --device ", devices),
        ("status ", {*devices, push[:8]}), ("retry ", set()), ("cancel ", set()), ("rollout unhold ", set()), ("device approve ", set()), ("device reject ", set()),
        ("token create x --role ", {"admin", "operator", "uploader", "viewer"}), ("token create x --role=o", {"--role=operator"}),
        ("device list --state p", {"pending"}), ("rollout show " + push[:10], {push}),
        ("image remove ", {image[:12]}), ("release show ", {"lamp:1.0.0"}), ("release show lamp:", {"lamp:1.0.0"}),
        ("token revoke ", tokens), ("enroll revoke ", secrets), ("token create ", set()),
    ):
        typed = line.rsplit(" ", 1)[-1]
        cut = max(typed.rfind(":"), typed.rfind("=")) + 1
        assert completed("otactl " + line, ctl.env) == {word[cut:] for word in expected}, line
    # The server that the typed command would ask.
    nowhere = {**ctl.env, "OTAD_DATA": "/nonexistent"}
    assert completed(f"otactl --data {named.otad.data} device show ", nowhere) == devices
    assert completed(f"otactl device show --data={named.otad.data} ", nowhere) == devices


def test_what_a_command_would_refuse_is_not_offered(fleet):
    if programs_missing("otad", "ota-agent"):
        pytest.skip("skipped: programs missing")
    [agent] = fleet.add(1)

    def offered(*words):
        return completed("otactl " + " ".join((*words, "")), fleet.ctl.env)

    held = fleet.ctl.json("push", fleet.image("1.0.0"), "--all", "--hold")[0]["id"][:8]
    assert offered("rollout", "unhold") == offered("cancel") == {held} and offered("retry") == set()
    agent.stop()
    fleet.ctl("cancel", held)
    assert offered("rollout", "unhold") == offered("cancel") == offered("retry") == set()
    assert offered("rollout", "show") == {held} and offered("cancel", "--device") == {"lamp-0"}


def test_a_server_that_is_not_there_or_refuses_offers_nothing(named):
    if programs_missing("otad", "ota-agent"):
        pytest.skip("skipped: programs missing")
    for env in ({"OTAD_DATA": "/nonexistent"}, {"OTACTL_URL": f"http://127.0.0.1:{harness.free_port()}", "OTACTL_TOKEN": "x"},
                {"OTACTL_URL": named.otad.url, "OTACTL_TOKEN": "wrong"}, {"OTACTL_URL": "ftp://x"}):
        assert completed("otactl device show ", {**named.ctl.env, **env}) == set(), env
        assert completed("otactl dev", {**named.ctl.env, **env}) == {"device"}


def test_what_a_server_sends_never_reaches_the_line_unquoted(folder):
    """A name is offered only where the shell takes it as it is."""
    import http.server
    import json
    import threading

    class Hostile(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"items": [{"name": name} for name in
                                         ("good-1", "$(touch pwned)", "`x`", "a b", "a;b", "-rf", "\u001b[2J", "a'b", "")]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Hostile)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        env = {"OTACTL_URL": f"http://127.0.0.1:{server.server_port}", "OTACTL_TOKEN": "x", "HOME": str(folder)}
        assert completed("otactl device show ", env) == {"good-1"}
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
