"""Our Modbus clients, under both MicroPythons, against servers of another make (pymodbus) and against bad ones."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from pymodbus import ModbusDeviceIdentification
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from host_tests.site.board_process import BoardProcess, board_process
from host_tests.site.serial_wire import Wire, wire
from tools.interpreters import Interpreter
from tools.ports import free_port

IDENTITY = ModbusDeviceIdentification(
    info_name={"VendorName": "Other", "ProductCode": "P1", "MajorMinorRevision": "3.4", "ModelName": "Peer"}
)


def device(unit: int) -> SimDevice:
    registers = SimData(0, values=[unit * 1000 + i for i in range(300)], datatype=DataType.REGISTERS)
    coils = SimData(0, values=[i % 5 == 0 for i in range(320)], datatype=DataType.BITS)
    return SimDevice(unit, ([coils], [coils], [registers], [registers]))


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 150))


@contextlib.asynccontextmanager
async def tcp_server(*units: int, port: int = 0) -> AsyncIterator[int]:
    port = port or free_port()
    server = ModbusTcpServer([device(u) for u in units], address=("127.0.0.1", port), identity=IDENTITY)
    await server.serve_forever(background=True)
    try:
        yield port
    finally:
        await server.shutdown()


@contextlib.asynccontextmanager
async def serial_servers(line: Wire, *units: int) -> AsyncIterator[None]:
    """One server on one pty for all these units."""
    server = ModbusSerialServer(
        [device(u) for u in units], port=line.add(), baudrate=115200, broadcast_enable=True, identity=IDENTITY
    )
    task = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(0.1)
    try:
        yield
    finally:
        await server.shutdown()
        task.cancel()


def tcp_client(mp: Interpreter, port: int, **options: Any) -> contextlib.AbstractAsyncContextManager[BoardProcess]:
    return board_process(mp, "modbus_asker.py", {"tcp": port, "options": options})


@contextlib.asynccontextmanager
async def rtu_client(mp: Interpreter, line: Wire, **options: Any) -> AsyncIterator[BoardProcess]:
    options.setdefault("timeout_ms", 1500)  # the machine may be busy
    setup = {"uart": 1, "baudrate": 115200, "options": options}
    async with board_process(mp, "modbus_asker.py", setup, {"SIM_UART1": line.add()}) as board:
        yield board


async def exercise_every_function(client: BoardProcess, unit: int) -> None:
    first = 1000 * unit
    assert await client.ask(["read_registers", unit, 10, 125, 3]) == list(range(first + 10, first + 135))
    assert await client.ask(["read_registers", unit, 1, 2, 4]) == [first + 1, first + 2]
    assert await client.ask(["read_bits", unit, 0, 33, 1]) == [int(i % 5 == 0) for i in range(33)]
    assert await client.ask(["read_bits", unit, 3, 9, 2]) == [int(i % 5 == 0) for i in range(3, 12)]
    assert await client.ask(["write_register", unit, 5, 0xABCD]) == "done"
    assert await client.ask(["write_registers", unit, 6, [0, 65535, 7]]) == "done"
    assert await client.ask(["read_registers", unit, 5, 4, 3]) == [0xABCD, 0, 65535, 7]
    assert await client.ask(["write_coil", unit, 1, True]) == "done"
    assert await client.ask(["write_coils", unit, 40, [1, 1, 0, 1, 0, 0, 1, 1, 1, 0]]) == "done"
    assert await client.ask(["read_bits", unit, 40, 10, 1]) == [1, 1, 0, 1, 0, 0, 1, 1, 1, 0]
    assert await client.ask(["read_bits", unit, 1, 1, 1]) == [1]
    assert await client.ask(["mask_write", unit, 6, 0x0F, 0xA0]) == "done"
    assert await client.ask(["read_registers", unit, 6, 1, 3]) == [0xA0]
    assert await client.ask(["read_write", unit, 20, 3, 21, [77]]) == [first + 20, 77, first + 22]
    found = await client.ask(["identify", unit, 2])
    assert (found["0"], found["2"], found["5"]) == ("Other", "3.4", "Peer")
    refused = await client.ask(["read_registers", unit, 299, 2, 3])
    assert refused == {"error": "ModbusRefused", "text": "function 3 refused, exception 2"}
    wrong = await client.ask(["read_registers", unit, 0, 126, 3])
    assert wrong["error"] == "ValueError" and "126" in wrong["text"] and "125" in wrong["text"]


def test_every_function_over_tcp(mp: Interpreter) -> None:
    async def story() -> None:
        async with tcp_server(1) as port, tcp_client(mp, port) as client:
            await exercise_every_function(client, 1)
            counters = await client.ask({"count": 1})
            assert (counters["exceptions"], counters["timeouts"], counters["rejected"]) == (1, 0, 0)

    run(story)


def test_every_function_over_a_serial_line(mp: Interpreter) -> None:
    async def story() -> None:
        async with wire() as line, serial_servers(line, 3), rtu_client(mp, line) as client:
            await exercise_every_function(client, 3)
            counters = await client.ask({"count": 1})
            assert (counters["exceptions"], counters["timeouts"], counters["crc_errors"]) == (1, 0, 0)

    run(story)


def test_requests_share_one_connection_and_answers_find_their_way(mp64: Interpreter) -> None:
    async def story() -> None:
        held: list[bytes] = []

        def answer(number: int, request: bytes) -> list[bytes | float]:
            """Answers in fours, the last one first."""
            held.insert(0, good_answer(request, request[9]))
            if len(held) < 4:
                return []
            answers, held[:] = list(held), []
            return list(answers)

        async with raw_server(answer) as port, tcp_client(mp64, port, pipeline=4) as client:
            answers = await client.ask({"together": [["read_registers", 1, i, 1, 3] for i in range(40)]})
            assert answers == [[i] for i in range(40)]

    run(story)


def test_transaction_id_wraps(mp64: Interpreter) -> None:
    async def story() -> None:
        async with tcp_server(1) as port, tcp_client(mp64, port) as client:
            await client.ask({"set": {"_next_transaction": 0xFFFD}})
            for i in range(8):
                assert await client.ask(["read_registers", 1, i, 1, 3]) == [1000 + i]

    run(story)


Answer = Callable[[bytes], Awaitable[list[bytes]]]


@contextlib.asynccontextmanager
async def raw_server(answer: Callable[[int, bytes], list[bytes | float]]) -> AsyncIterator[int]:
    """A TCP server that gives, for the n-th request, the pieces (bytes, or seconds to wait) that `answer` says."""
    number = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readexactly(12)
                number += 1
                for piece in answer(number, request):
                    if isinstance(piece, bytes):
                        writer.write(piece)
                        await writer.drain()
                    else:
                        await asyncio.sleep(piece)

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def good_answer(request: bytes, value: int = 5) -> bytes:
    return request[:4] + struct.pack(">HBBBH", 5, request[6], 3, 2, value)


def test_slow_answer_comes_too_late_and_the_next_one_is_not_mistaken_for_it(mp: Interpreter) -> None:
    def answer(number: int, request: bytes) -> list[bytes | float]:
        return [0.4, good_answer(request, 111)] if number == 1 else [good_answer(request, number)]

    async def story() -> None:
        async with raw_server(answer) as port, tcp_client(mp, port, timeout_ms=200) as client:
            assert (await client.ask(["read_registers", 1, 0, 1, 3]))["error"] == "ModbusTimeout"
            await asyncio.sleep(0.4)
            assert await client.ask(["read_registers", 1, 0, 1, 3]) == [2]
            counters = await client.ask({"count": 1})
            assert (counters["timeouts"], counters["late"]) == (1, 1)

    run(story)


def test_doubled_answers_are_dropped(mp64: Interpreter) -> None:
    async def story() -> None:
        def answer(number: int, request: bytes) -> list[bytes | float]:
            return [2 * good_answer(request, number)]

        async with raw_server(answer) as port, tcp_client(mp64, port) as client:
            for number in range(1, 6):
                assert await client.ask(["read_registers", 1, 0, 1, 3]) == [number]
            assert (await client.ask({"count": 1}))["late"] >= 4

    run(story)


def test_answers_in_pieces_are_put_together(mp64: Interpreter) -> None:
    async def story() -> None:
        def answer(number: int, request: bytes) -> list[bytes | float]:
            whole = good_answer(request, number)
            return [piece for i in range(len(whole)) for piece in (whole[i : i + 1], 0.003)]

        async with raw_server(answer) as port, tcp_client(mp64, port) as client:
            for number in range(1, 4):
                assert await client.ask(["read_registers", 1, 0, 1, 3]) == [number]

    run(story)


def test_wrong_answers_are_refused(mp64: Interpreter) -> None:
    wrong: list[Callable[[bytes], bytes]] = [
        lambda r: r[:4] + struct.pack(">HBBBH", 5, r[6], 4, 2, 9),  # another function
        lambda r: r[:4] + struct.pack(">HBBBI", 7, r[6], 3, 4, 9),  # too many registers
        lambda r: r[:4] + struct.pack(">HBBBH", 5, r[6], 3, 4, 9),  # byte count that is not there
        lambda r: bytes((r[0] ^ 0x55, r[1])) + good_answer(r)[2:],  # transaction nobody made
        lambda r: r[:2] + b"\0\7" + good_answer(r)[4:],  # not Modbus
        lambda r: good_answer(r)[:4] + b"\7\7" + good_answer(r)[6:],  # absurd length
    ]

    async def story() -> None:
        def answer(number: int, request: bytes) -> list[bytes | float]:
            return [wrong[number // 2](request) if number % 2 == 0 else good_answer(request, number)]

        async with raw_server(lambda n, r: answer(n - 1, r)) as port, tcp_client(mp64, port, timeout_ms=300) as client:
            for number in range(2 * len(wrong)):
                reply = await client.ask(["read_registers", 1, 0, 1, 3])
                if number % 2 == 0:
                    assert reply["error"] in ("ModbusBadFrame", "ModbusUnreachable", "ModbusTimeout"), (number, reply)
                else:
                    assert reply == [number], f"the next good answer works, after wrong one {number // 2}"
            assert (await client.ask({"count": 1}))["rejected"] >= 6

    run(story)


def test_answer_of_another_unit_is_not_taken(mp64: Interpreter) -> None:
    async def story() -> None:
        def answer(number: int, request: bytes) -> list[bytes | float]:
            return [good_answer(request[:6] + b"\x63" + request[7:], 666), good_answer(request, number)]

        async with raw_server(answer) as port, tcp_client(mp64, port) as client:
            assert await client.ask(["read_registers", 1, 0, 1, 3]) == [1]
            assert (await client.ask({"count": 1}))["rejected"] == 1

    run(story)


def test_lost_connection_is_made_again_and_absence_is_reported_at_once(mp: Interpreter) -> None:
    async def story() -> None:
        port = free_port()
        async with tcp_client(mp, port, timeout_ms=300, backoff_max_ms=400) as client:
            assert (await client.ask(["read_registers", 1, 0, 1, 3]))["error"] == "ModbusUnreachable"
            for _ in range(2):
                async with tcp_server(1, port=port):
                    await asyncio.sleep(0.5)
                    assert await client.ask(["read_registers", 1, 9, 1, 3]) == [1009]
                assert (await client.ask(["read_registers", 1, 0, 1, 3]))["error"] == "ModbusUnreachable"
            assert (await client.ask({"count": 1}))["reconnects"] >= 3

    run(story)


def test_server_that_takes_no_connection_is_reported_in_time(mp64: Interpreter) -> None:
    async def story() -> None:
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            port = deaf.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:  # the queue is full: the next one's SYN is not answered
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            await asyncio.sleep(0.1)
            async with tcp_client(mp64, port, timeout_ms=300) as client:
                answer = await client.ask(["read_registers", 1, 0, 1, 3])
                assert answer["error"] == "ModbusUnreachable" and "in time" in answer["text"]
            for filler in fillers:
                filler.close()

    run(story)


def test_cancelled_request_leaves_the_connection_usable(mp: Interpreter) -> None:
    async def story() -> None:
        def answer(number: int, request: bytes) -> list[bytes | float]:
            return [0.3, good_answer(request, 99)] if number == 1 else [good_answer(request, number)]

        async with raw_server(answer) as port, tcp_client(mp, port) as client:
            message = {"cancel": ["read_registers", 1, 0, 1, 3], "after_ms": 50}
            assert await client.ask(message) == "cancelled"
            assert await client.ask(["read_registers", 1, 0, 1, 3]) == [2]
            counters = await client.ask({"count": 1})
            assert (counters["late"], counters["timeouts"], counters["reconnects"]) == (1, 0, 1)

    run(story)


def test_cancelled_request_leaves_the_serial_line_usable(mp64: Interpreter) -> None:
    async def story() -> None:
        async with wire(9600) as line, serial_servers(line, 1), rtu_client(mp64, line) as client:
            for after_ms in (0, 3, 8, 15):
                message = {"cancel": ["read_registers", 1, 0, 20, 3], "after_ms": after_ms}
                assert await client.ask(message) == "cancelled"
                assert await client.ask(["read_registers", 1, 5, 2, 3]) == [1005, 1006]

    run(story)


def test_retries_are_made_and_then_it_gives_up(mp64: Interpreter) -> None:
    async def story() -> None:
        seen: list[int] = []

        def answer(number: int, request: bytes) -> list[bytes | float]:
            seen.append(number)
            return [] if number <= 2 else [good_answer(request, number)]

        async with raw_server(answer) as port, tcp_client(mp64, port, timeout_ms=150, retries=2) as client:
            assert await client.ask(["read_registers", 1, 0, 1, 3]) == [3]
            seen.clear()
            await client.ask({"set": {"retries": 0}})

        async with raw_server(lambda n, r: []) as port, tcp_client(mp64, port, timeout_ms=100, retries=2) as client:
            assert (await client.ask(["read_registers", 1, 0, 1, 3]))["error"] == "ModbusTimeout"
            assert (await client.ask({"count": 1}))["timeouts"] == 3

    run(story)


def test_noisy_serial_line_costs_retries_and_no_wrong_value(mp: Interpreter) -> None:
    async def story() -> None:
        state = {"n": 0}

        def spoil(node: int, data: bytes) -> bytes:
            if node != 0:  # only what the servers say
                return data
            state["n"] += 1
            broken = bytearray(data)
            kind = state["n"] % 6
            if kind == 1:
                broken[len(broken) // 2] ^= 0x10  # a bit
            elif kind == 2:
                broken[:0] = b"\x00\x55"  # noise before it
            elif kind == 3:
                del broken[-3:]  # half a frame
            elif kind == 4:
                broken += data  # twice
            return bytes(broken)

        async with wire() as line, serial_servers(line, 3), rtu_client(mp, line, retries=3) as client:
            line.spoil = spoil
            for i in range(40):
                assert await client.ask(["read_registers", 3, i, 4, 3]) == [3000 + i + k for k in range(4)]
            counters = await client.ask({"count": 1})
            assert counters["crc_errors"] >= 8 and counters["rejected"] >= 4 and counters["late"] >= 2, counters

    run(story)


def test_line_full_of_noise_gives_errors_or_the_truth_and_is_used_again_when_it_is_quiet(mp64: Interpreter) -> None:
    async def story() -> None:
        async with wire() as line, serial_servers(line, 1), rtu_client(mp64, line, retries=0) as client:

            async def babble() -> None:
                while True:
                    line.inject(b"\x55\x03\xaa", sender=0)
                    await asyncio.sleep(0.001)

            noise = asyncio.create_task(babble())
            for _ in range(8):
                answer = await client.ask(["read_registers", 1, 0, 1, 3])
                assert answer == [1000] or answer["error"] in ("ModbusBadFrame", "ModbusTimeout")
            counters = await client.ask({"count": 1})
            assert counters["last_error"] or counters["late"] > 2, counters
            noise.cancel()
            await asyncio.sleep(0.1)
            assert await client.ask(["read_registers", 1, 0, 1, 3]) == [1000]

    run(story)


def test_answer_of_another_unit_on_the_line_is_passed_over(mp64: Interpreter) -> None:
    async def story() -> None:
        async with wire() as line, serial_servers(line, 3, 4), rtu_client(mp64, line) as client:
            stray: list[bytes] = []

            def spoil(node: int, data: bytes) -> bytes:
                if node == 0 and data[0] == 4 and not stray:
                    stray.append(data)
                if node == 0 and data[0] == 3 and stray:
                    return stray[0] + data
                return data

            line.spoil = spoil
            assert await client.ask(["read_registers", 4, 0, 1, 3]) == [4000]
            assert await client.ask(["read_registers", 3, 0, 1, 3]) == [3000]

    run(story)


def test_dead_device_does_not_starve_the_others_on_its_line(mp64: Interpreter) -> None:
    async def story() -> None:
        async with wire() as line, serial_servers(line, 1, 2, 9), rtu_client(mp64, line, timeout_ms=300) as client:
            line.spoil = lambda node, data: b"" if node == 0 and data[0] == 9 else data
            begun = asyncio.get_running_loop().time()
            good = failed = 0
            while asyncio.get_running_loop().time() - begun < 5:
                answers = await client.ask({"together": [["read_registers", u, 0, 10, 3] for u in (1, 9, 2)]})
                assert answers[1]["error"] in ("ModbusTimeout", "ModbusUnreachable")
                good += isinstance(answers[0], list) + isinstance(answers[2], list)
                failed += isinstance(answers[0], dict) + isinstance(answers[2], dict)
            asked_dead = sum(1 for node, data in line.log if node == 1 and data[0] == 9)
            assert failed == 0, "every request to a living device was answered"
            assert 2 <= asked_dead <= 8
            assert good > 20 * asked_dead

    run(story)


def test_broadcast_reaches_every_unit_and_waits_for_no_answer(mp64: Interpreter) -> None:
    async def story() -> None:
        async with wire() as line, serial_servers(line, 1, 2), rtu_client(mp64, line) as client:
            assert await client.ask(["write_register", 0, 7, 99]) == "done"
            assert await client.ask(["read_registers", 1, 7, 1, 3]) == [99]
            assert await client.ask(["read_registers", 2, 7, 1, 3]) == [99]
            assert (await client.ask({"count": 1}))["timeouts"] == 0

    run(story)


def test_transceiver_that_echoes_is_allowed_for(mp64: Interpreter) -> None:
    async def story() -> None:
        async with wire() as line, serial_servers(line, 1), rtu_client(mp64, line, echo=True) as client:

            def spoil(node: int, data: bytes) -> bytes:
                if node == 1:
                    line.inject(data, sender=0)  # everyone but the server's own pty: the client hears itself
                return data

            line.spoil = spoil
            assert await client.ask(["write_register", 1, 7, 99]) == "done"
            assert await client.ask(["read_registers", 1, 7, 1, 3]) == [99]
            assert (await client.ask({"count": 1}))["rejected"] == 0

    run(story)
