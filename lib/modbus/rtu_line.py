"""A serial Modbus line: a UART, its timing, and the direction of an RS485 transceiver.

MicroPython's UART knows no RS485 mode and tells nobody when a character came, so the rules of Modbus over
Serial Line V1.02 are kept as far as that allows: never send before the line was silent for 3.5 characters, and
hand the line back as soon as the last bit has left.  Frames are recognised by their length and CRC, not by the
1.5-character gap: a scheduler tick of 10 ms hides it.
"""

import asyncio
import time

from micropython import const

_FIXED_ABOVE = const(19200)  # baud; above it the silence is fixed (specification, 2.5.1.1)
_FIXED_SILENCE_US = const(1750)
_SPIN_MS = const(2)  # the end of a transmission is awaited without sleeping: a sleep may last a 10 ms tick


class RtuLine:
    """One UART on one line.

    uart: a machine.UART (or anything with any, readinto, write, txdone), opened with timeout=0; baudrate as it
    was opened; bits: of a character with start, parity and stop (11 as Modbus wants it, 10 for 8N1); de: an
    output pin (called with 1 to send, 0 to receive), or None where the transceiver finds out by itself; echo:
    what is sent comes back and must be dropped.
    """

    def __init__(self, uart, baudrate: int, bits: int = 10, de=None, echo: bool = False) -> None:
        self.uart = uart
        self.char_us = bits * 1000000 // baudrate
        self.silence_us = _FIXED_SILENCE_US if baudrate > _FIXED_ABOVE else 7 * self.char_us // 2
        self.overruns = 0
        self._de = de
        self._echo = echo
        self._drop = 0  # bytes of our own still to come back
        self._last_us = time.ticks_us()  # when a byte was last seen or sent
        self._quiet = True  # silent for so long that _last_us means nothing any more
        if de is not None:
            de(0)

    def receive(self, buffer, view, have: int) -> int:
        """Append what has come to buffer[have:]; how many bytes there are then.  What does not fit is dropped."""
        waiting = self.uart.any()
        if not waiting:
            if not self._quiet and self.silent_us() > self.silence_us:
                self._quiet = True
            return have
        self._last_us = time.ticks_us()
        self._quiet = False
        room = len(buffer) - have
        if room == 0:
            self.overruns += waiting
            self.uart.readinto(view[0:waiting] if waiting < have else view)
            return 0  # longer than any frame: rubbish, and so is its beginning
        got = self.uart.readinto(view[have : have + min(room, waiting)]) or 0
        if self._drop:
            own = min(self._drop, got)
            self._drop -= own
            got -= own
            for i in range(got):
                buffer[have + i] = buffer[have + own + i]
        return have + got

    def silent_us(self) -> int:
        """For how long no byte has been seen or sent; once that is longer than silence_us it only says so."""
        silent = -1 if self._quiet else time.ticks_diff(time.ticks_us(), self._last_us)
        return silent if silent >= 0 else 2 * self.silence_us  # below 0: nine minutes ago, or more

    async def wait_silence(self) -> None:
        """Until the line has been silent for 3.5 characters."""
        while not self._quiet:
            left = self.silence_us - self.silent_us()
            if left <= 0:
                self._quiet = True
                return
            await asyncio.sleep_ms(left // 1000)

    async def send(self, view, length: int) -> int:
        """Send view[0:length] (raising DE while it lasts); microseconds spent until the last bit has left."""
        wire_us = length * self.char_us
        begun = time.ticks_us()
        if self._de is not None:
            self._de(1)
        try:
            self.uart.write(view[0:length])
            if self._echo:
                self._drop = length
            sleep_ms = wire_us // 1000 - (_SPIN_MS if self._de is not None else 0)
            if sleep_ms > 0:
                await asyncio.sleep_ms(sleep_ms)
            while not self.uart.txdone():
                if self._de is None:
                    await asyncio.sleep_ms(0)
                if time.ticks_diff(time.ticks_us(), begun) > 2 * wire_us + 50000:
                    break  # a UART that never ends must not hold the line, or us
        finally:
            if self._de is not None:
                self._de(0)
        self._last_us = time.ticks_us()
        self._quiet = False
        return time.ticks_diff(self._last_us, begun)
