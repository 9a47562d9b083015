"""What a generic_modbus table writes: its rows checked, and made into requests.  Loaded only for a table that writes.

A register never wraps: what a row may have to write and its type does not hold is refused here; what cannot be seen
here is written as the largest number of its sign that the register holds (generic_writer.py).
"""

from array import array

from micropython import const

from firmware.devices.generic_points import TYPES, ratio, whole_map
from firmware.devices.generic_table import Conditions, check_row, whole

_KEYS = const(("from", "value", "heartbeat", "address", "type", "scale", "function", "map", "refresh", "unit"))
SOURCES = (  # what the command says, in the order of Writer.command
    "CMD_P",
    "CMD_CHARGE",
    "CMD_DISCHARGE",
    "CMD_MAGNITUDE",
    "CMD_DIRECTION",
    "CMD_RUN",
    "CMD_CONTACTOR",
    "CMD_BALANCE",
    "CMD_Q",
)
MAGNITUDE = const(3)  # up to here they are power, in W
DIRECTION = const(4)
REACTIVE = const(8)  # var
BEAT = const(9)  # behind the sources: the heartbeat
_CONSTANT = const(-1)
_FLOAT = const(7)
_HIGHEST_FLOAT = const(3.4e38)
_RANGES = const(((-32768, 32767), (0, 65535), (-2147483648, 2147483647), (0, 4294967295)))  # of the first four kinds


class Value:
    """One number of a request: from the command (`source`, an index of SOURCES), a constant, or the heartbeat.

    low, high: what its registers can hold; sent: what they do hold as far as is known, else None; due: what they shall.
    """

    def __init__(self, row: dict) -> None:
        self.source = SOURCES.index(row["from"]) if "from" in row else BEAT if "heartbeat" in row else _CONSTANT
        self.kind, self.size = TYPES[row.get("type", "int16")]
        own = self.source >= 0 and self.source != BEAT
        self.ratio = ratio(row.get("scale", 1)) if own else (1, 1)
        self.map = whole_map(row) if own else None
        self.low, self.high = (0, 0xFFFFFFFF) if self.kind == _FLOAT else _RANGES[self.kind]
        self.encode = None
        self.value = row.get("value", 0)
        if self.kind == _FLOAT:
            from firmware.devices.float_words import float_bits, nearest_bits  # most tables have none

            self.encode = float_bits
            self.value = nearest_bits(self.value)
        self.sent = self.due = None

    def on_wire(self, command):
        """The number for the registers now, see `number`."""
        return self.value if self.source < 0 else self.number(command[self.source])

    def number(self, value: int) -> int:
        """The number that stands for a value, truncated towards zero; it may be more than the registers hold.

        For a float32 it is its 32 bits.
        """
        multiplier, divisor = self.ratio
        if self.map is not None and value in self.map:
            value = self.map[value]
            multiplier = divisor = 1
        if self.encode:
            return self.encode(value if multiplier > 0 else -value, divisor, abs(multiplier))
        size = abs(value) * divisor // abs(multiplier)
        return size if (value >= 0) == (multiplier >= 0) else -size


class Write:
    """One request: a value, or several that lie side by side.

    power: it sets how much, and not which way; turns: it says which way; refresh: it is written again now and then
    though nothing has changed; constant: nothing in it ever changes; reactive: it sets reactive power and, but for
    constants, nothing else.
    """

    def __init__(self, row: dict) -> None:
        rows = row.get("together") or [row]
        first = rows[0]
        self.values = [Value(each) for each in rows]
        self.unit = first.get("unit", -1)  # -1: the device's own
        self.address = first["address"]
        self.size = sum([value.size for value in self.values])
        self.function = first.get("function", 6 if self.size == 1 and row is first else 16)
        self.refresh = any(each.get("refresh", "from" in each) for each in rows)
        sources = [value.source for value in self.values]
        self.turns = DIRECTION in sources
        self.constant = max(sources) == _CONSTANT
        self.power = not self.turns and any(0 <= source <= MAGNITUDE for source in sources)
        self.reactive = REACTIVE in sources and all(source in (REACTIVE, _CONSTANT) for source in sources)
        self.words = array("H", bytes(2 * self.size))

    def fill(self, at: int, value: Value, number: int, swapped: bool) -> None:
        """A number that fits, `at` words behind the first; swapped: the low word first."""
        if value.size == 1:
            self.words[at] = number & 0xFFFF
        else:
            self.words[at + 1 if swapped else at] = number >> 16 & 0xFFFF
            self.words[at if swapped else at + 1] = number & 0xFFFF


def made(rows: list) -> list:
    """The requests of checked rows."""
    return [Write(row) for row in rows]


# ---- checking -------------------------------------------------------------------------------------------------------
def check(rows: list, site: Conditions, errors: list) -> None:
    """Append what is wrong with the rows of `writes`."""
    taken: list = []  # (unit, first register, one behind the last, row) of what is written
    sources: list = []
    for number, row in enumerate(rows):
        where = "table.writes[%d]" % number
        if isinstance(row, dict) and "together" in row:
            from firmware.devices.generic_together import check_together  # most tables have none

            found = check_together(where, row, site, errors)
        else:
            found = check_write(where, row, site, errors)
        for write in found:
            _check_taken(where, write, site, taken, errors)
            sources.extend([value.source for value in write.values])
    both = site.powers is None or site.powers[0] < 0 < site.powers[1]
    if both and MAGNITUDE in sources and DIRECTION not in sources:
        errors.append("table.writes: CMD_MAGNITUDE has no sign, a row from CMD_DIRECTION must say which way")


def check_write(where: str, row, site: Conditions, errors: list) -> list:
    """One row, and the request it makes: [] if it is none, with what is wrong in `errors`."""
    before = len(errors)
    if not check_row(where, row, _KEYS, site, errors):
        return []
    kind = row.get("type", "int16")
    if len([key for key in ("from", "value", "heartbeat") if key in row]) != 1:
        errors.append("%s: exactly one of from, value, heartbeat must be given" % where)
    if "from" in row and row["from"] not in SOURCES:
        errors.append("%s.from = %r: allowed are %s" % (where, row["from"], ", ".join(SOURCES)))
    if "heartbeat" in row and row["heartbeat"] is not True:
        errors.append("%s.heartbeat = %r: must be true" % (where, row["heartbeat"]))
    if row.get("function", 16) not in (6, 16):
        errors.append("%s.function = %r: allowed are 6, 16" % (where, row["function"]))
    if row.get("function", 16) == 6 and kind not in ("int16", "uint16"):
        errors.append("%s.function = 6: writes one register, %s has two" % (where, kind))
    if not isinstance(row.get("refresh", True), bool):
        errors.append("%s.refresh = %r: must be true or false" % (where, row["refresh"]))
    if kind == "float32":
        _check_float(where, row.get("value", 0), errors)
    else:
        whole(where, row, "value", -1073741823, 1073741823, 0, errors)
    if len(errors) > before:
        return []
    write = Write(row)
    _check_fit(where, write.values[0], kind, site.powers, errors)
    return [write] if len(errors) == before else []


def _check_float(where: str, value, errors: list) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _HIGHEST_FLOAT:
        errors.append("%s.value = %r: must be a number from -3.4e38 to 3.4e38" % (where, value))


def _check_fit(where: str, value: Value, name: str, powers, errors: list) -> None:
    """Whatever the row may have to write must be a number of its type, called `name`, and a map must know all of it."""
    if value.source == BEAT:
        return
    if value.source < 0:
        wire = [value.value]
        what = "the value is"
    else:
        reach = _reach(value.source, powers)
        numeric = value.source <= MAGNITUDE or value.source == REACTIVE
        if value.map is not None and not numeric:
            unknown = [str(each) for each in reach if each not in value.map]
            if unknown:
                errors.append("%s.map: says nothing of %s" % (where, ", ".join(unknown)))
        wire = [value.number(each) for each in reach]
        if not numeric:
            what = "it may be"
        elif powers is None:  # that much is known
            what = "power has both signs, at this scale it may be"
        else:
            unit = "var" if value.source == REACTIVE else "W"
            what = "the site commands %d to %d %s, at this scale" % (reach[0], reach[-1], unit)
        if value.map is not None:
            wire.extend([value.number(each) for each in value.map])
    for number in (min(wire), max(wire)):
        if not value.low <= number <= value.high:
            errors.append("%s: %s %d, %s holds %d to %d" % (where, what, number, name, value.low, value.high))


def _reach(source: int, powers) -> tuple:
    """What a source may say, the lowest first, in a site that commands these powers; None: at least a watt both ways."""
    low, high = powers or (-1, 1)
    if source == DIRECTION:
        return ((-1,) if low < 0 else ()) + (0,) + ((1,) if high > 0 else ())
    if source == REACTIVE:
        return (-max(-low, high), 0, max(-low, high))
    if source > MAGNITUDE:
        return (0, 1)
    return ((low, high), (0, -low), (0, high), (0, max(-low, high)))[source]


def _check_taken(where: str, write: Write, site: Conditions, taken: list, errors: list) -> None:
    """Two rows for one register: the last would win, or they would take turns."""
    own = write.unit if write.unit >= 0 else site.unit
    end = write.address + write.size
    for unit, first, behind, other in taken:
        if unit == own and first < end and write.address < behind:
            errors.append("%s: writes register %d, as %s does" % (where, max(first, write.address), other))
    taken.append((own, write.address, end, where))
