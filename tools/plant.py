"""A battery, an inverter and a meter of a few lines, for programs and experiments; import it before the firmware.

It runs on CPython and on MicroPython, from the repository's root, and makes either find the firmware.  Time is virtual:
nothing happens between two calls of `step`.  What a real site does to the firmware is tools/sim's to play.
"""

import sys

if sys.implementation.name == "micropython":
    sys.path.insert(1, __file__[: -len("tools/plant.py")] + "lib")
else:
    from host_tests import shims

    shims.install()

from firmware import PowerManager
from firmware import image as im
from tools.healthy import healthy

GROUPS = (
    im.SEQ_BMS,
    im.SEQ_BMS_LIMITS,
    im.SEQ_BMS_CELLS,
    im.SEQ_BMS_TEMPS,
    im.SEQ_BMS_FLAGS,
    im.SEQ_PCS,
    im.SEQ_METER,
)
EFFICIENCY = 0.95  # of the inverter, each way
CAPACITY_KWH = 208.0


class Plant:
    """Everything around a PowerManager: writes what it measures into the image, and does what the command says.

    Attributes to play with: `soc` (%), `load_kw`, `grid` (False: it is gone), and `silent`, a set of image.SEQ_*
    groups that are not reported any more.  `power_kw` is what the inverter moves, + discharge.
    """

    def __init__(self, pm: PowerManager, soc: float = 50.0, load_kw: float = 20.0) -> None:
        self.image = pm.image
        for slot, value, _ in healthy():  # what does not move; it counts once its group arrives
            self.image.inp[slot] = value
        self.soc = soc
        self.load_kw = load_kw
        self.grid = True
        self.silent: set = set()
        self.power_kw = 0.0
        self.now_ms = 0
        self._volts = 6435
        self._flicker = 0

    def step(self, ms: int = 50) -> int:
        """Let so many milliseconds pass; gives the time for PowerManager.cycle, which is then due."""
        self.now_ms = (self.now_ms + ms) & 0x3FFFFFFF  # as a board's ticks, they wrap
        now = self.image.now
        moving = now[im.CMD_RUN] and now[im.CMD_CONTACTOR]
        self.power_kw = now[im.CMD_P] / 1000 if moving else 0.0
        self.soc -= self._dc_kw() * ms / (CAPACITY_KWH * 36000)
        self._flicker ^= 1  # no sensor repeats itself for long: one that does counts as frozen
        self._volts = 6435 + self._flicker
        self._write()
        for group in GROUPS:
            if group not in self.silent:
                self.image.heard(group)
        return self.now_ms

    def _dc_kw(self) -> float:
        return self.power_kw / EFFICIENCY if self.power_kw > 0 else self.power_kw * EFFICIENCY

    def _write(self) -> None:
        """Whole numbers in each slot's unit; who is silent leaves its slots as they were."""
        inp = self.image.inp
        rows = list(self._inverter().items())
        if im.SEQ_BMS not in self.silent:
            rows += list(self._battery().items())
        if im.SEQ_METER not in self.silent:
            rows += list(self._meter().items())
        for slot, value in rows:
            inp[slot] = value

    def _battery(self) -> dict:
        return {
            im.BMS_SOC: int(self.soc + 0.5) * 100,  # a BMS tells whole percents
            im.BMS_V: self._volts,
            im.BMS_I: self._dc_amps(),
        }

    def _dc_amps(self) -> int:
        """0.1 A at the battery's terminals."""
        return int(self._dc_kw() * 100000 / self._volts)

    def _inverter(self) -> dict:
        running = im.PCS_RUNNING if self.power_kw else im.PCS_STANDBY
        return {
            im.PCS_STATE: running if self.image.now[im.CMD_RUN] else im.PCS_OFF,
            im.PCS_P: int(self.power_kw * 1000),
            im.PCS_DC_V: self._volts,
            im.PCS_DC_I: self._dc_amps(),
            im.PCS_DC_P: int(self._dc_kw() * 1000),
            im.PCS_GRID: 1 if self.grid else 0,
        }

    def _meter(self) -> dict:
        return {
            im.METER_P: int((self.load_kw - self.power_kw) * 1000),
            im.METER_V: 4000 + self._flicker if self.grid else 0,
            im.METER_HZ: 50000 if self.grid else 0,
        }
