"""The console of a whole simulated board with power flowing: floods, pasted lines, a tight heap, and the emergency."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tools.interpreters import Interpreter
from tools.sim.board.board import Board
from tools.sim.site import Site

ROOT = Path(__file__).resolve().parents[2]
TIGHT = "300K"  # the site with both buses runs in it from files, with little to spare


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
        async with asyncio.timeout(60):
            while len(self.answers()) <= seen:
                await asyncio.sleep(0.01)
        return self.answers()[seen]

    def monitor(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.board.lines if line.startswith("{") and '"soc"' in line]

    async def until_monitor(self) -> dict[str, Any]:
        """The next line of the monitor."""
        seen = len(self.monitor())
        async with asyncio.timeout(60):
            while len(self.monitor()) == seen:
                await asyncio.sleep(0.02)
        return self.monitor()[-1]

    def site_text(self) -> str:
        """The board's site file."""
        return (self.board.flash / "site.json").read_text()

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The site's truth once it holds."""
        async with asyncio.timeout(60):
            while not holds(self.site.truth()):
                await asyncio.sleep(0.02)
        return self.site.truth()


def play(mp: Interpreter, scratch: Path, story: Callable[[Desk], Awaitable[None]], heap: str | None = None) -> None:
    async def run() -> None:
        site = Site(seed=3)
        await site.start()
        board = Board(
            ROOT, state_dir=scratch, site=site.site_json(), interpreter=list(mp.command), heap=heap
        )
        site.wire(board)
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


def test_what_is_taken_while_control_runs_lies_below_what_lives(tmp_path: Path, mp: Interpreter) -> None:
    """Each call with many locals takes its frame from the heap: behind all that lives it would be looked for past all that."""

    async def story(desk: Desk) -> None:
        async with asyncio.timeout(100):  # a piece is taken now and then, and given back with the next collection
            for name in ("app", "pm", "pm.image"):
                while await desk.ask(f"__import__('uctypes').addressof(bytearray(9000)) < id({name})") != "= True":
                    await asyncio.sleep(0.5)

    play(mp, tmp_path, story)


@pytest.mark.serial
def test_a_flood_is_cut_and_what_follows_is_answered(tmp_path: Path, mp64: Interpreter) -> None:
    async def story(desk: Desk) -> None:
        await desk.ask("monitor(100)")
        for _ in range(3):
            await desk.board.send("'x' * 500000")
        seen = len(desk.monitor())
        assert (await desk.ask("0"))[:4] == "= 'x", "the first of three"
        async with asyncio.timeout(60):
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
        async with asyncio.timeout(60):
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
        for size in (200, 1, 30) * 3:  # what a line has named goes before control lacks anything, in crumbs or to the last byte
            await desk.ask("hoard = []")
            assert "MemoryError" in await desk.ask("while True: hoard = [hoard, bytearray(%d)]" % size)
            assert "! hoard: not a command" in await desk.ask("hoard")
            assert [line for line in desk.board.lines if line.startswith("console: the heap was full: the names")]
        assert await desk.ask("app.restarts") == "= {}" and await desk.ask("1 + 1") == "= 2"
        await desk.until(lambda truth: abs(truth["pcs_kw"]) > 19)
        await desk.ask("app.hoard = None")  # what it hangs on the firmware's own objects stays
        await desk.ask("while True: app.hoard = [app.hoard, bytearray(200)]")
        await desk.board.send("while True: app.hoard = [app.hoard, bytearray(1)]")
        await asyncio.sleep(3)  # there may be no heap left for an answer
        await desk.board.send("pm.emergency_shutdown()")
        await desk.until(lambda truth: abs(truth["pcs_kw"]) < 0.1 and not truth["contactor"])

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


def test_random_bytes_cost_neither_control_nor_the_console(mp: Interpreter, tmp_path: Path) -> None:
    chance = random.Random(11)
    pieces = [b"\x01", b"\x02", b"\x03", b"\x04", b"\x05A\x01", b"\r", b"\n", b"\x1b[A", b"\t", b"print(1)", b"1/0\n", b"status\r"]

    async def story(desk: Desk) -> None:
        await desk.ask("monitor(100)")
        before = await desk.until_monitor()
        for _ in range(150):
            junk = chance.randbytes(chance.randrange(8))
            await desk.board.write(junk + chance.choice(pieces))
            await asyncio.sleep(0.005)
        await desk.board.write(b"\r\x03\x03\r\x02\x03\n")
        answers = -1
        while answers != len(desk.answers()):  # what the last bytes have asked for is answered
            answers = len(desk.answers())
            await asyncio.sleep(1)
        assert await desk.ask("6 * 7") == "= 42"
        seen = await desk.until_monitor()
        assert seen["cycles"] > before["cycles"] + 20 and seen["mode"] == "DISCHARGE" and seen["violation_w"] == 0
        await desk.until(lambda truth: truth["contactor"] and truth["pcs_kw"] > 19)
        assert await desk.ask("app.restarts") == "= {}"

    play(mp, tmp_path, story)


def test_a_pin_outlives_a_reset_and_is_nowhere_in_words(tmp_path: Path, mp32: Interpreter) -> None:
    async def story(desk: Desk) -> None:
        assert (await desk.ask("pin service technician7")).startswith("= stored")
        assert (await desk.ask("pin operate 4711")).startswith("= stored") and await desk.ask("1 + 1") == "= 2"
        kept = json.loads((desk.board.flash / "pins.json").read_text())
        assert sorted(kept) == ["crc", "operate", "schema", "service"] and "technician7" not in str(kept)
        await desk.board.restart()
        desk.board.resets.clear()
        desk.board.lines.clear()
        await desk.board.wait_line("control begins", 20)
        assert "role" in await desk.ask("1 + 1") and "role" in await desk.ask("start") and "role" in await desk.ask("leave")
        assert await desk.ask("status") == "= None"
        assert await desk.ask("login 4711") == "= the role is operate"
        assert (await desk.ask("start")).startswith("= accepted") and "role" in await desk.ask("pm.start()")
        assert "wrong PIN" in await desk.ask("login technician8")
        assert await desk.ask("login technician7") == "= the role is service"
        assert (await desk.ask("pin operate off")).startswith("= stored")
        assert (await desk.ask("pin service off")).startswith("= stored")
        assert await desk.ask("logout") == "= the role is service" and await desk.ask("1 + 1") == "= 2"
        assert not [line for line in desk.board.lines if "technician" in line or "4711" in line]
        assert await desk.ask("emergency") == "= True"

    play(mp32, tmp_path, story)
