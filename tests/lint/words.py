#!/usr/bin/env python3
"""What no tracked file may hold: paths of one machine, work left open, stray bytes."""
import re
import sys

from tree import ROOT, files

# Written in pieces, so that this file passes its own check.
RULES = [
    (re.compile(r"(?<![\w.$}{)-])/(?:wo" r"rk|fa" r"rm|tm" r"p)/(?![\w.-]*X{6})"), "names a path of one machine"),
    (re.compile(r"\b(?:TO" r"DO|XX" r"X|HA" r"CK)\b(?!X)"), "left open"),
    (re.compile(r"[ \t]+$", re.M), "blank at the end of a line"),
    (re.compile(r"\r"), "carriage return"),
    (re.compile(r"^(?:<{7}|>{7}|={7})(?: |$)", re.M), "conflict marker"),
]
BINARY = (".png", ".bin", ".gz", ".db", ".ico", ".woff2")
LICENCE = {"LICENSE"}


def main():
    bad = []
    for name in files():
        if name.endswith(BINARY) or "/corpus/" in name or name in LICENCE:
            continue
        data = (ROOT / name).read_bytes()
        if b"\0" in data:
            continue
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            bad.append(f"{name}: not UTF-8 ({error.reason} at byte {error.start})")
            continue
        if text and not text.endswith("\n"):
            bad.append(f"{name}: no newline at the end")
        for rule, what in RULES:
            if name.endswith((".md", ".c", ".h")) and what == "carriage return" and "/corpus/" in name:
                continue
            found = rule.search(text)
            if found:
                bad.append(f"{name}:{text.count(chr(10), 0, found.start()) + 1}: {what}: {found.group(0).strip()!r}")
    print("\n".join(bad) if bad else "no stray words")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
