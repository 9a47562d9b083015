"""Reads the JSON table of a generic_modbus device: checks all of it, and makes what the driver works with.

Used when a site file is checked and when the driver is built.  See docs/generic_modbus.md for the form of the table.
"""

import json

import startup
from micropython import const

from firmware import image as im
from firmware.devices.generic_points import LONGEST, TYPES, Block, Point
from firmware.errors import ConfigError
from firmware.groups import GROUPS, PLAUSIBLE

_READ_KEYS = const((
    "slot", "address", "minus", "type", "scale", "offset", "function", "missing", "low", "high", "map", "mask", "period_ms",
    "unit",
))  # fmt: skip
_TABLE_KEYS = const(("name", "about", "word_order", "reads", "writes", "gap"))  # about: for people, a deploy leaves it out
_ALONE = const(("offset", "map", "mask"))  # what a difference has not

# of the points, as long as this module is loaded: SEQ slot, first and last slot, what it brings, of each group that a device
# on Modbus can fill; lowest and highest that can be true, by slot
_GROUPS = [row[:4] for row in GROUPS if row[4] != "io"]
_PLAUSIBLE = {PLAUSIBLE[i]: (PLAUSIBLE[i + 1], PLAUSIBLE[i + 2]) for i in range(0, len(PLAUSIBLE), 3)}


class Conditions:
    """What a table has to fit.

    longest: registers in one request; unit: the device's own; units: the lowest and the highest that its connection
    reaches; powers: W, the lowest and the highest that the site commands, None where nobody knows.
    """

    def __init__(self, longest: int = 125, unit: int = 1, units: tuple = (0, 255), powers=None) -> None:
        self.longest = min(longest, LONGEST)
        self.unit = unit
        self.units = units
        self.powers = powers


class Table:
    """The whole table: `blocks`, `writes`, the groups it fills (`groups`) and what it brings to the site (`brings`)."""

    def __init__(self, given, period_ms: int, conditions: Conditions | None = None) -> None:
        """`given`: the table, or the name of a file that holds it.  Raises ConfigError with everything that is wrong."""
        errors: list = []
        table = _load(given, errors)
        site = conditions or Conditions()
        _check_table(table, site, errors)
        if errors:
            raise ConfigError(errors)
        self.name = table.get("name", "generic")
        self.swapped = table.get("word_order", "big") == "little"
        points = sorted([Point(row, period_ms, _PLAUSIBLE) for row in table.get("reads", [])], key=_place)
        self.blocks: list = []
        for point in points:
            if not self.blocks or not self.blocks[-1].takes(point, table.get("gap", 8), site.longest):
                self.blocks.append(Block(point))
        self.writes = _writes().made(table["writes"]) if table.get("writes") else ()
        self.groups: list = []
        self.brings = 0
        for seq, first, last, has in _GROUPS:
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
    return (point.unit, point.function, point.period_ms, point.address)


def _writes():
    from firmware.devices import generic_writes  # a table that only reads leaves it in flash

    return generic_writes


def problems(where: str, given, site: Conditions, errors: list) -> None:
    """Append to `errors` what is wrong with a table."""
    found: list = []
    table = _load(given, found)
    if found and isinstance(given, str):
        return  # the file may be on the board: whoever builds the device will see
    _check_table(table, site, found)
    for text in found:
        errors.append("%s.%s" % (where, text))


def _load(given, errors: list) -> dict:
    if isinstance(given, str):
        try:
            with open(startup.folder + given, "rb") as file:
                text = file.read()
            from strictjson import wrong  # who names no file needs none

            why = wrong(text)
            if why:
                raise ValueError(why)
            given = json.loads(text)
        except (OSError, ValueError) as error:
            errors.append("table %s: cannot be read (%s)" % (given, error))
            return {}
    if not isinstance(given, dict):
        errors.append("table = %r: must be an object, or the name of a file that holds one" % (given,))
        return {}
    return given


def _check_table(table: dict, site: Conditions, errors: list) -> None:
    check_keys("table", table, _TABLE_KEYS, errors)
    if table.get("word_order", "big") not in ("big", "little"):
        errors.append("table.word_order = %r: allowed are big, little" % (table["word_order"],))
    whole("table", table, "gap", 0, 125, 8, errors)
    if not table.get("reads") and not errors:
        errors.append("table.reads: is missing; a device that tells nothing is of no use")
    for name in ("reads", "writes"):
        if not isinstance(table.get(name) or [], list):
            errors.append("table.%s = %r: must be a list of rows" % (name, table[name]))
        elif table.get(name) and name == "writes":
            _writes().check(table[name], site, errors)
        elif table.get(name):
            _check_reads(table[name], site, errors)


def _check_reads(rows: list, site: Conditions, errors: list) -> None:
    seen: dict = {}
    for number, row in enumerate(rows):
        where = "table.reads[%d]" % number
        if not check_row(where, row, _READ_KEYS, site, errors):
            continue
        _check_read(where, row, site, errors)
        slot = str(row.get("slot"))
        if slot in seen:
            errors.append("%s.slot = %s: reads[%d] fills it already, one row a slot" % (where, slot, seen[slot]))
        seen[slot] = number


def check_row(where: str, row, keys: tuple, site: Conditions, errors: list) -> bool:
    """What rows of both kinds have in common; False if it is no row at all."""
    if not isinstance(row, dict):
        errors.append("%s = %r: must be an object" % (where, row))
        return False
    check_keys(where, row, keys, errors)
    kind = str(row.get("type", "int16"))  # a list is no key to look for
    if kind not in TYPES:
        errors.append("%s.type = %r: allowed are %s" % (where, row["type"], ", ".join(sorted(TYPES))))
        kind = "int16"
    whole(where, row, "address", 0, 65536 - TYPES[kind][1], None, errors)
    whole(where, row, "unit", site.units[0], site.units[1], site.units[1], errors)
    scale = row.get("scale", 1)
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 1e-6 <= abs(scale) <= 1e6:
        errors.append("%s.scale = %r: allowed are 0.000001 to 1000000, or the same negative" % (where, scale))
    if "map" in row and not _is_map(row["map"]):
        errors.append("%s.map = %r: must be an object from whole numbers, each once, to whole numbers" % (where, row["map"]))
    return True


def _check_read(where: str, row: dict, site: Conditions, errors: list) -> None:
    slot = row.get("slot")
    number = im.number_of(slot) if isinstance(slot, str) else None
    if not isinstance(number, int) or not any(first <= number <= last for _, first, last, _ in _GROUPS):
        errors.append("%s.slot = %r: no such input of the process image" % (where, slot))
    if row.get("function", 3) not in (3, 4):
        errors.append("%s.function = %r: allowed are 3, 4" % (where, row["function"]))
    whole(where, row, "offset", -1000000000, 1000000000, 0, errors)
    whole(where, row, "missing", 0, 0xFFFFFFFF, 0, errors)
    whole(where, row, "mask", 0, 0xFFFF, 0, errors)
    whole(where, row, "high", -1073741823, 1073741823, 0, errors)
    before = len(errors)
    whole(where, row, "low", -1073741823, 1073741823, 0, errors)
    if len(errors) == before and "low" in row and isinstance(row.get("high"), int) and row["low"] > row["high"]:
        errors.append("%s.low = %d: is above high = %d, nothing could be true" % (where, row["low"], row["high"]))
    elif len(errors) == before and number in _PLAUSIBLE and isinstance(row.get("high", 0), int):
        low, high = _PLAUSIBLE[number]
        if row.get("low", low) > high or row.get("high", high) < low:
            errors.append("%s: what %s can be is %d to %d, nothing within low and high" % (where, slot, low, high))
    whole(where, row, "period_ms", 20, 600000, 1000, errors)
    if "minus" in row:
        _check_difference(where, row, site, errors)


def _check_difference(where: str, row: dict, site: Conditions, errors: list) -> None:
    """Two registers whose difference is the value must come in one answer, or they are not of one moment."""
    for key in _ALONE:
        if key in row:
            errors.append("%s.%s: a difference (minus) has none" % (where, key))
    words = TYPES.get(str(row.get("type", "int16")), (0, 1))[1]
    before = len(errors)
    whole(where, row, "minus", 0, 65536 - words, None, errors)
    if len(errors) > before or not isinstance(row.get("address"), int):
        return
    apart = abs(row["address"] - row["minus"])
    if apart < words:
        errors.append("%s.minus = %d: is the number at address %d itself" % (where, row["minus"], row["address"]))
    elif apart + words > site.longest:
        text = "%s.minus = %d: takes %d registers in one request with address %d, allowed are %d"
        errors.append(text % (where, row["minus"], apart + words, row["address"], site.longest))


def check_keys(where: str, row: dict, keys: tuple, errors: list) -> None:
    """Append an error for every key that there is not."""
    for key in row:
        if key not in keys:
            errors.append("%s.%s: no such key, allowed are %s" % (where, key, ", ".join(keys)))


def whole(where: str, row: dict, key: str, low: int, high: int, default, errors: list) -> None:
    """A whole number from `low` to `high`; default: what stands for a key that is not there, None if it must be."""
    value = row.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        errors.append("%s.%s = %r: must be a whole number from %d to %d" % (where, key, value, low, high))


def _is_map(given) -> bool:
    if not isinstance(given, dict):
        return False
    try:
        return len({int(key) for key in given}) == len(given) and all(isinstance(value, int) for value in given.values())
    except (TypeError, ValueError):
        return False


def reads_any(given, slots: tuple) -> bool:
    """A table without errors reads one of these slots."""
    return any(im.number_of(row["slot"]) in slots for row in _load(given, []).get("reads") or [])


def filled(given) -> int:
    """What a table without errors fills: bit = SEQ slot of each group, the one behind them where it takes the power command."""
    table = _load(given, [])
    bits = 0
    for row in table.get("reads") or []:
        slot = im.number_of(row["slot"])
        for seq, first, last, _ in _GROUPS:
            if first <= slot <= last:
                bits |= 1 << seq
    for request in table.get("writes") or []:
        for row in request.get("together") or [request]:
            if row.get("from") in ("CMD_P", "CMD_CHARGE", "CMD_DISCHARGE", "CMD_MAGNITUDE"):
                bits |= 1 << im.N_GROUPS
    return bits
