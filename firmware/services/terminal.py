"""What the console has between itself and its port: the line being typed, and the text on its way out.

Both are buffers made at boot, so neither grows with what is typed or answered, and a full heap does not stop them.
"""

import time

from micropython import const

LINE_MAX = const(1024)  # bytes of a line; a longer one is refused whole
PIECE = const(112)  # bytes sent at a time: what a UART of 115200 baud sends in 10 ms
_OUT = const(2048)  # bytes of output that may wait: more than any line of the monitor
_REFUSED_MAX = const(200)  # turns of the loop: 2 to 4 s
_READ_US = const(5000)  # reading for longer than this goes on in the next turn
_INTERRUPT = const(3)


class Terminal:
    """`read` and `take` for lines; `put`, `finish` or `take_back`, and `drain` for output."""

    def __init__(self, port) -> None:
        """port: see port.Port."""
        self._port = port
        self._line = bytearray(LINE_MAX)
        self._length = 0
        self._too_long = False
        self._out = bytearray(_OUT)
        self._view = memoryview(self._out)
        self._first = 0  # of the bytes that may be sent,
        self._last = 0  # behind the last of them,
        self._end = 0  # and behind those that belong to an unfinished line
        self._refused = 0  # pieces in a row that the port did not take
        self.lost = 0  # bytes thrown away because of that

    # ---- in ---------------------------------------------------------------------------------------------

    def read(self) -> bool:
        """Take in what has been typed; True when a line is complete, which `take` then removes."""
        started = time.ticks_us()
        while True:
            code = self._port.read()
            if code < 0:
                return False
            if code in (10, 13):
                if self._length or self._too_long:
                    return True
            elif code == _INTERRUPT:
                self.clear()
            elif code in (8, 127):
                self._length = max(0, self._length - 1)
            elif self._length < LINE_MAX:
                self._line[self._length] = code
                self._length += 1
            else:
                self._too_long = True
            if time.ticks_diff(time.ticks_us(), started) > _READ_US:
                return False

    def says(self, word: bytes) -> bool:
        """Whether the complete line is this word, spaces behind it aside.  Allocates nothing."""
        line = self._line
        length = self._length
        while length and line[length - 1] == 32:
            length -= 1
        if length != len(word) or self._too_long:
            return False
        for i in range(length):
            if line[i] != word[i]:
                return False
        return True

    def take(self):
        """The complete line; None if it was too long."""
        line = None if self._too_long else bytes(memoryview(self._line)[: self._length])
        self.clear()
        return line

    def clear(self) -> None:
        """Forget the line typed so far."""
        self._length = 0
        self._too_long = False

    # ---- out --------------------------------------------------------------------------------------------

    def space(self) -> int:
        """How many bytes `put` takes now."""
        return _OUT - self._end

    @property
    def waiting(self) -> int:
        """Bytes not yet sent."""
        return self._end - self._first

    def put(self, text: str) -> bool:
        """Add text to the line under way; False, and nothing is added, where it does not fit."""
        data = text.encode()
        end = self._end + len(data)
        if end > _OUT:
            return False
        self._out[self._end : end] = data
        self._end = end
        return True

    def finish(self) -> None:
        """What has been put may be sent."""
        self._last = self._end

    def take_back(self) -> None:
        """What has been put since `finish` never was."""
        self._end = self._last

    def drain(self) -> None:
        """Send one piece, if the port takes it; what a host does not take for seconds is thrown away: nobody reads it."""
        count = min(PIECE, self._last - self._first)
        if count:
            sent = self._port.write(self._view[self._first : self._first + count])
            self._first += sent
            self._refused = 0 if sent else self._refused + 1
            if self._refused > _REFUSED_MAX:
                self.lost += self._last - self._first
                self._first = self._last
        if self._first == self._end:
            self._first = self._last = self._end = 0
