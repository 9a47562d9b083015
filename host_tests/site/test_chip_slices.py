"""A slice of every profile at the chip's speed: counts and causes, never times.

What reads flash, what a line costs and what a dead device costs, in instructions without those of collections; who held
the loop; where collections happen.  `make chip` judges the rest.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from host_tests import needs
from tools.bars import profiles, typed
from tools.bars.prepared import prepare
from tools.bars.story import SITE, JudgedSession
from tools.simboard.board import Board
from tools.simsite.shipped import ShippedSite

MILLION = 1_000_000


class Slice:
    """What one board has shown."""

    def __init__(self) -> None:
        self.boot: dict[str, Any] = {}
        self.lines: dict[str, dict[str, int]] = {}
        self.quiet: dict[str, int] = {}
        self.dead: dict[str, int] = {}
        self.end: dict[str, Any] = {}


async def _steps(run: JudgedSession) -> dict[str, int]:
    return (await run.board.figures(heap=False))["step_instructions"]


async def _story(run: JudgedSession, seen: Slice) -> None:
    calendar = run.judged.schedules > 0
    seen.boot = await run.board.figures(heap=False)
    await run.type("pm.start()")
    if calendar:
        await run.type(typed.CLOCK)
    await run.rest(1)
    await run.type("pm.set_constant_power(-20)")
    await run.flowing()
    await _steps(run)
    await run.rest(3)
    seen.quiet = await _steps(run)
    for line in dict.fromkeys((*typed.ASKED, *(typed.ASKED_OF_A_CALENDAR if calendar else ()))):
        await run.type(line.text, line.wrong)
        seen.lines[line.text] = await _steps(run)
    run.inject("pcs_silent", "meter_silent")
    await run.rest(6)
    seen.dead = await _steps(run)
    seen.end = await run.board.figures()


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
        run = JudgedSession(site, Board(root, state_dir=state, site=None, profile=judged.board), judged, story, 1, instructions=True)
        try:
            await run.play()
        finally:
            await run.close()
        return run

    return asyncio.run(play()), seen
