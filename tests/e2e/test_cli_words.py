"""What otactl and otad say to a person who names, asks or answers something in an unexpected way."""
import json
import os
import pwd

import pytest

import harness
import rig
from harness import programs_missing
from terminal import on_terminal

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")


def test_an_option_given_twice(fleet):
    image = fleet.image("1.0.0")
    fleet.add(1)
    for name, args in (
        ("to", ("push", image, "--to", "lamp-0", "--to", "lamp-1")),
        ("version", ("push", image, "--all", "--version", "1", "--version=2")),
        ("board", ("device", "list", "--board", "a", "--board", "b")),
        ("url", ("--url", "http://127.0.0.1:1", "device", "list", "--url", "http://127.0.0.1:1")),
    ):
        result = fleet.ctl.run(*args, code=2)
        assert f"--{name} is given twice" in result.err, repr(result)
    assert "otactl device tag DEVICE TAG" in fleet.ctl.run("push", image, "--to", "a", "--to", "b", code=2).err
    assert fleet.ctl.json("release", "list") == [] and fleet.ctl.json("image", "list") == []
    # What may be repeated still adds up, and a flag said twice is said.
    fleet.ctl("board", "add", "two", "--component", "app", "--component", "data", "-y", "-y")
    assert len(fleet.ctl.json("board", "show", "two")["components"]) == 2


def test_two_devices_in_one_selector(fleet):
    fleet.add(1)
    result = fleet.ctl.run("push", fleet.image("1.0.0"), "--to", "lamp-0,lamp-1", code=2)
    assert "'lamp-0,lamp-1' is no selector" in result.err and "otactl device tag DEVICE TAG" in result.err, repr(result)


def test_status_of_a_device_or_a_push(fleet):
    fleet.add(1)
    fleet.ctl("push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "60s")
    push = fleet.ctl.json("rollout", "list")[0]["id"]
    assert push in fleet.ctl("status", push[:4]).out and push in fleet.ctl("rollout", "show", push[:4]).out
    assert "lamp-0" in fleet.ctl("status", "lamp-0").out
    result = fleet.ctl.run("status", "nosuch", code=1)
    assert "there is no device and no push 'nosuch'" in result.err, repr(result)
    # A device called like the start of a push is the device.
    fleet.ctl("device", "rename", "lamp-0", push[:4])
    assert "identity" in fleet.ctl("status", push[:4]).out


def test_a_backup_asks_for_its_passphrase(bare, folder):
    argv = [harness.BIN / "otad", "backup", "--with-keys", folder / "b.tar", "--data", bare.otad.data]
    differ = on_terminal(argv, [("in the backup: ", "one long word"), ("once more: ", "another word")])
    assert differ.code == 2 and "passphrases differ" in differ.out and not (folder / "b.tar").exists(), repr(differ)
    done = on_terminal(argv, [("in the backup: ", "one long word"), ("once more: ", "one long word")])
    assert done.code == 0 and "one long word" not in done.out and (folder / "b.tar").exists(), repr(done)
    restore = [harness.BIN / "otad", "restore", folder / "b.tar", "--data", folder / "new"]
    assert "--passphrase-file FILE" in on_terminal(restore, []).out
    asks = [*restore[:-1], folder / "asked", "--with-keys"]
    wrong = on_terminal(asks, [("in the backup: ", "another word")])
    assert wrong.code == 1 and not (folder / "asked").exists(), repr(wrong)
    right = on_terminal(asks, [("in the backup: ", "one long word")])
    assert right.code == 0 and "once more" not in right.out and list((folder / "asked/keys").iterdir()), repr(right)
    (folder / "word").write_text("one long word\n")
    assert on_terminal([*restore, "--passphrase-file", folder / "word"], []).code == 0
    plain = on_terminal([*argv[:2], folder / "plain.tar", *argv[4:]], [])
    assert plain.code == 0 and "without the server's keys" in plain.out and "--with-keys" in plain.out, repr(plain)
    assert "without the server's keys" not in done.out


def test_the_same_bytes_without_a_version(fleet, folder):
    fleet.ctl("board", "add", "mote")
    files = []
    for n in (1, 2):
        files.append(folder / f"{n}.bin")
        files[-1].write_bytes(bytes(range(n, 256)) * 20)

    def push(file):
        return fleet.ctl("push", file, "--board", "mote").err

    assert "the time: the image says none" in push(files[0])
    assert "(already a release: these bytes)" in push(files[0])
    assert len(fleet.ctl.json("release", "list")) == 1
    assert "the time" in push(files[1])
    # Not the older release, which devices would refuse after the newer one.
    assert "the time" in push(files[0])
    assert len(fleet.ctl.json("release", "list")) == 3


def test_an_older_release_is_asked_about_and_its_end_is_told(fleet):
    fleet.add(1)
    old = fleet.image("1.0.0")
    for image in (old, fleet.image("2.0.0")):
        fleet.ctl("push", image, "--to", "lamp-0", "--wait", "--timeout", "60s")
    argv = [harness.BIN / "otactl", "push", old, "--to", "lamp-0"]
    no = on_terminal(argv, [("Push it all the same? [y/N] ", "")], env=fleet.ctl.env)
    assert no.code == 1 and "not done" in no.out and len(fleet.ctl.json("rollout", "list")) == 2, repr(no)
    assert on_terminal(argv, [("Push it all the same? [y/N] ", "y")], env=fleet.ctl.env).code == 0

    def ended(attempt):
        rows = fleet.ctl.json("rollout", "show", push)["assignments"]
        return any(row["attempt"] == attempt and row["state"] == "failed" for row in rows)

    push = next(row["id"] for row in fleet.ctl.json("rollout", "list") if row["state"] != "done" or row["counts"]["failed"])
    harness.wait_for("it to be refused", lambda: ended(1))
    assert "done, 1 failed" in fleet.ctl("rollout", "list").out
    fleet.ctl("retry", push)
    harness.wait_for("it to be refused again", lambda: ended(2))
    shown = fleet.ctl("rollout", "show", push).out
    assert shown.count("\nlamp-0 ") == 1 and "(attempt 2)" in shown, shown


def test_waiting_for_a_device_that_is_not_there(fleet):
    agent = fleet.add(1)[0]
    harness.wait_for("it to be seen", lambda: fleet.devices()["lamp-0"]["last_seen"])
    agent.stop()
    waiting = fleet.ctl.start("push", fleet.image("1.0.0"), "--all", "--wait")
    harness.wait_for("it to say when", lambda: "lamp-0: last seen " in waiting.text() and ", its next look within " in waiting.text(), 60)
    push = fleet.ctl.json("rollout", "list")[0]["id"]
    assert "on hold" not in fleet.ctl("rollout", "show", push).out
    fleet.ctl("device", "hold", "lamp-0")
    assert "waiting, on hold" in fleet.ctl("rollout", "show", push).out
    fleet.ctl("cancel", push)
    assert waiting.wait() == 1


def test_an_image_in_use_names_its_release(fleet):
    fleet.ctl("push", fleet.image("1.0.0"))
    image = fleet.ctl.json("image", "list")[0]["sha256"]
    kept = fleet.ctl.run("image", "remove", image, code=1)
    assert "release lamp:1.0.0 has it" in kept.err, repr(kept)
    fleet.ctl("release", "remove", "lamp:1.0.0")
    fleet.ctl("image", "remove", image)


def test_who_used_the_socket_is_told_in_words(fleet):
    fleet.add(1)
    fleet.ctl("push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "60s")
    push = fleet.ctl.json("rollout", "list")[0]
    who = "root" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    for words in (("audit", "list"), ("log", "lamp-0"), ("rollout", "show", push["id"]), ("release", "show", "1.0.0")):
        shown = fleet.ctl(*words).out
        assert f"{who} (socket)" in shown and "socket:" not in shown, (words, shown)
    # Programs get the uid, which no renaming changes.
    assert push["by"] == f"socket:{os.geteuid()}" and push["by_text"] == f"{who} (socket)"
    row = fleet.ctl.json("audit", "list")[0]
    assert row["who"] == push["by"] and row["who_text"] == push["by_text"], row


def test_a_push_of_what_runs_already_is_no_update_in_the_log(fleet):
    fleet.add(1)
    image = fleet.image("1.0.0")
    for _ in range(2):
        fleet.ctl("push", image, "--all", "--wait", "--timeout", "60s")
    rows = fleet.ctl.json("log", "lamp-0")
    again = fleet.ctl.json("rollout", "list")[0]["id"]
    told = [(row["kind"], row["text"]) for row in rows if row["rollout"] == again]
    assert [kind for kind, _ in told] == ["running", "assigned"], told
    assert told[0][1] == "runs 1.0.0 already" and told[1][1].endswith(": it runs this already"), told
    assert sum("already" in row["text"] for row in rows) == 2, rows


def test_when_a_token_was_used_is_told(fleet):
    fleet.ctl("board", "list", "--url", fleet.otad.url, env={"OTACTL_TOKEN": fleet.token()})
    harness.wait_for("its use to be noted", lambda: fleet.ctl.json("token", "list")[0]["used"])
    assert " ago" in fleet.ctl("token", "list").out


def test_a_fleet_without_a_device_says_whom_it_waits_for(fleet):
    def told():
        return " ".join(fleet.ctl("status").out.split())

    assert told() == "no devices; provision one: otactl provision --board BOARD --name NAME"
    fleet.provision("kitchen")
    assert told() == ("no devices yet: otad waits for kitchen, which was provisioned next: start the device with its provisioning "
                      "file; which there are: otactl enroll list")
    batch = fleet.ctl.json("enroll", "create", "--board", "lamp", "--uses", "3")
    assert "otad waits for the first of 4 that may enroll" in told()
    viewer = fleet.ctl.json("token", "create", "v", "--role", "viewer")["token"]
    assert "provision one" in fleet.ctl("status", "--url", fleet.otad.url, env={"OTACTL_TOKEN": viewer}).out
    fleet.ctl("enroll", "revoke", batch["id"])
    assert "otad waits for kitchen" in told()
    assert "no such device" in fleet.ctl("device", "list", "--board", "lamp").out


def test_a_wrong_chip_says_where_the_image_belongs(fleet):
    image = fleet.image("1.0.0", chip="esp32")

    def refused():
        result = fleet.ctl.run("--json", "push", image, "--board", "lamp", code=1)
        assert "nothing was uploaded" in result.err, repr(result)
        return result.json()["error"]["hint"]

    assert refused() == "see: otactl board show lamp; for esp32: otactl board add NAME --chip esp32"
    fleet.board("plug", "esp32")
    assert refused() == "for esp32 there is: plug; see: otactl board list"
    # Not only otactl knows it.
    fleet.ctl("push", image, "--board", "plug")
    sha = fleet.ctl.json("image", "list")[0]["sha256"]
    api = rig.Api(fleet.otad.port, fleet.token())
    status, _, said = api.ask("POST", "/v1/releases", {"board": "lamp", "version": "1", "images": [{"component": "app", "sha256": sha}]})
    api.close()
    assert status == 422 and json.loads(said)["hint"] == "see: otactl board show lamp", said


def test_what_changes_something_needs_more_of_an_id(fleet):
    fleet.add(1)
    fleet.ctl("push", fleet.image("1.0.0"))
    image = fleet.ctl.json("image", "list")[0]["sha256"]
    token = fleet.ctl.json("token", "create", "bob")["id"]
    secret = fleet.ctl.json("enroll", "create", "--board", "lamp")["id"]
    fleet.ctl("push", fleet.image("1.1.0"), "--to", "lamp-0", "--hold")
    push = fleet.ctl.json("rollout", "list")[0]["id"]
    for words, whole in ((("image", "remove"), image), (("token", "revoke"), token), (("enroll", "revoke"), secret), (("cancel",), push),
                         (("rollout", "unhold"), push), (("retry",), push)):
        result = fleet.ctl.run(*words, whole[:3], code=1)
        assert "4 digits or more" in result.err or "is the start of 2" in result.err, repr(result)
    assert image in fleet.ctl("image", "show", image[:3]).out and push in fleet.ctl("status", push[:3]).out
    for words in (("cancel", push[:4]), ("release", "remove", "1.0.0"), ("image", "remove", image[:4]), ("token", "revoke", token[:8]),
                  ("enroll", "revoke", secret[:8])):
        fleet.ctl(*words)
