"""machine.RTC: a clock that starts at 2000-01-01 after power-on, and 2 KB of memory that resets leave alone."""

import time

import simlink
from sim_pace import off, on

_MEMORY_MAX = 2048  # bytes, as MicroPython reserves on an ESP32
_DAY_S = 86400


def _host_s() -> int:
    return int(time.time())


class RTC:
    """The ESP32's one RTC."""

    def __init__(self, id: int = 0) -> None:
        if id != 0:
            raise ValueError("RTC(%d) doesn't exist" % id)

    def datetime(self, value=None):
        """(year, month, day, weekday, hour, minute, second, microsecond), weekday 0 is Monday; or sets it."""
        off()
        try:
            return self._datetime(value)
        finally:
            on()

    def _datetime(self, value):
        if value is None:
            now = time.gmtime(_host_s() + simlink.rtc_offset_s)
            return (now[0], now[1], now[2], now[6], now[3], now[4], now[5], time.ticks_us() % 1000000)
        year, month, day, _, hour, minute, second, _ = value
        wanted = _days(year, month, day) * _DAY_S + hour * 3600 + minute * 60 + second
        simlink.rtc_offset_s = wanted - _host_s()
        simlink.send_data(0x44, 0, str(simlink.rtc_offset_s).encode())
        return None

    def init(self, value) -> None:
        """The same as setting datetime()."""
        self.datetime(value)

    def memory(self, data=None):
        """The bytes that survive every reset but not a power cut; or replaces them.

        Raises ValueError above 2048 bytes.
        """
        if data is None:
            return simlink.rtc_memory
        data = bytes(data)
        if len(data) > _MEMORY_MAX:
            raise ValueError("buffer too long")
        simlink.rtc_memory = data
        simlink.send_data(0x4D, 0, data)
        return None


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of the proleptic Gregorian calendar."""
    if month <= 2:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
