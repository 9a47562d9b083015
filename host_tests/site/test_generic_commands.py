"""What a generic table can say beside a signed setpoint: halves, directions, floats, several rows at once, other units.

The box is pymodbus's; what it makes of its registers is judged after every single write.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.constants import ExcCodes

from firmware import image as im
from host_tests.site.rig import Rig, rig
from host_tests.site.test_modbus_generic import Box, driver, served
from tools.interpreters import Interpreter

ROOT = Path(__file__).resolve().parents[2]
READS = [{"slot": "METER_P", "address": 0}]
DIRECTION = {"from": "CMD_DIRECTION", "type": "uint16", "map": {"-1": 2, "0": 0, "1": 3}}


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 150))


def table(*writes: dict[str, Any], reads: list[dict[str, Any]] = READS, **more: Any) -> dict[str, Any]:
    return {"reads": reads, "writes": list(writes), **more}


class Inverter(Box):
    """A box with a mode word at 50 and powers at 51 (charge, or both) and 52 (discharge): `did` is what it did, in W."""

    def __init__(self, halves: bool = True) -> None:
        super().__init__()
        self.registers[0:400] = [0] * 400
        self.halves = halves
        self.did: list[int] = []

    async def access(
        self, function: int, start: int, address: int, count: int, registers: list[int], values: Any
    ) -> ExcCodes | None:
        refused = await super().access(function, start, address, count, registers, values)
        if values is not None and refused is None:
            self.did.append(self.power())
        return refused

    def power(self) -> int:
        """What it does with what stands in its registers."""
        mode, charge, discharge = self.registers[50:53]
        if not self.halves:
            discharge = charge
        return {0: 0, 2: -10 * charge, 3: 10 * discharge}[mode]


def documented(number: int) -> dict[str, Any]:
    """A whole table of docs/generic_modbus.md, in the order they stand there."""
    text = (ROOT / "docs" / "generic_modbus.md").read_text(encoding="utf-8")
    made: dict[str, Any] = json.loads([b for b in re.findall(r"```json\n(.*?)```", text, re.S) if b.startswith("{")][number])
    return made


# ---- halves and directions ------------------------------------------------------------------------------------------
HALVES = (
    DIRECTION | {"address": 50},
    {"from": "CMD_CHARGE", "address": 51, "type": "uint16", "scale": 10},
    {"from": "CMD_DISCHARGE", "address": 52, "type": "uint16", "scale": 10},
)
ONE_POWER = (DIRECTION | {"address": 50}, {"from": "CMD_MAGNITUDE", "address": 51, "type": "uint16", "scale": 10})


@pytest.mark.parametrize(
    "rows", [HALVES, HALVES[::-1], ONE_POWER, ONE_POWER[::-1]], ids=["halves", "halves last", "one", "one last"]
)
def test_old_power_never_goes_the_new_way(mp: Interpreter, rows: tuple[dict[str, Any], ...]) -> None:
    """Whatever the order of the rows: after every write the box does nothing, or what was commanded."""

    async def story() -> None:
        box = Inverter(halves=len(rows) == 3)
        async with driver(mp, box, table(*rows), refresh_ms=100) as one:
            before = 0
            for watts, run_it in ((5000, 1), (-3000, 1), (7000, 1), (0, 1), (-655350, 1), (4000, 1), (4000, 0), (-19, 1)):
                box.did.clear()
                await one.command(watts, run_it)
                wanted = int(watts / 10) * 10 if run_it else 0
                await one.until(lambda wanted=wanted: bool(box.did) and box.power() == wanted)  # type: ignore[misc]
                await asyncio.sleep(0.25)
                assert set(box.did) <= {before, 0, wanted}, (watts, box.did)
                assert box.power() == wanted
                before = wanted

    run(story)


def test_halves_without_a_direction_are_never_both_there(mp64: Interpreter) -> None:
    async def story() -> None:
        box = Box()
        both: list[tuple[int, int]] = []
        access = box.access

        async def watched(function: int, start: int, address: int, count: int, registers: list[int], values: Any) -> Any:
            result = await access(function, start, address, count, registers, values)
            both.append((box.registers[51], box.registers[52]))
            return result

        box.access = watched  # type: ignore[method-assign]  # it stands between the wire and the box
        async with driver(mp64, box, table(HALVES[2], HALVES[1])) as one:
            for watts in (5000, -3000, 7000, -100):
                await one.command(watts)
                expected = (max(0, -watts // 10), max(0, watts // 10))
                await one.until(lambda expected=expected: both[-1:] == [expected])  # type: ignore[misc]
            assert all(0 in pair for pair in both)

    run(story)


def test_box_that_was_at_work_is_quiet_before_it_is_turned(mp64: Interpreter) -> None:
    """At boot, after a failure: the registers may hold anything."""

    async def story() -> None:
        box = Inverter()
        box.registers[50:53] = [3, 444, 555]
        async with driver(mp64, box, table(*HALVES)) as one:
            await one.command(-2000)
            await one.until(lambda: box.power() == -2000)
            assert set(box.did) <= {5550, 0, -2000}
            box.refuses.add(51)
            await one.command(-3000)
            while "register 51 cannot be written" not in (await one.counters())["last_error"]:
                await asyncio.sleep(0.01)
            box.registers[50:53] = [3, 0, 666]
            box.did.clear()
            box.refuses.clear()
            await one.until(lambda: box.power() == -3000)
            assert set(box.did) <= {6660, 0, -3000}

    run(story)


def test_box_that_takes_power_only_in_its_mode_is_not_stranded(mp64: Interpreter) -> None:
    async def story() -> None:
        box = Inverter()
        access = box.access

        async def choosy(function: int, start: int, address: int, count: int, registers: list[int], values: Any) -> Any:
            if values is not None and address in (51, 52) and box.registers[50] == 0:
                return ExcCodes.ILLEGAL_VALUE
            return await access(function, start, address, count, registers, values)

        box.access = choosy  # type: ignore[method-assign]
        async with driver(mp64, box, table(*HALVES)) as one:
            for watts in (5000, -3000, 7000):
                await one.command(watts)
                await one.until(lambda watts=watts: box.power() == watts)  # type: ignore[misc]

    run(story)


def test_code_by_sign_without_a_map_is_the_sign(mp64: Interpreter) -> None:
    async def story() -> None:
        box = Box()
        async with driver(mp64, box, table({"from": "CMD_DIRECTION", "address": 60})) as one:
            for watts, code in ((400, 1), (-1, 0xFFFF), (0, 0)):
                await one.command(watts)
                await one.until(lambda code=code: box.written(60)[-1:] == [[code]])  # type: ignore[misc]

    run(story)


def test_documented_hybrid_works_as_documented(mp: Interpreter) -> None:
    """The second table of docs/generic_modbus.md: halves, a mode word, differences, a meter of another unit."""

    async def story() -> None:
        hybrid, meter = Box(), Box()
        for box in (hybrid, meter):
            box.registers = [0] * 2100
        hybrid.put(1000, struct.pack(">IIHH", 0, 12345, 2, 5))
        meter.put(1100, struct.pack(">II", 0, 73215))
        async with served({1: hybrid, 2: meter}) as port:
            options = {"host": "127.0.0.1", "port": port, "table": documented(1)}
            async with rig(mp.command, "generic_modbus", options) as one:
                await one.until(lambda: one.has(PCS_P=-12345, PCS_STATE=im.PCS_RUNNING, PCS_GRID=1, METER_P=-7322))
                hybrid.put(1000, struct.pack(">II", 20000, 0))
                meter.put(1100, struct.pack(">II", 51, 0))
                await one.until(lambda: one.has(PCS_P=20000, METER_P=5))
                for watts, registers in ((25019, [3, 0, 2501]), (-9, [2, 0, 0]), (-31000, [2, 3100, 0]), (0, [0, 0, 0])):
                    await one.command(watts)
                    await one.until(lambda registers=registers: hybrid.registers[2001:2004] == registers)  # type: ignore[misc]
                assert hybrid.written(2000) == [[1]]
                assert not meter.writes

    run(story)


# ---- floats and requests of several rows ------------------------------------------------------------------------------
@pytest.mark.parametrize("order", ["big", "little"])
def test_float32_is_written_in_the_order_of_words(mp: Interpreter, order: str) -> None:
    async def story() -> None:
        box = Box()
        rows = table(
            {"from": "CMD_P", "address": 60, "type": "float32", "scale": 1000},
            {"from": "CMD_DISCHARGE", "address": 62, "type": "float32"},
            {"from": "CMD_P", "address": 64, "type": "float32", "scale": -0.5},
            {"value": 0.1, "address": 66, "type": "float32"},
            {"from": "CMD_RUN", "address": 68, "type": "float32", "map": {"0": -7, "1": 12}},
            word_order=order,
        )

        def held(address: int) -> float:
            words = box.registers[address : address + 2]
            return float(struct.unpack(">f", struct.pack(">HH", *(words if order == "big" else words[::-1])))[0])

        async with driver(mp, box, rows) as one:
            for watts in (12345, -999999, 1073741823, 1):
                await one.command(watts)
                await one.until(lambda watts=watts: abs(held(60) - watts / 1000) <= abs(watts) / 1000 * 2**-23)  # type: ignore[misc]
                await one.until(lambda: box.written(68)[-1:] != [] and held(68) == 12)
                assert abs(held(60)) * 1000 <= abs(watts), "never more than commanded"
                await one.until(lambda watts=watts: abs(held(62) - max(0, watts)) <= abs(watts) * 2**-23)  # type: ignore[misc]
                await one.until(lambda watts=watts: abs(held(64) + 2 * watts) <= abs(watts) * 2**-22)  # type: ignore[misc]
            assert held(66) == struct.unpack(">f", struct.pack(">f", 0.1))[0]
            assert box.written(66) and len(box.written(66)) == 1, "a constant is written once"
            await one.command(5000, run=0)
            await one.until(lambda: held(60) == 0 and held(68) == -7)

    run(story)


def test_rows_together_arrive_in_one_request(mp: Interpreter) -> None:
    together = [
        DIRECTION | {"address": 70},
        {"from": "CMD_MAGNITUDE", "address": 71, "type": "uint32"},
        {"value": 9, "address": 73, "type": "uint16"},
        {"from": "CMD_P", "address": 74, "type": "float32"},
    ]

    async def story() -> None:
        box = Box()
        async with driver(mp, box, table({"together": together}), refresh_ms=30000) as one:
            for watts, mode in ((70000, 3), (-70000, 2), (-5, 2), (0, 0)):
                number = len(box.writes)
                await one.command(watts)
                given = struct.pack(">HIHf", mode, abs(watts), 9, watts)
                await one.until(lambda given=given: box.written(70)[-1:] == [list(struct.unpack(">6H", given))])  # type: ignore[misc]
                assert len(box.writes) <= number + 2, "nothing is written in parts"
            assert {address for address, _ in box.writes} == {70}

    run(story)


def test_single_row_together_is_function_16(mp64: Interpreter) -> None:
    async def story() -> None:
        box = Box()
        functions: set[int] = set()
        access = box.access

        async def watched(function: int, start: int, address: int, count: int, registers: list[int], values: Any) -> Any:
            functions.add(function)
            return await access(function, start, address, count, registers, values)

        box.access = watched  # type: ignore[method-assign]  # it stands between the wire and the box
        async with driver(mp64, box, table({"together": [{"from": "CMD_RUN", "address": 70}]})) as one:
            await one.command(1)
            await one.until(lambda: box.written(70)[-1:] == [[1]])
        assert functions == {3, 16}

    run(story)


def test_what_does_not_fit_saturates_towards_zero_and_is_said(mp: Interpreter) -> None:
    """Nobody knew the site's limits, or the command went beyond them."""
    rows = table(
        {"from": "CMD_CHARGE", "address": 80, "type": "uint16"},
        {"from": "CMD_DISCHARGE", "address": 81, "type": "int16", "scale": 0.1},
        {"from": "CMD_DISCHARGE", "address": 82, "type": "int16", "scale": -1},
    )

    async def story() -> None:
        box = Box()
        async with driver(mp, box, rows) as one:
            await one.command(-70000)
            await one.until(lambda: box.registers[80:83] == [65535, 0, 0] and len(box.written(80)) > 0)
            assert "register 80 holds 0 to 65535: 70000 does not fit, 65535 is written" in (await one.counters())["note"]
            await one.command(70000)
            await one.until(lambda: box.registers[80:83] == [0, 32767, 0x8000])

    run(story)


# ---- differences ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "code", "missing"),
    [("uint16", "H", 0xFFFF), ("uint32", "I", 0xFFFFFFFF), ("int32", "i", 0x80000000), ("float32", "f", None)],
)
def test_difference_of_two_points(mp: Interpreter, kind: str, code: str, missing: int | None) -> None:
    """Import minus export, in either order of their registers, with a hole between."""
    row = {"type": kind, "scale": 10, **({} if missing is None else {"missing": missing})}
    words = struct.calcsize(f">{code}") // 2
    reads = [
        {"slot": "METER_P", "address": 100, "minus": 100 + words, **row},
        {"slot": "PCS_P", "address": 120, "minus": 110, **row, "scale": -10},
    ]

    async def story() -> None:
        box = Box()
        async with driver(mp, box, table(reads=reads)) as one:
            for more, less in ((1234, 0), (0, 1234), (60000, 59999)):
                box.put(100, struct.pack(f">2{code}", more, less))
                box.put(120, struct.pack(f">{code}", more))
                box.put(110, struct.pack(f">{code}", less))
                net = 10 * (more - less)
                await one.until(lambda net=net: one.has(METER_P=net, PCS_P=-net))  # type: ignore[misc]
            if missing is not None:
                box.put(100 + words, missing.to_bytes(2 * words, "big"))
                await one.until(lambda: one.has(METER_P=im.NO_VALUE, PCS_P=-10))
                box.put(100, missing.to_bytes(2 * words, "big") + struct.pack(f">{code}", 0))
                await asyncio.sleep(0.3)
                assert one.has(METER_P=im.NO_VALUE)

    run(story)


def test_difference_that_cannot_be_true_is_none(mp64: Interpreter) -> None:
    reads = [{"slot": "METER_P", "address": 100, "minus": 102, "type": "int32", "low": -100000, "high": 100000}]

    async def story() -> None:
        box = Box()
        box.put(100, struct.pack(">ii", 5000, 0))
        async with driver(mp64, box, table(reads=reads)) as one:
            await one.until(lambda: one.has(METER_P=5000))
            for more, less in ((100001, 0), (2**30 - 1, -(2**30 - 1)), (-(2**30 - 1), 1), (2**31 - 1, 2**31 - 1)):
                box.put(100, struct.pack(">ii", more, less))
                await asyncio.sleep(0.3)
                assert one.has(METER_P=5000), (more, less)
                assert "register 100 gives" in (await one.counters())["last_error"]

    run(story)


# ---- units and transports ---------------------------------------------------------------------------------------------
def numbered(value: int) -> Box:
    box = Box()
    box.registers[0:3] = [value] * 3
    return box


@pytest.mark.parametrize("unit", [0, 1, 247, 255])
def test_unit_of_any_number_is_asked_over_tcp(mp: Interpreter, unit: int) -> None:
    async def story() -> None:
        box = numbered(321)
        async with served({unit: box}) as port:
            options = {"host": "127.0.0.1", "port": port, "unit": unit}
            async with rig(mp.command, "generic_modbus", {**options, "table": table({"from": "CMD_P", "address": 5})}) as one:
                await one.until(lambda: one.has(METER_P=321))
                await one.command(-7)
                await one.until(lambda: box.written(5)[-1:] == [[0xFFF9]])

    run(story)


def several_units() -> tuple[dict[int, Box], dict[str, Any]]:
    boxes = {100: numbered(11), 225: numbered(22), 227: numbered(33)}
    reads = [
        {"slot": "METER_P", "address": 0},
        {"slot": "PCS_P", "address": 0, "unit": 227},
        {"slot": "PCS_STATE", "address": 1, "unit": 225, "map": {"22": 3}},
    ]
    writes = (
        {"from": "CMD_P", "address": 5, "unit": 227},
        {"from": "CMD_RUN", "address": 5},
        {"value": 3, "address": 5, "unit": 225},
    )
    return boxes, table(*writes, reads=reads)


async def all_are_asked(one: Rig, boxes: dict[int, Box]) -> None:
    await one.until(lambda: one.has(METER_P=11, PCS_P=33, PCS_STATE=3))
    await one.command(1234)
    await one.until(lambda: [boxes[u].written(5)[-1:] for u in (227, 100, 225)] == [[[1234]], [[1]], [[3]]])


def test_several_units_are_asked_on_one_connection(mp: Interpreter) -> None:
    async def story() -> None:
        boxes, rows = several_units()
        connections: list[bool] = []
        async with served(boxes, trace_connect=connections.append) as port:
            async with rig(mp.command, "generic_modbus", {"host": "127.0.0.1", "port": port, "unit": 100, "table": rows}) as one:
                await all_are_asked(one, boxes)
                boxes[225].refuses.add(1)
                while (await one.counters())["exceptions"] < 3:
                    await asyncio.sleep(0.01)
                pcs, meter = one.seq(im.SEQ_PCS), one.seq(im.SEQ_METER)
                await one.until(lambda: one.seq(im.SEQ_METER) > meter + 3)
                assert one.seq(im.SEQ_PCS) == pcs, "another unit's trouble is the PCS's, not the meter's"
                assert connections == [True]

    run(story)


def test_gateway_that_speaks_rtu_over_tcp(mp: Interpreter) -> None:
    async def story() -> None:
        boxes, rows = several_units()
        async with served(boxes, FramerType.RTU) as port:
            options = {"host": "127.0.0.1", "port": port, "unit": 100, "transport": "rtu_over_tcp", "table": rows}
            async with rig(mp.command, "generic_modbus", options) as one:
                await all_are_asked(one, boxes)
                counters = await one.counters()
                assert (counters["timeouts"], counters["rejected"]) == (0, 0)

    run(story)


def test_devices_share_a_gateway_and_cannot_ask_it_in_two_ways(mp64: Interpreter) -> None:
    async def story() -> None:
        boxes = {1: numbered(11), 2: numbered(22)}
        async with served(boxes, FramerType.RTU) as port:
            gateway = {"host": "127.0.0.1", "port": port, "transport": "rtu_over_tcp"}
            meter = {"module": "generic_modbus", "options": {**gateway, "unit": 2, "table": table()}}
            pcs = {**gateway, "table": table(reads=[{"slot": "PCS_P", "address": 0}])}
            async with rig(mp64.command, "generic_modbus", pcs, also=meter) as one:
                await one.until(lambda: one.has(PCS_P=11, METER_P=22))
            meter["options"]["transport"] = "tcp"  # type: ignore[index]
            async with rig(mp64.command, "generic_modbus", pcs, also=meter) as one:
                with pytest.raises(AssertionError, match=r"transport is tcp, another device asks .* with rtu_over_tcp"):
                    await one.until(lambda: False, 5)

    run(story)
