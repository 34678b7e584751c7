#!/usr/bin/env python3
"""What the agent's core and the bootloader cost on 32-bit processors: code by clang -Oz, static RAM, deepest frame.

Printed, and held against bounds that catch growth. usage: footprint.py SOURCE-ROOT
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TARGETS = {"Cortex-M0+": ["--target=thumbv6m-none-eabi", "-mcpu=cortex-m0plus"],
           "rv32imc": ["--target=riscv32-none-elf", "-march=rv32imc"]}
BOOT = ["device-agent/src/journal.c", "device-agent/src/slot.c", "device-agent/src/trust.c", "device-agent/boot/boot.c"]
CORE = ["agent", "checkin", "enroll", "fetch", "http1", "release", "rootwalk", "ticket_act", "trial"]
PROTO = ["cbor", "checkin", "cose", "crypto", "enroll", "fields", "keys", "notice", "provision", "root", "suit",
         "suit_decode", "ticket", "url"]
# Bytes. The encoders of the server's side are counted in "contract": a linker that drops unused functions drops them.
BOUNDS = {"bootloader": 9000, "agent": 20000, "contract": 26000, "agent RAM": 3072, "bootloader RAM": 4352, "frame": 1536}

STRING_H = """#include <stddef.h>
void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
void *memset(void *, int, size_t);
int memcmp(const void *, const void *, size_t);
"""
RAM_C = """#include "device-agent/boot/boot.h"
#include "device-agent/include/ota_agent.h"
char agent[sizeof(struct ota_agent)], boot[sizeof(struct ota_boot_work)];
"""


def compiled(root, folder, target, source):
    """(bytes of text, deepest frame) of one source."""
    out = folder / (source.replace("/", "_") + ".o")
    subprocess.run(["clang", *TARGETS[target], "-Oz", "-std=c11", "-ffreestanding", "-ffunction-sections", "-fdata-sections",
                    "-fstack-usage", f"-isystem{folder}", "-I", ".", "-c", source, "-o", out], cwd=root, check=True)
    sizes = subprocess.run(["size", out], stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout
    frames = [int(line.split("\t")[1]) for line in out.with_suffix(".su").read_text().splitlines()]
    return int(sizes.splitlines()[1].split()[0]), max(frames, default=0)


def ram(root, folder, target):
    """Bytes of the two objects that a port places."""
    (folder / "ram.c").write_text(RAM_C)
    subprocess.run(["clang", *TARGETS[target], "-std=c11", "-ffreestanding", "-fno-common", f"-isystem{folder}", "-I", root,
                    "-c", folder / "ram.c", "-o", folder / "ram.o"], check=True)
    names = subprocess.run(["nm", "-S", folder / "ram.o"], stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout
    size = {name: int(digits, 16) for digits, name in re.findall(r"^\w+ (\w+) \w (\w+)$", names, re.M)}
    return size["agent"], size["boot"]


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    if not shutil.which("clang"):
        print("skipped: no clang")
        return 77
    groups = {"bootloader": BOOT, "agent": [f"device-agent/src/{name}.c" for name in CORE],
              "contract": [f"proto/{name}.c" for name in PROTO]}
    too_much = []
    for target in TARGETS:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "string.h").write_text(STRING_H)
            found = {"frame": 0}
            for group, sources in groups.items():
                results = [compiled(root, folder, target, source) for source in sources]
                found[group] = sum(text for text, _ in results)
                found["frame"] = max(found["frame"], *(frame for _, frame in results))
            found["agent RAM"], found["bootloader RAM"] = ram(root, folder, target)
        print(f"{target}: " + ", ".join(f"{what} {found[what]}" for what in BOUNDS))
        too_much += [f"{target}: {what} {found[what]} > {most}" for what, most in BOUNDS.items() if found[what] > most]
    for line in too_much:
        print(f"too much: {line}")
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main())
