"""A battery, an inverter and a meter of a few lines, in virtual time: writes the image as drivers do, then runs the cycle.

`force` overrides any input slot, `silent` holds SEQ slots of groups that no longer arrive.
"""

from firmware import image as im
from firmware.config import PowerConfig
from firmware.manager import PowerManager
from firmware.requests import SOURCES
from tools.healthy import healthy

ALL = im.HAS_BMS | im.HAS_PCS | im.HAS_METER | im.HAS_PV | im.HAS_IO
EFFICIENCY = 0.95


class Plant:
    """One manager (`pm`) with its surroundings; powers in W, + discharge; `soc` is the pack's true one in %."""

    def __init__(self, has=ALL, **config):
        self.pm = PowerManager(PowerConfig(**config), has=has)
        self.image = self.pm.image
        self.now = self.image.now
        self.ms = 1000
        self.force = {}
        self.silent = set()
        self.soc = 50.0
        self.volts = 643.5  # 3.30 V a cell
        self.load = 20000
        self.pv = 0
        self.grid = True
        self.follows = True  # the inverter does what it is told
        self.power = 0  # what it does
        self._flip = 0
        self._battery = healthy("battery")
        self._others = [row for row in healthy() if row not in self._battery]

    def ready(self):
        """Started and connected (IDLE, unless something asks for power); the plant itself, for chaining."""
        self.cycles(2)
        self.pm.start()
        self.cycles(3)
        assert self.now[im.MODE] in (1, 2, 3), "not started: mode %d, faults %r" % (self.now[im.MODE], self.pm.stats()["faults"])
        return self

    def cycle(self, dt=50):
        """The world moves on by dt ms, then the manager sees it."""
        self.ms = (self.ms + dt) & 0x3FFFFFFF
        self._move(dt)
        self._write()
        self.pm.cycle(self.ms)

    def cycles(self, count, dt=50):
        for _ in range(count):
            self.cycle(dt)

    def run(self, seconds, dt=50):
        self.cycles(int(seconds * 1000 / dt + 0.5), dt)

    def until(self, condition, seconds=60, dt=50):
        """Cycle until condition() holds; the milliseconds it took.  Fails after `seconds`."""
        passed = 0
        while not condition():
            assert passed < seconds * 1000, "it did not happen within %s s; %r" % (seconds, self.pm.stats())
            self.cycle(dt)
            passed += dt
        return passed

    def until_mode(self, mode, seconds=60):
        return self.until(lambda: self.pm.mode == mode, seconds)

    def _move(self, dt):
        now = self.now
        if self.follows:
            self.power = now[im.CMD_P] if now[im.CMD_RUN] and now[im.CMD_CONTACTOR] else 0
        self.soc -= self.dc_watts() * dt / (208000 * 36000)  # W ms of a 208 kWh pack, in %

    def dc_watts(self):
        return self.power / EFFICIENCY if self.power > 0 else self.power * EFFICIENCY

    def _write(self):
        inp = self.image.inp
        self._flip ^= 1  # real sensors never repeat themselves for long
        amps = int(self.dc_watts() / self.volts * 10)
        volts = int(self.volts * 10) + self._flip
        self._report(inp, self._others)
        self._bms(inp, volts, amps)
        if im.SEQ_PCS not in self.silent:
            self._pcs(inp, volts, amps)
        if im.SEQ_METER not in self.silent:
            inp[im.METER_P] = self.load - self.pv - self.power
            inp[im.METER_I] += self.ms // 10000 % 2
            if not self.grid:
                inp[im.METER_V] = inp[im.METER_HZ] = 0
        inp[im.PV_P] = self.pv
        inp[im.IO_ESTOP] = 0
        inp[im.IO_CONTACTOR] = self.now[im.CMD_CONTACTOR]
        for slot in self.force:
            inp[slot] = self.force[slot]
        for group in range(9):
            if group not in self.silent:
                self.image.heard(group)

    def _report(self, inp, rows):
        for slot, value, group in rows:
            if group not in self.silent:
                inp[slot] = value

    def _bms(self, inp, volts, amps):
        self._report(inp, self._battery)
        if im.SEQ_BMS not in self.silent:
            inp[im.BMS_SOC] = int(self.soc + 0.5) * 100
            inp[im.BMS_V] = volts
            inp[im.BMS_I] = amps

    def _pcs(self, inp, volts, amps):
        state = im.PCS_OFF
        if self.now[im.CMD_RUN]:
            state = im.PCS_RUNNING if self.power else im.PCS_STANDBY
        inp[im.PCS_STATE] = state
        inp[im.PCS_P] = self.power
        inp[im.PCS_DC_V] = volts
        inp[im.PCS_DC_I] = amps
        inp[im.PCS_DC_P] = int(self.dc_watts())
        inp[im.PCS_GRID] = 1 if self.grid else 0

    # ---- what tests ask -----------------------------------------------------------------------------------

    def command(self):
        """W."""
        return self.now[im.CMD_P]

    def events(self, name=None):
        """The history as (name, data) pairs, or the data of one event's occurrences."""
        pairs = [(said, data) for said, data, _ in self.pm.events.history()]
        return pairs if name is None else [data for said, data in pairs if said == name]

    def faults(self):
        return self.pm.stats()["faults"]

    def by(self):
        return SOURCES[self.now[im.REQUEST_BY]]

    def why(self, charge=False):
        stats = self.pm.stats()
        return stats["why_charge" if charge else "why_discharge"]


def refusal(error, fn, *given, **named):
    """The text of the error that fn(...) raises; fails if it raises none, or another one."""
    try:
        fn(*given, **named)
    except error as raised:
        return str(raised)
    raise AssertionError("%r accepted %r %r" % (fn, given, named))


def photo(pm):
    """Everything a refused call must leave alone."""
    image = pm.image
    config = sorted(pm.config.__dict__.items())
    return (
        list(image.inp),
        list(image.now),
        list(image.par),
        pm.claims(),
        config,
        pm.events.total,
        len(pm.events.callbacks),
    )
