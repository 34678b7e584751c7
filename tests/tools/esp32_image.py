#!/usr/bin/env python3
"""Make a valid ESP32-family application image: header, segments, checksum, appended SHA-256, app descriptor.

usage: esp32_image.py --version TEXT [--project NAME] [--chip esp32c3] [--size BYTES] [--seed N] FILE|-

Layout as in Espressif's esp_image_format.h and esp_app_desc.h. The same arguments give the same bytes.
"""
import argparse
import hashlib
import random
import struct
import sys

# chip id, where flash is mapped for data (behind the headers), where code lies in RAM
CHIPS = {"esp32": (0, 0x3F400020, 0x40080000), "esp32s2": (2, 0x3F000020, 0x40020000),
         "esp32c3": (5, 0x3C000020, 0x40380000), "esp32s3": (9, 0x3C000020, 0x40374000),
         "esp32c2": (12, 0x3C000020, 0x40380000), "esp32c6": (13, 0x42000020, 0x40800000),
         "esp32h2": (16, 0x42000020, 0x40800000)}


def descriptor(version, project):
    """esp_app_desc_t, 256 bytes."""
    elf = hashlib.sha256(f"{project} {version}".encode()).digest()
    return struct.pack("<II8x32s32s16s16s32s32s80x", 0xABCD5432, 0, version.encode()[:31], project.encode()[:31],
                       b"12:00:00", b"Jan  1 2024", b"v5.1.2", elf)


def image(version, project="sample", chip="esp32c3", size=256 * 1024, seed=0):
    """The bytes of an image of about `size` bytes."""
    filler = random.Random(f"{version}/{project}/{chip}/{seed}")
    first = descriptor(version, project) + filler.randbytes(768)
    rest = max(size - len(first) - 24 - 16 - 48, 1024) & ~3
    chip_id, drom, ram = CHIPS[chip]
    segments = [(drom, first), (ram, filler.randbytes(rest))]
    out = bytearray(struct.pack("<BBBBIB3sHBHH4sB", 0xE9, len(segments), 2, 0x20, ram + 4, 0xEE, bytes(3),
                                chip_id, 0, 0, 99, bytes(4), 1))
    check = 0xEF
    for address, data in segments:
        out += struct.pack("<II", address, len(data)) + data
        for word in range(0, len(data), 1 << 16):
            part = data[word:word + (1 << 16)]
            folded = int.from_bytes(part, "little")
            bits = len(part) * 8
            while bits > 8:  # exclusive or of all bytes, by folding halves
                half = (bits // 16 + (bits // 8) % 2) * 8
                folded = (folded >> half) ^ (folded & ((1 << half) - 1))
                bits = half
            check ^= folded
    out += bytes(15 - len(out) % 16) + bytes([check])
    return bytes(out) + hashlib.sha256(out).digest()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", required=True)
    parser.add_argument("--project", default="sample")
    parser.add_argument("--chip", default="esp32c3", choices=sorted(CHIPS))
    parser.add_argument("--size", type=int, default=256 * 1024)
    parser.add_argument("--seed", default="0")
    parser.add_argument("file")
    args = parser.parse_args()
    data = image(args.version, args.project, args.chip, args.size, args.seed)
    if args.file == "-":
        sys.stdout.buffer.write(data)
    else:
        with open(args.file, "wb") as out:
            out.write(data)


if __name__ == "__main__":
    main()
