"""What otactl keeps to itself: a token is shown to the server alone, a passphrase is taken whole, a file with a secret is its
owner's."""
import os
import subprocess

import pytest

import harness
from harness import BIN, programs_missing
from meddler import Meddler
from terminal import on_terminal

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl")), reason="skipped: programs missing")


@pytest.fixture(scope="module")
def otad(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secrets")
    port = harness.free_port()
    made = harness.Otad(folder, args=["--listen", f"https://127.0.0.1:{port}"]).start()
    made.tls = f"https://127.0.0.1:{port}"
    made.token = (made.data / "admin.token").read_text().strip()
    yield made
    assert made.stop() == 0
    assert not harness.sanitizer_reports(folder)


@pytest.fixture
def ctl(otad, tmp_path):
    return harness.Otactl(otad, env={"XDG_CONFIG_HOME": str(tmp_path), "OTAD_DATA": "", "OTACTL_TOKEN": otad.token})


def test_no_token_goes_through_a_proxy(otad, ctl):
    with Meddler(otad) as proxy:
        for name in ("http_proxy", "all_proxy", "ALL_PROXY"):
            for url in (otad.url, otad.url.replace("127.0.0.1", "localhost")):
                assert ctl("board", "list", "--url", url, env={name: proxy.url}).code == 0
        assert ctl("login", otad.url, env={"http_proxy": proxy.url}).code == 0
        assert ctl("board", "list", "--data", otad.data, env={"http_proxy": proxy.url, "OTACTL_TOKEN": ""}).code == 0
        assert proxy.asked == []
        # Over TLS it is asked for a way to the server, and hears no more.
        ctl("board", "list", "--url", otad.tls, env={"https_proxy": proxy.url}, code=1)
        [(line, headers)] = proxy.asked
        assert line.startswith(f"CONNECT {otad.tls[8:]} ") and "Authorization" not in headers, (line, headers)


def test_only_a_person_accepts_an_unseen_key(otad, ctl, tmp_path):
    stored = tmp_path / "otactl/login"
    refused = ctl("-y", "login", otad.tls, code=2)
    assert "run again with --fingerprint sha256//" in refused.err and not stored.exists(), repr(refused)
    question, argv = "Is it the same? [y/N] ", [BIN / "otactl", "-y", "login", otad.tls]
    for answer in ("", "n", "-y"):
        no = on_terminal(argv, [(question, answer)], env=ctl.env)
        assert no.code == 1 and "otactl: nothing was sent or stored" in no.out and not stored.exists(), repr(no)
    keyless = ctl("login", otad.url, "--fingerprint", "sha256//x", code=2)
    assert "an https:// server's key" in keyless.err and not stored.exists(), repr(keyless)
    yes = on_terminal(argv, [(question, "y")], env=ctl.env)
    assert yes.code == 0 and "logged in to" in yes.out and stored.exists(), repr(yes)


def test_a_passphrase_is_taken_whole(otad, ctl, tmp_path):
    key, file = tmp_path / "root.pem", tmp_path / "passphrase"
    words = ["--data", otad.data, "init", "--key", key]
    long = "otactl: a passphrase has at most 254 bytes; nothing was done"
    for text in (b"x" * 255, b"x" * 255 + b"\n", b"x" * 4000 + b"\n"):
        file.write_bytes(text)
        assert long in ctl(*words, "--passphrase-file", file, code=2).err
        assert long in ctl(*words, code=2, env={"OTACTL_PASSPHRASE": text.decode().strip()}).err
    for text, said, code in ((b"12345678\0rest of it\n", "cannot read", 1), (b"", "cannot read", 1),
                             (b"1234567\n", "at least 8", 2), (b"\n12345678\n", "at least 8", 2)):
        file.write_bytes(text)
        assert said in ctl(*words, "--passphrase-file", file, code=code).err
    asked = {k: v for k, v in ctl.env.items() if k != "OTACTL_PASSPHRASE"}
    argv = [BIN / "otactl", *words]
    prompt = "passphrase for the new root key: "
    assert long in on_terminal(argv, [(prompt, "x" * 300)], env=asked).out
    assert "passphrases differ" in on_terminal(argv, [(prompt, "one long word"), ("once more: ", "another")], env=asked).out
    assert not key.exists()
    file.write_bytes(b"x" * 254 + b"\nmore\0")
    assert ctl(*words, "--passphrase-file", file).code == 0 and key.exists()
    # A pipe that its writer keeps open; the root is there already, so it is read and refused.
    reader, writer = os.pipe()
    os.write(writer, b"correct horse\n")
    piped = subprocess.run([*map(str, argv[:-1]), str(tmp_path / "other.pem"), "--passphrase-file", f"/dev/fd/{reader}"], env=ctl.env,
                           pass_fds=[reader], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    os.close(reader)
    os.close(writer)
    assert piped.returncode == 1 and "passphrase" not in piped.stderr, piped.stderr


def test_a_file_with_a_secret_is_its_owners(make_fleet, folder):
    fleet = make_fleet(broker=False)
    fleet.init()
    fleet.board()

    def made(path, mode, *words):
        path.write_bytes(b"")
        path.chmod(mode)
        with open(path, "wb") as out:
            done = subprocess.run([BIN / "otactl", *words], stdout=out, stderr=subprocess.PIPE, check=True, text=True,
                                  env={**os.environ, **harness.sanitizer_env(folder, path.name), **fleet.ctl.env})
        assert path.read_bytes() and "warning" not in done.stderr, done.stderr
        return path.stat().st_mode & 0o777

    for n, words in enumerate((["provision", "--board", "lamp"], ["token", "create", "a-token"], ["--json", "token", "create", "another"],
                               ["enroll", "create", "--board", "lamp"])):
        for mode in (0o644, 0o660, 0o600)[:1 if "token" in words else 3]:
            assert made(folder / f"{n}-{mode:o}", mode, *words) == mode & 0o700, words
    assert made(folder / "list", 0o644, "token", "list") == 0o644
    fleet.ctl("provision", "--board", "lamp", "-o", folder / "named.prov")
    assert (folder / "named.prov").stat().st_mode & 0o777 == 0o600
    # Through a pipe it is the reader's.
    assert fleet.ctl("provision", "--board", "lamp").raw
