"""The simulated board at a chip's speed: it boots, answers, is reset and cut off as any other, and its counts can be read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from host_tests import needs
from tools.sim.board.board import Board
from tools.sim.board.chip import record, start

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
