"""A person at the console: the console on a plant, with a port of lists instead of a serial one."""

import gc
import sys

from looptime import LoopTime

from firmware import sitefile
from firmware.collecting import Collector
from firmware.metering import Metering
from firmware.services.console import Service
from host_tests.both.plant import Plant

if not hasattr(gc, "mem_alloc"):  # CPython
    import traceback

    gc.mem_alloc = gc.mem_free = lambda: 1 << 20
    gc.threshold = lambda *_bytes: -1
    sys.print_exception = lambda error, file=None: traceback.print_exception(error, file=file)


def _shown(line):
    try:
        text = line.decode()
    except UnicodeError:
        text = repr(line)
    return text.rpartition("\r")[2].replace("\x1b[K", "") if "\r" in text else text


class Port:
    """What is typed and what came out; `takes` is whether the host reads."""

    def __init__(self):
        self.typed = b""
        self.at = 0  # what of it has been read
        self.out = []
        self.takes = True

    def letters(self, line, at, end):
        while at < end and self.at < len(self.typed) and 32 <= self.typed[self.at] < 127:
            line[at] = self.typed[self.at]
            at += 1
            self.at += 1
        return at

    def read(self):
        if self.at >= len(self.typed):
            return -1
        self.at += 1
        return self.typed[self.at - 1]

    def write(self, data):
        if not self.takes:
            return 0
        self.out.append(bytes(data))
        return len(data)


class Site:
    """Two boxes that count."""

    name = "a desk"

    class Box:
        def counters(self):
            return {"frames": 7, "last_error": ""}

    def __init__(self):
        self.buses = {"can0": self.Box()}
        self.devices = {"bms": self.Box()}


class App:
    """As much of the application as the console looks at."""

    def __init__(self, pm):
        self.pm = pm
        self.path = "site.json"
        self.site = Site()
        self.metering = Metering(50, LoopTime())
        self.collector = Collector(self.metering, [])
        self.names = {}
        self.services = {}
        self.stopped = {}
        self.restarts = {}
        for i in range(100):
            self.metering.add(50000 + 10 * i, 500)

    def forget_names(self):
        self.names.clear()

    def saving(self, content):
        yield from sitefile.saving(self.path, content)


class Desk:
    """`ask` types a line and gives its answer; `lines` is all that has been printed."""

    def __init__(self, plant=None, port=None):
        self.plant = plant or Plant().ready()
        self.plant.run(2)
        self.app = App(self.plant.pm)
        self.port = port or Port()
        self.console = self.app.services["console"] = Service("console", {}, self.app.pm, self.app, self.port)

    def type(self, text):
        """Type text or bytes; a line ends with a newline."""
        self.port.typed += text if isinstance(text, bytes) else text.encode()

    def turn(self, n=1):
        """So many turns of the loop, as its run takes them."""
        for _ in range(n):
            self.app.metering.loop_time.forget()  # a cycle has come between
            self.console.turn()

    @property
    def lines(self):
        """The whole lines printed so far, as a terminal shows them: what was drawn before a carriage return is wiped."""
        return [_shown(line) for line in b"".join(self.port.out).split(b"\r\n")[:-1]]

    def ask(self, line, turns=400):
        """The answer to a line; AssertionError when none comes in so many turns."""
        seen = len(self.answers())
        self.type(line + "\n")
        for _ in range(turns):
            self.turn()
            if len(self.answers()) > seen:
                return self.answers()[seen]
        raise AssertionError("no answer to %s in %r" % (line[:80], self.lines[-5:]))

    def answers(self):
        """The lines that answer one."""
        return [line for line in self.lines if line[:2] in ("= ", "! ")]

    def printed(self, word):
        """The lines with a word in them."""
        return [line for line in self.lines if word in line]
