"""Writes MicroPython, firmware and site to a chip in one go, with esptool: `make flash PORT=... BOARD=... FIRMWARE=file.bin`.

The board file says which image is its own; one for another chip, or one that does not see the board's PSRAM, is refused.
The image goes where that chip's boot loader looks; with --site a file system goes with it that has the firmware and the site as a
generation (docs/deploy.md).  Everything else on the flash is erased, and that is said first; with --keep only MicroPython is
written, and site file, records and keys stay.  --ota-table gives a stock image two slots, and says what that moves.  --into FILE
writes one file for a factory's programmer instead of a chip.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools import check_site, deploy, serial_line
from tools.build import boardfile, fits, stage, whole_image
from tools.build.boardfile import BoardError, load

_MAGIC = 0xE9  # first byte of every ESP image
_CHIP_AT = 12  # where its header names the chip, 16 bits, low byte first
_CHIPS = {0: "esp32", 2: "esp32s2", 5: "esp32c3", 9: "esp32s3", 12: "esp32c2", 13: "esp32c6", 16: "esp32h2", 18: "esp32p4"}
# images by the name that the interpreter in them gives its board (MICROPY_HW_BOARD_NAME)
IMAGES = {
    "Generic ESP32 module": "ESP32_GENERIC",
    "Generic ESP32 module with OTA": "ESP32_GENERIC-OTA",
    "Generic ESP32 module with SPIRAM": "ESP32_GENERIC-SPIRAM",
    "Generic ESP32S3 module": "ESP32_GENERIC_S3",
    "Generic ESP32S3 module with Octal-SPIRAM": "ESP32_GENERIC_S3-SPIRAM_OCT",
    "ESP32C3 module": "ESP32_GENERIC_C3",
    "Battery power manager": "BESS_ESP32",
    "Battery power manager S3": "BESS_ESP32_S3",
}
_ALSO = {"ESP32_GENERIC": ("ESP32_GENERIC-OTA",)}  # as good as the one named in a board file


def esptool(port: str, baud: int, chip: str, *arguments: str) -> list[str]:
    """The command line of one esptool run."""
    return [sys.executable, "-m", "esptool", "--chip", chip, "--port", port, "--baud", str(baud), *arguments]


def source_of(board: dict[str, Any]) -> str:
    """Which image a board wants and where it is from, for people."""
    stock = board["images"]["stock"]
    text = f"{board['name']} wants {stock}: https://micropython.org/download/{stock.split('-')[0]}/"
    if "-" in stock:
        text += f" (there under the variant {stock.split('-')[1]})"
    if "own" in board["images"]:
        own = f"boards/{board['images']['own']}/README.md"
        text += f"; or our own image, with this firmware inside: {own} (boards/README.md: which sites want it)"
    return text


def image_error(path: Path, board: dict[str, Any]) -> str | None:
    """Why a file is no image that could start on that board's chip, or None."""
    if not path.is_file():
        return f"FIRMWARE={path}: no such file. {source_of(board)}"
    content = path.read_bytes()
    if len(content) < 1024:
        return f"FIRMWARE={path}: {len(content)} bytes is no MicroPython image"
    if content[0] != _MAGIC:
        return f"FIRMWARE={path}: begins with 0x{content[0]:02x}, an ESP image with 0x{_MAGIC:02x}"
    chip = _CHIPS.get(int.from_bytes(content[_CHIP_AT : _CHIP_AT + 2], "little"), "an unknown chip")
    if chip != board["chip"]:
        return f"FIRMWARE={path}: is for {chip}, the board has an {board['chip']}. {source_of(board)}"
    return None


def image_name(path: Path) -> str | None:
    """Which image a file is, as its interpreter names its board; None where it says nothing that is known here."""
    content = path.read_bytes()
    for name in IMAGES:
        # in every image as "<board> with <chip>": what sys.implementation and the prompt say
        if re.search(rb"(?<![\w-])" + re.escape(name.encode()) + rb" with ESP32[-\w]*\0", content):
            return IMAGES[name]
    return None


def unsuited(path: Path, board: dict[str, Any]) -> str | None:
    """Why an image for the right chip is the wrong one for the board, or None (also where the image does not say)."""
    name = image_name(path)
    wanted = set(board["images"].values())
    wanted |= {also for image in board["images"].values() for also in _ALSO.get(image, ())}
    if name is None or name in wanted:
        return None
    lost = f"and would not see the {board['psram_mb']} MB of PSRAM" if board["psram_mb"] and "SPIRAM" not in name else ""
    return f"FIRMWARE={path}: is {name} {lost}".rstrip() + f". {source_of(board)}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", default="")
    parser.add_argument("--firmware", required=True)
    parser.add_argument("--board", default="", help="a name from boards/, or the path of a board file; there is no default")
    parser.add_argument("--site", type=Path, help="write firmware and site too, as a generation")
    parser.add_argument("--ssid", default=os.environ.get("WIFI_SSID", ""))
    parser.add_argument("--password", default=os.environ.get("WIFI_PASSWORD", ""))
    parser.add_argument("--into", type=Path, metavar="FILE", help="write one file, for all of the flash, instead of a chip")
    parser.add_argument("--ota-table", action="store_true", help="give a stock image a partition table with two slots")
    parser.add_argument("--march", help="machine code of viper functions (default: the board's chip)")
    parser.add_argument("--baud", type=int, default=460800)
    parser.add_argument("--keep", action="store_true", help="do not erase the rest of the flash")
    parser.add_argument("--no-stub", action="store_true", help="talk to the ROM boot loader itself (slower)")
    parser.add_argument("--any-image", action="store_true", help="write an image for the chip that is not the board's")
    return parser.parse_args()


def problem_of(path: Path, board: dict[str, Any], arguments: argparse.Namespace) -> str | None:
    """Why nothing is written, or None."""
    if arguments.keep and (arguments.site or arguments.ota_table):
        return "--keep leaves the file system where and as it is: without --site and --ota-table, then make deploy"
    problem = image_error(path, board)
    if not problem and not arguments.any_image:
        problem = unsuited(path, board)
        if problem:
            problem += "\n--any-image writes it all the same."
    return problem


def made(path: Path, board: dict[str, Any], arguments: argparse.Namespace) -> whole_image.Whole:
    """Everything that is written.  Raises ImageError, check_site.Refused, stage.CompileError."""
    if arguments.keep or not (arguments.site or arguments.ota_table or arguments.into):
        return whole_image.plain(path, board)
    whole = whole_image.micropython(path, board, arguments.ota_table)
    if arguments.site:
        image = fits.OWN if image_name(path) in boardfile.OWN_IMAGES else fits.STOCK
        site = check_site.for_board(arguments.site, board, image, arguments.ssid, arguments.password)
        with tempfile.TemporaryDirectory() as scratch:
            march = arguments.march or deploy.MARCH[board["chip"]]
            parcel = deploy.prepare(Path(scratch), site, march, arguments.site.parent, image)
            place = whole_image.partitions.files_of(whole.table, board["flash_mb"] << 20)
            whole.parts += whole_image.files(parcel, place)
    return whole


def heard(command: list[str]) -> tuple[int, str]:
    """A program's status, and what it has said of errors, which is shown as it comes."""
    said = ""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said += line
            print(line, end="", file=sys.stderr, flush=True)
    return process.returncode, said


def why_it_failed(said: str, port: str, board: str) -> str:
    """What esptool has stumbled over, by its own words, and what to do."""
    if "Could not open" in said:
        return f"esptool failed: PORT={port} cannot be opened; {serial_line.ports_here()}"
    if "Failed to connect" in said:
        return (
            "esptool failed: nothing like a boot loader answers. Is the port right, is the board in its boot loader "
            f"(hold BOOT, press RESET)?\nPORT={port}; {serial_line.ports_here()}"
        )
    if "Wrong chip" in said:
        return f"esptool failed: on PORT={port} is another chip than {board} has, see above; nothing was written"
    return (
        "esptool failed: it had connected, and says above what happened then. The flash may be erased, or written in part: "
        "do it again, with a better cable or ARGS='--baud 115200' where it has lost bytes"
    )


def write(whole: whole_image.Whole, arguments: argparse.Namespace, board: dict[str, Any]) -> tuple[int, str]:
    """esptool's status, and its errors."""
    chip = board["chip"]
    with tempfile.TemporaryDirectory() as scratch:
        pairs = [word for offset, file in whole_image.write(whole, Path(scratch)) for word in (hex(offset), str(file))]
        if arguments.into:
            merge = ["merge-bin", "--output", str(arguments.into), *pairs]
            return heard([sys.executable, "-m", "esptool", "--chip", chip, *merge])
        before = ["--no-stub"] if arguments.no_stub else []
        erase = [] if arguments.keep else ["--erase-all"]
        return heard(esptool(arguments.port, arguments.baud, chip, *before, "write-flash", *erase, *pairs))


def say_what(whole: whole_image.Whole, arguments: argparse.Namespace, board: dict[str, Any]) -> None:
    """Before anything is erased: what is written, and what is lost."""
    print("\n".join(whole.described()))
    if arguments.into:
        return
    if arguments.keep:
        print("everything else on the flash stays: site file, records, keys")
    else:
        size = f"{board['flash_mb']} MB of flash"
        print(f"everything else on the {size} is ERASED first: site files, records, keys, a latched emergency")


def main() -> int:
    """0 when everything is written and verified."""
    arguments = _arguments()
    try:
        board = load(arguments.board)
    except BoardError as error:
        print(error, file=sys.stderr)
        return 2
    if not (arguments.port or arguments.into) or not arguments.firmware:
        missing = "FIRMWARE" if arguments.port or arguments.into else f"PORT ({serial_line.ports_here()})"
        usage = f"make flash PORT=/dev/ttyUSB0 BOARD={arguments.board} FIRMWARE=file.bin"
        print(f"{missing} is missing: {usage}\n{source_of(board)}", file=sys.stderr)
        return 2
    path = Path(arguments.firmware)
    problem = problem_of(path, board, arguments)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    name = image_name(path)
    print(f"{path.name}: {name}" if name else f"{path.name}: does not say which image it is. {source_of(board)}")
    try:
        whole = made(path, board, arguments)
    except check_site.Refused as refused:
        print("refused, nothing was written:\n" + "\n".join(f"  {error}" for error in refused.errors), file=sys.stderr)
        return 2
    except (whole_image.ImageError, stage.CompileError) as error:
        print(error, file=sys.stderr)
        return 2
    say_what(whole, arguments, board)
    status, said = write(whole, arguments, board)
    if status:
        missing = f"esptool failed: {arguments.into} was not written"
        print(missing if arguments.into else why_it_failed(said, arguments.port, arguments.board), file=sys.stderr)
        return status
    if arguments.into:
        print(f"{arguments.into}: for the beginning of the flash, all of it")
    elif arguments.site:
        print("written. The board starts, and tests itself: mpremote connect " + arguments.port + " resume repl")
    else:
        print(f"written. Next: make deploy PORT={arguments.port} BOARD={arguments.board} SITE=site.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
