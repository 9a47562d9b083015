"""A site of its own for the recorded days: battery, inverter, meter, load, sun and grid, with everything that befalls them.

It stands apart from the simulator, so that what is recorded stays comparable while that one is rebuilt; it writes the process
image as drivers do and reads the commands there.  The same numbers on every interpreter: whole numbers, and doubles.
"""

import micropython  # native: a day is played in three quarters of the time

from firmware import image as im

EFFICIENCY = 0.95
CELLS = 195
CAPACITY_AS = 208000 * 3600 / 624  # A s of 208 kWh at 624 V
RESISTANCE = 0.1
BMS_MS = 1000
PCS_MS = 100
WATCHDOG_MS = 3000
_NEVER = -1

# what can befall the site; `World.active` holds those that do
FAULTS = (
    "bms_silent", "bms_frozen", "bms_boots", "two_batteries", "no_soc", "no_voltage", "no_limits", "cell_reading_high",
    "cell_high", "cell_low", "hot", "cold", "forbids_charge", "forbids_discharge", "force_charge", "protects_charge",
    "protects_discharge", "separates", "alarm", "pcs_silent", "pcs_frozen", "pcs_refuses", "pcs_fault", "pcs_derated",
    "meter_silent", "meter_frozen", "pv_silent", "io_silent", "estop", "contactor_stuck", "grid_lost", "grid_slow",
)  # fmt: skip


def between(table, hour: float) -> float:
    """The value of a daily curve [(hour, value)] at `hour`, linear between its points."""
    before = table[0]
    for point in table:
        if point[0] > hour:
            share = (hour - before[0]) / (point[0] - before[0])
            return before[1] + share * (point[1] - before[1])
        before = point
    return before[1]


class World:
    """`step(dt_ms)` lets time pass and the devices report; `drain()` takes a battery report that waited in a receiver."""

    def __init__(self, image, seed: int, soc: float, load, pv, has: int, noise: int = 40) -> None:
        self.image = image
        self.active: set = set()
        self.soc = soc
        self.soc_error = 0.0  # what the BMS believes, less what is true
        self.load_curve = load
        self.pv_curve = pv
        self.has = has
        self.forms = False  # the inverter makes a grid of its own where there is none
        self.running = False
        self.noise = noise  # W of each power reading
        self.power = 0.0
        self.setpoint = 0
        self.closed = False
        self.temperature = 25.0
        self.state = im.PCS_OFF
        self.second = 0.0  # of the day
        self._random = seed & 0x7FFFFFFF
        self._move_ms = 0
        self._start_ms = 0
        self._silence_ms = 0
        self._sequence = _NEVER
        self._bms_ms = self._pcs_ms = 0
        self._bits = 0

    @micropython.native
    def random(self, most: int) -> int:
        """A whole number from 0 to most - 1."""
        self._random = (self._random * 1103515245 + 12345) & 0x7FFFFFFF
        return (self._random >> 8) % most

    @micropython.native
    def _noisy(self, value: float, sigma: int) -> int:
        if not sigma:
            return int(value)
        return int(value) + self.random(2 * sigma + 1) - sigma

    # ---- the plant --------------------------------------------------------------------------------------

    @property
    def grid(self) -> bool:
        return "grid_lost" not in self.active

    @property
    def load_w(self) -> float:
        return between(self.load_curve, self.second / 3600)

    @property
    def pv_w(self) -> float:
        return between(self.pv_curve, self.second / 3600)

    @micropython.native
    def amps(self) -> float:
        """Battery current, + discharge."""
        watts = self.power / EFFICIENCY if self.power > 0 else self.power * EFFICIENCY
        return watts / self.volts()

    @micropython.native
    def volts(self) -> float:
        watts = self.power / EFFICIENCY if self.power > 0 else self.power * EFFICIENCY
        emf = 600.0 + self.soc * 0.5
        return emf - RESISTANCE * watts / emf

    @micropython.native
    def step(self, dt_ms: int) -> None:
        """Take the commands, let `dt_ms` pass, report what is due."""
        self.second += dt_ms / 1000
        self._obey(dt_ms)
        self._move(dt_ms)
        self._bms_ms += dt_ms
        if self._bms_ms >= BMS_MS:
            self._bms_ms %= BMS_MS
            self._write_bms()
        self._pcs_ms += dt_ms
        if self._pcs_ms >= PCS_MS:
            self._pcs_ms %= PCS_MS
            self._write_pcs()
            self._write_meter()
        self._write_io()

    @micropython.native
    def _obey(self, dt_ms: int) -> None:
        now, active = self.image.now, self.active
        wanted = now[im.CMD_CONTACTOR] == 1
        if wanted != self.closed and "contactor_stuck" not in active:
            self._move_ms += dt_ms
            if self._move_ms >= 100:
                self.closed, self._move_ms = wanted, 0
        else:
            self._move_ms = 0
        self._silence_ms += dt_ms
        if now[im.CMD_SEQ] != self._sequence and "pcs_silent" not in active and "pcs_refuses" not in active:
            self._sequence = now[im.CMD_SEQ]
            self._silence_ms = 0
            self.setpoint = now[im.CMD_P] if now[im.CMD_RUN] else 0
            self.running = now[im.CMD_RUN] == 1
        if self._silence_ms > WATCHDOG_MS:
            self.setpoint, self.running = 0, False
        self._follow(dt_ms)

    @micropython.native
    def _follow(self, dt_ms: int) -> None:
        """The inverter: a second to start, then its setpoint with 100 ms."""
        closed = self.closed and "separates" not in self.active
        if "pcs_fault" in self.active:
            self.state = im.PCS_FAULT
        elif not self.running or not closed or (not self.grid and not self.forms):
            self.state, self._start_ms = im.PCS_OFF, 0
        elif self._start_ms < 1000:
            self._start_ms += dt_ms
            self.state = im.PCS_STARTING
        else:
            self.state = im.PCS_RUNNING if self.setpoint else im.PCS_STANDBY
        if self.state < im.PCS_STANDBY or self.state > im.PCS_RUNNING:
            self.power = 0.0
            return
        target = float(self.setpoint)
        if not self.grid:
            target = self.load_w - self.pv_w  # it forms the island
        self.power += (target - self.power) * dt_ms / (100 + dt_ms)
        if -1 < self.power < 1:
            self.power = 0.0

    @micropython.native
    def _move(self, dt_ms: int) -> None:
        amps = self.amps()
        self.soc -= 100 * amps * dt_ms / (1000 * CAPACITY_AS)
        self.temperature += (25.0 + amps * amps / 2000 - self.temperature) * dt_ms / 7200000

    # ---- what the devices report ------------------------------------------------------------------------

    def _write_bms(self) -> None:
        active = self.active
        if "bms_silent" in active:
            return
        if "bms_frozen" not in active:
            self._measure_bms()
        for seq in (im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS, im.SEQ_BMS_FLAGS):
            self.image.heard(seq)

    @micropython.native
    def _measure_bms(self) -> None:
        inp, active, volts = self.image.inp, self.active, self.volts()
        said = min(100.0, max(0.0, self.soc + self.soc_error))
        inp[im.BMS_SOC] = int(said + 0.5) * 100
        inp[im.BMS_SOH] = 9900
        inp[im.BMS_V] = self._noisy(volts * 10, 1)
        inp[im.BMS_I] = self._noisy(self.amps() * 10, 1)
        inp[im.BMS_TEMP] = self._noisy(self.temperature * 10, 1)
        inp[im.BMS_V_MAX], inp[im.BMS_V_MIN] = 7020, 5460
        inp[im.BMS_I_CHG] = int(1650 * min(1.0, max(0.0, (100.0 - self.soc) / 4)))
        inp[im.BMS_I_DIS] = int(1650 * min(1.0, max(0.0, self.soc / 4)))
        cell = int(volts * 1000 / CELLS)
        inp[im.CELL_V_MAX] = cell + 8 + (500 if "cell_high" in active else 0)
        inp[im.CELL_V_MIN] = cell - 8 - (1000 if "cell_low" in active else 0)
        heat = 400 if "hot" in active else -420 if "cold" in active else 0
        inp[im.CELL_T_MAX] = int(self.temperature * 10) + 15 + heat
        inp[im.CELL_T_MIN] = int(self.temperature * 10) - 15 + heat
        amps = self.amps()
        inp[im.BMS_STATUS] = 2 if amps > 1 else 1 if amps < -1 else 3
        inp[im.BMS_REQUESTS] = (
            ("forbids_charge" in active) * im.BMS_REQ_NO_CHARGE
            | ("forbids_discharge" in active) * im.BMS_REQ_NO_DISCHARGE
            | ("force_charge" in active) * im.BMS_REQ_FORCE_CHARGE
        )
        inp[im.BMS_PROTECT] = (
            ("protects_charge" in active) * im.BMS_PROT_OVER_V
            | ("protects_discharge" in active) * im.BMS_PROT_UNDER_V
            | ("separates" in active) * im.BMS_PROT_SYSTEM
        )
        inp[im.BMS_ALARM] = ("alarm" in active) * im.BMS_PROT_OVER_T
        self._spoil(inp)

    def _spoil(self, inp) -> None:
        """What an odd battery reports."""
        active = self.active
        odd = im.BMS_ODD_TWO if "two_batteries" in active else 0
        for name, slots in (
            ("no_soc", (im.BMS_SOC,)), ("no_voltage", (im.BMS_V,)), ("no_limits", (im.BMS_I_CHG, im.BMS_I_DIS)),
        ):  # fmt: skip
            if name in active:
                for slot in slots:
                    inp[slot] = im.NO_VALUE
                    odd |= 1 << slot - im.BMS_SOC
        if "two_batteries" in active:
            self._bits ^= 1
            inp[im.BMS_SOC] = 8800 if self._bits else 3000
        if "bms_boots" in active:
            for slot in (im.BMS_SOC, im.BMS_V, im.BMS_I, im.BMS_I_CHG, im.BMS_I_DIS):
                inp[slot] = 0
        if "cell_reading_high" in active:
            self._bits ^= 2
            if self._bits & 2:
                inp[im.CELL_V_MAX] = 4900  # every other reading
        inp[im.BMS_ODD] = odd

    @micropython.native
    def _write_pcs(self) -> None:
        active = self.active
        if "pcs_silent" in active:
            return
        if "pcs_frozen" not in active:
            inp, volts, amps = self.image.inp, self.volts(), self.amps()
            live = self.grid or self.state == im.PCS_RUNNING
            inp[im.PCS_STATE] = self.state
            inp[im.PCS_P] = self._noisy(self.power, self.noise) // 10 * 10 if self.power else 0
            inp[im.PCS_Q] = 0
            inp[im.PCS_V] = self._noisy(4000, 8) if live else 0
            inp[im.PCS_I] = int(abs(self.power) / 69.28)
            inp[im.PCS_HZ] = self._noisy(self._hertz(), 3) if live else 0
            inp[im.PCS_DC_V] = self._noisy(volts * 10, 3) if self.closed else 0
            inp[im.PCS_DC_I] = int(amps * 10)
            inp[im.PCS_DC_P] = int(amps * volts)
            most = 40000 if "pcs_derated" in active else 100000
            inp[im.PCS_P_CHG] = inp[im.PCS_P_DIS] = most
            inp[im.PCS_TEMP] = 300 + int(abs(self.power) / 400)
            inp[im.PCS_ALARM] = 4 if "pcs_fault" in active else 0
            inp[im.PCS_GRID] = 1 if self.grid else 0
            inp[im.PCS_SETPOINT] = self.setpoint
        self.image.heard(im.SEQ_PCS)

    def _hertz(self) -> int:
        return 46500 if "grid_slow" in self.active else 50000

    @micropython.native
    def _write_meter(self) -> None:
        inp, active = self.image.inp, self.active
        if self.has & im.HAS_METER and "meter_silent" not in active:
            if "meter_frozen" not in active:
                inp[im.METER_P] = self._noisy(self.load_w - self.pv_w - self.power, self.noise) if self.grid else 0
                inp[im.METER_V] = self._noisy(4000, 8) if self.grid else 0
                inp[im.METER_I] = 100
                inp[im.METER_HZ] = self._noisy(self._hertz(), 3) if self.grid else 0
            self.image.heard(im.SEQ_METER)
        if self.has & im.HAS_PV and "pv_silent" not in active:
            inp[im.PV_P] = max(0, self._noisy(self.pv_w, self.noise))
            self.image.heard(im.SEQ_PV)

    def _write_io(self) -> None:
        if "io_silent" not in self.active:
            inp = self.image.inp
            inp[im.IO_ESTOP] = 1 if "estop" in self.active else 0
            inp[im.IO_CONTACTOR] = 1 if self.closed else 0
            self.image.heard(im.SEQ_IO)
