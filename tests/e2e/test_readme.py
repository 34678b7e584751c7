"""The README's way without Docker, run as it is printed (free ports and this machine's loopback put in)."""
import os
import re
import subprocess

import pytest

from harness import BIN, PASSPHRASE, ROOT, Process, esp32_image, free_port, programs_missing, sanitizer_env, wait_for


def blocks():
    """(is in the background, text) of the blocks marked "run: plain"."""
    return [(bool(mark), text) for mark, text in re.findall(
        r"<!-- run: plain(, background)? -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)]


def test_the_way_without_docker(folder):
    if programs_missing("otad", "otactl", "ota-agent"):
        pytest.skip("skipped: programs missing")
    checkout = folder / "checkout"
    (checkout / "build").mkdir(parents=True)
    (checkout / "build/bin").symlink_to(BIN)
    stub = checkout / "dev"  # the test has built already
    stub.write_text('#!/bin/sh\n[ "$1" = build ]\n')
    stub.chmod(0o755)
    (checkout / "firmware.bin").write_bytes(esp32_image("1.0.0", "lamp", "esp32c3", 150_000))
    env = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / ".config"), "OTACTL_PASSPHRASE": PASSPHRASE}
    port = free_port()
    background, lasting = [], ""
    assert len(blocks()) == 5
    try:
        for number, (is_background, text) in enumerate(blocks()):
            text = text.replace("$(hostname -I | cut -d' ' -f1)", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")
            text = text.replace("8484", str(port))
            if is_background:
                process = Process(f"block{number}", ["bash", "-c", f"{lasting}exec {text}"], folder, env=env, cwd=checkout)
                background.append(process.start())
                word = text.split()[0]
                if word == "otad":
                    wait_for("otad's socket", (folder / "otad-data/otad.sock").exists, alive=[process])
                continue
            if "otactl push" in text:  # what the README says to look for first
                wait_for("the device to be listed", lambda: "kitchen" in subprocess.run(
                    [BIN / "otactl", "device", "list"], stdout=subprocess.PIPE, text=True, check=False,
                    env={**os.environ, **env, "OTAD_DATA": str(folder / "otad-data")}).stdout, alive=background)
            done = subprocess.run(["bash", "-ec", lasting + text], cwd=checkout, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, check=False, timeout=180,
                                  env={**os.environ, **sanitizer_env(folder, f"block{number}"), **env})
            assert done.returncode == 0, f"{text}\n{done.stdout}\n" + "\n".join(p.tail() for p in background)
            # What a shell keeps from one block to the next.
            lasting += "".join(line + "\n" for line in text.splitlines() if line.startswith("export "))
        assert re.search(r"kitchen .*1\.0\.0", done.stdout), done.stdout
    finally:
        for process in reversed(background):
            process.stop()
    assert list((folder / ".otad-root").glob("*.pem")), "no root key where otactl says it is"


def test_the_secret_of_the_way_with_docker_is_private(tmp_path):
    """Its file is made by the reader's shell, not by otactl."""
    text = re.search(r"<!-- run: docker -->\n```sh\n((?:(?!```).)*provision.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    assert " > kitchen.prov" in text
    stub = tmp_path / "otactl"
    stub.write_text("#!/bin/sh\necho secret\n")
    stub.chmod(0o755)
    done = subprocess.run(["bash", "-ec", f"umask 022\n{text}umask"], cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.stdout.split()[-1] == "0022", "the shell keeps a umask that closes the next checkout"
    assert (tmp_path / "kitchen.prov").stat().st_mode & 0o777 == 0o600
