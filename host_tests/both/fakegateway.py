"""A Modbus gateway in virtual time: a TCP connection to a serial line behind it, on which one request follows the other."""


class Gateway:
    """In the place of tcp_client.connect.  `dead`: units that nobody answers for; a request to one holds the line for `hold_ms`.

    `code`: the exception that is given for them then, 0: none.  Register 0 of a unit that lives is its number.  `asked`: how often
    each unit was.  `gone`: it takes no notice of anything any more.
    """

    def __init__(self, life, hold_ms=1000, code=11):
        self._life = life
        self.hold_ms = hold_ms
        self.code = code
        self.dead = set()
        self.asked = {}
        self.connects = 0
        self.gone = False
        self._free_ms = 0
        self._coming = []  # (when, frame), in the order of the requests

    async def connect(self, _host, _port, _deadline):
        self.connects += 1
        self._coming = []
        return self

    def write(self, frame, start, length):
        now = self._life.us // 1000
        request = bytes(frame[start : start + length])
        unit = request[6]
        self.asked[unit] = self.asked.get(unit, 0) + 1
        if self.gone:
            return length
        self._free_ms = max(now, self._free_ms) + (self.hold_ms if unit in self.dead else 10)
        if unit not in self.dead:
            body = bytes((unit, 3, 2, 0, unit)) if request[7] == 3 else request[6:12]
        elif self.code:
            body = bytes((unit, request[7] | 0x80, self.code))
        else:
            return length
        self._coming.append((self._free_ms, request[:4] + bytes((0, len(body))) + body))
        return length

    def readinto(self, buffer, most=None):
        if not self._coming or self._coming[0][0] > self._life.us // 1000:
            return None
        frame = self._coming.pop(0)[1]
        buffer[: len(frame)] = frame
        return len(frame)

    def close(self):
        pass
