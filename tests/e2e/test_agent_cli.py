"""ota-agent as a program: wrong use, its files, its lines; no server is needed for most of it."""
import json
import os
import resource
import shutil
import subprocess

import pytest

import harness

pytestmark = pytest.mark.skipif(harness.programs_missing("ota-agent"), reason="not built")


def run(folder, *args, timeout=20):
    done = subprocess.run([harness.BIN / "ota-agent", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=timeout * harness.PATIENCE, check=False,
                          env={**os.environ, **harness.sanitizer_env(folder, "agent")})
    return done.returncode, done.stdout, done.stderr


def one_line(text):
    return text.startswith("ota-agent: ") and text.count("\n") == 1


@pytest.mark.parametrize("args", [
    [], ["--flash"], ["--what"], ["--flash", "f", "more"], ["--flash", "f", "--interval", "x"],
    ["--flash", "f", "--interval", "-1"], ["--flash", "f", "--slot-size", "9999999999"],
    ["--flash", "f", "--component", "too-long-name"], ["--flash", "f", "--component", ""],
    ["--flash", "f", "--component", "a", "--component", "b", "--component", "c"],
])
def test_usage(folder, args):
    code, out, err = run(folder, *args)
    assert code == 2 and out == "" and err


def test_version_and_help(folder):
    assert run(folder, "--version")[0] == 0
    code, out, _ = run(folder, "--help")
    assert code == 0 and "--provision FILE" in out


BAD = {"missing": None, "empty": b"", "junk": b"hello", "huge": bytes(1 << 20), "zeros": bytes(500)}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_provisioning(folder, name):
    prov = folder / name
    if BAD[name] is not None:
        prov.write_bytes(BAD[name])
    code, out, err = run(folder, "--provision", prov, "--flash", folder / "flash")
    assert code == 1 and out == "" and one_line(err) and str(prov) in err
    assert not (folder / "flash").exists()


@pytest.fixture
def provisions(fleet):
    return [fleet.provision(f"one-{i}") for i in range(2)]


@pytest.mark.skipif(harness.programs_missing("otad", "otactl"), reason="not built")
class TestProvisioned:
    def test_damaged(self, folder, provisions):
        good = provisions[0].read_bytes()
        for at in range(0, len(good), 7):
            bad = bytearray(good)
            bad[at] ^= 1
            (folder / "bad.prov").write_bytes(bad)
            code, _, err = run(folder, "--provision", folder / "bad.prov", "--flash", folder / "flash")
            assert code == 1 and one_line(err)
        for end in (0, 1, 100, len(good) - 1):
            (folder / "bad.prov").write_bytes(good[:end])
            assert run(folder, "--provision", folder / "bad.prov", "--flash", folder / "flash")[0] == 1
        (folder / "bad.prov").write_bytes(good + b"x")
        assert run(folder, "--provision", folder / "bad.prov", "--flash", folder / "flash")[0] == 1
        assert not (folder / "flash").exists()

    def test_once(self, folder, provisions):
        args = ["--provision", provisions[0], "--flash", folder / "flash", "--once", "--no-broker"]
        code, out, err = run(folder, *args)
        assert (code, err) == (0, "")
        assert "enrolled: device " in out
        assert (folder / "flash").stat().st_mode & 0o777 == 0o600
        assert not (folder / "flash.new").exists()
        # Again, without the file: all that is needed is in the flash.
        provisions[0].unlink()
        code, out, err = run(folder, *args)
        assert (code, err) == (0, "") and "enrolled" not in out

    def test_another_file_of_the_device(self, fleet, folder, provisions):
        """An enrolled flash does not use it, and says so; without its flash the device enrolls anew."""
        flash, new = folder / "flash", folder / "new.prov"
        args = ["--flash", flash, "--once", "--no-broker"]
        assert run(folder, "--provision", provisions[0], *args)[0] == 0
        code, out, _ = run(folder, "--provision", provisions[0], *args)
        assert code == 0 and "provision:" not in out
        fleet.ctl("provision", "--device", "one-0", "-o", new)
        code, out, _ = run(folder, "--provision", new, *args)
        assert code == 0 and "enrolled" not in out.replace("is enrolled already", "")
        assert "provision: the file is not used: this device is enrolled already; to enroll anew remove " \
               f"'{flash}', its firmware too\n" in out
        code, out, _ = run(folder, "--provision", new, *args, "--json")
        assert [json.loads(line)["event"] for line in out.splitlines()][0] == "provision"
        flash.unlink()
        code, out, _ = run(folder, "--provision", new, *args)
        assert "enrolled: device " in out and "provision:" not in out
        fleet.ctl("device", "approve", "one-0")
        code, out, _ = run(folder, "--provision", new, *args)
        assert code == 0 and "provision:" not in out

    @pytest.mark.skipif(not shutil.which("strace"), reason="skipped: no strace")
    def test_name_is_on_disk(self, folder, provisions):
        """The flash has its name, and that is synced, before anything is sent: a power cut does not lose a device."""
        subprocess.run(["strace", "-qq", "-y", "-f", "-o", folder / "trace", "-e", "trace=fsync,link,linkat,rename,connect",
                        harness.BIN / "ota-agent", "--provision", provisions[0], "--flash", folder / "flash", "--once",
                        "--no-broker"], timeout=60 * harness.PATIENCE, check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, **harness.sanitizer_env(folder, "agent"), "ASAN_OPTIONS": "detect_leaks=0"})
        calls = [line.split(maxsplit=1)[1] for line in (folder / "trace").read_text().splitlines()]
        named = next(i for i, call in enumerate(calls) if call.startswith(("link", "rename")))
        assert any(call.startswith("fsync(") and "flash.new>" in call for call in calls[:named])
        assert calls[named + 1].startswith("fsync(") and calls[named + 1].split("<")[1].startswith(f"{folder}>")

    def test_second_name_of_another_flash(self, folder, provisions):
        """A kill left both names, and the flash was moved away: making a new one leaves it as it is."""
        made = ["--flash", folder / "flash", "--once", "--no-broker"]
        assert run(folder, "--provision", provisions[0], *made)[0] == 0
        os.link(folder / "flash", folder / "flash.new")
        (folder / "flash").rename(folder / "old")
        old = (folder / "old").read_bytes()
        assert run(folder, "--provision", provisions[1], *made)[0] == 0
        assert (folder / "old").read_bytes() == old and (folder / "flash").read_bytes() != old

    def test_another_device(self, folder, provisions):
        assert run(folder, "--provision", provisions[0], "--flash", folder / "flash", "--once")[0] == 0
        code, out, err = run(folder, "--provision", provisions[1], "--flash", folder / "flash", "--once")
        assert code == 1 and out == "" and one_line(err) and "another device" in err
        assert "give it a --flash of its own, or remove this one" in err

    def test_hook_that_cannot_be_run(self, folder, provisions):
        """Said at the start, before an update depends on it; at the first one nothing is made."""
        args = ["--provision", provisions[0], "--flash", folder / "flash", "--once", "--no-broker"]
        for bad in (folder / "none", folder, "no-such-command", ""):
            code, out, err = run(folder, *args, "--exec", bad)
            assert code == 1 and out == "" and one_line(err) and "hook" in err and not (folder / "flash").exists()
        assert run(folder, *args, "--exec", "exit 0")[0] == 0
        code, out, err = run(folder, *args, "--exec", folder / "none")
        assert code == 1 and "polled" not in out
        assert err == f"ota-agent: cannot run the hook '{folder}/none': No such file or directory\n"

    def test_in_use(self, fleet, folder):
        agent = fleet.agent("busy")
        harness.wait_for("the flash", agent.flash.exists, alive=[agent])
        code, out, err = run(folder, "--flash", agent.flash)
        assert code == 1 and out == "" and one_line(err) and "in use" in err

    def test_bad_geometry(self, folder, provisions):
        for more in (["--slot-size", "1000"], ["--erase-unit", "1000"], ["--prog-unit", "3"], ["--slot-size", "4100"]):
            code, _, err = run(folder, "--provision", provisions[0], "--flash", folder / "flash", *more)
            assert code == 1 and one_line(err) and "geometry" in err
        assert not (folder / "flash").exists()

    def test_no_room(self, folder, provisions):
        """A flash that does not fit: said, and nothing left behind."""
        done = subprocess.run([harness.BIN / "ota-agent", "--provision", provisions[0], "--flash", folder / "flash"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=False,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
                              timeout=20 * harness.PATIENCE)
        assert done.returncode == 1 and one_line(done.stderr) and "cannot write flash file" in done.stderr
        assert not list(folder.glob("flash*"))

    def test_damaged_flash(self, folder, provisions):
        flash = folder / "flash"
        assert run(folder, "--provision", provisions[0], "--flash", flash, "--once")[0] == 0
        whole = flash.read_bytes()
        for bad in (b"", whole[:4096], b"X" + whole[1:]):
            flash.write_bytes(bad)
            code, _, err = run(folder, "--flash", flash, "--once")
            assert code == 1 and one_line(err)
        # One copy of the identity is lost: mended from the other.
        flash.write_bytes(whole[:4096] + bytes(4096) + whole[8192:])
        assert run(folder, "--flash", flash, "--once")[0] == 0
        assert flash.read_bytes()[4096:6656] == whole[8192:10752]
        # Both are lost.
        flash.write_bytes(whole[:4096] + bytes(8192) + whole[12288:])
        code, _, err = run(folder, "--flash", flash, "--once")
        assert code == 1 and one_line(err) and "not provisioned" in err

    def test_server_away(self, fleet, folder, provisions):
        fleet.otad.stop()
        code, out, err = run(folder, "--provision", provisions[0], "--flash", folder / "flash", "--once")
        assert code == 1 and "unreached: no answer: " in out and err == ""

    def test_https(self, make_fleet, folder):
        """A server's own certificate is taken only when it is named."""
        fleet = make_fleet(broker=False)
        fleet.init()
        fleet.board()
        port = harness.free_port()
        fleet.otad.argv += ["--listen", f"https://127.0.0.1:{port}"]
        fleet.otad.argv[fleet.otad.argv.index("--public-url") + 1] = f"https://127.0.0.1:{port}/"
        fleet.otad.restart()
        args = ["--provision", fleet.provision("safe"), "--flash", folder / "safe.flash", "--once"]
        code, out, _ = run(folder, *args)
        assert code == 1 and "certificate" in out and "enrolled" not in out
        code, out, _ = run(folder, *args, "--cacert", fleet.otad.data / "tls/cert.pem")
        assert code == 0 and "enrolled" in out

    def test_terminated(self, fleet):
        agent = fleet.agent("ends")
        harness.wait_for("it to enroll", lambda: "enrolled" in agent.text(), alive=[agent])
        assert agent.stop() == 0

    def test_json(self, folder, provisions):
        code, out, _ = run(folder, "--provision", provisions[0], "--flash", folder / "flash", "--once", "--json")
        assert code == 0
        events = [json.loads(line) for line in out.splitlines()]
        assert "enrolled" in [event["event"] for event in events]

    def test_full_output(self, folder, provisions):
        with open("/dev/full", "w") as full:
            done = subprocess.run([harness.BIN / "ota-agent", "--provision", provisions[0], "--flash", folder / "flash",
                                   "--once"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
        assert done.returncode == 1 and b"standard output" in done.stderr


def hook(folder, script):
    path = folder / "hook.sh"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return path


@pytest.mark.skipif(harness.programs_missing("otad", "otactl"), reason="not built")
class TestHook:
    def update(self, fleet, folder, script):
        """An agent on 1.0.0, then a push of 1.1.0 with this hook; the agent."""
        agent = fleet.agent("hooked", args=["--image", folder / "boot.bin", "--exec", hook(folder, script)])
        harness.wait_for("it to enroll", lambda: "enrolled" in agent.text(), alive=[agent])
        fleet.ctl("push", fleet.image("1.0.0"), "--all", "-y")
        fleet.wait_running("1.0.0")
        fleet.ctl("push", fleet.image("1.1.0"), "--all", "-y")
        return agent

    def test_well_after_a_while(self, fleet, folder):
        script = (f'echo "$OTA_SLOT $OTA_IMAGE_SIZE $OTA_SEQUENCE" >> {folder}/seen\n'
                  f'cmp -s "$OTA_IMAGE" {folder}/1.0.0.bin && exit 0\n'
                  f'[ "$(wc -l < {folder}/seen)" -gt 3 ] || exit 7\n'
                  'tail -c +$((OTA_SLOT_OFFSET + 1)) "$OTA_SLOT_FILE" | head -c $OTA_IMAGE_SIZE | cmp -s - "$OTA_IMAGE"\n')
        agent = self.update(fleet, folder, script)
        fleet.wait_running("1.1.0")
        # Told when it changes, not each second.
        assert agent.text().count("health: the hook ended 7: the new firmware is not confirmed yet\n") == 1
        assert agent.text().count("health: the hook ended 0: the new firmware is well\n") == 2
        assert (folder / "boot.bin").read_bytes() == (folder / "1.1.0.bin").read_bytes()

    def test_ill(self, fleet, folder):
        agent = self.update(fleet, folder, f'cmp -s "$OTA_IMAGE" {folder}/1.0.0.bin\n')
        harness.wait_for("it to go back", lambda: "reverted: new firmware was not well" in agent.text(), 60,
                         alive=[agent])
        assert "health: the hook ended 1: the new firmware is ill\n" in agent.text()
        fleet.wait_running("1.0.0")
        assert (folder / "boot.bin").read_bytes() == (folder / "1.0.0.bin").read_bytes()


    def test_gone_during_a_trial(self, fleet, folder):
        """Its program went while an image is on trial: the device goes on, says so, and goes back when it is told."""
        script = f'cmp -s "$OTA_IMAGE" {folder}/1.0.0.bin && exit 0\nexit 7\n'
        agent = self.update(fleet, folder, script)
        harness.wait_for("the trial", lambda: "health: the hook ended 7" in agent.text(), alive=[agent])
        assert agent.stop() == 0
        (folder / "hook.sh").rename(folder / "away")
        agent.start()
        harness.wait_for("it to say so", lambda: "health: the hook ended 127, as a shell says" in agent.text(), alive=[agent])
        hook(folder, "exit 1\n")
        harness.wait_for("it to go back", lambda: "reverted: new firmware was not well" in agent.text(), alive=[agent])
        fleet.wait_running("1.0.0")


@pytest.mark.skipif(harness.programs_missing("otad", "otactl"), reason="not built")
def test_factory_image(fleet, folder):
    """An image in slot 0 with its envelope behind it: its first start is a trial like any, and it is confirmed."""
    size = 4 << 20
    image = fleet.image("0.9.0")
    fleet.ctl("push", image)
    envelope = folder / "envelope"
    fleet.ctl("release", "envelope", "lamp:0.9.0", "--output", envelope)
    data = image.read_bytes()
    factory = folder / "factory.slot"
    factory.write_bytes((data.ljust(size - 1024, b"\xff") + envelope.read_bytes()).ljust(size, b"\xff"))
    agent = fleet.agent("made", args=["--factory", factory, "--image", folder / "boot.bin"])
    fleet.wait_running("0.9.0")
    assert "found by its envelope" in agent.text()
    assert (folder / "boot.bin").read_bytes() == data
    # Too large for the slot, or without an envelope.
    assert agent.stop() == 0
    prov = fleet.provision("other")
    factory.write_bytes(bytes(size + 1))
    code, _, err = run(folder, "--provision", prov, "--flash", folder / "f2", "--factory", factory, "--once")
    assert code == 1 and one_line(err) and "too large" in err
    factory.write_bytes(data)
    code, out, _ = run(folder, "--provision", prov, "--flash", folder / "f3", "--factory", factory, "--once")
    assert code == 0 and "no image in flash" in out
