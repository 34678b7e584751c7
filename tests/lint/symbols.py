#!/usr/bin/env python3
"""The freestanding libraries ask for nothing but the four memory functions and each other.

usage: symbols.py BUILD-DIR
"""
import pathlib
import re
import subprocess
import sys

LIBRARIES = {"libota_proto.a", "libota_agent.a", "libota_agent_core.a", "libota_boot.a"}
ALLOWED = {"memcpy", "memmove", "memset", "memcmp", "_GLOBAL_OFFSET_TABLE_"}
INSTRUMENTATION = re.compile(r"^__(asan|ubsan|tsan|stack_chk|gcov|sanitizer|memcpy_chk|memset_chk|memmove_chk)")


def symbols(archive):
    """(defined, {undefined symbol: member})"""
    defined, wanted, member = set(), {}, ""
    out = subprocess.run(["nm", "-P", str(archive)], check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout
    for line in out.splitlines():
        if line.endswith(":"):
            member = line[:-1]
            continue
        fields = line.split()
        if len(fields) >= 2 and fields[1] in "Uw":
            wanted.setdefault(fields[0], member)
        elif len(fields) >= 2:
            defined.add(fields[0])
    return defined, wanted


def main():
    archives = [path for path in sorted(pathlib.Path(sys.argv[1]).rglob("libota_*.a")) if path.name in LIBRARIES]
    if not any(path.name == "libota_proto.a" for path in archives):
        print(f"no libota_proto.a below {sys.argv[1]}: build first")
        return 1
    found = [(path.name, *symbols(path)) for path in archives]
    defined = set().union(*(names for _, names, _ in found))
    bad = [f"{library}: {member} asks for {name}" for library, _, wanted in found for name, member in wanted.items()
           if name not in defined | ALLOWED and not INSTRUMENTATION.match(name)]
    print("\n".join(bad) if bad else f"{len(archives)} freestanding libraries, {len(defined)} symbols of their own")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
