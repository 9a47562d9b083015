"""A register never wraps: what the site may command and does not fit is refused when the table is loaded, or saturates.

The cases by their ids: setpoint-too-large-for-int16, signed-setpoint-in-uint16, float32-of-a-megawatt,
constants-again-and-again, few-registers-and-holes; and their neighbours.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from firmware import image as im
from host_tests.site.rig import rig
from host_tests.site.test_modbus_generic import Box, driver
from tools.check_site import errors_in
from tools.interpreters import Interpreter

READS = [{"slot": "METER_P", "address": 300}]
SITE: dict[str, Any] = {
    "schema": 1,
    "power": {"max_charge_power": 100, "max_discharge_power": 100},
    "devices": {"box": {"type": "generic_modbus", "host": "10.0.0.2"}},
}


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 150))


def table(*writes: dict[str, Any]) -> dict[str, Any]:
    return {"reads": READS, "writes": list(writes)}


def site_errors(write: dict[str, Any], charge: float = 100, discharge: float = 100) -> str:
    site = json.loads(json.dumps(SITE))
    site["power"].update(max_charge_power=charge, max_discharge_power=discharge)
    site["devices"]["box"]["table"] = table(write)
    return "\n".join(errors_in(site))


def signed(words: list[int]) -> int:
    value = int.from_bytes(b"".join(word.to_bytes(2, "big") for word in words), "big")
    return value - (1 << 16 * len(words)) if words[0] & 0x8000 else value


def test_setpoint_too_large_for_int16_is_refused_with_the_site() -> None:
    """setpoint-too-large-for-int16: the site's own limits do not fit."""
    said = site_errors({"from": "CMD_P", "address": 5, "type": "int16", "scale": 1})
    assert "devices.box.table.writes[0]" in said
    assert "-100000 to 100000 W" in said and "-32768 to 32767" in said
    assert site_errors({"from": "CMD_P", "address": 5, "type": "int16", "scale": 10}) == ""
    assert site_errors({"from": "CMD_P", "address": 5, "type": "int16"}, 30, 32.767) == ""
    assert "32770" in site_errors({"from": "CMD_P", "address": 5, "type": "int16"}, 30, 32.77)
    assert "-40000" in site_errors({"from": "CMD_P", "address": 5, "type": "int16"}, 40, 30)
    assert "40000" in site_errors({"from": "CMD_P", "address": 5, "type": "int16", "scale": -1}, 40, 30)
    assert site_errors({"from": "CMD_P", "address": 5, "type": "int32"}) == ""
    assert "int32 holds" in site_errors({"from": "CMD_P", "address": 5, "type": "int32", "scale": 0.00001})


def test_signed_setpoint_in_uint16_is_refused_with_the_site() -> None:
    """signed-setpoint-in-uint16: and what is of one sign only may stay."""
    for kind in ("uint16", "uint32"):
        write = {"from": "CMD_P", "address": 5, "type": kind}
        assert f"{kind} holds 0 to" in site_errors(write)
        assert site_errors(write, charge=0, discharge=60) == ""
        assert site_errors({**write, "scale": -1}, charge=60, discharge=0) == ""
        assert f"{kind} holds 0 to" in site_errors({**write, "scale": -1}, charge=0, discharge=60)


@pytest.mark.parametrize(
    "write",
    [
        {"value": 65536, "address": 4, "type": "uint16"},
        {"value": -1, "address": 4, "type": "uint16"},
        {"value": 40000, "address": 4},
        {"value": -1, "address": 4, "type": "uint32"},
        {"from": "CMD_RUN", "address": 4, "type": "uint16", "map": {"0": 0, "1": 70000}},
        {"from": "CMD_RUN", "address": 4, "type": "uint16", "map": {"0": -5, "1": 1}},
        {"from": "CMD_BALANCE", "address": 4, "scale": 0.00001},
        {"from": "CMD_P", "address": 5, "type": "uint16"},
    ],
)
def test_rows_that_can_never_fit_are_refused_when_the_table_is_loaded(mp: Interpreter, write: dict[str, Any]) -> None:
    """signed-setpoint-in-uint16: constants, codes and setpoints that no register of their type holds."""

    async def story() -> None:
        async with rig(mp.command, "generic_modbus", {"host": "127.0.0.1", "table": table(write)}) as one:
            with pytest.raises(AssertionError, match=r"table\.writes\[0\].* holds "):
                await one.until(lambda: False, 5)

    run(story)


def test_setpoint_too_large_for_its_register_saturates_towards_zero(mp: Interpreter) -> None:
    """setpoint-too-large-for-int16: where nobody knew the site's limits, +40000, -40000, 70000 W."""
    rows = table(
        {"from": "CMD_P", "address": 5, "type": "int16", "scale": 1},
        {"from": "CMD_P", "address": 10, "type": "int16", "scale": -1},
        {"from": "CMD_P", "address": 20, "type": "int32", "scale": 0.00001},
    )

    async def story() -> None:
        box = Box()
        async with driver(mp, box, rows) as one:
            for watts in (1000, 40000, -40000, 70000, -70000, -32768, 32767):
                box.writes.clear()
                await one.command(watts)
                await one.until(lambda: all(box.written(at) for at in (5, 10, 20)))
                fitting = max(-32768, min(32767, watts))
                assert signed(box.written(5)[-1]) == fitting
                assert signed(box.written(10)[-1]) == max(-32768, min(32767, -watts))
                assert signed(box.written(20)[-1]) == max(-(2**31), min(2**31 - 1, watts * 100000))
                if fitting != watts:
                    counters = await one.counters()
                    assert "does not fit" in counters["note"] and "is written" in counters["note"]
            assert any("register 5 holds -32768 to 32767: 40000 does not fit" in line for line in one.printed)

    run(story)


@pytest.mark.parametrize("value", [1000000.0, -1300000.0, 0.0734, 8388609.0, 1e-30, -16777215.0])
def test_float32_of_a_megawatt(mp: Interpreter, value: float) -> None:
    """float32-of-a-megawatt: exact to 1 W, at scale 1 and at scale 1000000."""

    async def story() -> None:
        box = Box()
        (exact,) = struct.unpack(">f", struct.pack(">f", value))
        for scale in (1, 1000000):
            expected = round(exact * scale)
            if abs(expected) >= 2**30:
                continue
            box.put(30, struct.pack(">f", value))
            rows = {"reads": [{"slot": "METER_P", "address": 30, "type": "float32", "scale": scale}]}
            async with driver(mp, box, rows) as one:
                await one.until(lambda expected=expected: one.seq(im.SEQ_METER) >= 1 and one.has(METER_P=expected))  # type: ignore[misc]

    run(story)


def test_constants_again_and_again(mp64: Interpreter) -> None:
    """constants-again-and-again: on connect and after a failure, not at every refresh, unless the row says so."""
    rows = table(
        {"value": 7, "address": 40, "type": "uint16"},
        {"value": 8, "address": 41, "type": "uint16", "refresh": True},
        {"from": "CMD_P", "address": 42, "type": "int32"},
        {"from": "CMD_RUN", "address": 44, "type": "uint16", "refresh": False},
    )

    async def story() -> None:
        box = Box()
        async with driver(mp64, box, rows, refresh_ms=100) as one:
            await one.command(500)
            await one.until(lambda: len(box.written(42)) > 8)
            assert len(box.written(40)) == 1 and len(box.written(44)) <= 2
            assert len(box.written(41)) > 5
            box.refuses.add(42)
            await asyncio.sleep(0.3)
            box.refuses.clear()
            await one.until(lambda: len(box.written(40)) >= 2)

    run(story)


def test_holes_are_read_around(mp: Interpreter) -> None:
    """few-registers-and-holes: 11 registers at most; points 0, 1, 2 and 6 with a hole between that answers exception 2."""
    rows = {
        "reads": [
            {"slot": slot, "address": 100 + at}
            for slot, at in (("PCS_P", 0), ("PCS_Q", 1), ("PCS_V", 2), ("PCS_DC_V", 6), ("PCS_DC_I", 8), ("PCS_TEMP", 16))
        ]
    }

    async def story() -> None:
        box = Box()
        box.registers[100:120] = range(1, 21)
        asked: list[tuple[int, int]] = []
        access = box.access

        async def holes(function: int, start: int, address: int, count: int, registers: list[int], values: Any) -> Any:
            asked.append((address, count))
            if address <= 104 < address + count:
                box.refuses.add(address)
            result = await access(function, start, address, count, registers, values)
            box.refuses.clear()
            return result

        box.access = holes  # type: ignore[method-assign]
        async with driver(mp, box, rows, longest_read=11) as one:
            await one.until(lambda: one.seq(im.SEQ_PCS) >= 3)
            assert one.has(PCS_P=1, PCS_Q=2, PCS_V=3, PCS_DC_V=7, PCS_DC_I=9, PCS_TEMP=17)
            assert max(count for _, count in asked) <= 11
            assert any("registers 100 to 108 cannot be read together" in line for line in one.printed)

    run(story)
