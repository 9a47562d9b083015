"""The simulated board at a chip's speed: it boots, answers, is reset and cut off as any other, and its counts can be read."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from host_tests import needs
from tools.sim.board.board import Board
from tools.sim.board.chip import record, start
from tools.sim.board.chipboard import ChipBoard
from tools.sim.board.profiles import named

MAIN = """
import machine, sim_pace, sys
def work(turns):
    i = 0
    while i < turns:
        i += 1
print("cause", machine.reset_cause(), "paced", sim_pace.paced)
work(5000)
print("ready")
if sys.stdin.readline().strip() == "hang":
    machine.WDT(timeout=1000)
    while True:
        pass
machine.soft_reset()
"""


def test_collections_take_what_the_chips_heap_takes_and_not_what_the_simulation_adds(tmp_path: Path) -> None:
    needs.chip("esp32")

    def percent(own: bool, added: int) -> int:
        board = ChipBoard(named("esp32", romfs=own), tmp_path, tmp_path)
        board.constant_bytes = added
        words = " ".join(board.paced().command)
        return int(re.findall(r"gc_percent=(\d+)", words)[0])

    assert percent(True, 0) == percent(False, 0) == 100
    assert 46 <= percent(True, 124_000) <= 48, "112,000 of 236,000 bytes, and the collector's tables"


@pytest.mark.serial
def test_a_board_at_the_chips_speed_is_a_board(tmp_path: Path) -> None:
    needs.chip("esp32")
    root = tmp_path / "root"
    (root / "firmware").mkdir(parents=True)
    (root / "lib").mkdir()
    (root / "main.py").write_text(MAIN)
    (root / "boot.py").write_text("")
    board = Board(root, state_dir=tmp_path / "state", site=None, interpreter=[str(start.wrapper("esp32"))], heap="160000")
    assert board.interpreter.bits == 32

    async def story() -> None:
        await board.start()
        try:
            await board.wait_line("cause 1 paced True", 20)
            await board.wait_line("ready", 20)
            assert board._process is not None
            await asyncio.sleep(0.1)
            found = record.read(board._process.pid)
            assert found.counted > 5000 * 100 and found.collections == 0
            board.lines.clear()
            await board.send("reset")
            await board.wait_line("cause 5 paced True", 20)
            await board.wait_line("ready", 20)
            board.lines.clear()
            await board.send("hang")
            await board.wait_line("cause 3 paced True", 20)
            assert board.resets == ["SOFT_RESET", "WDT_RESET"]
        finally:
            await board.stop()
        assert not board.running

    asyncio.run(story())
