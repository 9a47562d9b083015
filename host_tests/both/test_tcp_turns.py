"""A Modbus/TCP device that answers at once: between two requests everybody else has a turn all the same."""

import asyncio
from array import array

from modbus import tcp_client
from modbus.tcp_client import TcpClient


class Socket:
    """A connection whose answer is there as soon as the request is sent."""

    def __init__(self):
        self._answer = b""

    def write(self, frame, start, length):
        request = bytes(frame[start : start + length])
        count = request[11]
        body = bytes((request[6], request[7], 2 * count)) + bytes(2 * count)
        self._answer += request[0:4] + bytes((0, len(body))) + body
        return length

    def readinto(self, buffer, most=None):
        part = self._answer[: len(buffer) if most is None else min(most, len(buffer))]
        if not part:
            return None
        buffer[: len(part)] = part
        self._answer = self._answer[len(part) :]
        return len(part)

    def close(self):
        pass


def test_requests_that_are_answered_at_once_are_no_single_step():
    turns = []

    async def connect(_host, _port, _deadline):
        return Socket()

    async def others():
        while True:
            turns.append(1)
            await asyncio.sleep_ms(0)

    async def main():
        client = TcpClient("127.0.0.1", 502)
        out = array("H", bytes(20))
        task = asyncio.create_task(others())
        await client.read_registers(1, 0, 10, out)
        before = len(turns)
        for _ in range(20):
            await client.read_registers(1, 0, 10, out)
        task.cancel()
        return len(turns) - before

    real = tcp_client.connect
    tcp_client.connect = connect
    try:
        assert asyncio.run(main()) >= 20
    finally:
        tcp_client.connect = real
