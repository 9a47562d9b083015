"""The power manager's public names."""

from firmware.charging import ChargeMethod, ChargeParams
from firmware.config import PowerConfig
from firmware.discharging import DischargeParams
from firmware.errors import ConfigError, PowerError
from firmware.events import Event
from firmware.flows import Flow, Grid
from firmware.manager import PowerManager
from firmware.modes import Mode


def __getattr__(name: str):
    """ScheduleEntry is loaded when it is first asked for: a site without schedules does not carry it."""
    if name == "ScheduleEntry":
        from firmware.schedule_entry import ScheduleEntry

        return ScheduleEntry
    try:  # MicroPython asks here before it looks for a submodule
        return __import__("firmware." + name, None, None, (name,))
    except ImportError:
        raise AttributeError(name)
