"""The BMS driver in a real MicroPython against a battery simulated with python-can, over a CAN bus made of slcan."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from firmware import image as im
from tools.interpreters import Interpreter
from tools.sim.devices.bms_can import BmsOnCan
from tools.sim.devices.canhub import CanHub
from tools.sim.physics.bms import UNDER_VOLTAGE
from tools.sim.physics.plant import Plant, PlantOptions

ROOT = Path(__file__).resolve().parents[2]
Told = dict[str, Any]


class Board:
    """The driver's interpreter, and what it said last."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.told: Told = {}
        self.other: list[str] = []

    async def until(self, true: Callable[[Told], bool], seconds: float = 30.0) -> Told:
        """Read what the board prints until it is true."""
        assert self.process.stdout
        async with asyncio.timeout(seconds):
            while not (self.told and true(self.told)):
                line = (await self.process.stdout.readline()).decode()
                assert line, f"the board ended: {self.other} {self.told}"
                if line.startswith("{"):
                    self.told = json.loads(line)
                else:
                    self.other.append(line)
        return self.told


async def _board(interpreter: Interpreter, hub: CanHub, options: dict[str, Any]) -> Board:
    path = f"{ROOT / 'tools' / 'sim' / 'board' / 'modules'}:{ROOT}:{ROOT / 'lib'}:.frozen"
    process = await asyncio.create_subprocess_exec(
        *interpreter.command,
        str(ROOT / "host_tests" / "site" / "bms_board.py"),
        json.dumps({"bus": "can0", "period_ms": 200, **options}),
        env={**os.environ, "MICROPYPATH": path, "SIM_CAN0": f"127.0.0.1:{hub.port}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return Board(process)


def _with_battery(
    interpreter: Interpreter,
    story: Callable[[Board, BmsOnCan, Plant, CanHub], Any],
    options: dict[str, Any] | None = None,
    pack: PlantOptions | None = None,
    **battery: Any,
) -> None:
    async def run() -> None:
        hub = CanHub()
        await hub.start()
        plant = Plant(pack or PlantOptions())
        bms = BmsOnCan(plant, random.Random(3), **battery)
        bms.start(hub.port)
        board = await _board(interpreter, hub, options or {})
        try:
            await story(board, bms, plant, hub)
        finally:
            board.process.kill()
            await board.process.wait()
            bms.stop()
            await hub.stop()

    asyncio.run(run())


def test_every_group_of_the_image_holds_what_the_battery_said(mp: Interpreter) -> None:
    async def story(board: Board, bms: BmsOnCan, plant: Plant, hub: CanHub) -> None:
        plant.pack.current_a = 80.4
        plant.bms.noise = 0.0  # what it says next is then what it said
        told = await board.until(lambda t: t["inp"][im.SEQ_BMS_FLAGS] >= 2 and bool(t["equipment"]))
        inp, report = told["inp"], plant.bms.report()
        assert inp[im.BMS_V] == round(report.voltage_v * 10)
        assert inp[im.BMS_I] == round(report.current_a * 10) == 804
        assert inp[im.BMS_SOC] == report.soc_pct * 100
        assert inp[im.BMS_V_MAX] == round(report.charge_cutoff_v * 10)
        assert inp[im.BMS_V_MIN] == round(report.discharge_cutoff_v * 10)
        assert inp[im.BMS_I_CHG] == round(report.charge_limit_a * 10)
        assert inp[im.BMS_I_DIS] == round(report.discharge_limit_a * 10)
        assert [inp[im.CELL_V_MAX], inp[im.CELL_V_MIN]] == [report.cell_max_mv, report.cell_min_mv]
        assert inp[im.CELL_T_MAX] == round(report.cell_max_c * 10)
        assert inp[im.CELL_T_MIN] == round(report.cell_min_c * 10)
        assert inp[im.BMS_STATUS] == report.status
        assert all(inp[slot] >= 1 for slot in range(im.SEQ_BMS, im.SEQ_BMS_FLAGS + 1))
        assert told["bms"]["rejected"] == 0 and told["bms"]["timeouts"] == 0
        assert told["equipment"]["cells"] == plant.pack.cells

    _with_battery(mp, story)


def test_a_maker_that_counts_its_discharge_limit_below_zero_is_understood(mp64: Interpreter) -> None:
    async def story(board: Board, bms: BmsOnCan, plant: Plant, hub: CanHub) -> None:
        told = await board.until(lambda t: t["inp"][im.SEQ_BMS_LIMITS] >= 1)
        assert told["inp"][im.BMS_I_DIS] == round(plant.bms.report().discharge_limit_a * 10)

    _with_battery(mp64, story, discharge_limit_negative=True)


def test_a_silent_battery_is_counted_and_heard_again(mp64: Interpreter) -> None:
    async def story(board: Board, bms: BmsOnCan, plant: Plant, hub: CanHub) -> None:
        await board.until(lambda t: t["inp"][im.SEQ_BMS] >= 2)
        bms.silent = True
        told = await board.until(lambda t: t["bms"]["timeouts"] >= 3)
        stood = told["inp"][im.SEQ_BMS]
        told = await board.until(lambda t: t["bms"]["timeouts"] >= 4)
        assert told["inp"][im.SEQ_BMS] == stood
        bms.silent = False
        await board.until(lambda t: t["inp"][im.SEQ_BMS] > stood)

    _with_battery(mp64, story)


@pytest.mark.parametrize("fault", ["lossy", "wrong_length"])
def test_a_noisy_wire_costs_frames_and_nothing_else(mp64: Interpreter, fault: str) -> None:
    async def story(board: Board, bms: BmsOnCan, plant: Plant, hub: CanHub) -> None:
        setattr(bms, fault, True)
        told = await board.until(lambda t: bms.spoilt > 20 and t["inp"][im.SEQ_BMS] > 2)
        setattr(bms, fault, False)
        before = told["inp"][im.SEQ_BMS]
        told = await board.until(lambda t: t["inp"][im.SEQ_BMS] > before + 2)
        assert told["inp"][im.BMS_SOC] == plant.bms.report().soc_pct * 100
        assert told["bus"]["handler_errors"] == 0
        assert (told["bms"]["rejected"] > 0) == (fault == "wrong_length")

    _with_battery(mp64, story)


def test_a_bus_that_goes_away_and_comes_back_is_survived(mp64: Interpreter) -> None:
    async def story(board: Board, bms: BmsOnCan, plant: Plant, hub: CanHub) -> None:
        await board.until(lambda t: t["inp"][im.SEQ_BMS] >= 2)
        port = hub.port
        bms.stop()
        await hub.stop()
        told = await board.until(lambda t: t["bms"]["send_errors"] >= 2)
        await hub.start(port)
        bms.start(port)
        await board.until(lambda t: t["inp"][im.SEQ_BMS] > told["inp"][im.SEQ_BMS] + 1)

    _with_battery(mp64, story)


def _low_voltage(story: Callable[[Board, BmsOnCan, Plant, CanHub], Any], interpreter: Interpreter) -> None:
    async def prepared(board: Board, bms: BmsOnCan, plant: Plant, hub: CanHub) -> None:
        await board.until(lambda t: t["inp"][im.SEQ_BMS_FLAGS] >= 1 and t["inp"][im.SEQ_BMS_CELLS] >= 1)
        await story(board, bms, plant, hub)

    async def run() -> None:
        hub = CanHub()
        await hub.start()
        plant = Plant(PlantOptions(modules=1, energy_kwh=16.0))
        bms = BmsOnCan(plant, random.Random(3), variant="lv", period_s=0.2)
        bms.start(hub.port)
        board = await _board(interpreter, hub, {"variant": "lv"})
        try:
            await prepared(board, bms, plant, hub)
        finally:
            board.process.kill()
            await board.process.wait()
            bms.stop()
            await hub.stop()

    asyncio.run(run())


def test_a_low_voltage_pack_is_read_with_its_cells_and_kept_alive(mp: Interpreter) -> None:
    async def story(board: Board, bms: BmsOnCan, plant: Plant, hub: CanHub) -> None:
        plant.bms.noise = 0.0
        told = await board.until(lambda t: bms.alive >= 2 and t["inp"][im.SEQ_BMS] >= 3)
        inp, report = told["inp"], plant.bms.report()
        assert [inp[im.BMS_SOC], inp[im.BMS_V]] == [report.soc_pct * 100, round(report.voltage_v * 10)]
        assert [inp[im.CELL_V_MAX], inp[im.CELL_V_MIN]] == [report.cell_max_mv, report.cell_min_mv]
        assert abs(inp[im.CELL_T_MAX] - report.cell_max_c * 10) <= 10, "whole kelvins"
        assert told["bms"]["rejected"] == 0 and told["bms"]["oddities"] == [] and told["bms"]["alarms"] == []

    _low_voltage(story, mp)


def test_a_broken_sensor_and_a_stray_alarm_cost_themselves_on_the_wire(mp64: Interpreter) -> None:
    async def story(board: Board, bms: BmsOnCan, plant: Plant, hub: CanHub) -> None:
        bms.override = {
            0x356: bytes.fromhex("B914350124FA"),  # -150.0 degC
            0x359: bytes.fromhex("0010000001504E"),
            0x372: bytes.fromhex("0300010000000000"),
        }
        told = await board.until(lambda t: len(t["bms"]["alarms"]) >= 4 and bool(t["bms"]["oddities"]))
        assert told["inp"][im.BMS_V] == 531 and told["inp"][im.BMS_TEMP] == im.NO_VALUE
        assert "temperature -150.0 degC cannot be true" in told["bms"]["oddities"][0]
        alarms = " / ".join(told["bms"]["alarms"])
        assert "without a known meaning" in alarms and "0x359: 00 10 00 00" in alarms and "1 block charging" in alarms
        bms.override = {0x351: None}
        stood = told["inp"][im.SEQ_BMS_LIMITS]
        told = await board.until(lambda t: t["inp"][im.SEQ_BMS] > told["inp"][im.SEQ_BMS] + 3)
        assert told["inp"][im.SEQ_BMS_LIMITS] <= stood + 1, "only what is sent is heard"

    _low_voltage(story, mp64)


def test_two_low_voltage_batteries_on_one_bus_are_found_on_the_wire(mp64: Interpreter) -> None:
    async def story(board: Board, bms: BmsOnCan, plant: Plant, hub: CanHub) -> None:
        second = Plant(PlantOptions(modules=1, energy_kwh=16.0, soc=88.0))
        other = BmsOnCan(second, random.Random(4), variant="lv", period_s=0.2)
        await asyncio.sleep(0.1)
        other.start(hub.port)
        try:
            told = await board.until(lambda t: max(0, t["inp"][im.BMS_ODD]) & im.BMS_ODD_TWO)
            assert "two batteries" in told["bms"]["oddities"][-1]
        finally:
            other.stop()

    _low_voltage(story, mp64)


def test_an_empty_pack_closes_its_contactors_when_it_is_asked_to_charge(mp64: Interpreter) -> None:
    """uv-recharge-hv, on the wire"""

    async def story(board: Board, bms: BmsOnCan, plant: Plant, hub: CanHub) -> None:
        plant.set("soc", 0.2)
        plant.bms.opens_when_empty = True
        plant.bms.protection = UNDER_VOLTAGE  # it stays until the cells are above 2.9 V
        plant.bms.step(0.1)
        assert plant.bms.empty_open
        await board.until(lambda t: t["inp"][im.BMS_PROTECT] == im.BMS_PROT_UNDER_V)
        for _ in range(30):
            await asyncio.sleep(0.1)
            plant.bms.step(0.1)
            if not plant.bms.empty_open:
                break
        assert plant.bms.protection == UNDER_VOLTAGE and not plant.bms.empty_open

    _with_battery(mp64, story, {"contactor": 1})


def test_other_makers_batteries_are_read_and_told_what_they_want(mp64: Interpreter) -> None:
    for maker, who in (("growatt", 0x301), ("byd", 0x151)):

        async def story(board: Board, bms: BmsOnCan, plant: Plant, hub: CanHub, maker: str = maker, who: int = who) -> None:
            plant.bms.noise = 0.0
            told = await board.until(lambda t: bms.alive >= 2 and t["inp"][im.SEQ_BMS] >= 3 and t["inp"][im.SEQ_BMS_LIMITS] >= 3)
            inp, report = told["inp"], plant.bms.report()
            wanted = [report.soc_pct * 100, report.voltage_v * 10, report.charge_cutoff_v * 10, report.discharge_limit_a * 10]
            assert [inp[slot] for slot in (im.BMS_SOC, im.BMS_V, im.BMS_V_MAX, im.BMS_I_DIS)] == pytest.approx(wanted, abs=1)
            assert told["bms"]["rejected"] == 0 and told["bms"]["oddities"] == [] and who in bms.heard
            if maker == "growatt":
                assert [inp[im.CELL_V_MAX], inp[im.CELL_V_MIN]] == [report.cell_max_mv, report.cell_min_mv]
            else:
                await board.until(lambda t: bms.heard[0x151][0] == 0 and 0x91 in bms.heard and 0xD1 in bms.heard)
                assert int.from_bytes(bms.heard[0x91][:2], "big") == pytest.approx(report.voltage_v * 10, abs=1)
                assert board.told["equipment"]["nominal_kwh"] == plant.options.energy_kwh
            bms.override = {0x311: None, 0x110: None}
            stood = board.told["inp"][im.SEQ_BMS_LIMITS]
            told = await board.until(lambda t: t["inp"][im.SEQ_BMS] > inp[im.SEQ_BMS] + 4)
            assert told["inp"][im.SEQ_BMS_LIMITS] <= stood + 1, "only what is sent is heard"

        pack = PlantOptions(modules=1, energy_kwh=16.0) if maker == "growatt" else PlantOptions()
        _with_battery(mp64, story, {"maker": maker, "current_max": 1000}, pack, variant=maker, period_s=0.2)
