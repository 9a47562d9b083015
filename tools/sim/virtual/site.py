"""The simulated site in virtual time: the plant joined to the firmware's process image without wires or a clock.

For tests and soak runs in one process.  It does to the image what the drivers do (same units, same quantisation,
same periods), and obeys the commands it finds there.  Install host_tests.shims before importing this file.
"""

import random
from typing import Any

from firmware import image as im
from tools.sim import healthy
from tools.sim.auditor import Auditor
from tools.sim.faults import FAULTS, Switches
from tools.sim.measure import NOISE_W, InverterSensors, MeterSensors, Triangle
from tools.sim.physics.bms import BmsReport
from tools.sim.virtual import reports

BMS_S = 1.0
PCS_S = 0.1
METER_S = 0.1


class VirtualSite:
    """A plant behind an image.  Call `step(dt_s)` once after every `manager.cycle`."""

    playable = tuple(name for name, fault in FAULTS.items() if not fault.of_a_wire)

    def __init__(
        self, image: Any, power: dict[str, Any], seed: int = 1, meter: bool = True, pv: bool = False, **options: Any
    ) -> None:
        """`power`: fields of PowerConfig for the auditor; meter, pv: what is measured; options: PlantOptions'."""
        self.image = image
        self.plant = healthy.plant(seed, **options)
        self.auditor = Auditor(self.plant, power, BMS_S, float(power.get("cycle_s", 0.05)))
        self.has_meter = meter
        self.has_pv = pv
        self.active: set[str] = set()
        plant = self.plant
        self._switches = Switches({"cells": plant.bms, "inverter": plant.pcs, "contactors": plant, "grid": plant})
        self.noise = Triangle(random.Random(seed + 17), plant.options.measurement_noise)
        self._inverter = InverterSensors(plant, plant.pcs, plant.pack, self.noise, as_device=False)
        self._meter = MeterSensors(plant, self.noise)
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
        if name not in self.playable:
            raise ValueError(f"fault {name!r} is not one of {', '.join(self.playable)}")
        self._switches.turn(name, on)
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
        reports.write_io(self.image, "estop" in active, self.plant.contactor_closed)
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
        report = self._report if frozen and self._report is not None else self.plant.bms.report()
        self._report = report
        reports.write_bms(self.image, report)
        self.auditor.reported(report)

    def _write_pcs(self, frozen: bool) -> None:
        if not frozen:
            reports.measure_pcs(self.image, self._inverter)
        self.image.heard(im.SEQ_PCS)

    def _write_meter(self, frozen: bool) -> None:
        if not frozen:
            reports.measure_meter(self.image, self._meter)
        self.image.heard(im.SEQ_METER)

    def _write_pv(self) -> None:
        reports.write_pv(self.image, self.noise.of(self.plant.pv_w, NOISE_W))
