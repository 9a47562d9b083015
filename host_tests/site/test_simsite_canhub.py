"""The CAN hub is an adapter to every node: it speaks slcan as adapters do and passes frames on as a wire does."""

import asyncio
from collections.abc import Awaitable, Callable

import can

from tools.sim.devices.canhub import CanHub

Node = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def on_hub(test: Callable[[CanHub], Awaitable[None]]) -> None:
    async def run() -> None:
        hub = CanHub()
        await hub.start()
        try:
            await asyncio.wait_for(test(hub), 10)
        finally:
            await hub.stop()

    asyncio.run(run())


async def node(hub: CanHub, *commands: str) -> Node:
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    for command in commands:
        assert await say((reader, writer), command) == b"\r", command
    return reader, writer


async def say(one: Node, command: str) -> bytes:
    one[1].write(command.encode() + b"\r")
    return await answer(one)


async def answer(one: Node) -> bytes:
    """One answer or one frame: up to CR, or a BELL."""
    got = b""
    while not got.endswith((b"\r", b"\a")):
        byte = await asyncio.wait_for(one[0].read(1), 2)
        assert byte, "the hub has hung up"
        got += byte
    return got


def test_frames_reach_every_open_node_but_the_sender() -> None:
    async def test(hub: CanHub) -> None:
        a, b, c = [await node(hub, "S6", "O") for _ in range(3)]
        closed = await node(hub, "S6")
        assert await say(a, "T000042008" + "00" * 8) == b"Z\r"
        assert await say(a, "t3052AABB") == b"z\r"
        for one in (b, c):
            assert await answer(one) == b"T000042008" + b"00" * 8 + b"\r"
            assert await answer(one) == b"t3052AABB\r"
        assert await say(closed, "V") == b"V1013\r"  # nothing else had come
        assert hub.frames == 2

    on_hub(test)


def test_adapter_commands_and_their_errors() -> None:
    async def test(hub: CanHub) -> None:
        one = await node(hub)
        assert await say(one, "T000042000") == b"\a"  # closed
        assert await say(one, "Sx") == b"\a"
        assert await say(one, "S6") == b"\r"
        assert await say(one, "L") == b"\r"
        assert await say(one, "t1230") == b"\a"  # listen-only
        assert await say(one, "C") == b"\r"
        assert await say(one, "O") == b"\r"
        assert await say(one, "S4") == b"\a"  # not while open
        assert await say(one, "N") == b"NSIM1\r"
        assert await say(one, "F") == b"F00\r"
        assert await say(one, "?") == b"\a"

    on_hub(test)


def test_damaged_frames_are_refused_and_counted() -> None:
    async def test(hub: CanHub) -> None:
        a, b = await node(hub, "S6", "O"), await node(hub, "S6", "O")
        for line in ("t12", "t1239", "t123200", "tXYZ0", "t9990", "T3FFFFFFF0", "t1231GG", "r12380"):
            assert await say(a, line) == b"\a", line
        assert hub.malformed == 8 and hub.frames == 0
        assert await say(a, "r1238") == b"z\r"  # a remote frame has a length and no data
        assert await answer(b) == b"r1238\r"

    on_hub(test)


def test_commands_may_arrive_in_pieces() -> None:
    async def test(hub: CanHub) -> None:
        a, b = await node(hub, "S6", "O"), await node(hub, "S6", "O")
        for piece in (b"T0000", b"42001", b"7F\rt1", b"231AA\r"):
            a[1].write(piece)
            await asyncio.sleep(0.01)
        assert await answer(b) == b"T0000420017F\r"
        assert await answer(b) == b"t1231AA\r"

    on_hub(test)


def test_node_that_leaves_is_forgotten() -> None:
    async def test(hub: CanHub) -> None:
        a, b = await node(hub, "S6", "O"), await node(hub, "S6", "O")
        b[1].close()
        while len(hub.nodes) > 1:
            await asyncio.sleep(0.01)
        assert await say(a, "t1230") == b"z\r"

    on_hub(test)


def test_node_that_does_not_read_loses_frames_instead_of_memory() -> None:
    async def test(hub: CanHub) -> None:
        sleeper = await node(hub, "S6", "O")
        talker = await node(hub, "S6", "O")
        frame = b"T000042008" + b"11" * 8 + b"\r"
        sleeper[0]._transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(2000):
            talker[1].write(frame * 200)
            await asyncio.sleep(0)
            await talker[0].read(65536)
            if hub.dropped:
                return
        raise AssertionError(f"{hub.frames} frames and none dropped")

    on_hub(test)


def test_python_can_talks_to_python_can_through_the_hub() -> None:
    async def test(hub: CanHub) -> None:
        def talk() -> can.Message | None:
            channel = f"socket://127.0.0.1:{hub.port}"
            with (
                can.Bus(interface="slcan", channel=channel, bitrate=500_000, sleep_after_open=0) as a,
                can.Bus(interface="slcan", channel=channel, bitrate=500_000, sleep_after_open=0) as b,
            ):
                b.recv(0.1)
                a.send(can.Message(arbitration_id=0x1ABCDEF, is_extended_id=True, data=b"\x01\x02\x03"))
                for _ in range(100):
                    message = b.recv(0.05)
                    if message is not None:
                        return message
            return None

        message = await asyncio.to_thread(talk)
        assert message is not None
        assert message.arbitration_id == 0x1ABCDEF and bytes(message.data) == b"\x01\x02\x03"

    on_hub(test)
