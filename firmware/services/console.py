"""The console on USB serial: one Python line at a time with `pm` in scope, events and a monitor, while control goes on.

A line is evaluated and answered with `= value` or `! Error: text`.  Output is drained in small pieces, because a
write that fills the serial port's buffer would stop the loop that the control cycle runs on.
"""

import asyncio
import gc
import json
import select
import sys

import notice
import rare
from micropython import const

import firmware
from firmware import image as im
from firmware import limits as limit_list
from firmware.events import Cursor

_POLL_MS = const(10)
_PIECE = const(112)  # bytes in 10 ms at 115200 baud
_LINE_MAX = const(1024)
_WAITING_MAX = const(8192)  # bytes of output that may wait; more is dropped and counted
_MONITOR_MAX = const(1536)  # bytes that a monitor line may have
_ROOM = const(2560)  # bytes in one piece, kept for the line that is asked next: a full heap has no large one
_INTERRUPT = const(3)
_LENT = "monitor limits devices save_site restore_site"  # methods that are names while a line that asks for them runs
_LINE_END = memoryview(b"\r\n")  # a piece of its own: a monitor line is long, and copying it takes heap


class Console:
    """Reads lines from stdin, evaluates them, writes answers, events and monitor lines to stdout."""

    def __init__(self, app) -> None:  # rare
        self._app = app
        self._room = None  # made when boot has left the heap
        self._line = bytearray()
        self._out: list = []
        self._waiting = 0
        self._monitor_ms = 0
        self._next_monitor_ms = 0
        self.dropped = 0
        self._events = Cursor(app.pm.events.total)
        notice.sink = self.write
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)
        self.names = {"pm": app.pm, "app": app}

    def monitor(self, ms: int) -> None:  # rare
        """Print the state as one JSON line every ms (100 to 60000); 0 ends it."""
        if ms and not 100 <= ms <= 60000:
            raise firmware.PowerError("ms = %s: allowed are 0 (off) and 100 to 60000 ms" % ms)
        self._monitor_ms = ms
        self._next_monitor_ms = 0

    def limits(self) -> None:  # rare
        """Print every limit: name, discharge kW, charge kW."""
        for name, discharge, charge in limit_list.published(self._app.pm.image):
            self.write("%-16s %10s %10s" % (name, _kw(discharge), _kw(charge)))

    def devices(self) -> dict:  # rare
        """The counters of every device and bus."""
        site = self._app.site
        return {name: box.counters() for group in (site.buses, site.devices) for name, box in group.items()}

    def save_site(self, content: dict) -> None:  # rare
        """Make a site the one of the next start; ConfigError lists all that is wrong with it, and nothing was saved."""
        from firmware import sitefile

        sitefile.save(self._app.path, content)

    def restore_site(self) -> None:  # rare
        """Make the version of site.json before the present one that of the next start again."""
        from firmware import sitefile

        sitefile.store(self._app.path).restore_previous()

    def write(self, text: str) -> None:
        """Queue a line for output."""
        if self._waiting + len(text) > _WAITING_MAX:
            self.dropped += 1
            return
        self._piece(text)
        self._waiting += 2
        self._out.append(_LINE_END)

    async def run(self) -> None:
        """For ever: input, output, events, monitor."""
        waited = 0
        self._keep_room()
        while True:
            self._read()
            self._drain()
            waited += _POLL_MS
            if waited >= 50:
                self._report(waited)
                waited = 0
            await asyncio.sleep_ms(_POLL_MS)

    def _read(self) -> None:
        while self._poll.poll(0):
            byte = sys.stdin.buffer.read(1)
            if not byte:
                self._poll.unregister(sys.stdin)  # nobody is there any more
                return
            code = byte[0]
            if code in (10, 13):
                line = bytes(self._line)
                self._line = bytearray()
                if line:
                    self._evaluate(line)
                return
            if code == _INTERRUPT:
                self._line = bytearray()
            elif code in (8, 127):
                self._line = self._line[:-1]
            elif len(self._line) < _LINE_MAX:
                self._line.append(code)

    def _evaluate(self, line: bytes) -> None:  # rare: line
        """The line has the room that is kept for it: a full heap has no other large piece."""
        self._room = None
        lent = ()
        try:
            text = line.decode()
            lent = self._lend(text)
            gc.collect()
            statement = False
            try:
                code = compile(text, "<console>", "eval")
            except SyntaxError:
                code = compile(text, "<console>", "single")
                statement = True
            if statement:
                exec(code, self.names)
                self.write("= None")
            else:
                self._answer(eval(code, self.names))
            if statement or "lambda" in text:
                lent = ()  # what the line has made may use them later
        except Exception as error:
            self.write("! %s: %s" % (type(error).__name__, error))
        for name in lent:
            del self.names[name]
        code = lent = None
        rare.release()
        gc.collect()
        self._keep_room()

    def _answer(self, value) -> None:  # rare: line
        """A value as repr shows it, in pieces: the text of all that stats() says is more than a full heap has in one place."""

        def told(value):
            if type(value) in (dict, list) and value:
                ends = "{}" if type(value) is dict else "[]"
                before = ends[0]
                for item in value:
                    yield before
                    before = ", "
                    if type(value) is dict:
                        yield "%r: " % (item,)
                        item = value[item]
                    yield from told(item)
                yield ends[1]
            else:
                yield repr(value)

        text = "= "
        try:
            for part in told(value):
                text += part
                if len(text) > _PIECE:
                    self._piece(text)
                    text = ""
            self._piece(text)
        finally:  # also of what breaks off: the error is a line of its own
            self._waiting += 2
            self._out.append(_LINE_END)

    def _lend(self, text: str) -> list:  # rare: line
        """Puts among the names what a line names: rare methods, and the firmware's public names."""
        lent = []
        public = [name for name in firmware.__dict__ if "A" <= name[0] <= "Z"]
        for where in public + firmware.ON_DEMAND.split(", ") + _LENT.split(" "):
            module, _, name = where.rpartition(" ")
            if name in text and name not in self.names:
                if module:
                    found = getattr(rare.borrow("firmware." + module), name)
                else:
                    found = firmware.__dict__[name] if name in public else getattr(self, name)
                self.names[name] = found
                lent.append(name)
        return lent

    def _keep_room(self) -> None:
        try:
            self._room = bytearray(_ROOM)
        except MemoryError:
            pass  # the next line tries without, and then again

    def _drain(self) -> None:
        room = _PIECE
        while self._out and room > 0:
            piece = self._out[0]
            part = piece[:room]
            sys.stdout.buffer.write(part)
            room -= len(part)
            self._waiting -= len(part)
            if len(part) == len(piece):
                self._out.pop(0)
            else:
                self._out[0] = piece[len(part) :]

    def _report(self, ms: int) -> None:
        cursor = self._events
        while self._app.pm.events.next(cursor):
            name = rare.borrow("firmware.event_codes").Event.name(cursor.event)
            rare.release()  # at once: what is fetched together is in the heap together
            self.write('{"event": "%s", "data": %d, "t": %d}' % (name, cursor.data, cursor.at_s))
        if self._monitor_ms:
            self._next_monitor_ms -= ms
            if self._next_monitor_ms <= 0:
                self._next_monitor_ms += self._monitor_ms
                self._write_state()

    def _write_state(self) -> None:
        """The monitor's line in pieces: one text of it would want more heap in one place than a full heap has."""
        from firmware.services import monitor

        if self._waiting + _MONITOR_MAX > _WAITING_MAX:
            self.dropped += 1
            return
        text = "{"
        for key, value in monitor.state(self._app):
            text += '"%s": %s, ' % (key, json.dumps(value))
            if len(text) > _PIECE:
                self._piece(text)
                text = ""
        # the key that ends every line takes no comma
        self._piece(text + '"waiting": %d}' % self._waiting)
        self._waiting += 2
        self._out.append(_LINE_END)

    def _piece(self, text: str) -> None:
        data = text.encode()
        self._waiting += len(data)
        self._out.append(memoryview(data))


def _kw(watts: int) -> str:
    return "-" if watts == im.FREE else "%.1f" % (watts / 1000)
