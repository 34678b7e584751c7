"""Fixtures of the end-to-end tests; see harness.py for what they give."""
import os
import pathlib
import signal

import pytest

import harness


def pytest_addoption(parser):
    parser.addoption("--keep", action="store_true", help="keep the folder of a test (it is printed)")


def children_of(pid):
    """Process ids whose parent is `pid`."""
    try:
        listed = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(word) for word in listed]


@pytest.fixture
def folder(tmp_path, request):
    """A folder of the test's own; at its end no sanitizer may have reported and no child may be left."""
    if request.config.getoption("--keep"):
        print(f"folder: {tmp_path}")
    before = set(children_of(os.getpid()))
    yield tmp_path
    left = set(children_of(os.getpid())) - before
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    reports = harness.sanitizer_reports(tmp_path)
    assert not reports, "sanitizer reports:\n" + "\n".join(
        f"{path.name}:\n{path.read_text(errors='replace')[:6000]}" for path in reports)
    assert not left, f"processes left behind: {sorted(left)}"


@pytest.fixture
def make_fleet(folder):
    """make_fleet(**args of harness.Fleet): a fleet that is taken down with the test."""
    made = []

    def make(**how):
        place = folder / f"fleet{len(made)}" if made else folder
        place.mkdir(exist_ok=True)
        made.append(harness.Fleet(place, **how))
        return made[-1]

    yield make
    problems = [problem for fleet in made for problem in fleet.close()]
    assert not problems, "\n".join(problems)


@pytest.fixture
def bare(make_fleet):
    """otad and a broker, nothing set up yet."""
    return make_fleet()


@pytest.fixture
def fleet(make_fleet):
    """otad with its root, a broker, the board "lamp" (esp32c3), no devices yet."""
    made = make_fleet()
    made.init()
    made.board()
    return made


@pytest.fixture
def broker(folder):
    """A broker alone."""
    process = harness.Broker(folder).start()
    yield process
    process.stop()
