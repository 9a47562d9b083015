"""Writing MicroPython itself: esptool against a mock boot loader, and which image a board takes."""

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import flash
from tools.build import boardfile

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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
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
    assert done.returncode != 0 and "esptool failed" in done.stderr


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
    done = run("tools.flash", "--port", "/dev/does-not-exist", "--firmware", str(text))
    assert done.returncode == 2 and "begins with 0x68" in done.stderr
    done = run("tools.flash", "--port", "/dev/does-not-exist", "--firmware", str(tmp_path / "none.bin"))
    assert done.returncode == 2 and "no such file" in done.stderr
    done = run("tools.flash", "--port", "", "--firmware", str(text))
    assert done.returncode == 2 and "PORT is missing" in done.stderr
