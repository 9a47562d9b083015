"""The DS3231 real-time clock on I2C: reads and sets UTC, and knows when it has lost the time.

Register map: Maxim DS3231 data sheet, 19-5170, table 1.  The chip counts 2000 to 2199 (century bit); it is kept in
UTC and 24-hour mode here, and a chip left in 12-hour mode by something else is read correctly.
"""

from civil import DAY_S, date_of, day_number, days_in_month, weekday
from micropython import const

ADDRESS = const(0x68)
_STATUS = const(0x0F)
_STOPPED = const(0x80)  # status: the oscillator has stopped since this was cleared
_CONTROL = const(0x0E)
_EOSC = const(0x80)  # control: do not run on battery


class DS3231:
    """One chip on a `machine.I2C`.  Every method raises OSError when the chip does not answer."""

    def __init__(self, i2c, address: int = ADDRESS) -> None:
        self._i2c = i2c
        self._address = address
        self._buf = bytearray(7)

    def read(self):
        """UTC as (day, sec), as of the read; None when the chip lost the time (battery empty) or holds no date."""
        if self._register(_STATUS) & _STOPPED:
            return None
        buf = self._buf
        # One read: the chip copies its time registers when the first is addressed, so they belong together.
        self._i2c.readfrom_mem_into(self._address, 0, buf)
        for place, bits in ((0, 0x7F), (1, 0x7F), (4, 0x3F), (5, 0x1F), (6, 0xFF)):
            buf[place] = _number(buf[place], bits) | (buf[place] & 0x80 if place == 5 else 0)
        hour = buf[2]
        if hour & 0x40:  # 12-hour mode: 12 AM is 0, 12 PM is 12
            hour = _number(hour, 0x1F) % 12 + (12 if hour & 0x20 else 0)
        else:
            hour = _number(hour, 0x3F)
        year = 2000 + buf[6] + (100 if buf[5] & 0x80 else 0)
        month = buf[5] & 0x7F
        if buf[0] > 59 or buf[1] > 59 or hour > 23 or buf[6] > 99 or not 1 <= month <= 12:
            return None
        if not 1 <= buf[4] <= days_in_month(year, month):
            return None
        return (day_number(year, month, buf[4]), hour * 3600 + buf[1] * 60 + buf[0])

    def write(self, day: int, sec: int) -> None:
        """Sets the chip to this UTC, lets it run on battery, and clears its sign of lost time.

        The chip begins its second anew at the write, so call this where the second turns.
        """
        if not (0 <= day < 73049 and 0 <= sec < DAY_S):
            raise ValueError("day %d, second %d: the clock chip holds 2000-01-01 to 2199-12-31" % (day, sec))
        year, month, mday = date_of(day)
        buf = self._buf
        buf[0] = _bcd(sec % 60)
        buf[1] = _bcd(sec // 60 % 60)
        buf[2] = _bcd(sec // 3600)
        buf[3] = weekday(day) + 1
        buf[4] = _bcd(mday)
        buf[5] = _bcd(month) | (0x80 if year >= 2100 else 0)
        buf[6] = _bcd(year % 100)
        control = self._register(_CONTROL)
        if control & _EOSC:
            self._i2c.writeto_mem(self._address, _CONTROL, bytes([control & 0x7F]))
        self._i2c.writeto_mem(self._address, 0, buf)
        self._i2c.writeto_mem(self._address, _STATUS, bytes([self._register(_STATUS) & 0x7F]))

    def temperature(self) -> int:
        """The chip's own temperature, 0.25 degC a step."""
        high = self._register(0x11)
        return ((high - 256 if high & 0x80 else high) << 2) + (self._register(0x12) >> 6)

    def _register(self, number: int) -> int:
        return self._i2c.readfrom_mem(self._address, number, 1)[0]


def _number(byte: int, bits: int) -> int:
    """The value of a BCD byte; 255 where it is none."""
    byte &= bits
    if byte & 15 > 9 or byte >> 4 > 9:
        return 255
    return (byte >> 4) * 10 + (byte & 15)


def _bcd(value: int) -> int:
    return value // 10 << 4 | value % 10
