"""The simulated site in virtual time: the plant joined to the firmware's process image without wires or a clock.

For tests and soak runs in one process.  It does to the image what the drivers do (same units, same quantisation,
same periods), and obeys the commands it finds there.  Install host_tests.shims before importing this file.
"""

import random
from typing import Any

from firmware import image as im
from tools.sim.auditor import Auditor
from tools.sim.devices.pcs_device import NOISE_DC_V, NOISE_HZ, NOISE_V, NOISE_W
from tools.sim.faults import FAULTS, plant_fault
from tools.sim.physics.bms import TRIANGLE, BmsReport
from tools.sim.physics.plant import Plant, PlantOptions

BMS_S = 1.0
PCS_S = 0.1
METER_S = 0.1

_ROOT3 = 3.0**0.5
# Faults that only a wire can have.
_NOT_HERE = ("bad_crc", "wrong_length", "slow_pcs")


class VirtualSite:
    """A plant behind an image.  Call `step(dt_s)` once after every `manager.cycle`."""

    def __init__(
        self, image: Any, power: dict[str, Any], seed: int = 1, meter: bool = True, pv: bool = False, **options: Any
    ) -> None:
        """`power`: fields of PowerConfig for the auditor; meter, pv: what is measured; options: PlantOptions'."""
        self.image = image
        self.plant = Plant(PlantOptions(**options), seed)
        self.auditor = Auditor(self.plant, power, BMS_S, float(power.get("cycle_s", 0.05)))
        self.has_meter = meter
        self.has_pv = pv
        self.active: set[str] = set()
        self._random = random.Random(seed + 17)
        self._noise = self.plant.options.measurement_noise
        self._report: BmsReport | None = None
        self._measured_s: float | None = None  # of what is being written; None: it is measured now
        self._bms_s = BMS_S
        self._pcs_s = PCS_S
        self._meter_s = METER_S
        self._heartbeat = -1
        self._given_w = 0

    # ---- faults -----------------------------------------------------------------------------------------
    def inject(self, name: str) -> None:
        """Start a fault of faults.FAULTS; those of a wire have no meaning here and raise ValueError."""
        self._switch(name, True)

    def clear(self, name: str) -> None:
        """End a fault."""
        self._switch(name, False)

    def _switch(self, name: str, on: bool) -> None:
        if name not in FAULTS or name in _NOT_HERE:
            known = ", ".join(f for f in FAULTS if f not in _NOT_HERE)
            raise ValueError(f"fault {name!r} is not one of {known}")
        plant_fault(self.plant, name, on)
        if on:
            self.active.add(name)
        else:
            self.active.discard(name)

    # ---- time -------------------------------------------------------------------------------------------
    def step(self, dt_s: float) -> None:
        """Take the commands, let `dt_s` pass, write what has been measured meanwhile."""
        self._obey()
        self._pass(dt_s)
        active = self.active
        self._bms_s += dt_s
        if self._bms_s >= BMS_S - 1e-9:
            self._bms_s = 0.0
            if "bms_silent" not in active:
                self._write_bms("bms_frozen" in active)
        self._pcs_s += dt_s
        if self._pcs_s >= PCS_S - 1e-9:
            self._pcs_s = 0.0
            if "pcs_silent" not in active:
                self._write_pcs("pcs_frozen" in active)
        self._meter_s += dt_s
        if self._meter_s >= METER_S - 1e-9:
            self._meter_s = 0.0
            if self.has_meter and "meter_silent" not in active:
                self._write_meter("meter_frozen" in active)
            if self.has_pv:
                self._write_pv()
        inp = self.image.inp
        inp[im.IO_ESTOP] = 1 if "estop" in active else 0
        inp[im.IO_CONTACTOR] = 1 if self.plant.contactor_closed else 0
        self.image.heard(im.SEQ_IO)
        self.auditor.watch()

    def stall(self, dt_s: float, queued: bool = False) -> None:
        """`dt_s` during which the controller does nothing at all: it takes no report, and nobody hears it.

        queued: a report of the BMS from just before waited in the controller's receiver, and is read now.
        """
        taken = self.taken() if queued else None
        left = dt_s
        while left > 0.0:
            self._hold_up(min(left, 1.0))
            left -= 1.0
        self._bms_s = (self._bms_s + dt_s) % BMS_S  # it reports by its own clock; the others are asked
        self._pcs_s += dt_s
        self._meter_s += dt_s
        if taken is not None:
            self.read_late(taken)
        self.auditor.watch()

    def taken(self) -> "tuple[BmsReport, float] | None":
        """A report of the BMS as it comes into the controller's receiver now, for read_late(); None if no true one comes."""
        if "bms_silent" in self.active or "bms_frozen" in self.active:
            return None
        return self.plant.bms.report(), self.plant.time_s

    def read_late(self, taken: "tuple[BmsReport, float]") -> None:
        """The controller reads only now what it has received some time ago."""
        self._report, self._measured_s = taken
        self._write_bms(True)
        self._measured_s = None

    def measured_s(self, seq: int) -> float:
        """When (plant.time_s) what is being written to this group of the image was measured."""
        return self.plant.time_s if self._measured_s is None else self._measured_s

    def _pass(self, dt_s: float) -> None:
        """Time passes in the plant."""
        self.plant.step(dt_s)

    def _hold_up(self, dt_s: float) -> None:
        """Time passes in the plant, and not for the controller."""
        self.plant.step(dt_s)

    def _obey(self) -> None:
        now = self.image.now
        plant, pcs = self.plant, self.plant.pcs
        plant.contactor_wanted = now[im.CMD_CONTACTOR] == 1
        if now[im.CMD_SEQ] == self._heartbeat or "pcs_silent" in self.active or "pcs_refuses" in self.active:
            return  # the control is dead, or the PCS does not take its word: its watchdog runs
        self._heartbeat = now[im.CMD_SEQ]
        pcs.run = now[im.CMD_RUN] == 1
        watts = now[im.CMD_P] if pcs.run else 0
        pcs.command(float(watts))
        if watts != self._given_w:
            self._given_w = watts
            self.auditor.setpoint(float(watts))

    def _write_bms(self, frozen: bool) -> None:
        r = self._report if frozen and self._report is not None else self.plant.bms.report()
        self._report = r
        inp, heard = self.image.inp, self.image.heard
        inp[im.BMS_V] = round(r.voltage_v * 10)
        inp[im.BMS_I] = round(r.current_a * 10)
        inp[im.BMS_TEMP] = round(r.temperature_c * 10)
        inp[im.BMS_SOC] = r.soc_pct * 100
        inp[im.BMS_SOH] = r.soh_pct * 100
        heard(im.SEQ_BMS)
        inp[im.BMS_V_MAX] = round(r.charge_cutoff_v * 10)
        inp[im.BMS_V_MIN] = round(r.discharge_cutoff_v * 10)
        inp[im.BMS_I_CHG] = round(r.charge_limit_a * 10)
        inp[im.BMS_I_DIS] = round(r.discharge_limit_a * 10)
        heard(im.SEQ_BMS_LIMITS)
        inp[im.CELL_V_MAX] = r.cell_max_mv
        inp[im.CELL_V_MIN] = r.cell_min_mv
        heard(im.SEQ_BMS_CELLS)
        inp[im.CELL_T_MAX] = round(r.cell_max_c * 10)
        inp[im.CELL_T_MIN] = round(r.cell_min_c * 10)
        heard(im.SEQ_BMS_TEMPS)
        inp[im.BMS_STATUS] = r.status
        inp[im.BMS_REQUESTS] = (
            im.BMS_REQ_NO_CHARGE * r.charge_forbidden
            | im.BMS_REQ_NO_DISCHARGE * r.discharge_forbidden
            | im.BMS_REQ_FORCE_CHARGE * r.force_charge
            | im.BMS_REQ_BALANCE * r.balancing
        )
        # The bits of physics.bms are numbered as the image's BMS_PROT_*.
        inp[im.BMS_PROTECT] = r.protection
        inp[im.BMS_ALARM] = r.alarm
        heard(im.SEQ_BMS_FLAGS)
        self.auditor.reported(r)

    def _write_pcs(self, frozen: bool) -> None:
        if not frozen:
            inp, plant, pcs, noisy = self.image.inp, self.plant, self.plant.pcs, self._noisy
            volts = noisy(plant.grid_v, NOISE_V) if plant.grid_present else 0.0
            power = noisy(pcs.power_w, NOISE_W)
            dc_v = noisy(plant.pack.voltage_v, NOISE_DC_V) if pcs.dc_present else 0.0
            charge, discharge = pcs.limits_w()
            inp[im.PCS_STATE] = pcs.state
            inp[im.PCS_P] = round(power / 10) * 10
            inp[im.PCS_Q] = 0
            inp[im.PCS_V] = round(volts * 10)
            inp[im.PCS_I] = round(abs(power) / (_ROOT3 * volts) * 10) if volts else 0
            inp[im.PCS_HZ] = round(noisy(plant.grid_hz, NOISE_HZ) * 1000) if plant.grid_present else 0
            inp[im.PCS_DC_V] = round(dc_v * 10)
            inp[im.PCS_DC_I] = round(plant.pack.current_a * 10)
            inp[im.PCS_DC_P] = round(plant.pack.current_a * dc_v)
            inp[im.PCS_P_CHG] = round(charge)
            inp[im.PCS_P_DIS] = round(discharge)
            inp[im.PCS_TEMP] = round(pcs.sink_c * 10)
            inp[im.PCS_ALARM] = pcs.alarm
            inp[im.PCS_GRID] = 1 if plant.grid_present else 0
            inp[im.PCS_SETPOINT] = round(pcs.setpoint_w)
        self.image.heard(im.SEQ_PCS)

    def _write_meter(self, frozen: bool) -> None:
        if not frozen:
            inp, plant, noisy = self.image.inp, self.plant, self._noisy
            live = plant.grid_present
            volts = noisy(plant.grid_v, NOISE_V) if live else 0.0
            watts = noisy(plant.grid_w, NOISE_W) if live else 0.0
            inp[im.METER_P] = round(watts / 10) * 10
            inp[im.METER_V] = round(volts * 10)
            inp[im.METER_I] = round(abs(watts) / (_ROOT3 * volts) * 10) if volts else 0
            inp[im.METER_HZ] = round(noisy(plant.grid_hz, NOISE_HZ) * 1000) if live else 0
        self.image.heard(im.SEQ_METER)

    def _write_pv(self) -> None:
        self.image.inp[im.PV_P] = max(0, round(self._noisy(self.plant.pv_w, NOISE_W) / 10) * 10)
        self.image.heard(im.SEQ_PV)

    def _noisy(self, value: float, sigma: float) -> float:
        if not value or not self._noise:
            return value
        rnd = self._random.random  # two of them make a triangle, which is noise enough and costs a quarter of gauss()
        return value + (rnd() + rnd() - 1.0) * TRIANGLE * sigma * self._noise
