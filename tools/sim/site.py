"""The simulated site with one battery and one inverter: its endpoints on loopback, its faults, its auditor."""

import random
from dataclasses import fields
from typing import Any

from tools.sim import healthy
from tools.sim.auditor import Auditor
from tools.sim.devices.bms_can import BmsOnCan
from tools.sim.devices.canhub import CanHub
from tools.sim.devices.meter_device import MeterDevice
from tools.sim.devices.pcs_device import PcsDevice
from tools.sim.devices.sunspec_server import SunSpecServer
from tools.sim.faults import Mute, Switches, WireFaults
from tools.sim.healthy import POWER
from tools.sim.live import BMS_PERIOD_S, CONTACTOR_PIN, ESTOP_PIN, FEEDBACK_PIN, LiveSite
from tools.sim.physics.plant import PlantOptions

__all__ = ["CONTACTOR_PIN", "ESTOP_PIN", "FEEDBACK_PIN", "OWN_OPTIONS", "Site"]

_PLANT_OPTIONS = {f.name for f in fields(PlantOptions)}
OWN_OPTIONS = {
    "power": "fields of PowerConfig that differ from the default site",
    "meter_model": "203 or 213",
    "bms_address": "0 to 15",
    "discharge_limit_negative": "sign of the discharge current limit on CAN",
    "cycle_ms": "control cycle of the board",
    "noise_share": "share of answers spoilt by bad_crc and wrong_length",
    "slow_s": "delay of a slow PCS's answers",
}


class Site(LiveSite):
    """Everything around the controller.  Options: those of PlantOptions and the few named in `OWN_OPTIONS`."""

    def __init__(self, seed: int = 1, **options: Any) -> None:
        unknown = sorted(set(options) - _PLANT_OPTIONS - set(OWN_OPTIONS))
        if unknown:
            known = ", ".join(sorted(_PLANT_OPTIONS | set(OWN_OPTIONS)))
            raise ValueError(f"site option {unknown[0]!r} is unknown; known: {known}")
        super().__init__(seed, {**POWER, **options.get("power", {})}, int(options.get("cycle_ms", 50)))
        self.options = options
        self.plant = healthy.plant(seed, **{k: v for k, v in options.items() if k in _PLANT_OPTIONS})
        self.auditor = Auditor(self.plant, self.power, BMS_PERIOD_S, self.cycle_ms / 1000)
        rng = random.Random(seed * 7919 + 1)
        share, slow = float(options.get("noise_share", 0.25)), float(options.get("slow_s", 0.4))
        self.pcs_wire = WireFaults(random.Random(rng.random()), share, slow)
        self.meter_wire = WireFaults(random.Random(rng.random()), share, slow)
        self._spare = random.Random(seed * 7919 + 2)
        self.guests: list[BmsOnCan] = []  # further batteries on the bus
        self.hub = CanHub()
        self.ems_port = 0  # of 127.0.0.1, where an EMS finds the CAN bus and may command; 0: there is none
        self.pcs = PcsDevice(self.plant, self.auditor.setpoint, random.Random(rng.random()))
        self.meter = MeterDevice(self.plant, int(options.get("meter_model", 203)), random.Random(rng.random()))
        self.pcs_server = SunSpecServer(self.pcs.chain, self.pcs_wire, self.pcs.refresh, self.pcs.written)
        self.meter_server = SunSpecServer(self.meter.chain, self.meter_wire, self.meter.refresh)
        self.servers = {"pcs": self.pcs_server, "meter": self.meter_server}
        self.bms = BmsOnCan(
            self.plant, random.Random(rng.random()), int(options.get("bms_address", 0)),
            bool(options.get("discharge_limit_negative", False)), self.auditor.reported,
        )
        self.bms.share = share
        self.pv_meter = Mute()  # where the site has one
        self.switches = {"": Switches({
            "bms": self.bms, "pcs": self.pcs_wire, "meter": self.meter_wire, "pv": self.pv_meter, "cells": self.plant.bms,
            "inverter": self.plant.pcs, "contactors": self.plant, "grid": self.plant, "board": self,
        })}  # fmt: skip

    async def _open(self) -> None:
        self.ports["can"] = await self.hub.start(self.ems_port)
        self.ports["pcs"] = await self.pcs_server.start()
        self.ports["meter"] = await self.meter_server.start()
        for bms in (self.bms, *self.guests):
            bms.start(self.ports["can"])

    async def _close(self) -> None:
        for bms in (self.bms, *self.guests):
            bms.stop()
        await self.pcs_server.stop()
        await self.meter_server.stop()
        await self.hub.stop()

    def random(self) -> random.Random:
        """For whoever joins the site."""
        return random.Random(self._spare.random())

    def setpoints(self) -> int:
        """Written to the inverter since the site began."""
        return self.pcs.setpoints

    def site_json(self) -> dict[str, Any]:
        """The board's site.json for this site."""
        return self.with_ems({
            "schema": 1,
            "name": "simulated site",
            "power": dict(self.power),
            "cycle_ms": self.cycle_ms,
            "buses": {"can0": {"type": "can", "backend": "machine", "id": 0, "bitrate": 500000}},
            "devices": {
                "bms": {
                    "type": "bms_pylontech", "bus": "can0", "address": self.bms.address,
                    "period_ms": round(BMS_PERIOD_S * 1000),
                },
                "pcs": {"type": "pcs_sunspec", "host": "127.0.0.1", "port": self.ports.get("pcs", 0), "unit": 1},
                "meter": {"type": "meter_sunspec", "host": "127.0.0.1", "port": self.ports.get("meter", 0), "unit": 1},
                "io": {
                    "type": "io_board", "estop_pin": ESTOP_PIN, "estop_pull": "none", "contactor_pin": CONTACTOR_PIN,
                    "feedback_pin": FEEDBACK_PIN, "feedback_pull": "none",
                },
            },
            "wifi": {"ssid": "simulated", "password": "simulated"},
        })

    def with_ems(self, content: dict[str, Any]) -> dict[str, Any]:
        """That site file with an EMS on the BMS's bus, where there is to be one."""
        if self.ems_port:
            bus = next(device["bus"] for device in content["devices"].values() if device["type"].startswith("bms"))
            content["services"] = {**content.get("services", {}), "ems_can": {"type": "ems_can", "bus": bus, "control": True}}
        return content

    def env(self) -> dict[str, str]:
        """Where the simulated board finds the buses."""
        return {"SIM_CAN0": f"127.0.0.1:{self.ports['can']}"}
