"""The simulated site as one object: physics in real time, its endpoints on loopback, faults, the auditor."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from tools.sim import healthy
from tools.sim.auditor import Auditor
from tools.sim.devices.bms_can import BmsOnCan
from tools.sim.devices.canhub import CanHub
from tools.sim.devices.meter_device import MeterDevice
from tools.sim.devices.pcs_device import PcsDevice
from tools.sim.devices.sunspec_server import SunSpecServer
from tools.sim.faults import FAULTS, Switches, WireFaults
from tools.sim.healthy import POWER
from tools.sim.physics.plant import PlantOptions, Profile

STEP_S = 0.01  # physics step
TICK_S = 0.02  # how often the steps that are due are done
CATCH_UP_S = 0.5  # a host that stalled longer loses the time (the plant stands still) instead of racing after it
AUDIT_S = 0.1
BMS_PERIOD_S = 1.0
ESTOP_PIN, CONTACTOR_PIN, FEEDBACK_PIN = 34, 25, 35

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


class Site:
    """Everything around the controller.  Options: those of PlantOptions and the few named in `OWN_OPTIONS`."""

    def __init__(self, seed: int = 1, **options: Any) -> None:
        unknown = sorted(set(options) - _PLANT_OPTIONS - set(OWN_OPTIONS))
        if unknown:
            known = ", ".join(sorted(_PLANT_OPTIONS | set(OWN_OPTIONS)))
            raise ValueError(f"site option {unknown[0]!r} is unknown; known: {known}")
        self.seed = seed
        self.options = options
        self.power = {**POWER, **options.get("power", {})}
        self.cycle_ms = int(options.get("cycle_ms", 50))
        self.plant = healthy.plant(seed, **{k: v for k, v in options.items() if k in _PLANT_OPTIONS})
        self.auditor = Auditor(self.plant, self.power, BMS_PERIOD_S, self.cycle_ms / 1000)
        rng = random.Random(seed * 7919 + 1)
        share, slow = float(options.get("noise_share", 0.25)), float(options.get("slow_s", 0.4))
        self.pcs_wire = WireFaults(random.Random(rng.random()), share, slow)
        self.meter_wire = WireFaults(random.Random(rng.random()), share, slow)
        self.hub = CanHub()
        self.pcs = PcsDevice(self.plant, self.auditor.setpoint, random.Random(rng.random()))
        self.meter = MeterDevice(self.plant, int(options.get("meter_model", 203)), random.Random(rng.random()))
        self.pcs_server = SunSpecServer(self.pcs.chain, self.pcs_wire, self.pcs.refresh, self.pcs.written)
        self.meter_server = SunSpecServer(self.meter.chain, self.meter_wire, self.meter.refresh)
        self.bms = BmsOnCan(
            self.plant, random.Random(rng.random()), int(options.get("bms_address", 0)),
            bool(options.get("discharge_limit_negative", False)), self.auditor.reported,
        )
        self.bms.share = share
        self.ports: dict[str, int] = {}
        self.active: list[str] = []  # faults injected now
        self._pressed = False
        self._switches = Switches({
            "bms": self.bms, "pcs": self.pcs_wire, "meter": self.meter_wire, "cells": self.plant.bms, "inverter": self.plant.pcs,
            "plant": self.plant, "board": self,
        })
        self.on_output: Callable[[int, int], None] | None = None  # (pin, level): an input of the board changes
        self._feedback = -1
        self._task: asyncio.Task[None] | None = None

    # ---- life -------------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Open every endpoint on a free port (see `ports`) and let time run."""
        self.ports["can"] = await self.hub.start()
        self.ports["pcs"] = await self.pcs_server.start()
        self.ports["meter"] = await self.meter_server.start()
        self.bms.start(self.ports["can"])
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop time and close every endpoint."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self.bms.stop()
        await self.pcs_server.stop()
        await self.meter_server.stop()
        await self.hub.stop()

    async def _run(self) -> None:
        """Do the physics steps that are due, in real time."""
        due = time.monotonic()
        audit_s = 0.0
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            due = max(due, now - CATCH_UP_S)
            while due + STEP_S <= now:
                due += STEP_S
                self.plant.step(STEP_S)
                audit_s += STEP_S
                if audit_s >= AUDIT_S:
                    audit_s = 0.0
                    self.auditor.watch()
            self._tell_feedback()

    # ---- what the board needs to know -------------------------------------------------------------------
    def site_json(self) -> dict[str, Any]:
        """The board's site.json for this site."""
        return {
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
        }

    def env(self) -> dict[str, str]:
        """Where the simulated board finds the buses."""
        return {"SIM_CAN0": f"127.0.0.1:{self.ports['can']}"}

    def board_pin(self, pin: int, level: int) -> None:
        """An output pin of the board has changed."""
        if pin == CONTACTOR_PIN:
            self.set_contactor(level == 1)

    def set_contactor(self, closed: bool) -> None:
        """The board drives the contactor coil."""
        self.plant.contactor_wanted = closed

    def inputs(self) -> dict[int, int]:
        """Levels of the board's input pins: emergency stop (1 = pressed), contactor feedback (1 = closed)."""
        return {ESTOP_PIN: int(self._pressed), FEEDBACK_PIN: int(self.plant.contactor_closed)}

    def _tell_feedback(self) -> None:
        closed = int(self.plant.contactor_closed)
        if closed != self._feedback:
            self._feedback = closed
            self._output(FEEDBACK_PIN, closed)

    def _output(self, pin: int, level: int) -> None:
        if self.on_output is not None:
            self.on_output(pin, level)

    # ---- what a scenario or a test does to it ------------------------------------------------------------
    def set(self, name: str, value: float) -> None:
        """Change a quantity of the plant (Plant.set names them); a profile on it ends."""
        self.plant.hold(name)
        self.plant.set(name, value)

    def follow(self, name: str, profile: Profile) -> None:
        """Let load_kw, pv_kw, grid_hz or grid_v follow a profile of (second, value) from now on."""
        now = self.plant.time_s
        self.plant.follow(name, [(now + t, v) for t, v in profile])

    def inject(self, name: str) -> None:
        """Start a fault (faults.FAULTS names them)."""
        self._switch(name, True)
        if name not in self.active:
            self.active.append(name)

    def clear(self, name: str) -> None:
        """End a fault."""
        self._switch(name, False)
        if name in self.active:
            self.active.remove(name)

    def _switch(self, name: str, on: bool) -> None:
        if name not in FAULTS:
            raise ValueError(f"fault {name!r} is unknown; known: {', '.join(FAULTS)}")
        self._switches.turn(name, on)

    @property
    def pressed(self) -> bool:
        """The emergency stop."""
        return self._pressed

    @pressed.setter
    def pressed(self, on: bool) -> None:
        self._pressed = on
        self._output(ESTOP_PIN, int(on))

    def truth(self) -> dict[str, Any]:
        """What is really so, for views and tests: kW, V, A, %, Hz, degC."""
        plant, pcs, pack = self.plant, self.plant.pcs, self.plant.pack
        charge, discharge = self.auditor.allowed_w()
        return {
            "t": plant.time_s,
            "soc": pack.soc * 100,
            "stored_kwh": pack.stored_wh() / 1000,
            "capacity_kwh": plant.options.energy_kwh,
            "voltage": pack.voltage_v,
            "current": pack.current_a,
            "temperature": pack.temperature_c,
            "pcs_kw": pcs.power_w / 1000,
            "setpoint_kw": pcs.setpoint_w / 1000,
            "pcs_state": ("OFF", "STARTING", "STANDBY", "RUNNING", "FAULT")[pcs.state],
            "pcs_watchdog": pcs.tripped,
            "pcs_watchdog_trips": pcs.watchdog_trips,
            "contactor": plant.contactor_closed,
            "grid": plant.grid_present,
            "grid_kw": plant.grid_w / 1000,
            "grid_hz": plant.grid_hz if plant.grid_present else 0.0,
            "grid_v": plant.grid_v if plant.grid_present else 0.0,
            "load_kw": plant.load_w / 1000,
            "served_kw": plant.served_w / 1000,
            "unserved_wh": plant.unserved_wh,
            "pv_kw": plant.pv_w / 1000,
            "energy_in_wh": pcs.wh_in,
            "energy_out_wh": pcs.wh_out,
            "allowed_charge_kw": charge / 1000,
            "allowed_discharge_kw": discharge / 1000,
            "worst_violation_w": self.auditor.worst_violation_w,
            "bms_relay_trips": plant.bms.relay_trips,
            "faults": list(self.active),
        }
