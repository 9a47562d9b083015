"""The whole firmware while scale factors change under it, or answers are busy: no limit is passed, nothing trips."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
from pymodbus.constants import ExcCodes

from tools.interpreters import Interpreter
from tools.sim.board.board import Board
from tools.sim.site import Site


class Whole:
    """A site and a board in this process; `states`: what the board's monitor said, `truth`: what was so every 50 ms."""

    def __init__(self, site: Site, board: Board) -> None:
        self.site = site
        self.board = board
        self.states: list[dict[str, Any]] = []
        self.truth: list[dict[str, Any]] = []

    async def watch(self, seconds: float) -> None:
        self.truth.clear()
        for _ in range(round(seconds / 0.05)):
            self.truth.append(self.site.truth())
            await asyncio.sleep(0.05)

    async def until(self, kw: float, seconds: float = 40) -> None:
        """Wait until the inverter gives `kw`."""
        for _ in range(round(seconds / 0.1)):
            if abs(self.site.plant.pcs.power_w / 1000 - kw) < 0.5:
                return
            assert self.board.running, list(self.board.lines)[-20:]
            await asyncio.sleep(0.1)
        raise AssertionError((self.site.plant.pcs.power_w, self.states[-1:], list(self.board.lines)[-8:]))


async def play(root: Path, scratch: Path, interpreter: Interpreter, site: Site, kw: float, story: Any) -> Whole:
    """The board commands `kw`; then comes the story."""
    await site.start()
    board = Board(root, state_dir=scratch, site=site.site_json(), interpreter=list(interpreter.command))
    whole = Whole(site, board)
    board.on_line = lambda text: whole.states.append(json.loads(text)) if '"lim_dis"' in text else None
    site.wire(board)
    await board.start()
    try:
        await asyncio.sleep(3.0)
        for text in ("monitor(200)", "pm.start()"):
            await board.send(text)
        await asyncio.sleep(1.5)
        await board.send(f"pm.set_constant_power({kw}, 0)")
        await story(whole)
        board.on_line = None  # what it reports while it is stopped is another matter
    finally:
        await board.stop()
        await site.stop()
    return whole


@pytest.mark.serial
def test_meter_scale_changes_under_an_export_limit(root: Path, tmp_path: Path, mp64: Interpreter) -> None:
    """meter-scale-changes: export limit 5 kW, load 10 kW, 60 kW asked; the inverter stays at 15 kW throughout."""

    async def story(whole: Whole) -> None:
        await whole.until(15)
        await asyncio.sleep(2)
        for power in (1, 0, 2, 0):
            whole.site.meter.chain.rescale("203.W_SF", power)
            await whole.watch(2.5)
            powers = [1000 * truth["pcs_kw"] for truth in whole.truth]
            assert 14000 < min(powers) and max(powers) < 16000, (power, min(powers), max(powers))

    site = Site(seed=3, load_kw=10, power={"max_grid_export_power": 5})
    site.meter.chain.rescale("203.W_SF", 0)
    whole = asyncio.run(play(root, tmp_path, mp64, site, 60, story))
    assert whole.states[-1]["faults"] == []


@pytest.mark.serial
def test_meter_scale_changes_while_the_load_moves(root: Path, tmp_path: Path, mp64: Interpreter) -> None:
    """Export limit 5 kW: it never exports more, but for as long as the inverter takes to answer a load that fell."""

    async def story(whole: Whole) -> None:
        await whole.until(15)
        plant = whole.site.plant
        for load_kw, power in ((20, 1), (6, 2), (20, 0), (10, 2), (10, 1), (20, 2), (6, 0)):
            whole.site.meter.chain.rescale("203.W_SF", power)
            plant.set("load_kw", load_kw)
            await asyncio.sleep(1.5)  # the meter's reading, a cycle, the inverter's response
            await whole.watch(1.5)
            exported = [truth["pcs_kw"] - load_kw for truth in whole.truth]
            assert max(exported) < 5.5, (load_kw, power, max(exported))

    site = Site(seed=3, load_kw=10, power={"max_grid_export_power": 5})
    site.meter.chain.rescale("203.W_SF", 0)
    whole = asyncio.run(play(root, tmp_path, mp64, site, 60, story))
    assert whole.states[-1]["faults"] == []


@pytest.mark.serial
def test_inverter_scale_changes_at_30_kw(root: Path, tmp_path: Path, mp64: Interpreter) -> None:
    """inverter-scale-changes: 701 W_SF 1 -> 0 at 30 kW, and the setpoint's too; no false overpower, no trip."""

    async def story(whole: Whole) -> None:
        await whole.until(30)
        for factor, power in (("701.W_SF", 0), ("714.DCW_SF", 2), ("704.WSet_SF", 1), ("704.WSet_SF", 0), ("701.W_SF", 1)):
            whole.site.pcs.chain.rescale(factor, power)
            await whole.watch(1.5)
            powers = [1000 * truth["pcs_kw"] for truth in whole.truth]
            assert 29000 < min(powers) and max(powers) < 31000, (factor, power, min(powers), max(powers))

    whole = asyncio.run(play(root, tmp_path, mp64, Site(seed=3, load_kw=40), 30, story))
    assert all(state["faults"] == [] for state in whole.states[-10:])
    assert whole.states[-1]["mode"] != "TRIP"


@pytest.mark.serial
def test_busy_now_and_then_costs_no_energy(root: Path, tmp_path: Path, mp64: Interpreter) -> None:
    """busy-now-and-then: 5 % of answers are exception 6 or 0x0B, 20 ms latency, 30 kW asked: within 2 % over 30 s."""
    chance = random.Random(11)
    said: list[ExcCodes] = []

    async def busy(_address: int, _is_write: bool) -> ExcCodes | None:
        await asyncio.sleep(0.02)
        if chance.random() >= 0.05:
            return None
        said.append(chance.choice((ExcCodes.DEVICE_BUSY, ExcCodes.GATEWAY_NO_RESPONSE)))
        return said[-1]

    async def story(whole: Whole) -> None:
        await whole.until(30)
        for server in (whole.site.pcs_server, whole.site.meter_server):
            server.intercept = busy
        await whole.watch(30)
        powers = [1000 * truth["pcs_kw"] for truth in whole.truth]
        assert sum(powers) / len(powers) > 29400, (min(powers), max(powers))
        assert min(said.count(ExcCodes.DEVICE_BUSY), said.count(ExcCodes.GATEWAY_NO_RESPONSE)) > 5, said
        assert sum("SunSpec at" in line for line in whole.board.lines) <= 2, "nothing is discovered again"

    whole = asyncio.run(play(root, tmp_path, mp64, Site(seed=3, load_kw=40), 30, story))
    assert whole.states[-1]["faults"] == []
    assert "pcs_lost" not in str(whole.states[-1]["events"])
