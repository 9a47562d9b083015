"""Several batteries and inverters of a few lines, in virtual time: each writes its own Image as drivers do, then the cycle runs."""

from firmware import image as im
from firmware.banks import divide
from firmware.config import PowerConfig
from firmware.manager import PowerManager
from host_tests.both.plant import EFFICIENCY
from tools.healthy import healthy

BATTERY_GROUPS = (im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS, im.SEQ_BMS_FLAGS)


class Battery:
    """A pack with its BMS; `force` overrides slots, `silent`: it does not report."""

    def __init__(self, image):
        self.image = image
        self.force = {}
        self.silent = False
        self.soc = 50.0
        self.amps = 0.0
        self.flip = 0


class Inverter:
    """An inverter that does what it is told."""

    def __init__(self, image):
        self.image = image
        self.force = {}
        self.silent = False
        self.power = 0
        self.seq = -1


class BankPlant:
    """A manager of several banks: shape, one (batteries, inverters) each; `powers`: of each what its PowerConfig has otherwise."""

    def __init__(self, shape=((1, 1), (1, 1)), powers=(), **config):
        config = dict({"max_charge_power": 200, "max_discharge_power": 200, "max_grid_export_power": 200}, **config)
        self.image = im.Image()
        plan = []
        for i, (batteries, inverters) in enumerate(shape):
            own = dict(config, max_charge_power=100, max_discharge_power=100)
            own.update(powers[i] if i < len(powers) else {})
            plan.append(("abcd"[i], PowerConfig(**own), batteries, inverters, 0))
        divide(self.image, plan)
        self.pm = PowerManager(PowerConfig(**config), self.image, im.HAS_BMS | im.HAS_PCS | im.HAS_METER | im.HAS_IO)
        self.now = self.image.now
        self.batteries = [Battery(image) for image in self.image.batteries]
        self.inverters = [Inverter(image) for image in self.image.inverters]
        self.load = 20000
        self.force = {}
        self.silent = ()  # groups of the site's own that are not received
        self.grid = True
        self.rest = {block: healthy(block) for block in ("battery", "pcs", "meter", "io")}
        self.ms = 1000
        self.told = []
        self.pm.register_callback(-1, lambda event, data, _: self.told.append((event, data)))

    def ready(self):
        """Started and connected; the plant itself, for chaining."""
        self.cycles(2)
        self.pm.start()
        self.cycles(4)
        assert self.pm.mode == 1, self.pm.stats()["reason"]
        return self

    def cycles(self, count, dt=50):
        for _ in range(count):
            self.cycle(dt)

    def run(self, seconds):
        self.cycles(int(seconds * 20 + 0.5))

    def cycle(self, dt=50):
        self.ms = (self.ms + dt) & 0x3FFFFFFF
        for bank in self.image.banks:
            self._move(bank, dt)
        self._write_site()
        self.pm.cycle(self.ms)
        while self.pm.events.dispatch():
            pass

    def _of(self, bank):
        batteries = [one for one in self.batteries if one.image in bank.batteries]
        return batteries, [one for one in self.inverters if one.image in bank.inverters]

    def _move(self, bank, dt):
        batteries, inverters = self._of(bank)
        dc = 0.0
        for one in inverters:
            now = one.image.now
            if not one.silent and now[im.CMD_SEQ] != one.seq:  # its watchdog: without a fresh command it rests
                one.seq = now[im.CMD_SEQ]
                one.power = now[im.CMD_P] if now[im.CMD_RUN] and now[im.CMD_CONTACTOR] else 0
            elif one.silent:
                one.power = 0
            dc += one.power / EFFICIENCY if one.power > 0 else one.power * EFFICIENCY
        for one in batteries:
            one.amps = dc / 643.5 / len(batteries)
            one.soc -= one.amps * 643.5 * dt / (208000 * 36000)
            if not one.silent:
                self._write_battery(one)
        for one in inverters:
            if not one.silent:
                self._write_inverter(one)

    def _write_battery(self, one):
        inp = one.image.inp
        for slot, value, _ in self.rest["battery"]:
            inp[slot] = value
        one.flip ^= 1
        inp[im.BMS_SOC] = int(one.soc + 0.5) * 100
        inp[im.BMS_V] = 6435 + one.flip
        inp[im.BMS_I] = int(one.amps * 10)
        for slot in one.force:
            inp[slot] = one.force[slot]
        for seq in BATTERY_GROUPS:
            one.image.heard(seq)

    def _write_inverter(self, one):
        inp = one.image.inp
        for slot, value, _ in self.rest["pcs"]:
            inp[slot] = value
        dc = one.power / EFFICIENCY if one.power > 0 else one.power * EFFICIENCY
        inp[im.PCS_STATE] = im.PCS_RUNNING if one.image.now[im.CMD_RUN] else im.PCS_OFF
        inp[im.PCS_GRID] = 1 if self.grid and one.image.now[im.CMD_RUN] else 0  # off, its own relay is open
        inp[im.PCS_P] = one.power
        inp[im.PCS_DC_V] = 6435 + self.ms // 50 % 2
        inp[im.PCS_DC_I] = int(dc / 64.35)
        inp[im.PCS_DC_P] = int(dc)
        for slot in one.force:
            inp[slot] = one.force[slot]
        one.image.heard(im.SEQ_PCS)

    def _write_site(self):
        inp = self.image.inp
        for block in ("meter", "io"):
            for slot, value, _ in self.rest[block]:
                inp[slot] = value
        inp[im.METER_P] = self.load - sum([one.power for one in self.inverters])
        inp[im.METER_I] += self.ms // 10000 % 2
        if not self.grid:
            inp[im.METER_V] = inp[im.METER_HZ] = 0
        inp[im.IO_CONTACTOR] = im.NO_VALUE
        for slot in self.force:
            inp[slot] = self.force[slot]
        for seq in (im.SEQ_METER, im.SEQ_IO):
            if seq not in self.silent:
                self.image.heard(seq)

    def commands(self):
        """W to each inverter."""
        return [one.image.now[im.CMD_P] if one.image.now[im.CMD_RUN] else 0 for one in self.inverters]

    def bank(self, number):
        """A bank's figures."""
        return self.pm.banks()[number]
