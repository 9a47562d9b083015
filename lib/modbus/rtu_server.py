"""Modbus RTU server (slave) on a serial line that it may share with other devices.

A request for us is answered as soon as its length and CRC fit and the line has been silent for 3.5 characters.
What is between other devices is thrown away when the line falls silent; a request behind noise is still found.
"""

import asyncio
import time

from micropython import const

from modbus import hot
from modbus.rtu_line import RtuLine
from modbus.server import Server

_FRAME = const(264)
_RX_SIZE = const(520)
_SHORTEST = const(4)
_LONGEST = const(256)  # of a frame (specification, 2.5.1)
_NAP_MS = const(1)
_IDLE_NAP_MS = const(5)
_TALKING_LOOKS = const(1000)  # naps without a byte after which the line counts as idle
_GAP_LOOKS = const(3)  # looks without a byte after which a half frame is given up


class RtuServer(Server):
    """Serves `models` (a dict by unit, see modbus.server) on one UART; a broadcast reaches all of them.

    uart, baudrate, bits, de, echo: see RtuLine.  gate: as in modbus.tcp_server, is told of each request of `client`, the
    one that a line has; its owner opens and closes it.  `await run()` serves until `stop()`.
    """

    def __init__(
        self,
        models: dict,
        uart,
        baudrate: int,
        bits: int = 10,
        de=None,
        echo: bool = False,
        identity=None,
        gate=None,
    ) -> None:
        super().__init__(models, identity)
        self._gate = gate
        self.line = RtuLine(uart, baudrate, bits, de, echo)
        self._reply = bytearray(_FRAME)
        self._rx = bytearray(_RX_SIZE)
        self._have = 0
        self._running = False

    def stop(self) -> None:
        """Let run() end."""
        self._running = False

    async def run(self) -> None:
        """Serve until stop() is called."""
        self._running = True
        line = self.line
        quiet = 0
        while self._running:
            before = self._have
            self._have = line.receive(self._rx, before)
            if self._have != before:
                quiet = 0
                size = self._take(False)
            else:
                quiet += 1
                size = 0
                if self._have and quiet >= _GAP_LOOKS and line.silence_left_us() == 0:
                    size = self._take(True)
            if size == 0:
                await asyncio.sleep_ms(_NAP_MS if quiet < _TALKING_LOOKS else _IDLE_NAP_MS)
                continue
            while line.silence_left_us():
                await asyncio.sleep_ms(line.silence_left_us() // 1000)
            try:
                line.send(self._reply, 0, size)
                while not line.sent():
                    await asyncio.sleep_ms(line.sending_ms())
            finally:
                line.receiving()

    def _take(self, final: bool) -> int:
        """Serve the request in what has come, if there is one; the length of the answer's frame, 0 for none.

        Not `final`: only a request that begins with the first byte and is complete.  `final`: the line is
        silent; look behind noise too, and throw everything away.
        """
        rx = self._rx
        have = self._have
        at = 0
        while have - at >= _SHORTEST:
            unit = rx[at]
            if unit == 0 or self.knows(unit):
                length = request_length(rx, at, have)
                if length <= have - at and hot.crc16(rx, at, at + length) == 0:
                    if at:
                        self.count.rejected += 1
                    self._have = 0
                    return self._answer(unit, at, length)
            if not final:
                return 0
            at += 1
        if final:
            self._have = 0
            if unit_of_first(rx, have, self):
                self.count.crc_errors += 1
        self.count.overruns = self.line.overruns
        return 0

    def _answer(self, unit: int, at: int, length: int) -> int:
        reply = self._reply
        if self._gate is not None:
            self._gate.asked(self.client, time.ticks_ms())  # a line has its own pace: nobody waits
        if unit == 0:
            self.broadcast(self._rx, at + 1, length - 3, reply, 1)
            return 0
        size = 1 + self.serve(unit, self._rx, at + 1, length - 3, reply, 1)
        reply[0] = unit
        crc = hot.crc16(reply, 0, size)
        reply[size] = crc & 0xFF
        reply[size + 1] = crc >> 8
        return size + 2


def unit_of_first(rx, have: int, server: Server) -> bool:
    """What was thrown away looked as if it were for us."""
    return have >= _SHORTEST and (rx[0] == 0 or server.knows(rx[0]))


def request_length(rx, at: int, have: int) -> int:
    """How long the request that begins at rx[at] is, with unit and CRC; more than there is if that cannot be told.

    A function nobody knows has no length: the whole of what has come is taken for it.
    """
    function = rx[at + 1]
    if 1 <= function <= 6:
        return 8
    if function == 15 or function == 16:
        return 9 + rx[at + 6] if have - at > 6 else _LONGEST
    if function == 22:
        return 10
    if function == 23:
        return 13 + rx[at + 10] if have - at > 10 else _LONGEST
    if function == 43:
        return 7
    return have - at
