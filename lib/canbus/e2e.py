"""Protection of a frame from its sender to its receiver: AUTOSAR E2E profile 1, variant A (CRC-8, counter of 4 bits).

Byte 0 is the CRC: polynomial 0x1D (SAE J1850), begun with 0 and not inverted, over both bytes of the frame's data id, the low
one first, and then bytes 1 and on.  The low half of byte 1 is a counter from 0 to 14.  Nothing here allocates.
"""

import time

from micropython import const

ACCEPTED = const(1)
BEGINS = const(2)
LENGTH = const(3)
CHECKSUM = const(4)
REPEATED = const(5)
JUMPED = const(6)
TOO_LATE = const(7)

_COUNTERS = const(15)
_FIRST = const(-1)  # no frame yet
_SILENT = const(-2)  # none for longer than the window
# what four bits more make of the CRC, by its upper four
_TABLE = const(b"\x00\x1d\x3a\x27\x74\x69\x4e\x53\xe8\xf5\xd2\xcf\x9c\x81\xa6\xbb")


def _add(crc: int, byte: int) -> int:
    crc ^= byte
    crc = (crc << 4 & 0xFF) ^ _TABLE[crc >> 4]
    return (crc << 4 & 0xFF) ^ _TABLE[crc >> 4]


def checksum(data, data_id: int) -> int:
    """What byte 0 of these bytes has to be; data_id: 16 bits."""
    crc = _add(_add(0, data_id & 0xFF), data_id >> 8)
    for i in range(1, len(data)):
        crc = _add(crc, data[i])
    return crc


class Receiver:
    """Finds which frames of one id are good: each so many bytes, at most window_ms after the one before, `lost` missing at most.

    The first one, and the first after a gap of either kind, only begins a row: alone it might be one that was repeated late.
    """

    def __init__(self, data_id: int, size: int, window_ms: int, lost: int = 2) -> None:
        self.counter = _FIRST  # of the last good frame
        self._data_id = data_id
        self._size = size
        self._window_ms = window_ms
        self._steps = lost + 1
        self._came_ms = 0

    def check(self, data, now_ms: int) -> int:
        """ACCEPTED, BEGINS, or why this frame must not count."""
        if len(data) != self._size:
            return LENGTH
        if data[0] != checksum(data, self._data_id):
            return CHECKSUM
        counter = data[1] & 0x0F
        if counter >= _COUNTERS:
            return JUMPED
        self.look(now_ms)
        before = self.counter
        step = (counter - before) % _COUNTERS
        if before >= 0 and not step:
            return REPEATED
        self.counter = counter
        self._came_ms = now_ms
        if before < 0:
            return BEGINS if before == _FIRST else TOO_LATE
        return ACCEPTED if step <= self._steps else JUMPED

    def look(self, now_ms: int) -> None:
        """Call it now and then: after days of silence the last frame would look as if it came just now."""
        if self.counter >= 0 and not 0 <= time.ticks_diff(now_ms, self._came_ms) <= self._window_ms:
            self.counter = _SILENT
