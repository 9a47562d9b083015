"""The tables of boxes that people ask for (tables/): what arrives of a served register map, and what is written, in its order.

The maps and the writes expected are written down from the makers' documents, not from the tables.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from firmware import PowerManager, battery_words
from firmware import image as im
from firmware.config import PowerConfig
from firmware.devices.generic_table import Table
from host_tests.site.rig import rig
from tools import check_site
from tools.interpreters import Interpreter
from tools.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
WARNING = "From public documents, never tried on the box."
READING = {3, 4}
Number = tuple[int, str, float | tuple[int, ...]]  # address, struct code, what is on the wire
KW20 = 20000


class Maker(NamedTuple):
    """A box: how it is reached, what its registers hold and mean, and what it has to be told, command by command."""

    unit: int
    holding: list[Number]
    image: dict[str, int]
    at_connect: list[Number]  # at 0 W
    discharge: list[Number]  # 20 kW, from 0 W
    charge: list[Number]  # 20 kW, from discharging 20 kW
    rest: list[Number]  # 0 W, from charging 20 kW
    stop: list[Number]  # not allowed to run, from discharging 20 kW
    beyond: list[Number]  # 70 kW, after that
    inputs: list[Number] = []
    little: bool = False
    refuses_70_kw: bool = False
    beside: dict[str, Any] = {}  # another device at the same host, and what it fills
    fills_beside: dict[str, int] = {}

    def words(self, number: Number) -> list[int]:
        """Its registers, high word first unless the box is `little`."""
        numbers = number[2] if isinstance(number[2], tuple) else (number[2],)
        data = struct.pack(f">{number[1]}", *numbers)
        words = list(struct.unpack(f">{len(data) // 2}H", data))
        return words[::-1] if self.little else words


MAKERS = {
    "huawei_luna2000": Maker(
        unit=1,
        holding=[
            (32064, "i", 7420), (32066, "H", 4012), (32085, "H", 4998), (32087, "h", 412), (37022, "h", -35), (37046, "I", 5000),
            (37048, "I", 5000), (37113, "i", 1740), (37118, "h", 5001), (37760, "H", 673), (37762, "H", 2), (37763, "H", 4350),
            (37764, "h", 112), (37765, "i", 4870),
        ],
        image={
            "PCS_STATE": 3, "PCS_P": -4870, "PCS_V": 4012, "PCS_HZ": 49980, "PCS_TEMP": 412, "PCS_P_CHG": 5000, "PCS_P_DIS": 5000,
            "BMS_SOC": 6730, "BMS_V": 4350, "BMS_I": -112, "BMS_TEMP": -35, "BMS_I_CHG": 500, "BMS_I_DIS": 500,
            "METER_P": -1740, "METER_HZ": 50010, "PV_P": 7420,
        },
        at_connect=[
            (47075, "I", 0), (47077, "I", 0), (47247, "I", 0), (47249, "I", 0), (47246, "H", 0), (47083, "H", 2), (47100, "H", 0),
        ],
        discharge=[(47100, "H", 2), (47077, "I", KW20), (47249, "I", KW20)],
        charge=[(47077, "I", 0), (47249, "I", 0), (47100, "H", 1), (47075, "I", KW20), (47247, "I", KW20)],
        rest=[(47075, "I", 0), (47247, "I", 0), (47100, "H", 0)],
        stop=[(47077, "I", 0), (47249, "I", 0), (47100, "H", 0)],
        beyond=[(47100, "H", 2), (47077, "I", 70000), (47249, "I", 70000)],
    ),
    "kostal_plenticore": Maker(
        unit=71,
        little=True,
        holding=[
            (56, "I", 6), (98, "f", 41.5), (152, "f", 49.98), (158, "f", 231.2), (200, "f", -12.4), (214, "f", 23.5),
            (216, "f", 402.5), (220, "f", 50.01), (230, "f", 230.0), (252, "f", -1250.5), (514, "H", 67), (582, "h", -4990),
            (1066, "f", 8123.0), (1076, "f", 5120.0), (1078, "f", 10240.0),
        ],
        image={
            "PCS_STATE": 3, "PCS_P": -4990, "PCS_V": 4004, "PCS_HZ": 49980, "PCS_TEMP": 415, "PCS_P_CHG": 5120, "PCS_P_DIS": 10240,
            "BMS_SOC": 6700, "BMS_V": 4025, "BMS_I": -124, "BMS_TEMP": 235, "BMS_I_CHG": 512, "BMS_I_DIS": 1024,
            "METER_P": -1251, "METER_V": 3984, "METER_HZ": 50010, "PV_P": 8123,
        },
        at_connect=[(1034, "f", 0)],
        discharge=[(1034, "f", KW20)],
        charge=[(1034, "f", -KW20)],
        rest=[(1034, "f", 0)],
        stop=[(1034, "f", 0)],
        beyond=[(1034, "f", 70000)],
    ),
    "sungrow_sh": Maker(
        unit=1,
        little=True,
        refuses_70_kw=True,
        holding=[],
        inputs=[
            (5007, "h", 412), (5016, "I", 7420), (5018, "H", 2312), (5213, "i", -4870), (5241, "H", 5002), (5630, "h", -121),
            (5634, "H", 30), (5635, "H", 25), (12999, "H", 0x4000), (13009, "i", 1740), (13019, "H", 4025), (13022, "H", 673),
            (13023, "H", 985), (13024, "h", -35),
        ],
        image={
            "PCS_STATE": 3, "PCS_P": -4870, "PCS_V": 4004, "PCS_HZ": 50020, "PCS_TEMP": 412, "BMS_SOC": 6730, "BMS_SOH": 9850,
            "BMS_V": 4025, "BMS_I": -121, "BMS_TEMP": -35, "BMS_I_CHG": 300, "BMS_I_DIS": 250, "METER_P": -1740, "PV_P": 7420,
            "METER_HZ": 50020, "PCS_GRID": 1,
        },
        at_connect=[(13051, "H", 0), (13049, "H", 3), (13079, "H", 30), (13050, "H", 0xCC)],
        discharge=[(13050, "H", 0xBB), (13051, "H", KW20)],
        charge=[(13051, "H", 0), (13050, "H", 0xAA), (13051, "H", KW20)],
        rest=[(13051, "H", 0), (13050, "H", 0xCC)],
        stop=[(13051, "H", 0), (13050, "H", 0xCC)],
        beyond=[(13050, "H", 0xBB), (13051, "H", 65535)],
    ),
    "goodwe_et": Maker(
        unit=247,
        refuses_70_kw=True,
        holding=[
            (35123, "H", 4999), (35176, "h", 422), (35180, "H", 3816), (35181, "h", -104), (35182, "i", -3968), (35187, "H", 1),
            (36014, "H", 5001), (36025, "i", 1556), (36052, "H", 2338), (37003, "h", 141), (37004, "H", 25), (37005, "H", 30),
            (37007, "H", 82), (37008, "H", 99), (37022, "H", 3391), (37023, "H", 0),
        ],
        image={
            "PCS_STATE": 3, "PCS_P": -3968, "PCS_HZ": 49990, "PCS_TEMP": 422, "BMS_SOC": 8200, "BMS_SOH": 9900, "BMS_V": 3816,
            "BMS_I": -104, "BMS_TEMP": 141, "BMS_I_CHG": 250, "BMS_I_DIS": 300, "CELL_V_MAX": 3391, "CELL_V_MIN": im.NO_VALUE,
            "METER_P": -1556, "METER_V": 4050, "METER_HZ": 50010, "PCS_GRID": 1,
        },
        at_connect=[(47511, "HH", (8, 0))],
        discharge=[(47511, "HH", (12, KW20))],
        charge=[(47511, "HH", (11, KW20))],
        rest=[(47511, "HH", (8, 0))],
        stop=[(47511, "HH", (8, 0))],
        beyond=[(47511, "HH", (12, 65535))],
    ),
    "sma_sunny_boy_storage": Maker(
        unit=3,
        holding=[
            (30775, "i", -2480), (30783, "I", 23012), (30803, "I", 5002), (30845, "I", 67), (30849, "i", 215), (30851, "I", 40250),
            (30865, "i", 0), (30867, "i", 1740), (30953, "i", -42), (30955, "I", 2292), (31393, "I", 2400), (31395, "I", 0),
            (40189, "I", 6050), (40191, "I", 6360),
        ],
        image={
            "PCS_STATE": 3, "PCS_P": -2480, "PCS_V": 3986, "PCS_HZ": 50020, "PCS_TEMP": -42, "PCS_P_CHG": 6050, "PCS_P_DIS": 6360,
            "BMS_SOC": 6700, "BMS_V": 4025, "BMS_I": -60, "BMS_TEMP": 215, "BMS_I_CHG": 605, "BMS_I_DIS": 636, "METER_P": -1740,
            "METER_HZ": 50020,
        },
        at_connect=[(40149, "iI", (0, 802))],
        discharge=[(40149, "iI", (KW20, 802))],
        charge=[(40149, "iI", (-KW20, 802))],
        rest=[(40149, "iI", (0, 802))],
        stop=[(40149, "iI", (0, 802))],
        beyond=[(40149, "iI", (70000, 802))],
    ),
    "solaredge_storedge": Maker(
        unit=1,
        little=True,
        holding=[
            (0xE144, "f", 5000.0), (0xE146, "f", 5000.0), (0xE16C, "f", 24.25), (0xE170, "f", 402.53), (0xE172, "f", 8.625),
            (0xE174, "f", 3470.75), (0xE184, "f", 67.34), (0xE186, "I", 3),
        ],
        image={
            "PCS_STATE": 3, "PCS_P": -3471, "PCS_P_CHG": 5000, "PCS_P_DIS": 5000, "BMS_SOC": 6734, "BMS_V": 4025, "BMS_I": -86,
            "BMS_TEMP": 243, "BMS_I_CHG": 1250, "BMS_I_DIS": 1250,
        },
        at_connect=[
            (0xE00E, "f", 0), (0xE010, "f", 0), (0xE004, "H", 4), (0xE00A, "H", 0), (0xE00B, "I", 60), (0xE00D, "H", 0),
        ],
        discharge=[(0xE00D, "H", 4), (0xE010, "f", KW20)],
        charge=[(0xE010, "f", 0), (0xE00D, "H", 3), (0xE00E, "f", KW20)],
        rest=[(0xE00E, "f", 0), (0xE00D, "H", 0)],
        stop=[(0xE010, "f", 0), (0xE00D, "H", 0)],
        beyond=[(0xE00D, "H", 4), (0xE010, "f", 70000)],
        beside={"type": "meter_sunspec", "reversed": True},
        fills_beside={"METER_P": 300, "METER_V": 4000, "METER_HZ": 50000},
    ),
}  # fmt: skip


class Served:
    """The register map of a box behind pymodbus: what is not in it reads 0; writes are kept in their order."""

    def __init__(self, maker: Maker) -> None:
        self.maps = {3: [0] * 65536, 4: [0] * 65536}
        self.writes: list[tuple[int, list[int]]] = []
        for function, numbers in ((3, maker.holding), (4, maker.inputs)):
            for number in numbers:
                words = maker.words(number)
                self.maps[function][number[0] : number[0] + len(words)] = words

    async def access(self, function: int, start: int, address: int, count: int, registers: list[int], values: Any) -> None:
        """What pymodbus calls before every access."""
        if values is not None:
            self.writes.append((address, [int(value) for value in values]))
        elif function in READING:
            registers[address - start : address - start + count] = self.maps[function][address : address + count]


@pytest.mark.parametrize("name", list(MAKERS))
def test_box_as_documented(mp64: Interpreter, name: str) -> None:
    maker = MAKERS[name]
    steps = [
        (0, 1, maker.at_connect),
        (KW20, 1, maker.discharge),
        (-KW20, 1, maker.charge),
        (0, 1, maker.rest),
        (KW20, 1, maker.discharge),
        (KW20, 0, maker.stop),
        (70000, 1, maker.beyond),
    ]

    async def story() -> None:
        box = Served(maker)
        port = free_port()
        device = SimDevice(maker.unit, [SimData(0, values=[0] * 65536, datatype=DataType.REGISTERS)], action=box.access)
        server = ModbusTcpServer([device], address=("127.0.0.1", port))
        await server.serve_forever(background=True)
        options = {"host": "127.0.0.1", "port": port, "unit": maker.unit, "refresh_ms": 30000}
        try:
            async with rig(mp64.command, "generic_modbus", {**options, "table": f"{ROOT}/tables/{name}.json"}) as one:
                for watts, run, expected in steps:
                    await one.command(watts, run)
                    due = [(number[0], maker.words(number)) for number in expected]
                    await one.until(lambda due=due: box.writes[-len(due) :] == due)  # type: ignore[misc]
                    await asyncio.sleep(0.03)
                    assert box.writes == due, (watts, run)
                    box.writes.clear()
                await one.until(lambda: one.has(**maker.image))
                counters = await one.counters()
                assert counters["exceptions"] == 0
                assert ("70000 does not fit, 65535 is written" in counters["note"]) == maker.refuses_70_kw
        finally:
            await server.shutdown()

    asyncio.run(asyncio.wait_for(story(), 150))


def site(name: str, kw: float, folder: Path) -> list[str]:
    """What the board says of a site with this box, in words."""
    place = {"host": "192.168.1.20", "unit": MAKERS[name].unit}
    box = {"type": "generic_modbus", **place, "table": f"tables/{name}.json"}
    beside = {"beside": {**place, **MAKERS[name].beside}} if MAKERS[name].beside else {}
    power = {"max_charge_power": kw, "max_discharge_power": kw, "max_grid_export_power": kw}
    path = folder / "site.json"
    path.write_text(json.dumps({"schema": 1, "power": power, "devices": {"box": box, **beside}}))
    return check_site.load(path)[1]


@pytest.mark.parametrize("name", list(MAKERS))
def test_site_that_names_it_is_good_and_one_whose_power_its_registers_do_not_hold_is_refused(name: str, tmp_path: Path) -> None:
    assert site(name, 20, tmp_path) == []
    errors = site(name, 70, tmp_path)
    assert bool(errors) == MAKERS[name].refuses_70_kw
    assert all("holds 0 to 65535" in error for error in errors)


@pytest.mark.parametrize("name", list(MAKERS))
def test_site_lacks_nothing_and_works_both_ways(name: str) -> None:
    """What the control cycle may not do without (battery, its limits, inverter, the grid) is in the table, or beside it."""
    maker = MAKERS[name]
    table = Table(json.loads((ROOT / "tables" / f"{name}.json").read_text()), 100)
    power = PowerConfig(module_count=8, cells_per_module=16, module_energy=1.25, system_voltage_nominal=409, max_soc=100)
    pm = PowerManager(power, im.Image(), table.brings | im.HAS_METER)
    groups = [seq for _, _, seq in table.groups] + ([im.SEQ_METER] if maker.beside else [])

    clock = itertools.count(step=50)
    warm = {"PCS_P": 0, "BMS_TEMP": 200}

    def commanded() -> int:
        """W, after two seconds in which everything is received again and again; the sensors flicker, as they do."""
        for now_ms in itertools.islice(clock, 40):
            for slot, value in {**maker.image, **maker.fills_beside, **warm, "BMS_I": now_ms // 50 % 2}.items():
                pm.image.inp[getattr(im, slot)] = value
            for seq in groups:
                pm.image.heard(seq)
            pm.cycle(now_ms)
        assert battery_words.missing(pm.image.now[im.MISSING]) == []
        return int(pm.image.now[im.CMD_P])

    commanded()
    pm.start()
    assert commanded() == 0
    pm.start_discharging(2)
    assert commanded() == 2000
    pm.stop_operation()
    assert commanded() == 0
    pm.start_charging()
    assert commanded() < -1000


@pytest.mark.parametrize("name", list(MAKERS))
def test_table_says_where_it_comes_from_and_every_point_of_it_is_served_here(name: str) -> None:
    table = json.loads((ROOT / "tables" / f"{name}.json").read_text())
    assert table["about"][0] == WARNING
    assert any(line.startswith("Source: ") for line in table["about"])
    assert any(line.startswith("When the controller is silent: ") for line in table["about"])
    maker = MAKERS[name]
    points = {(row.get("function", 3), row[key]) for row in table["reads"] for key in ("address", "minus") if key in row}
    assert points == {(3, number[0]) for number in maker.holding} | {(4, number[0]) for number in maker.inputs}
    assert {row["slot"] for row in table["reads"]} == set(maker.image)


def test_every_table_is_tried_here_and_in_the_document() -> None:
    assert {path.stem for path in (ROOT / "tables").iterdir()} == set(MAKERS)
    text = (ROOT / "docs" / "generic_modbus.md").read_text(encoding="utf-8")
    assert "from public documents, never tried on the box" in text.lower()
    for name in MAKERS:
        assert f"`tables/{name}.json`" in text, name
