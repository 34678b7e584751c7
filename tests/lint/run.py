#!/usr/bin/env python3
"""All static checks, one line each. usage: run.py [--changed | --all] [--results FILE]

clang-tidy looks at the C files of the tests with --all, else at those of them that differ from main."""
import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

from tree import ROOT, c_files, files

HERE = pathlib.Path(__file__).resolve().parent
BUILD = "build/dev"


def shell_files():
    for name in files():
        path = ROOT / name
        if name.endswith(".sh") or ("." not in path.name and path.read_bytes()[:64].startswith(
                (b"#!/usr/bin/env bash", b"#!/bin/sh", b"#!/bin/bash"))):
            yield name


def changed_since_main():
    out = ""
    for args in (["diff", "--name-only", "--diff-filter=AM", "HEAD"], ["ls-files", "--others", "--exclude-standard"],
                 ["diff", "--name-only", "--diff-filter=AM", "main...HEAD"]):
        out += subprocess.run(["git", *args], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              universal_newlines=True, check=False).stdout
    return set(out.splitlines())


def checks(names, whole):
    """(name, command) of each check; a command of None has nothing to look at."""
    changed = changed_since_main()
    changed_tests = [name for name in c_files() if name.endswith(".c") and name.startswith("tests/") and name in changed]
    sources = [name for name in c_files() if names is None or name in names]
    units = [name for name in sources if name.endswith(".c")]
    jobs = str(os.cpu_count())
    scripts = list(shell_files())
    pages = [name for name in files() if name.startswith("man/") and name[-1] in "1578"]
    python = [name for name in files() if name.endswith(".py")]
    (ROOT / "build/lint/cppcheck").mkdir(parents=True, exist_ok=True)
    yield "format", ["clang-format", "--dry-run", "-Werror", *sources] if sources else None
    yield "arrows", [sys.executable, str(HERE / "arrows.py")]
    yield "symbols", [sys.executable, str(HERE / "symbols.py"), BUILD] if names is None else None
    yield "words", [sys.executable, str(HERE / "words.py")]
    yield "python", [sys.executable, "-m", "pyflakes", *python] if python else None
    yield "shellcheck", ["shellcheck", "-x", *scripts] if scripts else None
    yield "mandoc", ["mandoc", "-T", "lint", "-W", "warning", *pages] if pages else None
    yield "cppcheck", ["cppcheck", "--quiet", "--std=c11", "-j", jobs, "--enable=warning,performance,portability",
                       "--inline-suppr", "--error-exitcode=1", "--suppress=missingIncludeSystem",
                       # Clean-up attributes are unknown to it: leaks are for the sanitizers and gcc -fanalyzer.
                       "--suppress=resourceLeak", "--suppress=memleak", "--template=gcc", "-D__GNUC__=12", "-I.",
                       "-Djson_array_foreach(a,i,v)=for(i=0;(v=json_array_get(a,i));i++)",
                       "-Djson_object_foreach(o,k,v)=for(k=0;(v=json_object_get(o,k));)",
                       "--cppcheck-build-dir=build/lint/cppcheck", *units] if units else None
    yield "clang-tidy", [sys.executable, str(HERE / "tidy.py"), BUILD, *(
        units if names is not None else ["--all"] if whole else ["--also", *changed_tests])] if units else None


def run(command):
    started = time.monotonic()
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            universal_newlines=True, errors="replace", check=False)
    return result.returncode, result.stdout.strip(), time.monotonic() - started


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--changed", action="store_true", help="only sources that differ from main")
    parser.add_argument("--all", action="store_true", help="clang-tidy over the tests' C files too")
    parser.add_argument("--results", help="write JUnit here")
    args = parser.parse_args()
    suite = ET.Element("testsuite", name="lint")
    failed = 0
    listed = [(name, command) for name, command in checks(changed_since_main() if args.changed else None, args.all)
              if command]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for (name, _), (code, text, seconds) in zip(listed, pool.map(run, [command for _, command in listed])):
            case = ET.SubElement(suite, "testcase", classname="lint", name=name, time=f"{seconds:.1f}")
            print(f"lint {name:<12} {'FAILED' if code else 'ok'}  {seconds:5.1f} s", flush=True)
            if code:
                failed += 1
                print(text, flush=True)
                ET.SubElement(case, "failure").text = text
    if args.results:
        ET.ElementTree(suite).write(args.results)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
