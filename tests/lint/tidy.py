#!/usr/bin/env python3
"""clang-tidy over the compiled sources; a file whose text, headers and flags passed before is not looked at again.

usage: tidy.py BUILD-DIR [FILE...]		these files
       tidy.py BUILD-DIR --also [FILE...]	all but those of the tests, and these
       tidy.py BUILD-DIR --all
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

from tree import ROOT

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.M)


def closure(path, seen):
    """`path` and all of our own headers it leads to."""
    if path in seen or not path.is_file():
        return
    seen.add(path)
    for header in INCLUDE.findall(path.read_text(encoding="utf-8", errors="replace")):
        for base in (ROOT, path.parent, ROOT / "device-agent/include"):
            if (base / header).is_file():
                closure((base / header).resolve(), seen)
                break


def key(entry, salt):
    seen = set()
    closure(pathlib.Path(entry["file"]).resolve(), seen)
    digest = hashlib.sha256(salt + entry["command"].encode())
    for path in sorted(seen):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def tidy(build, entry):
    return subprocess.run(
        ["clang-tidy", "--quiet", "-p", str(build), "--extra-arg=-Wno-unknown-warning-option", "--extra-arg=-Wno-error",
         entry["file"]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=False)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    words = sys.argv[2:]
    named = {str((ROOT / name).resolve()) for name in words if not name.startswith("--")}
    entries = {entry["file"]: entry for entry in json.loads((build / "compile_commands.json").read_text())}
    chosen = [entry for name, entry in sorted(entries.items()) if name in named or words[:1] == ["--all"]
              or words[:1] == ["--also"] and not name.startswith(str(ROOT / "tests"))]
    for entry in chosen:
        # The output file and the build folder are no part of what is checked.
        entry["command"] = " ".join(word for word in shlex.split(entry["command"]) if not word.endswith((".o", ".d")))
    version = subprocess.run(["clang-tidy", "--version"], stdout=subprocess.PIPE, check=True).stdout
    salt = (ROOT / ".clang-tidy").read_bytes() + (ROOT / "tests/.clang-tidy").read_bytes() + version
    cache = ROOT / "build/lint/tidy"
    cache.mkdir(parents=True, exist_ok=True)
    todo = [(entry, cache / key(entry, salt)) for entry in chosen]
    fresh = [(entry, mark) for entry, mark in todo if not mark.exists()]
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for (entry, mark), result in zip(fresh, pool.map(lambda pair: tidy(build, pair[0]), fresh)):
            if result.returncode:
                bad += 1
                print(result.stdout.strip() or result.stderr.strip())
            else:
                mark.touch()
    print(f"{len(chosen)} files, {len(fresh)} looked at, {bad} with findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
