"""At a simulated board's port behind leave(): the ordinary prompt, as on a chip, for people, mpremote and `make deploy`."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import pytest

from host_tests.site.test_console_board import Desk, play
from tools import deploy, serial_line
from tools.bench.bars.hands import mpremote
from tools.build import boardfile
from tools.interpreters import Interpreter
from tools.sim.board.ptyport import PtyPort

MACHINE = {64: "x64", 32: "x86"}


def test_mpremote_finds_the_ordinary_prompt_and_a_reset_starts_control_again(tmp_path: Path, mp: Interpreter) -> None:
    async def story(desk: Desk) -> None:
        port = PtyPort(desk.board, tmp_path / "port")
        port.open()
        path = str(port.path)
        try:
            await desk.ask("1 + 1")
            assert await asyncio.to_thread(serial_line.machine_code, path) == MACHINE[mp.bits], "while control runs"
            await desk.board.restart()  # it was switched on before there was a port
            await desk.board.wait_line("control begins", 30)
            await asyncio.to_thread(serial_line.leave, path)
            assert any("the program ends (leave())" in line for line in desk.board.lines)
            assert await asyncio.to_thread(serial_line.machine_code, path) == MACHINE[mp.bits], "and at the prompt"
            assert await mpremote(port.path, "resume", "exec", "x = 3", timeout=30) == ""
            assert await mpremote(port.path, "resume", "eval", "x", timeout=30) == "3\n"
            # behind a soft reset boot.py's watchdog waits 8 s, which is short for who works at the prompt
            program = "import machine\nmachine.WDT(timeout=120000)\nprint('x' in globals())"
            said = await mpremote(port.path, "exec", program, timeout=60)
            assert said == "False\n", "nothing of before is there"
            said = await mpremote(port.path, "resume", "exec", "import os\nprint(os.listdir())", timeout=30)
            assert "boot.py" in said and "site.json" in said
            assert "ZeroDivisionError" in await mpremote(port.path, "resume", "exec", "1 / 0", timeout=30)
            desk.board.lines.clear()
            await mpremote(port.path, "resume", "exec", "--no-follow", "import machine\nmachine.reset()", timeout=30)
            await desk.board.wait_line("control begins", 30)
            assert desk.board.resets == ["PWRON_RESET", "SOFT_RESET", "HARD_RESET"]
            desk.board.resets.clear()
        finally:
            await port.close()

    play(mp, tmp_path / "board", story)


@pytest.mark.parametrize("runs", ["rv32imc", "x64", "xtensawin"])
def test_a_deploy_asks_the_board_for_what_machine_it_compiles(monkeypatch: pytest.MonkeyPatch, runs: str) -> None:
    monkeypatch.setattr(deploy, "machine_code", lambda port: runs)  # there is no other board here
    given = argparse.Namespace(march=None, dry_run=None, port="/dev/x", board="generic_esp32")
    if runs == "rv32imc":
        with pytest.raises(deploy.DeployError, match=r"has an esp32 \(xtensawin\); the board at /dev/x runs rv32imc"):
            deploy.target_of(given)
        return
    board, march = deploy.target_of(given)
    assert march == runs and (board is None) == (runs == "x64"), "a simulated board has no file"
    given.board = ""
    if runs == "xtensawin":
        with pytest.raises(boardfile.BoardError, match="generic_esp32"):
            deploy.target_of(given)
