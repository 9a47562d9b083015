"""echo-not-configured: an RTU line that sends back what is sent, though nobody said so.

Functions 5, 6 and 22 are answered with the request itself, so their echo looks like the answer of a device that may be dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from firmware import image as im
from host_tests.site.rig import rig
from host_tests.site.serial_wire import Wire, wire
from host_tests.site.test_modbus_client import rtu_client, serial_servers
from tools.interpreters import Interpreter

WRITES: list[list[Any]] = [["write_register", 9, 5, 77], ["write_registers", 9, 5, [7, 8]], ["write_registers", 9, 5, [7]]]


LOST = ("ModbusTimeout", "ModbusUnreachable")
STANDS_STILL_MS = 500  # a real echo comes at once; here it waits while the host stands still, and too late it is like an answer


def without_9(line: Wire) -> None:
    """pymodbus answers for anyone: keep what is for unit 9 from it."""
    line.spoil = lambda node, data: b"" if node == 1 and data[0] == 9 else data


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 150))


@pytest.mark.parametrize("write", WRITES, ids=["function 6", "function 16", "function 16, one register"])
def test_echo_of_a_write_to_a_dead_device_is_not_its_answer(mp: Interpreter, write: list[Any]) -> None:
    """echo-not-configured: not 'done', and it is said that the line echoes; first request ever, and later."""

    async def story() -> None:
        async with wire() as line, rtu_client(mp, line, timeout_ms=STANDS_STILL_MS) as client:
            line.echoes.add(0)
            for _ in range(2):
                answer = await client.ask(write)
                assert answer["error"] in LOST
                assert "the line echoes what is sent" in answer["text"]
            counters = await client.ask({"count": 1})
            assert "the line echoes" in counters["last_error"]

    run(story)


def test_echoing_line_serves_a_device_that_lives(mp: Interpreter) -> None:
    """echo-not-configured: whoever answers is understood, for reads and for every kind of write."""

    async def story() -> None:
        async with wire() as line, rtu_client(mp, line, timeout_ms=STANDS_STILL_MS) as client:
            line.echoes.add(0)
            without_9(line)
            async with serial_servers(line, 3):
                for value in (1, 2, 3):
                    assert await client.ask(["write_register", 3, 5, value]) == "done"
                    assert await client.ask(["read_registers", 3, 5, 1, 3]) == [value]
                assert await client.ask(["write_registers", 3, 6, [10, 11]]) == "done"
                assert await client.ask(["read_registers", 3, 5, 3, 3]) == [3, 10, 11]
                answer = await client.ask(["write_register", 9, 5, 77])
                assert answer["error"] in LOST
                assert (await client.ask({"count": 1}))["crc_errors"] == 0

    run(story)


def test_line_that_begins_to_echo_is_found_out_by_the_next_read(mp64: Interpreter) -> None:
    """echo-not-configured: a transceiver that fails while running, and one that is well again."""

    async def story() -> None:
        async with wire() as line, rtu_client(mp64, line, timeout_ms=STANDS_STILL_MS) as client:
            without_9(line)
            async with serial_servers(line, 3):
                for echoes in (False, True, False, True):
                    line.echoes = {0} if echoes else set()
                    assert len(await client.ask(["read_registers", 3, 5, 2, 3])) == 2
                    answer = await client.ask(["write_register", 9, 5, 77])
                    assert answer["error"] in LOST
                    assert ("echoes" in answer["text"]) is echoes

    run(story)


def test_line_without_echo_is_probed_once_and_then_believed(mp64: Interpreter) -> None:
    """echo-not-configured: what it costs where there is none."""

    async def story() -> None:
        async with wire() as line, rtu_client(mp64, line, timeout_ms=STANDS_STILL_MS) as client:
            async with serial_servers(line, 3):
                for value in range(5):
                    assert await client.ask(["write_register", 3, 5, value]) == "done"
                sent = [data for node, data in line.log if node == 0]
                assert len(sent) == 6
                assert "echoes" not in (await client.ask({"count": 1}))["last_error"]

    run(story)


def test_box_on_an_echoing_line_says_so_where_people_look(mp64: Interpreter) -> None:
    """echo-not-configured: in the device's own counters, through the whole driver."""

    async def story() -> None:
        async with wire() as line:
            buses = {"line": {"type": "modbus_rtu", "id": 1, "baudrate": 115200, "timeout_ms": STANDS_STILL_MS}}
            env = {"SIM_UART1": line.add()}
            line.echoes.add(0)
            table = {
                "reads": [{"slot": "METER_P", "address": 1}],
                "writes": [{"from": "CMD_RUN", "address": 5, "type": "uint16", "function": 6}],
            }
            options = {"bus": "line", "unit": 7, "table": table}
            async with rig(mp64.command, "generic_modbus", options, env=env, buses=buses) as one:
                await one.command(1000)
                await asyncio.sleep(1.5)
                assert one.seq(im.SEQ_METER) == 0
                for _ in range(50):
                    if "the line echoes" in (await one.counters())["last_error"]:
                        return
                    await asyncio.sleep(0.1)
                raise AssertionError(await one.counters())

    run(story)


# ---- the other way round: an echo is configured, and the line has none ---------------------------------------------------

NONE_CAME = "what is sent does not come back"


@pytest.mark.parametrize("count", [1, 2, 20])
def test_an_echo_that_is_configured_and_does_not_come_is_said_whoever_answers(mp: Interpreter, count: int) -> None:
    """Each answer is thrown away as our own words, and the device looks dead."""

    async def story() -> None:
        async with wire() as line, serial_servers(line, 3), rtu_client(mp, line, echo=True) as client:
            answer = await client.ask(["read_registers", 3, 5, count, 3])
            assert NONE_CAME in answer["text"], answer
            assert NONE_CAME in (await client.ask(["write_register", 9, 5, 77]))["text"], "nor where nothing comes at all"

    run(story)


def test_of_an_echo_that_comes_as_configured_nothing_is_said(mp64: Interpreter) -> None:
    async def story() -> None:
        async with wire() as line, rtu_client(mp64, line, echo=True, timeout_ms=STANDS_STILL_MS) as client:
            line.echoes.add(0)
            without_9(line)
            async with serial_servers(line, 3):
                for _ in range(2):
                    assert NONE_CAME not in (await client.ask(["read_registers", 9, 5, 2, 3]))["text"]
                    assert len(await client.ask(["read_registers", 3, 5, 2, 3])) == 2

    run(story)
