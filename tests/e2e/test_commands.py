"""otad's own commands: where their options may stand, and what `check` and a start say of a database that is damaged."""
import pathlib
import shutil

import pytest

from harness import free_port, programs_missing
from upgrade import otad_command

pytestmark = pytest.mark.skipif(bool(programs_missing("otad", "otactl")), reason="skipped: programs missing")


def run(folder, code, *args):
    done = otad_command(folder, *args)
    assert done.returncode == code, (args, done.stdout)
    return done.stdout


@pytest.fixture
def data(make_fleet):
    """A data directory with something in it; its otad has ended."""
    fleet = make_fleet(broker=False)
    fleet.init()
    fleet.board()
    fleet.ctl("push", fleet.image("1.0.0"))
    assert fleet.otad.stop() == 0
    return fleet.otad.data


def test_options_on_either_side(folder, data):
    for n, words in enumerate((["backup", "{f}", "--data", data], ["--data", data, "backup", "{f}"],
                               ["--data", data, "--plain-http", "backup", "--log-level", "warn", "{f}"],
                               [f"--data={data}", "backup", "--plain-http", "{f}"])):
        archive, copy = folder / f"{n}.backup", folder / f"copy{n}"
        run(folder, 0, *[archive if word == "{f}" else word for word in words])
        assert "1 images" in run(folder, 0, *([["--data", copy, "restore", archive], ["restore", archive, "--data", copy],
                                               ["--plain-http", "--data", copy, "restore", archive],
                                               ["restore", "--data", copy, "--plain-http", archive]][n]))
        assert "1 images, 1 blobs: 0 damaged" in run(folder, 0, "--data", copy, "check")
    assert "there is no socket" in run(folder, 1, "--data", data, "health")
    # A command's name as an option's value is no command.
    assert "cannot open" in run(folder, 1, "check", "--data", folder / "check")


def whole(data):
    """The database in one file: what stands beside it would heal a damage."""
    for name in ("otad.db-wal", "otad.db-shm"):
        pathlib.Path(data / name).unlink(missing_ok=True)


def test_check_says_what_is_damaged(folder, data):
    restored = folder / "restored"
    run(folder, 0, "backup", folder / "one.backup", "--data", data)
    run(folder, 0, "restore", folder / "one.backup", "--data", restored)
    whole(restored)
    size = (restored / "otad.db").stat().st_size

    def broken(name, at, length):
        copy = shutil.copytree(restored, folder / name)
        with open(copy / "otad.db", "r+b") as file:
            file.seek(at)
            old = file.read(length)
            file.seek(at)
            file.write(bytes(byte ^ 0x5A for byte in old))
        return copy

    listen = ("--listen", f"http://127.0.0.1:{free_port()}")
    for name, at, length in (("head", 0, 100), ("schema", 100, 2000)):
        copy = broken(name, at, length)
        # A start says what the check says, and leaves the data as they are.
        before = (copy / "otad.db").read_bytes()
        assert run(folder, 1, "--data", copy, *listen) == run(folder, 1, "check", "--data", copy)
        assert (copy / "otad.db").read_bytes() == before
        said = run(folder, 1, "check", "--data", copy)
        assert said.startswith("otad: the database is damaged: ") and "restore the last backup" in said, said
        assert said.count("\n") == 1, said
    copy = broken("pages", 4096, size - 4096)
    said = run(folder, 1, "--data", copy, *listen)
    assert said.startswith("otad: the database is damaged: ") and "restore the last backup" in said, said
    assert said.count("\n") == 1, said
    said = run(folder, 1, "check", "--data", copy)
    assert "the database is damaged: " in said and "restore the last backup" in said, said
    assert all(line.startswith(("database: ", "otad: ")) or "findings in the database" in line or "image" in line
               for line in said.splitlines()), said
    image = next(path for path in (restored / "blobs").rglob("*") if path.is_file())
    image.chmod(0o600)
    image.write_bytes(b"x" + image.read_bytes()[1:])
    said = run(folder, 1, "check", "--data", restored)
    assert "1 image is damaged" in said and "upload the same file again" in said, said
