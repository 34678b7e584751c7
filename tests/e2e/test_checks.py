"""The checks themselves: each one sees what it is there for."""
import subprocess
import sys

import pytest

from harness import ROOT, esp32_image

sys.path[:0] = [str(ROOT / "tests/lint"), str(ROOT / "tests/tools")]

import arrows  # noqa: E402
import counts  # noqa: E402


@pytest.mark.parametrize("name,text,breach", [
    ("server/a.c", '#include "db/x.h"\n#include "proto/x.h"\n#include <microhttpd.h>\n', None),
    ("db/a.c", '#include "server/x.h"\n', "db may not use server"),
    ("cli/a.c", '#include "db/x.h"\n', "cli may not use db"),
    ("proto/a.c", '#include "db/x.h"\n', "proto may not use db"),
    ("device-agent/src/a.c", '#include "cli/x.h"\n', "device-agent may not use cli"),
    ("server/a.c", '#include "proto/none.h"\n', "does not exist"),
    ("proto/a.c", "#include <stdio.h>\n", "is freestanding"),
    ("device-agent/src/a.c", "#include <stdlib.h>\n", "is freestanding"),
    ("device-agent/ports/posix/a.c", "#include <stdlib.h>\n", None),
    ("server/a.c", "#include <sqlite3.h>\n", "one pair a layer"),
    ("server/a.c", 'static const char q[] = "SELECT a FROM b";\n', "SQL text"),
    ("db/a.c", 'static const char q[] = "SELECT a FROM b";\n', None),
])
def test_arrows(tmp_path, monkeypatch, name, text, breach):
    for folder in ("server", "db", "proto", "cli"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.h").write_text("#pragma once\n")
    (tmp_path / "server/other.c").write_text("#include <sqlite3.h>\n")
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    monkeypatch.setattr(arrows, "ROOT", tmp_path)
    found = arrows.check([name, "server/other.c"])
    if breach is None:
        assert found == []
    else:
        assert len(found) == 1 and breach in found[0], found


def junit(body):
    return f'<testsuite name="x">{body}</testsuite>'


@pytest.mark.parametrize("body,line,code,strict", [
    ('<testcase name="a"/>', "1 passed, 0 failed, 0 skipped", 0, 0),
    ('<testcase name="a"/><testcase name="b"><failure/></testcase>', "1 passed, 1 failed, 0 skipped", 1, 1),
    ('<testcase name="a"/><testcase name="b"><skipped message="needs root"/></testcase>',
     "1 passed, 0 failed, 1 skipped", 0, 1),
    ('<testcase name="a"/><testcase name="b"><skipped message="skipped: no shared data"/></testcase>',
     "1 passed, 0 failed, 1 skipped", 0, 0),
    # A cmocka program that passed, with a skip inside.
    ('<testcase name="a" status="run"><system-out>[  PASSED  ] 5 test(s).\n[  SKIPPED ] 2 test(s), listed below:\n'
     "</system-out></testcase>", "5 passed, 0 failed, 2 skipped", 0, 1),
    # One that crashed after its first group.
    ('<testcase name="a" status="fail"><failure/><system-out>[  PASSED  ] 5 test(s).\n</system-out></testcase>',
     "5 passed, 1 failed, 0 skipped", 1, 1),
    ("", "0 passed, 0 failed, 0 skipped", 1, 1),
])
def test_counts(tmp_path, body, line, code, strict):
    (tmp_path / "t.xml").write_text(junit(body))
    for flags, expected in ([], code), (["--strict"], strict):
        done = subprocess.run([sys.executable, counts.__file__, *flags, tmp_path / "t.xml"], stdout=subprocess.PIPE, text=True,
                              env={"OTA_SHARED": str(tmp_path / "absent")}, check=False)
        assert done.stdout.splitlines()[-1] == line
        assert done.returncode == expected


def test_no_shared_data_is_no_excuse_where_it_is(tmp_path):
    (tmp_path / "t.xml").write_text(junit('<testcase name="a"/><testcase name="b"><skipped message="skipped: no shared data"/>'
                                          "</testcase>"))
    done = subprocess.run([sys.executable, counts.__file__, "--strict", tmp_path / "t.xml"], stdout=subprocess.PIPE,
                          env={"OTA_SHARED": str(tmp_path)}, check=False)
    assert done.returncode == 1


def test_a_runner_that_ended_badly_is_a_failure(tmp_path):
    (tmp_path / "t.xml").write_text(junit('<testcase name="a"/>'))
    done = subprocess.run([sys.executable, counts.__file__, "--failed", "1", tmp_path / "t.xml"], stdout=subprocess.PIPE,
                          check=False)
    assert done.returncode == 1


def test_images_that_are_made_are_the_same_every_time():
    assert esp32_image("1.0", size=5000) == esp32_image("1.0", size=5000) != esp32_image("1.1", size=5000)
