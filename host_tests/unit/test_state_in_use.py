"""storage-place: two runs never work on one state folder; the second is refused by its name and touches nothing."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.sim.board.board import Board, StateInUse

ROOT = Path(__file__).resolve().parents[2]
SITE = {"schema": 1}


async def _begin(board: Board) -> None:
    await board.start()
    await board.wait_line("control begins", 20)


def test_storage_place_a_second_run_on_one_state_folder_is_refused_by_name(tmp_path: Path) -> None:
    first, second = (Board(ROOT, state_dir=tmp_path, site=SITE) for _ in range(2))

    async def story() -> None:
        await _begin(first)
        (tmp_path / "flash" / "mark").write_text("the first one's")
        with pytest.raises(StateInUse, match=f"{tmp_path} is in use by another run .process {os.getpid()}."):
            await second.start()
        await second.stop()
        other = subprocess.run(
            [sys.executable, "-m", "tools.run", "--seconds", "2", "--headless", "--state", str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert other.returncode == 1 and f"{tmp_path} is in use" in other.stderr and "Traceback" not in other.stderr
        assert first.running and (tmp_path / "flash" / "mark").exists()
        await first.stop()
        await _begin(second)  # now it is free
        await second.stop()

    asyncio.run(story())
