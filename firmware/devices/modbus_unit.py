"""One Modbus unit as a driver asks it: what is busy is asked again in place, what goes wrong is counted and said in words."""

import asyncio

from micropython import const

from modbus import ModbusError, ModbusRefused, ModbusTimeout, ModbusUnreachable
from modbus.client import Counters

_TRIES = const(5)  # of a request that is answered with "busy"
_BUSY_MS = const(20)  # between them


_MANY = const(10)  # refusals in a row: one now and then is not said


class ModbusUnit:
    """Unit `number` behind `client`; `count`: this unit's own counters, where the client's are those of a bus that others share.

    Every request raises ModbusError, ModbusRefused with a `busy` code only after several tries.
    """

    def __init__(self, client, number: int) -> None:
        self.client = client
        self.number = number
        self.count = Counters()
        self._refusals = 0  # of commands, since one was taken

    async def read(self, address: int, count: int, out, function: int = 3, to_write: bool = False) -> None:
        """`count` registers from `address` into out[0:count]; function 3 holding, 4 input; to_write: for a command."""
        for tries in range(_TRIES, 0, -1):
            self.count.frames += 1
            try:
                return await self.client.read_registers(self.number, address, count, out, function, to_write)
            except ModbusRefused as error:
                if not error.busy or tries == 1:
                    raise
                self.note(error)
            await asyncio.sleep_ms(_BUSY_MS)

    async def write(self, address: int, words, count: int, function: int, fresh=None) -> None:
        """words[0:count] from `address` on, with function 6 (one register) or 16.

        fresh: called each time just before it goes out; it brings `words` up to date, or raises a ModbusError.
        """
        for tries in range(_TRIES, 0, -1):
            self.count.frames += 1
            try:
                return await self.client.write_registers(self.number, address, words, count, function, fresh)
            except ModbusRefused as error:
                if not error.busy or tries == 1:
                    raise
                self.note(error)
            await asyncio.sleep_ms(_BUSY_MS)

    def note(self, error: ModbusError) -> None:
        """Count what went wrong with a request to this unit."""
        count = self.count
        count.last_error = str(error)
        if isinstance(error, (ModbusTimeout, ModbusUnreachable)):
            count.timeouts += 1
        elif isinstance(error, ModbusRefused):
            count.exceptions += 1
        else:
            count.rejected += 1

    def told(self, image, once, error=None) -> None:
        """The device has been commanded, or that failed: what keeps it from being commanded is for people, here and in reasons."""
        if error is None:
            self._refusals = 0
            if image.barred and once.text == image.barred:
                once.text = ""
            image.barred = ""
        elif isinstance(error, ModbusRefused):
            self._refusals += 1
            if self._refusals >= _MANY:
                image.barred = "it refuses what is commanded: %s" % self.count.last_error
                once.say(image.barred)

    def reject(self, text: str) -> None:
        """Count an answer, or a part of one, that cannot be true."""
        self.count.rejected += 1
        self.count.last_error = text
