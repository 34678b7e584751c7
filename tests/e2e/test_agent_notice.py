"""The broker wakes agents up; without it they go on by themselves."""
import time

import pytest

import harness

pytestmark = pytest.mark.skipif(bool(harness.programs_missing("otad", "otactl", "ota-agent")), reason="not built")

LONG = 600  # seconds between polls: whoever is quicker was woken


def connected(agent, times=1):
    harness.wait_for("the broker", lambda: agent.text().count("connected to the broker") >= times, alive=[agent])


def test_a_push_wakes_them(fleet):
    agents = fleet.add(3, interval_s=LONG)
    for agent in agents:
        connected(agent)
    begin = time.monotonic()
    pushed = fleet.ctl("push", fleet.image("1.0.0"), "--all", "-y")
    assert "broker" not in pushed.err, pushed.err
    fleet.wait_running("1.0.0", deadline_s=60)
    print(f"woken and updated in {time.monotonic() - begin:.1f} s")


def test_the_broker_dies_and_comes_back(fleet):
    woken, polling = fleet.agent("woken", interval_s=LONG), fleet.agent("polling", interval_s=1)
    for agent in (woken, polling):
        connected(agent)
    fleet.broker.kill9()
    for agent in (woken, polling):
        harness.wait_for("it to notice", lambda a=agent: "lost the broker" in a.text(), alive=[agent])
    harness.wait_for("otad to notice", lambda: "the broker does not answer" in fleet.ctl("status").out)
    pushed = fleet.ctl("push", fleet.image("1.0.0"), "--all", "-y")
    assert "the broker is away: devices learn of it at their next poll" in pushed.err, pushed.err
    fleet.wait_running("1.0.0", names=["polling"])
    assert "confirmed" not in woken.text()
    fleet.broker.start()
    connected(woken, 2)
    fleet.wait_running("1.0.0", deadline_s=120)


def test_no_broker_option(fleet):
    agent = fleet.agent("deaf", interval_s=1, args=["--no-broker"])
    harness.wait_for("it to enroll", lambda: "enrolled" in agent.text(), alive=[agent])
    fleet.ctl("push", fleet.image("1.0.0"), "--all", "-y")
    fleet.wait_running("1.0.0")
    assert "broker" not in agent.text()
