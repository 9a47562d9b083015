"""The servers of the EMS's chain, over Modbus TCP, over TLS and over RTU, and what a command does in step with them.

What its options are stands in firmware/services/sunspec_server.py, which leaves the heap when the site is built.
"""

import asyncio
import time

from micropython import const

from firmware.ems.access import SERIAL, Access
from firmware.ems.chain import Chain
from firmware.ems.control import Control
from firmware.ems.unit import Unit
from firmware.generation import STAMP
from modbus.tcp_server import TcpServer

_STEP_MS = const(20)  # between two steps of what acts ...
_SOON_MS = const(4)  # ... and while something that was written waits for more
_NAP_MS = const(10)  # between two looks where nothing is served but a line
_NO_HEAP = const("MemoryError")
_TELL_MS = const(1000)  # between two lines of the journal
_WARN_MS = const(1000)  # between two words of what the heap had not; it doubles, as between two starts of a service
_WARN_MAX_MS = const(64000)


class Service:
    """The servers, and what they are told acts in the same turn of the loop.  A serial line is one of the `parts`.

    People know it as `ems`.
    """

    def __init__(self, name: str, options: dict, pm, app) -> None:
        from firmware.ems import filling  # it leaves with those that build a site

        texts = (options["manufacturer"], app.site.name, STAMP, options["serial"] or filling.serial())
        self.chain = Chain(pm.image, texts, options["unit"])
        if "records" in app.services:
            energy = app.services["records"].records.energy()
            self.chain.count_from(int(energy["out_wh"]), int(energy["in_wh"]))
        places = options["clients"] + options["tls_clients"] + 1  # of TCP, TLS and the serial line, in this order
        self.access = Access(options, places, app)
        self.control = Control(self.chain, pm, app.cycle_ms, options["silence_s"], self.access)
        self.names = {"ems": self}
        app.names["local"] = pm.remote.local
        self._name = name
        self._app = app
        self._no_memory = self._told = 0  # looks that ended for want of heap; these and the servers', as they were told
        self.parts: dict = {}
        self._tcp: list = []  # servers that look when they are told to
        self._servers: dict = {}
        self._given: tuple = (name, options, app.metering.loop_time.take_turn)  # until begin
        if options["port"]:
            unit, models = self._models(options)
            server = TcpServer(models, options["port"], options["host"], options["clients"], gate=self.access)
            self._tcp.append(self._add(name + "_tcp", unit, server))

    def begin(self) -> None:
        """Open what only a board has: the keys of TLS, and the serial line.  ConfigError where a key is missing or is none."""
        name, options, take_turn = self._given
        self._given = ()
        first = options["clients"]
        if options["tls_port"]:
            from firmware.ems import secure  # a site without it does not load TLS

            given = {"first": first, "host": options["host"], "after_step": take_turn}
            unit, models = self._models(options)
            self._tcp.append(self._add(name + "_tls", unit, secure.server(models, options, self.access, **given)))
        if options["uart"] >= 0:
            from firmware.ems import serial_line  # nor one without a line what serves it

            unit, models = self._models(options)
            self.parts[name + "_rtu"] = self._add(name + "_rtu", unit, serial_line.server(models, options, self.access))
            unit.server.client = first + options["tls_clients"]
            self.access.opened(unit.server.client, SERIAL)

    def _models(self, options: dict) -> tuple:
        unit = Unit(self.chain, self.control, self.access)
        return unit, {options["unit"]: unit, 126: unit} if options["also_126"] else {options["unit"]: unit}

    def _add(self, name: str, unit: Unit, server):
        self._servers[name] = unit.server = server
        return server

    async def run(self) -> None:
        """For ever: answer, let act what was written, let timers run; once a second a line of the journal, if any is due."""
        control = self.control
        servers = self._tcp
        for server in servers:
            server.open()
        try:
            before = told = warned = time.ticks_ms()
            due_ms = _STEP_MS
            pause_ms = _WARN_MS
            while True:
                now = time.ticks_ms()
                nap = _NAP_MS
                found = False
                try:
                    for server in servers:
                        if server.look(now):
                            found = True
                        if server.nap_ms < nap:
                            nap = server.nap_ms
                    dt = time.ticks_diff(now, before)
                    if dt >= due_ms or (found and control.pending()):
                        before = now
                        control.step(dt)
                        due_ms = _SOON_MS if control.pending() else _STEP_MS
                        if time.ticks_diff(now, told) >= _TELL_MS:
                            told = now
                            self.access.tell()
                except MemoryError:  # what this look could not do the next one does: nobody's connection ends by it
                    control.problem = _NO_HEAP
                    self._no_memory += 1
                if not 0 <= time.ticks_diff(now, warned) < pause_ms:
                    warned = now
                    pause_ms = min(2 * pause_ms, _WARN_MAX_MS) if self._warn() else _WARN_MS
                await asyncio.sleep_ms(nap)
        finally:
            for server in servers:
                server.stop()

    def _warn(self) -> bool:
        """Who watches over the heap hears of what was got over here, as of a service that ends by it: no more often either."""
        short = self._no_memory
        for name in self._servers:
            short += self._servers[name].count.no_memory
        if short == self._told:
            return False
        self._told = short
        if self._app.heap_watch is not None:
            self._app.heap_watch.wanted(self._name)
        return True

    def stop(self) -> None:
        """Close what is served; what was commanded is over."""
        self.control.end()
        for name in self._servers:
            self._servers[name].stop()

    def clients(self) -> "list[dict]":
        """Who is there: who, rights, controls."""
        return self.access.clients()

    def commands(self) -> "list[dict]":
        """What was commanded and refused in the last ten minutes, and by whom."""
        return self.access.commands()

    def counters(self) -> dict:
        """Frames, refusals and connections of each server, the last command that failed, commands not told apart."""
        found = {name: self._servers[name].count.as_dict() for name in self._servers}
        found["problem"] = self.control.problem
        found["lost"] = self.access.seat.commands.lost
        return found
