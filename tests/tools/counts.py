#!/usr/bin/env python3
"""Sum up JUnit files of ctest, pytest and the linter; the last line printed is "N passed, N failed, N skipped".

A cmocka program is one entry for ctest but many tests: its own totals are counted, so that a skip inside a program
that passed is seen. With --strict a skip fails the run, except "no shared data" where the shared folder is absent.
"""
import argparse
import os
import pathlib
import re
import sys
import xml.etree.ElementTree as ET

NO_DATA = "no shared data"
CMOCKA = re.compile(r"^\[  (PASSED|FAILED|SKIPPED) +\] (\d+) test\(s\)", re.M)


def cmocka_totals(text):
    """(passed, failed, skipped) of the cmocka groups in a program's output, None where it ran none."""
    found = CMOCKA.findall(text)
    if not found:
        return None
    sums = {"PASSED": 0, "FAILED": 0, "SKIPPED": 0}
    for word, number in found:
        sums[word] += int(number)
    return sums["PASSED"], sums["FAILED"], sums["SKIPPED"]


def entry(case):
    """(passed, failed, skipped, reason) of one JUnit test case."""
    text = "".join(node.text or "" for node in case.iter() if node.tag in ("system-out", "system-err"))
    failed = case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail"
    skip = case.find("skipped")
    reason = text + ((skip.get("message") or "") + (skip.text or "") if skip is not None else "")
    totals = cmocka_totals(text)
    if totals and not (skip is not None and not any(totals)):
        passed, bad, skipped = totals
        return passed, max(bad, 1 if failed else 0), skipped, reason
    if failed:
        return 0, 1, 0, reason
    if skip is not None or case.get("status") in ("notrun", "disabled"):
        return 0, 0, 1, reason
    return 1, 0, 0, reason


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--failed", type=int, default=0, help="a runner ended badly")
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()

    root = pathlib.Path(__file__).resolve().parents[2]
    shared = pathlib.Path(os.environ.get("OTA_SHARED") or root.parent / "shared")
    passed = failed = skipped = 0
    refused = []
    for name in args.files:
        if not os.path.exists(name):
            continue
        for case in ET.parse(name).getroot().iter("testcase"):
            good, bad, out, reason = entry(case)
            label = f"{pathlib.Path(name).stem}: {case.get('classname') or ''} {case.get('name')}"
            passed, failed, skipped = passed + good, failed + bad, skipped + out
            if bad:
                print(f"FAILED   {label}")
            if out:
                lines = [line.strip() for line in reason.splitlines() if "skip" in line.lower()]
                print(f"skipped  {label}: {lines[0] if lines else reason.strip()[:100] or 'no reason given'}")
                if shared.is_dir() or NO_DATA not in reason:
                    refused.append(label)
    bad = failed > 0 or args.failed or passed == 0
    if args.failed and not failed:
        print("a test program ended badly without a failed test: see above")
    if args.strict and refused:
        print(f"{len(refused)} entries skipped something where a skip is a failure")
        bad = True
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
