"""Names that are not what they were taken for, and what is asked before something is lost."""
import os
import signal
import threading

import pytest

import harness
from harness import BIN, programs_missing
from terminal import on_terminal

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")

CTRL_C = "\x03"


def screen(fleet, answers, *words):
    return on_terminal([BIN / "otactl", *words], answers, env=fleet.ctl.env)


def test_remove_looks_first_and_then_asks(fleet):
    fleet.add(2)
    ids = {name: row["id"] for name, row in fleet.devices().items()}
    for words in (("nosuch",), ("lamp-0", "nosuch"), ("-y", "lamp-0", "nosuch", "lamp-1")):
        result = fleet.ctl.run("device", "remove", *words, code=1)
        assert "there is no device 'nosuch'" in result.err and "nothing was done" in result.err, repr(result)
    quiet = fleet.ctl.run("device", "remove", "lamp-0", code=2)
    assert "-y" in quiet.err and "lamp-0 (" in quiet.err and not quiet.out, repr(quiet)
    question = "Remove 2 devices? [y/N] "
    no = screen(fleet, [(question, "n")], "device", "remove", "lamp-0", ids["lamp-1"][:8], "lamp-0")
    assert no.code == 1 and "not done" in no.out, repr(no)
    for name, uid in ids.items():
        assert f"{name} ({uid[:8]}), a lamp, approved, last seen " in no.out, repr(no)
    assert set(fleet.devices()) == {"lamp-0", "lamp-1"}
    yes = screen(fleet, [(question, "y")], "device", "remove", "lamp-0", "lamp-1")
    assert yes.code == 0 and "removed lamp-0\nremoved lamp-1" in yes.out, repr(yes)
    assert fleet.devices() == {}


def test_replace_looks_first_and_says_which_way(fleet):
    fleet.add(1)
    fleet.ctl("push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "60s")
    fleet.add(1, prefix="new")
    before = {name: row["id"] for name, row in fleet.devices().items()}
    question = "Replace it? [y/N] "

    def asked(*words):
        result = screen(fleet, [(question, "n")], "device", "replace", *words)
        assert result.code == 1 and "not done" in result.out, repr(result)
        return result.out

    right, swapped = asked("lamp-0", "new-1"), asked("new-1", "lamp-0")
    assert f"old: lamp-0 ({before['lamp-0'][:8]}), a lamp, approved, last seen" in right and "wrong way round" not in right, right
    assert "new-1, was seen" in swapped and "are they the wrong way round? It is: device replace OLD NEW" in swapped, swapped
    assert "no terminal" in fleet.ctl.run("device", "replace", "lamp-0", "new-1", code=2).err
    fleet.board("other", "esp32")
    fleet.add(1, board="other", prefix="odd")
    for words, said in (("lamp-0", "lamp-0"), "cannot replace itself"), (("lamp-0", "odd-2"), "different boards"), \
            (("lamp-0", "nosuch"), "there is no device 'nosuch'"):
        refused = screen(fleet, [], "device", "replace", *words)
        assert refused.code == 1 and said in refused.out and question not in refused.out, repr(refused)
    assert {name: row["id"] for name, row in fleet.devices().items() if row["board"] == "lamp"} == before
    assert screen(fleet, [(question, "y")], "device", "replace", "lamp-0", "new-1").code == 0
    assert fleet.devices()["lamp-0"]["id"] == before["new-1"]
    # Back in it does not come by the way.
    old = before["lamp-0"]
    assert "-y" in fleet.ctl.run("device", "approve", old[:8], code=2).err
    no = screen(fleet, [("Let it in again? [y/N] ", "yess")], "device", "approve", old)
    assert no.code == 1 and "is revoked" in no.out and "last seen" in no.out, repr(no)
    assert fleet.ctl.json("device", "show", old)["state"] == "revoked"
    # 2 says that nothing was done: none is let in before all were looked at.
    for other in (old[:8], "nosuch"):
        both = fleet.ctl.run("device", "approve", "lamp-0", other, code=1 if other == "nosuch" else 2)
        assert both.out == "" and ("-y" in both.err or "nothing was done" in both.err), repr(both)
    assert fleet.ctl.run("device", "hold", "", "nosuch", code=2).out == ""
    assert fleet.ctl.run("device", "hold", "lamp-0", "", code=1).out == "on hold: lamp-0\n"
    fleet.ctl("device", "unhold", "lamp-0")
    assert "is revoked" in screen(fleet, [], "device", "replace", "lamp-0", old).out
    fleet.ctl("device", "approve", "-y", old)
    assert fleet.ctl.json("device", "show", old)["state"] == "approved"


def test_a_name_that_is_only_provisioned(fleet, folder):
    fleet.add(1)
    fleet.ctl("provision", "--board", "lamp", "--name", "porch", "-o", folder / "porch.prov")
    said, do = "'porch' is provisioned and has not enrolled yet", "otactl enroll revoke porch"
    image = fleet.image("1.0.0")
    for words in (("device", "remove", "porch"), ("device", "show", "porch"), ("push", image, "--to", "porch"),
                  ("push", image, "--to", "name=porch"), ("device", "approve", "porch"), ("status", "porch")):
        result = fleet.ctl.run(*words, code=1)
        assert said in result.err and do in result.err, repr(result)
    assert fleet.ctl.json("image", "list") == []
    used = fleet.ctl.run("enroll", "revoke", "lamp-0", code=1)
    assert "is used" in used.err and "otactl device remove" in used.err, repr(used)
    assert "did you mean porch?" in fleet.ctl.run("enroll", "revoke", "prch", code=1).err
    first = fleet.ctl("enroll", "revoke", "porch").out
    assert first.startswith("revoked ") and fleet.ctl("enroll", "revoke", "porch").out.startswith("revoked already: ")
    assert list(fleet.ctl.json("enroll", "revoke", "porch")) == ["revoked"]
    assert "there is no device 'porch'" in fleet.ctl.run("device", "remove", "porch", code=1).err
    # The name's next file, not the one that is revoked.
    fleet.ctl("provision", "--board", "lamp", "--name", "porch", "-o", folder / "again.prov")
    assert fleet.ctl("enroll", "revoke", "porch").out.startswith("revoked ")
    assert [row["revoked"] is None for row in fleet.ctl.json("enroll", "list") if row["name"] == "porch"] == [False, False]


def test_a_device_where_a_push_is_meant(fleet):
    fleet.add(1)
    for instead, *words in (("otactl cancel --device lamp-0", "cancel"), ("otactl status lamp-0", "retry"),
                            ("otactl status lamp-0", "rollout", "show"), ("otactl device unhold lamp-0", "rollout", "unhold")):
        said = fleet.ctl.run(*words, "lamp-0", code=1).err
        assert f"'lamp-0' is a device, not a push: {instead}\n" in said, said
    assert "no push 'nosuch'; see: otactl rollout list" in fleet.ctl.run("cancel", "nosuch", code=1).err
    assert "there is no device and no push 'nosuch'" in fleet.ctl.run("status", "nosuch", code=1).err


def test_values_are_looked_at_before_they_are_sent(fleet):
    for said, *words in (
        ("--name is empty", "provision", "--board", "lamp", "--name", ""),
        ("--id takes 1 to 32 bytes", "provision", "--board", "lamp", "--id", ""),
        ("--vendor-id takes a UUID, not 'x'", "board", "add", "plain", "--vendor-id", "x"),
        ("--class-id takes a UUID, not ''", "board", "add", "plain", "--class-id", ""),
        ("--chip is empty", "board", "add", "plain", "--chip", ""),
    ):
        said_so = fleet.ctl.run(*words, code=2).err
        assert said in said_so and "_id" not in said_so, said_so
    fleet.ctl("board", "add", "plain")
    assert "chip" not in fleet.ctl("board", "show", "plain").out
    row = next(line for line in fleet.ctl("board", "list").out.splitlines() if line.startswith("plain "))
    assert row.split()[1] == "-", row


def test_did_you_mean(fleet):
    fleet.add(2)
    fleet.ctl("board", "add", "odd")
    fleet.ctl("device", "tag", "lamp-0", "kitchen")
    fleet.ctl("token", "create", "builder")
    image = fleet.image("1.0.0")
    for code, said, *words in (
        (1, "no device has the tag 'kitchn': did you mean kitchen?", "push", image, "--to", "tag=kitchn"),
        (1, "there is no device 'lamp0': did you mean lamp-0?", "push", image, "--to", "tag=kitchen,name=lamp0"),
        (1, "there is no board 'lmap': did you mean lamp?", "push", image, "--to", "board=lmap"),
        (1, "no device has the tag 'cellar'\n", "push", image, "--to", "tag=cellar"),
        (2, "unknown selector key 'tags': did you mean tag?", "push", image, "--to", "tags=kitchen"),
        (0, "no device has the tag 'kitchn': did you mean kitchen?", "device", "list", "--to", "tag=kitchn"),
        (1, "it is a tag: its devices are tag=kitchen", "push", image, "--to", "kitchen"),
        (1, "it is a board: all of its devices are board=lamp", "push", image, "--to", "lamp"),
        (1, "terms joined by ','", "push", image, "--to", "zz:kitchen"),
        (1, "lamp-0 is of board lamp\n", "push", f"odd:{image}", "--to", "lamp-0"),
        (1, "see: otactl device list\n", "push", f"odd:{image}", "--all"),
        (1, "devices of other boards match\n", "push", f"odd:{image}", "--to", "board=lamp"),
        (1, "did you mean lamp-0?", "push", image, "--to", "lamp0"),
        (2, "joined by ',' without blanks", "push", image, "--to", "tag=kitchen name=lamp-0"),
        (1, "devices are said with --to", "push", image, "lamp-0"),
        (2, "a push to it goes to every device", "device", "rename", "lamp-0", "all"),
        (2, "a push to it goes to every device", "provision", "--board", "lamp", "--name", "all"),
        (2, "a tag cannot be empty", "device", "tag", "lamp-0", ""),
        (1, "did you mean builder?", "token", "revoke", "bulider"),
        (2, "unknown chip 'esp32c33': did you mean esp32c3?", "board", "add", "x", "--chip", "esp32c33"),
        (2, "unknown chip 'z80'; known: esp8266 esp32 ", "board", "add", "x", "--chip", "z80"),
    ):
        result = fleet.ctl.run(*words, code=code)
        assert said in result.err, repr(result)
    # What is there takes nothing for another reason.
    assert "did you mean" not in fleet.ctl.run("push", image, "--to", "tag=kitchen,name!=lamp-0", code=1).err
    assert fleet.ctl.json("image", "list") == []


def test_values_that_are_none_end_2(fleet):
    fleet.add(1)
    image = fleet.image("1.0.0")
    for said, *words in (
        ("pending, approved or revoked", "device", "list", "--state", "odd"),
        ("pending, approved or revoked", "device", "list", "--to", "state=odd"),
        ("admin, operator, uploader or viewer", "token", "create", "x", "--role", "king"),
        ("--timeout is for a push that waits", "push", image, "--to", "lamp-0", "--timeout", "5s"),
        ("--accept-served is for a push that waits", "push", image, "--to", "lamp-0", "--accept-served"),
        ("--hold needs --all or --to", "push", image, "--hold"),
        ("NAME:SIZE, such as", "board", "add", "x", "--component", "app:200Q"),
        ("NAME:SIZE, such as", "board", "add", "x", "--component", "app:-1"),
        ("NAME:SIZE, such as", "board", "add", "x", "--component", "app:5000M"),
        ("such as 4096 or 4K", "provision", "--board", "lamp", "--region", "4KB"),
        ("unexpected argument 'lamp'; usage: otactl provision [OPTION...]", "provision", "lamp"),
        ("90m, 12h or 30d", "token", "create", "x", "--expires", "30"),
        ("90m, 12h or 30d", "enroll", "create", "--board", "lamp", "--expires", "20y"),
        ("--uses takes a number", "enroll", "create", "--board", "lamp", "--uses", ""),
        ("is no tag", "device", "tag", "lamp-0", "a b"), ("is no name", "device", "rename", "lamp-0", "a b"),
    ):
        result = fleet.ctl.run(*words, code=2)
        assert said in result.err, repr(result)
    assert fleet.ctl.json("image", "list") == [] and fleet.ctl.json("rollout", "list") == []
    secrets = fleet.ctl.json("enroll", "list")
    assert "is empty" in fleet.ctl.run("enroll", "create", "--board", "lamp", "-o", "", code=2).err
    assert fleet.ctl.json("enroll", "list") == secrets
    made = fleet.ctl.json("board", "add", "big", "--component", "app:0x1e0000", "--component", "b:1M", "--component", "c:192KiB",
                          "--component", "d:7")
    assert [part["slot_size"] for part in made["components"]] == [0x1e0000, 1 << 20, 192 << 10, 7]


def test_a_file_for_a_known_device_names_it(fleet, folder):
    fleet.add(1)
    row = fleet.devices()["lamp-0"]
    made = fleet.ctl("provision", "--device", row["id"][:8], "-o", folder / "new.prov")
    assert "provisioned lamp-0, a lamp" in made.err and "device approve lamp-0" in made.err, repr(made)
    assert row["serial"] not in made.err, repr(made)


def test_nothing_is_asked_for_in_vain(bare, folder):
    data, archive = bare.otad.data, folder / "there.tar"
    otad = [BIN / "otad"]
    archive.write_bytes(b"x")
    for said, *words in (
        ("exists already", "backup", archive), ("missing", "backup", folder / "missing/b.tar"),
        ("otad.db", "backup", folder / "b.tar", "--data", folder / "nothing"),
        ("not empty", "restore", archive), ("missing.tar", "restore", folder / "missing.tar", "--data", folder / "new"),
        ("is a folder", "restore", folder, "--data", folder / "new"),
        ("cannot make", "restore", archive, "--data", folder / "no/such"),
    ):
        where = [] if "--data" in words else ["--data", data]
        result = on_terminal([*otad, *words, "--with-keys", *where], [])
        assert result.code != 0 and said in result.out and "passphrase" not in result.out, repr(result)
    # A pipe is there once: nobody looks into it beforehand.
    os.mkfifo(folder / "pipe")
    writer = threading.Thread(target=(folder / "pipe").write_bytes, args=(b"x" * 512,))
    writer.start()
    result = on_terminal([*otad, "restore", "--with-keys", folder / "pipe", "--data", folder / "new"],
                         [("in the backup: ", "a passphrase")])
    writer.join()
    assert result.code == 1 and "archive" in result.out, repr(result)
    nobody = f"http://127.0.0.1:{harness.free_port()}"
    login = on_terminal([BIN / "otactl", "login", nobody], [], env=bare.ctl.env)
    assert login.code == 1 and "is otad running there?" in login.out and "token (" not in login.out, repr(login)
    wrong = on_terminal([BIN / "otactl", "login", bare.otad.url], [("makes one): ", "otad_wrong")], env=bare.ctl.env)
    assert wrong.code == 1 and "token" in wrong.out.split("makes one): ")[1], repr(wrong)
    empty = on_terminal([BIN / "otactl", "login", bare.otad.url], [("makes one): ", "")], env=bare.ctl.env)
    assert empty.code == 1 and "no token was given" in empty.out, repr(empty)


def test_ctrl_c_at_a_hidden_question(bare, folder):
    env = {name: value for name, value in bare.ctl.env.items() if name != "OTACTL_PASSPHRASE"}
    for prompt, *argv in (
        ("in the backup: ", BIN / "otad", "backup", "--with-keys", folder / "b.tar", "--data", bare.otad.data),
        ("root key: ", BIN / "otactl", "init", "--key", folder / "root.pem"),
        ("makes one): ", BIN / "otactl", "login", bare.otad.url),
    ):
        result = on_terminal(argv, [(prompt, CTRL_C)], env=env)
        assert result.code == -signal.SIGINT and result.echo, repr(result)
        assert result.out.split(prompt)[1].strip() in ("", "^C"), repr(result)
    assert not os.path.exists(folder / "b.tar") and not os.path.exists(folder / "root.pem")
