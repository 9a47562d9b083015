"""Several banks in virtual time: every battery's and inverter's reports in its own Image, and the commands taken from there.

As VirtualSite does it for one of each: the same plant, the same sensors (sim/measure), the same periods; each device by its own
clock.  Install host_tests.shims before importing this file.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from firmware import image as im
from tools.sim.banks_auditor import BankAuditor, BanksAuditor
from tools.sim.faults import FAULTS, Switches
from tools.sim.measure import NOISE_W, InverterSensors, MeterSensors, Triangle
from tools.sim.physics.banks import BankLayout, BanksPlant, Battery, Inverter
from tools.sim.physics.bms import BmsReport
from tools.sim.physics.plant import PlantOptions
from tools.sim.virtual import reports
from tools.sim.virtual.site import BMS_S, METER_S, PCS_S

_EARLY_S = 1e-9  # sums of steps fall short by so much


class Link:
    """What stands between a device and the controller; its fields are those that faults.FAULTS throws."""

    def __init__(self) -> None:
        self.silent = False
        self.frozen = False
        self.refuses = False


class _Node:
    """One device with an Image: when it reports next, and how."""

    def __init__(self, image: Any, period_s: float, phase_s: float) -> None:
        self.image = image
        self.link = Link()
        self._period_s = period_s
        self._since_s = phase_s
        self.silent_s = 0.0  # since it last reported

    def due(self, dt_s: float) -> bool:
        """Whether it reports now, `dt_s` later, if it reports at all."""
        self._since_s += dt_s
        self.silent_s += dt_s
        if self._since_s < self._period_s - _EARLY_S:
            return False
        self._since_s = 0.0
        if self.link.silent:
            return False
        self.silent_s = 0.0
        return True

    def late(self, dt_s: float) -> None:
        """Nobody took its reports for so long: it goes on by its own clock."""
        self._since_s = (self._since_s + dt_s) % self._period_s
        self.silent_s += dt_s


class BatteryNode(_Node):
    """A BMS."""

    def __init__(self, battery: Battery, image: Any, auditor: BankAuditor, phase_s: float) -> None:
        super().__init__(image, BMS_S, phase_s)
        self.battery = battery
        self._reported = auditor.reporter(battery.name)
        self.report: BmsReport | None = None  # the last one

    def write(self) -> None:
        """Its report, or the last one for ever."""
        if self.report is None or not self.link.frozen:
            self.report = self.battery.bms.report()
        reports.write_bms(self.image, self.report)
        self._reported(self.report)


class InverterNode(_Node):
    """An inverter: reports and obeys."""

    def __init__(self, inverter: Inverter, image: Any, auditor: BankAuditor, noise: Triangle, phase_s: float) -> None:
        super().__init__(image, PCS_S, phase_s)
        self.pcs = inverter.pcs
        self._sensors = InverterSensors(inverter, inverter.pcs, inverter.pack, noise)
        self._auditor = auditor
        self._heartbeat = -1
        self._given_w = 0

    def write(self) -> None:
        """What it measures, or what it measured."""
        if not self.link.frozen:
            reports.measure_pcs(self.image, self._sensors)
        self.image.heard(im.SEQ_PCS)

    def obey(self) -> None:
        """Take the command, where one has come."""
        now = self.image.now
        if now[im.CMD_SEQ] == self._heartbeat or self.link.silent or self.link.refuses:
            return  # its watchdog runs
        self._heartbeat = now[im.CMD_SEQ]
        self.pcs.run = now[im.CMD_RUN] == 1
        watts = now[im.CMD_P] if self.pcs.run else 0
        self.pcs.command(float(watts))
        if watts != self._given_w:
            self._given_w = watts
            self._auditor.setpoint(float(watts))


class VirtualBanks:
    """A plant of several banks behind the site's Image.  Call `step(dt_s)` once after every `manager.cycle`."""

    playable = tuple(name for name, fault in FAULTS.items() if not fault.of_a_wire)

    def __init__(
        self,
        image: Any,
        layouts: Sequence[BankLayout],
        power: Mapping[str, Any],
        powers: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int = 1,
        meter: bool = True,
        pv: bool = False,
        own_contactors: bool = False,
        **options: Any,
    ) -> None:
        """image: the site's; its `batteries` and `inverters` are the devices' Images, in the banks' order.

        own_contactors: each battery's follow the command in its own Image, not the site's.
        power, powers: fields of PowerConfig of the site, and of each bank by name where they differ, for the auditor; options:
        PlantOptions', for every battery and inverter that its layout does not say otherwise of.
        """
        self.image = image
        self.plant = plant = BanksPlant(layouts, PlantOptions(**options), seed)
        limits = {bank.name: {**power, **(powers or {}).get(bank.name, {})} for bank in plant.banks}
        self.auditor = BanksAuditor(plant, limits, power, float(power.get("cycle_s", 0.05)))
        self.has_pv = pv
        self.own_contactors = own_contactors
        self.active: set[tuple[str, str]] = set()  # (fault, bank or device; "" for all)
        self.pressed = False
        rng = random.Random(seed + 17)
        self.noise = Triangle(rng, plant.options.measurement_noise)
        self.batteries = [
            BatteryNode(one, own, self._auditor_of(one.name), rng.uniform(0.0, BMS_S))
            for one, own in zip(plant.batteries, getattr(image, "batteries", [image]), strict=True)
        ]
        self.inverters = [
            InverterNode(one, own, self._auditor_of(one.name), self.noise, rng.uniform(0.0, PCS_S))
            for one, own in zip(plant.inverters, getattr(image, "inverters", [image]), strict=True)
        ]
        self.meter = _Node(image, METER_S, 0.0) if meter else None
        self._pv = _Node(image, METER_S, 0.0)
        self._measured = MeterSensors(plant, self.noise)
        self._switches = self._all_switches()

    def _auditor_of(self, device: str) -> BankAuditor:
        return next(auditor for auditor in self.auditor.banks.values() if auditor.has(device))

    def _all_switches(self) -> dict[str, Switches]:
        parts: dict[str, object] = {"grid": self.plant, "board": self}
        if self.meter is not None:
            parts["meter"] = self.meter.link
        found = {"": Switches(parts)}
        for battery, node in zip(self.plant.batteries, self.batteries, strict=True):
            found[battery.name] = Switches({"bms": node.link, "cells": battery.bms, "contactors": battery})
        for inverter, own in zip(self.plant.inverters, self.inverters, strict=True):
            found[inverter.name] = Switches({"pcs": own.link, "inverter": inverter.pcs})
        return found

    def attach(self, image: Any) -> None:
        """The controller has been reset: another image of the same banks; the devices live on."""
        self.image = image
        for nodes, images in ((self.batteries, image.batteries), (self.inverters, image.inverters)):
            for node, own in zip(nodes, images, strict=True):
                node.image = own
        self._pv.image = image
        if self.meter is not None:
            self.meter.image = image

    # ---- faults -----------------------------------------------------------------------------------------
    def inject(self, name: str, of: str = "") -> None:
        """Start a fault everywhere, or in one bank or device.  Raises ValueError for what there is not, or what only wires have."""
        self._switch(name, True, of)
        self.active.add((name, of))

    def clear(self, name: str, of: str = "") -> None:
        """End it."""
        self._switch(name, False, of)
        self.active.discard((name, of))

    def _switch(self, name: str, on: bool, of: str) -> None:
        if name not in self.playable:
            raise ValueError(f"fault {name!r} is not one of {', '.join(self.playable)}")
        batteries, inverters = self.plant.of(of)
        names = [*([] if of else [""]), *(one.name for one in batteries), *(one.name for one in inverters)]
        chosen = [self._switches[each] for each in names if self._switches[each].has(name)]
        if not chosen:
            raise ValueError(f"{of or 'this site'} has nothing that {name} could befall")
        for switches in chosen:
            switches.turn(name, on)

    # ---- time -------------------------------------------------------------------------------------------
    def step(self, dt_s: float) -> None:
        """Take the commands, let `dt_s` pass, write what has been measured meanwhile."""
        self._switch_contactors()
        for inverter in self.inverters:
            inverter.obey()
        self.plant.step(dt_s)
        for battery in self.batteries:
            if battery.due(dt_s):
                battery.write()
        for inverter in self.inverters:
            if inverter.due(dt_s):
                inverter.write()
        self._write_site(dt_s)
        self.auditor.watch()

    def _switch_contactors(self) -> None:
        if not self.own_contactors:
            self.plant.contactor_wanted = self.image.now[im.CMD_CONTACTOR] == 1
            return
        for node in self.batteries:
            node.battery.contactor_wanted = node.image.now[im.CMD_CONTACTOR] == 1

    def stall(self, dt_s: float) -> None:
        """`dt_s` during which the controller does nothing at all: it takes no report, and nobody hears it."""
        left = dt_s
        while left > 0.0:
            self.plant.step(min(left, 1.0))
            left -= 1.0
        for node in (*self.batteries, *self.inverters):
            node.late(dt_s)
        self.auditor.watch()

    def _write_site(self, dt_s: float) -> None:
        """What is the site's own: meter, PV, the board's pins."""
        meter = self.meter
        if meter is not None and meter.due(dt_s):
            if not meter.link.frozen:
                reports.measure_meter(self.image, self._measured)
            self.image.heard(im.SEQ_METER)
        if self.has_pv and self._pv.due(dt_s):
            reports.write_pv(self.image, self.noise.of(self.plant.pv_w, NOISE_W))
        closed = [node.battery.contactor_closed for node in self.batteries]
        reports.write_io(self.image, self.pressed, any(closed) if self.own_contactors else all(closed))
