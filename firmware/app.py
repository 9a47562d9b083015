"""The application: one asyncio loop with the control cycle, devices, services, and the watchdog behind them all.

The control task never awaits a bus; it sleeps to an absolute beat.  The watchdog is fed only while every critical
task has reported in; a device or service that raises is restarted, and hurts nobody else.
"""

import _thread
import asyncio
import gc
import io
import sys
import time

import machine
import startup
import watchdog
from looptime import LoopTime, start
from micropython import const
from notice import say

from firmware import shutdown
from firmware.beat import Beat
from firmware.callbacks import Worker
from firmware.collecting import Collector
from firmware.latch import Latch
from firmware.manager import PowerManager
from firmware.metering import Metering
from firmware.resume import Resume
from firmware.services.console import Console

_FEED_MS = const(250)
_REFUSAL = const(120)  # characters of why a site is refused
_SILENT_MS = const(3000)  # a critical task that has not reported for this long starves the watchdog
# what checks and builds a site, and has no part in running it: 16 KB of a board that has them from files
_BUILDERS = (
    "pinowners firmware.points firmware.sitefile firmware.buses firmware.devices.generic_table firmware.devices.generic_writes"
)


class App:
    """One site under control."""

    def __init__(self, path: str) -> None:
        from firmware import sitefile  # here: it is let go again

        self.path = path
        startup.step("firmware loaded")
        try:
            self._build(sitefile.load(path))
        except Exception as error:  # what the site is made of does not fit this board: it stands by and says so
            self.site = self.pm = self.console = self.latch = self.resume = self.collector = self.timeline = None
            self._build(sitefile.standby(path, error))
        self.console.names["leave"] = self.leave
        startup.step("site %s built" % self.site.name)

    def _build(self, site) -> None:
        """Everything that the site needs.  What is wrong with it was checked before; a heap that is too small is raised."""
        self._loop_time = LoopTime()
        self._loop_time.watch_all()
        self.metering = Metering(50, self._loop_time)
        self.site = site
        self.pm = PowerManager(self.site.config, self.site.image, self.site.has)
        self.pm.places = self.site.places
        self.pm.refused = self._refusal()
        self.metering.expect(self.site.config.cycle_ms)
        self.console = Console(self)
        self.latch = Latch(self.pm)
        self.resume = Resume(self.pm)
        buses = [bus for bus in self.site.buses.values() if hasattr(bus, "last_ms")]
        self.collector = Collector(self.metering, buses)
        self.callbacks = None  # their Worker, from the first registration on
        self._coroutines: list = []  # of async callbacks, handed over by their thread
        self._handing_over = _thread.allocate_lock()
        self._seen = {"control": 0, "house": 0}
        self.restarts: dict = {}
        self.ending = shutdown.Ending()
        self.timeline = None if self.site.clock is None or self.site.errors else self._timeline()

    def let_builders_go(self) -> None:
        """The modules that have checked or built a site leave the heap: the one rule by which modules go, see startup."""
        startup.let_go(_BUILDERS if self.timeline is not None else _BUILDERS + " safestore")  # records store with it as well

    def saving(self, content: dict):
        """Make a site the one of the next start: a generator that stops before each step, see Store.steps.  ConfigError."""
        try:
            yield from self._load_builders()
            from firmware import sitefile  # as in __init__

            yield from sitefile.saving(self.path, content)
        finally:
            self.let_builders_go()

    def restoring(self):
        """Make the site before the present one that of the next start again, in steps too.  StoreError where there is none."""
        try:
            yield from self._load_builders()
            from firmware import sitefile  # as in __init__

            store = sitefile.store(self.path)
            yield from store.restore(store.previous())
        finally:
            self.let_builders_go()

    def _load_builders(self):
        """One module a step: together they take an ESP32 most of a second."""
        for name in _BUILDERS.split(" "):
            yield
            __import__(name)
        yield

    def _refusal(self) -> str:
        """Why the site is refused, "" if it is not: the first of its errors, and how many more there are."""
        errors = self.site.errors
        if not errors:
            return ""
        more = " (and %d more)" % (len(errors) - 1) if len(errors) > 1 else ""
        return errors[0][:_REFUSAL] + more

    def _timeline(self):
        """Clock, schedules and records, for a site that wants them."""
        from firmware.timeline import Timeline  # a site without a calendar does not load it

        try:
            timeline = Timeline(self.pm, self.site.clock, self.site.storage["place"], self.site.name_server, self._loop_time.turn)
        except MemoryError:
            raise
        except Exception as error:  # a zone that there is not, a folder that cannot be made, a flash that is full
            print("site: without calendar and records: %s: %s" % (type(error).__name__, error))
            return None
        for problem in timeline.problems:
            print("storage: " + problem)
        timeline.begin(machine.reset_cause())
        self.console.names["clock"] = timeline.clock
        self.console.names["timeline"] = timeline
        return timeline

    def run(self) -> None:
        """Run until something ends the program, then leave the inverters at 0 W and the contactors open, in that order."""
        shutdown.run(self)

    def leave(self) -> None:
        """Bring the site to 0 W and open contactors, then leave for the ordinary prompt."""
        shutdown.leave(self)

    async def _main(self) -> None:
        self.pm.events.start_task = self._hand_over
        for name, box in self.site.buses.items():
            self._start(name, box)
        for name, box in self.site.devices.items():
            self._start(name, box)
        self._start("console", self.console)
        if self.timeline is not None:
            self._start("timeline", self.timeline)
            self._start("timekeeper", self.timeline.timekeeper)
            if self.timeline.ems is not None:
                self._start("ems_clock", self.timeline.ems)
        self.collector.collect(time.ticks_ms())  # from here on at chosen moments
        self.let_builders_go()
        loop = asyncio.get_event_loop()
        loop.create_task(self._loop_time.watched("house", shutdown.critical("house", self._house())))
        loop.create_task(shutdown.critical("control", self._control()))
        startup.step("control begins")
        await self._watch()

    def _start(self, name: str, box) -> None:
        """Make a device, bus or service a task whose steps are timed."""
        asyncio.get_event_loop().create_task(self._loop_time.watched(name, self._keep(name, box)))

    async def _control(self) -> None:
        """The cycle, on an absolute beat; a late one starts a new beat instead of hurrying after the old."""
        timing = self.metering
        collector = self.collector
        pm = self.pm
        beat = Beat(self.site.config.cycle_ms)
        self._loop_time.goes_first = beat.due
        beat.watch = self.console.limit.check  # whoever keeps control from its beat for too long at the console is interrupted
        before = time.ticks_us()
        first = True
        while True:
            started = time.ticks_us()
            now_ms = time.ticks_ms()
            gc.disable()  # a call with many locals takes its frame from the heap: never let that collect inside the cycle
            pm.cycle(now_ms)
            gc.enable()
            if not first:
                timing.stores = self._stores()
                timing.add(time.ticks_diff(started, before), time.ticks_diff(time.ticks_us(), started))
            first = False
            before = started
            self._seen["control"] = 0
            if collector.step(now_ms):
                self._loop_time.take_turn()
            await beat.next()

    def _stores(self) -> int:
        """How often anything was stored to flash since boot: each may stop the chip for an erase."""
        stores = self.latch.stores + self.resume.stores + self.console.stores
        return stores if self.timeline is None else stores + self.timeline.stores + self.timeline.records.wear.writes

    def _hand_over(self, coroutine) -> None:
        """From the callbacks' thread: the loop starts the coroutine at its next look."""
        with self._handing_over:
            self._coroutines.append(coroutine)

    async def _house(self) -> None:
        """What is due a few times a second: the emergency latch, callbacks."""
        while True:
            self.ending.check()
            self._remember()
            try:
                self._serve_callbacks()
            except MemoryError:
                pass  # a full heap costs the callbacks their turn, not the house its life
            self._seen["house"] = 0
            await asyncio.sleep_ms(100)

    def _remember(self) -> None:
        """Store what a reset must find, an emergency first: at once, without a turn, and alone in its step."""
        stored = self.latch.stores + self.resume.stores
        self.latch.step()
        if self.latch.stores + self.resume.stores == stored:
            self.resume.step()
        if self.latch.stores + self.resume.stores != stored:
            self._loop_time.take_turn()  # an erase may have been in it: nothing else long until the next cycle

    def _serve_callbacks(self) -> None:
        if self.callbacks is not None:
            self.callbacks.step()
        elif self.pm.events.callbacks:
            self.callbacks = Worker(self.pm.events)
        while self._coroutines:
            with self._handing_over:
                coroutine = self._coroutines.pop(0)
            start("callbacks", coroutine)

    async def _keep(self, name: str, box) -> None:
        """Run a device, bus or service for ever; what it raises is printed, and it starts again."""
        while True:
            try:
                await box.run()
                return
            except Exception as error:
                self.restarts[name] = self.restarts.get(name, 0) + 1
                _report("%s: restarted after %s: %s" % (name, type(error).__name__, error), error)
            await asyncio.sleep_ms(1000)

    async def _watch(self) -> None:
        """Feed the watchdog while every critical task reports."""
        while True:
            healthy = True
            for name in self._seen:
                self._seen[name] += _FEED_MS
                if self._seen[name] > _SILENT_MS:
                    healthy = False
            if healthy:
                watchdog.feed()
            await asyncio.sleep_ms(_FEED_MS)


def _report(text: str, error: Exception) -> None:
    """Say what happened, and where, through the console's queue: printed at once, a traceback holds the loop 0.1 s."""
    say(text)
    trace = io.StringIO()
    sys.print_exception(error, trace)
    for line in trace.getvalue().rstrip().split("\n"):
        say(line)
