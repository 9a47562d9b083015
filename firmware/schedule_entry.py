"""One line of the schedule: when it starts, for how long, and what power it asks for."""

from micropython import const

from firmware import image as im
from firmware.errors import PowerError, in_range
from firmware.image import parts
from firmware.modes import Mode

ALL_DAYS = 7  # day_of_week for every day
_MOST_KW = const(1000)
DAY_MINUTES = 1440
FIELDS = (
    "enabled",
    "day_of_week",
    "days",
    "hour",
    "minute",
    "mode",
    "power_setpoint",
    "duration_minutes",
    "repeat",
)


class ScheduleEntry:
    """`power_setpoint` kW for `duration_minutes` from `hour`:`minute` local time on the days named.

    Exactly 0 kW in CHARGE or DISCHARGE is as much as every limit allows; less than 1 W is 0 W.

    `day_of_week`: 0 Sunday to 6 Saturday, 7 every day.  `days`: several days instead, as a mask (bit 0 is Sunday);
    leave `day_of_week` at 7 then.  `mode`: Mode.CHARGE (power_setpoint <= 0), Mode.DISCHARGE (>= 0) or Mode.IDLE
    (0: hold still).  `repeat` False: the entry disables itself once it has run.  Raises PowerError for what is out
    of range, ValueError for what is malformed.
    """

    def __init__(
        self,
        enabled=True,
        day_of_week=ALL_DAYS,
        hour=0,
        minute=0,
        mode=Mode.IDLE,
        power_setpoint=0.0,
        duration_minutes=60,
        repeat=True,
        days=0,
    ) -> None:
        self.enabled = in_range("enabled", enabled, 0, 1, "", bool)
        self.day_of_week = in_range("day_of_week", day_of_week, 0, ALL_DAYS, "(0 Sunday to 6, 7 every day)", int)
        self.days = in_range("days", days, 0, 127, "(bit 0 Sunday)", int)
        self.hour = in_range("hour", hour, 0, 23, "h", int)
        self.minute = in_range("minute", minute, 0, 59, "min", int)
        self.mode = in_range("mode", mode, 0, 255, "", int)
        self.power_setpoint = in_range("power_setpoint", power_setpoint, -_MOST_KW, _MOST_KW, "kW")
        self.duration_minutes = in_range("duration_minutes", duration_minutes, 1, DAY_MINUTES, "min", int)
        self.repeat = in_range("repeat", repeat, 0, 1, "", bool)
        self._check_together()

    def _check_together(self) -> None:
        """Rules that need two fields."""
        power = self.power_setpoint
        if self.days and self.day_of_week != ALL_DAYS:
            raise PowerError("day_of_week = %d: must be 7 where days names them" % self.day_of_week)
        if self.mode == Mode.CHARGE:
            if power > 0:
                raise PowerError("power_setpoint = %s: must not be above 0 kW in CHARGE: a charge is negative" % power)
        elif self.mode == Mode.DISCHARGE:
            if power < 0:
                raise PowerError("power_setpoint = %s: must not be below 0 kW in DISCHARGE" % power)
        elif self.mode == Mode.IDLE:
            if power:
                raise PowerError("power_setpoint = %s: must be 0 kW in IDLE" % power)
        else:
            raise PowerError("mode = %d: a schedule may ask for IDLE, CHARGE or DISCHARGE" % self.mode)

    def check_fits(self, par) -> None:
        """PowerError for more than the site's configuration ever allows: it would be believed, and less would flow.

        One that is switched off asks for nothing, and switching off is always possible.
        """
        if not self.enabled:
            return
        if self.mode == Mode.CHARGE:
            in_range("power_setpoint", self.power_setpoint, -par[im.PAR_P_CHG] / 1000, 0, "kW in CHARGE")
        elif self.mode == Mode.DISCHARGE:
            in_range("power_setpoint", self.power_setpoint, 0, par[im.PAR_P_DIS] / 1000, "kW in DISCHARGE")

    def mask(self) -> int:
        """The days it starts on, bit 0 Sunday."""
        return self.days or (127 if self.day_of_week == ALL_DAYS else 1 << self.day_of_week)

    def power_w(self) -> int:
        """What it asks for, W, positive is discharge; 0 is nothing, unless `wants_most`."""
        return parts(self.power_setpoint, 1000)

    def wants_most(self) -> bool:
        """It asks for as much as every limit allows."""
        return self.power_setpoint == 0 and self.mode != Mode.IDLE

    def to_dict(self) -> dict:
        """The fields by name, for storage and display; `ScheduleEntry(**fields)` makes it again."""
        return {name: getattr(self, name) for name in FIELDS}

    def __repr__(self) -> str:
        return "ScheduleEntry(%s)" % ", ".join(["%s=%r" % (name, getattr(self, name)) for name in FIELDS])

    def copy(self) -> "ScheduleEntry":
        """Another one with the same fields, which are checked again: a field may have been set since."""
        return ScheduleEntry(**self.to_dict())

    def twin(self) -> "ScheduleEntry":
        """Another one with the same fields, unchecked: a millisecond less, and the whole schedule is often shown."""
        other = object.__new__(ScheduleEntry)
        for name in FIELDS:
            setattr(other, name, getattr(self, name))
        return other
