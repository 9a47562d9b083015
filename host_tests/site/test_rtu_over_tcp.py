"""RTU frames over TCP, under both MicroPythons, against pymodbus and against gateways with habits of their own."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.framer.rtu import FramerRTU
from pymodbus.server import ModbusTcpServer

from host_tests.site.board_process import BoardProcess, board_process
from host_tests.site.test_modbus_client import IDENTITY, device, exercise_every_function
from tools.interpreters import Interpreter
from tools.ports import free_port

READ = ["read_registers", 1, 0, 1, 3]


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 150))


def client(mp: Interpreter, port: int, **options: Any) -> contextlib.AbstractAsyncContextManager[BoardProcess]:
    return board_process(mp, "modbus_asker.py", {"rtu_over_tcp": port, "options": options})


def framed(data: bytes) -> bytes:
    return data + struct.pack(">H", FramerRTU.compute_CRC(data))


def answer_to(request: bytes, value: int) -> bytes:
    """The answer to a request for one register."""
    return framed(request[:2] + struct.pack(">BH", 2, value))


@contextlib.asynccontextmanager
async def gateway(answer: Callable[[int, bytes], list[bytes | float]]) -> AsyncIterator[int]:
    """It gives, for the n-th request for a register, the pieces (bytes, or seconds to wait) that `answer` says."""
    number = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readexactly(8)
                number += 1
                assert request == framed(request[:6])
                for piece in answer(number, request):
                    if isinstance(piece, bytes):
                        writer.write(piece)
                        await writer.drain()
                    else:
                        await asyncio.sleep(piece)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_every_function(mp: Interpreter) -> None:
    async def story() -> None:
        port = free_port()
        server = ModbusTcpServer([device(1), device(9)], address=("127.0.0.1", port), identity=IDENTITY, framer=FramerType.RTU)
        await server.serve_forever(background=True)
        try:
            async with client(mp, port) as one:
                for unit in (1, 9):
                    await exercise_every_function(one, unit)
                counters = await one.ask({"count": 1})
                assert (counters["timeouts"], counters["late"], counters["crc_errors"], counters["reconnects"]) == (0, 0, 0, 1)
        finally:
            await server.shutdown()

    run(story)


def test_late_answer_is_not_taken_for_the_next_one(mp: Interpreter) -> None:
    """Another register is asked, whose answer looks the same: only the time tells them apart."""

    def answer(number: int, request: bytes) -> list[bytes | float]:
        return [1.5, answer_to(request, 111)] if number == 1 else [answer_to(request, number)]

    async def story() -> None:
        async with gateway(answer) as port, client(mp, port, timeout_ms=1000) as one:
            assert (await one.ask(READ))["error"] == "ModbusTimeout"
            assert await one.ask(["read_registers", 1, 77, 1, 3]) == [2]
            counters = await one.ask({"count": 1})
            assert (counters["timeouts"], counters["late"], counters["reconnects"]) == (1, 1, 1)

    run(story)


def test_cancelled_request_s_answer_is_not_taken_for_the_next_one(mp64: Interpreter) -> None:
    def answer(number: int, request: bytes) -> list[bytes | float]:
        return [0.2, answer_to(request, number)]

    async def story() -> None:
        async with gateway(answer) as port, client(mp64, port, timeout_ms=1000) as one:
            assert await one.ask({"cancel": READ, "after_ms": 100}) == "cancelled"
            assert await one.ask(READ) == [2]

    run(story)


@pytest.mark.parametrize(
    "kind", ["pieces", "noise before", "noise behind", "false beginning", "another unit", "another function", "other size"]
)
def test_answer_is_found_wherever_it_lies(mp64: Interpreter, kind: str) -> None:
    def answer(number: int, request: bytes) -> list[bytes | float]:
        good = answer_to(request, number)
        answers: dict[str, list[bytes | float]] = {
            "pieces": [piece for i in range(len(good)) for piece in (good[i : i + 1], 0.003)],
            "noise before": [b"\0\xff\x01" + good],
            "noise behind": [good + b"\xff\0\x01\x03"],
            "false beginning": [b"\x01\x03\xfe" + good],
            "another unit": [framed(b"\x02\x03\x02\0\x09") + good],
            "another function": [framed(b"\x01\x04\x02\0\x09"), 0.05, good],
            "other size": [framed(b"\x01\x03\x04\0\x09\0\x09") + good],
        }
        return answers[kind]

    async def story() -> None:
        async with gateway(answer) as port, client(mp64, port, timeout_ms=500) as one:
            for number in range(1, 5):
                assert await one.ask(READ) == [number]
            assert (await one.ask({"count": 1}))["reconnects"] == 1

    run(story)


def test_spoilt_answers_cost_a_time_out_and_not_the_connection(mp64: Interpreter) -> None:
    def answer(number: int, request: bytes) -> list[bytes | float]:
        good = answer_to(request, number)
        return [good] if number % 2 else [good[:-1] + bytes((good[-1] ^ 1,))]

    async def story() -> None:
        async with gateway(answer) as port, client(mp64, port, timeout_ms=150) as one:
            for number in range(1, 7):
                reply = await one.ask(READ)
                assert reply == [number] if number % 2 else "7 bytes that are no answer" in reply["text"]
            counters = await one.ask({"count": 1})
            assert (counters["crc_errors"], counters["reconnects"]) == (3, 1)

    run(story)


def test_refusals_lost_connections_and_silence_are_told_apart(mp64: Interpreter) -> None:
    def answer(number: int, request: bytes) -> list[bytes | float]:
        return [framed(bytes((1, 0x83, 11)))] if number == 1 else []

    async def story() -> None:
        async with gateway(answer) as port, client(mp64, port, timeout_ms=150) as one:
            assert (await one.ask(READ))["text"] == "function 3 refused, exception 11"
            assert "no answer of unit 1 in 150 ms" in (await one.ask(READ))["text"]
        async with client(mp64, port, timeout_ms=150) as one:
            assert (await one.ask(READ))["error"] == "ModbusUnreachable"

    run(story)


@pytest.mark.parametrize("unit", [0, 248, 255])
def test_unit_that_no_serial_line_has_is_refused(mp64: Interpreter, unit: int) -> None:
    async def story() -> None:
        async with gateway(lambda number, request: [answer_to(request, 1)]) as port, client(mp64, port) as one:
            assert (await one.ask(["read_registers", unit, 0, 1, 3]))["text"] == f"unit is {unit}, allowed 1 to 247"
            assert await one.ask(READ) == [1]

    run(story)
