"""Modbus client for RTU frames over TCP: a gateway that puts what it is sent on its serial line, and back.

Such frames have no transaction id: an answer is known by unit, function, length and CRC, wherever it lies in what has
come.  So there is one request at a time, and after one whose answer did not come the line is listened to as long again
before the same unit is asked the next, as a late answer would be taken for it.  Other units are asked meanwhile.
"""

import asyncio
import time

from micropython import const

from modbus import ModbusError, ModbusTimeout, hot
from modbus.client import PDU, UNIT, Slot, check_range
from modbus.rtu_frames import SHORTEST, answer_length, fits
from modbus.tcp_client import TcpClient

_NAP_MS = const(1)


class RtuOverTcpClient(TcpClient):
    """A TcpClient whose peer speaks RTU; units 1 to 247, a broadcast has no place here.

    The arguments are TcpClient's, without pipeline.
    """

    def __init__(self, host: str, port: int = 502, **given) -> None:
        super().__init__(host, port, pipeline=1, **given)
        self._owed = False  # the answer to a request that was cancelled half-way is due until _owed_until
        self._owed_until = time.ticks_ms()
        self._late = {}  # unit -> until when an answer that was waited for in vain may come

    async def _exchange(self, slot: Slot, length: int) -> int:
        unit = slot.frame[UNIT]
        check_range("unit", unit, 1, 247)
        if self._owed:
            await self._let_pass(self._owed_until)
        if unit in self._late:
            await self._let_pass(self._late[unit])
            self._late.pop(unit)
        self._owed = False
        try:
            got = await super()._exchange(slot, length)
        except ModbusError as error:
            self._owed = False
            if isinstance(error, ModbusTimeout):
                self._late[unit] = time.ticks_add(time.ticks_ms(), self.timeout_ms)
            raise
        self._owed = False
        return got

    async def _let_pass(self, until: int) -> None:
        """Throw away what comes until then, when no answer can be expected any more."""
        while self.connected and 0 < time.ticks_diff(until, time.ticks_ms()) <= 2 * self.timeout_ms:
            self._receive()
            await asyncio.sleep_ms(_NAP_MS)

    def _send(self, slot: Slot, length: int) -> None:
        frame = slot.frame
        crc = hot.crc16(frame, UNIT, PDU + length)
        frame[PDU + length] = crc & 0xFF
        frame[PDU + length + 1] = crc >> 8
        self._owed_until = time.ticks_add(time.ticks_ms(), 2 * self.timeout_ms)  # it may be late as well
        self._owed = True
        self._write(slot, 0, UNIT, length + 3)

    def _take(self) -> None:
        """Look for the answer in what has come; nobody waits for anything else."""
        slot = self._slots[0]
        rx = self._rx
        have = self._have
        if slot.transaction < 0:
            self.count.late += 1
            self._have = 0
            return
        for at in range(have - SHORTEST + 1):
            if rx[at] != slot.frame[UNIT] or rx[at + 1] & 0x7F != slot.frame[PDU]:
                continue
            length = answer_length(rx, at, have)
            if length <= have - at and hot.crc16(rx, at, at + length) == 0:
                if rx[at + 1] & 0x80 or fits(slot.frame, rx, at):
                    self._have = 0
                    self._give(slot, at + 1, length - 3)
                    return
                self.count.late += 1
        if have == len(rx):
            self._have = 0  # room for the longest answer, and none in it

    def _give_up_silent(self) -> None:
        if self._have:
            self.count.crc_errors += 1
            self._oddity = "; %d bytes that are no answer came" % self._have
            self._have = 0  # the next frame will be found without them
        super()._give_up_silent()
