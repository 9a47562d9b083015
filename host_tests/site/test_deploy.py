"""The way onto a board: mpremote against a MicroPython prompt, then it boots."""

import asyncio
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.interpreters import Interpreter
from tools.simboard.board import Board

ROOT = Path(__file__).resolve().parents[2]
SITE = {"schema": 1, "name": "deployed", "power": {"max_charge_power": 42}}


def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, **more)


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
