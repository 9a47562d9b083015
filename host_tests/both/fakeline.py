"""A serial Modbus line in virtual time: one UART, and devices behind it that take their time, one request after the other."""

from modbus import hot


class Late:
    """The UART of a client on that line.  `think(unit, address, number)`: ms the device takes for its number-th request, or None:
    it has not heard it.

    `registers`: by unit and address; `asked`: (unit, function, address) of each request.
    """

    def __init__(self, life, think):
        self._life = life
        self._think = think
        self._free_ms = {}  # by unit, until when it is at work
        self._coming = []  # (when, bytes)
        self._numbers = {}
        self.registers = {}
        self.asked = []

    def _now(self):
        return self._life.us // 1000

    def write(self, frame, start, length):
        request = bytes(frame[start : start + length])
        unit, function = request[0], request[1]
        address, count = request[2] << 8 | request[3], request[4] << 8 | request[5]
        self.asked.append((unit, function, address))
        number = self._numbers[unit] = self._numbers.get(unit, 0) + 1
        ms = self._think(unit, address, number)
        if unit == 0 or ms is None:
            return length
        if function >= 5:
            answer = request[:6]
        else:
            answer = bytes((unit, function, 2 * count))
            for i in range(count):
                word = self.registers.get((unit, address + i), 0)
                answer += bytes((word >> 8, word & 0xFF))
        done = self._free_ms[unit] = max(self._now(), self._free_ms.get(unit, 0)) + ms
        self.say(done, answer)
        return length

    def say(self, when, frame):
        """A whole frame, but for its CRC, is on the line then."""
        crc = hot.crc16(frame, 0, len(frame))
        self.noise(when, frame + bytes((crc & 0xFF, crc >> 8)))

    def noise(self, when, these):
        """These bytes are on the line then."""
        self._coming.append((when, these))
        self._coming.sort()

    def _heard(self):
        now = self._now()
        return b"".join([these for when, these in self._coming if when <= now])

    def any(self):
        return len(self._heard())

    def readinto(self, buffer, size):
        now = self._now()
        heard = self._heard()
        got = min(size, len(heard))
        buffer[:got] = heard[:got]
        self._coming = [one for one in self._coming if one[0] > now]
        if got < len(heard):
            self.noise(now, heard[got:])
        return got

    def txdone(self):
        return True
