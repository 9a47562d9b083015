"""What a generic_modbus device reads and writes: points, the blocks they are read in, and writes."""

from array import array

from firmware import image as im

_LONGEST = 60  # registers in one request
RANGES = ((-32768, 32767), (0, 65535), (-2147483648, 2147483647), (0, 4294967295))  # of the first four kinds
TYPES = {  # name: (kind of sunspec_tables.T_*, registers); the same decoder serves both drivers
    "int16": (0, 1),
    "uint16": (1, 1),
    "int32": (2, 2),
    "uint32": (3, 2),
    "float32": (7, 2),
}


class Point:
    """One value that is read: where it lies, and how the wire's number becomes the slot's."""

    def __init__(self, row: dict, period_ms: int) -> None:
        self.slot = im.number_of(row["slot"])
        self.function = row.get("function", 3)
        self.address = row["address"]
        self.kind, self.size = TYPES[row.get("type", "int16")]
        self.ratio = ratio(row.get("scale", 1))
        self.offset = int(row.get("offset", 0))
        self.missing = row.get("missing")
        self.low = row.get("low", -1073741823)
        self.high = row.get("high", 1073741823)
        self.map = {int(key): value for key, value in row["map"].items()} if "map" in row else None
        self.mask = row.get("mask", 0)
        self.period_ms = row.get("period_ms", period_ms)


class Block:
    """Points read with one request."""

    def __init__(self, first: Point) -> None:
        self.function = first.function
        self.address = first.address
        self.period_ms = first.period_ms
        self.count = first.size
        self.points = [first]
        self.groups = 0  # bit = number in Table.groups
        self.leads = 0  # those of them that are heard when this block is
        self.due = 0
        self.failures = 0

    def takes(self, point: Point, gap: int, longest: int) -> bool:
        """Make room for `point` if it lies close enough behind; False if it does not."""
        if point.function != self.function or point.period_ms != self.period_ms:
            return False
        end = max(self.count, point.address + point.size - self.address)
        if point.address > self.address + self.count + gap or end > min(longest, _LONGEST):
            return False
        self.count = end
        self.points.append(point)
        return True

    def singly(self) -> list:
        """The same points, a block for each."""
        parts = [Block(point) for point in self.points]
        for part in parts:
            part.groups = self.groups
            part.leads = self.leads
            part.due = self.due
        return parts


class Write:
    """One value that is written: a slot of the command, a constant, or a heartbeat that counts up.

    low, high: what the register holds; refresh: it is written again now and then though it has not changed.
    """

    def __init__(self, row: dict) -> None:
        self.source = im.number_of(row["from"]) if "from" in row else -1
        self.value = row.get("value", 0)
        self.heartbeat = bool(row.get("heartbeat"))
        self.address = row["address"]
        self.kind, self.size = TYPES[row.get("type", "int16")]
        self.function = row.get("function", 6 if self.size == 1 else 16)
        self.ratio = ratio(row.get("scale", 1))
        self.map = {int(key): value for key, value in row["map"].items()} if "map" in row else None
        self.low, self.high = RANGES[self.kind]
        self.refresh = row.get("refresh", "from" in row)
        self.sent = None
        self.words = array("H", bytes(2 * self.size))

    def on_wire(self, value: int) -> int:
        """The number that stands for a slot's value, truncated towards zero; it may be more than the register holds."""
        if self.map is not None and value in self.map:
            return self.map[value]
        multiplier, divisor = self.ratio
        size = abs(value) * divisor // abs(multiplier)
        return size if (value >= 0) == (multiplier >= 0) else -size

    def put(self, value: int, swapped: bool) -> None:
        """A number that fits into `words`; swapped: the low word first."""
        if self.size == 1:
            self.words[0] = value & 0xFFFF
        else:
            self.words[1 if swapped else 0] = value >> 16 & 0xFFFF
            self.words[0 if swapped else 1] = value & 0xFFFF


def ratio(scale) -> tuple:
    """A scale as (multiplier, divisor) in whole numbers, as exact as the board's 32-bit floats."""
    divisor = 1
    while divisor < 1000000 and abs(scale * divisor - round(scale * divisor)) > 2e-7 * abs(scale * divisor):
        divisor *= 10
    return (int(round(scale * divisor)), divisor)
