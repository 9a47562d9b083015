"""The console on USB serial: commands, lines of Python with `pm` in scope and the raw REPL, while control goes on.

A line is answered with `= value` or `! Error: text`.  Whatever is printed is made in pieces, as many a turn
of the loop as a few milliseconds take, into a buffer that is sent at the port's pace.  In a heap that fills up the
monitor rests first, then lines are refused; the emergency needs no heap.  What only people and mpremote need (commands.py,
keys.py, rawrepl.py, roles.py) is loaded when the first of them comes.
"""

import asyncio
import builtins
import gc
import json
import time

import notice
from micropython import const
from timelimit import TimeLimit

import firmware
from firmware import events, reasons
from firmware.errors import PowerError
from firmware.services import answers, lines, mistyped, monitor
from firmware.services import terminal as te
from firmware.services.calls import Calls
from firmware.services.spare import Spare

OPTIONS = ()
HEAP_BYTES = 20000
_POLL_MS = const(10)
_SLICE_US = const(4000)  # of writing in one turn of the loop
_COMMAND_MAX = const(200)  # bytes of a line that may be a command
_AHEAD = const(8)  # lines that may wait while one is answered
_NOTES_MAX = const(2048)  # characters of other people's lines that may wait; more is dropped and counted
_SPACE = const(640)  # bytes: a piece, at four bytes a character, and what ends a line
_IDLE_MS = const(600000)  # without a key: who was here has gone

_TOO_LONG = const(
    "! ValueError: the line has more than %d bytes: allowed are 1 to %d; nothing of it was run; a site file goes by %s"
)
_NO_MEMORY = const("! MemoryError: the heap is full; emergency_shutdown() always works")
_STOP = const((b"pm.stop()",))
_RESTS = const("console: the heap is full, the monitor rests")
_FORGOTTEN = const("console: the heap was full: the names given here are forgotten, with what they kept")
_END = const("\r\n")

# what is being written
_NOTHING = const(0)
_ANSWER = const(1)
_MONITOR = const(2)  # held back until it is whole
_PROGRAM = const(3)  # what a program of the raw REPL has printed: not cut
_ECHO = const(4)


def _complete(terminal):
    """A line or program as bytes, or the text that is said of one that is too long."""
    if not terminal.over:
        return _STOP[0] if terminal.raw is None and terminal.says(_STOP) else terminal.take()
    if terminal.over == te.NO_HEAP:
        return _NO_MEMORY
    return _TOO_LONG % (te.LINE_MAX, te.LINE_MAX, reasons.by_cable()) if terminal.raw is None else terminal.raw.TOO_LONG


class Service:
    """Reads lines, evaluates them, writes answers, events and monitor lines."""

    # of the class, for a board that no program talks to in the raw REPL: its service holds neither
    _raw = None  # the RawRepl, from the first Ctrl-A on
    _dropped_told = 0  # of the lines that were dropped, so many have been told at its end

    def __init__(self, name: str, options: dict, pm, app, port=None) -> None:
        """port: see terminal.Port; None is the board's own."""
        self._app = app
        self._terminal = te.Terminal(port or te.Port())
        self.limit = TimeLimit(lines.LINE_MS, app.pm.image.lock)  # of a line; the application's timer calls its check
        self._parts = (self._read, self._write, self._terminal.drain)
        self._typed: list = [None] * _AHEAD  # lines to evaluate (bytes), and answers that are known already (str)
        self._kinds = bytearray(_AHEAD)  # what they are, as Terminal.read tells it
        self._n_typed = 0
        self._headed = False  # the first of them has been echoed, or acknowledged
        self._looked = False  # whether it is a command, while none is loaded
        self._notes: list = []
        self._notes_length = 0
        self._unfinished = ""  # of a line that is printed in parts
        self._kind = _NOTHING
        self._pieces = None  # the generator that makes them
        self._written = 0  # characters of them
        self._behind = ""  # what must follow even if they are cut
        self._answer = None  # the pieces of the next answer, while what its line has printed goes first
        self._answer_behind = ""
        self._events = events.Cursor(app.pm.events.total)
        self._event_waits = False  # the one in the cursor is still to be printed
        self._monitor_ms = 0
        self._monitor_at = 0
        self._monitor_rests = False
        self._answers_turn = False  # a typed line goes before a monitor line that is due
        self._spare = Spare(app)
        self.dropped = 0  # lines for people and of the monitor that were not written
        self._storing = None  # the steps of what a line has stored, and which its answer waits for
        self.stores = 0  # such steps so far: each may erase flash
        self._in_raw = False  # programs are answered: nothing else is printed
        self._printing = False  # a program runs: what it prints is its own
        self._idle = False
        self._loads = te.NOTHING  # what waits for its module
        self._commands = None  # commands.Commands, from the first of them on
        self._screen = None  # the Screen, from the first person on
        notice.sink = self.write
        self.on_beat = self.limit.check  # whoever keeps control from its beat for too long here is interrupted
        self.names = app.names
        self.lines = lines.Lines(app, self, mistyped)
        self._name_all(Calls(app, self))

    def _name_all(self, calls) -> None:
        """What a line can use."""
        names = self.names
        names.update({name: getattr(firmware, name) for name in dir(firmware) if "A" <= name[0] <= "Z"})
        pm = self._app.pm
        names.update({"pm": pm, "app": self._app, "__name__": "__main__", "true": True, "false": False, "null": None})  # JSON's too
        names["emergency"] = names["emergency_shutdown"] = pm.emergency_shutdown
        for command in (
            calls.status, calls.why, self.monitor, calls.limits, calls.devices, calls.services, calls.upcoming, calls.save_site,
            calls.restore_site, calls.help, self.lines.dir, self.print, self.lines.login,
        ):  # fmt: skip
            names[command.__name__] = command

    def _is_spent(self) -> None:
        """A line has found the heap full: what it has named goes before its answer is made."""
        self._spare.is_spent()
        if self._spare.is_short(False):
            self._forget_names()

    def _forget_names(self) -> None:
        """The heap is short, and control needs it more than what people keep under names of their own."""
        before = len(self.names)
        self._app.forget_names()
        self._name_all(Calls(self._app, self))
        self._spare.sweep()
        if len(self.names) < before:
            self.write(_FORGOTTEN)

    # ---- commands ---------------------------------------------------------------------------------------

    def monitor(self, ms: int) -> None:
        """Print the state as one JSON line every ms (100 to 60000); 0 ends it."""
        whole = isinstance(ms, int) and not isinstance(ms, bool)
        if not whole or (ms and not 100 <= ms <= 60000):
            raise (PowerError if whole else ValueError)("ms = %r: allowed are 0 (off) and 100 to 60000 ms" % (ms,))
        self._monitor_ms = ms
        self._monitor_at = time.ticks_ms()

    def store(self, steps) -> None:
        """Do what a line stores, step by step, before it is answered; of one line in order."""
        while self._storing is not None:
            self._store()
        self._storing = steps

    def print(self, *values, sep: str = " ", end: str = "\n", file=None) -> None:
        """Print values, as the built-in does, without holding the loop until the port has taken them; of a generator its lines."""
        if len(values) == 1 and type(values[0]) is answers.GENERATOR:  # print(status()), as `mpremote eval` has it
            values, sep = tuple(values[0]), "\n"
        if file is not None:
            builtins.print(*values, sep=sep, end=end, file=file)
            return
        text = sep.join([str(value) for value in values]) + end
        if self._printing:
            self._raw.write(text)
            return
        whole = (self._unfinished + text).split("\n")
        self._unfinished = whole.pop()
        for line in whole:
            self.write(line)

    def known_commands(self):
        """The commands, loaded for the first of them."""
        if self._commands is None:
            from firmware.services import commands  # a board that nobody talks to in words does not load them

            self._commands = commands.Commands(self, self._app)
        return self._commands

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
        return {"dropped": self.dropped, "starved": self._spare.starved, "stores": self.stores}

    # ---- the loop ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """For ever: input, output, events, monitor."""
        while True:
            self.turn()
            await asyncio.sleep_ms(_POLL_MS)

    def turn(self) -> None:
        """One turn of the loop: some milliseconds of work at most, a line's own evaluation apart."""
        if self._spare.is_short(self._pieces is None and self._answer is None):
            self._forget_names()
        for part in self._parts:
            try:
                part()
            except MemoryError:
                self._spare.starve()

    def _read(self) -> None:
        terminal = self._terminal
        if self._loads and not self._load():
            return
        while self._n_typed < _AHEAD and not self._loads:
            kind = terminal.read()
            if kind == te.NOTHING:
                break
            self._idle = False
            ends = kind == te.LINE or kind == te.ENTER or kind == te.CODE or kind == te.PASTED
            if kind == te.EMERGENCY or (ends and terminal.says()):
                self._emergency(kind)
            elif kind == te.KEY or (kind == te.RAW and self._raw is None):
                self._loads = kind
            else:
                self._keep_line(kind)
        if not self._idle and time.ticks_diff(time.ticks_ms(), terminal.touched_ms) > _IDLE_MS:
            self._rest()

    def _load(self) -> bool:
        """What knows the first key that edits, or the first Ctrl-A, is loaded, in its turn; nothing is read before that."""
        if not self._app.metering.loop_time.take_turn():
            return False
        terminal = self._terminal
        if self._loads == te.KEY:
            from firmware.services import keys  # programs press none

            self._loads = te.NOTHING
            terminal.editor = keys.Editor(self)
            terminal.editor.press(terminal, terminal.key)
        else:
            from firmware.services import rawrepl  # people need none

            self._loads = te.NOTHING
            self._raw = rawrepl.RawRepl(terminal)
            self._keep_line(te.RAW)
        return True

    def _rest(self) -> None:
        """Nobody is here any more."""
        self._idle = True
        self.lines.fall_back()
        if self._terminal.raw is not None and self._n_typed < _AHEAD:
            self._terminal.clear()
            self._keep_line(te.FRIENDLY)

    def _emergency(self, kind: int) -> None:
        """The one line that is not compiled, and that waits for no other: it works in a heap that is full."""
        try:
            try:
                stored = self._app.pm.emergency_shutdown()
            except MemoryError:
                self._spare.give_up()
                gc.collect()
                stored = self._app.pm.emergency_shutdown()
            entry = "= True" if stored else "= False"  # a reset brings it back
        except Exception as error:
            entry = "! %s: %s" % (type(error).__name__, error)
        terminal = self._terminal
        if kind == te.EMERGENCY:  # a line of a program that is still to come to its end
            return
        if terminal.mark == 0:  # it was all of it
            terminal.clear()
            self._keep(kind, entry)
        else:
            self._keep_line(kind)

    def _keep(self, kind: int, entry) -> None:
        self._typed[self._n_typed] = entry
        self._kinds[self._n_typed] = kind
        self._n_typed += 1

    def _keep_line(self, kind: int) -> None:
        terminal = self._terminal
        if kind == te.RAW:
            terminal.raw = self._raw
        elif kind == te.FRIENDLY:
            terminal.raw = None
        try:
            line = _complete(terminal)
        except MemoryError:
            self._spare.starve()
            try:
                line = _complete(terminal)
            except MemoryError:
                line = _NO_MEMORY
        terminal.clear()
        self._keep(kind, line)
        if kind == te.ENTER and self._screen is not None and not isinstance(line, str):
            self._screen.remember(line)

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
        if self._in_raw:
            if self._raw.granted and not self._n_typed and self._terminal.put_byte(te.RAW):
                self._raw.granted -= 1
        elif self._event_waits or self._app.pm.events.next(self._events):
            self._print_event()
            return True
        elif self._notes:
            self._start(_ANSWER, answers.slices(self._notes[0] + _END))
            self._notes_length -= len(self._notes[0])
            self._notes.pop(0)
            return True
        if self._storing is not None:  # the answer comes when all is stored
            if self._app.metering.loop_time.take_turn():
                self._store()
            return False
        if self._answer is not None:
            self._start(_PROGRAM if self._in_raw else _ANSWER, self._answer, self._answer_behind)
            self._answer = None
            return True
        due = not self._in_raw and self._monitor_ms > 0 and time.ticks_diff(time.ticks_ms(), self._monitor_at) >= 0
        if self._n_typed and (self._answers_turn or not due):
            return self._begin_typed()
        if due and self._begin_monitor():
            return True
        terminal = self._terminal
        if terminal.changed and terminal.raw is None and not self._in_raw and terminal.quiet():
            self._show()
        return False

    def _show(self) -> None:
        """Nobody has pressed a key for a moment: a person sees the prompt, and what has been typed, or the greeting first."""
        terminal = self._terminal
        if terminal.length:
            terminal.person = True  # programs send their lines whole
        if terminal.person:
            if self._screen is None and not self._app.metering.loop_time.take_turn():
                return  # it is loaded
            screen = self.screen()
            if screen.greeted:
                screen.show()
            else:
                self._start(_ANSWER, screen.greeting())
        else:
            terminal.changed = False

    def screen(self):
        """What a person sees of the line being typed."""
        if self._screen is None:
            from firmware.services import screen  # programs see none

            self._screen = screen.Screen(self._terminal, self.lines)
        return self._screen

    def _hide(self) -> None:
        if self._screen is not None:
            self._screen.hide()

    def _print_event(self) -> None:
        cursor = self._events
        self._event_waits = True
        data = json.dumps(reasons.event_data(cursor.event, cursor.data, self._app.pm.image.banks))
        self._hide()
        self._terminal.put('{"event": "%s", "data": %s, "t": %d}\r\n' % (events.Event.name(cursor.event), data, cursor.at_s))
        self._terminal.finish()
        self._event_waits = False

    def _begin_typed(self) -> bool:
        """The oldest of what has been typed: its echo, then what it does."""
        kind = self._kinds[0]
        if not self._headed:
            if self._screen is None and kind != te.LINE and kind < te.CODE and not self._app.metering.loop_time.take_turn():
                return False  # it is loaded
            return self._head(kind, self._typed[0])
        if kind >= te.CODE and self._terminal.waiting:
            return False  # what it prints itself comes behind what is on its way
        if not (isinstance(self._typed[0], str) or self._app.metering.loop_time.take_turn()):
            return False
        if self._commands is None and not self._looked:
            self._looked = True
            if self._is_command(self._typed[0]):
                self.known_commands()  # takes an ESP32 55 ms: enough for one step
            return False
        self._headed = self._looked = False
        self._answers_turn = False
        (self._run_program if kind >= te.CODE else self._run_line)(kind, self._next_typed())
        return False  # it may have taken its time

    def _is_command(self, line) -> bool:
        """A line, or a program of one, for which the commands must be known."""
        if isinstance(line, str) or len(line) > _COMMAND_MAX:
            return False
        try:
            return bool(self.lines.as_command(lines.text_of(line).strip())[1])
        except ValueError:
            return False

    def _next_typed(self):
        """The oldest of the typed lines, which are moved up behind it."""
        line = self._typed[0]
        self._n_typed -= 1
        for i in range(self._n_typed):
            self._typed[i] = self._typed[i + 1]
            self._kinds[i] = self._kinds[i + 1]
        self._typed[self._n_typed] = None
        return line

    def _head(self, kind: int, line) -> bool:
        """What comes before an answer: the echo of a person's line, the acknowledgement of a program; or all of the answer."""
        terminal = self._terminal
        if kind == te.LINE:
            if self._screen is not None:
                self._screen.greeted = False  # whoever types next is another one
        elif kind == te.ENTER:
            self._start(_ECHO, self.screen().echo(line))
        elif kind == te.END:
            self.write(self.screen().NO_RESET)
        elif kind == te.FRIENDLY:
            self._be_friendly()
        else:
            if kind == te.RAW:
                self._hide()
                self._in_raw = True
            terminal.put(self._raw.head(kind, line))
            terminal.finish()
        self._headed = True
        if (kind < te.CODE and kind != te.LINE and kind != te.ENTER) or (kind == te.CODE and not line):  # that was all
            self._headed = False
            self._next_typed()
        return kind != te.LINE  # which has been read in this turn: that was enough

    def _be_friendly(self) -> None:
        """Ctrl-B: lines again; or a person who wants to know who answers."""
        self._terminal.changed = True
        if self._in_raw:
            self._in_raw = False
            self._terminal.put(_END)
            self._terminal.finish()
            dropped = self.dropped + self._events.lost - self._dropped_told
            self._dropped_told += dropped
            if dropped:
                self._start(_ANSWER, answers.slices("console: %d lines for people were dropped meanwhile%s" % (dropped, _END)))
        else:
            self._terminal.person = True
            self.screen().greeted = False

    # ---- a line and its answer --------------------------------------------------------------------------

    def _run_line(self, kind: int, line) -> None:
        """Evaluate a typed line with the heap that is kept for it, and have its answer ready."""
        self._answer_behind = ""
        if not isinstance(line, str):
            self._spare.give()
            try:
                if line != _STOP[0] or self.lines.role != lines.SERVICE:
                    self._evaluate(line, kind == te.ENTER)
                    if self._unfinished:
                        self.print()
                    return
                self._app.pm.stop()  # not compiled either: it works in a heap that is full
                if kind == te.ENTER:
                    return
                line = "= None"
            except MemoryError:  # not even the text of what went wrong
                self._is_spent()
                line = _NO_MEMORY
        self._answer = answers.slices(line + _END)

    def _evaluate(self, line: bytes, quiet: bool) -> None:
        """quiet: for a person, who needs no = None."""
        try:
            value = self.lines.value(lines.text_of(line).strip())
            if self.lines.said:
                self._answer = answers.slices(self.lines.said + value + _END)
            elif value is not None or not quiet:
                self._answer = answers.answer(value, quiet)
            if type(value) is answers.GENERATOR and not quiet:
                self._answer_behind = "= None" + _END
        except BaseException as error:  # an exit or an interrupt typed here ends the line, not the program
            if isinstance(error, MemoryError):
                self._is_spent()
            self._answer = answers.slices("! %s%s" % (self.lines.in_words(error), _END))

    def _run_program(self, _kind: int, line) -> None:
        """Run a program of the raw REPL, and have its answer ready."""
        self._spare.give()
        self._answer_behind = ""
        self._printing = True
        try:
            self._raw.run(line, self.lines, self._app.metering.free_bytes)
            self._answer = self._raw.answer()
        except MemoryError:
            self._is_spent()
            self._raw.give_up()
        finally:
            self._printing = False

    def _store(self) -> None:
        """One step of what a line stores."""
        self.stores += 1
        try:
            for _ in self._storing:
                return
        except Exception as error:
            if self._in_raw:
                self._raw.fail(error)
            else:
                self._answer = answers.slices("! %s%s" % (self.lines.in_words(error), _END))
        self._storing = None

    def _start(self, kind: int, pieces, behind: str = "") -> None:
        if kind in (_ANSWER, _MONITOR):
            self._hide()
        self._pieces = pieces
        self._kind = kind
        self._written = 0
        self._behind = behind

    def _put(self, piece) -> None:
        """Write a piece; of an answer at most answers.ANSWER_MAX characters, and a note that it was cut."""
        if self._kind == _MONITOR:
            if not self._terminal.put(piece):
                self._drop_monitor()
            return
        left = max(0, answers.ANSWER_MAX - self._written)
        if self._kind == _ANSWER and len(piece) > left and piece != _END:
            self._terminal.put(piece[:left])
            self._cut("longer than %d characters" % answers.ANSWER_MAX)
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
            self._spare.starve()
        if self._kind == _MONITOR:
            self._drop_monitor()
            if not full:
                raise error
        elif self._kind == _PROGRAM:
            self._raw.give_up()
        elif self._written:
            self._cut("the heap is full" if full else type(error).__name__)
        else:
            text = _NO_MEMORY if full else "! " + self.lines.in_words(error)
            self._terminal.put(text[: answers.PIECE_MAX] + _END)

    def _end(self) -> None:
        """The line is written."""
        self._terminal.finish()
        self._kind = _NOTHING
        self._pieces = None
        self._spare.keep()

    # ---- the monitor ------------------------------------------------------------------------------------

    def _begin_monitor(self) -> bool:
        """Begin a line, if all that came before has been sent and the heap has enough for a typed line too."""
        if self._terminal.waiting:
            return False
        self._answers_turn = True
        now_ms = time.ticks_ms()
        late = time.ticks_diff(now_ms, self._monitor_at) > self._monitor_ms
        self._monitor_at = time.ticks_add(now_ms if late else self._monitor_at, self._monitor_ms)
        if not self._spare.keep():
            self.dropped += 1
            if not self._monitor_rests:
                self.write(_RESTS)
            self._monitor_rests = True
            return False
        self._monitor_rests = False
        self._start(_MONITOR, monitor.line(self._app, self._notes_length))
        return True

    def _drop_monitor(self) -> None:
        self._terminal.take_back()
        self._kind = _NOTHING
        self._pieces = None
        self.dropped += 1
