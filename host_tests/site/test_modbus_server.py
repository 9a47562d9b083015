"""Our Modbus servers, under both MicroPythons, asked by clients of other makes: pymodbus, mbpoll, raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.client.base import ModbusBaseClient
from pymodbus.framer import FramerType

from host_tests import needs
from host_tests.site.board_process import ROOT, BoardProcess, board_process
from host_tests.site.serial_wire import Wire, wire
from tools.interpreters import Interpreter
from tools.ports import free_port

MBPOLL = ROOT / ".cache" / "mbpoll" / "mbpoll"


@contextlib.asynccontextmanager
async def tcp_bank(mp: Interpreter, **options: Any) -> AsyncIterator[tuple[BoardProcess, int]]:
    port = free_port()
    async with board_process(mp, "modbus_bank.py", {"tcp": port, "options": options}) as board:
        yield board, port


@contextlib.asynccontextmanager
async def rtu_bank(mp: Interpreter, line: Wire, **setup: Any) -> AsyncIterator[BoardProcess]:
    env = {"SIM_UART1": line.add()}
    async with board_process(mp, "modbus_bank.py", {"uart": 1, "baudrate": 115200, **setup}, env) as board:
        yield board


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 150))


async def exercise_every_function(client: ModbusBaseClient) -> None:
    assert (await client.read_holding_registers(100, count=125)).registers == list(range(100, 225))
    assert (await client.read_input_registers(7, count=3)).registers == [30007, 30008, 30009]
    assert (await client.read_discrete_inputs(0, count=20)).bits[:20] == [i % 3 == 0 for i in range(20)]
    assert not (await client.write_register(10, 0xBEEF)).isError()
    assert not (await client.write_registers(11, [1, 2, 65535])).isError()
    assert (await client.read_holding_registers(10, count=4)).registers == [0xBEEF, 1, 2, 65535]
    assert not (await client.write_coil(3, True)).isError()
    pattern = [bool(i * 7 & 4) for i in range(50)]
    assert not (await client.write_coils(100, pattern)).isError()
    assert (await client.read_coils(100, count=50)).bits[:50] == pattern
    assert (await client.read_coils(0, count=5)).bits[:5] == [False, False, False, True, False]
    assert (await client.read_coils(0, count=2000)).bits[3] is True
    await client.write_register(20, 0x12)
    assert not (await client.mask_write_register(address=20, and_mask=0xF2, or_mask=0x25)).isError()
    assert (await client.read_holding_registers(20, count=1)).registers == [0x17]
    both = await client.readwrite_registers(read_address=30, read_count=4, write_address=31, values=[7, 8])
    assert both.registers == [30, 7, 8, 33]
    who: Any = await client.read_device_information(read_code=2, object_id=0)
    assert who.information == {0: b"Maker", 1: b"Code 1", 2: b"1.2.3", 4: b"Bank of registers"}
    one: Any = await client.read_device_information(read_code=4, object_id=4)
    assert one.information == {4: b"Bank of registers"}


async def exercise_refusals(client: ModbusBaseClient) -> None:
    assert (await client.read_holding_registers(1990, count=11)).exception_code == 2
    assert (await client.read_input_registers(500, count=1)).exception_code == 2
    assert (await client.write_registers(1999, [1, 2])).exception_code == 2
    assert (await client.read_holding_registers(1999, count=1)).registers == [1999], "half a write must not act"
    assert (await client.write_coil(5000, True)).exception_code == 2
    assert (await client.read_device_information(read_code=4, object_id=99)).exception_code == 2
    assert (await client.read_exception_status()).exception_code == 1


def test_pymodbus_uses_every_function_over_tcp(mp: Interpreter) -> None:
    async def story() -> None:
        async with tcp_bank(mp) as (board, port):
            client = AsyncModbusTcpClient("127.0.0.1", port=port)
            assert await client.connect()
            await exercise_every_function(client)
            await exercise_refusals(client)
            client.close()
            counters = (await board.ask("stop"))["counters"]
            assert counters["exceptions"] == 6
            assert counters["last_error"] == ""

    run(story)


def test_pymodbus_uses_every_function_over_a_serial_line(mp: Interpreter) -> None:
    async def story() -> None:
        async with wire() as line, rtu_bank(mp, line) as board:
            client = AsyncModbusSerialClient(line.add(), framer=FramerType.RTU, baudrate=115200, timeout=2, retries=0)
            assert await client.connect()
            await exercise_every_function(client)
            await exercise_refusals(client)
            client.close()
            counters = (await board.ask("stop"))["counters"]
            assert counters["exceptions"] == 6
            assert counters["crc_errors"] == 0

    run(story)


async def mbpoll(*arguments: str) -> tuple[int, str]:
    program = str(MBPOLL) if MBPOLL.exists() else shutil.which("mbpoll")
    if program is None:
        reason = "mbpoll is NOT there, so our servers were not asked by it: run `make setup`"
        if needs.required():
            pytest.fail(reason)
        pytest.skip(reason)
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    text, _ = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode or 0, text.decode()


def test_mbpoll_reads_and_writes_over_tcp(mp: Interpreter) -> None:
    async def story() -> None:
        async with tcp_bank(mp) as (_, port):
            base = ("-m", "tcp", "-p", str(port), "-a", "1", "-0", "-1", "127.0.0.1")
            code, text = await mbpoll("-t", "4", "-r", "50", "-c", "3", *base)
            assert code == 0
            assert all(f"[{n}]: \t{n}" in text for n in (50, 51, 52)), text
            code, text = await mbpoll("-t", "4", "-r", "60", *base, "4711", "4712")
            assert code == 0, text
            code, text = await mbpoll("-t", "4", "-r", "60", "-c", "2", *base)
            assert "4711" in text and "4712" in text
            code, text = await mbpoll("-t", "4", "-r", "1999", "-c", "5", *base)
            assert "Illegal data address" in text

    run(story)


def test_mbpoll_reads_and_writes_over_a_serial_line(mp64: Interpreter) -> None:
    async def story() -> None:
        async with wire() as line, rtu_bank(mp64, line, unit=17):
            base = ("-m", "rtu", "-b", "115200", "-P", "none", "-a", "17", "-0", "-1", line.add())
            code, text = await mbpoll("-t", "3", "-r", "4", "-c", "2", *base)
            assert code == 0, text
            assert "30004" in text and "30005" in text
            code, text = await mbpoll("-t", "0", "-r", "9", *base, "1", "0", "1")
            assert code == 0, text
            code, text = await mbpoll("-t", "0", "-r", "9", "-c", "3", *base)
            assert [row.split()[-1] for row in text.splitlines() if row.startswith("[")] == ["1", "0", "1"], text

    run(story)


def test_several_clients_are_served_and_one_over_the_cap_is_turned_away(mp64: Interpreter) -> None:
    async def story() -> None:
        async with tcp_bank(mp64, max_clients=3) as (board, port):
            clients = [AsyncModbusTcpClient("127.0.0.1", port=port) for _ in range(3)]
            for client in clients:
                assert await client.connect()
            answers = await asyncio.gather(*[c.read_holding_registers(5 * i, count=2) for i, c in enumerate(clients)])
            assert [a.registers for a in answers] == [[0, 1], [5, 6], [10, 11]]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read(1) == b"", "the fourth is closed at once"
            writer.close()
            clients[0].close()
            await asyncio.sleep(0.1)
            late = AsyncModbusTcpClient("127.0.0.1", port=port)
            assert await late.connect()
            assert (await late.read_holding_registers(1, count=1)).registers == [1]
            late.close()
            for client in clients[1:]:
                client.close()
            assert (await board.ask("stop"))["counters"]["turned_away"] == 1

    run(story)


def test_idle_connection_is_closed_even_if_it_dribbles_bytes(mp64: Interpreter) -> None:
    async def story() -> None:
        async with tcp_bank(mp64, idle_ms=400) as (board, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(5):
                writer.write(b"\0")
                await asyncio.sleep(0.1)
            assert await asyncio.wait_for(reader.read(1), 15) == b""
            assert (await board.ask("stop"))["counters"]["idle_closed"] == 1

    run(story)


def request(transaction: int, address: int, count: int) -> bytes:
    return struct.pack(">HHHBBHH", transaction, 0, 6, 1, 3, address, count)


def test_pipelined_requests_are_answered_in_order(mp: Interpreter) -> None:
    async def story() -> None:
        async with tcp_bank(mp) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"".join(request(n, n, 2) for n in range(200)))
            for n in range(200):
                expected = struct.pack(">HHHBBBHH", n, 0, 7, 1, 3, 4, n, n + 1)
                assert await asyncio.wait_for(reader.readexactly(13), 15) == expected
            writer.close()

    run(story)


def test_client_that_does_not_read_holds_up_only_itself(mp64: Interpreter) -> None:
    async def story() -> None:
        async with tcp_bank(mp64) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            many = 40000
            flood = asyncio.create_task(_send_all(writer, b"".join(request(n & 0xFFFF, 0, 125) for n in range(many))))
            other = AsyncModbusTcpClient("127.0.0.1", port=port)
            assert await other.connect()
            for _ in range(20):
                assert (await other.read_holding_registers(3, count=1)).registers == [3]
            for n in range(many):
                head = await asyncio.wait_for(reader.readexactly(259), 10)
                assert head[:9] == struct.pack(">HHHBBB", n & 0xFFFF, 0, 253, 1, 3, 250)
            await flood
            other.close()
            writer.close()

    run(story)


async def _send_all(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def test_requests_in_pieces_are_put_together(mp64: Interpreter) -> None:
    async def story() -> None:
        async with tcp_bank(mp64) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in range(1, 12):
                data = request(piece, 1, 1) + request(piece + 100, 2, 1)
                for at in range(0, len(data), piece):
                    writer.write(data[at : at + piece])
                    await writer.drain()
                    await asyncio.sleep(0.003)
                assert (await asyncio.wait_for(reader.readexactly(11), 15))[-2:] == b"\0\1"
                assert (await asyncio.wait_for(reader.readexactly(11), 15))[-2:] == b"\0\2"
            writer.close()

    run(story)


def test_broken_header_closes_that_connection_only(mp64: Interpreter) -> None:
    async def story() -> None:
        async with tcp_bank(mp64) as (board, port):
            good = AsyncModbusTcpClient("127.0.0.1", port=port)
            assert await good.connect()
            for bad in (struct.pack(">HHHBB", 1, 7, 2, 1, 3), struct.pack(">HHHBB", 1, 0, 300, 1, 3)):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(bad)
                assert await asyncio.wait_for(reader.read(1), 15) == b""
                writer.close()
            assert (await good.read_holding_registers(9, count=1)).registers == [9]
            good.close()
            assert (await board.ask("stop"))["counters"]["rejected"] == 2

    run(story)


def test_broadcast_acts_and_is_not_answered(mp64: Interpreter) -> None:
    async def story() -> None:
        async with wire() as line, rtu_bank(mp64, line, unit=5):
            client = AsyncModbusSerialClient(line.add(), framer=FramerType.RTU, baudrate=115200, timeout=1, retries=0)
            assert await client.connect()
            await client.write_register(42, 4242, device_id=0, no_response_expected=True)
            await asyncio.sleep(0.2)
            assert [node for node, _ in line.log] == [1], "nobody answers a broadcast"
            assert (await client.read_holding_registers(42, count=1, device_id=5)).registers == [4242]
            client.close()

    run(story)


def test_a_broadcast_acts_once_on_what_answers_as_two_units(mp64: Interpreter) -> None:
    async def story() -> None:
        async with wire() as line, rtu_bank(mp64, line, unit=5, also=126) as board:
            client = AsyncModbusSerialClient(line.add(), framer=FramerType.RTU, baudrate=115200, timeout=1, retries=0)
            assert await client.connect()
            assert (await client.read_holding_registers(42, count=1, device_id=126)).registers == [42]
            await client.write_register(42, 4242, device_id=0, no_response_expected=True)
            await asyncio.sleep(0.2)
            assert (await client.read_holding_registers(42, count=1, device_id=5)).registers == [4242]
            client.close()
            assert (await board.ask("stop"))["counters"]["frames"] == 3

    run(story)


def test_server_keeps_silent_for_other_units_and_finds_its_request_behind_noise(mp64: Interpreter) -> None:
    async def story() -> None:
        async with wire() as line, rtu_bank(mp64, line, unit=5) as board:
            client = AsyncModbusSerialClient(line.add(), framer=FramerType.RTU, baudrate=115200, timeout=0.6, retries=0)
            assert await client.connect()
            with pytest.raises(Exception, match="No response"):
                await client.read_holding_registers(1, count=1, device_id=6)
            line.spoil = lambda node, data: b"\x00\xff" + data if node == 1 else data
            assert (await client.read_holding_registers(1, count=1, device_id=5)).registers == [1]
            line.spoil = lambda node, data: data[:-1] + bytes([data[-1] ^ 1]) if node == 1 else data
            with pytest.raises(Exception, match="No response"):
                await client.read_holding_registers(1, count=1, device_id=5)
            line.spoil = lambda node, data: data[:5] if node == 1 else data
            with pytest.raises(Exception, match="No response"):
                await client.read_holding_registers(1, count=1, device_id=5)
            line.spoil = None
            assert (await client.read_holding_registers(1, count=1, device_id=5)).registers == [1]
            client.close()
            counters = (await board.ask("stop"))["counters"]
            assert counters["crc_errors"] == 2
            assert counters["rejected"] == 1

    run(story)
