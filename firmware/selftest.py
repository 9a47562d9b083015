"""The self-test of what is new: control on time, the devices seen that were seen before, heap to spare; else the one before.

Loaded only while a generation or an image of our own is on trial, or after the watchdog had to end a generation.  It watches; it
commands nothing.
"""

import asyncio
import sys
import time

import generations
import machine
from micropython import const
from notice import say

from firmware import reasons

_LEAST_S = const(20)  # so long everything has to be good, without a break
_MOST_S = const(120)  # after so long it has not passed
_LOOK_MS = const(1000)
_SHARE = const(90)  # per cent of the cycles that were due came, and as many of them without being held up
_HEAP_BYTES = const(8192)  # free after a collection


class SelfTest:
    """Of one application; `run` ends with the verdict.  people find `verdict`: "" until there is one."""

    def __init__(self, app) -> None:
        self.verdict = ""
        self._app = app
        self._cycles = self._late = self._at_ms = 0
        own = sys.modules.get("ownimage")  # on an image of our own
        self._image = own if own is not None and own.is_trial() else None
        wanted = self._seen_before()
        self._wanted = [name for name in wanted if name in app.site.devices]

    def _seen_before(self) -> list:
        if self._image is not None:
            return self._image.coming()["seen"]
        record = generations.record
        before = record["before"]
        return before["seen"] if record["trial"] and before is not None else record["now"]["seen"]

    async def run(self) -> None:
        """Watch until everything was good for some time, or for too long was not."""
        for news in (generations.news, self._image.news if self._image is not None else ""):
            if news:
                self._log(news)
        began = time.ticks_ms()
        good_s = 0
        wrong = ""
        self._mark()
        while good_s < _LEAST_S:
            await asyncio.sleep_ms(_LOOK_MS)
            wrong = self._wrong()
            good_s = 0 if wrong else good_s + 1
            if self._app.pm.refused or time.ticks_diff(time.ticks_ms(), began) > _MOST_S * 1000:
                break
        if wrong:
            await self._fail(wrong)
        else:
            await self._pass()

    # ---- what is looked at -------------------------------------------------------------------------------

    def _mark(self) -> None:
        metering = self._app.metering
        self._cycles = metering.cycles
        self._late = sum(metering.held_up)
        self._at_ms = time.ticks_ms()

    def _wrong(self) -> str:
        """What is wrong since the last look, in words; "" for nothing."""
        app = self._app
        if app.pm.refused:
            return "its site file is refused: " + app.pm.refused
        metering = app.metering
        cycles = metering.cycles - self._cycles
        late = sum(metering.held_up) - self._late
        due = time.ticks_diff(time.ticks_ms(), self._at_ms) // app.cycle_ms
        self._mark()
        if cycles * 100 < due * _SHARE or late * 100 > max(1, cycles) * (100 - _SHARE):
            return "%d of %d cycles came within a second, %d of them late" % (cycles, due, late)
        silent = reasons.silent(app.pm.instant())
        lost = [name for name in self._wanted if name in silent]
        if lost:
            return "nothing is received from %s, which was there before" % ", ".join(lost)
        if 0 <= metering.free_bytes < _HEAP_BYTES:
            return "%d bytes of heap are free: %d are needed" % (metering.free_bytes, _HEAP_BYTES)
        return ""

    # ---- the verdict -------------------------------------------------------------------------------------

    async def _pass(self) -> None:
        app = self._app
        silent = reasons.silent(app.pm.instant())
        seen = [name for name in app.site.devices if name not in silent]
        name = self._name()
        if self._image is not None:
            await self._save(self._image.passed())
        if generations.record is not None:
            await self._save(generations.saving(generations.passed(seen)))
        self._tell("%s has passed its self-test; seen: %s" % (name, ", ".join(seen) or "no device"))

    def _name(self) -> str:
        if self._image is not None:
            return "image " + self._image.name(self._image.coming())
        return "generation " + generations.name(generations.record["now"])

    async def _save(self, steps) -> None:
        for _ in steps:
            await self._app.metering.loop_time.turn()

    async def _fail(self, why: str) -> None:
        """The way back is checked and taken when the program has ended, at 0 W and with open contactors."""
        record = generations.record
        text = "%s has not passed its self-test: %s" % (self._name(), why)
        self._tell(text)
        if self._image is None and not record["trial"]:
            return
        if self._image is not None or record["before"] is not None:
            self._app.ending.ask(text, lambda: self._back("its self-test: " + why))
        else:
            await self._save(generations.saving(generations.stays(why + "; there is none to go back to")))

    def _tell(self, text: str) -> None:
        self.verdict = text
        say("selftest: " + text)
        self._log(text)

    def _log(self, text: str) -> None:
        records = self._app.services.get("records")
        if records is not None:
            records.records.log(self._app.pm.clock, "GENERATION " + text, 0, True)

    def _back(self, why: str) -> None:
        if self._image is not None:
            self._image.fails(why)
        else:
            generations.give_up(why)
            print("end: " + generations.news)
            self._log(generations.news)
        records = self._app.services.get("records")
        if records is not None:
            records.records.flush()
        machine.reset()
