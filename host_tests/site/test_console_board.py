"""The console of a whole simulated board with power flowing: floods, pasted lines, a tight heap, and the emergency."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tools.interpreters import Interpreter
from tools.sim.board.board import Board
from tools.sim.site import Site

ROOT = Path(__file__).resolve().parents[2]
TIGHT = "276K"  # the site with both buses runs in it from files, with little to spare


class Desk:
    """Someone at a board that discharges 20 kW."""

    def __init__(self, site: Site, board: Board) -> None:
        self.site = site
        self.board = board

    def answers(self) -> list[str]:
        return [line for line in self.board.lines if line.startswith(("= ", "! "))]

    async def ask(self, line: str) -> str:
        seen = len(self.answers())
        await self.board.send(line)
        async with asyncio.timeout(15):
            while len(self.answers()) <= seen:
                await asyncio.sleep(0.01)
        return self.answers()[seen]

    def monitor(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.board.lines if line.startswith("{") and '"soc"' in line]

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The site's truth once it holds."""
        async with asyncio.timeout(15):
            while not holds(self.site.truth()):
                await asyncio.sleep(0.02)
        return self.site.truth()


def play(mp: Interpreter, scratch: Path, story: Callable[[Desk], Awaitable[None]], heap: str | None = None) -> None:
    async def run() -> None:
        site = Site(seed=3)
        await site.start()
        board = Board(
            ROOT, state_dir=scratch, site=site.site_json(), interpreter=list(mp.command), heap=heap, env=site.env()
        )
        board.on_pin = site.board_pin
        site.on_output = board.set_pin
        for pin, level in site.inputs().items():
            board.set_pin(pin, level)
        await board.start()
        desk = Desk(site, board)
        try:
            await board.wait_line("pcs: ", 20)
            assert (await desk.ask("pm.start()")).startswith("= 'accepted")
            while not (await desk.ask("pm.set_constant_power(20)")).startswith("= 'accepted"):
                await asyncio.sleep(0.2)  # the contactors are still open
            await desk.until(lambda truth: truth["pcs_kw"] > 18)
            await story(desk)
            assert board.resets == []
        finally:
            await board.stop()
            await site.stop()

    asyncio.run(run())


@pytest.mark.serial
def test_a_flood_is_cut_and_what_follows_is_answered(tmp_path: Path, mp64: Interpreter) -> None:
    async def story(desk: Desk) -> None:
        await desk.ask("monitor(100)")
        for _ in range(3):
            await desk.board.send("'x' * 500000")
        seen = len(desk.monitor())
        assert (await desk.ask("0"))[:4] == "= 'x", "the first of three"
        async with asyncio.timeout(20):
            while desk.answers()[-1] != "= 0":
                await asyncio.sleep(0.05)
        assert max(map(len, desk.answers())) < 4300 and len([line for line in desk.answers() if "cut: longer" in line]) == 3
        assert len(desk.monitor()) >= seen + 2, "it came in between"

    play(mp64, tmp_path, story)


@pytest.mark.serial
def test_lines_pasted_at_once_are_all_answered_in_order(tmp_path: Path, mp64: Interpreter) -> None:
    async def story(desk: Desk) -> None:
        seen = len(desk.answers())
        await desk.board.write(b"".join(b"%d\n" % i for i in range(100)))
        async with asyncio.timeout(20):
            while len(desk.answers()) < seen + 100:
                await asyncio.sleep(0.05)
        assert desk.answers()[seen:] == ["= %d" % i for i in range(100)]

    play(mp64, tmp_path, story)


TYPED = (
    "import gc; gc.mem_free()", "pm.stats()", "pm.set_constant_power(-20)", "monitor(1000)", "monitor(0)", "limits()", "nonsense",
    "devices()", "pm.faults()", "pm.claims()", "pm.set_charge_params(ChargeParams(target_soc=80))", "pm.events.history()", "1 +",
)  # fmt: skip


@pytest.mark.serial
def test_every_line_works_in_a_tight_heap_and_the_emergency_last(tmp_path: Path, mp32: Interpreter) -> None:
    async def story(desk: Desk) -> None:
        for line in TYPED * 3:
            answer = await desk.ask(line)
            assert "MemoryError" not in answer and "cut" not in answer, (line, answer)
        await desk.ask("hoard = []")
        await desk.ask("while True: hoard = [hoard, bytearray(200)]")
        await desk.ask("while True: hoard = [hoard, bytearray(1)]")
        seen = len(desk.answers())
        await desk.board.send("pm.emergency_shutdown()")
        await desk.until(lambda truth: abs(truth["pcs_kw"]) < 0.1 and not truth["contactor"])
        async with asyncio.timeout(15):
            while len(desk.answers()) <= seen:
                await asyncio.sleep(0.05)
        assert desk.answers()[-1] == "= True"

    play(mp32, tmp_path, story, TIGHT)


def test_a_line_that_never_ends_is_interrupted_and_control_goes_on(mp: Interpreter, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        for line in ("while True: pass", "exec('while True:\\n try:\\n  while True: pass\\n except Exception: pass')"):
            answer = await desk.ask(line)
            assert answer.startswith("! Interrupted: the line ran for more than 2000 ms"), answer
            assert await desk.ask("1 + 1") == "= 2"
        await desk.until(lambda truth: truth["contactor"] and truth["pcs_kw"] > 19)
        assert desk.board.resets == [] and desk.board.running
        assert await desk.ask("app.restarts") == "= {}"
        assert await desk.ask("emergency") == "= True"
        await desk.until(lambda truth: truth["pcs_kw"] == 0 and not truth["contactor"])

    play(mp, tmp_path, story)
