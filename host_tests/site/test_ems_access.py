"""The EMS's servers under both MicroPythons: who connects, who controls, and what a crowd of others can do to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from pymodbus.client import AsyncModbusTcpClient

from host_tests.site.board_process import BoardProcess, board_process
from tools.interpreters import Interpreter
from tools.ports import free_port

ALLOW = {"127.0.0.2": "control", "127.0.0.3": "control", "127.0.0.9": "off", "127.0.0.0/8": "read-only"}


@contextlib.asynccontextmanager
async def gated(mp: Interpreter, **setup: Any) -> AsyncIterator[tuple[BoardProcess, int]]:
    port = free_port()
    options = {"allow": ALLOW, **setup.pop("options", {})}
    async with board_process(mp, "ems_bank.py", {"tcp": port, "options": options, **setup}) as board:
        yield board, port


async def client_from(address: str, port: int, **more: Any) -> AsyncModbusTcpClient:
    """A client that connects from an address of this machine."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port, source_address=(address, 0), retries=0, timeout=3, **more)
    assert await client.connect()
    return client


async def code_of_write(client: AsyncModbusTcpClient, address: int, value: int = 1) -> int:
    """The exception code of a write, 0: it was accepted."""
    answer = await client.write_register(address, value)
    return answer.exception_code if answer.isError() else 0


async def is_closed(address: str, port: int) -> bool:
    """Whether a connection from there is closed at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        return await asyncio.wait_for(reader.read(1), 15) == b""
    finally:
        writer.close()


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 150))


def test_an_address_reads_commands_or_is_not_let_in_as_the_site_says(mp: Interpreter) -> None:
    async def story() -> None:
        async with gated(mp) as (board, port):
            ems, display = await client_from("127.0.0.2", port), await client_from("127.0.0.7", port)
            assert (await display.read_holding_registers(3, count=2)).registers == [3, 4]
            assert await code_of_write(display, 3, 9) == 1
            assert await code_of_write(ems, 3, 8) == 0
            assert await code_of_write(ems, 60, 8) == 1, "that is for service"
            assert (await display.read_holding_registers(3, count=1)).registers == [8]
            assert await is_closed("127.0.0.9", port)
            seen = [(one["who"], one["rights"], one["controls"]) for one in await board.ask("clients")]
            assert seen == [("127.0.0.2", "control", True), ("127.0.0.7", "read-only", False)]
            said = [(one["who"], one["point"], one["accepted"], one["value"]) for one in await board.ask("commands")]
            assert said == [
                ("127.0.0.7", "register 3", False, 9),
                ("127.0.0.2", "register 3", True, 8),
                ("127.0.0.2", "register 60", False, 8),
            ]
            ems.close()
            display.close()

    run(story)


def test_of_two_that_may_control_one_does_until_it_has_gone(mp64: Interpreter) -> None:
    async def story() -> None:
        async with gated(mp64) as (_, port):
            first, second = await client_from("127.0.0.2", port), await client_from("127.0.0.3", port)
            assert await code_of_write(first, 1) == 0
            assert await code_of_write(second, 1) == 6
            first.close()
            await asyncio.sleep(0.1)
            assert await code_of_write(second, 1) == 0
            second.close()

    run(story)


def test_who_controls_is_not_closed_for_its_silence_before_its_seat_ends(mp64: Interpreter) -> None:
    async def story() -> None:
        async with gated(mp64, idle_ms=500, options={"allow": ALLOW, "seat_s": 3}) as (board, port):
            ems = await client_from("127.0.0.2", port, reconnect_delay=0)
            display = await client_from("127.0.0.7", port, reconnect_delay=0)
            assert await code_of_write(ems, 1) == 0
            assert (await display.read_holding_registers(3, count=1)).registers == [3]
            await asyncio.sleep(2)
            seen = [(one["who"], one["controls"]) for one in await board.ask("clients")]
            assert seen == [("127.0.0.2", True)], "who only reads is closed"
            second = await client_from("127.0.0.3", port, reconnect_delay=0)
            assert await code_of_write(second, 1) == 6
            await asyncio.sleep(2)
            assert await board.ask("clients") == [], "its seat has ended, and it has asked nothing for long"
            for client in (ems, display, second):
                client.close()

    run(story)


async def crowd(port: int, ems: AsyncModbusTcpClient, source: str) -> int:
    """Fifty connections from there, half of them silent, while the EMS goes on reading and commanding; how many were let in."""
    others = []
    inside = 0
    for i in range(50):
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            others.append(writer)
            if i & 1:
                writer.write(struct.pack(">HHHBBHH", i, 0, 6, 1, 3, 5, 1))
                answer = await asyncio.wait_for(reader.read(11), 15)
                inside += answer == struct.pack(">HHHBBBH", i, 0, 5, 1, 3, 2, 5)
        assert (await ems.read_holding_registers(3, count=1)).registers == [3]
        assert await code_of_write(ems, 10, i) == 0
    for writer in others:
        writer.close()
    return inside


def test_fifty_others_half_of_them_silent_do_not_part_the_ems_from_its_battery(mp: Interpreter) -> None:
    async def story() -> None:
        async with gated(mp, options={"commands_per_s": 1000}) as (_, port):
            ems = await client_from("127.0.0.2", port)
            assert await crowd(port, ems, "127.0.0.7") >= 1
            ems.close()

    run(story)


def test_fifty_with_the_same_rights_do_not_either_once_it_controls(mp64: Interpreter) -> None:
    async def story() -> None:
        async with gated(mp64, options={"commands_per_s": 1000}) as (_, port):
            ems = await client_from("127.0.0.2", port)
            assert await code_of_write(ems, 10) == 0
            await crowd(port, ems, "127.0.0.3")
            ems.close()

    run(story)


def test_who_may_control_finds_a_place_where_all_are_taken_by_those_who_only_read(mp64: Interpreter) -> None:
    async def story() -> None:
        async with gated(mp64) as (board, port):
            displays = [await client_from("127.0.0.7", port) for _ in range(4)]
            for display in displays:
                assert (await display.read_holding_registers(1, count=1)).registers == [1]
            assert await is_closed("127.0.0.8", port), "one more of them is turned away"
            ems = await client_from("127.0.0.2", port)
            assert await code_of_write(ems, 1, 77) == 0
            assert [one["who"] for one in await board.ask("clients")].count("127.0.0.7") == 3
            for client in (ems, *displays):
                client.close()

    run(story)


def test_the_places_of_those_who_have_just_gone_are_free_for_who_comes_at_the_same_moment(mp: Interpreter) -> None:
    def ask(sock: socket.socket) -> bytes:
        sock.sendall(struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 5, 1))
        return sock.recv(64)

    async def story() -> None:
        async with gated(mp) as (board, port):
            for turn in range(5):
                first = [socket.create_connection(("127.0.0.1", port), 3) for _ in range(4)]
                assert [len(await asyncio.to_thread(ask, sock)) for sock in first] == [11] * 4, turn
                for sock in first:
                    sock.close()
                then = [socket.create_connection(("127.0.0.1", port), 3) for _ in range(4)]
                assert [len(await asyncio.to_thread(ask, sock)) for sock in then] == [11] * 4, turn
                for sock in then:
                    sock.close()
                await asyncio.sleep(0.1)
            assert (await board.ask("counters"))[0]["turned_away"] == 0

    run(story)


def test_who_only_reads_takes_no_place_from_who_may_control_and_is_idle(mp64: Interpreter) -> None:
    async def story() -> None:
        async with gated(mp64, max_clients=2) as (_, port):
            ems = [await client_from("127.0.0.2", port) for _ in range(2)]
            await asyncio.sleep(2.5)
            assert await is_closed("127.0.0.7", port)
            late = await client_from("127.0.0.3", port)
            assert await code_of_write(late, 1) == 0, "one like them does: the idle one's peer may have died"
            for client in (late, *ems):
                client.close()

    run(story)


def test_who_asks_too_often_waits_and_is_answered_in_order_and_nobody_else_waits(mp64: Interpreter) -> None:
    async def story() -> None:
        async with gated(mp64, options={"requests_per_s": 20}) as (board, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.7", 0))
            writer.write(b"".join(struct.pack(">HHHBBHH", n, 0, 6, 1, 3, n, 1) for n in range(50)))
            await asyncio.sleep(0.2)
            ems = await client_from("127.0.0.2", port)
            assert (await ems.read_holding_registers(3, count=1)).registers == [3]
            frames = (await board.ask("counters"))[0]["frames"]
            assert frames < 51, "what came is left waiting"
            for n in range(50):
                expected = struct.pack(">HHHBBBH", n, 0, 5, 1, 3, 2, n)
                assert await asyncio.wait_for(reader.readexactly(11), 10) == expected
            writer.close()
            ems.close()

    run(story)


def test_who_waits_and_leaves_frees_its_place(mp64: Interpreter) -> None:
    async def story() -> None:
        async with gated(mp64, options={"requests_per_s": 5}) as (board, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.7", 0))
            writer.write(b"".join(struct.pack(">HHHBBHH", n, 0, 6, 1, 3, n, 1) for n in range(40)))
            await asyncio.sleep(0.1)
            assert len(await board.ask("clients")) == 1
            writer.transport.abort()
            for _ in range(40):
                if not await board.ask("clients"):
                    break
                await asyncio.sleep(0.1)
            assert await board.ask("clients") == []

    run(story)
