"""A release that is retired: when it may be, what it frees, what is left of it."""
import pytest

from harness import programs_missing, wait_for

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl", "ota-agent")), reason="skipped: programs missing")


def test_a_retired_release_frees_the_disk(make_fleet):
    """What was assigned once stays as history; its bytes may go when no device needs them any more."""
    fleet = make_fleet(broker=False)
    fleet.init()
    fleet.board()
    ctl = fleet.ctl

    def pushed(version):
        ctl("push", fleet.image(version, size=200_000), "--version", version, "--all", "--wait", "--timeout", "60s")
        return ctl.json("release", "show", version)["images"][0]["sha256"]

    def refused(words, *command):
        result = ctl.run(*command)
        assert result.code == 1 and words in result.err, (result.code, result.err)

    device = fleet.agent("lamp-0", "lamp")
    wait_for("the device", lambda: fleet.devices().get("lamp-0", {}).get("state") == "approved")
    first = pushed("1.0.0")
    refused("otactl release retire", "release", "remove", "1.0.0")
    refused("a device runs lamp:1.0.0", "release", "retire", "1.0.0")
    pushed("2.0.0")
    refused("what it reverts to", "release", "retire", "1.0.0")
    pushed("3.0.0")
    assert device.stop() == 0
    blob = next(path for path in fleet.otad.data.joinpath("blobs").rglob(f"*{first[2:]}*"))
    refused("a release uses image", "image", "remove", first)
    assert ctl.json("release", "retire", "1.0.0") == {"retired": "lamp:1.0.0"}
    assert "retired" in ctl("release", "retire", "1.0.0").out
    refused("is retired", "push", fleet.image("1.0.0", size=200_000), "--version", "1.0.0", "--all", "-y")
    ctl("image", "remove", first)
    wait_for("the disk", lambda: not blob.exists())
    shown = ctl.json("release", "show", "1.0.0")
    assert shown["retired"] and shown["images"][0]["sha256"] == first
    assert "1.0.0" in ctl("release", "list").out and "retired" in ctl("release", "show", "1.0.0").out
    assert len(ctl.json("rollout", "list")) == 3 and "1.0.0" in ctl("log", "lamp-0").out
    # What is still to be installed stays too.
    ctl("push", fleet.image("4.0.0"), "--version", "4.0.0", "--all")
    refused("still to install lamp:4.0.0", "release", "retire", "4.0.0")
