"""factory_reset() as a person meets it: says first what it does, is refused while anything runs, then a board as it came."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tools.sim.board.board import Board

ROOT = Path(__file__).resolve().parents[2]
SITE: dict[str, Any] = {"schema": 1, "name": "yard", "clock": {"ntp": ""}, "storage": {"place": "data"}}
WORDS = ("erased:", "Wi-Fi password", "keys", "PINs", "kept:", '"ERASE"', '"ERASE ALL"', "STANDBY")


def test_it_says_what_it_does_is_refused_while_running_is_wanted_and_leaves_a_board_without_a_site(tmp_path: Path) -> None:
    async def ask(board: Board, line: str) -> list[str]:
        board.lines.clear()
        await board.send(line)
        await board.wait_line(lambda text: text.startswith(("= ", "! ")), 10)
        return list(board.lines)

    async def story() -> None:
        board = Board(ROOT, state_dir=tmp_path, site=SITE)
        await board.start()
        try:
            await board.wait_line("control begins", 30)
            (board.flash / "keys").mkdir()
            (board.flash / "keys" / "server_key.der").write_text("secret")
            told = "\n".join(await ask(board, "factory_reset()"))
            assert all(word in told for word in WORDS), told
            assert "! ValueError: word = 'yes'" in (await ask(board, "factory_reset('yes')"))[-1]
            await ask(board, "pm.start()")
            assert "pm.stop() first" in (await ask(board, "factory_reset('ERASE')"))[-1]
            assert (board.flash / "site.json").exists() and (board.flash / "keys").exists(), "what is refused changes nothing"
            await ask(board, "limit charge 5kW")
            await ask(board, "pm.stop()")
            assert "accepted" in (await ask(board, "factory_reset('ERASE')"))[-1]
            await board.wait_line("factory_reset: done", 60)
            await board.wait_line("site.json: there is no such file", 30)
            await board.wait_line("control begins", 10)
            assert board.resets == ["HARD_RESET"]
            assert "STANDBY" in (await ask(board, "Mode.name(pm.mode)"))[-1]
            assert "= []" in (await ask(board, "pm.curtailments()"))[-1], "nor with a limit that its next owner did not give"
        finally:
            await board.stop()
        left = {path.name for path in board.flash.iterdir()}
        assert left == {"boot.py", "main.py", "firmware", "lib", "www", "data"}
        events = (board.flash / "data" / "events").read_text()
        assert json.dumps("FACTORY_RESET") in events, "the log is kept, and has it"

    asyncio.run(story())
