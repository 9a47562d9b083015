"""What a generic_modbus device reads: points, and the blocks they are read in."""

from firmware import image as im

LONGEST = 60  # registers in one request
TYPES = {  # name: (kind of sunspec_tables.T_*, registers); the same decoder serves both drivers
    "int16": (0, 1),
    "uint16": (1, 1),
    "int32": (2, 2),
    "uint32": (3, 2),
    "float32": (7, 2),
}


class Point:
    """One value that is read: where it lies, and how the wire's number becomes the slot's.

    It takes `size` registers from `address` on: its number at `at`, and what is taken off it, if anything, at `minus` (else -1).
    """

    def __init__(self, row: dict, period_ms: int, plausible: dict) -> None:
        """plausible: lowest and highest that can be true, by slot; the row's own low and high can only narrow that."""
        self.slot = im.number_of(row["slot"])
        self.unit = row.get("unit", -1)  # -1: the device's own
        self.function = row.get("function", 3)
        address = row["address"]
        minus = row.get("minus", address)
        self.address = min(address, minus)
        self.at = address - self.address
        self.minus = minus - self.address if minus != address else -1
        self.kind, self.words = TYPES[row.get("type", "int16")]
        self.size = self.words + abs(address - minus)
        self.ratio = ratio(row.get("scale", 1))
        self.offset = int(row.get("offset", 0))
        self.missing = row.get("missing")
        low, high = plausible[self.slot]
        self.low = max(low, row.get("low", low))
        self.high = min(high, row.get("high", high))
        self.map = whole_map(row)
        self.mask = row.get("mask", 0)
        self.period_ms = row.get("period_ms", period_ms)


class Block:
    """Points read with one request."""

    def __init__(self, first: Point) -> None:
        self.unit = first.unit
        self.function = first.function
        self.address = first.address
        self.period_ms = first.period_ms
        self.count = first.size
        self.points = [first]
        self.groups = 0  # bit = number in Table.groups
        self.leads = 0  # those of them that are heard when this block is
        self.due = 0
        self.failures = 0  # in a row
        self.lag_ms = 0  # by so much it is asked later for them
        self.heard_ms = 0  # when it has said what it did last ...
        self.lost = True  # ... unless that is too old, or was never said
        self.left_out = False  # it is one value that is not there, and that was said

    def takes(self, point: Point, gap: int, longest: int) -> bool:
        """Make room for `point` if it lies close enough behind; False if it does not."""
        if point.unit != self.unit or point.function != self.function or point.period_ms != self.period_ms:
            return False
        end = max(self.count, point.address + point.size - self.address)
        if point.address > self.address + self.count + gap or end > min(longest, LONGEST):
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


def whole_map(row: dict):
    """A row's map with numbers for keys; None where it has none."""
    return {int(key): value for key, value in row["map"].items()} if "map" in row else None


def ratio(scale) -> tuple:
    """A scale as (multiplier, divisor) in whole numbers, as exact as the board's 32-bit floats."""
    divisor = 1
    while divisor < 1000000 and abs(scale * divisor - round(scale * divisor)) > 2e-7 * abs(scale * divisor):
        divisor *= 10
    return (int(round(scale * divisor)), divisor)
