"""The console's commands for people: one table of words, who may use them, what they call; numbers with their units.

Loaded with the first command, the first Tab or help.  A handler is a method that takes the words behind its own and gives
text, or makes lines; what the manager refuses, it says itself.
"""

import sys

from micropython import const
from rows import each

from firmware import config, reasons
from firmware import image as im
from firmware import requests as rq
from firmware.errors import PowerError
from firmware.event_codes import Event
from firmware.events import QUEUE, Cursor
from firmware.modes import Mode
from firmware.schedule_entry import DAY_MINUTES, ScheduleEntry
from firmware.services import mistyped
from firmware.services.calls import NO_CLOCK, Calls, counted, names_of, operation, why_none_starts
from firmware.services.lines import NAMES, OPERATE, SERVICE, VIEW

# word, what may follow it, least role, what it calls: of pm, a name of the console, or a method here; what it does
TABLE = (
    ("status", "", VIEW, "status", "what is, in a few lines"),
    ("why", "", VIEW, "why", "why the power is what it is, and what waits for what"),
    ("limits", "", VIEW, "limits", "every limit: discharge and charge, kW; - limits nothing"),
    ("events", "[COUNT]", VIEW, "events", "the last events"),
    ("faults", "", VIEW, "faults", "active and past faults"),
    ("claims", "", VIEW, "claims", "who asks for power"),
    ("devices", "", VIEW, "device_lines", "counters of devices and buses"),
    ("services", "", VIEW, "services", "counters of services"),
    ("monitor", "TIME | off", VIEW, "monitor", "the state as a line of JSON, so often: monitor 500ms"),
    ("scan", "[BUS [FIRST LAST]]", VIEW, "scan", "what is received on the buses; who answers on a Modbus line (operate)"),
    ("start", "", OPERATE, "pm.start", "ready to move power"),
    ("stop", "", OPERATE, "pm.stop", "end everything, 0 W, contactors open"),
    ("charge", "[SOC] | POWER [TIME]", OPERATE, "charge", "charge 80%; charge 20kW 30min"),
    ("discharge", "[POWER] [TIME]", OPERATE, "discharge", "discharge 20kW 1h"),
    ("pause", "[TIME]", OPERATE, "pause", "hold 0 W, against every other source but the emergency"),
    ("resume", "", OPERATE, "pm.resume", "end the pause, or what was asked for here"),
    ("limit", "[discharge POWER] [charge POWER] [TIME] | off", OPERATE, "limit", "bound the power, on top of all limits"),
    ("schedule", "[add HH:MM charge|discharge|idle [POWER] TIME [DAY ...] | remove ID]", VIEW, "schedule", "entries, what starts"),
    ("history", "[second|five|day|month|year [FROM [TO]]]", VIEW, "history", "energies; rows, of the last hours or from when on"),
    ("config", "[NAME]", VIEW, "config", "the site's power section as it is in force"),
    ("clock", "[YYYY-MM-DD HH:MM:SS]", VIEW, "clock", "the local time; setting it takes the role operate"),
    ("emergency", "[...]", VIEW, "emergency", "0 W at once, contactors open, latched; never needs a PIN"),
    ("reset", "", OPERATE, "pm.reset_emergency", "end the emergency, once its cause is gone"),
    ("login", "PIN", VIEW, "login", "have the role of a PIN, for ten minutes behind the last key"),
    ("logout", "", VIEW, "logout", "back to view"),
    ("pin", "view|operate|service PIN | off", SERVICE, "pin", "give a role another PIN; kept as a hash, never shown"),
    ("reboot", "", SERVICE, "reboot", "the board starts again, in order: 0 W, contactors, reset"),
    ("leave", "", SERVICE, "leave", "0 W, contactors open, then the ordinary prompt; control ends"),
    ("help", "[COMMAND]", VIEW, "help", "these lines, or one"),
)
_UNITS = {  # as they are typed, without capitals: what of, and how much
    "kw": ("power", 1.0),
    "w": ("power", 0.001),
    "ms": ("time", 0.001),
    "s": ("time", 1.0),
    "min": ("time", 60.0),
    "h": ("time", 3600.0),
    "%": ("soc", 1.0),
}
_KINDS = {"power": "kW or W", "time": "s, min or h", "soc": "%"}
_DAYS = const(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
_EVENTS = const(10)
_UNITS_MOST = const(32)  # of a Modbus line that are asked in one scan
_OWNER = const("console")
_HOLDS = const("; `pause` holds 0 W")
_WAYS = {"discharge": im.PAR_P_DIS, "charge": im.PAR_P_CHG}
_USAGE = const(20)  # characters; what is longer `help COMMAND` says


class Commands:
    """`run` and `complete` for the console, `help`."""

    def __init__(self, console, app) -> None:
        """console: see console.Service: names, lines, store, write, monitor."""
        self._console = console
        self._app = app
        self._pm = app.pm

    def run(self, word: str, rest: str):
        """What the command gives: a text, or a generator of lines, None, a value.  Raises what it raises.

        PowerError where the role is too low or what follows is not understood: nothing was changed then.
        """
        row = _row(word)
        _, usage, role, calls, _ = row
        if self._console.lines.role < role:
            raise PowerError("%s needs the role %s, yours is %s: login PIN first" % (word, NAMES[role], self._console.lines.name))
        words = rest.split()
        if not usage:
            if words:
                raise PowerError("%s takes nothing behind it" % word)
            if calls[:3] == "pm.":
                given = getattr(self._pm, calls[3:])()
                return "done" if given is None else given
            # not by its name among those of the lines: `status = 5` there takes no command away
            return getattr(self if hasattr(self, calls) else Calls(self._app, self._console), calls)()
        return getattr(self, calls)(words)

    def help(self, words=""):
        """A line for each command, or for one."""
        if words:
            row = _row(words[0])
            yield "%s %s" % row[:2]
            yield "  %s (%s)" % (row[4], NAMES[row[2]])
            return
        for word, usage, role, _, text in TABLE:
            usage = usage if len(usage) <= _USAGE else "..."
            yield "%-10s %-20s %s%s" % (word, usage, text, "" if role == VIEW else " (%s)" % NAMES[role])
        yield "`help schedule` says more of one.  With the service role also lines of Python: `help()`"
        yield "From a computer: mpremote resume exec 'charge 20kW 30min', and so any other"

    def complete(self, text: str) -> tuple:
        """(what is there of the last name, the sorted names that it may become)."""
        start = len(text)
        while start and (text[start - 1].isalpha() or text[start - 1].isdigit() or text[start - 1] in "_."):
            start -= 1
        begun = text[start:]
        before = text[:start].split()
        role = self._console.lines.role
        if before and len(before[0]) < start and _is_word(before[0]):
            names = self._arguments(before[0])
        elif "." in begun:
            if role < SERVICE:
                return begun, []
            owner, _, begun = begun.rpartition(".")
            names = self._attributes(owner)
        else:
            names = set(self._console.names) if role == SERVICE else set()
            if not before:
                names.update([row[0] for row in TABLE])
        found = [name for name in names if name[: len(begun)] == begun and (begun[:1] == "_" or name[:1] != "_")]
        return begun, sorted(found)

    def _arguments(self, word: str) -> set:
        """The words that may follow a command."""
        if word == "help":
            return {row[0] for row in TABLE}
        if word == "config":
            return {row[0] for row in each(config.FIELDS)}
        usage = _row(word)[1]
        for mark in "[]|.:":
            usage = usage.replace(mark, " ")
        return {name for name in usage.split() if name == name.lower()}

    def _attributes(self, owner: str) -> set:
        """The names of a thing that is written so; no property is asked for its value."""
        first, _, rest = owner.partition(".")
        thing = self._console.names.get(first)
        for name in rest.split(".") if rest else ():
            thing = getattr(thing, "__dict__", {}).get(name)
        return set() if thing is None else names_of(thing)

    # ---- what shows something ---------------------------------------------------------------------------

    def events(self, words):
        """The last events, oldest first: s since boot, name, data."""
        count = _whole(words, _EVENTS, 1, QUEUE)
        events = self._pm.events
        banks = self._pm.image.banks
        cursor = Cursor((events.total - min(events.total, count)) & 0x3FFFFFFF)
        while events.next(cursor):
            data = reasons.event_data(cursor.event, cursor.data, banks)
            yield "%7d s  %s  %s" % (cursor.at_s, Event.name(cursor.event), data)

    def faults(self):
        """Active and past faults, a line each."""
        found = self._pm.faults()
        for fault in found:
            state = "active" if fault["active"] else "latched" if "latched" in fault else "past"
            detail = ": " + fault["detail"] if fault.get("detail") else ""
            yield "%s  %s  %s%s" % (state, fault["severity"], fault["name"], detail)
        if not found:
            yield "none since boot"

    def claims(self):
        """Who asks for power, the one that wins first."""
        found = self._pm.claims()
        for claim in found:
            kw = -claim["kw"] if claim["goal"] == "charge" else claim["kw"]  # of a goal it is how much at most
            yield "%s (%s)  %s, %s kW  %s" % (claim["source"], claim["owner"], claim["goal"], kw, _left(claim["seconds_left"]))
        if not found:
            yield "nobody asks for power"

    def device_lines(self):
        """Every device and bus, a line each: what it has counted."""
        site = self._app.site
        for group in (site.buses, site.devices):
            for name, box in group.items():
                yield "%s: %s" % (name, counted(box.counters()))

    def monitor(self, words) -> None:
        """monitor 500ms, monitor 2s, monitor off."""
        if len(words) == 1 and words[0] in ("off", "0"):
            self._console.monitor(0)
        elif len(words) == 1 and words[0].isdigit():
            self._console.monitor(int(words[0]))
        else:
            found = _measures(words, "monitor", "time")
            if "time" not in found:
                raise PowerError("monitor takes a time, or off: monitor 500ms")
            self._console.monitor(int(found["time"] * 1000 + 0.5))

    def config(self, words):
        """The fields of the power section, or one: value and unit."""
        if len(words) > 1:
            text = "config %s: it only shows, one field or all; what it is stands in power.%s of the site file"
            raise PowerError(text % (" ".join(words), words[0]))
        if self._pm.refused:
            yield reasons.refused(self._pm) + "; these are the defaults"
        shown = 0
        for row in each(config.FIELDS):
            if not words or row[0] in words:
                shown += 1
                yield "%s = %s  (%s)" % (row[0], getattr(self._pm.config, row[0]), row[5])
        if not shown:
            raise PowerError("%s: no field of the power section; `config` lists them" % " ".join(words))

    def history(self, words):
        """What the site remembers."""
        memory = self._console.names.get("history")
        if memory is None:
            text = "this site keeps no history: its site file names no service of that type"
            raise PowerError(reasons.refused(self._pm) or text)
        return memory.told(words)

    def clock(self, words):
        """The local time; or set it."""
        clock = self._pm.clock
        if clock is None:
            raise PowerError(reasons.refused(self._pm) or NO_CLOCK)
        if words:
            self._need(OPERATE, "setting the clock")
            clock.set_text(" ".join(words))
        report = clock.report()
        return "%s (%s, %s)" % (report.get("local", "not set"), report["zone"], report["state"])

    def scan(self, words):
        """What is on the buses; with a bus and unit numbers, who answers there."""
        from firmware.services import scanning  # looking for devices is rare

        site = self._app.site
        if not words:
            return scanning.buses(site)
        self._need(OPERATE, "asking the units of a line")
        first, last = _whole(words[1:2], 1, 1, 247), _whole(words[2:3], 16, 1, 247)
        if not first <= last < first + _UNITS_MOST or len(words) > 3:
            raise PowerError("scan takes a bus, and units FIRST to LAST: at most %d of 1 to 247 at a time" % _UNITS_MOST)
        return scanning.begin(site, words[0], first, last, self._console.write)

    # ---- what moves power -------------------------------------------------------------------------------

    def charge(self, words) -> str:
        """To a state of charge, or with a power."""
        found = _measures(words, "charge", "power time soc")
        if "soc" in found or not found:
            if "power" in found or "time" in found:
                raise PowerError("charge takes a state of charge, or a power with a time: charge 80%, charge 20kW 30min")
            highest = self._pm.image.par[im.PAR_SOC_MAX] / 100
            return self._pm.start_charging(_some(found, "%", "charge", highest, "; `charge` alone goes as far as it may"))
        _needed(found, "charge")
        kw = _some(found, "kW", "charge", self._most(im.PAR_P_CHG), _HOLDS)
        return self._pm.set_constant_power(-kw, _minutes(found, "charge"))

    def discharge(self, words) -> str:
        """With a power, for a time."""
        found = _measures(words, "discharge", "power time")
        kw = _some(found, "kW", "discharge", self._most(im.PAR_P_DIS), _HOLDS)
        return self._pm.start_discharging(kw, _minutes(found, "discharge"))

    def emergency(self, _words) -> bool:
        """Whatever else somebody in need has typed behind it."""
        return self._pm.emergency_shutdown()

    def pause(self, words) -> str:
        """Hold 0 W, for a time or until `resume`."""
        return self._pm.stop_operation(_minutes(_measures(words, "pause", "time"), "pause"))

    def limit(self, words) -> str:
        """Bound discharge, charge or both."""
        if words == ["off"]:
            self._pm.limit(_OWNER)
            return "no limit of the console any more"
        given = {}
        rest = []
        words = list(words)
        while words:
            word = words.pop(0)
            if word not in _WAYS or not words:
                rest.append(word)
                continue
            if word in given:
                raise PowerError("limit: %s is there twice" % word)
            text = words.pop(0)
            if words and words[0].lower() in _UNITS:
                text += words.pop(0)
            most = self._most(_WAYS[word])
            kw = given[word] = _needed(_measures([text], "limit " + word, "power"), "limit")
            if kw > most:
                raise PowerError("limit %s %s: allowed are 0 to %s kW" % (word, text, most))
        if not given or rest[-1:] in (["charge"], ["discharge"]):
            raise PowerError("limit takes discharge POWER, charge POWER or both, and a time; or off: limit charge 5kW 1h")
        found = _measures(rest, "limit", "time")
        seconds = _some(found, "s", "limit", 86400, "; without a time it holds until `limit off`")
        self._pm.limit(_OWNER, given.get("discharge"), given.get("charge"), seconds)
        free = "" if len(given) == 2 else "; %s is not bound here" % ("charging" if "discharge" in given else "discharging")
        return "bound%s%s" % (" for %d s" % found["time"] if "time" in found else " until `limit off`", free)

    def schedule(self, words):
        """List, add or remove entries."""
        if not words:
            return self._schedule()
        self._need(OPERATE, "changing the schedule")
        if words[0] == "add" and len(words) > 2:
            number = self._pm.add_schedule(self._entry(words[1], words[2], words[3:]))
            why = why_none_starts(self._pm)
            return "entry %d%s" % (number, "; it does not start: " + why if why else "")
        if words[0] == "remove" and len(words) == 2 and words[1].isdigit():
            self._pm.delete_schedule(int(words[1]))
            return "removed"
        raise PowerError("schedule takes %s; e.g. schedule add 01:00 charge 40kW 4h mon tue" % _row("schedule")[1])

    def _schedule(self):
        for number, entry in self._pm.schedules():
            days = " ".join([day for i, day in enumerate(_DAYS) if entry.mask() >> i & 1])
            if entry.mask() == 127:
                days = "every day" if entry.repeat else "once"
            elif not entry.repeat:
                days += ", once"
            most = self._most(im.PAR_P_CHG if entry.power_setpoint < 0 else im.PAR_P_DIS)
            if abs(entry.power_setpoint) > most:  # of another site file
                days += ", of which the site allows %s kW" % most
            yield "%d: %02d:%02d %s, %s%s" % (
                number, entry.hour, entry.minute, operation(entry.mode, entry.power_setpoint, entry.duration_minutes),
                days, "" if entry.enabled else " (off)",
            )  # fmt: skip
        yield from self._console.names["upcoming"]()

    def _entry(self, start: str, what: str, words) -> ScheduleEntry:
        """An entry of the schedule as it is typed."""
        hour, _, minute = start.partition(":")
        modes = {"charge": Mode.CHARGE, "discharge": Mode.DISCHARGE, "idle": Mode.IDLE}
        if not (hour.isdigit() and minute.isdigit()) or what not in modes:
            raise PowerError("schedule add takes HH:MM, then charge, discharge or idle")
        days = 0
        measures = []
        for word in words:
            small = word.lower()
            if small in _DAYS:
                days |= 1 << _DAYS.index(small)
            elif word[0] in "0123456789.," or small in _UNITS:
                measures.append(word)
            else:
                text = "schedule add %s: a day (%s), or a number without sign and its unit is meant, as in 20kW or 4h"
                raise PowerError(text % (word, " ".join(_DAYS)))
        found = _measures(measures, "schedule add", "power time")
        minutes = _minutes(found, "schedule add", DAY_MINUTES)
        if not minutes:
            raise PowerError("schedule add: its time is missing, as in 4h")
        if what in _WAYS:
            power = _some(found, "kW", "schedule add " + what, self._most(_WAYS[what]), "; `idle` holds 0 W")
        else:
            power = 0.0
            if found.get("power"):
                raise PowerError("schedule add idle %s: `idle` holds 0 W" % found[" power"])
        return ScheduleEntry(
            hour=int(hour), minute=int(minute), mode=modes[what], power_setpoint=-power if what == "charge" else power,
            duration_minutes=minutes, days=days,
        )  # fmt: skip

    def _most(self, slot: int) -> float:
        """The site's own bound, kW."""
        return self._pm.image.par[slot] / 1000

    # ---- roles, the end ---------------------------------------------------------------------------------

    def login(self, words) -> str:
        """The role of a PIN."""
        if len(words) != 1:
            raise PowerError("login takes a PIN, without spaces")
        return self._console.lines.login(words[0])

    def logout(self) -> str:
        """Back to the role of who has not logged in."""
        self._console.lines.fall_back()
        return "the role is %s" % self._console.lines.name

    def pin(self, words) -> str:
        """Give a role another PIN, or none."""
        if len(words) != 2:
            raise PowerError("pin takes a role, view, operate or service, and its PIN without spaces, or off")
        self._console.store(self._console.lines.known().set_pin(words[0], words[1]))
        return "stored; it counts from `logout` on, or ten minutes behind the last key"

    def reboot(self) -> str:
        """Start the board again, in order."""
        sys.modules["machine"].reset()
        return "the board starts again in a moment: 0 W, contactors, reset"

    def leave(self) -> None:
        """End the program, in order."""
        self._app.leave()

    def _need(self, role: int, what: str) -> None:
        if self._console.lines.role < role:
            raise PowerError("%s needs the role %s, yours is %s: login PIN first" % (what, NAMES[role], self._console.lines.name))


def _is_word(word: str) -> bool:
    for row in TABLE:
        if row[0] == word:
            return True
    return False


def _row(word: str) -> tuple:
    for row in TABLE:
        if row[0] == word:
            return row
    raise PowerError(mistyped.not_a_command(word))


def _left(seconds) -> str:
    return "no end" if seconds is None else "%d s left" % seconds


def _whole(words, default: int, low: int, high: int) -> int:
    """The whole number that is the only word, or the default."""
    if not words:
        return default
    if len(words) > 1 or not words[0].isdigit() or not low <= int(words[0]) <= high:
        raise PowerError("%s: allowed is a whole number from %d to %d" % (" ".join(words), low, high))
    return int(words[0])


def _measures(words, command: str, kinds: str) -> dict:
    """Numbers with units, "20kW" or "20 kW", by what they are of: kW, s, %.  PowerError that names the word."""
    found: dict = {}  # behind a blank what was typed
    words = list(words)
    while words:
        word = words.pop(0)
        end = 0
        while end < len(word) and word[end] in "0123456789.,":
            end += 1
        unit = word[end:]
        if end and not unit and words and words[0].lower() in _UNITS:
            unit = words.pop(0)
        try:
            number = float(word[:end].replace(",", "."))
        except ValueError:
            raise PowerError("%s %s: a number without sign and its unit is meant, as in 20kW, 30min or 80%%" % (command, word))
        kind, scale = _UNITS.get(unit.lower(), ("", 1.0))
        if kind not in kinds.split(" ") or kind in found:
            allowed = ", ".join([_KINDS[kind] for kind in kinds.split(" ")])
            if not unit:
                unit = words[0] if words and words[0].isalpha() else ""
            what = "is there twice" if kind in found else "is no unit here"
            what = "%s %s" % (unit, what) if unit else "its unit is missing"
            raise PowerError("%s %s: %s: numbers in %s are meant, each once" % (command, word, what, allowed))
        found[kind] = number * scale
        found[" " + kind] = word[:end] + unit
    return found


def _some(found: dict, unit: str, command: str, most: float, instead: str) -> float:
    """What was typed in a unit, 0 where nothing was.

    PowerError for more than the most, and for a typed 0, which the manager takes as "all that is allowed": instead.
    """
    kind = _UNITS[unit.lower()][0]
    value = found.get(kind, 0.0)
    if kind in found and not 0 < value <= most:
        instead = "" if value else instead
        raise PowerError("%s %s: allowed are above 0 to %s %s%s" % (command, found[" " + kind], most, unit, instead))
    return value


def _needed(found: dict, command: str) -> float:
    if "power" not in found:
        raise PowerError("%s: its power is missing, as in 20kW" % command)
    return found["power"]


def _minutes(found: dict, command: str, most: int = rq.MINUTES_MAX) -> int:
    """The time in minutes, 0 for none.  PowerError where it is not a whole number of them, or more."""
    if "time" not in found:
        return 0
    seconds = int(found["time"] + 0.5)
    if seconds < 60 or seconds % 60 or seconds > most * 60:
        raise PowerError("%s %s: allowed are 1 to %d min, whole minutes" % (command, found[" time"], most))
    return seconds // 60
