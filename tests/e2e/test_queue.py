"""A push to a device that tries another firmware just now: it waits, and is carried out when the trial has ended."""
import pytest

from harness import programs_missing, wait_for

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")


class Verdict:
    """What the new firmware says of its health; "not yet" until somebody decides. "ill" is said once: the next one is another."""

    def __init__(self, folder):
        self.path = folder / "verdict"
        self.script = folder / "health"
        self.script.write_text(f'#!/bin/sh\ncase "$(cat {self.path})" in well) exit 0;; ill) : >{self.path}; exit 1;; esac\nexit 2\n')
        self.script.chmod(0o700)
        self.say("well")

    def say(self, word):
        part = self.path.with_suffix(".part")
        part.write_text(word)
        part.rename(self.path)


def device(fleet):
    return fleet.devices()["lamp-0"]


def runs(fleet, version):
    return lambda: (device(fleet).get("running") or {}).get("version") == version


@pytest.fixture(name="tried")
def fixture_tried(fleet, folder):
    """A device on 1.0.0 that has 1.1.0 on trial, as the server knows."""
    verdict = Verdict(folder)
    fleet.verdict = verdict
    fleet.add(1, args=["--exec", verdict.script])
    fleet.ctl("push", fleet.image("1.0.0", size=60_000), "--all", "--wait", "--timeout", "100s")
    verdict.say("not yet")
    fleet.first = fleet.ctl.json("push", fleet.image("1.1.0", size=60_000), "--all")[0]["id"]
    wait_for("the trial", lambda: device(fleet)["assignment"]["state"] == "trial", 60, alive=fleet.agents)
    return fleet


@pytest.mark.parametrize("verdict,ended", [("well", "running"), ("ill", "reverted")])
def test_the_newest_decision_waits_for_the_trial(tried, verdict, ended):
    older = tried.ctl.start("push", tried.image("1.2.0", size=60_000), "--all", "--wait", "--timeout", "100s")
    wait_for("the second push", lambda: len(tried.ctl.json("rollout", "list")) == 3)
    assert "1.2.0 waiting: the trial of 1.1.0 has to end first" in tried.ctl("device", "show", "lamp-0").out
    assert "1.1.0 trial, then 1.2.0" in tried.ctl("status").out
    assert "waits for 1.1.0 to end" in tried.ctl("log", "lamp-0").out
    # The server forgets nothing, and a third push takes the place of the second.
    tried.otad.kill9()
    tried.otad.start()
    newest = tried.ctl.start("push", tried.image("1.3.0", size=60_000), "--all", "--wait", "--timeout", "100s")
    assert older.wait(60) == 1
    assert "superseded by" in older.tail(9), older.tail(9)
    tried.otad.kill9()
    tried.otad.start()
    assert device(tried)["assignment"]["version"] == "1.1.0" and device(tried)["next"]["version"] == "1.3.0"
    assert newest.code() is None
    tried.verdict.say(verdict)
    # The trial of what waited is another one, with another verdict.
    wait_for("the trial to end", lambda: device(tried)["next"] is None, 60, alive=tried.agents)
    tried.verdict.say("well")
    assert newest.wait(100) == 0, newest.tail(9)
    assert runs(tried, "1.3.0")()
    assert tried.ctl.json("rollout", "show", tried.first)["counts"][ended] == 1
    assert f"1.3.0 has waited for this: 1.1.0 ended as {ended}" in tried.ctl("log", "lamp-0").out


def test_what_waits_is_cancelled(tried):
    second = tried.ctl.json("push", tried.image("1.2.0", size=60_000), "--all")[0]["id"]
    assert "withdrawn on 1 device; 0 past" in tried.ctl("cancel", second).out
    third = tried.ctl.json("push", tried.image("1.3.0", size=60_000), "--all")[0]["id"]
    assert "withdrawn on 1 device; 1 past" in tried.ctl("cancel", "--device", "lamp-0").out
    assert device(tried)["next"] is None
    tried.verdict.say("well")
    wait_for("the trial to end", lambda: tried.ctl.json("rollout", "show", tried.first)["state"] == "done", 60, alive=tried.agents)
    assert runs(tried, "1.1.0")()
    assert tried.ctl.json("rollout", "show", third)["state"] == "done"


def test_hold_is_above_what_waits(tried):
    tried.ctl("device", "hold", "lamp-0")
    tried.ctl("push", tried.image("1.2.0", size=60_000), "--all")
    assert device(tried)["next"]["version"] == "1.2.0"
    tried.verdict.say("well")
    wait_for("it to be staged", lambda: (device(tried)["assignment"]["version"], device(tried)["assignment"]["state"]) == (
        "1.2.0", "staged"), 60, alive=tried.agents)
    assert runs(tried, "1.1.0")()
    tried.ctl("device", "unhold", "lamp-0")
    wait_for("it to be installed", runs(tried, "1.2.0"), 60, alive=tried.agents)


def test_the_way_back_waits_too(tried):
    tried.ctl("push", tried.folder / "1.0.0.bin", "--version", "1.0.0-again", "--all")
    tried.verdict.say("well")
    wait_for("the old firmware", runs(tried, "1.0.0-again"), 90, alive=tried.agents)


def test_a_device_is_removed_in_its_trial(tried):
    waiting = tried.ctl.start("push", tried.image("1.2.0", size=60_000), "--all", "--wait", "--timeout", "100s")
    wait_for("what waits", lambda: device(tried)["next"] is not None)
    tried.agents[0].stop()
    tried.ctl("device", "remove", "lamp-0", "-y")
    assert waiting.wait(60) == 1
    assert {row["state"] for row in tried.ctl.json("rollout", "list")} == {"done"}
