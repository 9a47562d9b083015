"""The time from NTP servers (SNTP, RFC 4330 and the sanity checks of RFC 5905), and which of several to believe.

A sample is a tuple (day, sec, ms, at_ms, error_ms): UTC in small integers (`civil.py`) at the tick `at_ms`, wrong by
up to `error_ms`: half the round trip, which may have been all one way, and what the server says of itself.
"""

import os
import time

import udp
from civil import DAY_S, seconds_between
from micropython import const
from notice import readable

_PORT = const(123)
_LARGEST = const(128)  # bytes of a reply that are read: 48 are the header, what is behind them is not used
_DAY_1900 = const(36524)  # days from 1900-01-01, where NTP seconds begin, to 2000-01-01
_ERA_DAYS = const(49710)  # 2**32 s = 49,710 days and 23,296 s
_ERA_SECS = const(23296)
_PIVOT_DAY = const(7305)  # 2020-01-01: a day before it belongs to the next era, which begins on 2036-02-07
_SLACK_MS = const(50)  # honest servers on asymmetric lines differ by more than they think
_FARTHEST_MS = const(1500)  # RFC 5905, MAXDIST: half the delay plus dispersion, to the root


class KissOfDeath(ValueError):
    """The server asks to be left alone; `code` says why: DENY and RSTR for good, RATE for longer than before."""

    def __init__(self, code: str) -> None:
        super().__init__("server refuses: " + code)
        self.code = code


async def sample(host: str, timeout_ms: int = 1000, port: int = _PORT):
    """One sample from the server at a numeric address; None when it is silent.

    Raises ValueError for an answer that must not be believed, OSError where there is no network.
    """
    # A random transmit time, which the server sends back, is a cookie: no stranger can answer in its place.
    request = b"\x23" + bytes(39) + os.urandom(8)
    sent_ms = time.ticks_ms()
    return await udp.ask(host, port, request, lambda data, now_ms: parse(data, request, sent_ms, now_ms), timeout_ms, _LARGEST)


def parse(reply: bytes, request: bytes, sent_ms: int, now_ms: int):
    """The sample in a reply; None for a datagram that answers something else; ValueError for one not to believe."""
    if len(reply) < 48 or reply[24:32] != request[40:48]:
        return None
    if reply[0] & 7 != 4 or not 3 <= reply[0] >> 3 & 7 <= 4:
        raise ValueError("reply is not NTP version 3 or 4 from a server")
    if reply[1] == 0:
        code = readable(reply[12:16])
        if code in ("DENY", "RSTR", "RATE"):
            raise KissOfDeath(code)
        raise ValueError("server is not synchronised itself: " + code)  # INIT, STEP and the like: it may be later
    if reply[1] > 15 or reply[0] >> 6 == 3:
        raise ValueError("server is not synchronised itself")
    root_ms = _short_ms(reply, 4) // 2 + _short_ms(reply, 8)
    received = _stamp(reply, 32)
    day, sec, ms = sent = _stamp(reply, 40)
    if not any(reply[40:48]):
        raise ValueError("server has no transmit time")
    held_ms = _between_ms(received, sent)
    delay_ms = time.ticks_diff(now_ms, sent_ms) - held_ms
    if not (0 <= held_ms < 1000 and -20 <= delay_ms):
        raise ValueError("server's receive and transmit times do not fit the round trip")
    delay_ms = max(delay_ms, 0)
    error_ms = delay_ms // 2 + root_ms + 2
    if error_ms > _FARTHEST_MS:
        raise ValueError("server is %d ms away from true time: allowed are %d" % (error_ms, _FARTHEST_MS))
    ms += delay_ms // 2
    sec += ms // 1000
    return (day + sec // DAY_S, sec % DAY_S, ms % 1000, now_ms, error_ms)


def _short_ms(data: bytes, at: int) -> int:
    """A 16.16 bit number of seconds in ms, rounded up."""
    return (data[at] << 8 | data[at + 1]) * 1000 + ((data[at + 2] << 8 | data[at + 3]) * 1000 + 65535 >> 16)


def _stamp(data: bytes, at: int) -> tuple:
    """(day, sec, ms) of a 32.32 bit time stamp.  A quarter of its seconds is a small integer; all of them are not."""
    high = data[at] << 8 | data[at + 1]
    low = data[at + 2] << 8 | data[at + 3]
    fours = high * 16384 + (low >> 2)  # seconds // 4; a day has 21600
    day = fours // 21600 - _DAY_1900
    sec = fours % 21600 * 4 + (low & 3)
    if day < _PIVOT_DAY:
        sec += _ERA_SECS
        day += _ERA_DAYS + sec // DAY_S
        sec %= DAY_S
    return (day, sec, (data[at + 4] << 8 | data[at + 5]) * 1000 >> 16)


def _between_ms(a: tuple, b: tuple) -> int:
    """Milliseconds from a to b, both (day, sec, ms, ...), held within about 11 days."""
    seconds = seconds_between(a[0], a[1], b[0], b[1])
    return max(-1000000, min(1000000, seconds)) * 1000 + b[2] - a[2]


def agreeing(samples: list) -> list:
    """Those of the samples that agree with each other; [] where the servers contradict each other.

    Every sample is an interval of true time (its error, and 50 ms); the largest group that shares an instant must be
    more than half of them (so of two that disagree, neither is believed).
    """
    if not samples:
        return []
    base = samples[0]
    off_ms = [_between_ms(base, s) - time.ticks_diff(s[3], base[3]) for s in samples]
    group = []
    for i in range(len(samples)):
        point = off_ms[i] - samples[i][4] - _SLACK_MS  # the largest group shares the start of one of its intervals
        inside = [s for s, off in zip(samples, off_ms) if abs(point - off) <= s[4] + _SLACK_MS]
        if len(inside) > len(group):
            group = inside
    return group if len(group) * 2 > len(samples) else []


def best(samples: list):
    """Of those that agree the one with the smallest error, or None where the servers contradict each other."""
    group = agreeing(samples)
    return min(group, key=lambda s: s[4]) if group else None
