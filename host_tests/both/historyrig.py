"""A site with records and history in virtual time: its measured values are set, its clock is the firmware's own."""

import sys

from host_tests.both import scratch
from host_tests.both.test_io_board import FakeMachine

_real = sys.modules.get("machine")
sys.modules["machine"] = FakeMachine
from posixtz import PosixTZ  # noqa: E402

from firmware import image as im  # noqa: E402
from firmware.clock import Clock  # noqa: E402
from firmware.config import PowerConfig  # noqa: E402
from firmware.history.reading import columns  # noqa: E402
from firmware.manager import PowerManager  # noqa: E402
from firmware.services import history, records  # noqa: E402

if _real is None:
    del sys.modules["machine"]
else:
    sys.modules["machine"] = _real

_BY_A_PERSON = 3
ROOT = scratch.place("history")
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
NOON = (9822, 39600)  # 2026-11-22 in Berlin
MEASURED = {im.PCS_P: 0, im.METER_P: 20000, im.LOAD_P: 20000, im.PV_P: 0, im.SOC: 5000, im.MODE: 1}


class App:
    """As much of the application as these services look at."""

    class metering:
        free_bytes = 100000

        class loop_time:
            turn = None

    class heap_watch:
        reserve = 12288

    class site:
        secrets = ()

    def __init__(self):
        self.services = {}


class Rig:
    """From power on to power off; `boot` again with the same name is the same flash."""

    def __init__(self, name, day=None, sec=0, zone=BERLIN, **options):
        self.place = name if name[0] == "/" else ROOT + "-" + name
        self.pm = PowerManager(PowerConfig(), has=im.HAS_BMS | im.HAS_PCS | im.HAS_METER)
        self.now = self.pm.image.now
        self.ms = 1000
        self.pm.clock = Clock(PosixTZ(zone), self.ms)
        if day is not None:
            self.pm.clock.set(_BY_A_PERSON, day, sec)
        for slot in range(im.AGE, im.AGE + im.N_GROUPS):
            self.now[slot] = 0
        for slot, value in MEASURED.items():
            self.now[slot] = value
        self.now[im.LIMIT_DIS] = self.now[im.LIMIT_CHG] = im.FREE
        self.app = App()
        self.records = records.Service("records", {"place": self.place, "level": "info"}, self.pm, self.app)
        self.app.services["records"] = self.records
        given = {"days": 30, "minutes": 5}
        given.update(options)
        self.history = history.Service("history", given, self.pm, self.app)
        self.history.sample()

    def set(self, **values):
        """battery, grid, load, pv in W; None is not measured."""
        for name, slot in (("battery", im.PCS_P), ("grid", im.METER_P), ("load", im.LOAD_P), ("pv", im.PV_P)):
            if name in values:
                self.now[slot] = im.NO_VALUE if values[name] is None else values[name]
        return self

    def run(self, seconds, step=5, save=True):
        """Time passes in steps of so many seconds, and the battery's energy is counted as the cycle does."""
        for _ in range(seconds // step):
            self.ms += step * 1000
            self.now[im.UPTIME_S] += step
            power = self.now[im.PCS_P]
            if power != im.NO_VALUE and self.now[im.AGE + im.SEQ_PCS] < 1000:
                wh, rest = (im.E_OUT_WH, im.E_OUT_REM) if power > 0 else (im.E_IN_WH, im.E_IN_REM)
                flowed = self.now[rest] + abs(power) * step * 1000
                self.now[wh] += flowed // 3600000
                self.now[rest] = flowed % 3600000
            self.pm.clock.tick(self.ms & 0x3FFFFFFF)
            self.history.sample()
            if save:
                self.save()
        return self

    def save(self):
        """One save that is due, to its end."""
        for _ in self.records.records.steps(self.pm.clock.elapsed_s):
            pass

    def each(self, kind, first="", last=""):
        """The rows one by one, as dicts."""
        names = columns(kind)
        for row in self.history.rows(kind, first, last):
            if row is not None:
                yield dict(zip(names, row))

    def rows(self, kind, first="", last=""):
        """All of them."""
        return list(self.each(kind, first, last))

    def count(self, kind, first="", last=""):
        """How many."""
        return sum([row is not None for row in self.history.rows(kind, first, last)])

    def text(self, kind, form, first="", last=""):
        """All pieces together."""
        return "".join(list(self.history.pieces(kind, first, last, form)))
