"""Reads the JSON table of a generic_modbus device: checks all of it, and makes what the driver works with.

Used when a site file is checked and when the driver is built.  See docs/generic_modbus.md for the form of the table.
"""

import json

from firmware import image as im
from firmware.devices.generic_points import TYPES, Block, Point, Write
from firmware.errors import ConfigError

_READ_KEYS = ("slot", "address", "type", "scale", "offset", "function", "missing", "low", "high", "map", "mask", "period_ms")
_WRITE_KEYS = ("from", "value", "heartbeat", "address", "type", "scale", "function", "map", "refresh")
_TABLE_KEYS = ("name", "word_order", "reads", "writes", "gap")
_SOURCES = ("CMD_P", "CMD_RUN", "CMD_CONTACTOR", "CMD_BALANCE")

# slots (first, last) -> the group they belong to, what its device brings to the site
_GROUPS = (
    (im.BMS_SOC, im.BMS_TEMP, im.SEQ_BMS, im.HAS_BMS),
    (im.BMS_V_MAX, im.BMS_I_DIS, im.SEQ_BMS_LIMITS, 0),
    (im.CELL_V_MAX, im.CELL_V_MIN, im.SEQ_BMS_CELLS, 0),
    (im.CELL_T_MAX, im.CELL_T_MIN, im.SEQ_BMS_TEMPS, 0),
    (im.BMS_STATUS, im.BMS_ALARM, im.SEQ_BMS_FLAGS, 0),
    (im.PCS_STATE, im.PCS_SETPOINT, im.SEQ_PCS, im.HAS_PCS),
    (im.METER_P, im.METER_HZ, im.SEQ_METER, im.HAS_METER),
    (im.PV_P, im.PV_P, im.SEQ_PV, im.HAS_PV),
)


class Table:
    """The whole table: `blocks`, `writes`, the groups it fills (`groups`) and what it brings to the site (`brings`)."""

    def __init__(self, given, period_ms: int, longest: int = 125, powers=None) -> None:
        """`given`: the table, or the name of a file that holds it; longest: registers in one request; powers: W, the
        lowest and the highest that the site commands, None where nobody knows.

        Raises ConfigError with everything that is wrong.
        """
        errors: list = []
        table = _load(given, errors)
        _check_table(table, powers, errors)
        if errors:
            raise ConfigError(errors)
        self.name = table.get("name", "generic")
        self.swapped = table.get("word_order", "big") == "little"
        points = sorted([Point(row, period_ms) for row in table.get("reads", [])], key=_place)
        self.blocks: list = []
        for point in points:
            if not self.blocks or not self.blocks[-1].takes(point, table.get("gap", 8), longest):
                self.blocks.append(Block(point))
        self.writes = [Write(row) for row in table.get("writes", [])]
        self.groups: list = []
        self.brings = 0
        for first, last, seq, has in _GROUPS:
            if any(first <= point.slot <= last for point in points):
                self._join(first, last, 1 << len(self.groups))
                self.groups.append((first, last, seq))
                self.brings |= has

    def _join(self, first: int, last: int, bit: int) -> None:
        """Tell the blocks that carry slots of a group; the fastest of them lead it."""
        carriers = [b for b in self.blocks if any(first <= point.slot <= last for point in b.points)]
        fastest = min([block.period_ms for block in carriers])
        for block in carriers:
            block.groups |= bit
            if block.period_ms == fastest:
                block.leads |= bit


def _place(point: Point) -> tuple:
    return (point.function, point.period_ms, point.address)


def problems(where: str, given, powers: tuple, errors: list) -> None:
    """Append to `errors` what is wrong with a table in a site that commands `powers` (lowest and highest, W)."""
    found: list = []
    table = _load(given, found)
    if found and isinstance(given, str):
        return  # the file may be on the board: whoever builds the device will see
    _check_table(table, powers, found)
    for text in found:
        errors.append("%s.%s" % (where, text))


def _load(given, errors: list) -> dict:
    if isinstance(given, str):
        try:
            with open(given) as file:
                given = json.load(file)
        except (OSError, ValueError) as error:
            errors.append("table %s: cannot be read (%s)" % (given, error))
            return {}
    if not isinstance(given, dict):
        errors.append("table = %r: must be an object, or the name of a file that holds one" % (given,))
        return {}
    return given


def _check_table(table: dict, powers, errors: list) -> None:
    """powers: W, the lowest and the highest that the site may command; None where nobody knows them."""
    for key in table:
        if key not in _TABLE_KEYS:
            errors.append("table.%s: no such key, allowed are %s" % (key, ", ".join(_TABLE_KEYS)))
    if table.get("word_order", "big") not in ("big", "little"):
        errors.append("table.word_order = %r: allowed are big, little" % (table["word_order"],))
    if not table.get("reads") and not errors:
        errors.append("table.reads: is missing; a device that tells nothing is of no use")
    for name, keys in (("reads", _READ_KEYS), ("writes", _WRITE_KEYS)):
        if not isinstance(table.get(name) or [], list):
            errors.append("table.%s = %r: must be a list of rows" % (name, table[name]))
            continue
        for number, row in enumerate(table.get(name) or []):
            before = len(errors)
            place = "table.%s[%d]" % (name, number)
            _check_row(place, row, keys, errors)
            if keys is _WRITE_KEYS and len(errors) == before:
                _check_fit(place, Write(row), row.get("type", "int16"), powers, errors)


def _check_row(where: str, row, keys: tuple, errors: list) -> None:
    if not isinstance(row, dict):
        errors.append("%s = %r: must be an object" % (where, row))
        return
    for key in row:
        if key not in keys:
            errors.append("%s.%s: no such key, allowed are %s" % (where, key, ", ".join(keys)))
    _number(where, row, "address", 0, 65535, None, errors)
    if str(row.get("type", "int16")) not in TYPES:  # a list is no key to look for
        errors.append("%s.type = %r: allowed are %s" % (where, row["type"], ", ".join(sorted(TYPES))))
    scale = row.get("scale", 1)
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 1e-6 <= abs(scale) <= 1e6:
        errors.append("%s.scale = %r: allowed are 0.000001 to 1000000, or the same negative" % (where, scale))
    if keys is _READ_KEYS:
        _check_read(where, row, errors)
    else:
        _check_write(where, row, errors)
    if "map" in row and not _is_map(row["map"]):
        errors.append("%s.map = %r: must be an object from whole numbers to whole numbers" % (where, row["map"]))


def _check_read(where: str, row: dict, errors: list) -> None:
    slot = row.get("slot")
    number = im.number_of(slot) if isinstance(slot, str) else None
    if not isinstance(number, int) or not any(first <= number <= last for first, last, _, _ in _GROUPS):
        errors.append("%s.slot = %r: no such input of the process image" % (where, slot))
    if row.get("function", 3) not in (3, 4):
        errors.append("%s.function = %r: allowed are 3, 4" % (where, row["function"]))
    _number(where, row, "offset", -1000000000, 1000000000, 0, errors)
    _number(where, row, "missing", 0, 0xFFFFFFFF, 0, errors)
    _number(where, row, "mask", 0, 0xFFFF, 0, errors)
    _number(where, row, "low", -1073741823, 1073741823, 0, errors)
    _number(where, row, "high", -1073741823, 1073741823, 0, errors)
    _number(where, row, "period_ms", 20, 600000, 1000, errors)


def _check_write(where: str, row: dict, errors: list) -> None:
    if len([key for key in ("from", "value", "heartbeat") if key in row]) != 1:
        errors.append("%s: exactly one of from, value, heartbeat must be given" % where)
    if "from" in row and row["from"] not in _SOURCES:
        errors.append("%s.from = %r: allowed are %s" % (where, row["from"], ", ".join(_SOURCES)))
    if row.get("function", 16) not in (6, 16):
        errors.append("%s.function = %r: allowed are 6, 16" % (where, row["function"]))
    if row.get("function", 16) == 6 and row.get("type", "int16") not in ("int16", "uint16"):
        errors.append("%s.function = 6: writes one register, %s has two" % (where, row["type"]))
    if row.get("type") == "float32":
        errors.append("%s.type = 'float32': cannot be written" % where)
    if not isinstance(row.get("refresh", True), bool):
        errors.append("%s.refresh = %r: must be true or false" % (where, row["refresh"]))
    _number(where, row, "value", -1073741823, 1073741823, 0, errors)


def _check_fit(where: str, write: Write, name: str, powers, errors: list) -> None:
    """A register never wraps: whatever the row may have to write must be a number of its type, called `name`."""
    if write.heartbeat:
        return
    if write.source < 0:
        wire = [write.value]
        what = "the value is"
    elif write.source == im.CMD_P and powers is None:
        wire = [-1, 1]  # that much is known
        what = "power has both signs, at this scale it may be"
    elif write.source == im.CMD_P:
        wire = [write.on_wire(powers[0]), write.on_wire(powers[1])]
        what = "the site commands %d to %d W, at this scale" % powers
    else:
        wire = [write.on_wire(0), write.on_wire(1)]
        what = "it may be"
    if write.map is not None:
        wire.extend(write.map.values())
    for number in (min(wire), max(wire)):
        if not write.low <= number <= write.high:
            errors.append("%s: %s %d, %s holds %d to %d" % (where, what, number, name, write.low, write.high))


def _number(where: str, row: dict, key: str, low: int, high: int, default, errors: list) -> None:
    value = row.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        errors.append("%s.%s = %r: must be a whole number from %d to %d" % (where, key, value, low, high))


def _is_map(given) -> bool:
    if not isinstance(given, dict):
        return False
    try:
        return all(int(key) == int(key) and isinstance(given[key], int) for key in given)
    except (TypeError, ValueError):
        return False


def filled(given) -> int:
    """What a table without errors fills: bit = SEQ slot of each group, and bit 9 where it takes the power command."""
    table = _load(given, [])
    bits = 0
    for row in table.get("reads") or []:
        slot = im.number_of(row["slot"])
        for first, last, seq, _ in _GROUPS:
            if first <= slot <= last:
                bits |= 1 << seq
    for row in table.get("writes") or []:
        if row.get("from") in ("CMD_P", "CMD_CHARGE", "CMD_DISCHARGE"):
            bits |= 0x200
    return bits
