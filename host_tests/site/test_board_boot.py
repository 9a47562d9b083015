"""Before the firmware has even been loaded, boot.py has put the outputs where they are safe and armed the watchdog."""

import asyncio
from pathlib import Path
from typing import Any

from tools.interpreters import Interpreter
from tools.simboard.board import Board

ROOT = Path(__file__).resolve().parents[2]


def boot(mp: Interpreter, tmp_path: Path, site: dict[str, Any] | None, until: str) -> tuple[Board, list[tuple[int, int]]]:
    """Boots the real boot.py with a main.py that does nothing; gives the board and every pin that moved."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "boot.py").write_text((ROOT / "boot.py").read_text())
    (root / "lib").mkdir()
    (root / "lib" / "watchdog.py").write_text((ROOT / "lib" / "watchdog.py").read_text())
    (root / "firmware").mkdir()
    (root / "main.py").write_text("import time\nprint('main')\ntime.sleep(60)\n")
    board = Board(root, state_dir=tmp_path / "state", site=site, interpreter=list(mp.command))
    moved: list[tuple[int, int]] = []
    board.on_pin = lambda pin, level: moved.append((pin, level))

    async def run() -> None:
        await board.start()
        try:
            await board.wait_line(until)
            await asyncio.sleep(0.1)
            assert board.watchdog_armed
        finally:
            moved_now = list(moved)
            await board.stop()
            moved[:] = moved_now

    asyncio.run(run())
    return board, moved


def test_the_contactor_is_open_and_supplies_are_on_before_main(mp: Interpreter, tmp_path: Path) -> None:
    site = {
        "schema": 1,
        "devices": {"io": {"type": "io_board", "contactor_pin": 25, "contactor_level": 0}},
        "board": {"name": "x", "levels": [[16, 1], [17, 0]]},
    }
    _, moved = boot(mp, tmp_path, site, "main")
    assert moved == [(25, 1), (16, 1), (17, 0)]  # this contactor closes on 0


def test_a_site_file_that_cannot_be_read_stops_nothing(mp64: Interpreter, tmp_path: Path) -> None:
    board, moved = boot(mp64, tmp_path, None, "main")
    assert any("site.json is not readable" in line for line in board.lines)
    assert moved == []
