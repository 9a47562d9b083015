"""The generic Modbus driver: a box without SunSpec, described by a JSON table, served by pymodbus."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from firmware import image as im
from host_tests.site.rig import Rig, rig
from tools.interpreters import Interpreter
from tools.ports import free_port

TABLE: dict[str, Any] = {
    "name": "Acme PCS and meter",
    "word_order": "little",
    "reads": [
        {"slot": "PCS_P", "address": 100, "type": "int32", "scale": -0.1, "low": -200000, "high": 200000},
        {"slot": "PCS_V", "address": 102, "type": "uint16", "missing": 0xFFFF},
        {"slot": "PCS_HZ", "address": 103, "type": "uint16", "scale": 10},
        {"slot": "PCS_STATE", "address": 104, "type": "uint16", "map": {"0": 0, "1": 2, "2": 3, "7": 4}},
        {"slot": "PCS_GRID", "address": 105, "type": "uint16", "mask": 8},
        {"slot": "PCS_TEMP", "address": 300, "type": "int16", "offset": -400, "period_ms": 300},
        {"slot": "METER_P", "address": 106, "type": "float32", "scale": 1000},
        {"slot": "METER_HZ", "address": 20, "type": "uint32", "function": 4},
    ],
    "writes": [
        {"from": "CMD_RUN", "address": 200, "type": "uint16", "map": {"0": 5, "1": 9}},
        {"from": "CMD_P", "address": 202, "type": "int32", "scale": -10},
        {"value": 77, "address": 206, "type": "uint16"},
        {"heartbeat": True, "address": 207, "type": "uint16"},
    ],
}


class Box:
    """A device with plain registers; every write is recorded as (address, values)."""

    def __init__(self) -> None:
        self.registers = [0] * 400
        self.writes: list[tuple[int, list[int]]] = []
        self.reads: list[tuple[int, int, int]] = []
        self.refuses: set[int] = set()
        self.holds: dict[int, list[float]] = {}  # by address: s for which its next answers are held back, each
        self.put(100, struct.pack("<i", 412340), words="little")
        self.put(102, struct.pack(">HHHH", 4012, 5001, 2, 0b1100))
        self.put(106, struct.pack("<f", -73.25), words="little")
        self.put(300, struct.pack(">h", 712))
        self.put(20, struct.pack("<I", 49990), words="little")

    def put(self, address: int, data: bytes, words: str = "big") -> None:
        """Bytes into registers; little: the low word comes first."""
        code = "<" if words == "little" else ">"
        numbers = struct.unpack(f"{code}{len(data) // 2}H", data)
        self.registers[address : address + len(numbers)] = numbers

    async def access(
        self, function: int, start: int, address: int, count: int, registers: list[int], values: Any
    ) -> ExcCodes | None:
        """What pymodbus calls before every access."""
        if address in self.refuses:
            return ExcCodes.ILLEGAL_ADDRESS
        if self.holds.get(address):
            await asyncio.sleep(self.holds[address].pop(0))
        if values is None and function in (3, 4):
            self.reads.append((function, address, count))
        elif values is not None:
            self.writes.append((address, [int(v) for v in values]))
            self.registers[address : address + count] = [int(v) for v in values]
        registers[: len(self.registers)] = self.registers
        return None

    def written(self, address: int) -> list[list[int]]:
        """The values written at an address, in order."""
        return [values for at, values in self.writes if at == address]


@contextlib.asynccontextmanager
async def served(boxes: dict[int, Box], framer: FramerType = FramerType.SOCKET, **more: Any) -> AsyncIterator[int]:
    """These units behind one port of a pymodbus server."""
    port = free_port()
    devices = [
        SimDevice(unit, [SimData(0, values=list(box.registers), datatype=DataType.REGISTERS)], action=box.access)
        for unit, box in boxes.items()
    ]
    server = ModbusTcpServer(devices, address=("127.0.0.1", port), framer=framer, **more)
    await server.serve_forever(background=True)
    try:
        yield port
    finally:
        await server.shutdown()


@contextlib.asynccontextmanager
async def driver(mp: Interpreter, box: Box, table: Any = TABLE, **options: Any) -> AsyncIterator[Rig]:
    async with served({1: box}) as port:
        given = {"host": "127.0.0.1", "port": port, "table": table, **options}
        async with rig(mp.command, "generic_modbus", given) as one:
            yield one


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 150))


def test_table_fills_the_image(mp: Interpreter) -> None:
    async def story() -> None:
        box = Box()
        async with driver(mp, box) as one:
            await one.until(lambda: one.seq(im.SEQ_PCS) >= 2 and one.seq(im.SEQ_METER) >= 2)
            assert one.has(PCS_P=-41234, PCS_V=4012, PCS_HZ=50010, PCS_STATE=im.PCS_RUNNING, PCS_GRID=1, PCS_TEMP=312)
            assert one.has(METER_P=-73250, METER_HZ=49990)
            assert one.seq(im.SEQ_BMS) == 0
            assert {(f, a, c) for f, a, c in box.reads} == {(3, 100, 8), (3, 300, 1), (4, 20, 2)}, "fewest requests"
            box.put(102, struct.pack(">H", 0xFFFF))
            await one.until(lambda: one.has(PCS_V=im.NO_VALUE))

    run(story)


def test_command_is_written_scaled_and_cut_off_towards_zero(mp: Interpreter) -> None:
    async def story() -> None:
        box = Box()
        async with driver(mp, box) as one:
            await one.command(12349)
            await one.until(lambda: [0x10000 - 1234, 0xFFFF] in box.written(202))
            await one.until(lambda: box.written(200)[-1:] == [[9]] and box.written(206)[:1] == [[77]])
            await one.command(-12349, run=0)
            await one.until(lambda: box.written(200)[-1:] == [[5]] and box.written(202)[-1:] == [[0, 0]])
            await one.until(lambda: len(box.written(207)) >= 3)
            beats = [values[0] for values in box.written(207)]
            assert beats == sorted(set(beats))

    run(story)


def test_box_is_left_to_its_own_watchdog_when_the_control_cycle_stops(mp64: Interpreter) -> None:
    async def story() -> None:
        box = Box()
        async with driver(mp64, box, control_timeout_ms=300, refresh_ms=100) as one:
            await one.command(1000)
            await one.until(lambda: len(box.written(202)) > 3)
            await one.send({"cycle": 0})
            await asyncio.sleep(0.7)
            number = len(box.writes)
            await asyncio.sleep(1.2)
            assert len(box.writes) == number

    run(story)


def test_values_that_cannot_be_true_and_unknown_states_keep_the_group_from_being_heard(mp64: Interpreter) -> None:
    async def story() -> None:
        for address, data in ((104, struct.pack(">H", 99)), (100, struct.pack("<i", 99999999))):
            box = Box()
            async with driver(mp64, box) as one:
                await one.until(lambda one=one: one.seq(im.SEQ_PCS) >= 1)  # type: ignore[misc]
                box.put(address, data, words="little")
                await asyncio.sleep(0.4)
                heard = one.seq(im.SEQ_PCS)
                await asyncio.sleep(0.5)
                assert one.seq(im.SEQ_PCS) == heard
                assert one.has(PCS_P=-41234, PCS_STATE=im.PCS_RUNNING)
                for _ in range(60):
                    if (await one.counters())["rejected"] > 2:
                        break
                    await asyncio.sleep(0.1)
                assert (await one.counters())["rejected"] > 2

    run(story)


def test_a_state_that_the_map_does_not_have_is_named_with_those_that_it_has(mp64: Interpreter) -> None:
    async def story() -> None:
        box = Box()
        async with driver(mp64, box) as one:
            await one.until(lambda: one.seq(im.SEQ_PCS) >= 1)
            box.put(104, struct.pack(">H", 99))
            async with asyncio.timeout(20):
                while "register 104 says 99, its map has 0, 1, 2, 7" not in (await one.counters())["last_error"]:
                    await asyncio.sleep(0.1)
            assert "register 104 says 99" in (await one.counters())["note"]

    run(story)


def test_slow_block_that_fails_loses_its_own_values_only(mp64: Interpreter) -> None:
    async def story() -> None:
        box = Box()
        async with driver(mp64, box) as one:
            await one.until(lambda: one.has(PCS_TEMP=312))
            box.refuses.add(300)
            await one.until(lambda: one.has(PCS_TEMP=im.NO_VALUE))
            heard = one.seq(im.SEQ_PCS)
            await one.until(lambda: one.seq(im.SEQ_PCS) > heard + 3)
            assert one.has(PCS_P=-41234)

    run(story)


def test_a_slow_value_that_its_group_needs_is_not_passed_on_while_it_cannot_be_read(mp64: Interpreter) -> None:
    async def story() -> None:
        box = Box()
        reads = [
            {"slot": "METER_V", "address": 102, "type": "uint16"},
            {"slot": "METER_P", "address": 106, "type": "int16", "period_ms": 800},
        ]
        async with driver(mp64, box, {"reads": reads}) as one:
            await one.until(lambda: one.seq(im.SEQ_METER) >= 20)
            box.refuses.add(106)
            await asyncio.sleep(3.0)
            heard = one.seq(im.SEQ_METER)
            await asyncio.sleep(1.0)
            assert one.seq(im.SEQ_METER) == heard
            box.refuses.clear()
            await one.until(lambda: one.seq(im.SEQ_METER) > heard + 3)

    run(story)


SLOW = {
    "reads": [
        {"slot": "METER_HZ", "address": 20, "type": "uint16"},
        {"slot": "METER_P", "address": 106, "type": "int16", "period_ms": 3000},
    ]
}


def test_one_lost_answer_of_a_slow_block_is_asked_for_again_and_its_group_is_heard_all_the_while(mp64: Interpreter) -> None:
    async def story() -> None:
        box = Box()
        async with driver(mp64, box, SLOW, timeout_ms=200) as one:
            await one.until(lambda: one.seq(im.SEQ_METER) >= 2)
            box.holds[106] = [0.3]  # longer than anybody waits
            box.put(106, struct.pack(">h", 777))
            await one.until(lambda: not box.holds[106])
            lost = len([1 for _, address, _ in box.reads if address == 106])
            heard, longest, since = one.seq(im.SEQ_METER), 0.0, 0.0
            for _ in range(100):
                await asyncio.sleep(0.02)
                before, heard = heard, one.seq(im.SEQ_METER)
                since = 0.0 if heard != before else since + 0.02
                longest = max(longest, since)
                if one.has(METER_P=777):
                    break
            assert one.has(METER_P=777), "it is asked for again long before its 3 s are over"
            assert longest < 0.7, longest
            assert len([1 for _, address, _ in box.reads if address == 106]) <= lost + 2

    run(story)


def test_a_slow_block_that_answers_no_more_keeps_its_group_for_its_period_and_hurts_no_other(mp64: Interpreter) -> None:
    async def story() -> None:
        box = Box()
        table = {"reads": SLOW["reads"] + [{"slot": "PCS_P", "address": 200, "type": "int16"}]}
        async with driver(mp64, box, table, timeout_ms=200) as one:
            await one.until(lambda: one.seq(im.SEQ_METER) >= 2)
            box.holds[106] = [0.25] * 100
            await one.until(lambda: len(box.holds[106]) < 100)
            asked = len(box.reads)
            meter, inverter = one.seq(im.SEQ_METER), one.seq(im.SEQ_PCS)
            await asyncio.sleep(0.5)
            assert one.seq(im.SEQ_METER) > meter, "3 s and three time-outs old at most: it counts"
            await asyncio.sleep(4.0)
            meter = one.seq(im.SEQ_METER)
            await asyncio.sleep(2.0)
            assert one.seq(im.SEQ_METER) == meter, "now nobody knows it"
            assert one.seq(im.SEQ_PCS) > inverter + 35, one.seq(im.SEQ_PCS) - inverter
            assert 3 <= 100 - len(box.holds[106]) <= 12, (box.holds, asked)
            box.holds.clear()
            await one.until(lambda: one.seq(im.SEQ_METER) > meter + 3)

    run(story)


def test_table_may_be_a_file(mp64: Interpreter, tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "acme.json"
        path.write_text(json.dumps(TABLE))
        async with driver(mp64, Box(), str(path)) as one:
            await one.until(lambda: one.seq(im.SEQ_PCS) >= 1)

    run(story)


def test_every_mistake_in_a_table_is_listed_at_once(mp: Interpreter) -> None:
    bad = {
        "reeds": 1,
        "word_order": "middle",
        "reads": [
            {"slot": "PCS_X", "address": 1},
            {"slot": "PCS_P", "address": 70000, "type": "int64", "scale": 0},
            {"slot": "CMD_P", "address": 5, "function": 6, "map": {"a": 1}},
        ],
        "writes": [{"from": "PCS_P", "value": 1, "address": 3}, {"value": 5, "address": 4, "type": "int32", "function": 6}],
    }

    async def story() -> None:
        async with rig(mp.command, "generic_modbus", {"host": "127.0.0.1", "table": bad}) as one:
            try:
                await one.until(lambda: False, 5)
            except AssertionError as error:
                text = str(error)
        for part in ("reeds", "'middle'", "'PCS_X'", "70000", "'int64'", "scale = 0", "'CMD_P'", "function = 6", "'a': 1"):
            assert part in text, (part, text)
        assert "exactly one of from, value, heartbeat" in text and "writes one register" in text
        assert "allowed are big, little" in text and "0 to 65535" in text

    run(story)
