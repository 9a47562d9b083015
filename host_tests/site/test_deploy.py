"""The way onto a board: esptool against a mock boot loader, mpremote against a MicroPython prompt, then it boots."""

import asyncio
import contextlib
import hashlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.interpreters import Interpreter
from tools.simboard.board import Board

ROOT = Path(__file__).resolve().parents[2]
SITE = {"schema": 1, "name": "deployed", "power": {"max_charge_power": 42}}


def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, **more)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file that looks like an image to esptool: its magic number, then bytes that do not compress away."""
    content = bytearray(b"\xe9\x00\x02\x20")
    while len(content) < 20_000:
        content += hashlib.sha256(content[-32:]).digest()
    path = tmp_path / "firmware.bin"
    path.write_bytes(content)
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


@pytest.mark.parametrize(
    ("board", "chip", "offset"), [("generic_esp32", "esp32", "0x00001000"), ("lilygo_t_2can", "esp32s3", "0x00000000")]
)
def test_flash_writes_and_verifies_the_image_where_the_chip_looks(board: str, chip: str, offset: str, image: Path) -> None:
    with chip_in_boot_mode(chip) as port:
        done = run(
            "tools.flash", "--port", port, "--firmware", str(image), "--board", board, "--baud", "115200", "--no-stub", "--keep"
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"at {offset}" in done.stdout, done.stdout
    assert "Hash of data verified" in done.stdout


def test_flash_refuses_the_image_for_another_chip(image: Path) -> None:
    with chip_in_boot_mode("esp32s3") as port:
        done = run("tools.flash", "--port", port, "--firmware", str(image), "--board", "generic_esp32", "--no-stub")
    assert done.returncode != 0 and "esptool failed" in done.stderr


def test_flash_refuses_what_is_no_image_before_touching_the_port(tmp_path: Path) -> None:
    text = tmp_path / "readme.txt"
    text.write_text("hello " * 1000)
    done = run("tools.flash", "--port", "/dev/does-not-exist", "--firmware", str(text))
    assert done.returncode == 2 and "begins with 0x68" in done.stderr
    done = run("tools.flash", "--port", "/dev/does-not-exist", "--firmware", str(tmp_path / "none.bin"))
    assert done.returncode == 2 and "no such file" in done.stderr
    done = run("tools.flash", "--port", "", "--firmware", str(text))
    assert done.returncode == 2 and "PORT is missing" in done.stderr


@contextlib.contextmanager
def prompt(interpreter: Interpreter, flash_dir: Path) -> Iterator[str]:
    """A MicroPython prompt in an (empty) flash directory, reached by a serial device of which this gives the path."""
    flash_dir.mkdir(parents=True)
    inside, console = os.openpty()  # the interpreter's terminal
    outside, port = os.openpty()  # the "USB cable"
    tty.setraw(console)
    tty.setraw(port)
    process = subprocess.Popen(
        list(interpreter.command), stdin=console, stdout=console, stderr=console, cwd=flash_dir, start_new_session=True
    )
    ended = threading.Event()

    def cable() -> None:
        while not ended.is_set():
            ready, _, _ = select.select([inside, outside], [], [], 0.1)
            for end in ready:
                with contextlib.suppress(OSError):
                    os.write(outside if end == inside else inside, os.read(end, 4096))

    thread = threading.Thread(target=cable, daemon=True)
    thread.start()
    try:
        yield os.ttyname(port)
    finally:
        ended.set()
        thread.join()
        process.kill()
        process.wait()
        for end in (inside, console, outside, port):
            os.close(end)


def deploy(port: str, site: Path, march: str, *more: str) -> subprocess.CompletedProcess[str]:
    # the Unix port has no soft reset and no machine.reset()
    return run("tools.deploy", "--port", port, "--site", str(site), "--march", march, "--resume", "--no-reset", *more)


def test_a_deployed_board_boots_into_the_firmware(mp64: Interpreter, tmp_path: Path) -> None:
    site = tmp_path / "site.json"
    site.write_text(json.dumps(SITE))
    flash_dir = tmp_path / "state" / "flash"
    with prompt(mp64, flash_dir) as port:
        (flash_dir / "firmware").mkdir()
        (flash_dir / "firmware" / "manager.py").write_text("raise RuntimeError('left over from an older deploy')\n")
        done = deploy(port, site, "x64", "--ssid", "plant", "--password", "secret")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "removed firmware/manager.py" in done.stdout
        again = deploy(port, site, "x64")
        assert again.returncode == 0, again.stdout + again.stderr
    on_board = json.loads((flash_dir / "site.json").read_text())
    assert on_board["board"]["name"] == "generic_esp32" and "wifi" not in on_board  # the second deploy named none
    assert (flash_dir / "firmware" / "hot.mpy").exists() and (flash_dir / "boot.py").exists()

    async def boots() -> None:
        board = Board(ROOT, state_dir=tmp_path / "state", site=None, interpreter=list(mp64.command), staged=True)
        await board.start()
        try:
            await board.wait_line("boot: reset cause 1", 20)
            await board.send("pm.config.max_charge_power")
            await board.wait_line("= 42.0", 20)
        finally:
            await board.stop()

    asyncio.run(boots())


def test_a_bad_site_file_is_refused_and_nothing_is_copied(mp64: Interpreter, tmp_path: Path) -> None:
    site = tmp_path / "site.json"
    site.write_text(json.dumps({**SITE, "power": {"max_charge_power": 4200}}))
    with prompt(mp64, tmp_path / "flash") as port:
        done = deploy(port, site, "x64")
    assert done.returncode == 1
    assert "max_charge_power" in done.stderr and "nothing was copied" in done.stderr
    assert list((tmp_path / "flash").iterdir()) == []


def test_a_port_that_is_not_there_is_said(tmp_path: Path) -> None:
    site = tmp_path / "site.json"
    site.write_text(json.dumps(SITE))
    done = deploy("/dev/ttyNONE", site, "x64")
    assert done.returncode == 1 and "mpremote" in done.stderr
