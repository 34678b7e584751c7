"""otactl for programs and in trouble: one JSON document from every command whatever happens, which server is asked, and why it
does not answer."""
import json
import os
import socket
import subprocess

import pytest

import rig
from faults import prepared
from harness import BIN, Agent, Otactl, Otad, programs_missing, wait_for

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl")), reason="skipped: programs missing")


def one_document(result):
    try:
        return json.loads(result.out)
    except ValueError:
        raise AssertionError(repr(result)) from None


def test_every_command_has_one_document_for_programs(fleet, folder):
    ctl = fleet.ctl
    device = fleet.agent("lamp-0", "lamp")
    wait_for("the device", lambda: fleet.devices().get("lamp-0", {}).get("state") == "approved")
    image = fleet.image("1.0.0")
    pushed = one_document(ctl("--json", "push", image, "--all", "--wait", "--timeout", "60s"))
    assert pushed[0]["counts"]["running"] == 1
    sha = ctl.json("image", "list")[0]["sha256"]
    digest = ctl.json("release", "show", "1.0.0")["digest"]
    token = ctl.json("token", "create", "bob")
    secret = ctl.json("enroll", "create", "--board", "lamp", "--uses", "2")
    assert ctl.json("release", "show", digest[:8])["version"] == "1.0.0"
    refusals = {}
    for words in (
        ("board", "list"), ("board", "show", "lamp"), ("board", "export", "lamp"), ("board", "export", "lamp", "-o", folder / "card"),
        ("board", "add", "spare"), ("board", "remove", "spare"), ("enroll", "list"), ("enroll", "revoke", secret["id"][:6]),
        ("push", image, "--all", "--dry-run"), ("push", image), ("retry", pushed[0]["id"][:8]), ("status",), ("status", "lamp-0"),
        ("status", pushed[0]["id"][:8]), ("log", "lamp-0"), ("image", "list"), ("image", "show", sha[:10]), ("image", "inspect", image),
        ("release", "list"), ("release", "envelope", "1.0.0", "-o", folder / "envelope"), ("release", "inspect", folder / "envelope"),
        ("device", "list"), ("device", "show", "lamp-0"), ("device", "approve", "lamp-0"), ("device", "ack", "lamp-0"),
        ("device", "rename", "lamp-0", "porch"), ("device", "tag", "porch", "x"), ("device", "hold", "porch"),
        ("device", "unhold", "porch"), ("rollout", "list"), ("rollout", "show", pushed[0]["id"][:8]),
        ("rollout", "unhold", pushed[0]["id"][:8]), ("token", "list"), ("token", "revoke", token["id"][:6]), ("audit", "list"),
        ("provision", "--board", "lamp", "--name", "kitchen", "-o", folder / "kitchen.prov"),
        ("device", "remove", "-y", "porch"), ("release", "remove", "1.0.0"), ("image", "remove", sha[:10]), ("logout",),
    ):
        result = ctl.run("--json", *words)
        said = one_document(result)
        if result.code:
            refusals[words[0], words[1][:8]] = said if "retried" in said else said["error"]["code"]
    # A push that has ended, a release that was assigned, an image that it has; nothing to try again is an answer.
    assert refusals.pop(("retry", pushed[0]["id"][:8])) == {"retried": 0, "shared": False}
    assert sorted(refusals) == [("image", "remove"), ("release", "remove"), ("rollout", "unhold")], refusals
    before = {row["sha256"] for row in ctl.json("image", "list")}
    ctl("push", fleet.image("9.0.0"))
    new = ({row["sha256"] for row in ctl.json("image", "list")} - before).pop()
    assert ctl.json("release", "remove", "9.0.0") == {"removed": "lamp:9.0.0"}
    assert ctl.json("image", "remove", new[:12]) == {"removed": new}
    assert device.stop() == 0


@pytest.mark.parametrize("code,error,words", [
    (1, "not-found", ("device", "show", "nobody")),
    (1, "not-found", ("board", "show", "limp")),
    (1, "failed", ("status", "abcdefab01")),
    (1, "failed", ("cancel", "abcdef")),
    (1, "failed", ("enroll", "revoke", "abcdef")),
    (1, "exists", ("board", "add", "lamp")),
    (1, "failed", ("image", "show", "00")),
    (1, "failed", ("push", "nowhere.bin", "--all")),
    (2, "usage", ("provision",)),
    (2, "usage", ("devise", "list")),
    (2, "usage", ("device", "list", "--nonsense")),
    (2, "usage", ("device", "show")),
    (2, "usage", ("board", "list", "--url", "ftp://x")),
    (2, "usage", ("board", "list", "--url", "http://127.0.0.1:1", "--data", "/x")),
    (1, "failed", ("board", "list", "--data", "/nonexistent")),
])
def test_an_error_is_a_document_too(shared_fleet, code, error, words):
    result = shared_fleet.ctl.run("--json", *words, code=code)
    told = one_document(result)["error"]
    assert told["code"] in (error, "not-found") and told["detail"], told
    assert f"otactl: {told['detail']}" in result.err, (told, result.err)


@pytest.fixture(scope="module")
def shared_fleet(tmp_path_factory):
    import harness
    made = harness.Fleet(tmp_path_factory.mktemp("errors"), broker=False)
    made.init()
    made.board()
    yield made
    assert not made.close()


def test_one_error_of_several_devices(fleet):
    fleet.add(1)
    result = fleet.ctl.run("--json", "device", "hold", "lamp-0", "nobody", code=1)
    rows = one_document(result)
    assert rows[0]["name"] == "lamp-0" and rows[0]["hold"] is True, rows
    assert rows[1]["device"] == "nobody" and rows[1]["error"]["code"] == "not-found", rows


def test_bytes_that_are_no_text(fleet):
    """A list of devices has a row for each, whatever was typed; elsewhere nothing is asked for, and no member of a request is
    left out without a word."""
    fleet.add(1)
    odd = "lamp-\udcff"
    result = fleet.ctl.run("--json", "device", "hold", odd, "lamp-0", code=1)
    rows = one_document(result)
    assert [row.get("device") or row["name"] for row in rows] == ["lamp-?", "lamp-0"], rows
    assert rows[0]["error"]["code"] == "not-found" and rows[0]["error"]["detail"] and rows[1]["hold"] is True, rows
    before = fleet.ctl.json("device", "show", "lamp-0")["revision"]
    for words in (("device", "tag", "lamp-0", odd), ("device", "rename", "lamp-0", odd), ("board", "add", "x", "--domain", odd),
                  ("token", "create", odd), ("device", "show", odd), ("provision", "--board", "lamp", "--name", odd)):
        told = one_document(fleet.ctl.run("--json", *words, code=2))["error"]
        assert told["code"] == "usage" and "plain UTF-8 text" in told["detail"], (words, told)
    assert one_document(fleet.ctl.run("--json", odd, code=2))["error"]["detail"].startswith("unknown command 'lamp-?'")
    assert fleet.ctl.json("device", "show", "lamp-0")["revision"] == before
    # A file may be called anything.
    path = fleet.folder / "image-\udcff.bin"
    path.write_bytes(fleet.image("1.0.0").read_bytes())
    assert "size" in one_document(fleet.ctl("--json", "image", "inspect", path))
    made = one_document(fleet.ctl("--json", "provision", "--board", "lamp", "--name", "y", "-o", fleet.folder / "y-\udcff"))
    assert made["file"].endswith("/y-?"), made
    assert one_document(fleet.ctl("--json", "push", path))


def test_which_server_is_asked(fleet, folder):
    """What is said for one call, then the environment, then the stored login."""
    place = folder / "other"
    place.mkdir()
    other = Otad(place).start()
    try:
        ctl = Otactl(fleet.otad, env={"OTAD_DATA": "", "OTACTL_TOKEN": ""})

        assert "/var/lib/otad/otad.sock" in ctl.run("board", "list", code=1).err
        ctl("login", fleet.otad.url, env={"OTACTL_TOKEN": fleet.token()})
        assert "lamp" in ctl("board", "list").out
        assert "no boards" in ctl("board", "list", env={"OTAD_DATA": str(other.data)}).out
        assert "lamp" in ctl("board", "list", "--data", fleet.otad.data, env={"OTAD_DATA": str(other.data)}).out
        both = {"OTAD_DATA": str(other.data), "OTACTL_URL": fleet.otad.url, "OTACTL_TOKEN": fleet.token()}
        assert "lamp" in ctl("board", "list", env=both).out
        assert "no boards" in ctl("board", "list", "--data", other.data, env=both).out
        told = ctl("login", fleet.otad.url, env={"OTACTL_TOKEN": fleet.token(), "OTAD_DATA": str(other.data)}).err
        assert f"OTAD_DATA={other.data} goes before this login" in told, told
        missing = ctl.run("login", fleet.otad.url, "--token-file", folder / "none", code=1)
        assert "cannot open" in missing.err, repr(missing)
        wrong = ctl.run("board", "list", env={"OTACTL_TOKEN": fleet.token()[:-1] + "x"}, code=1).err
        assert "the stored login" in wrong and "otactl login" in wrong, wrong
        assert [ctl("logout").out for _ in range(2)] == ["logged out\n", "no login was stored\n"]
        assert ctl.json("logout") == {"logged out": False}
    finally:
        assert other.stop() == 0
    assert "(OTAD_DATA)" in ctl.run("board", "list", env={"OTAD_DATA": str(other.data)}, code=1).err


def test_why_a_socket_does_not_answer(fleet, folder):
    data = folder / "none"
    data.mkdir()
    assert "there is no socket" in fleet.ctl.run("status", "--data", data, code=1).err
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(data / "otad.sock"))
    assert "nobody listens" in fleet.ctl.run("status", "--data", data, code=1).err
    if os.geteuid() == 0:
        try:
            done = subprocess.run([BIN / "otactl", "status"], user=65534, group=65534, extra_groups=[], capture_output=True, text=True,
                                  check=False, env={"OTAD_DATA": str(fleet.otad.data), "HOME": "/nonexistent", "PATH": os.environ["PATH"]})
        except PermissionError:
            return
        assert done.returncode == 1 and "is for root and otad's own user" in done.stderr, done


def test_the_wrong_door(folder, make_fleet):
    import harness
    port = harness.free_port()
    fleet = make_fleet(broker=False, otad_args=["--listen", f"http://127.0.0.1:{port}=devices"])
    wrong = fleet.ctl.run("board", "list", "--url", f"http://127.0.0.1:{port}", env={"OTACTL_TOKEN": fleet.token()}, code=1).err
    assert "this door is for devices; what was asked for is for operators" in wrong and str(port) in wrong, wrong


def test_init_offline_leaves_all_or_nothing(bare, folder):
    home = folder / "home"
    home.mkdir(exist_ok=True)
    failed = bare.ctl.run("init", "--offline", "-y", "--key", folder / "missing/root.pem", env={"HOME": str(home)}, code=1)
    assert "missing/root.pem" in failed.err, repr(failed)
    keys = home / ".otad-root"
    assert list(keys.glob("*")) == []
    bare.ctl("init", "--offline", "-y", env={"HOME": str(home)})
    assert sorted(path.name for path in keys.iterdir()) == ["release.pem", "root.pem"]


def test_help_fits_a_terminal_and_words_are_guessed():
    def run(*words):
        done = subprocess.run([BIN / "otactl", *words], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    nouns = [word for word in run("--complete")[1].split() if not word.startswith("-")]
    for words in [[], *([noun] for noun in nouns), ["board", "add"], ["enroll", "create"]]:
        code, out, err = run(*words, "--help")
        assert code == 0 and not err and max(map(len, out.splitlines())) <= 80, (words, out, err)
    assert "did you mean '--chip'?" in run("board", "add", "x", "--chp", "esp32")[2]
    assert "did you mean '--json'?" in run("status", "--jsn")[2]
    assert "did you mean" not in run("status", "--zzz")[2]


def test_tables_of_a_small_fleet_fit_a_terminal(fleet):
    """An unnamed device too, and a version that is the time."""
    fleet.add(1)
    raw = fleet.ctl("provision", "--board", "lamp").raw
    (fleet.folder / "unnamed.prov").write_bytes(raw)
    fleet.agents.append(Agent("unnamed", fleet.folder, fleet.folder / "unnamed.prov").start())
    wait_for("both", lambda: len(fleet.devices()) == 2)
    fleet.ctl("push", fleet.image("1.0.0", version=""), "--all", "--wait", "--timeout", "60s")
    for words in (["status"], ["device", "list"], ["rollout", "list"], ["release", "list"], ["image", "list"], ["enroll", "list"],
                  ["token", "list"], ["audit", "list"], ["board", "list"]):
        lines = [line for line in fleet.ctl(*words).out.splitlines() if not line.startswith("! ")]
        assert lines and max(map(len, lines)) <= 80, "\n".join(lines)
    version = fleet.ctl.json("release", "list")[0]["version"]
    assert version in fleet.ctl("log", "lamp-0").out


def test_an_id_that_is_the_start_of_another(make_fleet):
    fleet = make_fleet(broker=False)
    prepared(fleet)
    fleet.ctl("push", fleet.image("1.0.0"), "--version", "1.0.0")
    api = rig.Api(fleet.otad.port, fleet.token())
    for name in ("night", "night-2"):
        assert api.ask("PUT", f"/v1/rollouts/{name}", {"release": "lamp:1.0.0", "selector": "*"})[0] == 201
    api.close()
    for name in ("night", "night-2"):
        assert fleet.ctl.json("rollout", "show", name)["id"] == name
    assert "is the start of 2 push ids" in fleet.ctl("rollout", "show", "nigh", code=1).err


def test_texts_are_judged_before_the_upload(make_fleet):
    """What the server would refuse in the release is refused before the images are sent for it."""
    fleet = make_fleet(broker=False)
    prepared(fleet)
    image, odd = fleet.image("1.0.0"), fleet.image("a b")
    for code, words, args in (
        (2, "--notes: 4097 bytes, at most 4096", [image, "--notes", "x" * 4097]),
        (2, "--notes: 4098 bytes", [image, "--notes", "\u00fc" * 2049]),
        (2, "plain UTF-8 text", [image, "--notes", "a\x1bb"]),
        (2, "plain UTF-8 text", [image, "--notes", "a\udcff"]),
        (2, f"version '{'x' * 64}': a version is 1 to 63", [image, "--version", "x" * 64]),
        (2, "version 'a b'", [image, "--version", "a b"]),
        (2, "version 'a b'", [odd]),
        (1, "board lamp has no component 'nose'", [f"nose={image}"]),
        (2, "no name for a variant", [f"app.a b={image}"]),
    ):
        done = fleet.ctl("push", *args, code=code)
        assert words in done.err and fleet.ctl.json("image", "list") == [], (args, done.err)
    fleet.ctl("push", image, "--version", "x" * 63, "--notes", "first\nsecond" + "x" * 4084)
    assert fleet.ctl.json("release", "list")[0]["version"] == "x" * 63
