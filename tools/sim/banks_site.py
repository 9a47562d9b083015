"""The simulated site of a file with several batteries and inverters: each BMS on its CAN bus, each inverter at its own port."""

import json
import random
from dataclasses import fields
from pathlib import Path
from typing import Any

from tools.sim import layout
from tools.sim.banks_auditor import BanksAuditor
from tools.sim.devices.bms_can import BmsOnCan
from tools.sim.devices.canhub import CanHub
from tools.sim.devices.meter_device import MeterDevice
from tools.sim.devices.pcs_device import PcsDevice
from tools.sim.devices.sunspec_server import SunSpecServer
from tools.sim.faults import Switches, WireFaults
from tools.sim.healthy import POWER
from tools.sim.live import CONTACTOR_PIN, ESTOP_PIN, FEEDBACK_PIN, STATES, LiveSite
from tools.sim.physics.banks import BanksPlant, Battery, Inverter
from tools.sim.physics.plant import PlantOptions

_PINS = {"estop_pin": ESTOP_PIN, "contactor_pin": CONTACTOR_PIN, "feedback_pin": FEEDBACK_PIN}
_PLANT_OPTIONS = {f.name for f in fields(PlantOptions)}
_OWN_OPTIONS = ("power", "cycle_ms", "noise_share", "slow_s")


class BanksSite(LiveSite):
    """Devices by name: `nodes` the BMS on CAN, `inverters` the PCS, `servers` theirs and the meter's."""

    def __init__(self, file: Path, seed: int = 1, **options: Any) -> None:
        """`options`: those of PlantOptions, for every battery and inverter, and `_OWN_OPTIONS`; ValueError for what cannot be."""
        self.content = json.loads(file.read_text())
        unknown = sorted(set(options) - _PLANT_OPTIONS - set(_OWN_OPTIONS))
        if unknown:
            known = ", ".join((*sorted(_PLANT_OPTIONS), *_OWN_OPTIONS))
            raise ValueError(f"site option {unknown[0]!r} is unknown here; known: {known}")
        self.content["power"] = {**self.content.get("power", {}), **options.get("power", {})}
        self.content["cycle_ms"] = cycle_ms = int(options.get("cycle_ms", self.content.get("cycle_ms", 50)))
        power = {**POWER, **self.content["power"]}
        super().__init__(seed, power, cycle_ms)
        layouts = [each.without(options) for each in layout.banks(self.content)]
        self.plant = BanksPlant(layouts, PlantOptions(**{k: v for k, v in options.items() if k in _PLANT_OPTIONS}), seed)
        section = self.content.get("banks", {})
        powers = {each.name: {**power, **section.get(each.name, {}).get("power", {})} for each in layouts}
        self.auditor = BanksAuditor(self.plant, powers, power, cycle_ms / 1000)
        self.hubs: dict[str, CanHub] = {}
        self.nodes: dict[str, BmsOnCan] = {}
        self.inverters: dict[str, PcsDevice] = {}
        self.servers: dict[str, SunSpecServer] = {}
        self.switches = {}
        self._share, self._slow_s = float(options.get("noise_share", 0.25)), float(options.get("slow_s", 0.4))
        self._rng = random.Random(seed * 7919 + 1)
        self._pins: dict[int, int] = {}
        self._build()

    def _build(self) -> None:
        batteries = {one.name: one for one in self.plant.batteries}
        inverters = {one.name: one for one in self.plant.inverters}
        parts: dict[str, object] = {"grid": self.plant, "board": self}
        for name, device in self.content["devices"].items():
            if name in batteries:
                self._battery(name, device, batteries[name])
            elif name in inverters:
                self._inverter(name, device, inverters[name])
            elif device["type"] == "meter_sunspec" and "meter" not in parts:
                meter = MeterDevice(self.plant, 203, random.Random(self._rng.random()))
                parts["meter"] = wire = self._wire()
                self.servers[name] = SunSpecServer(meter.chain, wire, meter.refresh)
            elif device["type"] == "io_board":
                self._pins = {own: device[key] for key, own in _PINS.items() if key in device}
            else:
                raise ValueError(f"device {name}: {device['type']} cannot be simulated in a site with several banks")
        self.switches[""] = Switches(parts)

    def _wire(self) -> WireFaults:
        return WireFaults(random.Random(self._rng.random()), self._share, self._slow_s)

    def _battery(self, name: str, device: dict[str, Any], battery: Battery) -> None:
        if device["type"] != "bms_pylontech" or device.get("variant", "hv") != "hv":
            raise ValueError(f"device {name}: only a bms_pylontech of the variant hv can be simulated")
        reporter = next(one.reporter(name) for one in self.auditor.banks.values() if one.has(name))
        node = BmsOnCan(battery, random.Random(self._rng.random()), device.get("address", 0), False, reporter)
        node.share = self._share
        self.nodes[name] = node
        self.hubs.setdefault(device["bus"], CanHub())
        self.switches[name] = Switches({"bms": node, "cells": battery.bms, "contactors": battery})

    def _inverter(self, name: str, device: dict[str, Any], inverter: Inverter) -> None:
        if device["type"] != "pcs_sunspec" or "host" not in device:
            raise ValueError(f"device {name}: only a pcs_sunspec with a host can be simulated in a site with several banks")
        auditor = next(one for one in self.auditor.banks.values() if one.has(name))
        pcs = PcsDevice(inverter, auditor.setpoint, random.Random(self._rng.random()))
        wire = self._wire()
        self.inverters[name] = pcs
        self.servers[name] = SunSpecServer(pcs.chain, wire, pcs.refresh, pcs.written)
        self.switches[name] = Switches({"pcs": wire, "inverter": inverter.pcs})

    # ---- life -------------------------------------------------------------------------------------------
    async def _open(self) -> None:
        for bus, hub in self.hubs.items():
            self.ports[bus] = await hub.start()
        self.ports["can"] = next(iter(self.ports.values()))
        for name, server in self.servers.items():
            self.ports[name] = await server.start()
        for name, node in self.nodes.items():
            node.start(self.ports[self.content["devices"][name]["bus"]])

    async def _close(self) -> None:
        for node in self.nodes.values():
            node.stop()
        for server in self.servers.values():
            await server.stop()
        for hub in self.hubs.values():
            await hub.stop()

    # ---- what the board needs to know -------------------------------------------------------------------
    def site_json(self) -> dict[str, Any]:
        """The file with the simulator's addresses."""
        content: dict[str, Any] = json.loads(json.dumps(self.content))
        for number, bus in enumerate(self.hubs):
            content["buses"][bus].update(backend="machine", id=number)
        for name, server in self.servers.items():
            content["devices"][name].update(host="127.0.0.1", port=server.port, unit=1)
        content["wifi"] = {"ssid": "simulated", "password": "simulated"}
        return content

    def env(self) -> dict[str, str]:
        """Where the simulated board finds the buses."""
        return {f"SIM_CAN{number}": f"127.0.0.1:{self.ports[bus]}" for number, bus in enumerate(self.hubs)}

    def board_pin(self, pin: int, level: int) -> None:
        """An output pin of the board has changed."""
        if pin == self._pins.get(CONTACTOR_PIN):
            super().board_pin(CONTACTOR_PIN, level)

    def inputs(self) -> dict[int, int]:
        """Levels of the board's input pins."""
        return {self._pins[pin]: level for pin, level in super().inputs().items() if pin in self._pins}

    def _output(self, pin: int, level: int) -> None:
        if pin in self._pins:
            super()._output(self._pins[pin], level)

    # ---- what a scenario or a test does to it, and sees ---------------------------------------------------
    def names(self) -> list[str]:
        """Of banks and devices."""
        return [*self.plant.names(), *(name for name in self.servers if name not in self.inverters)]

    def parts(self, of: str) -> list[str]:
        """The keys of `switches` that `of` means: a bank is its devices, and a meter is the site's."""
        if not of:
            return list(self.switches)
        if of in self.switches:
            return [of]
        if of not in self.plant.names():
            return [""]
        batteries, inverters = self.plant.of(of)
        return [one.name for one in batteries] + [one.name for one in inverters]

    def truth(self) -> dict[str, Any]:
        """As LiveSite's, sums and means, and under "of" each bank, battery and inverter by name."""
        each: dict[str, dict[str, Any]] = {bank.name: self._bank_truth(bank.name) for bank in self.plant.banks}
        each |= {one.name: _battery_truth(one) for one in self.plant.batteries}
        each |= {one.name: _inverter_truth(one) for one in self.plant.inverters}
        return {**super().truth(), "of": each}

    def _bank_truth(self, name: str) -> dict[str, Any]:
        bank = next(one for one in self.plant.banks if one.name == name)
        charge, discharge = self.auditor.banks[name].allowed_w()
        return {
            "soc": bank.pack.soc * 100, "stored_kwh": bank.pack.stored_wh() / 1000, "voltage": bank.pack.voltage_v,
            "current": bank.pack.current_a, "temperature": bank.pack.temperature_c, "pcs_kw": bank.pcs.power_w / 1000,
            "setpoint_kw": bank.pcs.setpoint_w / 1000, "allowed_charge_kw": charge / 1000, "allowed_discharge_kw": discharge / 1000,
        }  # fmt: skip

    def capacity_kwh(self) -> float:
        """Of all batteries, new."""
        return sum(one.options.energy_kwh for one in self.plant.batteries)

    def relay_trips(self) -> int:
        """How often a BMS has opened its own relay."""
        return sum(one.bms.relay_trips for one in self.plant.batteries)

    def setpoints(self) -> int:
        """Written to all inverters since the site began."""
        return sum(pcs.setpoints for pcs in self.inverters.values())


def _battery_truth(one: Battery) -> dict[str, Any]:
    pack = one.pack
    return {
        "soc": pack.soc * 100, "stored_kwh": pack.stored_wh() / 1000, "capacity_kwh": one.options.energy_kwh,
        "voltage": pack.voltage_v, "current": pack.current_a, "temperature": pack.temperature_c, "contactor": one.contactor_closed,
        "bms_relay_trips": one.bms.relay_trips,
    }  # fmt: skip


def _inverter_truth(one: Inverter) -> dict[str, Any]:
    pcs = one.pcs
    return {
        "pcs_kw": pcs.power_w / 1000, "setpoint_kw": pcs.setpoint_w / 1000, "pcs_state": STATES[pcs.state],
        "pcs_watchdog": pcs.tripped, "pcs_watchdog_trips": pcs.watchdog_trips, "voltage": one.pack.voltage_v,
        "current": one.pack.current_a, "energy_in_wh": pcs.wh_in, "energy_out_wh": pcs.wh_out,
    }  # fmt: skip
