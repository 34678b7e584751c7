#!/usr/bin/env python3
"""Line and branch coverage by folder out of a build made with --coverage. usage: coverage.py BUILD-DIR [--need FOLDER-OR-FILE:LINES:BRANCHES]...

gcov's JSON of every object is merged: a line or branch counts as covered when any program took it.
"""
import argparse
import collections
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ["proto", "db", "server", "cli", "device-agent/src", "device-agent/boot", "device-agent/ports/posix"]


def gather(build):
    """{file: ({line: count}, {(line, n): count})}"""
    found = collections.defaultdict(lambda: (collections.Counter(), collections.Counter()))
    notes = sorted(map(str, build.rglob("*.gcda")))
    for start in range(0, len(notes), 50):
        out = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", *notes[start:start + 50]],
                             cwd=build, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
        for text in out.splitlines():
            for entry in json.loads(text)["files"]:
                path = pathlib.Path(build, entry["file"])
                path = path if path.exists() else ROOT / entry["file"]
                try:
                    name = str(path.resolve().relative_to(ROOT))
                except ValueError:
                    continue
                lines, branches = found[name]
                for line in entry["lines"]:
                    lines[line["line_number"]] += line["count"]
                    for number, branch in enumerate(line["branches"]):
                        branches[line["line_number"], number] += branch["count"]
    return found


def share(counts):
    return 100.0 * sum(1 for count in counts if count) / len(counts) if counts else 100.0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--need", action="append", default=[])
    args = parser.parse_args()
    found = gather(args.build.resolve())
    needs = {folder: (float(lines), float(branches)) for folder, lines, branches in
             (need.split(":") for need in args.need)}
    failed = 0
    print(f"{'folder':<28}{'lines':>8}{'branches':>10}")
    for folder in [*FOLDERS, *(need for need in needs if need not in FOLDERS)]:
        mine = {name: counts for name, counts in found.items()
                if name == folder or name.startswith(folder + "/") and name.endswith(".c")}
        if not mine:
            continue
        lines = share([count for counts in mine.values() for count in counts[0].values()])
        branches = share([count for counts in mine.values() for count in counts[1].values()])
        need = needs.get(folder, (0, 0))
        short = lines < need[0] or branches < need[1]
        failed += short
        print(f"{folder:<28}{lines:7.1f}%{branches:9.1f}%" + (f"   below {need[0]:.0f} / {need[1]:.0f}" if short else ""))
        if short:
            for name, counts in sorted(mine.items(), key=lambda item: share(item[1][0].values())):
                print(f"    {name:<36}{share(counts[0].values()):6.1f}%{share(counts[1].values()):8.1f}%")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
