"""The application: one asyncio loop with the control cycle, devices, services, and the watchdog behind them all.

The control task never awaits a bus; it sleeps to an absolute beat.  The watchdog is fed only while every critical
task has reported in; a device or service that raises is restarted, and hurts nobody else.  Which services there are the
site says (docs/architecture.md, Services).
"""

import _thread
import asyncio
import gc
import io
import sys
import time

import startup
import watchdog
from looptime import LoopTime, start
from micropython import const
from notice import say

from firmware import loading, shutdown
from firmware.beat import Beat
from firmware.callbacks import Worker
from firmware.collecting import Collector
from firmware.manager import PowerManager
from firmware.metering import Metering

_FEED_MS = const(250)
_SILENT_MS = const(3000)  # a critical task that has not reported for this long starves the watchdog
_SOON_MS = const(20)  # before a device that has raised is started again, or whatever ends the program ...
_AGAIN_MS = const(1000)  # ... before a service is; who goes on raising waits twice as long each time, a device no longer than this
_AGAIN_MAX_MS = const(64000)


class App:
    """One site under control."""

    def __init__(self, path: str) -> None:
        from firmware import sitefile  # here: it is let go again

        self.path = path
        self.selftest = None  # of a generation on trial: main.py gives it
        self._without_services()
        startup.step("firmware loaded")
        try:
            self._build(sitefile.load(path))
        except Exception as error:  # what the site is made of does not fit this board: it stands by and says so
            self.site = self.pm = self.collector = None
            self._without_services()
            self._build(sitefile.standby(path, error))
        startup.step("site %s built" % self.site.name)

    def _without_services(self) -> None:
        self.names: dict = {}  # for people, at the console
        self.services: dict = {}
        self.forget_names()
        self.stopped: dict = {}  # service -> why
        self.restarts: dict = {}
        self.heap_watch = None  # for a site with services that may be stopped
        self._on_beat = None
        self._storing: list = []  # services that count their stores to flash
        self._stepped: list = []  # critical ones: the house does their work

    def _build(self, site) -> None:
        """Everything that the site needs.  What is wrong with it was checked before; a heap that is too small is raised."""
        startup.make_room()
        self._loop_time = LoopTime()
        self._loop_time.watch_all()
        self.metering = Metering(50, self._loop_time)
        self.site = site
        self.pm = PowerManager(self.site.config, self.site.image, self.site.has)
        self.pm.places = self.site.places
        self.pm.refused = site.refused
        self.cycle_ms = self.site.config.cycle_ms
        self.metering.expect(self.cycle_ms)
        # its services in its order; one that cannot be built is left out, but none of those that every site has
        for name, module, options, stays in site.services:
            try:
                startup.make_room()
                service = module.Service(name, options, self.pm, self)
                if hasattr(service, "begin"):
                    service.begin()
            except Exception as error:  # a zone that there is not, a folder that cannot be made, a flash that is full
                if stays or isinstance(error, MemoryError):
                    raise
                self.stopped[name] = "without it: %s: %s" % (type(error).__name__, error)  # for who comes after the lines of boot
                print("site: %s: %s" % (name, self.stopped[name]))
                continue
            self.services[name] = service
            self.names.update(getattr(service, "names", {}))
            self._on_beat = getattr(service, "on_beat", self._on_beat)
            if hasattr(service, "stores"):
                self._storing.append(service)
            if hasattr(service, "step"):
                self._stepped.append(service)
            if not stays and self.heap_watch is None:
                from firmware.heapwatch import HeapWatch  # a site whose services all stay does not load it

                self.heap_watch = HeapWatch(self)
        # what has been built needs neither its options nor its module from here
        site.services = [(name, None, None, stays) for name, _, _, stays in site.services]
        buses = [bus for bus in self.site.buses.values() if hasattr(bus, "last_ms")]
        self.collector = Collector(self.metering, buses, len(startup.low or b""))
        self.callbacks = None  # their Worker, from the first registration on
        self._coroutines: list = []  # of async callbacks, handed over by their thread
        self._handing_over = _thread.allocate_lock()
        self._seen = {"control": 0, "house": 0}
        self.ending = shutdown.Ending()

    def forget_names(self) -> None:
        """Only what the application and its services are called by is known from here; allocates behind what it lets go."""
        self.names.clear()
        self.names["leave"] = self.leave
        self.names["factory_reset"] = self.factory_reset
        for service in self.services.values():
            names = getattr(service, "names", self.names)
            if names is not self.names:  # the console's are these
                self.names.update(names)

    def kept(self) -> str:
        """The modules that services go on working with."""
        return " ".join([getattr(service, "keeps", "") for service in self.services.values()])

    def saving(self, content: dict):
        """Make a site the one of the next start: see loading.saving."""
        return loading.saving(self.path, content, self.kept())

    def restoring(self):
        """Make the site before the present one that of the next start again: see loading.restoring."""
        return loading.restoring(self.path, self.kept())

    def run(self) -> None:
        """Run until something ends the program, then leave the inverters at 0 W and the contactors open, in that order."""
        shutdown.run(self)

    def leave(self) -> None:
        """Bring the site to 0 W and open contactors, then leave for the ordinary prompt."""
        shutdown.leave(self)

    def factory_reset(self, word: str = ""):
        """Back to how the board came; without its word what that would do, line by line.  PowerError where it may not be."""
        from firmware import factory  # here: hardly a board ever needs it

        if not word:
            return factory.told()
        factory.check(self, word)
        start("factory_reset", factory.run(self, word))
        return "accepted: it is said when it is done, then the board starts again"

    async def main(self) -> None:
        self.pm.events.start_task = self._hand_over
        for name, box in self.site.buses.items():
            self._start(name, box)
        for name, box in self.site.devices.items():
            self._start(name, box)
            for part, what in getattr(box, "parts", {}).items():
                self._start(part, what)
        for name, service in self.services.items():
            self._start_service(name, service)
        loading.let_builders_go(self.kept())
        startup.low = None
        # from here on at chosen moments; behind the builders, so that what the devices keep fills the holes they leave
        self.collector.collect(time.ticks_ms())
        loop = asyncio.get_event_loop()
        loop.create_task(self._loop_time.watched("house", shutdown.critical("house", self._house())))
        loop.create_task(shutdown.critical("control", self._control()))
        startup.step("control begins")
        if self.selftest is not None:
            self._start("selftest", self.selftest, "selftest")
        await self._watch()

    def _start(self, name: str, box, service: str = ""):
        """Make a device, bus or service a task whose steps are timed."""
        return asyncio.get_event_loop().create_task(self._loop_time.watched(name, self._keep(name, box, service)))

    def _start_service(self, name: str, service) -> None:
        """Its tasks: its own, and those of its parts."""
        parts = dict(getattr(service, "parts", {}))
        if hasattr(service, "run"):
            parts[name] = service
        for part, box in parts.items():
            task = self._start(part, box, name)
            if self.heap_watch is not None:
                self.heap_watch.add(name, part, task)

    def stop_service(self, name: str, why: str) -> None:
        """End a service for good, and let go of what it holds; `why` is said, and kept in `stopped`.

        MemoryError where there is no heap even for that: then it goes on.
        """
        self.stopped[name] = "stopped: " + why
        service = self.services[name]
        for known, thing in getattr(service, "names", {}).items():
            if self.names.get(known) is thing:
                del self.names[known]
        self.services.pop(name)  # no heap is needed for it, nor may anything be raised from here on
        try:
            if hasattr(service, "stop"):
                service.stop()
        except Exception as error:
            _report(name, "its stop() was ended by", error)
        try:
            say("%s: stopped: %s" % (name, why))
        except MemoryError:
            pass

    async def _control(self) -> None:
        """The cycle, on an absolute beat; a late one starts a new beat instead of hurrying after the old."""
        timing = self.metering
        collector = self.collector
        pm = self.pm
        beat = Beat(self.cycle_ms)
        self._loop_time.goes_first = beat.due
        beat.watch = self._on_beat  # whoever keeps control from its beat for too long at the console is interrupted
        before = time.ticks_us()
        first = True
        while True:
            started = time.ticks_us()
            now_ms = time.ticks_ms()
            gc.disable()  # a call with many locals takes its frame from the heap: never let that collect inside the cycle
            commanded_w = pm.cycle(now_ms)
            gc.enable()
            if not first:
                stores = 0  # how often anything was stored to flash since boot: each may stop the chip for an erase
                for service in self._storing:
                    stores += service.stores
                timing.stores = stores
                timing.add(time.ticks_diff(started, before), time.ticks_diff(time.ticks_us(), started))
            first = False
            before = started
            self._seen["control"] = 0
            if collector.step(now_ms, commanded_w):
                self._loop_time.take_turn()
            await beat.next()

    def _hand_over(self, coroutine) -> None:
        """From the callbacks' thread: the loop starts the coroutine at its next look."""
        with self._handing_over:
            self._coroutines.append(coroutine)

    async def _house(self) -> None:
        """What is due a few times a second: the critical services, callbacks, the heap."""
        while True:
            self.ending.check()
            for service in self._stepped:
                service.step()
            try:
                self._serve_callbacks()
                if self.heap_watch is not None:
                    self.heap_watch.step()
            except MemoryError:
                pass  # a full heap costs the callbacks their turn, not the house its life
            except Exception as error:  # nor does anything else here
                _report("house", "goes on after", error)
            self._seen["house"] = 0
            await asyncio.sleep_ms(100)

    def _serve_callbacks(self) -> None:
        if self.callbacks is not None:
            self.callbacks.step()
        elif self.pm.events.callbacks:
            self.callbacks = Worker(self.pm.events)
        while self._coroutines:
            start("callbacks", self._coroutines[0])  # first: one that a full heap does not let begin is not lost
            with self._handing_over:
                self._coroutines.pop(0)

    async def _keep(self, name: str, box, service: str) -> None:
        """Run a device, bus or part of a service for ever: what it raises is said, and it starts again.

        Done may a service be, or stopped, and a device at once, which reports by itself; whatever ends its run() later, it is
        wanted.  What ends the program does so in order, and until then the box is wanted too: an inverter that nobody tells 0 W
        any more is disconnected under load.
        """
        pause_ms = 0
        while True:
            begun = time.ticks_ms()
            try:
                await box.run()
                if service or 0 <= time.ticks_diff(time.ticks_ms(), begun) < _AGAIN_MS:
                    return
                raise RuntimeError("its run() has returned")
            except (Exception, asyncio.CancelledError) as error:
                if service in self.stopped:
                    return
                pause_ms = self._restarted(name, service, error, time.ticks_diff(time.ticks_ms(), begun), pause_ms)
            except BaseException as error:
                self.ending.ask("interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__)
                pause_ms = _SOON_MS
            await asyncio.sleep_ms(pause_ms)

    def _restarted(self, name: str, service: str, error: BaseException, ran_ms: int, pause_ms: int) -> int:
        """Count and say what one has raised; for how many ms it rests, pause_ms being what it has before.

        A device is wanted at once: it may be an emergency whose 0 W it has to tell.  Apart from _keep, whose frame lives as long as
        each of its tasks.
        """
        try:
            self.restarts[name] = self.restarts.get(name, 0) + 1
        except MemoryError:
            pass
        _report(name, "restarted after", error)
        if self.heap_watch is not None and isinstance(error, MemoryError):
            self.heap_watch.wanted(name)
        least_ms = _AGAIN_MS if service else _SOON_MS
        most_ms = _AGAIN_MAX_MS if name == service else _AGAIN_MS
        ran_well = not 0 <= ran_ms < most_ms  # below 0: for days
        return least_ms if ran_well else max(least_ms, min(2 * pause_ms, most_ms))

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


def _report(name: str, what: str, error: BaseException) -> None:
    """Say what happened, and where, through the console's queue: printed at once, a traceback holds the loop 0.1 s.

    What cannot be said (a full heap, a console that is gone, an error without words) must not be the end of who says it.
    """
    try:
        say("%s: %s %s: %s" % (name, what, type(error).__name__, error), True)
        trace = io.StringIO()
        sys.print_exception(error, trace)
        for line in trace.getvalue().rstrip().split("\n"):
            say(line)
    except Exception:
        pass
