"""kill -9 of agents at random moments of an update: each ends on the new image, fetches no more than 64 KiB of it
again after a kill, and never boots an image that is neither the old nor the new one."""
import os
import random
import re
import time

import pytest

import harness

KILLS = int(os.environ.get("OTAD_KILLS", "20"))
SEED = int(os.environ.get("OTAD_SEED", "0")) or random.randrange(1, 1 << 30)
AGENTS = 5
KILLS_AN_UPDATE = 2  # three starts on trial without success are a revert, and rightly
SIZE = 1_500_000
MARK = 65536
SLOT_AT, SLOT_SIZE = 28672, 4 << 20  # of the default flash file

pytestmark = pytest.mark.skipif(harness.programs_missing("otad", "otactl", "ota-agent"), reason="not built")


def common_prefix(a, b):
    """How many bytes at the start are the same."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class Victim:
    """One agent, what it may boot, and how far its download was at each kill."""

    def __init__(self, agent, image):
        self.agent = agent
        self.image = image
        self.mark = len(agent.text())
        self.stored = None
        self.worst = 0
        self.checked_boots = 0

    def new_text(self):
        return self.agent.text()[self.mark:]

    def running_slot(self):
        found = re.findall(r"started: .* in slot (\d)", self.agent.text())
        return int(found[-1]) if found else 1

    def kill(self, new):
        self.check_resume()
        slot = 1 - self.running_slot()
        self.agent.kill9()
        self.check_boot()
        flash = self.agent.flash.read_bytes()
        start = SLOT_AT + slot * SLOT_SIZE
        self.stored = common_prefix(flash[start:start + len(new)], new)
        self.mark = len(self.agent.text())
        self.agent.start()

    def check_resume(self):
        """After a kill: where did the download go on?"""
        if self.stored is None:
            return
        found = re.search(r"resumed: at byte (\d+)|fetching: 0% \((0) of", self.new_text())
        if not found:
            return
        again = self.stored - int(found.group(1) or found.group(2))
        self.worst = max(self.worst, again)
        assert again <= MARK, f"{self.agent.name} fetched {again} bytes again\n{self.agent.tail(40)}"
        self.stored = None

    def check_boot(self):
        """What was booted last is a whole image that somebody released."""
        if self.image.exists():
            assert self.image.read_bytes() in IMAGES, f"{self.agent.name} booted something else"


IMAGES = []


def duration(victims):
    """How long an update takes here, from taking it up to confirming it."""
    harness.wait_for("an update to begin", lambda: "assigned:" in victims[0].new_text(), every_s=0.002)
    begin = time.monotonic()
    harness.wait_for("an update to end", lambda: "confirmed:" in victims[0].new_text(), every_s=0.002)
    return time.monotonic() - begin


# pylint: disable=too-many-locals
def test_kill_agents(fleet, folder):
    chance = random.Random(SEED)
    print(f"seed {SEED} (OTAD_SEED replays), {KILLS} kills")
    IMAGES.clear()
    victims = []
    for i in range(AGENTS):
        image = folder / f"boot-{i}.bin"
        victims.append(Victim(fleet.agent(f"victim-{i}", args=("--image", image)), image))

    def push(version):
        path = fleet.image(version, size=SIZE,)
        IMAGES.append(path.read_bytes())
        for v in victims:
            v.mark = len(v.agent.text())
        fleet.ctl("push", path, "--all", "-y")
        return IMAGES[-1]

    harness.wait_for("them to enroll", lambda: all("enrolled" in v.agent.text() for v in victims))
    push("1.0.0")
    length = duration(victims)
    fleet.wait_running("1.0.0")

    kills, update = 0, 0
    while kills < KILLS:
        update += 1
        version = f"1.0.{update}"
        new = push(version)
        plan = {v: KILLS_AN_UPDATE for v in victims}
        due = {}
        while kills < KILLS and any(plan.values()):
            for victim in victims:
                # From the moment it took the release up, or started again.
                if plan[victim] and victim not in due and re.search("assigned:|started:", victim.new_text()):
                    due[victim] = time.monotonic() + chance.uniform(0, length)
                if kills < KILLS and victim in due and time.monotonic() >= due[victim]:
                    del due[victim]
                    plan[victim] -= 1
                    victim.kill(new)
                    kills += 1
            time.sleep(0.002)
        fleet.wait_running(version)
        for victim in victims:
            victim.check_resume()
            victim.check_boot()
            assert victim.image.read_bytes() == new
            victim.stored = None
    worst = max(v.worst for v in victims)
    resumed = sum(v.agent.text().count("resumed:") for v in victims)
    print(f"{kills} kills in {update} updates of {AGENTS} agents: all on the new image, {resumed} resumed, "
          f"at most {worst} bytes fetched again")

