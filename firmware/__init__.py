"""The power manager's public names.

Those that only name codes for people, and ScheduleEntry, are loaded when they are first asked for: a board whose
heap nobody looks at does not carry them.
"""

from firmware.charging import ChargeParams
from firmware.config import PowerConfig
from firmware.discharging import DischargeParams
from firmware.errors import ConfigError, PowerError
from firmware.manager import PowerManager

# where it is and what it is called, in one text: a tuple of them would cost three times as much
ON_DEMAND = "schedule_entry ScheduleEntry, event_codes Event, flows Flow, flows Grid, modes Mode, charge_methods ChargeMethod"


def __getattr__(name: str):
    for text in ON_DEMAND.split(", "):
        module, _, found = text.partition(" ")
        if found == name:
            return getattr(__import__("firmware." + module, None, None, (name,)), name)
    try:  # MicroPython asks here before it looks for a submodule
        return __import__("firmware." + name, None, None, (name,))
    except ImportError:
        raise AttributeError(name)
