"""What the number beside an event stands for, in words; the codes and their meanings are in event_codes.py."""

from firmware import faults
from firmware.event_codes import Event
from firmware.flows import Flow
from firmware.limits import NAMES
from firmware.modes import Mode
from firmware.requests import SOURCES


def meaning(event: int, data: int) -> str:
    """The data of an event by name; "" where the number is all there is to say: a power, a time, an entry, nothing."""
    try:
        if event == Event.MODE_CHANGE:
            return Mode.name(data)
        if event == Event.FLOW_CHANGE:
            return Flow.name(data)
        if event == Event.LIMIT_CHANGE:
            return "%s by %s" % ("charge" if data >= 16 else "discharge", NAMES[data & 15])
        if event == Event.EMERGENCY and data < 0:
            return "commanded"
        if event == Event.EMERGENCY or Event.FAULT_RAISED <= event <= Event.COMMS_RESTORED:
            return faults.names(1 << data)[0]
        if event in (Event.CHARGE_COMPLETE, Event.DISCHARGE_COMPLETE, Event.OPERATION_TIMEOUT):
            return SOURCES[data]
    except (IndexError, ValueError):  # a number that nobody has named
        pass
    return ""
