"""A controller that is reset in the middle of it all: its two memories, and what may and must go on afterwards.

Install `memory()` before firmware.latch and firmware.resume are imported.
"""

import random
import sys
from typing import Any

import notice

from firmware import image as im
from firmware import requests as rq
from firmware.modes import Mode
from host_tests.both.fakenvs import FakeEsp32, FakeNVS

STORED_MS = 12000  # what stands so long is stored, whatever it is
_MOST_RESETS = 5  # that follow each other: then nothing starts by itself
_WATTS_KEPT = 40


def memory() -> None:
    """Give the firmware an empty non-volatile storage, and nobody to talk to."""
    sys.modules["esp32"] = FakeEsp32
    notice.sink = lambda text: None
    FakeNVS.stored = {}
    FakeNVS.unreadable = False
    FakeNVS.fails = None


class Memories:
    """The emergency's and the operation's memory of one manager; `step` after each cycle."""

    def __init__(self, manager: Any) -> None:
        from firmware.latch import Latch
        from firmware.resume import Resume

        self._manager = manager
        self._latch = Latch(manager)
        self._resume = Resume(manager)
        self._kind = ""
        self._since_ms = 0  # how long it has been that
        self._watts: list[int] = []  # of manual operations, lately

    def step(self, dt: int) -> None:
        """What the house loop does; and watch what would go on."""
        self._latch.step()
        self._resume.step()
        kind = self.kind()
        self._since_ms = self._since_ms + dt if kind == self._kind else 0
        self._kind = kind
        table = self._manager.arbiter.claims.table
        watts = table[rq.MANUAL * rq.PARTS + rq.WATTS]
        if table[rq.MANUAL * rq.PARTS] and (not self._watts or self._watts[-1] != watts):
            self._watts = [*self._watts[-_WATTS_KEPT:], watts]

    def kind(self) -> str:
        """What the manager does, as far as a reset is concerned, by the image and the claims."""
        now, table = self._manager.image.now, self._manager.arbiter.claims.table
        if now[im.MODE] == Mode.EMERGENCY:
            return "emergency"
        if now[im.ORDER] != im.ORDER_START:
            return "nothing"
        if table[rq.MANUAL * rq.PARTS] and table[rq.MANUAL * rq.PARTS + rq.GOAL] == rq.PAUSE:
            return "pause"
        return "manual" if table[rq.MANUAL * rq.PARTS] and now[im.REQUEST_BY] == rq.MANUAL else "running"

    def wrong_after(self, fresh: Any) -> str:
        """What the manager made after a reset does and may not, or does not and must; "" if all is well."""
        config, now, table = fresh.config, fresh.image.now, fresh.arbiter.claims.table
        kind, kept = self.kind(), self._since_ms > STORED_MS
        started = now[im.ORDER] == im.ORDER_START
        emergency = now[im.MODE] == Mode.EMERGENCY
        manual = table[rq.MANUAL * rq.PARTS] and table[rq.MANUAL * rq.PARTS + rq.GOAL] != rq.PAUSE
        paused = table[rq.MANUAL * rq.PARTS] and table[rq.MANUAL * rq.PARTS + rq.GOAL] == rq.PAUSE
        about = f"after {kind} for {self._since_ms} ms a reset ({self._resume_text(fresh)})"
        if emergency != (kind == "emergency"):
            return f"{about} has {'' if emergency else 'no '}EMERGENCY"
        if started and (kind in ("emergency", "nothing") or (not config.resume and not config.resume_manual)):
            return f"{about} starts the system"
        if started and kind == "manual" and kept and not config.resume_manual:
            return f"{about} starts the system without a person"
        if manual and (not config.resume_manual or table[rq.MANUAL * rq.PARTS + rq.WATTS] not in self._watts):
            return f"{about} goes on with {table[rq.MANUAL * rq.PARTS + rq.WATTS]} W"
        if started and kind == "pause" and not paused:
            return f"{about} ends the pause"
        must = kept and config.resume and kind in ("running", "pause") and FakeNVS.stored.get("resumed", 0) < _MOST_RESETS
        if must and not started:
            return f"{about} does not start again"
        return ""

    @staticmethod
    def _resume_text(manager: Any) -> str:
        return str(manager.run_memory.text)


def boot_ms(rng: random.Random) -> int:
    """How long a controller is away."""
    return rng.choice((300, 2000, 9000, rng.randrange(200, 60000)))
