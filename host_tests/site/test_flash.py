"""Writing MicroPython, firmware and site: esptool against a mock boot loader and on image files; which image a board takes."""

import asyncio
import contextlib
import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from esptool.bin_image import ESP32S3FirmwareImage, ImageSegment

from tools import flash
from tools.build import boardfile, generation, partitions, whole_image
from tools.build.partitions import Partition
from tools.deploy import Parcel
from tools.interpreters import Interpreter
from tools.ports import free_port
from tools.sim.board import flash_image
from tools.sim.board.board import Board
from tools.sim.board.profiles import named
from tools.sim.generations import SITE

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=180)


def image(tmp_path: Path, chip: str, says: str = "") -> Path:
    """A file that looks like an image: the header of one for that chip, bytes that do not compress away, its board's name."""
    number = {"esp32": 0, "esp32s3": 9}[chip]
    content = bytearray(b"\xe9\x00\x02\x20" + bytes(8) + bytes((number, 0)) + bytes(10))
    while len(content) < 20_000:
        content += hashlib.sha256(content[-32:]).digest()
    path = tmp_path / "firmware.bin"
    path.write_bytes(content + (b"\0" + says.encode() + b"\0" if says else b""))
    return path


@contextlib.contextmanager
def chip_in_boot_mode(chip: str) -> Iterator[str]:
    """A chip that waits in its ROM boot loader; gives the port."""
    number = free_port()
    mock = Path(sys.executable).with_name("esp32-mock-bootloader")
    command = [str(mock), "run", "--chip", chip, "--port", str(number)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "listening" in said, said
        yield f"socket://127.0.0.1:{number}"
    finally:
        process.kill()
        process.communicate()


OCTAL = "Generic ESP32S3 module with Octal-SPIRAM with ESP32-S3"


@pytest.mark.parametrize(
    ("board", "chip", "says", "offset"),
    [
        ("generic_esp32", "esp32", "Generic ESP32 module with ESP32", "0x00001000"),
        ("lilygo_t_2can", "esp32s3", OCTAL, "0x00000000"),
        ("lilygo_t_2can", "esp32s3", "", "0x00000000"),
    ],
)
def test_flash_writes_and_verifies_the_image_where_the_chip_looks(
    board: str, chip: str, says: str, offset: str, tmp_path: Path
) -> None:
    file = image(tmp_path, chip, says)
    with chip_in_boot_mode(chip) as port:
        done = run(
            "tools.flash", "--port", port, "--firmware", str(file), "--board", board, "--baud", "115200", "--no-stub", "--keep"
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"at {offset}" in done.stdout, done.stdout
    assert "Hash of data verified" in done.stdout
    assert ("does not say which image it is" in done.stdout) == (not says)


def test_flash_refuses_the_chip_that_is_not_the_boards(tmp_path: Path) -> None:
    with chip_in_boot_mode("esp32s3") as port:
        file = image(tmp_path, "esp32")
        done = run("tools.flash", "--port", port, "--firmware", str(file), "--board", "generic_esp32", "--no-stub")
    assert done.returncode != 0 and "is another chip than generic_esp32 has" in done.stderr, done.stderr
    assert "Is the port right" not in done.stderr, "it was right: the chip has answered"


def test_what_esptool_stumbles_over_is_told_apart(tmp_path: Path) -> None:
    file = image(tmp_path, "esp32")
    given = ("--firmware", str(file), "--board", "generic_esp32")
    done = run("tools.flash", "--port", "/dev/does-not-exist", *given)
    assert done.returncode == 2 and "Could not open /dev/does-not-exist" in done.stderr, "its own words come through"
    assert "PORT=/dev/does-not-exist cannot be opened; serial ports here: " in done.stderr and "BOOT" not in done.stderr
    for said, words in (
        ("A fatal error occurred: Failed to connect to ESP32: No serial data received.", "hold BOOT, press RESET"),
        ("A fatal error occurred: The chip stopped responding.", "it had connected"),
        ("A fatal error occurred: File 'x' doesn't fit in the available flash", "it had connected"),
        ("", "it had connected"),
    ):
        told = flash.why_it_failed(said, "/dev/ttyUSB0", "generic_esp32")
        assert words in told and told.startswith("esptool failed"), told
        assert ("hold BOOT" in told) == ("Failed to connect" in said), told
    into = tmp_path / "not_there" / "x.bin"
    done = run("tools.flash", "--into", str(into), "--firmware", str(stock(tmp_path)), "--board", "lilygo_t_2can")
    assert done.returncode != 0 and f"esptool failed: {into} was not written" in done.stderr and "PORT" not in done.stderr


@pytest.mark.parametrize(
    ("board", "chip", "says", "message"),
    [
        ("generic_esp32", "esp32s3", "", "is for esp32s3, the board has an esp32. generic_esp32 wants ESP32_GENERIC:"),
        ("lilygo_t_2can", "esp32", "", "is for esp32, the board has an esp32s3"),
        ("lilygo_t_2can", "esp32s3", "Generic ESP32S3 module with ESP32-S3", "would not see the 8 MB of PSRAM"),
        ("lilygo_t_2can", "esp32s3", "Generic ESP32S3 module with ESP32S3", "wants ESP32_GENERIC_S3-SPIRAM_OCT"),
        ("generic_esp32", "esp32", "Generic ESP32 module with SPIRAM with ESP32", "is ESP32_GENERIC-SPIRAM."),
    ],
)
def test_flash_refuses_an_image_that_is_not_the_boards(
    board: str, chip: str, says: str, message: str, tmp_path: Path
) -> None:
    file = str(image(tmp_path, chip, says))
    done = run("tools.flash", "--port", "/dev/does-not-exist", "--firmware", file, "--board", board)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert "https://micropython.org/download/" in done.stderr


def test_flash_takes_our_own_image_for_the_s3_and_not_the_other_chips(tmp_path: Path) -> None:
    board = boardfile.load("lilygo_t_2can")
    file = image(tmp_path, "esp32s3", "Battery power manager S3 with ESP32-S3")
    assert flash.image_error(file, board) is None and flash.unsuited(file, board) is None
    assert flash.image_name(file) == "BESS_ESP32_S3"
    other = image(tmp_path, "esp32s3", "Battery power manager with ESP32-S3")
    assert "is BESS_ESP32 " in (flash.unsuited(other, board) or "")


@pytest.mark.parametrize("says", ["Generic ESP32 module with OTA with ESP32", "Battery power manager with ESP32"])
def test_flash_takes_every_image_that_suits_a_board_without_psram(says: str, tmp_path: Path) -> None:
    board = boardfile.load("lilygo_t_can485")
    file = image(tmp_path, "esp32", says)
    assert flash.image_error(file, board) is None and flash.unsuited(file, board) is None


def test_flash_writes_another_image_for_the_chip_when_told_to(tmp_path: Path) -> None:
    file = str(image(tmp_path, "esp32s3", "Generic ESP32S3 module with ESP32-S3"))
    with chip_in_boot_mode("esp32s3") as port:
        target = ("--port", port, "--firmware", file, "--board", "lilygo_t_2can")
        done = run("tools.flash", *target, "--no-stub", "--keep", "--any-image")
    assert done.returncode == 0, done.stdout + done.stderr


def test_flash_without_a_file_says_which_image_the_board_wants() -> None:
    done = run("tools.flash", "--port", "/dev/does-not-exist", "--firmware", "", "--board", "lilygo_t_2can")
    assert done.returncode == 2 and "FIRMWARE is missing" in done.stderr
    assert "ESP32_GENERIC_S3-SPIRAM_OCT: https://micropython.org/download/ESP32_GENERIC_S3/" in done.stderr


def test_flash_refuses_what_is_no_image_before_touching_the_port(tmp_path: Path) -> None:
    text = tmp_path / "readme.txt"
    text.write_text("hello " * 1000)
    board = ("--board", "generic_esp32")
    done = run("tools.flash", "--port", "/dev/does-not-exist", "--firmware", str(text), *board)
    assert done.returncode == 2 and "begins with 0x68" in done.stderr
    done = run("tools.flash", "--port", "/dev/does-not-exist", "--firmware", str(tmp_path / "none.bin"), *board)
    assert done.returncode == 2 and "no such file" in done.stderr
    done = run("tools.flash", "--port", "", "--firmware", str(text), *board)
    assert done.returncode == 2 and "PORT (serial ports here: " in done.stderr and "is missing" in done.stderr


# ---- all in one go -------------------------------------------------------------------------------------------

STOCK_TABLE = [
    Partition("nvs", "data", "nvs", 0x9000, 0x6000),
    Partition("phy_init", "data", "phy", 0xF000, 0x1000),
    Partition("factory", "app", "factory", 0x10000, 0x1F0000),
]
FLASH = 16 << 20


def stock(tmp_path: Path) -> Path:
    """What a stock image for the reference boards is made of: a boot loader and an application that esptool reads, and a table."""
    parts = []
    for name, text in (("boot loader", b"boots"), ("application", b"\0" + OCTAL.encode() + b"\0")):
        made = ESP32S3FirmwareImage()
        segment = ImageSegment(0x3FC90000, (text + bytes(4096))[:4096])
        segment.name = name
        made.segments.append(segment)
        made.entrypoint = 0x3FC90000
        made.save(str(tmp_path / name))
        parts.append((tmp_path / name).read_bytes())
    loader, application = parts
    content = loader + b"\xff" * (partitions.TABLE_OFFSET - len(loader)) + partitions.packed(STOCK_TABLE)
    path = tmp_path / "stock.bin"
    path.write_bytes(content + b"\xff" * (0x10000 - len(content)) + application)
    return path


def whole(tmp_path: Path, *more: str) -> tuple[subprocess.CompletedProcess[str], bytes]:
    """One file for all of a flash, with a site; what was said."""
    site, into = tmp_path / "site.json", tmp_path / "whole.bin"
    site.write_text(json.dumps({**SITE, "name": "flashed"}))
    firmware = stock(tmp_path)
    given = ("--firmware", str(firmware), "--board", "lilygo_t_2can", "--site", str(site), "--into", str(into), "--march", "x86")
    done = run("tools.flash", *given, *more)
    return done, into.read_bytes() if into.exists() else b""


def test_a_table_reads_as_it_was_packed_and_a_file_system_is_found_as_micropython_takes_it() -> None:
    data = partitions.packed(STOCK_TABLE)
    assert len(data) == partitions.TABLE_BYTES and partitions.unpacked(data) == STOCK_TABLE
    assert data[96:112] == b"\xeb\xeb" + b"\xff" * 14 and data[112:128] == hashlib.md5(data[:96]).digest()
    found = partitions.files_of(STOCK_TABLE, FLASH)
    assert (found.offset, found.end) == (0x200000, FLASH)
    with pytest.raises(ValueError, match="no partition table"):
        partitions.unpacked(b"\xff" * 100)


@pytest.mark.parametrize("megabytes", [4, 8, 16])
def test_a_table_with_two_slots_is_one_that_a_boot_loader_takes(megabytes: int) -> None:
    table = partitions.with_slots(1_600_000, megabytes << 20)
    assert partitions.errors(table, megabytes << 20) == []
    assert table[-1].end == megabytes << 20 and table[3].size >= 1_600_000
    with pytest.raises(ValueError, match="two slots"):
        partitions.with_slots(1_600_000, 2 << 20)


def test_micropython_generation_and_site_are_one_file_that_boots(mp32: Interpreter, tmp_path: Path) -> None:
    done, content = whole(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0x0200000 to " in done.stdout and "file system with generation" in done.stdout
    # LittleFS begins somewhere: what it has left erased between its first blocks and the rest is not written
    parts = [line.split() for line in done.stdout.splitlines() if "file system" in line]
    used = sum(content[at : at + 4096].strip(b"\xff") != b"" for at in range(0x200000, len(content), 4096)) * 4096
    assert used <= sum(int(words[3].replace(",", "")) for words in parts) <= used * 1.2, (used, parts)
    left = b"\xff".join(content[int(one[2], 16) : int(other[0], 16)] for one, other in itertools.pairwise(parts))
    assert left.strip(b"\xff") == b"" and int(parts[-1][2], 16) >= len(content), "nothing is left out"
    info = run("esptool", "--chip", "esp32s3", "image-info", str(tmp_path / "whole.bin"))
    assert info.returncode == 0 and "invalid" not in info.stdout.lower(), info.stdout + info.stderr
    state = tmp_path / "state"
    (state / "flash").mkdir(parents=True)
    files = content[0x200000:]
    (state / "flash.img").write_bytes(files + b"\xff" * (FLASH - 0x200000 - len(files)))
    profile = replace(named("esp32s3"), flash=FLASH - 0x200000)
    board = Board(ROOT, state_dir=state, site=None, interpreter=list(mp32.command), staged=True, profile=profile)

    async def boots() -> None:
        await board.start()
        try:
            await board.wait_line("in a, number ", 30)
            await board.wait_line("site flashed built", 20)
        finally:
            board.kill()
            await board.stop()

    asyncio.run(boots())


def test_two_slots_in_a_stock_image_are_said_with_what_they_move(tmp_path: Path) -> None:
    done, content = whole(tmp_path, "--ota-table")
    assert done.returncode == 0, done.stdout + done.stderr
    table = partitions.unpacked(content[partitions.TABLE_OFFSET :])
    assert [part.use for part in table if part.kind == "app"] == ["ota_0", "ota_1"]
    place = partitions.files_of(table, FLASH)
    assert f"the file system moves from 0x200000 (14,680,064 bytes) to 0x{place.offset:x}" in done.stdout
    assert "all that is in it is lost" in done.stdout and "nvs goes from 24,576 to 16,384 bytes: it begins empty" in done.stdout
    assert content[place.offset + 8 : place.offset + 16] == b"littlefs"
    assert b"littlefs" not in content[0x200000:0x201000], "an old file system is not there"


def test_what_is_erased_is_said_before_it_is(tmp_path: Path) -> None:
    site = tmp_path / "site.json"
    site.write_text(json.dumps(SITE))
    given = ("--port", "/dev/does-not-exist", "--firmware", str(stock(tmp_path)), "--board", "lilygo_t_2can")
    done = run("tools.flash", *given, "--site", str(site))
    assert done.returncode != 0
    assert "16 MB of flash is ERASED first: site files, records, keys, a latched emergency" in done.stdout
    kept = run("tools.flash", *given, "--keep")
    assert "everything else on the flash stays: site file, records, keys" in kept.stdout
    both = run("tools.flash", *given, "--keep", "--site", str(site))
    assert both.returncode == 2 and "--keep leaves the file system where and as it is" in both.stderr


def test_a_site_that_is_refused_is_not_flashed(tmp_path: Path) -> None:
    site = tmp_path / "site.json"
    site.write_text(json.dumps({**SITE, "power": {"max_charge_power": 4200}}))
    given = ("--port", "/dev/does-not-exist", "--firmware", str(stock(tmp_path)), "--board", "lilygo_t_2can")
    done = run("tools.flash", *given, "--site", str(site))
    assert done.returncode == 2 and "nothing was written" in done.stderr and "max_charge_power" in done.stderr


def test_a_board_flashed_with_an_image_of_our_own_refuses_older_ones_from_then_on(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "site.json").write_text("{}")
    place = Partition("vfs", "data", "fat", 0x350000, 0xB0000)
    for code in (False, True):
        parts = whole_image.files(Parcel(source, [Path("site.json")], {}, 77, "0badcafe", code), place)
        image = tmp_path / "files.img"
        content = bytearray(b"\xff" * place.size)
        for part in parts:
            content[part.offset - place.offset : part.end - place.offset] = part.content
        image.write_bytes(content)
        flash_image.unpack(image, tmp_path / str(code))
    record = generation.unsealed((tmp_path / "False" / "image").read_bytes())
    assert (record["highest"], record["now"], record["next"]) == (77, {"number": 77, "slot": "ota_0", "sha": ""}, None)
    assert not (tmp_path / "True" / "image").exists()
