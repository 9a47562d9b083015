"""What a line at the console can call that shows something: status(), why(), limits(), devices() and their like.

Generators make one line each; whoever prints them does so in pieces, and control goes on between them.
"""

from micropython import const

from firmware import image as im
from firmware import limits as limit_list
from firmware import reasons
from firmware.errors import in_range
from firmware.modes import Mode

# of PowerManager: what the application and the services use
_INTERNAL = const("clock_was_set cycle going_on halt instant note_end plan planned restore_emergency run_schedule start_again")

NO_CLOCK = "this site has no clock: its site file has no \"clock\" section"

_HELP = const("""\
`help` lists the commands.  Python: pm.start(), pm.set_constant_power(-20), save_site({...}) and so on;
help(pm): what pm can do; docs/console.md: all.  Names for a line:""")


def why_none_starts(pm) -> str:
    """Why no entry of the schedule starts by itself; "" where one may."""
    if pm.clock is None:
        return reasons.refused(pm) or NO_CLOCK
    if not pm.clock.is_set:
        return "the clock is not set: `clock YYYY-MM-DD HH:MM:SS` sets it"
    if not pm.scheduling_enabled:
        return "scheduling is off: pm.enable_scheduling(True)"
    if not pm.schedules():
        return "the schedule has no entry"
    return ""


def operation(mode: int, power_kw: float, minutes: int) -> str:
    """What an entry of the schedule does, in words; 0 kW of a charge or discharge is the most that may flow."""
    power = "" if mode == Mode.IDLE else " %s kW" % (power_kw or "most")
    return "%s%s %d min" % (Mode.name(mode), power, minutes)


def counted(counts) -> str:
    """Counters in words; what is empty says nothing."""
    if isinstance(counts, (list, tuple)):
        return " and ".join([counted(one) for one in counts])
    if not isinstance(counts, dict):
        return str(counts)
    found = []
    for name in sorted(counts):
        value = counted(counts[name])
        if value and counts[name] is not None:
            found.append("%s %s" % (name, "(%s)" % value if isinstance(counts[name], dict) else value))
    return ", ".join(found)


class Calls:
    """The application's state in people's words."""

    def __init__(self, app, console) -> None:
        """console: has names, store() and known_commands()."""
        self._app = app
        self._console = console

    def status(self):
        """What is, in a few lines: mode and reason, battery, limits, who asks, faults, the last trip and end."""
        pm = self._app.pm
        view = pm.instant()
        now = view.now
        yield reasons.why(view)
        yield "%s: inverter %s, grid %s (+ discharge, + import)" % (
            Mode.name(now[im.MODE]), _power(view.told[im.PCS_P]), _power(view.told[im.METER_P]),
        )  # fmt: skip
        age = now[im.AGE + im.SEQ_BMS]
        yield "battery%s: SoC %s, %s, %s, %s" % (
            " %d s ago" % (age // 1000) if view.par[im.PAR_STALE_BMS] < age < im.AGE_NEVER else "",
            _scaled(now[im.SOC], 100, "%"), _scaled(now[im.BMS_V], 10, "V"), _scaled(now[im.BMS_I], 10, "A"),
            _scaled(now[im.BMS_TEMP], 10, "degC"),
        )  # fmt: skip
        for bank in view.banks:
            yield "bank %s: SoC %s, %s" % (bank.name, _scaled(bank.now[im.SOC], 100, "%"), reasons.of_bank(bank))
        for charge, way in enumerate(("discharge", "charge")):
            row = limit_list.NAMES[now[im.WHY_DIS + charge]]
            yield "%s: at most %s, by %s" % (way, reasons.kw(now[im.LIMIT_DIS + charge]), row)
        if pm.is_local:
            yield "control: local, no EMS has it"
        yield from reasons.waiting(view)
        for fault in pm.faults():
            if fault["active"] or "latched" in fault:
                yield "%s: %s%s" % (fault["severity"], fault["name"], ", " + fault["detail"] if "detail" in fault else "")
        for title, text in (("last trip: ", reasons.last_trip(view)), ("", reasons.last_end(view))):
            if text:
                yield title + text
        app = self._app
        records = app.services.get("records")
        if records is not None and records.records.failing:
            yield "storage: " + records.records.failing
        site = "no site: %s is refused" % app.path if pm.refused else "site %s, in %s" % (app.site.name, app.path)
        yield "%s; firmware %s" % (site, getattr(app, "generation", "of its sources"))
        if getattr(app, "news", ""):  # who comes later has not read the lines of boot
            yield "update: " + app.news

    def why(self):
        """Why the power is what it is: the reason, what waits and for what, and what silent devices say of themselves."""
        view = self._app.pm.instant()
        yield reasons.why(view)
        yield from reasons.waiting(view)
        trip = reasons.last_trip(view)
        if trip:
            yield "last trip: " + trip
        site = self._app.site
        for name in reasons.silent(view):
            counts = site.devices[name].counters() if name in site.devices else {}
            for key in ("last_error", "note"):
                if counts.get(key):
                    yield "%s: %s" % (name, counts[key])

    def limits(self):
        """Every limit, a line each: name, discharge kW, charge kW; "-" where it limits nothing."""
        yield "%-16s %10s %10s" % ("at most, kW", "discharge", "charge")
        for name, discharge, charge in limit_list.published(self._app.pm.image):
            yield "%-16s %10s %10s" % (name, _kw(discharge), _kw(charge))

    def devices(self) -> dict:
        """The counters of every device and bus."""
        site = self._app.site
        return {name: box.counters() for group in (site.buses, site.devices) for name, box in group.items()}

    def services(self):
        """Every service, a line each: its counters, how often it was started again, why it was stopped."""
        app = self._app
        for name, service in app.services.items():
            again = ", started again %d times" % app.restarts[name] if name in app.restarts else ""
            yield "%s: %s%s" % (name, counted(service.counters()), again)
        for name, why in app.stopped.items():
            yield "%s: %s" % (name, why)

    def upcoming(self, n: int = 5):
        """What starts next, as pm.upcoming(n) tells it, a line each and made one by one; or why nothing does."""
        pm = self._app.pm
        in_range("n", n, 1, 100, "", int)
        why = why_none_starts(pm)
        if why:
            yield "nothing starts: " + why
            return
        starts = pm.planned.starts(pm.clock)
        for _ in range(n):
            with pm.plan_lock:
                start = next(starts, None)
            if start is None:
                return
            yield "%s  %d: %s" % (start["start"], start["id"], operation(start["mode"], start["power_kw"], start["minutes"]))

    def save_site(self, content) -> None:
        """Make a site, a dict or JSON text, the one of the next start.

        ConfigError lists all that is wrong with it, and nothing was saved.
        """
        self._console.store(self._app.saving(content))

    def restore_site(self) -> None:
        """Make the version of site.json before the present one that of the next start again."""
        self._console.store(self._app.restoring())

    def help(self, thing=None):
        """What lines of Python look like, and the names that one can use; or the names of a thing."""
        names = self._console.names
        if thing is self._app.pm:
            names = callable_of(thing)
        elif thing is not None:
            names = names_of(thing)
        else:
            yield _HELP
        yield ", ".join(sorted([name for name in names if name[0] != "_"]))


def _kw(watts: int) -> str:
    return "-" if watts == im.FREE else "%.1f" % (watts / 1000)


def _power(watts: int) -> str:
    return "not measured" if watts == im.NO_VALUE else reasons.kw(watts)


def _scaled(value: int, parts: int, unit: str) -> str:
    return "not measured" if value == im.NO_VALUE else "%.1f %s" % (value / parts, unit)


def callable_of(pm) -> set:
    """What a person may call or ask pm for."""
    return names_of(pm, False) - set(_INTERNAL.split(" "))


def names_of(thing, own: bool = True) -> set:
    """As the built-in dir() says, which asks every property for its value: one may load a module, and all take 40 ms.

    own: with what is this one's alone, beside what its class has.
    """
    names = set(getattr(thing, "__dict__", ()) if own else ())
    kinds = [type(thing)]
    for kind in kinds:
        names.update(getattr(kind, "__dict__", ()))
        kinds += kind.__bases__
    return names
