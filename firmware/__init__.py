"""The power manager's public names."""

from firmware.charging import ChargeMethod, ChargeParams
from firmware.config import PowerConfig
from firmware.discharging import DischargeParams
from firmware.errors import ConfigError, PowerError
from firmware.event_codes import Event
from firmware.flows import Flow, Grid
from firmware.manager import PowerManager
from firmware.modes import Mode
from firmware.schedule_entry import ScheduleEntry
