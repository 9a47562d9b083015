"""What is recorded of a day, and how it is played: `Day(name, write).play()` writes the lines that golden/ holds.

A line for every event, every change of who decides (mode, claim, faults), and every ten minutes; each ends with a checksum over
every cycle since the day began, so that no cycle can differ unseen.  The only file here that knows how the manager is asked.
"""

from array import array
from binascii import crc32

from civil import day_number
from posixtz import PosixTZ

from firmware import Event, Mode
from firmware import image as im
from firmware.clock import CONSOLE, Clock
from firmware.config import PowerConfig
from firmware.errors import PowerError
from firmware.faults import names as fault_names
from firmware.limits import NAMES as LIMITS
from firmware.manager import PowerManager
from firmware.requests import SOURCES
from host_tests.replay.days import DAYS
from host_tests.replay.world import World

EVERY_MS = 600000
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
MIDNIGHT = (day_number(2026, 10, 24), 22 * 3600)  # in UTC: the 25th begins in Berlin, and summer time ends on it
ROW = (im.MODE, im.CMD_P, im.CMD_RUN, im.CMD_CONTACTOR, im.LIMIT_DIS, im.LIMIT_CHG, im.WHY_DIS, im.WHY_CHG, im.REQUEST_BY,
       im.REQUEST_P, im.FAULTS, im.FLOW, im.GRID_OK, im.SOC)  # fmt: skip
# a source's code in the record: that of the days when they were recorded, when an island was an owner of grid_service
CODES = {"emergency": 0, "protection": 1, "maintenance": 2, "remote": 3, "manual": 4, "grid_service": 5, "island": 5,
         "schedule": 6, "optimiser": 7, "idle": 8}  # fmt: skip
CODES_OF = [CODES[name] for name in SOURCES]
BY = ROW.index(im.REQUEST_BY)
OF_A_SOURCE = (Event.OPERATION_TIMEOUT, Event.CHARGE_COMPLETE, Event.DISCHARGE_COMPLETE)
DECIDES = (im.MODE, im.REQUEST_BY, im.FAULTS, im.CMD_CONTACTOR)


class Day:
    """One day under way."""

    def __init__(self, name: str, write, **changed) -> None:
        """write: takes a line.  changed: of the configuration, for who wants to see the record differ."""
        acts, seed, hours, cycle_ms, soc, load, pv, has, config = DAYS[name]
        self.write = write
        self.hours = hours
        self.cycle_ms = cycle_ms
        self.irregular = name == "late"
        self.pm = PowerManager(PowerConfig(cycle_ms=cycle_ms, **dict(config, **changed)), None, has)
        self.now = self.pm.image.now
        self.world = World(self.pm.image, seed, soc, load, pv, has)
        self.world.forms = name == "island"
        self.acts = sorted(acts(self.world), key=lambda act: act[0])
        self.ms = 0
        self.pm.clock = Clock(PosixTZ(BERLIN), 0)
        self.pm.clock.set(CONSOLE, *MIDNIGHT)
        self.row = array("i", [0] * len(ROW))
        self.checksum = 0
        self.decides = None
        self.pm.register_callback(Event.ALL, self._event)

    def play(self) -> None:
        """From midnight to midnight."""
        end, next_ms, second_ms = self.hours * 3600000, 0, 0
        done = 0
        while self.ms < end:
            while done < len(self.acts) and self.acts[done][0] <= self.ms:
                self._act(*self.acts[done][1])
                done += 1
            dt = self._length()
            self.ms += dt
            self.world.step(dt)
            self.pm.cycle(self.ms & 0x3FFFFFFF)
            self._look()
            while self.pm.events.dispatch():
                pass
            if self.ms >= second_ms:
                second_ms += 1000
                self.pm.clock.tick(self.ms & 0x3FFFFFFF)
                self.pm.run_schedule()
            if self.ms >= next_ms:
                next_ms += EVERY_MS
                self._sample()

    def _length(self) -> int:
        """How long the next cycle takes."""
        if not self.irregular:
            return self.cycle_ms
        kind = self.world.random(100)
        if kind < 90:
            return self.cycle_ms
        if kind < 98:
            return 10 + self.world.random(3 * self.cycle_ms)
        return (300, 700, 1500, 2500, 6000)[self.world.random(5)] if kind == 99 else 1 + self.world.random(400)

    def _act(self, kind: str, what, given=(), named=None) -> None:
        if kind == "fault":
            self.world.active.add(what)
        elif kind == "clear":
            self.world.active.discard(what)
        elif kind == "soc":
            self.world.soc_error = what
        elif kind == "clock":
            day, sec = self.pm.clock.day, self.pm.clock.sec
            self.pm.clock.set(CONSOLE, day, sec + what)
            self.write("%s the clock is set by %d s" % (self._at(), what))
        else:
            self._call(what, given, named or {})
        if kind in ("fault", "clear", "soc"):
            self.write("%s %s %s" % (self._at(), kind, what))

    def _call(self, method: str, given, named) -> None:
        try:
            getattr(self.pm, method)(*given, **named)
        except PowerError:
            self.write("%s %s is refused" % (self._at(), method))
            return
        if method != "claim":
            self.write("%s %s" % (self._at(), method))

    def _look(self) -> None:
        now, row = self.now, self.row
        for i in range(len(ROW)):
            row[i] = now[ROW[i]]
        row[BY] = CODES_OF[row[BY]]
        self.checksum = crc32(row, self.checksum)
        decides = [now[slot] for slot in DECIDES]
        if decides != self.decides:
            self.decides = decides
            self._sample()

    def _sample(self) -> None:
        now = self.now
        self.write(
            "%s %-11s %-10s %7d W  -%d %s +%d %s  soc %d  %s %08x"
            % (
                self._at(), Mode.name(now[im.MODE]), SOURCES[now[im.REQUEST_BY]], now[im.CMD_P], now[im.LIMIT_CHG],
                LIMITS[now[im.WHY_CHG]], now[im.LIMIT_DIS], LIMITS[now[im.WHY_DIS]], now[im.SOC],
                ",".join(fault_names(now[im.FAULTS])) or "-", self.checksum,
            )
        )  # fmt: skip

    def _event(self, event: int, data: int, user_data) -> None:
        code = CODES[SOURCES[data]] if event in OF_A_SOURCE else data
        if event == Event.LIMIT_CHANGE:
            code = data & 31 | (data & 32) >> 1  # charge was 16 when they were recorded
        self.write("%s ! %s %d" % (self._at(), Event.name(event), code))

    def _at(self) -> str:
        seconds = self.ms // 1000
        return "%02d:%02d:%02d.%03d" % (seconds // 3600, seconds // 60 % 60, seconds % 60, self.ms % 1000)

