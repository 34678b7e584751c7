"""What otactl and otad say to a person who names, asks or answers something in an unexpected way."""
import pytest

import harness
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
    result = fleet.ctl.run("push", fleet.image("1.0.0"), "--to", "lamp-0,lamp-1", code=1)
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
    (folder / "word").write_text("one long word\n")
    assert on_terminal([*restore, "--passphrase-file", folder / "word"], []).code == 0
