"""Calendar days as small integers: the proleptic Gregorian calendar counted in days since 2000-01-01.

An instant is a pair (day, sec): `day` counts from 2000-01-01 (day 0, a Saturday), `sec` is the second of that
day, 0 to 86399.  Both are small integers on a 32-bit board for any year of interest, where a Unix timestamp
would be a big integer on the heap.  Differences in seconds stay small up to 12,427 days (34 years).
"""

from micropython import const

DAY_S = const(86400)
UNIX_DAY = const(10957)  # days from 1970-01-01 to 2000-01-01
_MARCH_0 = const(730425)  # days from 0000-03-01 to 2000-01-01


def day_number(year: int, month: int, mday: int) -> int:
    """Days from 2000-01-01 to this date.  The caller gives a date that exists."""
    # Years that begin in March put the leap day last, so no month needs a table.
    month -= 3
    if month < 0:
        month += 12
        year -= 1
    return year * 365 + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + mday - 1 - _MARCH_0


def date_of(day: int) -> tuple:
    """(year, month, day of month) of a day number."""
    n = day + _MARCH_0
    century = n // 146097
    n -= century * 146097
    year = (n - n // 1460 + n // 36524 - n // 146096) // 365
    n -= 365 * year + year // 4 - year // 100
    month = (5 * n + 2) // 153
    mday = n - (153 * month + 2) // 5 + 1
    year += century * 400
    if month < 10:
        return (year, month + 3, mday)
    return (year + 1, month - 9, mday)


def weekday(day: int) -> int:
    """0 is Sunday, 6 is Saturday, as in POSIX rules and in schedule entries."""
    return (day + 6) % 7


def is_leap(year: int) -> bool:
    """Whether the year has a 29 February."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in_month(year: int, month: int) -> int:
    """28 to 31."""
    if month == 2:
        return 29 if is_leap(year) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def seconds_between(day_a: int, sec_a: int, day_b: int, sec_b: int) -> int:
    """Seconds from instant a to instant b, held within +-(2**30 - 1) so that it never leaves the small integers."""
    days = day_b - day_a
    if days > 12000:
        return 0x3FFFFFFF
    if days < -12000:
        return -0x3FFFFFFF
    return days * DAY_S + sec_b - sec_a


def text_of(day: int, sec: int) -> str:
    """`2026-11-22 09:56:17`."""
    year, month, mday = date_of(day)
    return "%04d-%02d-%02d %02d:%02d:%02d" % (year, month, mday, sec // 3600, sec // 60 % 60, sec % 60)
