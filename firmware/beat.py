"""The control beat: a hardware timer that wakes the loop, and a deadline in microseconds that says when it is due.

asyncio on the ESP32 sleeps in whole ticks of 10 ms: a sleep alone gives periods of 40, 50 and 60 ms.  A timer's
interrupt wakes the loop at once.  The timer only wakes, the deadline decides: an interrupt that the full scheduler has
dropped, or one that comes late, costs nothing as soon as anything else wakes the loop.
"""

import asyncio
import time

from micropython import const

_TIMER = const(0)  # 1 is the TWAI driver's; every chip of the family has these two
_POLL = const(3)  # MP_STREAM_POLL of the stream protocol


class Beat(asyncio.ThreadSafeFlag):
    """`await beat.next()` returns once a period, on an absolute grid; `late` begins a new one.

    For one task of the loop.  A beat takes some 200 bytes of heap.
    """

    def __init__(self, period_ms: int) -> None:
        super().__init__()
        self._period_us = period_ms * 1000
        self._number = 1
        self._due_us = time.ticks_us()  # of the beat that is waited for
        self.watch = None  # called at every tick, between two bytecodes of whatever runs then
        self._timer = _timer(period_ms, self._tick)

    def _tick(self, _timer) -> None:
        self.set()
        if self.watch is not None:
            self.watch()

    def ioctl(self, request, argument):
        """See ThreadSafeFlag: what the loop's poll asks."""
        if request == _POLL and time.ticks_diff(time.ticks_us(), self._due_us) >= 0:
            self.state = 1
        return super().ioctl(request, argument)

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
        self.state = 0  # a tick that came late belongs to the beat before
        while time.ticks_diff(self._due_us, time.ticks_us()) > 0:
            await self.wait()

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
