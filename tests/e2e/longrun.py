"""The frame of a long form in tests/long: a folder, fleets that are taken down, no sanitizer report, an exit code."""
import argparse
import contextlib
import pathlib
import sys
import tempfile

import harness


@contextlib.contextmanager
def place(row):
    """(folder, make_fleet) as the fixtures of the same names; problems at the end are an AssertionError."""
    with tempfile.TemporaryDirectory(prefix=f"otad-{row}-") as name:
        folder, made = pathlib.Path(name), []

        def make_fleet(**how):
            home = folder / f"fleet{len(made)}" if made else folder
            home.mkdir(exist_ok=True)
            made.append(harness.Fleet(home, **{"otad_args": [], **how}))
            return made[-1]

        problems = []
        try:
            yield folder, make_fleet
        finally:
            for fleet in made:
                problems += fleet.close()
        problems += [path.read_text(errors="replace")[:4000] for path in harness.sanitizer_reports(folder)]
        assert not problems, "\n".join(problems)


def main(row, run, **numbers):
    """Run run(**numbers) with what argv says of the numbers; true is good."""
    parser = argparse.ArgumentParser(prog=row)
    for name, value in numbers.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    try:
        good = run(**vars(parser.parse_args()))
    except AssertionError as wrong:
        print(f"{row}: FAILED\n{wrong}", file=sys.stderr)
        good = False
    sys.exit(0 if good else 1)
