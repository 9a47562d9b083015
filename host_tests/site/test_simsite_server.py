"""A simulated Modbus device whose computer was held up answers what has come meanwhile, as a real one does."""

from __future__ import annotations

import asyncio

from tools.sim.site import Site


def _request(transaction: int, function: int = 3) -> bytes:
    return bytes([0, transaction, 0, 0, 0, 6, 1, function, 0x9C, 0x40, 0, 2])  # two registers from 40000 on


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readexactly(6)
    return head[1], await reader.readexactly(int.from_bytes(head[4:6], "big"))


def test_requests_that_come_together_are_each_answered_in_their_order() -> None:
    async def story() -> None:
        site = Site()
        await site.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", site.ports["meter"])
        try:
            writer.write(_request(1) + _request(2, function=0x55) + _request(3))
            mark = b"\x01\x03\x04SunS"
            assert await _answer(reader) == (1, mark)
            number, refusal = await _answer(reader)
            assert number == 2 and refusal[1] & 0x80, "no such function"
            assert await _answer(reader) == (3, mark)
        finally:
            writer.close()
            await site.stop()

    asyncio.run(asyncio.wait_for(story(), 90))
