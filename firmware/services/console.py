"""The console on USB serial: one Python line at a time with `pm` in scope, events and a monitor, while control goes on.

A line is evaluated and answered with `= value` or `! Error: text`.  Whatever is printed is made in pieces, as many a turn
of the loop as a few milliseconds take, into a buffer that is sent at the port's pace.  In a heap that fills up the
monitor rests first, then lines are refused; the emergency needs no heap.
"""

import asyncio
import gc
import json
import time

import notice
from micropython import const
from timelimit import TimeLimit

import firmware
from firmware import image as im
from firmware import limits as limit_list
from firmware import reasons
from firmware.errors import in_range
from firmware.event_codes import Event
from firmware.events import Cursor
from firmware.services import monitor
from firmware.services.answers import ANSWER_MAX, GENERATOR, PIECE_MAX, answer, slices
from firmware.services.port import Port
from firmware.services.terminal import LINE_MAX, Terminal

OPTIONS = ()
HEAP_BYTES = 20000
_POLL_MS = const(10)
_SLICE_US = const(4000)  # of writing in one turn of the loop
_AHEAD = const(8)  # lines that may wait while one is answered
_NOTES_MAX = const(2048)  # characters of other people's lines that may wait; more is dropped and counted
_SPACE = const(640)  # bytes: a piece, at four bytes a character, and what ends a line
_RESERVE = const(1280)  # bytes in one place, and three of them, for the line that is asked next: a full heap has no large one
_PLENTY = const(16384)  # bytes free after the last collection: a line needs no reserve
_RETRY_MS = const(1000)  # a reserve that cannot be had costs a collection: not more often than this
_LINE_MS = const(2000)  # what a line may take: control waits meanwhile
_EMERGENCY = (b"pm.emergency_shutdown()", b"emergency_shutdown()", b"emergency()", b"emergency")
# of PowerManager: what the application and the services use
_INTERNAL = "clock_was_set cycle going_on halt instant note_end plan planned restore_emergency run_schedule start_again"

_DONE = "= None"
_STORED = "= True"  # what emergency_shutdown() says: a reset brings it back
_NOT_STORED = "= False"
_TOO_LONG = "! ValueError: the line has more than %d bytes: allowed are 1 to %d; nothing of it was run" % (LINE_MAX, LINE_MAX)
_NO_MEMORY = "! MemoryError: the heap is full; emergency_shutdown() always works"
_HELP = """\
pm.start()  pm.stop()             ready to move power; 0 W, contactors open
pm.set_constant_power(-20)        charge at 20 kW; + is discharge
pm.start_charging(80)             to 80 %; pm.start_discharging(20, 60): 20 kW for 60 min
pm.stop_operation()  pm.resume()  hold 0 W; go on
status()  why()                   what is, and why, in words
limits()  pm.faults()  pm.claims()  devices()  services()  pm.stats()
monitor(500)                      a line every 500 ms; monitor(0) ends it
emergency                         0 W at once, latched; pm.reset_emergency()
leave()                           0 W, contactors open, then the ordinary prompt
help(pm)                          all that pm can do; all is in docs/console.md"""
_INTERRUPTED = "! Interrupted: the line ran for more than %d ms, and control has to go on"
_RESTS = "console: the heap is full, the monitor rests"
_END = "\r\n"

_CALLABLES = (type(Event.name), type(Terminal.take), type(len), type([].append), type(slices))  # what brackets are forgotten of

# what is being written
_NOTHING = const(0)
_ANSWER = const(1)
_MONITOR = const(2)  # held back until it is whole


class Service:
    """Reads lines, evaluates them, writes answers, events and monitor lines."""

    def __init__(self, name: str, options: dict, pm, app, port=None) -> None:
        """port: see port.Port; None is the board's own."""
        self._app = app
        self._terminal = Terminal(port or Port())
        self.limit = TimeLimit(_LINE_MS, app.pm.image.lock)  # of a line; the application's timer calls its check
        self._parts = (self._read, self._write, self._terminal.drain)
        self._typed: list = [None] * _AHEAD  # lines to evaluate (bytes), and answers that are known already (str)
        self._n_typed = 0
        self._notes: list = []
        self._notes_length = 0
        self._kind = _NOTHING
        self._pieces = None  # the generator that makes them
        self._written = 0  # characters of them
        self._behind = ""  # what must follow even if they are cut
        self._answer = None  # the pieces of the next answer, while what its line has printed goes first
        self._answer_behind = ""
        self._events = Cursor(app.pm.events.total)
        self._event_waits = False  # the one in the cursor is still to be printed
        self._monitor_ms = 0
        self._monitor_at = 0
        self._monitor_rests = False
        self._answers_turn = False  # a typed line goes before a monitor line that is due
        self._reserve = None
        self._reserve_at = time.ticks_ms()
        self.dropped = 0  # lines for people and of the monitor that were not written
        self._storing = None  # the steps of what a line has stored, and which its answer waits for
        self.stores = 0  # such steps so far: each may erase flash
        self.starved = 0  # times that the heap had nothing for the console
        notice.sink = self.write
        self.on_beat = self.limit.check  # whoever keeps control from its beat for too long here is interrupted
        self.names = app.names
        self.names.update({name: getattr(firmware, name) for name in dir(firmware) if "A" <= name[0] <= "Z"})
        self.names.update({"pm": app.pm, "app": app})
        self.names.update({"emergency": app.pm.emergency_shutdown, "emergency_shutdown": app.pm.emergency_shutdown})
        self.names.update({"true": True, "false": False, "null": None})  # a pasted site is JSON
        for command in (
            self.status, self.why, self.monitor, self.limits, self.devices, self.services, self.upcoming, self.save_site,
            self.restore_site, self.print, self.help, self.dir,
        ):  # fmt: skip
            self.names[command.__name__] = command
        self._keep_reserve()  # at boot, while there are pieces that large

    # ---- commands ---------------------------------------------------------------------------------------

    def status(self):
        """What is, in a few lines: mode and reason, battery, limits, who asks, faults, the last trip and end."""
        pm = self._app.pm
        view = pm.instant()
        now = view.now
        yield reasons.why(view)
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
        yield from reasons.waiting(view)
        for fault in pm.faults():
            if fault["active"] or "latched" in fault:
                yield "%s: %s%s" % (fault["severity"], fault["name"], ", " + fault["detail"] if "detail" in fault else "")
        for title, text in (("last trip: ", reasons.last_trip(view)), ("", reasons.last_end(view))):
            if text:
                yield title + text

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

    def monitor(self, ms: int) -> None:
        """Print the state as one JSON line every ms (100 to 60000); 0 ends it."""
        whole = isinstance(ms, int) and not isinstance(ms, bool)
        if not whole or (ms and not 100 <= ms <= 60000):
            raise (firmware.PowerError if whole else ValueError)("ms = %r: allowed are 0 (off) and 100 to 60000 ms" % (ms,))
        self._monitor_ms = ms
        self._monitor_at = time.ticks_ms()

    def limits(self):
        """Every limit, a line each: name, discharge kW, charge kW."""
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
            yield "%s: %r%s" % (name, service.counters(), again)
        for name, why in app.stopped.items():
            yield "%s: %s" % (name, why)

    def upcoming(self, n: int = 5):
        """As pm.upcoming(n), made one by one: a line each."""
        pm = self._app.pm
        in_range("n", n, 1, 100, "", int)
        if pm.planned is None or pm.clock is None:
            return
        starts = pm.planned.starts(pm.clock)
        for _ in range(n):
            with pm.plan_lock:
                start = next(starts, None)
            if start is None:
                return
            yield repr(start)

    def save_site(self, content) -> None:
        """Make a site, a dict or JSON text, the one of the next start.

        ConfigError lists all that is wrong with it, and nothing was saved.
        """
        if isinstance(content, str):
            try:
                content = json.loads(content)
            except ValueError as error:
                raise firmware.ConfigError(["the text is no JSON: %s" % error])
        self._store_later(self._app.saving(content))

    def restore_site(self) -> None:
        """Make the version of site.json before the present one that of the next start again."""
        self._store_later(self._app.restoring())

    def _store_later(self, steps) -> None:
        """What one line stores behind another is stored in that order."""
        while self._storing is not None:
            self._store()
        self._storing = steps

    def print(self, *values) -> None:
        """Print values, as the built-in does, without holding the loop until the port has taken them."""
        self.write(" ".join([str(value) for value in values]))

    def help(self, thing=None):
        """The commands, and the names that a line can use; or the names of a thing."""
        names = self.names
        if thing is self._app.pm:
            names = self._calls()
        elif thing is not None:
            names = _names_of(thing)
        else:
            yield _HELP
        yield ", ".join(sorted([name for name in names if name[0] != "_"]))

    def _calls(self) -> set:
        """What a person may call or ask pm for."""
        return _names_of(self._app.pm, False) - set(_INTERNAL.split(" "))

    def dir(self, *thing) -> list:
        """The names of a thing, or those that a line can use: as the built-in, which asks every property for its value."""
        return sorted(_names_of(thing[0]) if thing else self.names)

    def write(self, text: str) -> None:
        """Queue a line for people.  Never raises: who has something to say is not to be hurt by it."""
        if self._notes_length + len(text) > _NOTES_MAX:
            self.dropped += 1
            return
        try:
            self._notes.append(text)
        except MemoryError:
            self.dropped += 1
        else:
            self._notes_length += len(text)

    def counters(self) -> dict:
        """Lines that were not written, times that the heap had nothing for the console, steps of saves."""
        return {"dropped": self.dropped, "starved": self.starved, "stores": self.stores}

    # ---- the loop ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """For ever: input, output, events, monitor."""
        while True:
            self.turn()
            await asyncio.sleep_ms(_POLL_MS)

    def turn(self) -> None:
        """One turn of the loop: some milliseconds of work at most, a line's own evaluation apart."""
        for part in self._parts:
            try:
                part()
            except MemoryError:
                self._starve()

    def _read(self) -> None:
        terminal = self._terminal
        while self._n_typed < _AHEAD and terminal.read():
            if self._is_emergency():
                terminal.clear()
                self._emergency()
            else:
                self._keep_line()

    def _is_emergency(self) -> bool:
        for i in range(len(_EMERGENCY)):
            if self._terminal.says(_EMERGENCY[i]):
                return True
        return False

    def _emergency(self) -> None:
        """The one line that is not compiled, and that waits for no other: it works in a heap that is full."""
        try:
            try:
                stored = self._app.pm.emergency_shutdown()
            except MemoryError:
                self._reserve = None
                gc.collect()
                stored = self._app.pm.emergency_shutdown()
            entry = _STORED if stored else _NOT_STORED
        except Exception as error:
            entry = "! %s: %s" % (type(error).__name__, error)
        self._typed[self._n_typed] = entry
        self._n_typed += 1

    def _keep_line(self) -> None:
        try:
            line = self._terminal.take()
        except MemoryError:
            self._starve()
            try:
                line = self._terminal.take()
            except MemoryError:
                self._terminal.clear()
                line = _NO_MEMORY
        self._typed[self._n_typed] = _TOO_LONG if line is None else line
        self._n_typed += 1

    def _write(self) -> None:
        """Write for a slice of time, or until there is nothing to write or no space for it."""
        started = time.ticks_us()
        while self._step() and time.ticks_diff(time.ticks_us(), started) < _SLICE_US:
            pass

    def _step(self) -> bool:
        """One piece; False when this turn has done enough."""
        if self._terminal.space() < _SPACE:
            if self._kind == _MONITOR:
                self._drop_monitor()  # longer than the buffer
            return False
        if self._kind == _NOTHING:
            return self._begin()
        try:
            piece = self._next_piece()
            if piece is not None:
                self._put(piece)
                return True
        except BaseException as error:  # of a generator that a person has typed
            self._break_off(error)
        self._end()
        return True

    def _next_piece(self):
        """The next piece; None when there is none."""
        with self.limit:
            for piece in self._pieces:
                return piece

    def _begin(self) -> bool:
        """What is next: an event, then other people's lines, then the answer to a typed line, then the monitor."""
        cursor = self._events
        if self._event_waits or self._app.pm.events.next(cursor):
            self._event_waits = True
            data = json.dumps(reasons.event_data(cursor.event, cursor.data))
            text = '{"event": "%s", "data": %s, "t": %d}\r\n' % (Event.name(cursor.event), data, cursor.at_s)
            self._terminal.put(text)
            self._terminal.finish()
            self._event_waits = False
        elif self._notes:
            self._start(_ANSWER, slices(self._notes[0] + _END))
            self._notes_length -= len(self._notes[0])
            self._notes.pop(0)
        elif self._storing is not None:  # the answer comes when all is stored
            if self._app.metering.loop_time.take_turn():
                self._store()
            return False
        elif self._answer is not None:
            self._start(_ANSWER, self._answer, self._answer_behind)
            self._answer = None
        elif self._n_typed and (self._answers_turn or not self._monitor_due()):
            if not (isinstance(self._typed[0], str) or self._app.metering.loop_time.take_turn()):
                return False
            self._answers_turn = False
            self._run_line(self._next_typed())
            return False  # it may have taken its time
        else:
            return self._monitor_due() and self._begin_monitor()
        return True

    def _next_typed(self):
        """The oldest of the typed lines, which are moved up behind it."""
        line = self._typed[0]
        self._n_typed -= 1
        for i in range(self._n_typed):
            self._typed[i] = self._typed[i + 1]
        self._typed[self._n_typed] = None
        return line

    # ---- a line and its answer --------------------------------------------------------------------------

    def _run_line(self, line) -> None:
        """Evaluate a typed line with the heap that is kept for it, and have its answer ready."""
        self._answer_behind = ""
        if isinstance(line, str):
            self._answer = slices(line + _END)
            return
        if self._app.metering.free_bytes < _PLENTY:  # else it stays where it is: taken again it would lie amid what is free
            self._reserve = None
        try:
            self._evaluate(line)
        except MemoryError:  # not even the text of what went wrong
            self._answer = slices(_NO_MEMORY + _END)

    def _evaluate(self, line: bytes) -> None:
        try:
            text = line.decode().strip()
            value = None
            with self.limit:
                try:
                    code = compile(text, "<console>", "eval")
                except SyntaxError:
                    exec(compile(text, "<console>", "exec"), self.names)
                else:
                    value = eval(code, self.names)
            if isinstance(value, _CALLABLES):
                self._answer = slices("! %s is a function, and was not called: %s() calls it%s" % (text, text, _END))
                return
            self._answer = answer(value)
            if type(value) is GENERATOR:
                self._answer_behind = _DONE + _END
        except BaseException as error:  # an exit or an interrupt typed here ends the line, not the program
            self._answer = slices(self._in_words(error) + _END)

    def _in_words(self, error) -> str:
        if self.limit.over and isinstance(error, KeyboardInterrupt):
            return _INTERRUPTED % _LINE_MS
        text = "! %s: %s" % (type(error).__name__, error)
        if isinstance(error, NameError):
            name = (str(error) + "''").split("'")[1]
            return text + (": pm.%s is meant, or see help()" % name if name in self._calls() else ": see help()")
        if isinstance(error, AttributeError) and "'PowerManager'" in text:
            return text + ": help(pm) lists what there is"
        return text

    def _store(self) -> None:
        """One step of what a line stores."""
        self.stores += 1
        try:
            for _ in self._storing:
                return
        except Exception as error:
            self._answer = slices(self._in_words(error) + _END)
        self._storing = None

    def _start(self, kind: int, pieces, behind: str = "") -> None:
        self._pieces = pieces
        self._kind = kind
        self._written = 0
        self._behind = behind

    def _put(self, piece: str) -> None:
        """Write a piece; of an answer at most ANSWER_MAX characters, and a note that it was cut."""
        if self._kind == _MONITOR:
            if not self._terminal.put(piece):
                self._drop_monitor()
            return
        left = max(0, ANSWER_MAX - self._written)
        if len(piece) > left and piece != _END:
            self._terminal.put(piece[:left])
            self._cut("longer than %d characters" % ANSWER_MAX)
            self._end()
            return
        self._terminal.put(piece)
        self._terminal.finish()
        self._written += len(piece)

    def _cut(self, why: str) -> None:
        self._terminal.put(" ... (cut: %s)\r\n%s" % (why, self._behind))

    def _break_off(self, error) -> None:
        """The making of a piece raised."""
        full = isinstance(error, MemoryError)
        if full:
            self._starve()
        if self._kind == _MONITOR:
            self._drop_monitor()
            if not full:
                raise error
        elif self._written:
            self._cut("the heap is full" if full else type(error).__name__)
        else:
            text = _NO_MEMORY if full else self._in_words(error)
            self._terminal.put(text[:PIECE_MAX] + _END)

    def _end(self) -> None:
        """The line is written."""
        self._terminal.finish()
        self._kind = _NOTHING
        self._pieces = None
        if self._reserve is None:
            self._keep_reserve()

    # ---- the monitor ------------------------------------------------------------------------------------

    def _monitor_due(self) -> bool:
        return self._monitor_ms > 0 and time.ticks_diff(time.ticks_ms(), self._monitor_at) >= 0

    def _begin_monitor(self) -> bool:
        """Begin a line, if all that came before has been sent and the heap has enough for a typed line too."""
        if self._terminal.waiting:
            return False
        self._answers_turn = True
        now_ms = time.ticks_ms()
        late = time.ticks_diff(now_ms, self._monitor_at) > self._monitor_ms
        self._monitor_at = time.ticks_add(now_ms if late else self._monitor_at, self._monitor_ms)
        if self._reserve is None and not self._keep_reserve():
            self.dropped += 1
            if not self._monitor_rests:
                self.write(_RESTS)
            self._monitor_rests = True
            return False
        self._monitor_rests = False
        self._start(_MONITOR, self._monitor_line())
        return True

    def _monitor_line(self):
        before = "{"
        for key, value in monitor.state(self._app):
            yield '%s"%s": %s' % (before, key, json.dumps(value))
            before = ", "
        yield ', "waiting": %d}\r\n' % self._notes_length

    def _drop_monitor(self) -> None:
        self._terminal.take_back()
        self._kind = _NOTHING
        self._pieces = None
        self.dropped += 1

    # ---- a heap that is full ----------------------------------------------------------------------------

    def _starve(self) -> None:
        """There was no heap for something small: what is kept for a line is given up for it, the monitor rests."""
        self._reserve = None
        self._reserve_at = time.ticks_add(time.ticks_ms(), _RETRY_MS)
        self.starved += 1

    def _keep_reserve(self) -> bool:
        """Have the reserve again, if the heap has it; to be tried once a second."""
        if time.ticks_diff(time.ticks_ms(), self._reserve_at) < 0:
            return False
        try:
            self._reserve = (bytearray(_RESERVE), bytearray(_RESERVE), bytearray(_RESERVE))
        except MemoryError:
            self._reserve_at = time.ticks_add(time.ticks_ms(), _RETRY_MS)
            return False
        return True


def _kw(watts: int) -> str:
    return "-" if watts == im.FREE else "%.1f" % (watts / 1000)


def _scaled(value: int, parts: int, unit: str) -> str:
    return "not measured" if value == im.NO_VALUE else "%.1f %s" % (value / parts, unit)


def _names_of(thing, own: bool = True) -> set:
    """As the built-in dir() says, which asks every property for its value: one may load a module, and all take 40 ms.

    own: with what is this one's alone, beside what its class has.
    """
    names = set(getattr(thing, "__dict__", ()) if own else ())
    kinds = [type(thing)]
    for kind in kinds:
        names.update(getattr(kind, "__dict__", ()))
        kinds += kind.__bases__
    return names
