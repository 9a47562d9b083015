"""An application as it stands in a chip's slot: ESP-IDF's image format around what the simulated chip runs instead of machine code.

Header, two segments (the description that every ESP-IDF application begins with; the ROMFS image of the firmware), check byte
and SHA-256 are as esptool and the boot loader have them; nothing of it could run on a chip.  `make image SIM=1` makes one.
"""

import argparse
import hashlib
import struct
import sys
import tempfile
from functools import reduce
from operator import xor
from pathlib import Path

from tools.build import romfs, stage
from tools.flash import IMAGES

MAGIC = 0xE9
CHIP_IDS = {"esp32": 0, "esp32s3": 9}
NAMES = {"esp32": "BESS_ESP32", "esp32s3": "BESS_ESP32_S3"}  # which image of ours a chip runs
MARCH = "x86"  # machine code of the simulated chips
_HEADER = struct.Struct("<BBBBIB3sHBHH4sB")
_SEGMENT = struct.Struct("<II")
_DESCRIBED = struct.Struct("<II8s32s32s16s16s32s32s80x")
_DESCRIPTION = 0xABCD5432
_CHECK = 0xEF  # what the check byte begins with
_HASH_BYTES = 32


def make(content: bytes, chip: str) -> bytes:
    """An application for that chip around a ROMFS image."""
    first = _DESCRIBED.pack(_DESCRIPTION, 0, b"", b"simulated", b"micropython", b"", b"", b"v5.5", b"")
    board = next(name for name, image in IMAGES.items() if image == NAMES[chip])
    first += f"{board} with {chip.upper()}\0".encode().ljust(64, b"\0")  # as MicroPython's own banner has it
    segments = [first, content + bytes(-len(content) % 4)]
    data = _HEADER.pack(MAGIC, len(segments), 2, 0x20, 0x40080000, 0, b"", CHIP_IDS[chip], 0, 0, 0xFFFF, b"", 1)
    for segment in segments:
        data += _SEGMENT.pack(0x3F400020, len(segment)) + segment
    data += bytes(15 - len(data) % 16)
    data += bytes([reduce(xor, first + segments[1], _CHECK)])
    return data + hashlib.sha256(data).digest()


def content_of(data: bytes, chip: str) -> bytes:
    """The ROMFS image in what stands at the beginning of a slot.  ValueError says what the boot loader has against it."""
    if data[0] != MAGIC:
        raise ValueError(f"image at 0x0 has invalid magic byte 0x{data[0]:02x}")
    header = _HEADER.unpack_from(data)
    if header[7] != CHIP_IDS[chip]:
        raise ValueError(f"image is for chip {header[7]}, this is {CHIP_IDS[chip]}")
    at, content = _HEADER.size, b""
    for _ in range(header[1]):
        size = _SEGMENT.unpack_from(data, at)[1]
        at += _SEGMENT.size
        content = data[at : at + size]
        at += size
    end = at + 16 - at % 16
    if end + _HASH_BYTES > len(data) or hashlib.sha256(data[:end]).digest() != data[end : end + _HASH_BYTES]:
        raise ValueError("image hash failed")
    return content


def build(into: Path, chip: str) -> None:
    """Writes the application of this tree for that simulated chip.  Raises stage.CompileError, OSError."""
    with tempfile.TemporaryDirectory() as scratch:
        tree, image = Path(scratch) / "tree", Path(scratch) / "romfs.img"
        stage.stage(stage.ROOT, tree, MARCH, frozen=True)
        romfs.build(tree, image, MARCH)
        into.parent.mkdir(parents=True, exist_ok=True)
        into.write_bytes(make(image.read_bytes(), chip))


def main() -> int:
    """1 where it cannot be made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chip", choices=sorted(CHIP_IDS), default="esp32", help="which simulated chip (default: esp32)")
    chip = parser.parse_args().chip
    into = stage.ROOT / "build" / "image" / f"simulated_{chip}.bin"
    try:
        build(into, chip)
    except (OSError, stage.CompileError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{into.relative_to(stage.ROOT)}: {into.stat().st_size:,} bytes, for `CHIP={chip} ROMFS=1 make run`; no chip can run it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
