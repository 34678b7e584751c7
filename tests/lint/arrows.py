#!/usr/bin/env python3
"""Arrows between folders, and one .c/.h pair per third-party library and layer.

server -> db -> proto, cli -> proto, device-agent -> proto; nothing else. proto and the agent's core include only
freestanding headers. SQL text stays in db/.
"""
import os
import re
import sys

from tree import ROOT, c_files

ARROWS = {
    "proto": {"proto"},
    "db": {"db", "proto"},
    "server": {"server", "db", "proto"},
    "cli": {"cli", "proto"},
    "device-agent": {"device-agent", "proto"},
}

# proto files for hosted programs: library ota_host, and the host's crypto. All others are freestanding.
HOSTED_PROTO = {"errmsg", "fit", "hex", "arena", "ask", "suggest", "crypto_openssl", "cleanup", "image_host"}
FREESTANDING = {"stdint.h", "stddef.h", "stdbool.h", "stdalign.h", "stdarg.h", "limits.h", "float.h", "iso646.h",
                "stdnoreturn.h", "string.h"}

LIBRARIES = {
    "sqlite3.h": "sqlite", "microhttpd.h": "microhttpd", "mosquitto.h": "mosquitto", "curl": "curl",
    "jansson.h": "jansson", "archive.h": "archive", "archive_entry.h": "archive", "openssl": "openssl",
    "gnutls": "gnutls", "zlib.h": "zlib", "systemd": "systemd", "cmocka.h": "cmocka",
}

# Pairs beyond the first that may include a library of their layer, with the reason.
ALSO = {
    ("db", "sqlite"): {"sqlite", "stmt"},  # the driver and its statements
    ("proto", "openssl"): {"crypto_openssl", "image_host"},  # the contract's crypto; MD5 and SHA-1 of image formats
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
SQL = re.compile(r'"\s*(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+TABLE|PRAGMA\s)')


def is_freestanding(name):
    parts = name.split("/")
    if parts[0] == "proto":
        return os.path.splitext(parts[-1])[0] not in HOSTED_PROTO
    return parts[0] == "device-agent" and parts[1] in ("src", "boot", "include")


def target(name, header):
    """The folder a quoted include leads to; None when it exists nowhere."""
    for base in (ROOT, ROOT / os.path.dirname(name), ROOT / "device-agent/include"):
        path = base / header
        if path.is_file():
            return os.path.relpath(os.path.realpath(path), ROOT).split("/")[0]
    return None


def check(names):
    """All breaches in these files, as lines of text."""
    breaches = []
    owners = {}
    for name in names:
        layer = name.split("/")[0]
        if layer not in ARROWS:
            continue
        text = (ROOT / name).read_text(encoding="utf-8")
        for mark, header in INCLUDE.findall(text):
            if mark == '"':
                to = target(name, header)
                if to is None:
                    breaches.append(f"{name}: includes \"{header}\", which does not exist")
                elif to not in ARROWS[layer]:
                    breaches.append(f"{name}: includes \"{header}\": {layer} may not use {to}")
                continue
            if is_freestanding(name) and header not in FREESTANDING:
                breaches.append(f"{name}: includes <{header}>, but is freestanding")
            library = LIBRARIES.get(header) or LIBRARIES.get(header.split("/")[0])
            if library:
                # In the agent every port is a layer of its own.
                part = "/".join(name.split("/")[:3]) if layer == "device-agent" else layer
                owners.setdefault((part, library), {}).setdefault(os.path.splitext(os.path.basename(name))[0], name)
        if layer != "db" and SQL.search(text):
            breaches.append(f"{name}: SQL text outside db/")
    for (part, library), stems in sorted(owners.items()):
        extra = set(stems) - ALSO.get((part, library), set())
        if len(stems) > 1 and extra:
            breaches.append(f"{part}: {library} is included by {', '.join(sorted(stems.values()))}: one pair a layer")
    return breaches


def main():
    breaches = check(c_files())
    print("\n".join(breaches) if breaches else "every include follows the arrows")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
