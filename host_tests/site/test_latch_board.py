"""latch: on the board an emergency that was answered for is there after a kill, and a storage that fails resets nothing."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tools.interpreters import Interpreter
from tools.sim.board.board import Board
from tools.sim.healthy import POWER

ROOT = Path(__file__).resolve().parents[2]
SITE = {"schema": 1, "power": POWER}
MEMORY = "app.services['emergency_memory']"
# every free piece of the heap down to 32 bytes is taken, then the call is made
FILL = (
    "exec('def fill(size=65536, at=0):\\n keep = [None] * 2000\\n while size >= 32:\\n  try:\\n   keep[at] = bytearray(size)\\n"
    "   at += 1\\n  except MemoryError:\\n   size //= 2\\n return pm.emergency_shutdown()')"
)


def drive(mp: Interpreter, tmp_path: Path, story: Callable[[Board], Coroutine[Any, Any, None]], **more: Any) -> Board:
    """A board with an empty site, up and running, lets the story happen."""
    board = Board(ROOT, state_dir=tmp_path, site=SITE, interpreter=list(mp.command), **more)

    async def run() -> None:
        await board.start()
        try:
            await board.wait_line("control begins", 20)
            await story(board)
        finally:
            board.kill()
            await board.stop()

    asyncio.run(run())
    return board


async def answer(board: Board, line: str) -> str:
    """What the console says to a line."""
    board.lines.clear()
    await board.send(line)
    return await board.wait_line(lambda text: text[:2] in ("= ", "! "), 10)


async def next_start(board: Board) -> str:
    """Power cut and power on: whether it is an emergency."""
    board.kill()  # kill -9
    board.lines.clear()
    await board.restart()
    await board.wait_line("control begins", 20)
    return await answer(board, "pm.is_emergency, pm.emergency_cause")


def test_latch_what_was_answered_is_there_after_a_kill_at_once(mp: Interpreter, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        for call, expected in (
            ("pm.emergency_shutdown()", "= (True, -1)"),
            ("pm.reset_emergency()", "= (False, -1)"),
            ("pm.emergency_shutdown()", "= (True, -1)"),
            ("pm.emergency_shutdown()", "= (True, -1)"),  # it was latched already
            ("pm.reset_emergency()", "= (False, -1)"),
        ):
            assert await answer(board, call) == "= True"
            assert await next_start(board) == expected, call

    drive(mp, tmp_path, story)


def test_latch_what_goes_on_after_a_reset_is_stored_beside_the_emergency(mp: Interpreter, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        assert (await answer(board, "pm.start()")).startswith("= 'accepted")
        assert await answer(board, "pm.emergency_shutdown()") == "= True"
        assert await answer(board, MEMORY + ".resume.settle()") == "= None"  # what is due up to ten seconds after start()
        assert await answer(board, MEMORY + ".resume.stores") == "= 1"
        assert await next_start(board) == "= (True, -1)"

    drive(mp, tmp_path, story)


def test_latch_a_storage_that_fails_is_answered_and_resets_nothing(mp: Interpreter, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        (blocked := tmp_path / "nvs" / "bess.nvs.new").mkdir()  # nothing can be written
        assert await answer(board, "pm.emergency_shutdown()") == "= False"
        await board.wait_line("could NOT be stored", 5)
        assert await answer(board, "pm.is_emergency") == "= True"
        for _ in range(60):
            if await answer(board, MEMORY + ".latch.failures > 1") == "= True":
                break
            await asyncio.sleep(0.25)
        assert await answer(board, MEMORY + ".latch.failures > 1, app.restarts") == "= (True, {})"
        assert board.resets == [], "neither the watchdog nor anybody else"
        blocked.rmdir()
        await board.wait_line("is stored now", 5)
        assert await next_start(board) == "= (True, -1)"

    drive(mp, tmp_path, story)


def test_latch_a_full_heap_does_not_lose_it(mp: Interpreter, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        assert await answer(board, FILL) == "= None"
        assert await answer(board, "fill()") == "= True"
        assert await next_start(board) == "= (True, -1)"

    drive(mp, tmp_path, story, heap="512K")


def test_latch_a_callbacks_thread_may_call_it(mp: Interpreter, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        await answer(board, "said = []")
        await answer(board, "pm.register_callback(Event.CONFIG_CHANGED, lambda e, d, u: said.append(pm.emergency_shutdown()))")
        await answer(board, "pm.set_grid_connection(Grid.BACKUP)")
        for _ in range(50):
            if (await answer(board, "said")) == "= [True]":
                break
            await asyncio.sleep(0.1)
        assert await answer(board, "said, app.restarts") == "= ([True], {})"
        assert await next_start(board) == "= (True, -1)"

    drive(mp, tmp_path, story)
