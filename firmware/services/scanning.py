"""`scan` at the console: what is on the buses, and which units of a Modbus line answer, while the devices go on being asked."""

import asyncio
import time
from array import array

from looptime import start
from micropython import const

from firmware.errors import PowerError
from modbus import ModbusError, ModbusRefused

_TOLD = const(("frames", "unclaimed", "timeouts", "bus_off", "resets", "last_error"))  # of a bus's counters
_PAUSE_MS = const(200)  # between two units: the line is the devices'
_under_way: list = []  # the line that is being asked


def buses(site):
    """A line for every bus and device: what has been received, what it says of itself."""
    for name, bus in site.buses.items():
        counts = bus.counters()
        ago = ""
        if hasattr(bus, "last_ms"):
            ago = ", last frame %d ms ago" % time.ticks_diff(time.ticks_ms(), bus.last_ms)
        more = [key + " " + str(counts[key]) for key in _TOLD if counts.get(key)]
        yield "%s: %s%s" % (name, ", ".join(more) or "nothing received", ago)
    for name, device in site.devices.items():
        counts = device.counters()
        more = [str(counts[key]) for key in ("last_error", "note") if counts.get(key)]
        yield "%s: %s" % (name, "; ".join(more) or "nothing to say")


def begin(site, name: str, first: int, last: int, say) -> str:
    """Ask units first to last of a Modbus line, one after the other, as a task that says who answers.  PowerError."""
    bus = site.buses.get(name)
    if not hasattr(bus, "read_registers"):
        lines = [bus for bus in site.buses if hasattr(site.buses[bus], "read_registers")]
        raise PowerError("%s is no Modbus line of this site: there %s" % (name, "is " + ", ".join(lines) if lines else "is none"))
    if _under_way:
        raise PowerError("a scan of %s is under way: it says when it is over" % _under_way[0])
    _under_way.append(name)  # two at once would leave the devices no time to be asked
    start("scan", _ask(bus, name, first, last, say))
    return "asking units %d to %d of %s: a line each for those that answer, and one at the end" % (first, last, name)


async def _ask(bus, name: str, first: int, last: int, say) -> None:
    answered = 0
    word = array("H", [0])
    try:
        for unit in range(first, last + 1):
            try:
                await bus.read_registers(unit, 0, 1, word)
                said = "register 0 is %d" % word[0]
            except ModbusError as error:
                said = str(error) if isinstance(error, ModbusRefused) else ""
            bus.forget(unit)
            if said:
                answered += 1
                say("%s: unit %d answers: %s" % (name, unit, said))
            await asyncio.sleep_ms(_PAUSE_MS)
    finally:
        _under_way.clear()
    say("%s: scan of units %d to %d: %d answer" % (name, first, last, answered))
