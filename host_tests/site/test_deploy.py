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

import pytest

from tools.build import frozen
from tools.deploy import DeployError, compare, leave, order, prepare
from tools.interpreters import Interpreter
from tools.sim.board.board import Board

ROOT = Path(__file__).resolve().parents[2]
IO = {"type": "io_board", "estop_pin": 34}
SITE = {"schema": 1, "name": "deployed", "power": {"max_charge_power": 42}, "devices": {"io": IO}}


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


def deploy(port: str, site: Path, march: str, *more: str, board: str = "lilygo_t_2can") -> subprocess.CompletedProcess[str]:
    # the Unix port has no soft reset and no machine.reset()
    here = ("--port", port, "--board", board, "--site", str(site), "--march", march)
    return run("tools.deploy", *here, "--resume", "--no-reset", *more)


def test_a_deployed_board_boots_into_the_firmware(mp64: Interpreter, tmp_path: Path) -> None:
    site = tmp_path / "site.json"
    site.write_text(json.dumps(SITE))
    flash_dir = tmp_path / "state" / "flash"
    with prompt(mp64, flash_dir) as port:
        (flash_dir / "firmware").mkdir()
        (flash_dir / "firmware" / "manager.py").write_text("raise RuntimeError('left over from an older deploy')\n")
        done = deploy(port, site, "x64", "--ssid", "plant", "--password", "a $ecret")
        assert done.returncode == 0, done.stdout + done.stderr
        stamp = done.stdout.split("generation ")[1].split(":")[0]
        assert "removed firmware/manager.py" in done.stdout
        again = deploy(port, site, "x64")
        assert again.returncode == 0, again.stdout + again.stderr
    on_board = json.loads((flash_dir / "site.json").read_text())
    assert on_board["board"]["name"] == "lilygo_t_2can" and "wifi" not in on_board  # the second deploy named none
    assert (flash_dir / "firmware" / "kernel" / "ramp.mpy").exists() and (flash_dir / "boot.py").exists()

    async def boots() -> None:
        board = Board(ROOT, state_dir=tmp_path / "state", site=None, interpreter=list(mp64.command), staged=True)
        await board.start()
        try:
            await board.wait_line("boot: reset cause 1", 20)
            await board.wait_line(f"generation: {stamp}", 20)
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


def test_a_deploy_that_breaks_off_leaves_a_board_that_says_so_and_the_next_one_mends_it(mp64: Interpreter, tmp_path: Path) -> None:
    site = tmp_path / "site.json"
    site.write_text(json.dumps(SITE))
    flash_dir = tmp_path / "state" / "flash"
    with prompt(mp64, flash_dir) as port:
        assert deploy(port, site, "x64").returncode == 0
        (flash_dir / "lib" / "rows.mpy").unlink()
        (flash_dir / "lib" / "rows.mpy").mkdir()  # nothing can be copied here: as if the cable had been pulled
        (flash_dir / "lib" / "rows.mpy" / "x").write_text("")
        done = deploy(port, site, "x64")
        assert done.returncode == 1
        assert not (flash_dir / "firmware" / "generation.mpy").exists()

        async def boots(words: str) -> None:
            board = Board(ROOT, state_dir=tmp_path / "state", site=None, interpreter=list(mp64.command), staged=True)
            await board.start()
            try:
                await board.wait_line(words, 20)
            finally:
                await board.stop()

        asyncio.run(boots("firmware/ is unknown"))
        (flash_dir / "lib" / "rows.mpy" / "x").unlink()
        (flash_dir / "lib" / "rows.mpy").rmdir()
        done = deploy(port, site, "x64")
        assert done.returncode == 0, done.stdout + done.stderr
        asyncio.run(boots("generation: " + done.stdout.split("generation ")[1].split(":")[0]))


def test_a_file_that_arrived_spoilt_is_found_whatever_its_size(mp64: Interpreter, tmp_path: Path) -> None:
    source = tmp_path / "source"
    files = [Path("firmware/a.mpy"), Path("lib/b.mpy")]
    with prompt(mp64, tmp_path / "flash") as port:
        for path in files:
            for root in (source, tmp_path / "flash"):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text("good")
        compare(port, source, files)
        (tmp_path / "flash" / files[1]).write_text("bad!")
        with pytest.raises(DeployError, match=r"lib/b\.mpy is another"):
            compare(port, source, files)
        (tmp_path / "flash" / files[1]).unlink()
        with pytest.raises(DeployError, match=r"lib/b\.mpy is not there"):
            compare(port, source, files)


def test_the_stamp_of_firmware_is_the_last_file_and_main_the_first(tmp_path: Path) -> None:
    site = json.loads(json.dumps(SITE))
    first, last = order(prepare(tmp_path, site, "x64"))
    assert first == [Path("main.py")]
    assert last == [Path("boot.py"), Path("site.json"), Path("firmware/generation.mpy")]


def test_a_site_too_big_for_the_board_is_refused_with_figures_and_nothing_is_copied(mp64: Interpreter, tmp_path: Path) -> None:
    with prompt(mp64, tmp_path / "flash") as port:
        done = deploy(port, ROOT / "docs" / "site.example.json", "x64", board="lilygo_t_can485")
    assert done.returncode == 1
    assert "nothing was copied" in done.stderr and "KB may live there" in done.stderr
    assert "lilygo_t_2can (ESP32_GENERIC_S3-SPIRAM_OCT)" in done.stderr, "where it would fit"
    assert list((tmp_path / "flash").iterdir()) == []


def test_an_image_of_our_own_gets_the_site_and_data_files_and_no_module(mp64: Interpreter, tmp_path: Path) -> None:
    site = tmp_path / "site.json"
    site.write_text(json.dumps(SITE))
    flash_dir = tmp_path / "flash"
    with prompt(mp64, flash_dir) as port:
        (flash_dir / "firmware" / "devices").mkdir(parents=True)
        (flash_dir / "firmware" / "devices" / "io_board.mpy").write_text("old")
        (flash_dir / "data").mkdir()
        done = deploy(port, site, "x64", "--image", "own", board="generic_esp32")
    assert done.returncode == 0, done.stdout + done.stderr
    there = {path.relative_to(flash_dir) for path in flash_dir.rglob("*") if path.is_file()}
    assert there == {Path("site.json"), *frozen.data_files()} and (flash_dir / "data").is_dir()
    assert not (flash_dir / "lib").exists() and not (flash_dir / "firmware" / "devices").exists()


def test_a_port_that_is_not_there_or_has_nobody_behind_it_is_one_line(tmp_path: Path) -> None:
    site = tmp_path / "site.json"
    site.write_text(json.dumps(SITE))
    done = deploy("/dev/no-such-port", site, "x64")
    assert done.returncode == 1
    assert done.stderr.startswith("PORT=/dev/no-such-port: ") and "serial ports here:" in done.stderr
    assert done.stderr.count("\n") == 1
    outside, port = os.openpty()
    try:
        with pytest.raises(DeployError, match="no prompt within 1 s"):
            leave(os.ttyname(port), 1)
    finally:
        os.close(outside)
        os.close(port)


def test_a_table_that_the_site_names_is_deployed_and_listed(mp64: Interpreter, tmp_path: Path) -> None:
    site, flash_dir = tmp_path / "site.json", tmp_path / "state" / "flash"
    table = {"reads": [{"slot": "PV_P", "address": 3}]}
    acme = {"type": "generic_modbus", "host": "127.0.0.1", "table": "makers/acme.json"}
    site.write_text(json.dumps({**SITE, "devices": {"io": IO, "pv": acme}}))
    with prompt(mp64, flash_dir) as port:
        missing = deploy(port, site, "x64")
        assert missing.returncode == 1 and "devices.pv.table = 'makers/acme.json'" in missing.stderr
        assert list(flash_dir.iterdir()) == []
        (tmp_path / "makers").mkdir()
        (tmp_path / "makers" / "acme.json").write_text(json.dumps(table))
        done = deploy(port, site, "x64")
        assert done.returncode == 0, done.stdout + done.stderr
    assert "  makers/acme.json: a table that the site names" in done.stdout.splitlines()
    assert json.loads((flash_dir / "makers" / "acme.json").read_text()) == table

    async def boots() -> None:
        board = Board(ROOT, state_dir=tmp_path / "state", site=None, interpreter=list(mp64.command), staged=True)
        await board.start()
        try:
            await board.wait_line("control begins", 20)
            await board.send("sorted(app.site.devices), app.site.errors")
            assert await board.wait_line("= (['", 20) == "= (['io', 'pv'], [])"
        finally:
            await board.stop()

    asyncio.run(boots())
