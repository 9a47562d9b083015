"""An RS485 line with the site's Modbus devices on it, as a pty that a board's UART opens: requests in, answers out.

Devices are what answers for a unit: the site's SunSpec servers with their wire faults, or a function that gives registers.
Answers take their time on the line.
"""

import asyncio
import os
import time
import tty
from collections.abc import Callable

from tools.sim.devices.sunspec_server import SunSpecServer
from tools.sim.faults import Mute, WireFaults

_READS, _WRITE_ONE, _WRITE_MANY = (3, 4), 6, 16
_PIECE_S = 0.005  # an answer comes in pieces of so much time
_BITS = 11  # start, eight of data, parity or a second stop bit, stop
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS = 1, 2
Registers = Callable[[int, int], list[int] | None]  # (address, count): None for an address that there is not


def crc(data: bytes) -> bytes:
    """Modbus RTU's check sum, low byte first."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value.to_bytes(2, "little")


class RtuLine:
    """The line; `path` is the board's end."""

    def __init__(self, baudrate: int) -> None:
        self.path = ""
        self.requests = 0
        self.busy_s = 0.0  # that requests and answers have taken on the line
        self._char_s = _BITS / baudrate
        self._servers: dict[int, SunSpecServer] = {}
        self._registers: dict[int, Registers] = {}
        self._mutes: dict[int, Mute] = {}
        self._master = self._slave = -1
        self._data = b""
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def add_server(self, unit: int, server: SunSpecServer) -> None:
        """A SunSpec device of the site answers as that unit too."""
        self._servers[unit] = server

    def add_registers(self, unit: int, registers: Registers, mute: Mute) -> None:
        """Registers to read, with functions 3 and 4, while they are not mute."""
        self._registers[unit] = registers
        self._mutes[unit] = mute

    async def start(self) -> None:
        """Opens the line."""
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        asyncio.get_running_loop().add_reader(self._master, self._readable)
        self._task = asyncio.create_task(self._serve())

    async def stop(self) -> None:
        """Closes it."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)

    def _readable(self) -> None:
        try:
            self._data += os.read(self._master, 4096)
        except OSError:
            return
        while len(self._data) >= 8:
            size = 9 + self._data[6] if self._data[1] == _WRITE_MANY else 8
            if len(self._data) < size:
                return
            if crc(self._data[: size - 2]) == self._data[size - 2 : size]:
                self._queue.put_nowait(self._data[:size])
                self._data = self._data[size:]
            else:
                self._data = self._data[1:]  # noise, or the tail of something

    async def _serve(self) -> None:
        while True:
            request = await self._queue.get()
            sent_by = time.monotonic() + len(request) * self._char_s
            self.requests += 1
            self.busy_s += len(request) * self._char_s
            faults = self._servers[request[0]].faults if request[0] in self._servers else None
            answer = await self._answer(request)
            mute = faults or self._mutes.get(request[0])
            if answer is None or (mute is not None and mute.silent):
                continue
            answer = _spoilt(answer + crc(answer), faults)
            self.busy_s += len(answer) * self._char_s
            await self._send(answer, sent_by + (faults.delay_s if faults is not None and faults.slow else 0.0))

    async def _send(self, answer: bytes, begins: float) -> None:
        """An answer at the line's pace: whoever waits for its first byte does not wait for the last one."""
        size = max(1, int(_PIECE_S / self._char_s))
        for first in range(0, len(answer), size):
            piece = answer[first : first + size]
            there = begins + (first + len(piece)) * self._char_s
            await asyncio.sleep(max(0.0, there - time.monotonic()))
            os.write(self._master, piece)

    async def _answer(self, request: bytes) -> bytes | None:
        """The answer without its check sum; None where nobody has that unit."""
        unit, function = request[0], request[1]
        address, count = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
        if unit in self._servers:
            return await self._of_server(self._servers[unit], request, function, address, count)
        if unit not in self._registers:
            return None
        values = self._registers[unit](address, count) if function in _READS else None
        if values is None:
            return bytes((unit, function | 0x80, _ILLEGAL_ADDRESS if function in _READS else _ILLEGAL_FUNCTION))
        return bytes((unit, function, 2 * count)) + b"".join(value.to_bytes(2, "big") for value in values)

    async def _of_server(self, server: SunSpecServer, request: bytes, function: int, address: int, count: int) -> bytes:
        values: list[int] | None = None
        if function == _WRITE_ONE:
            values, count = [count], 1
        elif function == _WRITE_MANY:
            values = [int.from_bytes(request[7 + 2 * i : 9 + 2 * i], "big") for i in range(count)]
        base, registers = server.chain.base, list(server.chain.registers)
        first = address - base
        if first < 0 or first + count > len(registers):
            return bytes((request[0], function | 0x80, _ILLEGAL_ADDRESS))
        refused = await server._access(function, base, address, count, registers, values)
        if refused is not None:
            return bytes((request[0], function | 0x80, int(refused)))
        if values is not None:
            return request[:6]
        part = registers[first : first + count]
        return bytes((request[0], function, 2 * count)) + b"".join(value.to_bytes(2, "big") for value in part)


def _spoilt(answer: bytes, faults: WireFaults | None) -> bytes:
    """The answer, now and then damaged as the faults of its wire say."""
    if faults is None or faults.spoil(bytes(8) + answer) == bytes(8) + answer:
        return answer
    return answer[:-3] if faults.bad_length else answer[:-1] + bytes((answer[-1] ^ 0x5A,))
