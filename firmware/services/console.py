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
from micropython import const

import firmware
from firmware import image as im
from firmware import limits as limit_list
from firmware import sitefile
from firmware.event_codes import Event
from firmware.events import Cursor
from firmware.services import monitor

_POLL_MS = const(10)
_PIECE = const(112)  # bytes in 10 ms at 115200 baud
_LINE_MAX = const(1024)
_WAITING_MAX = const(8192)  # bytes of output that may wait; more is dropped and counted
_MONITOR_MAX = const(1536)  # bytes that a monitor line may have
_ROOM = const(2560)  # bytes in one piece, kept for the line that is asked next: a full heap has no large one
_INTERRUPT = const(3)
_LINE_END = memoryview(b"\r\n")  # a piece of its own: a monitor line is long, and copying it takes heap


class Console:
    """Reads lines from stdin, evaluates them, writes answers, events and monitor lines to stdout."""

    def __init__(self, app) -> None:
        self._app = app
        self._room = None
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
        self.names = {name: getattr(firmware, name) for name in dir(firmware) if "A" <= name[0] <= "Z"}
        self.names.update({"pm": app.pm, "app": app})
        for command in (self.monitor, self.limits, self.devices, self.save_site, self.restore_site):
            self.names[command.__name__] = command

    def monitor(self, ms: int) -> None:
        """Print the state as one JSON line every ms (100 to 60000); 0 ends it."""
        if ms and not 100 <= ms <= 60000:
            raise firmware.PowerError("ms = %s: allowed are 0 (off) and 100 to 60000 ms" % ms)
        self._monitor_ms = ms
        self._next_monitor_ms = 0

    def limits(self) -> None:
        """Print every limit: name, discharge kW, charge kW."""
        for name, discharge, charge in limit_list.published(self._app.pm.image):
            self.write("%-16s %10s %10s" % (name, _kw(discharge), _kw(charge)))

    def devices(self) -> dict:
        """The counters of every device and bus."""
        site = self._app.site
        return {name: box.counters() for group in (site.buses, site.devices) for name, box in group.items()}

    def save_site(self, content: dict) -> None:
        """Make a site the one of the next start; ConfigError lists all that is wrong with it, and nothing was saved."""
        sitefile.save(self._app.path, content)

    def restore_site(self) -> None:
        """Make the version of site.json before the present one that of the next start again."""
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

    def _evaluate(self, line: bytes) -> None:
        """The line has the room that is kept for it: a full heap has no other large piece."""
        self._room = None
        try:
            text = line.decode()
            gc.collect()
            try:
                code = compile(text, "<console>", "eval")
            except SyntaxError:
                exec(compile(text, "<console>", "single"), self.names)
                self.write("= None")
            else:
                self._answer(eval(code, self.names))
        except BaseException as error:  # an exit or an interrupt typed here ends the line, not the program
            self.write("! %s: %s" % (type(error).__name__, error))
        code = None
        gc.collect()
        self._keep_room()

    def _answer(self, value) -> None:
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
            self.write('{"event": "%s", "data": %d, "t": %d}' % (Event.name(cursor.event), cursor.data, cursor.at_s))
        if self._monitor_ms:
            self._next_monitor_ms -= ms
            if self._next_monitor_ms <= 0:
                self._next_monitor_ms += self._monitor_ms
                self._write_state()

    def _write_state(self) -> None:
        """The monitor's line in pieces: one text of it would want more heap in one place than a full heap has."""
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
