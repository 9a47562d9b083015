"""The control beat: a hardware timer that wakes the loop, and a deadline in microseconds that says when it is due.

asyncio on the ESP32 sleeps in whole ticks of 10 ms: a sleep alone gives periods of 40, 50 and 60 ms.  A timer's
interrupt wakes the loop at once.  The timer only wakes, the deadline decides: an interrupt that the full scheduler has
dropped, or one that comes late, costs nothing as soon as anything else wakes the loop.
"""

import asyncio
import io
import time
from asyncio import core  # type: ignore[attr-defined]  # the stubs have one file of it

from micropython import const

_TIMER = const(0)  # 1 is the TWAI driver's; every chip of the family has these two
_POLL = const(3)  # MP_STREAM_POLL of the stream protocol


class Beat(io.IOBase):
    """`await beat.next()` returns once a period, on an absolute grid; `late` begins a new one.

    For one task of the loop.  A beat takes some 200 bytes of heap.  It is a stream that the loop's poll asks, as asyncio's
    own ThreadSafeFlag, whose module a board would keep for nothing else: 600 bytes.
    """

    def __init__(self, period_ms: int) -> None:
        self._ticked = False  # since the beat is waited for
        self._period_us = period_ms * 1000
        self._number = 1
        self._due_us = time.ticks_us()  # of the beat that is waited for
        self.watch = None  # called at every tick, between two bytecodes of whatever runs then
        self._timer = _timer(period_ms, self._tick)

    def _tick(self, _timer) -> None:
        self._ticked = True
        if self.watch is not None:
            self.watch()

    def ioctl(self, request, argument):
        """What the loop's poll asks: a stream that can be read has ticked, or its beat has come."""
        if request != _POLL:
            return -1
        return argument if self._ticked or time.ticks_diff(time.ticks_us(), self._due_us) >= 0 else 0

    def due(self) -> int:
        """The number of the beat that has come and is not served yet; 0 when none has."""
        return self._number if time.ticks_diff(time.ticks_us(), self._due_us) >= 0 else 0

    async def next(self) -> None:
        """Wait for the next beat; when that is over already, now is a new beginning."""
        now = time.ticks_us()
        self._number = (self._number & 0xFFFF) + 1
        self._due_us = time.ticks_add(self._due_us, self._period_us)
        left = time.ticks_diff(self._due_us, now)
        if not 0 < left <= self._period_us:
            self._due_us = now
            left = 0
        if left == 0 or self._timer is None:
            await asyncio.sleep_ms(left // 1000)
            return
        self._ticked = False  # a tick that came late belongs to the beat before
        while time.ticks_diff(self._due_us, time.ticks_us()) > 0:
            await self._readable()  # type: ignore[misc]  # MicroPython awaits a plain generator too
            self._ticked = False

    def _readable(self):
        """Until the poll finds it readable."""
        yield core._io_queue.queue_read(self)

    def stop(self) -> None:
        """The timer ends."""
        if self._timer is not None:
            self._timer.deinit()
            self._timer = None


def _timer(period_ms: int, tick):
    """A timer that calls tick(timer) once a period; None where the port has none."""
    try:
        import machine  # here: a host that tests without a board has no such module

        return machine.Timer(_TIMER, mode=machine.Timer.PERIODIC, period=period_ms, callback=tick)
    except (ImportError, AttributeError, ValueError, OSError):
        return None
