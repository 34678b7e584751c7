"""otactl as a person uses it: what it guesses, what it refuses and in which words, and that a refusal changes nothing."""
import os
import re
import signal
import subprocess

import pytest

from harness import BIN, Otactl, programs_missing, shared, wait_for

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")

# file -> (chip of its board, version it says of itself)
REAL = {
    "micropython-esp32-v1.17-app.bin": ("esp32", "1.17"),
    "tasmota32-app.bin": ("esp32", None),
    "micropython-esp8266-v1.22.1.bin": ("esp8266", "1.22.1"),
    "tasmota-esp8266-arduino.bin": ("esp8266", None),
}


def facts(fleet):
    """Everything a push could change."""
    listed = [fleet.ctl.json(noun, "list") for noun in ("board", "image", "release", "rollout", "token")]
    return listed[:4] + [[{k: v for k, v in row.items() if k != "last_used"} for row in listed[4]]]


def refused(fleet, code, words, *args, **more):
    before = facts(fleet)
    result = fleet.ctl.run(*args, code=code, **more)
    assert words in result.err, repr(result)
    assert len([line for line in result.err.splitlines() if line.startswith("otactl: ")]) == 1, repr(result)
    assert facts(fleet) == before, repr(result)
    return result


@pytest.mark.parametrize("name", REAL)
def test_a_real_image_needs_no_flag_but_all(fleet, name):
    chip, version = REAL[name]
    image = shared(f"firmware/{name}")
    fleet.board("plug", chip)
    fleet.agent("plug-1", "plug")
    wait_for("the device", lambda: fleet.devices().get("plug-1", {}).get("state") == "approved")
    result = fleet.ctl("push", image, "--all", "--wait", "--timeout", "100s")
    said = re.search(r"^version: (\S+)", result.err, re.M).group(1)
    assert version in (None, said), repr(result)
    fleet.wait_running(said, ["plug-1"], 5)


def test_a_pair_for_two_slots(fleet):
    pair = [shared(f"firmware/esp8266-sdk-user{n}.bin") for n in (1, 2)]
    fleet.board("plug", "esp8266")
    agent = fleet.agent("plug-1", "plug")
    wait_for("the device", lambda: "plug-1" in fleet.devices())
    refused(fleet, 1, "needs user1 and user2", "push", pair[0], "--all")
    fleet.ctl("push", *pair, "--all", "--wait", "--timeout", "100s", "--version", "one")
    # The next goes into the other slot: the same pair as another release gives the other image.
    fleet.ctl("push", *pair, "--all", "--wait", "--timeout", "100s", "--version", "two")
    assert "in slot 0" in agent.text() and "in slot 1" in agent.text(), agent.text()


def test_half_a_release_is_refused_before_it_is_sent(fleet, folder):
    """What the server would say of the release is said while nothing has been uploaded yet."""
    fleet.board("duo", "esp32c3", "--component", "app", "--component", "files:6000")
    fleet.agent("duo-1", "duo", args=["--component", "app", "--component", "files"])
    wait_for("the device", lambda: fleet.devices().get("duo-1", {}).get("state") == "approved")
    app, files = fleet.image("1.0.0"), folder / "files.bin"
    files.write_bytes(bytes(range(1, 256)) * 20)
    large = folder / "large.bin"
    large.write_bytes(2 * files.read_bytes())
    for words, operands in {
            "component 'files' of board 'duo' has no image; nothing was uploaded": [f"duo:app={app}"],
            "component 'app' of board 'duo' has no image; nothing was uploaded": [f"duo:files={files}"],
            "has variant 'A' alone": [f"duo:app={app}", f"duo:files.A={files}"],
            "two images: they need two different variants": [f"duo:app={app}"] + 2 * [f"duo:files={files}"],
            "more than two images": [f"duo:app={app}"] + [f"duo:files.{v}={files}" for v in "ABC"],
            f"'{files}' is no firmware of board 'duo'": [f"duo:app={files}", f"duo:files={files}"],
            "a slot of 'files' on board 'duo' has 6000; nothing": [f"duo:app={app}", f"duo:files={large}"],
    }.items():
        for more in (["--all", "-y"], ["--dry-run"]):
            refused(fleet, 1, words, "push", *operands, *more)
    fleet.ctl("push", f"duo:app={app}", f"duo:files={files}", "--all", "-y", "--wait", "--timeout", "60s")


def test_a_factory_image_and_damage(fleet, folder):
    refused(fleet, 1, "use the application image", "push", shared("firmware/micropython-esp32-v1.17-factory.bin"), "--all")
    good = fleet.image("1.0.0").read_bytes()
    broken = folder / "broken.bin"
    for at in (9000, len(good) - 1):
        broken.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1:])
        refused(fleet, 1, "does not match", "push", broken, "--all")
    broken.write_bytes(good[:-100])
    refused(fleet, 1, "broken.bin", "push", broken, "--all")
    broken.write_bytes(b"")
    refused(fleet, 1, "is empty", "push", broken, "--all")


def test_wrong_calls(fleet):
    image = fleet.image("1.0.0")
    other = fleet.image("1.0.0-esp32", chip="esp32")
    fleet.add(1)
    for code, words, args in (
        (2, "exclude each other", ("push", image, "--all", "--to", "tag=x")),
        (2, "--wait needs", ("push", image, "--wait")),
        (2, "--timeout takes", ("push", image, "--all", "--wait", "--timeout", "soon")),
        (2, "--timeout takes", ("push", image, "--all", "--wait", "--timeout", "5")),
        (1, "no board has that chip", ("push", other, "--all")),
        (1, "is for esp32, board 'lamp' has esp32c3", ("push", f"lamp:{other}", "--all")),
        (1, "no board 'limp'", ("push", f"limp:{image}", "--all")),
        (1, "nothing was uploaded", ("push", image, "--to", "tag=nowhere")),
        (2, "selector", ("push", image, "--to", "colour=red")),
        (1, "No such file", ("push", "missing.bin", "--all")),
        (2, "expected", ("push", f"app.={image}x", "--all")),
        (1, "lamp-1", ("device", "show", "lamp-1")),
        (1, "limp", ("board", "show", "limp")),
        (1, "already", ("board", "add", "lamp", "--chip", "esp32c3")),
        (2, "is no name for a board", ("board", "add", "No Name")),
        (1, "lamp", ("board", "remove", "lamp")),
        (1, "no push 'abcdef'", ("cancel", "abcdef")),
        (2, "say what to cancel", ("cancel",)),
        (2, "role must be", ("token", "create", "bob", "--role", "king")),
        (1, "has root 1 already", ("init",)),
        (2, "--board BOARD is needed", ("provision",)),
        (1, "limp", ("provision", "--board", "limp")),
        (1, "taken", ("provision", "--board", "lamp", "--name", "lamp-0")),
        (2, "unknown option", ("push", image, "--al")),
        (2, "did you mean 'device'", ("devise", "list")),
    ):
        refused(fleet, code, words, *args)


def test_a_version_is_one_set_of_bytes(fleet):
    fleet.add(1)
    fleet.ctl("push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "60s")
    other = fleet.image("1.0.0", seed=7)
    refused(fleet, 1, "exists with other bytes", "push", other, "--all")
    # The same bytes again are the same release, and done at once.
    before = len(fleet.ctl.json("release", "list"))
    fleet.ctl("push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "60s")
    assert len(fleet.ctl.json("release", "list")) == before


def test_tokens_and_what_they_may(fleet):
    viewer = fleet.ctl.json("token", "create", "eve", "--role", "viewer")["token"]
    uploader = fleet.ctl.json("token", "create", "ci", "--role", "uploader")["token"]
    by_url = Otactl(fleet.otad, env={"OTACTL_URL": fleet.otad.url, "OTAD_DATA": "/nonexistent"})
    image = fleet.image("1.0.0")
    assert by_url.run("board", "list", env={"OTACTL_TOKEN": viewer}).code == 0
    for token, words in ((viewer, "may not"), (viewer[:-1] + "x", "token"), ("", "token")):
        refused_there = by_url.run("board", "add", "x", code=1, env={"OTACTL_TOKEN": token})
        assert words in refused_there.err, repr(refused_there)
    assert by_url.run("push", image, env={"OTACTL_TOKEN": uploader}).code == 0
    assert by_url.run("push", image, "--all", env={"OTACTL_TOKEN": uploader}).code == 1
    assert by_url.run("push", image, env={"OTACTL_TOKEN": viewer}).code == 1
    fleet.ctl("token", "create", "c")
    assert fleet.ctl("token", "revoke", "ci").code == 0
    states = {line.split()[1]: line.split()[-1] for line in fleet.ctl("token", "list").out.splitlines()}
    assert states["ci"] == "revoked" and states["eve"] == "valid", states
    assert {row["name"] for row in fleet.ctl.json("token", "list")} >= {"c", "eve"}
    assert by_url.run("board", "list", env={"OTACTL_TOKEN": uploader}).code == 1


def test_hold_then_let_go(fleet):
    fleet.add(2)
    fleet.ctl("device", "hold", "lamp-0")
    fleet.ctl("push", fleet.image("1.0.0"), "--all")
    fleet.wait_running("1.0.0", ["lamp-1"])
    row = fleet.devices()["lamp-0"]
    assert row["running"] is None and row["hold"] is True
    fleet.ctl("device", "unhold", "lamp-0")
    fleet.wait_running("1.0.0")


def test_a_push_on_hold_stages_and_waits(fleet):
    fleet.add(1)
    fleet.ctl("push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "60s")
    held = fleet.ctl.json("push", fleet.image("2.0.0"), "--all", "--hold")[0]["id"]
    wait_for("it to be staged", lambda: fleet.devices()["lamp-0"]["assignment"]["state"] == "staged")
    assert fleet.devices()["lamp-0"]["running"]["version"] == "1.0.0"
    assert "no longer on hold" in fleet.ctl("rollout", "unhold", held).out
    fleet.wait_running("2.0.0")


def test_a_device_that_cannot_turn_back_is_not_forgotten(fleet):
    """One that may boot another firmware any moment gets the push when that has ended; the push is not done without it."""
    agents = fleet.add(2)
    fleet.ctl("push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "60s")
    fleet.ctl("push", fleet.image("2.0.0"), "--to", "name=lamp-0", "--hold")
    wait_for("it to be staged", lambda: fleet.devices()["lamp-0"]["assignment"]["state"] == "staged")
    agents[0].stop()
    fleet.ctl("rollout", "unhold", fleet.ctl.json("rollout", "list")[0]["id"])
    late = fleet.ctl.start("push", fleet.image("3.0.0"), "--all", "--wait", "--timeout", "100s")
    wait_for("the other one to run it", lambda: (fleet.devices()["lamp-1"].get("running") or {}).get("version") == "3.0.0", 60)
    assert late.code() is None
    shown = fleet.ctl("device", "show", "lamp-0").out
    assert "3.0.0 waiting: 2.0.0 may start there any moment and has to end first" in shown, shown
    assert "2.0.0 staged, then 3.0.0" in fleet.ctl("status").out
    assert "1 waiting (1 behind another update)" in fleet.ctl("rollout", "list").out
    agents[0].start()
    assert late.wait(60) == 0, late.tail(9)
    assert "waits for 2.0.0 to end" in fleet.ctl("log", "lamp-0").out


def test_a_provisioning_file_and_its_name(fleet, folder):
    there = folder / "there.prov"
    there.write_bytes(b"keep")
    refused(fleet, 1, "exists already", "provision", "--board", "lamp", "--name", "kitchen", "-o", there)
    assert there.read_bytes() == b"keep" and fleet.ctl.json("enroll", "list") == [], "the name stays free"
    fleet.ctl("provision", "--board", "lamp", "--name", "kitchen", "-o", folder / "lost.prov")
    again = refused(fleet, 1, "is taken", "provision", "--board", "lamp", "--name", "kitchen", "-o", folder / "new.prov")
    assert "provision --replace" in again.err, repr(again)
    fleet.ctl("enroll", "revoke", fleet.ctl.json("enroll", "list")[0]["id"])
    assert "revoked" in fleet.ctl("enroll", "list").out
    fleet.ctl("provision", "--board", "lamp", "--name", "kitchen", "-o", folder / "new.prov")


def test_a_file_of_no_known_format_needs_its_board(fleet, folder):
    fleet.board("mote", "stm32f4")
    fleet.agent("mote-0", "mote")
    wait_for("the device", lambda: fleet.devices().get("mote-0", {}).get("state") == "approved")
    raw = folder / "settings.dat"
    raw.write_bytes(bytes(range(1, 256)) * 20)
    refused(fleet, 2, "does not say its chip", "push", raw, "--all", "-y")
    refused(fleet, 1, "no esp32c3 image is recognised in it; nothing was uploaded", "push", f"lamp:{raw}")
    for words in (["push", f"mote:{raw}"], ["push", raw, "--board", "mote"]):
        assert "not recognised, " in fleet.ctl(*words, "--all", "-y", "--dry-run").err
    refused(fleet, 1, "no board 'limp'", "push", raw, "--board", "limp", "--all")
    fleet.ctl("push", raw, "--board", "mote", "--all", "-y", "--wait", "--timeout", "60s", "--version", "1")


def test_going_back_is_a_new_version(fleet):
    fleet.add(1)
    old = fleet.image("1.0.0")
    for image in (old, fleet.image("2.0.0")):
        fleet.ctl("push", image, "--all", "--wait", "--timeout", "60s")
    told = fleet.ctl("push", old, "--all", "--dry-run").err
    assert "1 of them runs a newer release and will refuse this one: lamp-0 (2.0.0)" in told and "1.0.0-again" in told, told
    assert fleet.ctl.json("push", old, "--all", "--dry-run")[0]["newer"] == 1
    for new in (["--version", "3.0.0"], ["--version", "1.0.0-again"]):
        assert "newer" not in fleet.ctl("push", old, "--all", "--dry-run", *new).err
    assert "newer" not in fleet.ctl("push", fleet.image("2.0.0"), "--all", "--dry-run").err
    assert "-y does it unasked" in refused(fleet, 2, "not done", "push", old, "--all").err
    older = fleet.ctl.run("push", old, "--all", "-y", "--wait", "--timeout", "60s", code=1)
    assert "below the floor" in older.out and "--version V" in older.err, repr(older)
    fleet.ctl("push", old, "--version", "1.0.0-again", "--all", "--wait", "--timeout", "60s")


def test_cancel_and_the_newest_decision(fleet):
    agent = fleet.add(1)[0]
    agent.stop()
    first = fleet.ctl.json("push", fleet.image("1.0.0"), "--all")[0]["id"]
    waiting = fleet.ctl.start("push", fleet.image("1.5.0"), "--all", "--wait")
    wait_for("the second push", lambda: len(fleet.ctl.json("rollout", "list")) == 2)
    assert fleet.ctl.json("rollout", "show", first[:10])["assignments"][0]["state"] == "superseded"
    third = fleet.ctl.json("push", fleet.image("2.0.0"), "--all")[0]["id"]
    assert waiting.wait() == 1
    assert "superseded" in waiting.text(), waiting.text()
    assert "withdrawn on 1 device" in fleet.ctl("cancel", third).out
    assert "nothing was open" in fleet.ctl.run("cancel", third, code=1).err
    nothing = fleet.ctl.run("--json", "cancel", "--device", "lamp-0", code=1)
    assert "nothing was open on lamp-0" in nothing.err and nothing.json()["withdrawn"] == 0
    agent.start()
    seen = fleet.devices()["lamp-0"]["last_seen"] or 0
    wait_for("two more polls", lambda: (fleet.devices()["lamp-0"]["last_seen"] or 0) > seen + 1)
    assert fleet.devices()["lamp-0"]["running"] is None
    fleet.ctl("push", fleet.image("3.0.0"), "--all", "--wait", "--timeout", "60s")


def test_ctrl_c_leaves_the_push_running(fleet):
    agent = fleet.add(1)[0]
    agent.stop()
    waiting = fleet.ctl.start("push", fleet.image("1.0.0"), "--all", "--wait")
    wait_for("the push", lambda: "1 waiting" in waiting.text())
    waiting.signal(signal.SIGINT)
    assert waiting.wait() == 1
    assert "the push goes on; follow it: otactl status" in waiting.text(), waiting.text()
    agent.start()
    fleet.wait_running("1.0.0")


def test_waiting_survives_a_restart_of_the_server(fleet):
    agent = fleet.add(1)[0]
    agent.stop()
    waiting = fleet.ctl.start("push", fleet.image("1.0.0"), "--all", "--wait")
    wait_for("the push", lambda: "1 waiting" in waiting.text())
    fleet.otad.kill9()
    fleet.otad.start()
    agent.start()
    assert waiting.wait(60) == 0, waiting.text()


def test_a_push_to_nobody_yet(fleet):
    refused(fleet, 1, "no approved device of board lamp is selected", "push", fleet.image("1.0.0"), "--all")
    result = fleet.ctl("push", fleet.image("1.0.0"))
    assert "nothing was assigned" in result.err
    assert [row["version"] for row in fleet.ctl.json("release", "list")] == ["1.0.0"]


def test_standard_input_and_dry_run(fleet):
    fleet.add(1)
    image = fleet.image("1.0.0")
    result = fleet.ctl("push", "lamp:-", "--all", "--dry-run", input=image.read_bytes())
    assert "dry run" in result.out and fleet.ctl.json("image", "list") == []
    fleet.ctl("push", "lamp:-", "--all", "--wait", "--timeout", "60s", input=image.read_bytes())
    fleet.wait_running("1.0.0")


def test_names_ids_and_replacement(fleet):
    fleet.add(2)
    rows = fleet.devices()
    for ref in ("lamp-0", rows["lamp-0"]["id"], rows["lamp-0"]["id"][:12]):
        assert fleet.ctl.json("device", "show", ref)["id"] == rows["lamp-0"]["id"]
    fleet.ctl("device", "tag", "lamp-0", "kitchen", "upstairs")
    fleet.ctl("device", "tag", "--", "lamp-0", "-upstairs")
    assert fleet.devices()["lamp-0"]["tags"] == ["kitchen"]
    fleet.ctl("device", "rename", "lamp-0", "porch")
    refused(fleet, 1, "porch", "device", "rename", "lamp-1", "porch")
    fleet.ctl("push", fleet.image("1.0.0"), "--to", "tag=kitchen", "--wait", "--timeout", "60s")
    rows = fleet.devices()
    assert rows["lamp-1"]["assignment"] is None and rows["porch"]["running"]["version"] == "1.0.0"
    fleet.ctl("device", "replace", "-y", "porch", "lamp-1")
    rows = fleet.devices()
    assert rows["porch"]["tags"] == ["kitchen"] and "lamp-1" not in rows


def test_output_that_does_not_arrive_is_a_failure(fleet):
    with open("/dev/full", "w", encoding="utf-8") as full:
        code = subprocess.run([BIN / "otactl", "board", "list"], stdout=full, stderr=subprocess.DEVNULL, check=False,
                              env={**os.environ, **fleet.ctl.env}).returncode
    assert code == 1
