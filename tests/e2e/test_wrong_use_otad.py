"""Wrong use of every option of otad, enumerated: the options come from otad's help and its manual page; each is tried on the
command line, as a variable and in the settings file."""
import concurrent.futures
import os
import re
import subprocess

import pytest

import harness
from harness import BIN, ROOT

pytestmark = pytest.mark.skipif(not (BIN / "otad").exists(), reason="skipped: no otad")

NUMBER = ["x", "", "-1", "1.5", "1e3", "0x10", "99999999999999999999", " 1", "1 2"]
UNITS = [*NUMBER, "5x", "5 m", "m", "5mm", "9223372036854775807h"]
# What is no good for each option; none: any text will do.
BAD = {
    "data": [], "listen": ["nonsense", "ftp://127.0.0.1:1", "http://127.0.0.1", "http://127.0.0.1:99999", "http://0.0.0.0:1",
                           "http://otad.example:1", "http://127.0.0.1:1=nobody", "http://127.0.0.1:1=", "http://[::1:1"],
    "plain-http": ["maybe", "", "2"], "public-url": ["x", "ftp://x/", "http://", "http://a b/"], "host-names": [],
    "tls-cert": ["/no/such/file"], "tls-key": ["/no/such/file"], "log-level": ["loud", "", "INFO"], "log-format": ["xml", ""],
    "connections": [*NUMBER, "15", "1000001"], "connections-per-address": [*NUMBER, "1000001"],
    "max-image": [*UNITS, "1023", "2000G"], "disk-reserve": [*UNITS, "2000000G"], "max-devices": [*NUMBER, "0", "10000001"],
    "auth-failures": [*NUMBER, "0", "1000001"], "poll": [*UNITS, "9", "8d"], "poll-spread": [*NUMBER, "51"],
    "notice-spread": [*UNITS, "2h"], "public-images": ["maybe", ""], "task-timeout": [*UNITS, "400d"],
    "partial-life": [*UNITS, "59", "400d"], "mqtt": ["x", "http://x", "mqtt://", "mqtt://x:99999", "mqtt://u:p@x"], "mqtt-user": [],
    "mqtt-password": [], "mqtt-password-file": ["/no/such/file"], "mqtt-ca": ["/no/such/file"], "topic-prefix": ["a/#", "+", "x" * 65, "otad/", "/otad", "$SYS", "a b"],
    "device-mqtt": ["x", "http://x", "mqtt://", "mqtt://x:99999", "mqtt://u:p@x"], "device-mqtt-user": [],
    "device-mqtt-password": [], "device-mqtt-password-file": ["/no/such/file"], "config": ["/no/such/file"],
    "check-config": ["maybe", ""],
}
FLAGS = {"plain-http", "public-images", "check-config"}
ARGV_ONLY = {"config", "check-config"}
LISTS = {"listen", "host-names"}  # these repeat
SECRET = {"mqtt-password", "device-mqtt-password"}  # never on the command line


def run(folder, *args, env=None):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTAD_")}
    done = subprocess.run([BIN / "otad", *args], stdin=subprocess.DEVNULL, capture_output=True, check=False,
                          timeout=60 * harness.PATIENCE, env={**clean, **harness.sanitizer_env(folder, "otad"), **(env or {})})
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def sections():
    """{option: its section}, as the manual page has them."""
    found, section = {}, None
    for line in (ROOT / "man/otad.conf.5").read_text().replace("\\-", "-").splitlines():
        if line.startswith(".Ss ["):
            section = re.match(r"\.Ss \[(\w+)\]", line).group(1)
        elif section and line.startswith(".It Ic "):
            found[line.split()[2]] = section
        elif line.startswith(".Sh"):
            section = None
    return found


SECTIONS = sections()


def test_every_option_has_a_row(folder):
    code, out, _ = run(folder, "--help")
    listed = set(re.findall(r"^  --([a-z-]+)", out, re.M))
    assert code == 0 and listed - {"help", "version"} == set(BAD) - SECRET, listed ^ set(BAD)
    assert set(SECTIONS) == set(BAD) - ARGV_ONLY


def held(folder, option, variable, where, got):
    """What is wrong with how otad refused; None: nothing."""
    code, out, err = got
    clear = err.startswith("otad: ") and err.count("\n") == 1 and not err.endswith(".\n")
    if code in (1, 2) and not out and clear and (option in err or variable in err or "/no/such/file" in err) and not (folder / "data").exists():
        return None
    return f"{where}: exit {code} {out!r} {err!r}"


def in_file(folder, number, text):
    path = folder / f"settings{number}"
    path.write_text(text)
    return path


def every(judge, tries, at_least):
    """judge(each), several at once; all that is wrong."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        wrong = [fault for fault in pool.map(lambda one: judge(*one), tries) if fault]
    assert not wrong, f"{len(wrong)} of {len(tries)}:\n" + "\n".join(wrong)
    assert len(tries) >= at_least, len(tries)


def test_values(folder):
    """Every bad value on the command line, some of each in the two other places: exit 2 (1 for a file that is not there), one
    line that names the option."""
    base, tries = ["--data", folder / "data", "--check-config"], []
    for option, values in BAD.items():
        variable = "OTAD_" + option.upper().replace("-", "_")
        more = {"tls-cert": ["--tls-key", "/no/such/file"], "tls-key": ["--tls-cert", "/no/such/file"]}.get(option, [])
        if option not in SECRET:
            tries += [(option, variable, f"--{option}={value}", [*base, *more, f"--{option}={value}"], None) for value in values]
        if option not in ARGV_ONLY:
            for value in dict.fromkeys([*values[:2], *values[-2:]]):
                file = in_file(folder, len(tries), f"# a comment\n[{SECTIONS[option]}]\n{option} = {value}\n")
                tries.append((option, variable, f"{option} = {value}", [*base, *more, "--config", file], None))
                tries.append((option, variable, f"{variable}={value}", [*base, *more], {variable: value}))
    every(lambda option, variable, where, args, env: held(folder, option, variable, where, run(folder, *args, env=env)), tries, 250)


def test_places(folder):
    """An option in the wrong section or twice in the file, a line that is none, an option without its value."""
    base, tries = ["--data", folder / "data", "--check-config"], []
    good = {"log-level": "info", "log-format": "text", "public-url": "http://a/", "max-image": "4k", "poll-spread": "5"}
    for option, section in SECTIONS.items():
        line = f"{option} = {good.get(option, 'yes' if option in FLAGS else '60')}\n"
        other = "limits" if section != "limits" else "server"
        texts = [(f"[{other}]\n{line}", option), (line, option), (f"[nonsense]\n{line}", "nonsense"), (f"[{section}]\n{option}\n", ":2:")]
        if option not in LISTS:
            texts.append((f"[{section}]\n{line}{line}", f":3: option '{option}' stands twice"))
        tries += [([*base, "--config", in_file(folder, len(tries) + i, text)], words, text) for i, (text, words) in enumerate(texts)]
        if option not in FLAGS:
            tries.append((["--data", folder / "data", f"--{option}"], f"--{option}", "no value"))
    for text in ("[server", "[server]x\n", "= 5\n", "[server]\nlog-level info\n", "[server]\n" + "x" * 5000, "\0\n", "[]\n"):
        tries.append(([*base, "--config", in_file(folder, len(tries), text)], "settings", text))

    def judge(args, words, text):
        code, out, err = run(folder, *args)
        if code != 2 or out or words not in err or not err.startswith("otad: ") or err.count("\n") != 1:
            return f"{text[:60]!r} {args[2:]}: exit {code} {out!r} {err!r}"
        return None

    every(judge, tries, 180)
