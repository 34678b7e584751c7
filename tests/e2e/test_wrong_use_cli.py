"""Wrong use of every command of otactl, enumerated: the commands, their options and how many arguments they take come from
otactl itself. Every refusal ends as documented, says one clear line, prints nothing, and changes nothing."""
import concurrent.futures
import itertools
import os
import pathlib
import re
import subprocess

import pytest

import harness
from harness import BIN
from wronguse import State, a_world

FAILED, USAGE = 1, 2
counter = itertools.count()


class Row:
    """What the machine cannot know of a command. {words} name things of the World.

    good: arguments that work; unknown: {what to say: arguments} that name nothing (exit 1); values: for each option that
    takes a value, values that are no good (none: any text is a good one); changes: it changes the server; root: fails
    until there is a root; local: it asks no server; reads: it prints something that a full disk could not take."""

    def __init__(self, good=(), unknown=None, values=None, changes=False, root=False, local=False, reads=False, usage=None):
        self.good, self.unknown, self.values = [*good], unknown or {}, values or {}
        self.changes, self.root, self.local, self.reads, self.usage = changes, root, local, reads, usage or {}


TIMES = ["soon", "-1", "1x", "", "1h30m", "99999999999999999999h"]
ROWS = {
    "login": Row(["{url}"], {"is otad running there?": ["http://127.0.0.1:1"]}, {"fingerprint": []}, local=True,
                 usage={"http": ["nonsense"], "use https": ["http://192.0.2.7:8484"]}),
    "logout": Row(local=True),
    "init": Row(unknown={"has root 1": []}, values={"key": [], "passphrase-file": ["/no/such/file"]}),
    "board add": Row(["new", "--chip", "esp32c3"], {"already": ["lamp"]}, {
        "chip": ["a\nb"], "domain": ["a\nb"], "model": ["a\nb"], "vendor-id": ["x"], "class-id": ["x"],
        "component": ["a:b", ":1", "a:-1", "a:1x", "A b"], "client": ["nonsense"]}, changes=True, usage={"name": ["No Name"]}),
    "board list": Row(reads=True), "board show": Row(["lamp"], {"'nobody'": ["nobody"]}, reads=True),
    "board export": Row(["lamp"], {"'nobody'": ["nobody"]}, {"output": ["/no/such/folder/x"]}, reads=True),
    "board remove": Row(["spare"], {"'nobody'": ["nobody"], "lamp": ["lamp"]}, changes=True),
    "enroll create": Row(["--board", "lamp"], {"'nobody'": ["--board", "nobody"]}, {
        "board": ["nobody"], "uses": ["0", "-1", "x", "1.5", "", "99999999999999999999"], "expires": TIMES,
        "output": ["/no/such/folder/x"]}, changes=True),
    "enroll list": Row(reads=True), "enroll revoke": Row(["{secret}"], {"'nobody'": ["nobody"]}, changes=True),
    "provision": Row(["--board", "lamp"], {"'nobody'": ["--board", "nobody"]}, {
        "board": ["nobody"], "name": ["a\nb", "x" * 300], "id": ["x" * 33], "region": ["x", "-1", "0", "1x", "7"],
        "batch": ["/no/such/file", "{file}", "/"], "device": ["nobody", ""],
        "output": ["/no/such/folder/x"]}, changes=True, root=True),
    "push": Row(["lamp:{file}", "--all"], {"No such file": ["/no/such/file", "--all"], "'nobody'": ["nobody:{file}", "--all"],
                                      "nothing was uploaded": ["lamp:{file}", "--to", "tag=nowhere"]}, {
        "version": ["a\nb", "x" * 300, "x" * 64, "a b", ""], "notes": ["x" * 4097, "a\x1bb"], "board": ["nobody", ""], "to": [",", "colour=red", "version<"],
        "timeout": TIMES}, changes=True, root=True, usage={"expected": ["app.={file}"], "exclude": ["{file}", "--all", "--to", "*"]}),
    "cancel": Row(["first"], {"'nobody'": ["nobody"], "no device": ["--device", "nobody"]}, {"device": ["nobody"]}, changes=True,
                  usage={"say what": []}),
    "retry": Row(["first"], {"'nobody'": ["nobody"]}, {"timeout": TIMES}, changes=True),
    "status": Row(unknown={"nobody": ["nobody"]}, reads=True),
    "log": Row(["{device}"], {"'nobody'": ["nobody"]}, reads=True),
    "image list": Row(reads=True), "image show": Row(["{image}"], {"0000": ["0" * 64], "'nobody'": ["nobody"]}, reads=True),
    "image remove": Row(["{spare-image}"], {"0000": ["0" * 64], "'nobody'": ["nobody"], "uses": ["{image}"]}, changes=True),
    "image inspect": Row(["{file}"], {"No such file": ["/no/such/file"], "regular file": ["/"]}, local=True, reads=True),
    "release list": Row(values={"board": ["nobody"]}, reads=True),
    "release show": Row(["lamp:1.0"], {"9.9": ["lamp:9.9"], "nobody": ["nobody:1.0"]}, reads=True),
    "release remove": Row(["lamp:1.1"], {"9.9": ["lamp:9.9"], "nobody": ["nobody:1.0"], "1.0": ["lamp:1.0"]}, changes=True),
    "release retire": Row(["lamp:1.1"], {"9.9": ["lamp:9.9"], "nobody": ["nobody:1.0"]}, changes=True),
    "release envelope": Row(["lamp:1.0"], {"9.9": ["lamp:9.9"]}, {"output": ["/no/such/folder/x"]}, reads=True),
    "release inspect": Row(["{envelope}"], {"No such file": ["/no/such/file"], "no valid release": ["{file}"]},
                           {"key": ["/no/such/file", "{file}"]}, local=True, reads=True),
    "device list": Row(values={"state": ["odd"], "board": ["nobody"], "to": [",", "colour=red", "version<"]}, reads=True),
    "device show": Row(["{device}"], {"'nobody'": ["nobody"]}, reads=True),
    "device approve": Row(["{pending}"], {"'nobody'": ["nobody"]}, changes=True),
    "device reject": Row(["{device}"], {"'nobody'": ["nobody"], "no new key": ["{device}"], "device remove": ["{pending}"]}, changes=True),
    "device ack": Row(["{device}"], {"'nobody'": ["nobody"]}, changes=True),
    "device rename": Row(["{device}", "porch"], {"'nobody'": ["nobody", "x"]}, changes=True,
                         usage={"name": ["{device}", "a\nb"]}),
    "device tag": Row(["{device}", "red"], {"'nobody'": ["nobody", "red"]}, changes=True, usage={"tag": ["{device}", "a b"]}),
    "device hold": Row(["{device}"], {"'nobody'": ["nobody"]}, changes=True),
    "device unhold": Row(["{device}"], {"'nobody'": ["nobody"]}, changes=True),
    "device replace": Row(["-y", "{device}", "{pending}"], {"'nobody'": ["nobody", "{pending}"], "'none'": ["{device}", "none"],
                                                      "itself": ["{device}", "{device}"]}, changes=True),
    "device remove": Row(["-y", "{device}"], {"'nobody'": ["nobody"]}, changes=True),
    "rollout list": Row(reads=True), "rollout show": Row(["first"], {"'nobody'": ["nobody"]}, reads=True),
    "rollout unhold": Row(["first"], {"'nobody'": ["nobody"]}, changes=True),
    "token create": Row(["new"], {"already": ["a-viewer"]}, {"role": ["king", ""], "expires": TIMES}, changes=True),
    "token list": Row(reads=True), "token revoke": Row(["{token}"], {"'nobody'": ["nobody"]}, changes=True),
    "audit list": Row(reads=True),
}


def complete(*words):
    return subprocess.run([BIN / "otactl", "--complete", *words], stdout=subprocess.PIPE, check=True, text=True).stdout.split()


class Command:
    """A command as otactl describes it."""

    def __init__(self, words):
        self.words, self.name = words, " ".join(words)
        shown = subprocess.run([BIN / "otactl", *words, "--help"], stdout=subprocess.PIPE, check=True, text=True).stdout
        usage = re.search(rf"^usage: otactl {self.name}(.*)$", shown, re.M).group(1).replace(" [OPTION...]", "").split()
        self.min = len([word for word in usage if not word.startswith("[") or word.endswith("-...")])
        self.max = None if "..." in "".join(usage) else len(usage)
        own = shown.split("\noptions:\n")[1].split("\noptions of every command:")[0] if "\noptions:\n" in shown else ""
        found = re.findall(r"^  (?:-\w, |    )--([a-z-]+)(?: (\S+))?  ", own, re.M)
        self.options = [name for name, value in found if value]
        self.flags = [name for name, value in found if not value]


def commands():
    for noun in complete():
        if noun.startswith("-"):
            continue
        verbs = [word for word in complete(noun) if not word.startswith("-")]
        yield from (Command([noun, verb]) for verb in verbs) if verbs else [Command([noun])]


COMMANDS = list(commands()) if (BIN / "otactl").exists() else []


def fill(words, names):
    return [re.sub(r"\{([a-z-]+)\}", lambda found: str(names[found[1]]), word) for word in words]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong")
    with a_world(folder) as made:
        made.names = names_of(made, folder)
        made.home = folder / "home"
        made.state = State(made.otad.data)
        yield made


def names_of(world, folder):
    """What the rows may name."""
    (folder / "image.bin").write_bytes(harness.esp32_image("2.0", size=5000))
    (folder / "envelope").write_bytes(world.envelope)
    if "1.1" not in world.api.ask("GET", "/v1/releases")[2].decode():
        world.make("POST", "/v1/releases", board="lamp", version="1.1", images=[{"sha256": world.images[0]}])
    world.api.close()
    return {"device": world.devices["kitchen"].name, "pending": world.devices["attic"].name, "image": world.images[0],
            "spare-image": world.images[1], "token": world.tokens["viewer"]["id"], "secret": world.secret["id"],
            "file": folder / "image.bin", "envelope": folder / "envelope", "url": world.otad.url}


def run(otad, *args, env=None, stdout=subprocess.PIPE):
    number = next(counter)
    home = otad.folder / "home"
    home.mkdir(exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OTACTL", "OTAD_"))}
    given = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "OTAD_DATA": str(otad.data),
             "OTACTL_PASSPHRASE": harness.PASSPHRASE, **(env or {})}
    done = subprocess.run([BIN / "otactl", *args], stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, check=False,
                          timeout=120 * harness.PATIENCE, env={
                              **inherited, **harness.sanitizer_env(otad.folder, f"ctl{number}"),
                              **{name: value for name, value in given.items() if value is not None}})
    return done.returncode, (done.stdout or b"").decode(errors="replace"), done.stderr.decode(errors="replace")


class Probe:
    """Runs the wrong calls, several at once, and collects what is wrong with how they end. A code of None is either."""

    def __init__(self, otad, state):
        self.otad, self.state, self.calls = otad, state, []

    def ask(self, code, words, command, *args, env=None, stdout=subprocess.PIPE):
        self.calls.append((code, words, [*command.words, *args], env, stdout))

    def one(self, call):
        code, words, args, env, stdout = call
        got, out, err = run(self.otad, *args, env=env, stdout=stdout)
        said = [line for line in err.splitlines() if line.startswith("otactl: ")]
        fault = None
        if got not in ((FAILED, USAGE) if code is None else (code,)):
            fault = f"exit {got}, not {code}"
        elif out:
            fault = "something on standard output"
        elif len(said) != 1 or re.search(r"[^.]\.$", said[0]):
            fault = "not one clear line"
        elif words not in err:
            fault = f"does not say {words!r}"
        return fault and f"otactl {' '.join(args)[:120]} {env or ''}: {fault}\n  out: {out[:200]!r}\n  err: {err[:300]!r}"

    def done(self, at_least):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            wrong = [fault for fault in pool.map(self.one, self.calls) if fault]
        changed = self.state.changes() if self.state else None
        if changed:
            wrong.append(f"it changed {changed}")
        assert not wrong, f"{len(wrong)} of {len(self.calls)}:\n" + "\n".join(wrong)
        assert len(self.calls) >= at_least, len(self.calls)


def test_every_command_has_a_row():
    assert {command.name for command in COMMANDS} == set(ROWS)
    assert len(ROWS) > 40
    for command in COMMANDS:
        row = ROWS[command.name]
        assert set(command.options) == set(row.values), command.name
        if command.min or command.max:
            assert row.unknown, command.name


def test_what_is_good_works(tmp_path):
    """Else a call could fail below for another reason than the one thing that is wrong with it."""
    with a_world(tmp_path) as made:
        names = names_of(made, tmp_path)
        last = ("release remove", "push", "device replace", "device remove", "image remove", "board remove", "cancel", "token revoke")
        for command in sorted(COMMANDS, key=lambda command: last.index(command.name) if command.name in last else -1):
            if command.name in ("init", "device replace", "device reject", "cancel", "retry"):
                continue
            env = {"OTACTL_TOKEN": made.token} if command.name == "login" else None
            got, _, err = run(made.otad, *command.words, *fill(ROWS[command.name].good, names), env=env)
            assert got == 0, f"{command.name}: {err}"


def test_calls_that_are_wrong(world):
    """Options and arguments that the command does not take: found before anybody is asked."""
    probe = Probe(world.otad, world.state)
    for command in COMMANDS:
        good = fill(ROWS[command.name].good, world.names)
        probe.ask(USAGE, f"otactl {command.name} --help", command, "--no-such", *good)
        probe.ask(USAGE, "unknown option '-Q'", command, *good, "-Q")
        probe.ask(USAGE, "takes no value", command, *good, "--json=1")
        for option in [*command.options, "data"]:
            probe.ask(USAGE, f"--{option} needs a value", command, *good, f"--{option}")
        for flag in command.flags:
            probe.ask(USAGE, f"--{flag} takes no value", command, *good, f"--{flag}=yes")
        if command.min:
            probe.ask(USAGE, f"usage: otactl {command.name}", command, *["x"] * (command.min - 1))
        if command.max is not None:
            probe.ask(USAGE, f"usage: otactl {command.name}", command, *["x"] * (command.max + 1))
        for words, args in ROWS[command.name].usage.items():
            probe.ask(USAGE, words, command, *fill(args, world.names))
    probe.done(260)


def test_commands_that_are_none():
    class Nothing:
        words = []

    with_verb = [command for command in COMMANDS if len(command.words) == 2]
    otad = type("Nobody", (), {"folder": pathlib.Path(os.environ.get("TMPDIR", "/tmp")), "data": "/no/such/folder"})
    probe = Probe(otad, None)
    probe.ask(USAGE, "unknown command 'nonsense'; see: otactl --help", Nothing, "nonsense")
    probe.ask(USAGE, "did you mean 'device'?", Nothing, "devise", "list")
    for noun in sorted({command.words[0] for command in with_verb}):
        probe.ask(USAGE, f"see: otactl {noun} --help", Nothing, noun)
        probe.ask(USAGE, f"unknown command '{noun} nonsense'", Nothing, noun, "nonsense")
    probe.done(18)
    got, out, err = run(otad)
    assert got == USAGE and not out and err.startswith("usage: otactl ")


def test_names_and_values_of_nothing(world):
    probe = Probe(world.otad, world.state)
    for command in COMMANDS:
        row = ROWS[command.name]
        for words, args in row.unknown.items():
            env = {"OTACTL_TOKEN": world.token} if command.name == "login" else None
            probe.ask(FAILED, words, command, *fill(args, world.names), env=env)
    probe.done(40)


def test_values_of_options(world):
    """Exit 1 where it names what is not there, 2 where it is no value at all: both are one clear line."""
    probe = Probe(world.otad, world.state)
    for command in COMMANDS:
        row = ROWS[command.name]
        for option, values in row.values.items():
            for value in fill(values, world.names):
                probe.ask(None, "", command, *fill(row.good, world.names), f"--{option}={value}")
    probe.done(50)


def test_the_options_of_every_command(world):
    """--url, --token-file, --data and the variables for them."""
    probe = Probe(world.otad, world.state)
    board_list = next(command for command in COMMANDS if command.name == "board list")
    for words, args, env in (
        ("nonsense", ["--url", "nonsense"], {"OTACTL_TOKEN": world.token}), ("ftp://x", ["--url", "ftp://x"], {"OTACTL_TOKEN": "x"}),
        ("URL", ["--url", ""], {"OTACTL_TOKEN": world.token}), ("nonsense", [], {"OTACTL_URL": "nonsense", "OTACTL_TOKEN": "x"}),
        ("token", ["--url", world.otad.url], {}), ("/", ["--url", world.otad.url, "--token-file", "/"], {}),
        ("token", ["--url", world.otad.url], {"OTACTL_TOKEN": ""}), ("token", ["--url", world.otad.url], {"OTACTL_TOKEN": "a\nb"}),
        ("token", ["--url", world.otad.url, "--token-file", "/dev/null"], {}),
        ("https", ["--url", "http://192.0.2.7"], {"OTACTL_TOKEN": world.token}), ("otad.sock", ["--data", ""], {}),
        ("the path", ["--data", "/" + "x" * 120], {}),
    ):
        probe.ask(None, words, board_list, *args, env=env)
    probe.done(12)


def test_servers_that_do_not_answer(world):
    probe = Probe(world.otad, world.state)
    for command in COMMANDS:
        row = ROWS[command.name]
        if row.local:
            continue
        good = fill(row.good, world.names)
        probe.ask(FAILED, "there is no socket", command, *good, "--data", "/no/such/folder")
        probe.ask(FAILED, "http://127.0.0.1:1", command, *good, "--url", "http://127.0.0.1:1", env={"OTACTL_TOKEN": world.token})
        probe.ask(FAILED, "/no/such/file", command, *good, "--url", world.otad.url, "--token-file", "/no/such/file")
    probe.done(110)


def test_tokens_that_do_not_suffice(world):
    probe = Probe(world.otad, world.state)
    for command in COMMANDS:
        row = ROWS[command.name]
        if row.local and command.name != "login":
            continue
        good = fill(row.good, world.names)
        where = ["--url", world.otad.url] if command.name != "login" else []
        for token in ("otad_00000000_" + "A" * 43, world.tokens["revoked"]["token"]):
            probe.ask(FAILED, "token", command, *good, *where, env={"OTACTL_TOKEN": token})
        if row.changes:
            probe.ask(FAILED, "may not", command, *good, *where, env={"OTACTL_TOKEN": world.tokens["viewer"]["token"]})
    probe.done(100)


def test_output_that_cannot_be_written(world):
    probe = Probe(world.otad, world.state)
    with open("/dev/full", "wb") as full:
        for command in COMMANDS:
            if ROWS[command.name].reads:
                for more in ([], ["--json"]):
                    probe.ask(FAILED, "cannot write", command, *fill(ROWS[command.name].good, world.names), *more, stdout=full)
        probe.done(30)


def test_no_root_yet(tmp_path):
    otad = harness.Otad(tmp_path).start()
    try:
        assert run(otad, "board", "add", "lamp", "--chip", "esp32c3")[0] == 0
        (tmp_path / "image.bin").write_bytes(harness.esp32_image("2.0", size=5000))
        state = State(otad.data)
        probe = Probe(otad, state)
        for command in COMMANDS:
            if ROWS[command.name].root:
                probe.ask(FAILED, "no root yet: run otactl init", command,
                          *fill(ROWS[command.name].good, {"file": tmp_path / "image.bin"}))
        probe.done(2)
        state.close()
    finally:
        assert otad.stop() == 0
    assert not harness.sanitizer_reports(tmp_path)
