"""The journal for the page: the last lines of the records' log, with words for what it keeps as numbers and letters."""

import json

from micropython import const

from firmware import reasons
from firmware.event_codes import Event
from firmware.web import state

_LEVELS = {"E": "error", "W": "warning", "I": "information", "D": "debug"}
_CAUSES = const("power on,reset,watchdog,deep sleep,soft reset")  # machine.reset_cause() of an ESP32, 1 ...
_MANY = const(8)  # lines that are passed over in one go: all of them at once would hold a chip for half a second


def last(records, count: int, banks=()):
    """The last `count` lines, oldest first: [Unix s or None, s, name, data, level]; None where the next is not found yet.

    banks: see reasons.event_data.  The log is read twice, so that only a line at a time is in RAM.
    """
    total = 0
    for _ in records.events.lines():
        total += 1
        if total % _MANY == 0:
            yield None
    passed = 0
    for line in records.events.lines():
        passed += 1
        if passed > total - count:
            yield _row(line, banks)
        elif passed % _MANY == 0:
            yield None


def _row(line: str, banks):
    try:
        day, sec, name, data, level = json.loads(line)
        name, data = _words(name, data, banks)
        return [None if day is None else state.unix(day, sec), sec, name, data, _LEVELS.get(level, level)]
    except (ValueError, TypeError, AttributeError):
        return None  # its checksum was right, so an older firmware wrote it otherwise


def _words(name: str, data, banks) -> tuple:
    """Name and data: of an event as in the live stream, of a boot its cause; everything else as it was logged."""
    event, _, rest = name.partition(" ")
    if rest and event in Event.names:
        return event, rest  # a fault: what that number was called then
    if isinstance(data, int):
        if name in Event.names:
            return name, reasons.event_data(Event.names.index(name), data, banks)
        causes = _CAUSES.split(",")
        if name == "BOOT" and 1 <= data <= len(causes):
            return name, causes[data - 1]
    return name, data
