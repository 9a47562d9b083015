"""Which GPIO of the board belongs to what by its site file, and which levels may be put on them at power-on.

boot.py asks before anything has been checked, so nothing in the file is trusted: what is doubtful is named in words and
its pin stays an input.  The check of a site file asks the same questions, so what boot would not drive is refused there.
"""

import json
import os

from micropython import const

SITE_BYTES = 32768  # the longest site file: twice what any site needs, and read within the watchdog's time
_LAST_PIN = const(48)
_SPI = const(("sck_pin", "mosi_pin", "miso_pin"))  # lines that several controllers on one SPI bus share
_SHOWN = const(60)  # characters of a value in a message


def load(path: str):
    """The site file's content, whatever it is.  OSError, ValueError or MemoryError where it cannot be read."""
    size = os.stat(path)[6]
    if size > SITE_BYTES:
        raise ValueError("%d bytes: at most %d are read" % (size, SITE_BYTES))
    with open(path) as file:
        return json.load(file)


def is_level(value) -> bool:
    """The integer 0 or 1; no True, no 1.0: a level that needs interpreting is a mistake."""
    return type(value) is int and 0 <= value <= 1


def is_pin(value) -> bool:
    """An integer that a chip may have as a GPIO."""
    return type(value) is int and 0 <= value <= _LAST_PIN


def shown(value) -> str:
    """A value for a message, cut where it is long."""
    text = "%r" % (value,)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def look(site) -> tuple:
    """(outputs, doubtful, problems): [(pin, level)] to drive at power-on, the pins to leave inputs, and why, in words."""
    outputs = []
    problems = []
    doubtful = set()
    owners = {}  # pin -> [(owner, where it is named)]
    for where, owner, pin in _named(site, problems):
        if is_pin(pin):
            owners.setdefault(pin, []).append((owner, where))
        elif not (type(pin) is int and pin == -1):
            problems.append("%s = %s: must be a whole number from 0 to %d, or -1: none" % (where, shown(pin), _LAST_PIN))
    for pin in sorted(owners):
        if len({owner for owner, _ in owners[pin]}) > 1:
            doubtful.add(pin)
            problems.append("pin %d has two owners: %s" % (pin, ", ".join(sorted([where for _, where in owners[pin]]))))
    for where, pin, level, open_level in _driven(site):
        if not is_pin(pin):
            continue  # said above
        if not is_level(level):
            doubtful.add(pin)
            problems.append("%s = %s: must be the whole number 0 or 1" % (where, shown(level)))
        elif pin not in doubtful:
            outputs.append((pin, 1 - level if open_level else level))
    # a pin may have become doubtful by what was named after it
    return [output for output in outputs if output[0] not in doubtful], sorted(doubtful), problems


def _section(site, name: str) -> dict:
    """The objects of a section by name; what is none is left to the check of the whole file."""
    section = site.get(name) if isinstance(site, dict) else None
    if not isinstance(section, dict):
        return {}
    return {key: section[key] for key in section if isinstance(section[key], dict)}


def _levels(site) -> list:
    """board.levels; [] where there is none."""
    board = site.get("board") if isinstance(site, dict) else None
    levels = board.get("levels") if isinstance(board, dict) else None
    return levels if isinstance(levels, list) else []


def _is_pair(entry) -> bool:
    return isinstance(entry, list) and len(entry) == 2


def _named(site, problems: list) -> list:
    """(where, owner, pin) of everything that names a pin; what has not the form of a list of pairs goes to `problems`."""
    if not isinstance(site, dict):
        problems.append("the site = %s: must be an object" % shown(site))
        return []
    found = []
    for section in ("buses", "devices", "services"):
        entries = _section(site, section)
        for name in sorted(entries):
            where = "%s.%s" % (section, name)
            _add_pins(found, where, entries[name], section == "buses")
            inputs = _section(entries[name], "inputs") if section == "services" else {}
            for one in sorted(inputs):
                _add_pins(found, "%s.inputs.%s" % (where, one), inputs[one], False)
    clock = site.get("clock")
    if isinstance(clock, dict):
        found += [("clock." + key, "clock." + key, clock[key]) for key in sorted(clock) if key.endswith("_pin")]
    board = site.get("board")
    if board is not None and not isinstance(board, dict):
        problems.append("board = %s: must be an object" % shown(board))
    elif board and not isinstance(board.get("levels", []), list):
        problems.append("board.levels = %s: must be a list of [pin, level]" % shown(board["levels"]))
    for number, entry in enumerate(_levels(site)):
        where = "board.levels[%d]" % number
        if not _is_pair(entry):
            problems.append("%s = %s: must be [pin, level]" % (where, shown(entry)))
        elif type(entry[0]) is int and entry[0] < 0:
            problems.append("%s = %s: must name a pin from 0 to %d" % (where, shown(entry), _LAST_PIN))
        else:
            found.append((where, where, entry[0]))
    return found


def _add_pins(found: list, where: str, entry: dict, is_bus: bool) -> None:
    """What an entry names as its pins, by keys that end so; some of a bus are shared with other buses."""
    for key in sorted(entry):
        if key.endswith("_pin"):
            at = "%s.%s" % (where, key)
            owner = "SPI %s %s" % (shown(entry.get("id", 0)), key) if is_bus and key in _SPI else at
            found.append((at, owner, entry[key]))


def _driven(site) -> list:
    """(where its level is named, pin, level, whether the other level is driven) of what is an output from power-on."""
    found = []
    devices = _section(site, "devices")
    for name in sorted(devices):
        if "contactor_pin" in devices[name]:
            where = "devices.%s.contactor_level" % name
            found.append((where, devices[name]["contactor_pin"], devices[name].get("contactor_level", 1), True))
    for number, entry in enumerate(_levels(site)):
        if _is_pair(entry):
            found.append(("board.levels[%d]" % number, entry[0], entry[1], False))
    return found
