"""Writes a MicroPython image to a chip with esptool: `make flash PORT=/dev/ttyUSB0 FIRMWARE=file.bin`.

The chip says what it is; the image goes where that chip's boot loader looks.  Everything else on the flash is erased
first unless --keep is given (then site file and logs stay).
"""

import argparse
import subprocess
import sys
from pathlib import Path

from tools.boardfile import FLASH_OFFSET, BoardError, load

_MAGIC = 0xE9  # first byte of every ESP image


def esptool(port: str, baud: int, chip: str, *arguments: str) -> list[str]:
    """The command line of one esptool run."""
    return [sys.executable, "-m", "esptool", "--chip", chip, "--port", port, "--baud", str(baud), *arguments]


def image_error(path: Path) -> str | None:
    """Why a file is no image that could start, or None."""
    if not path.is_file():
        return f"FIRMWARE={path}: no such file. Images: https://micropython.org/download/ESP32_GENERIC/"
    size = path.stat().st_size
    if size < 1024:
        return f"FIRMWARE={path}: {size} bytes is no MicroPython image"
    with path.open("rb") as file:
        first = file.read(1)[0]
    if first != _MAGIC:
        return f"FIRMWARE={path}: begins with 0x{first:02x}, an ESP image with 0x{_MAGIC:02x}"
    return None


def main() -> int:
    """0 when the image is written and verified."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", required=True)
    parser.add_argument("--firmware", required=True, type=Path)
    parser.add_argument("--board", default="generic_esp32")
    parser.add_argument("--baud", type=int, default=460800)
    parser.add_argument("--keep", action="store_true", help="do not erase the rest of the flash")
    parser.add_argument("--no-stub", action="store_true", help="talk to the ROM boot loader itself (slower)")
    arguments = parser.parse_args()
    if not arguments.port:
        print("PORT is missing: make flash PORT=/dev/ttyUSB0 FIRMWARE=file.bin", file=sys.stderr)
        return 2
    problem = image_error(arguments.firmware)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    try:
        chip = load(arguments.board)["chip"]
    except BoardError as error:
        print(error, file=sys.stderr)
        return 2
    before = ["--no-stub"] if arguments.no_stub else []
    write = ["write-flash", *([] if arguments.keep else ["--erase-all"]), hex(FLASH_OFFSET[chip]), str(arguments.firmware)]
    status = subprocess.run(esptool(arguments.port, arguments.baud, chip, *before, *write)).returncode
    if status:
        print("esptool failed. Is the port right, is the board in its boot loader (hold BOOT, press RESET)?", file=sys.stderr)
        return status
    print(f"written. Next: make deploy PORT={arguments.port} BOARD={arguments.board} SITE=site.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
