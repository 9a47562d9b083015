"""A board and its site in a time that passes faster: what `make chip` plays for an hour, a minute of it here, for the counts."""

from __future__ import annotations

import asyncio
import selectors
import time
from pathlib import Path
from typing import Any

import pytest

from tools.bench import chip_bars
from tools.bench.bars import profiles, typed
from tools.bench.bars.story import SITE, JudgedSession, ready
from tools.interpreters import chosen
from tools.sim.board import faster
from tools.sim.board.board import Board
from tools.sim.shipped import ShippedSite

TIMES = 3  # a host that has other work too bears that: at 10 its boxes fell silent
SECONDS = 30.0


async def _story(run: JudgedSession) -> None:
    begun = time.monotonic()
    await run.type("pm.start()")
    await run.type(typed.CLOCK)
    await ready(run)
    await run.type("pm.set_constant_power(-20)")
    for line in dict.fromkeys((*typed.ASKED, *typed.ASKED_OF_A_CALENDAR)):
        if "get_schedule" not in line.text:  # without an entry it would load the scheduler: a person's command
            await run.type(line.text, line.wrong)
    run.inject("pcs_silent", "meter_silent")
    await run.rest(4)
    await run.rest(SECONDS - (time.monotonic() - begun))


@pytest.mark.serial
@pytest.mark.mp32
def test_nothing_is_read_from_flash_in_operation_whatever_is_typed_and_whatever_fails(root: Path, tmp_path: Path) -> None:
    judged = profiles.named("esp32s3")
    site = ShippedSite(root / judged.board.site, **SITE)
    board = Board(root, state_dir=tmp_path, site=None, interpreter=list(chosen("32").command), profile=judged.board)
    board.env.update(faster.environment(TIMES, tmp_path))
    run = JudgedSession(site, board, judged, _story, SECONDS)
    run.answer_s *= TIMES  # of a host that may stand still for a moment

    async def play() -> None:
        try:
            await run.play()
        finally:
            await run.close()

    faster.run(play(), TIMES)
    seen = run.summary()
    assert run.problems == [] and seen["answered"] > 35
    assert seen["seconds"] > SECONDS and seen["watched_cycles"] > 0.7 * SECONDS * 20, "so much time has passed for both"
    assert seen["flash_writes"] > 0 and seen["erases_between_cycles"] <= 1, "the log was written"
    assert seen["flash_read_by"] == []
    assert {name: seen[name] for name in ("flash_reads", "imports", "opens")} == {"flash_reads": 0, "imports": 0, "opens": 0}


def test_the_hour_is_a_run_of_the_bars() -> None:
    run = chip_bars.wanted(chip_bars.arguments().parse_args(["--story", "counts", "--hour"]))[0]
    assert (run.seconds, run.times, run.paced) == (3600.0, chip_bars.HOUR_FASTER, False)


def test_waits_are_shorter_and_the_clock_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    waits: list[float | None] = []
    real = selectors.DefaultSelector.select

    def select(self: Any, timeout: float | None = None) -> Any:
        waits.append(timeout)
        return real(self, timeout)

    monkeypatch.setattr(selectors.DefaultSelector, "select", select)

    async def work() -> None:
        begun, loop = time.monotonic(), asyncio.get_running_loop().time()
        await asyncio.sleep(2)
        seen.extend((time.monotonic() - begun, asyncio.get_running_loop().time() - loop))

    clock = time.monotonic
    faster.run(work(), 20)
    assert time.monotonic is clock
    assert min(seen) >= 2, "for who looks at the time two seconds have passed"
    longest = max(wait for wait in waits if wait is not None)
    assert 0.05 < longest <= 0.1, "and the host has slept for a twentieth of it"


def test_a_factor_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for wrong in (0, -1, 21, 2.5):
        with pytest.raises(ValueError, match="allowed are whole numbers from 1 to 20"):
            faster.environment(wrong, tmp_path)  # type: ignore[arg-type]  # what a person types
