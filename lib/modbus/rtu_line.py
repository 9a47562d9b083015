"""A serial Modbus line: a UART, its timing, and the direction of an RS485 transceiver.

MicroPython's UART knows no RS485 mode and tells nobody when a character came, so the rules of Modbus over
Serial Line V1.02 are kept as far as that allows: never send before the line was silent for 3.5 characters, and
hand the line back as soon as the last bit has left.  Frames are recognised by their length and CRC, not by the
1.5-character gap: a scheduler tick of 10 ms hides it.  Nothing here allocates.
"""

import time

from micropython import const

from modbus import hot

_FIXED_ABOVE = const(19200)  # baud; above it the silence is fixed (specification, 2.5.1.1)
_FIXED_SILENCE_US = const(1750)
_SPIN_US = const(2000)  # the end of a transmission is awaited without sleeping: a sleep may last a 10 ms tick
_TICK_US = const(10000)
_CHUNK = const(64)
_NEVER_ENDS_US = const(50000)  # a UART that is not done so long after it must be is broken


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
        self.overruns = 0  # bytes that came where no frame can be that long
        self._de = de
        self._echo = echo
        self._drop = 0  # bytes of our own still to come back
        self._spoilt = False  # those that came are not what was sent
        self._frame = None  # what was sent, up to _end
        self._end = 0
        self._chunk = bytearray(_CHUNK)
        self._last_us = time.ticks_us()  # when a byte was last seen or sent
        self._quiet = True  # silent for so long that _last_us means nothing any more
        self._begun_us = 0
        self._wire_us = 0  # how long what is being sent takes
        if de is not None:
            de(0)

    # ---- receiving -------------------------------------------------------------------------------------
    def receive(self, buffer, have: int) -> int:
        """Append what has come to buffer[have:]; how many bytes there are then.

        A full buffer is rubbish, as no frame is that long: it is emptied, and what was in it counted.
        """
        while True:
            waiting = self.uart.any()
            if not waiting:
                return have
            self._last_us = time.ticks_us()
            self._quiet = False
            got = self.uart.readinto(self._chunk, min(waiting, _CHUNK)) or 0
            own = min(self._drop, got)
            for i in range(own):
                if self._chunk[i] != self._frame[self._end - self._drop + i]:
                    self._spoilt = True
            self._drop -= own
            got -= own
            if have + got > len(buffer):
                self.overruns += have
                have = 0
            hot.move(self._chunk, own, got, buffer, have)
            have += got

    def lacks_echo(self) -> bool:
        """What was sent last is to come back, and has not, or another thing in its place."""
        return self._drop > 0 or self._spoilt

    def silence_left_us(self, pause_us: int = 0) -> int:
        """Microseconds until the line will have been silent for 3.5 characters, or for pause_us if that is longer; 0: it has."""
        if self._quiet:
            return 0
        left = max(self.silence_us, pause_us) - self.silent_us()
        if left > 0:
            return left
        self._quiet = True
        return 0

    def silent_us(self) -> int:
        """For how long no byte has been seen or sent; no more than a great while."""
        silent = -1 if self._quiet else time.ticks_diff(time.ticks_us(), self._last_us)
        return silent if silent >= 0 else 0x1FFFFFFF  # below 0: nine minutes ago, or more

    # ---- sending ---------------------------------------------------------------------------------------
    def send(self, frame, start: int, length: int) -> None:
        """Begin to send frame[start:start + length]; DE is raised until `sent`."""
        self._wire_us = length * self.char_us
        self._begun_us = time.ticks_us()
        if self._de is not None:
            self._de(1)
        self._drop = length if self._echo else 0
        self._spoilt = False
        self._frame = frame
        self._end = start + length
        self.uart.write(frame, start, length)

    def sent(self) -> bool:
        """The last bit has left.  With a DE pin this waits for the last 2 ms of it without sleeping."""
        while not self.uart.txdone():
            spent = time.ticks_diff(time.ticks_us(), self._begun_us)
            if spent > self._wire_us + _NEVER_ENDS_US:
                break
            if self._de is None or spent < self._wire_us - _SPIN_US:
                return False
        self.receiving()
        self._last_us = time.ticks_us()
        self._quiet = False
        return True

    def sending_ms(self) -> int:
        """Milliseconds that may be slept before asking `sent` again; with a DE pin not past the end of a tick."""
        left = self._wire_us - time.ticks_diff(time.ticks_us(), self._begun_us)
        return max(0, left if self._de is None else left - _TICK_US - _SPIN_US) // 1000

    def receiving(self) -> None:
        """Hand the line back; also when what was being sent is given up."""
        if self._de is not None:
            self._de(0)
