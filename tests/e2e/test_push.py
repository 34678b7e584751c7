"""One operator, one otad, several devices: a push ends with every device seen running it, whatever fails on the way."""
import re

import pytest

from harness import programs_missing, shared, wait_for
from slow_link import SlowLink

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")

KIB = 1024


def set_up(fleet, chip="esp32c3"):
    fleet.init()
    fleet.board("lamp", chip)
    return fleet


def assignment(fleet, name):
    return fleet.devices().get(name, {}).get("assignment") or {}


def test_two_pushes_and_what_the_operator_sees(fleet):
    fleet.add(3)
    for version in ("1.0.0", "1.1.0"):
        fleet.ctl("push", fleet.image(version), "--all", "-y", "--wait", "--timeout", "100s")
        fleet.wait_running(version, deadline_s=5)
    table = fleet.ctl("status").out
    for agent in fleet.agents:
        assert re.search(rf"^{agent.name}\b.*\b1\.1\.0\b", table, re.M), table
    assert "1.1.0" in fleet.ctl("log", fleet.agents[0].name).out


@pytest.mark.parametrize("first,second", [("micropython-esp32-v1.15-app.bin", "micropython-esp32-v1.17-app.bin")])
def test_real_images(make_fleet, first, second):
    images = [shared(f"firmware/{name}") for name in (first, second)]
    fleet = set_up(make_fleet(), "esp32")
    fleet.add(2)
    for image in images:
        fleet.ctl("push", image, "--all", "-y", "--wait", "--timeout", "110s")


def test_a_broker_that_is_away_during_the_push(fleet):
    fleet.add(20, interval_s=2)
    fleet.broker.kill9()
    fleet.ctl("push", fleet.image("2.0.0", size=60_000), "--all", "-y")
    fleet.broker.start()
    fleet.wait_running("2.0.0", deadline_s=150)


def test_without_a_broker(make_fleet):
    fleet = set_up(make_fleet(broker=False))
    fleet.add(20, interval_s=2)
    fleet.ctl("push", fleet.image("2.0.0", size=60_000), "--all", "-y", "--wait", "--timeout", "150s")
    fleet.wait_running("2.0.0", deadline_s=5)


@pytest.mark.parametrize("first", [None, "1.0.0"])
def test_a_power_cut_in_the_middle_of_the_download(make_fleet, first):
    """Of a device that has an image, and of one that has none yet."""
    link = SlowLink(0)
    fleet = make_fleet(public_url=link.url)
    fleet.links.append(link)
    link.target = fleet.otad.port
    set_up(fleet)
    [agent] = fleet.add(1)
    if first:
        fleet.ctl("push", fleet.image(first), "--all", "-y", "--wait", "--timeout", "100s")
    link.rate = 150 * KIB
    image = fleet.image("3.0.0", size=600 * KIB)
    before = link.passed
    fleet.ctl("push", image, "--all", "-y")
    wait_for("a good part of the image to be there", lambda: link.passed - before > 300 * KIB, 60, alive=[agent])
    agent.kill9()
    link.cut()
    agent.start()
    fleet.wait_running("3.0.0", deadline_s=60)
    # What was in flash is hashed, not fetched: at most one piece of it comes again, and what is told beside.
    assert link.passed - before < image.stat().st_size + 64 * KIB + 48 * KIB


def test_a_server_that_is_killed_in_the_middle(make_fleet):
    link = SlowLink(0, 100 * KIB)
    fleet = make_fleet(public_url=link.url)
    fleet.links.append(link)
    link.target = fleet.otad.port
    set_up(fleet)
    fleet.add(2)
    fleet.ctl("push", fleet.image("4.0.0", size=400 * KIB), "--all", "-y")
    before = link.passed
    wait_for("the downloads to have begun", lambda: link.passed - before > 100 * KIB, 60, alive=fleet.agents)
    fleet.otad.kill9()
    fleet.otad.start()
    link.rate = None
    fleet.wait_running("4.0.0", deadline_s=90)


def test_an_agent_that_is_ill_goes_back(fleet):
    fleet.add(1)
    fleet.ctl("push", fleet.image("1.0.0"), "--all", "-y", "--wait", "--timeout", "100s")
    ill = fleet.agents[0]
    ill.stop()
    ill.argv += ["--exec", "false"]
    ill.start()
    push = fleet.ctl.run("push", fleet.image("1.1.0"), "--all", "-y", "--wait", "--timeout", "100s")
    assert push.code == 1, push
    wait_for("the device to run the old version again", lambda: (fleet.devices()["lamp-0"].get("running") or {}).get(
        "version") == "1.0.0", 60, alive=[ill])
    assert re.search(r"revert|fail|ill", push.out + push.err), push


def test_an_image_larger_than_the_slot(fleet):
    """The board does not say how large its slots are; the device does, where the operator looks."""
    small = fleet.add(1, args=["--slot-size", "128K"])[0]
    words = "larger than the device's slot"
    pushed = fleet.ctl.run("push", fleet.image("1.0.0", size=200_000), "--all", "-y", "--wait", "--timeout", "60s", code=1)
    assert words in pushed.out + pushed.err, repr(pushed)
    assert words in fleet.ctl("log", "lamp-0").out and words in fleet.ctl("device", "show", "lamp-0").out
    assert words in small.text() and "profile" not in small.text()
