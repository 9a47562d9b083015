"""The console for practice (`make run ARGS=--console`): after leave() it says what a board does then, and keeps nobody waiting."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from tools.interpreters import Interpreter
from tools.sim import practice
from tools.sim.board.board import Board
from tools.sim.practice import Practice
from tools.sim.site import Site

ROOT = Path(__file__).resolve().parents[2]


def said(mp: Interpreter, scratch: Path, *lines: str) -> list[str]:
    """What the console shows when these lines are typed."""
    told: list[str] = []
    site = Site(seed=3)
    desk = Practice(site, Board(ROOT, state_dir=scratch, site=None, interpreter=list(mp.command)), told.append)

    async def typed() -> AsyncIterator[str]:
        for line in lines:
            yield line

    async def run() -> None:
        try:
            await desk.start()
            assert await desk.play(typed()) == 0
        finally:
            await desk.stop()

    asyncio.run(run())
    return told


def test_after_leave_a_line_is_answered_by_what_a_board_has_there(mp64: Interpreter, tmp_path: Path) -> None:
    told = said(mp64, tmp_path, "leave()", "!wait 2", "why()", "pm.start()")
    assert [line for line in told if line.startswith("end: the program ends (leave())")], told
    assert told.count(f"[{practice.LEFT}]") == 2, told
    assert "!restart" in practice.LEFT


def test_leave_without_brackets_leaves_too(mp64: Interpreter, tmp_path: Path) -> None:
    told = said(mp64, tmp_path, "leave", "!wait 2", "why")
    assert [line for line in told if line.startswith("end: the program ends (leave())")], told


def test_after_leave_the_site_goes_on_and_restart_brings_the_console_back(mp64: Interpreter, tmp_path: Path) -> None:
    told = said(mp64, tmp_path, "leave()", "!wait 2", "why()", "!inject bms_silent", "!clear bms_silent", "!restart", "1 + 1")
    assert told.count(f"[{practice.LEFT}]") == 1 and "[bms_silent ends]" in told, told
    assert "= 2" in told, told


def test_a_reset_that_was_asked_for_brings_the_console_back_by_itself(mp64: Interpreter, tmp_path: Path) -> None:
    told = said(mp64, tmp_path, "import machine; machine.reset()", "!wait 4", "1 + 1")
    assert [line for line in told if line.startswith("[the board starts again")], told
    assert f"[{practice.LEFT}]" not in told and "= 2" in told, told
