"""The grid operator's relays: contacts that limit what the site takes from the grid or gives to it (German 14a and 9 style).

Each input is a pin of the board or a discrete input of an I/O module on Modbus.  While it is active it bounds import, export
or both, in kW or in percent of a rating; of several the smallest holds.  What is bounded is the exchange with the grid: what
the site's own surplus charges is no import, what its load takes of a discharge no export.  An input that is not known (not yet
steady or no longer, its module silent, none of several active of which one always is) counts as active, or as fail_safe says.
"""

import asyncio
import time

from machine import Pin
from micropython import const

from firmware import config
from firmware import image as im
from firmware.devices.connection import CONNECTION_OPTIONS
from firmware.errors import ConfigError, PowerError

_OWN_OPTIONS = (
    ("inputs", "any", "REQUIRED", 0, 0, "1 to 4 inputs by name, each with what it limits"),
    ("import_rated_kw", "float", 0.0, 0, 1000, "kW that import_percent is of; 0: max_charge_power"),
    ("export_rated_kw", "float", 0.0, 0, 1000, "kW that export_percent is of; 0: max_grid_export_power"),
    ("fail_safe_import_kw", "float", -1.0, -1, 1000, "kW while an input that limits import is unknown; -1: as if it were active"),
    ("fail_safe_export_kw", "float", -1.0, -1, 1000, "kW while an input that limits export is unknown; -1: as if it were active"),
    ("one_active", ("none", "import", "export"), "none", 0, 0, "of the inputs that limit this, one always is: none is unknown"),
    ("debounce_ms", "int", 100, 0, 10000, "ms that a change must last to count"),
    ("poll_ms", "int", 500, 100, 10000, "ms between two reads of the I/O module"),
    ("lost_ms", "int", 3000, 500, 60000, "ms after which a silent module's inputs are unknown"),
    ("coils", "bool", False, 0, 0, "the module has its inputs as coils (function 1)"),
)
OPTIONS = (CONNECTION_OPTIONS, _OWN_OPTIONS)
INPUT_OPTIONS = (
    ("input_pin", "int", -1, -1, 48, "GPIO; -1: an input of the I/O module"),
    ("bit", "int", -1, -1, 65535, "address of the module's discrete input; -1: a pin"),
    ("contact", ("closes", "opens"), "closes", 0, 0, "what the contact does when the operator limits"),
    ("closed_level", "int", 0, 0, 1, "level of the pin while the contact is closed"),
    ("pull", ("up", "down", "none"), "up", 0, 0, "pull resistor of the chip; none: on the board"),
    ("import_kw", "float", -1.0, -1, 1000, "kW from the grid at most while it is active; -1: not bounded"),
    ("import_percent", "float", -1.0, -1, 100, "% of import_rated_kw, instead"),
    ("export_kw", "float", -1.0, -1, 1000, "kW to the grid at most; -1: not bounded"),
    ("export_percent", "float", -1.0, -1, 100, "% of export_rated_kw, instead"),
)
HEAP_BYTES = 14400

_STEP_MS = const(50)
_LATE_MS = const(200)  # a step that comes later was held up: what nobody could look at has not stood still
_RESTLESS_MS = const(5000)  # beyond the debounce time: who has not stood still for so long is not known
_RENEW_MS = const(1000)  # a limit that becomes larger waits so long for the next look
_TELL_MS = const(30000)  # between two lines of the journal: a contact that flutters does not fill it; but
_STANDS_MS = const(5000)  # a state that has lasted so long has its line as soon as that,
_SPARE = const(10)  # so often, and once more with every _TELL_MS
_ANY_W = const(1000000)  # no limit, of an owner that keeps its place among those who limit
_LONG_MS = const(0x3FFFFFFF)
_MOST = const(4)
_SPAN = const(125)  # bits of the module that lie apart at most: they are read at once
_UNKNOWN = const(-1)
_NOT_READ = const(255)  # of a bit: whatever is read next is another
_STEP_W = const(100)  # of what the site takes or has over: with every watt of it there would be another limit
_LONGEST = const(64)  # characters of an owner


def check_options(where: str, options: dict, errors: list) -> None:
    """Add to `errors` what is wrong with the inputs, and with the connection to their module."""
    if "inputs" not in options:
        return  # that it is missing was said
    given = options["inputs"]
    if not isinstance(given, dict) or not 1 <= len(given) <= _MOST:
        errors.append("%s.inputs = %.60r: must be an object of 1 to %d inputs by name" % (where, given, _MOST))
        return
    before = len(errors)
    bits = [found["bit"] for found in _inputs(where, given, errors) if found["bit"] >= 0]
    host, bus = options.get("host", ""), options.get("bus", "")
    reached = bool(host) + bool(bus)
    if bits and reached != 1:
        errors.append("%s: host = %r, bus = %r: give one, its inputs are a module's" % (where, host, bus))
    elif reached and not bits and len(errors) == before:
        errors.append("%s: host or bus is given, and no input has a bit" % where)
    elif bits and max(bits) - min(bits) >= _SPAN:
        errors.append("%s: bits %d and %d: must lie within %d" % (where, min(bits), max(bits), _SPAN))
    if bits:
        _check_lost(where, options, errors)
    from firmware.devices import connection  # here: whoever runs does not need it any more, see firmware/loading.py

    connection.check(where, options, errors)


def _check_lost(where: str, options: dict, errors: list) -> None:
    """A module that answers is never lost between two reads, nor by one answer that is late."""
    poll, lost = options.get("poll_ms", 0), options.get("lost_ms", _LONG_MS)
    timeout = options.get("timeout_ms", 0) if options.get("host") else 0  # a bus has its own
    least = poll + max(poll, timeout)
    if lost < least:
        text = "%s.lost_ms = %d: must be at least %d ms with poll_ms = %d: that and as much again%s"
        errors.append(text % (where, lost, least, poll, ", or timeout_ms = %d if that is more" % timeout if timeout else ""))


def _inputs(where: str, given: dict, errors: list) -> list:
    """The inputs' options, those that are good; what is wrong goes to `errors`."""
    good = []
    for name in sorted(given):
        at = "%s.inputs.%s" % (where, name)
        before = len(errors)
        found = config.check(INPUT_OPTIONS, given[name], at, errors)
        if len(errors) > before:
            continue
        if (found["input_pin"] < 0) == (found["bit"] < 0):
            errors.append("%s: input_pin = %d, bit = %d: give one of the two" % (at, found["input_pin"], found["bit"]))
        away = "up" if found["closed_level"] == 0 else "down"
        if found["pull"] not in (away, "none"):
            text = "%s.pull: %r would close an open contact with level %d; allowed: %r, 'none'"
            errors.append(text % (at, found["pull"], found["closed_level"], away))
        for way in ("import", "export"):
            if found[way + "_kw"] >= 0 and found[way + "_percent"] >= 0:
                errors.append("%s: %s_kw and %s_percent: give one of the two" % (at, way, way))
        if max(found["import_kw"], found["import_percent"], found["export_kw"], found["export_percent"]) < 0:
            errors.append("%s: limits nothing; give import_kw, import_percent, export_kw or export_percent" % at)
        if len(errors) == before:
            found["name"] = name
            good.append(found)
    return good


class Input:
    """One contact: whether it is active, once it has been steady for the debounce time."""

    def __init__(self, options: dict, import_rated_kw: float, export_rated_kw: float) -> None:
        self.name = options["name"]
        self.import_w = _watts(options["import_kw"], options["import_percent"], import_rated_kw)
        self.export_w = _watts(options["export_kw"], options["export_percent"], export_rated_kw)
        self.bit = options["bit"]
        self.state = _UNKNOWN
        self.changes = 0
        self.told = _UNKNOWN  # the state that the journal has
        self.untold = 0  # changes that it has not
        self.stood_ms = 0  # since the last change
        self._active = 1 if options["contact"] == "closes" else 0  # of "closed"
        self._closed_level = options["closed_level"]
        self._pin = None if self.bit >= 0 else _pin(options)
        self._candidate = _UNKNOWN
        self._candidate_ms = 0
        self._restless_ms = 0  # since it was steady
        self._gap_ms = 0  # since the module was read

    def read(self, bits, first: int, dt_ms: int, debounce_ms: int) -> bool:
        """Look at the pin, or at what the module said of its inputs from the first on; True: it has changed.

        bits: None: the module is silent; none of them: it has said nothing since the last look, which steadies nothing.
        """
        before = self.state
        if self._pin is not None:
            closed = 1 if self._pin.value() == self._closed_level else 0
        elif bits is None:
            self.state = self._candidate = _UNKNOWN
            self._gap_ms = 0
            return before != _UNKNOWN
        elif not bits:
            self._gap_ms += dt_ms
            return False
        else:
            closed = bits[self.bit - first]
            dt_ms += self._gap_ms
            self._gap_ms = 0
        active = 1 if closed == self._active else 0
        if active != self._candidate:
            self._candidate = active
            self._candidate_ms = 0
        elif self._candidate_ms < debounce_ms:
            self._candidate_ms += dt_ms
        if self._candidate_ms < debounce_ms:
            self._restless_ms += dt_ms
            if self._restless_ms >= debounce_ms + _RESTLESS_MS:
                self._restless_ms = 0
                self.state = _UNKNOWN
        else:
            self._restless_ms = 0
            if self.state != active:
                self.state = active
                self.changes += 1
        return before != self.state


def _pin(options: dict):
    if options["pull"] == "none":
        return Pin(options["input_pin"], Pin.IN)
    return Pin(options["input_pin"], Pin.IN, Pin.PULL_UP if options["pull"] == "up" else Pin.PULL_DOWN)


def _watts(kw: float, percent: float, rated_kw: float) -> int:
    if percent >= 0:
        kw = percent * rated_kw / 100
    return im.FREE if kw < 0 else int(kw * 1000 + 0.5)


class Service:
    """The relays of a site.  The limits have no lifetime: whatever becomes of this service, the last ones hold."""

    def __init__(self, name: str, options: dict, pm, app) -> None:
        """ConfigError for a bus that is not there; what the inputs bound at most is in force from here on."""
        self._pm = pm
        self._now = pm.image.now
        self._has_meter = pm.image.par[im.PAR_HAS] & im.HAS_METER
        self._name = self._owner = name
        self._called = name  # the same, with what binds: the reason that people read
        self._import_safe_w = _watts(options["fail_safe_import_kw"], -1, 0)
        self._export_safe_w = _watts(options["fail_safe_export_kw"], -1, 0)
        self._one_active = options["one_active"]
        self._debounce_ms = options["debounce_ms"]
        import_kw = options["import_rated_kw"] or pm.config.max_charge_power
        export_kw = options["export_rated_kw"] or pm.config.max_grid_export_power
        self.inputs = [Input(one, import_kw, export_kw) for one in _inputs("services." + name, options["inputs"], [])]
        records = app.services.get("records")
        self._records = None if records is None else records.records
        self._told_ms = _TELL_MS  # since the last line of the journal
        self._spare = _SPARE  # lines that may follow each other sooner
        self._spare_ms = 0  # since there was one more of them
        self._given_dis = self._given_chg = -1
        self._given_ms = 0
        self._left = ""  # an owner that we had, and whose limit may still be there
        self._is_named = False  # `_called` says what binds
        self.short = 0  # looks that the heap was too small for
        self.import_w = self.export_w = im.FREE  # of the exchange with the grid
        self._bound()
        self._call()
        self._limit()
        self._module = None
        self.parts = {}
        if any(one.bit >= 0 for one in self.inputs):
            try:
                self._module = _Module(name, options, self.inputs, app.site.buses)
            except ValueError as error:
                raise ConfigError(["services.%s: %s" % (name, error)])
            self.parts[name + "_module"] = self._module

    async def run(self) -> None:
        """Look every 50 ms for ever."""
        last = time.ticks_ms()
        while True:
            now = time.ticks_ms()
            try:
                self.look(max(0, min(time.ticks_diff(now, last), _LATE_MS)))
            except MemoryError:  # what this look could not do the next one does: it does not wait for a restart
                self.short += 1
            last = now
            await asyncio.sleep_ms(_STEP_MS)

    def look(self, dt_ms: int) -> None:
        """Read the inputs, bound the power by them, and keep in the journal what has changed."""
        module = self._module
        bits = None if module is None else module.known(dt_ms)
        first = 0 if module is None else module.first
        moved = False
        for one in self.inputs:
            one.stood_ms = min(one.stood_ms + dt_ms, _LONG_MS)
            if one.read(bits, first, dt_ms, self._debounce_ms):
                moved = True
                one.stood_ms = 0
                one.untold += 1
        if moved:
            self._bound()
        self._given_ms = min(self._given_ms + dt_ms, _LONG_MS)
        self._limit()
        if not self._is_named:
            self._call()
        if self._records is not None:
            self._journal(dt_ms)

    def _bound(self) -> None:
        """What the inputs, as they are now, allow at the grid.  Needs no heap."""
        self.import_w = self._least(True)
        self.export_w = self._least(False)
        self._is_named = False

    def _call(self) -> None:
        """The reason that people read."""
        binding = [one.name + ("" if one.state == 1 else " unknown") for one in self.inputs if one.state]
        self._called = ("%s: %s" % (self._name, ", ".join(binding)) if binding else self._name)[:_LONGEST]
        if not binding and (self.import_w != im.FREE or self.export_w != im.FREE):
            self._called = ("%s: none is active" % self._name)[:_LONGEST]
        self._is_named = True

    def _limit(self) -> None:
        """Give the manager what that leaves of the battery's power: less at once, more within a second."""
        now = self._now
        charge = self.import_w
        if charge != im.FREE and now[im.NET_HIGH] != im.NO_VALUE and now[im.NET_HIGH] < 0:
            charge += -now[im.NET_HIGH] // _STEP_W * _STEP_W  # the surplus is not taken from the grid
        discharge = self.export_w
        if discharge != im.FREE and self._has_meter:
            net = now[im.NET_LOW]
            # the site's own need is not given to the grid
            discharge = 0 if net == im.NO_VALUE else max(0, discharge + net // _STEP_W * _STEP_W)
        less = discharge < self._given_dis or charge < self._given_chg
        if less or (self._given_ms >= _RENEW_MS and (discharge != self._given_dis or charge != self._given_chg)):
            self._give(discharge, charge)
            self._given_ms = 0
        elif self._left or self._called != self._owner or self._given_dis < 0:
            self._give(discharge if self._given_dis < 0 else self._given_dis, charge if self._given_chg < 0 else self._given_chg)

    def _give(self, discharge: int, charge: int) -> None:
        """The new limit first: whatever happens between the two, there is one.  Noted is what has been given, no sooner."""
        called = self._owner if self._left else self._called
        try:
            self._pm.limit(called, min(discharge, _ANY_W) / 1000, min(charge, _ANY_W) / 1000)
        except PowerError:  # no place for another name: the one that it has
            called = self._called = self._owner
            self._pm.limit(called, min(discharge, _ANY_W) / 1000, min(charge, _ANY_W) / 1000)
        self._given_dis = discharge
        self._given_chg = charge
        if called != self._owner:
            self._left = self._owner
            self._owner = called
        if self._left:
            self._pm.limit(self._left)
            self._left = ""

    def _least(self, of_import: bool) -> int:
        """W that the inputs allow in this direction, image.FREE: any."""
        least = im.FREE
        unknown = False
        active = False
        way = "import" if of_import else "export"
        for one in self.inputs:
            watts = one.import_w if of_import else one.export_w
            if watts == im.FREE:
                continue
            if one.state == _UNKNOWN:
                unknown = True
            elif one.state:
                active = True
                least = min(least, watts)
        nobody = self._one_active == way and not active
        if not unknown and not nobody:
            return least
        safe = self._import_safe_w if of_import else self._export_safe_w
        if safe != im.FREE:
            return min(least, safe)
        for one in self.inputs:
            if nobody or one.state == _UNKNOWN:
                least = min(least, one.import_w if of_import else one.export_w)
        return least

    def _journal(self, dt_ms: int) -> None:
        """A line if one is due: at once where there was none for long, else of what stands, while there are lines to spare."""
        self._told_ms = min(self._told_ms + dt_ms, _LONG_MS)
        self._spare_ms += dt_ms
        if self._spare_ms >= _TELL_MS:
            self._spare_ms = 0
            self._spare = min(self._spare + 1, _SPARE)
        if self._told_ms >= _TELL_MS:
            self._tell(0)
        elif self._spare and self._told_ms >= _STANDS_MS:
            self._tell(_STANDS_MS)

    def _tell(self, least_ms: int) -> None:
        """The new state of the input that has it longest; where there is none, how often one has changed without a line."""
        found = None
        for one in self.inputs:
            if one.state != one.told and one.stood_ms >= least_ms and (found is None or one.stood_ms > found.stood_ms):
                found = one
        if found is not None:
            self._records.log(self._pm.clock, "RELAY " + found.name, found.state)
            found.told = found.state
            found.untold -= 1
        else:
            for one in self.inputs:
                if not least_ms and one.untold and one.state == one.told:
                    found = one
            if found is None:
                return
            self._records.log(self._pm.clock, "RELAY %s changes" % found.name, found.untold)
            found.untold = 0
        self._told_ms = 0
        self._spare = max(0, self._spare - 1)

    def stop(self) -> None:
        """Nobody looks any more: the inputs are unknown."""
        for one in self.inputs:
            one.state = _UNKNOWN
        self._given_ms = _RENEW_MS
        self._bound()
        self._limit()
        self._call()
        self._limit()

    def counters(self) -> dict:
        """Each input's state and changes, the bounds in force, and how the module answers."""
        found: dict = {one.name: ("unknown", "rests", "active")[one.state + 1] for one in self.inputs}
        found["changes"] = sum([one.changes for one in self.inputs])
        found["import_kw"] = _kw(self.import_w)
        found["export_kw"] = _kw(self.export_w)
        if self.short:
            found["short_of_heap"] = self.short
        if self._module is not None:
            found.update(self._module.unit.count.as_dict())
        return found


def _kw(watts: int) -> "float | None":
    return None if watts == im.FREE else watts / 1000


class _Module:
    """The I/O module: its inputs as they were read last, until it has been silent for too long."""

    def __init__(self, name: str, options: dict, inputs: list, buses: dict) -> None:
        from firmware.devices import connection
        from firmware.devices.modbus_unit import ModbusUnit  # a site with pins only leaves these in flash
        from modbus import ModbusError, rarer

        bits = [one.bit for one in inputs if one.bit >= 0]
        self.first = min(bits)
        self._count = max(bits) - self.first + 1
        self.unit = ModbusUnit(connection.open_client(name, options, buses, (self._count + 15) // 16 + 1), options["unit"])
        self._read_bits = rarer.read_bits
        self._error = ModbusError
        self._function = 1 if options["coils"] else 2
        self._poll_ms = options["poll_ms"]
        self._lost_ms = options["lost_ms"]
        self._again_ms = min(self._poll_ms, options["debounce_ms"] + _STEP_MS)  # after a read that says something else
        self._silent_ms = self._lost_ms
        self._bits = bytearray(self._count)
        self._before = bytearray(self._count)  # as it was read before
        self._before[0] = _NOT_READ
        self._is_new = False

    def known(self, dt_ms: int):
        """The bits, from the first on, each read of them once: b"" until the next one; None while it is silent."""
        self._silent_ms = min(self._silent_ms + dt_ms, self._lost_ms)
        if self._silent_ms >= self._lost_ms:
            return None
        is_new, self._is_new = self._is_new, False
        return self._bits if is_new else b""

    async def run(self) -> None:
        """Ask for ever."""
        unit = self.unit
        while True:
            unit.count.frames += 1
            pause_ms = self._poll_ms
            try:
                await self._read_bits(unit.client, unit.number, self.first, self._count, self._bits, self._function)
                self._silent_ms = 0
                self._is_new = True
                if self._bits != self._before:
                    self._before[:] = self._bits
                    pause_ms = self._again_ms
            except self._error as error:
                unit.note(error)
                self._before[0] = _NOT_READ
            await asyncio.sleep_ms(pause_ms)
