"""Schedules for the page: shown, put in place as a whole, and what they would start, looked at ahead."""

import json
from binascii import crc32

from httpd.answer import Refused
from micropython import const

from firmware.errors import ConfigError, PowerError
from firmware.modes import Mode
from firmware.schedule_entry import ScheduleEntry
from firmware.web import state

_KEYS = const(("id", "enabled", "day_of_week", "days", "hour", "minute", "mode", "kw", "minutes", "repeat"))
_NEXT = const(5)
_MOST_NEXT = const(20)


class Planning:
    """The schedule of a manager."""

    def __init__(self, pm) -> None:
        self._pm = pm

    def _rev(self) -> int:
        """Another number where it is another schedule, whoever has changed it, from here or at the console."""
        number = int(self._pm.scheduling_enabled)
        for entry_id, entry in self._pm.schedules():
            number = crc32(json.dumps([entry_id, entry.to_dict()]).encode(), number)
        return number

    def shown(self):
        """Key and value of what the page gets."""
        pm = self._pm
        yield "enabled", pm.scheduling_enabled
        yield "rev", self._rev()
        yield "active", -1 if pm.planned is None else pm.planned.active
        yield "entries", (_shown(number, entry) for number, entry in pm.schedules())
        yield "next", self._next(pm.planned, _NEXT)
        yield "clock", state.clock(pm.clock)

    def _next(self, plan, count: int):
        """The starts of a plan."""
        pm = self._pm
        if plan is None or pm.clock is None:
            return
        starts = plan.starts(pm.clock)
        for _ in range(count):
            with pm.plan_lock:
                start = next(starts, None)
            if start is None:
                return
            found = {"id": start["id"], "start": start["start"], "minutes": start["minutes"], "mode": Mode.name(start["mode"])}
            found["kw"] = start["power_kw"]
            found["unix"] = state.unix(start["day"], start["sec"])
            yield found

    def replace(self, body) -> None:
        """Put a whole schedule in place.  ConfigError with everything that is wrong with it; Refused where it has changed."""
        pm = self._pm
        if isinstance(body, dict) and "rev" in body and body["rev"] != self._rev():
            raise Refused(409, "somebody else has changed the schedule: look at it again")
        doc = self._document(body, pm.scheduling_enabled)
        before = dict(pm.schedules())
        entries = {}
        for row in doc["entries"]:
            number = row.pop("id")
            entries[number] = ScheduleEntry(**row)
        for entry_id in before:
            if entry_id not in entries:
                pm.delete_schedule(entry_id)
        for entry_id in sorted(entries):
            if entry_id not in before:
                pm.add_schedule(entries[entry_id])
            elif entries[entry_id].to_dict() != before[entry_id].to_dict():  # what stays as it is goes on running
                pm.update_schedule(entry_id, entries[entry_id])
        if doc["enabled"] != pm.scheduling_enabled:
            pm.enable_scheduling(doc["enabled"])

    def preview(self, body):
        """A generator of what a schedule would start.  ConfigError."""
        from firmware.scheduler import Scheduler  # where there is no schedule it is not loaded

        doc = self._document(body, True)
        count = body.get("count", _NEXT)
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MOST_NEXT:
            raise Refused(400, "count = %.20r: allowed are 1 to %d" % (count, _MOST_NEXT))
        plan = Scheduler()
        plan.from_doc(doc)
        return self._next(plan, count)

    def _document(self, body, enabled: bool) -> dict:
        """A request's body as the scheduler has it."""
        if not isinstance(body, dict) or not isinstance(body.get("entries"), list) or len(body["entries"]) > 16:
            raise Refused(400, "entries: must be a list of at most 16")
        rows = []
        errors: list = []
        taken = [row.get("id") for row in body["entries"] if isinstance(row, dict)]
        free = (number for number in range(16) if number not in taken)
        kept = dict(self._pm.schedules())
        for n, row in enumerate(body["entries"]):
            try:
                rows.append(_taken(row, free, self._pm.image.par, kept))
            except (PowerError, ValueError) as error:
                text = str(error).replace("power_setpoint", "kw").replace("duration_minutes", "minutes")  # as they stand here
                errors.append("entries[%d]: %s" % (n, text))
        numbers = [row["id"] for row in rows]
        if len(set(numbers)) < len(numbers):
            errors.append("entries: an id stands there twice")
        on = body.get("enabled", enabled)
        if not isinstance(on, bool):
            errors.append("enabled = %.20r: must be true or false" % (on,))
        if errors:
            raise ConfigError(errors)
        return {"enabled": on, "entries": rows}


def _shown(number: int, entry) -> dict:
    fields = entry.to_dict()
    fields["id"] = number
    fields["mode"] = Mode.name(entry.mode)
    fields["kw"] = fields.pop("power_setpoint")
    fields["minutes"] = fields.pop("duration_minutes")
    return fields


def _taken(row, free, par, kept: dict) -> dict:
    """An entry of the page as ScheduleEntry has it, checked, with its id."""
    if not isinstance(row, dict):
        raise ValueError("%.40r: must be an object" % (row,))
    for key in row:
        if key not in _KEYS:
            raise ValueError("%.40s: no such key; known are %s" % (key, ", ".join(_KEYS)))
    fields = {key: row[key] for key in row if key not in ("id", "mode", "kw", "minutes")}
    mode = row.get("mode")
    if mode not in ("CHARGE", "DISCHARGE", "IDLE"):
        raise ValueError("mode = %.20r: allowed are CHARGE, DISCHARGE, IDLE" % (mode,))
    fields["mode"] = Mode.names.index(mode)
    fields["power_setpoint"] = row.get("kw", 0.0)
    fields["duration_minutes"] = row.get("minutes", 60)
    entry = ScheduleEntry(**fields)
    fields = entry.to_dict()
    number = row.get("id")
    if number is None:
        number = next(free)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 16:
        raise ValueError("id = %.20r: allowed are 0 to 15, or none" % (number,))
    if number not in kept or kept[number].to_dict() != fields:  # else nobody could change another one, nor switch it off
        entry.check_fits(par)
    fields["id"] = number
    return fields
