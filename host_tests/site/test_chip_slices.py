"""A slice of every profile at the chip's speed: counts and causes, never times.

What reads flash, what a line costs and what a dead device costs, in instructions without those of collections; who held
the loop; where collections happen.  `make chip` judges the rest.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from host_tests import needs
from tools.bench.bars import follow, profiles, typed
from tools.bench.bars.prepared import prepare
from tools.bench.bars.story import SITE, JudgedSession
from tools.build import slots
from tools.sim.board.board import Board
from tools.sim.shipped import ShippedSite

pytestmark = [pytest.mark.serial, pytest.mark.slow, pytest.mark.mp32]

MILLION = 1_000_000
# Profile, and the heap it is given: the bars on heaps are make chip's, and these counts do not depend on them.
SLICES = [("esp32s3", "512K"), ("own-image", "280K"), ("wired", "160000")]
LINE = 6 * MILLION  # 48 ms of an ESP32, about one period
LONG_LINES = {"pm.upcoming(100)": 11 * MILLION}
STEP = 4 * MILLION  # of any other task, in operation
SAVE = 10 * MILLION  # of what writes to flash, where an erase takes longer
RECONNECT = 2 * MILLION
BOOT_FLASH_OPS = 15_000
BUILDERS = ("pinowners", "firmware.sitefile", "firmware.buses", "firmware.devices.generic_table")


class Slice:
    """What one board has shown."""

    def __init__(self) -> None:
        self.boot: dict[str, Any] = {}
        self.lines: dict[str, dict[str, int]] = {}
        self.quiet: dict[str, int] = {}
        self.before: dict[str, int] = {}  # behind the lines: with devices that think
        self.dead: dict[str, int] = {}
        self.line: dict[str, int] = {}  # of a wired site with devices that think: what was asked, measured and written
        self.steps: list[follow.Step] = []
        self.end: dict[str, Any] = {}
        self.builders = ""


Played = tuple[JudgedSession, Slice]


async def _steps(run: JudgedSession) -> dict[str, int]:
    return (await run.board.figures(heap=False))["step_instructions"]


async def _story(run: JudgedSession, seen: Slice) -> None:
    calendar = run.judged.schedules > 0
    seen.boot = await run.board.figures(heap=False)
    builders = BUILDERS if calendar else (*BUILDERS, "safestore")
    seen.builders = await run.type(f"[n for n in {builders} if n in __import__('sys').modules]")
    await run.type("pm.start()")
    if calendar:
        await run.type(typed.CLOCK)
    await run.rest(1)
    await run.type("pm.set_constant_power(-20)")
    await _steps(run)
    await run.rest(3)
    seen.quiet = await _steps(run)
    for line in dict.fromkeys((*typed.ASKED, *(typed.ASKED_OF_A_CALENDAR if calendar else ()))):
        await run.type(line.text, line.wrong)
        seen.lines[line.text] = await _steps(run)
    if run.judged.name == "wired":
        await _follow(run, seen)
    run.inject("pcs_silent", "meter_silent")
    seen.before = await _steps(run)  # what was asked and measured before is none of theirs
    await run.rest(6)
    seen.dead = await _steps(run)
    seen.end = await run.board.figures()


async def _follow(run: JudgedSession, seen: Slice) -> None:
    """An inverter and a meter that think 50 ms before every answer, and two setpoints."""
    assert isinstance(run.site, ShippedSite) and run.site.line is not None
    line, pcs = run.site.line, run.site.pcs_server
    for server in (pcs, run.site.meter_server):
        server.faults.delay_s, server.faults.slow = follow.THINKING_S, True

    async def counts() -> tuple[int, ...]:
        groups = (slots.constants()[name] for name in ("SEQ_PCS", "SEQ_METER"))
        rounds = [int((await run.type(f"pm.image.inp[{slot}]"))[2:]) for slot in groups]
        return (*rounds, line.requests, pcs.writes)

    before = await counts()
    for kw in (20.0, -20.0):
        seen.steps.append(await follow.one(run, kw))
    made = [after - then for then, after in zip(before, await counts(), strict=True)]
    seen.line = dict(zip(("pcs", "meter", "requests", "writes"), made, strict=True))
    seen.line["faults"] = sum((await run.counts("pm.fault_counts()")).values())
    for server in (pcs, run.site.meter_server):
        server.faults.slow = False


def slice_of(root: Path, state: Path, name: str, heap: str | None) -> tuple[JudgedSession, Slice]:
    """Plays it."""
    judged = profiles.named(name, heap)
    needs.chip(judged.board.name)
    seen = Slice()

    async def story(run: JudgedSession) -> None:
        await _story(run, seen)

    async def play() -> JudgedSession:
        site = ShippedSite(root / judged.board.site, **SITE)
        await site.start()
        try:
            await prepare(root, state, judged.board, site, judged.schedules)
        finally:
            await site.stop()
        site = ShippedSite(root / judged.board.site, **SITE)
        board = Board(root, state_dir=state, site=None, profile=judged.board)
        run = JudgedSession(site, board, judged, story, 1, instructions=True)
        try:
            await run.play()
        finally:
            await run.close()
        return run

    return asyncio.run(play()), seen


@pytest.fixture(scope="module", params=SLICES, ids=[name for name, _ in SLICES])
def played(request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """One board's slice."""
    name, heap = request.param
    return slice_of(root, tmp_path_factory.mktemp("board"), name, heap)


def test_every_line_is_answered_and_nothing_breaks(played: Played) -> None:
    """full-site-heap: each shipped example works within its board's heap, console in use."""
    run, seen = played
    assert run.problems == [] and len(seen.lines) >= 30
    assert seen.end["watched_cycles"] > 100


def test_what_has_built_the_site_is_gone(played: Played) -> None:
    assert played[1].builders == "= []"


def test_nothing_is_read_from_flash_in_operation(played: Played) -> None:
    run, seen = played
    found = run.summary()["flash_read_by"]
    assert found == []
    assert {name: seen.end[name] for name in ("flash_reads", "imports", "opens")} == {"flash_reads": 0, "imports": 0, "opens": 0}


def test_boot_reads_no_more_than_it_may(played: Played) -> None:
    assert 100 < played[1].boot["boot_flash_ops"] <= BOOT_FLASH_OPS


def test_no_line_holds_the_loop_for_longer_than_a_period(played: Played) -> None:
    costs = {line: steps["console"] for line, steps in played[1].lines.items()}
    assert min(costs.values()) > 10_000, "each was counted"
    assert {line: cost for line, cost in costs.items() if cost > LONG_LINES.get(line, LINE)} == {}


def test_no_task_holds_the_loop(played: Played) -> None:
    seen = played[1]
    assert seen.quiet["pcs"] > 10_000 and seen.quiet["bms"] > 1_000
    for steps in (seen.quiet, *seen.lines.values(), seen.before):
        held = {name: cost for name, cost in steps.items() if name != "console" and cost > (SAVE if name == "records" else STEP)}
        assert held == {}


def test_a_dead_inverter_and_meter_cost_little(played: Played) -> None:
    dead = played[1].dead
    assert 0 < dead["pcs"] <= RECONNECT and 0 < dead["meter"] <= RECONNECT
    assert dead["records" if "records" in dead else "io"] <= SAVE


def test_collections_stay_out_of_the_cycle_and_erases_come_one_at_a_time(played: Played) -> None:
    run, end = played[0], played[1].end
    assert end["collections"] > 0 and end["collections_in_cycle"] == 0
    if run.judged.name != "wired":  # a heap in which a large piece is looked for in vain now and then
        assert end["collections_unasked"] == 0, "each at its moment, none because the heap was full"
    assert end["erases_between_cycles"] <= 1
    assert 10_000 < end["cycle_instructions_max"] < MILLION


def test_a_wired_inverter_that_thinks_before_every_answer_is_measured_in_few_requests_and_followed(played: Played) -> None:
    """At 115200 bit/s a request costs its device's time to think, not the line's: so many a round is what the line can bear."""
    seen = played[1].line
    if played[0].judged.name != "wired":
        assert seen == {}, "no inverter on a serial line"
        return
    rounds, written = seen["pcs"] + seen["meter"], seen["writes"]
    assert seen["pcs"] > 10 and seen["meter"] > 10 and written > 10
    assert seen["requests"] <= 2 * seen["pcs"] + seen["meter"] + 2 * written + 5, "one more a round for what changes slowly"
    assert rounds > written / 2, "commands leave the line to measurements"
    assert all(step.first_write_s is not None and step.reached_s is not None for step in played[1].steps)
    assert seen["faults"] == 0, "nobody took it for lost"
