"""How a command of otactl ends when the server says less than was asked, or a person ends it: what nobody said is not printed,
and what was done is told."""
import json
import os
import signal
import subprocess

import pytest

from harness import BIN, Agent, programs_missing, sanitizer_env, wait_for
from meddler import Meddler

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")
BUSY = (503, '{"code": "busy", "detail": "busy"}')


def through(fleet, meddler):
    """otactl's environment to ask the meddler."""
    return {"OTACTL_URL": meddler.url, "OTACTL_TOKEN": fleet.token(), "OTAD_DATA": ""}


def complaints(result):
    return [line for line in result.err.splitlines() if line.startswith("otactl: ")]


@pytest.mark.parametrize("answer", [BUSY, (200, ""), (200, "{}"), (200, "[]"), (200, '{"items": null}'), (200, "hello")])
def test_a_list_that_did_not_come_is_not_empty(make_fleet, answer):
    fleet = make_fleet(broker=False)
    with Meddler(fleet.otad, {r"GET /v1/(devices|releases|images|boards|rollouts|tokens|audit|enroll-secrets)\b": answer}) as meddler:
        for words in (["status"], ["device", "list"], ["release", "list"], ["image", "list"], ["board", "list"], ["rollout", "list"],
                      ["token", "list"], ["audit", "list"], ["enroll", "list"]):
            result = fleet.ctl.run(*words, env=through(fleet, meddler), code=1)
            assert result.out == "" and len(complaints(result)) == 1, repr(result)
    with Meddler(fleet.otad, {"GET /v1/status": answer if answer[1][:1] != "{" else BUSY}) as meddler:
        result = fleet.ctl.run("status", env=through(fleet, meddler), code=1)
        assert result.out == "" and len(complaints(result)) == 1, repr(result)


def test_no_closing_table_without_an_answer(fleet):
    fleet.add(1)
    with Meddler(fleet.otad, {"GET /v1/rollouts/[^/]+/assignments": BUSY}) as meddler:
        words, env = ["push", fleet.image("1.0.0"), "--all", "--wait", "--timeout", "60s"], through(fleet, meddler)
        people = fleet.ctl.run(*words, env=env, code=1)
        assert people.out == "1 of 1 seen running it\n" and complaints(people) == ["otactl: busy"], repr(people)
        programs = fleet.ctl.run("--json", *words, env=env, code=1)
        assert [(row["counts"]["running"], "assignments" in row) for row in programs.json()] == [(1, False)], repr(programs)


def test_a_token_that_ends_ends_the_waiting(fleet):
    fleet.add(1)[0].stop()
    gone = '{"code": "unauthorized", "detail": "the token was revoked"}'
    with Meddler(fleet.otad, {"GET /v1/changes": (401, gone)}) as meddler:
        result = fleet.ctl.run("push", fleet.image("1.0.0"), "--all", "--wait", env=through(fleet, meddler), code=1)
        assert "otactl: the token was revoked" in result.err and "the push goes on; follow it" in result.err, repr(result)
        assert result.out == "", repr(result)


@pytest.mark.parametrize("answer, code, said", [
    ({"retried": 0, "shared": False}, 1, ""),
    ({"retried": 1, "shared": False}, 0, "offered again to 1 device\n"),
    ({"retried": 0, "shared": True}, 0, "offered again to 0 devices, not counting those of a retry that was under way already\n"),
    ({"retried": 7, "shared": True}, 0, "offered again to 7 devices, not counting those of a retry that was under way already\n"),
])
def test_a_retry_beside_another(fleet, answer, code, said):
    fleet.add(1)[0].stop()
    push = fleet.ctl.json("push", fleet.image("1.0.0"), "--all")[0]["id"]
    with Meddler(fleet.otad, {"POST /v1/rollouts/[^/]+/retry": (200, json.dumps(answer))}) as meddler:
        result = fleet.ctl.run("retry", push, env=through(fleet, meddler), code=code)
        assert result.out == said and ("nothing to offer again" in result.err) == bool(code), repr(result)


def test_a_reader_that_had_enough(fleet):
    fleet.ctl("board", "list")
    read, write = os.pipe()
    os.close(read)
    gone = subprocess.run([BIN / "otactl", "board", "list"], stdout=write, stderr=subprocess.PIPE, check=False,
                          env={**os.environ, **fleet.ctl.env})
    os.close(write)
    assert (gone.returncode, gone.stderr) == (1, b""), gone


def test_ctrl_c_leaves_one_document(fleet):
    fleet.add(1)[0].stop()
    errors = fleet.folder / "waiting.err"
    with open(errors, "wb") as err:
        waiting = subprocess.Popen([BIN / "otactl", "--json", "push", fleet.image("1.0.0"), "--all", "--wait"], stdout=subprocess.PIPE,
                                   stderr=err, env={**os.environ, **sanitizer_env(fleet.folder, "waiting"), **fleet.ctl.env})
    try:
        wait_for("the push", lambda: "1 waiting" in errors.read_text())
        waiting.send_signal(signal.SIGINT)
        out = waiting.communicate(timeout=60)[0]
    finally:
        waiting.kill()
        waiting.wait()
    assert waiting.returncode == 1
    assert [(row["id"], row["counts"]["waiting"]) for row in json.loads(out)] == [(fleet.ctl.json("rollout", "list")[0]["id"], 1)], out
    assert "the push goes on; follow it: otactl status" in errors.read_text()


def test_what_the_server_did_not_take_was_not_uploaded(fleet):
    full = '{"code": "no-space", "detail": "the disk is full"}'
    with Meddler(fleet.otad, {"PUT /v1/images/": (507, full)}) as meddler:
        result = fleet.ctl.run("push", fleet.image("1.0.0"), env=through(fleet, meddler), code=1)
        assert complaints(result) == ["otactl: the disk is full"] and "make room: otactl" in result.err and "upload:" not in result.err, repr(result)


def test_who_uses_an_image_is_told_where_it_is_known(fleet):
    fleet.ctl("push", fleet.image("1.0.0"))
    image = fleet.ctl.json("image", "list")[0]["sha256"]
    with Meddler(fleet.otad, {"GET /v1/releases": BUSY}) as meddler:
        kept = fleet.ctl.run("image", "remove", image, env=through(fleet, meddler), code=1)
        assert len(complaints(kept)) == 1 and "busy" not in kept.err, repr(kept)


def test_what_changed_nothing_says_so(fleet):
    batch, file = fleet.folder / "batch", fleet.folder / "one.prov"
    fleet.ctl("enroll", "create", "--board", "lamp", "--uses", "2", "-o", batch)
    fleet.ctl("provision", "--batch", batch, "--id", "SN-1", "-o", file)
    fleet.agents.append(Agent("one", fleet.folder, file).start())
    wait_for("it to wait", lambda: [row["state"] for row in fleet.devices().values()] == ["pending"])
    name = next(iter(fleet.devices()))
    assert fleet.ctl.json("device", "approve", name)[0]["changed"] is True
    done = len(fleet.ctl.json("audit", "list"))
    assert fleet.ctl("device", "approve", name).out == f"approved already, nothing waits: {name}\n"
    assert fleet.ctl.json("device", "approve", name)[0]["changed"] is False
    assert fleet.ctl("device", "ack", name).out == f"there is no alarm: {name}\n"
    assert len(fleet.ctl.json("audit", "list")) == done
    fleet.agents[0].stop()
    push = fleet.ctl.json("push", fleet.image("1.0.0"), "--all", "--hold")[0]["id"]
    for said in ("no longer on hold", "it is not on hold: nothing was changed"):
        assert said in fleet.ctl("rollout", "unhold", push).out
    fleet.ctl("device", "rename", name, "porch")
    fleet.ctl("device", "remove", "-y", "porch")
    assert fleet.ctl.run("device", "approve", "porch", code=1).out == ""
