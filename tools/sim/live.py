"""What every simulated site has: physics in real time, endpoints on loopback, the board's pins, faults that begin and end."""

import asyncio
import contextlib
import copy
import time
from collections.abc import Callable
from typing import Any

from tools.sim.board.board import Board
from tools.sim.devices.sunspec_server import SunSpecServer
from tools.sim.faults import FAULTS, Switches
from tools.sim.physics.grid import Profile

STEP_S = 0.01  # physics step
TICK_S = 0.02  # how often the steps that are due are done
CATCH_UP_S = 0.5  # a host that stalled longer loses the time (the plant stands still) instead of racing after it
AUDIT_S = 0.1
BMS_PERIOD_S = 1.0
ESTOP_PIN, CONTACTOR_PIN, FEEDBACK_PIN = 34, 25, 35
STATES = ("OFF", "STARTING", "STANDBY", "RUNNING", "FAULT")  # of an inverter, by number


class LiveSite:
    """Whoever is one has made `plant` (Plant's or BanksPlant's interface), `auditor` and `switches` of its own."""

    plant: Any
    auditor: Any
    servers: dict[str, SunSpecServer]  # inverters and meters, by name
    switches: dict[str, Switches]  # by the name of the device that they are in; "": of the site

    def __init__(self, seed: int, power: dict[str, Any], cycle_ms: int) -> None:
        """`power`: fields of PowerConfig that the board will have; cycle_ms: its control cycle."""
        self.seed = seed
        self.power = power
        self.cycle_ms = cycle_ms
        self.ports: dict[str, int] = {}
        self.active: list[str] = []  # faults injected now: "fault", or "fault of device"
        self.on_output: Callable[[int, int], None] | None = None  # (pin, level): an input of the board changes
        self.estop_wired = True  # False: its wires end before the board, at the level of one that is not pressed
        self.feedback_inverted = False  # the auxiliary contact opens where it should close
        self._pressed = False
        self._feedback = -1
        self._task: asyncio.Task[None] | None = None
        self.mistaken: list[Callable[[dict[str, Any], Any], None]] = []  # what somebody got wrong in site.json (mistakes.py)
        self.services: dict[str, Any] = {}  # of the board, beside those of the site file

    # ---- life -------------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Open every endpoint on a free port (see `ports`) and let time run."""
        await self._open()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop time and close every endpoint."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._close()

    async def _open(self) -> None:
        raise NotImplementedError

    async def _close(self) -> None:
        raise NotImplementedError

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
        raise NotImplementedError

    def board_json(self) -> dict[str, Any]:
        """The same with the further services, and what somebody got wrong in it."""
        content = copy.deepcopy(self.site_json())
        if self.services:
            content["services"] = {**content.get("services", {}), **copy.deepcopy(self.services)}
        for mistake in self.mistaken:
            mistake(content, self)
        return content

    def env(self) -> dict[str, str]:
        """Where the simulated board finds the buses."""
        raise NotImplementedError

    def wire(self, board: Board) -> None:
        """Connect a simulated board that is not on yet: buses (the endpoints are open) and pins, both ways."""
        board.env.update(self.env())
        board.on_pin = self.board_pin
        self.on_output = board.set_pin
        for pin, level in self.inputs().items():
            board.set_pin(pin, level)

    def board_pin(self, pin: int, level: int) -> None:
        """An output pin of the board has changed."""
        if pin == CONTACTOR_PIN:
            self.set_contactor(level == 1)

    def set_contactor(self, closed: bool) -> None:
        """The board drives the contactor coil."""
        self.plant.contactor_wanted = closed

    def inputs(self) -> dict[int, int]:
        """Levels of the board's input pins: emergency stop (1 = pressed), contactor feedback (1 = closed)."""
        return {ESTOP_PIN: int(self._pressed and self.estop_wired), FEEDBACK_PIN: self._contact()}

    @property
    def pressed(self) -> bool:
        """The emergency stop."""
        return self._pressed

    @pressed.setter
    def pressed(self, on: bool) -> None:
        self._pressed = on
        self._output(ESTOP_PIN, int(on and self.estop_wired))

    def _contact(self) -> int:
        """The level of the contactor's auxiliary contact."""
        return int(self.plant.contactor_closed != self.feedback_inverted)

    def _tell_feedback(self) -> None:
        closed = self._contact()
        if closed != self._feedback:
            self._feedback = closed
            self._output(FEEDBACK_PIN, closed)

    def _output(self, pin: int, level: int) -> None:
        if self.on_output is not None:
            self.on_output(pin, level)

    # ---- what a scenario or a test does to it ------------------------------------------------------------
    def names(self) -> list[str]:
        """What `of` may be in the calls below, but "": banks and devices; nothing of a site with one of each."""
        return []

    def set(self, name: str, value: float, of: str = "") -> None:
        """Change a quantity of the plant (Plant.set names them), or of one of its parts; a profile on it ends."""
        self.check_name(of)
        self.plant.hold(name)
        self.plant.set(name, value, *([of] if of else []))

    def follow(self, name: str, profile: Profile) -> None:
        """Let load_kw, pv_kw, grid_hz or grid_v follow a profile of (second, value) from now on."""
        now = self.plant.time_s
        self.plant.follow(name, [(now + t, v) for t, v in profile])

    def inject(self, name: str, of: str = "") -> None:
        """Start a fault (faults.FAULTS names them), everywhere or in one bank or device."""
        self._switch(name, True, of)
        if (entry := _entry(name, of)) not in self.active:
            self.active.append(entry)

    def clear(self, name: str, of: str = "") -> None:
        """End a fault."""
        self._switch(name, False, of)
        if (entry := _entry(name, of)) in self.active:
            self.active.remove(entry)

    def check_name(self, of: str) -> None:
        """Raises ValueError for what is no bank or device here."""
        if of and of not in self.names():
            raise ValueError(f"{of!r} is no bank or device of this site; there are {', '.join(self.names()) or 'one of each'}")

    def parts(self, of: str) -> list[str]:
        """The keys of `switches` that `of` means."""
        return list(self.switches) if not of else [of]

    def _switch(self, name: str, on: bool, of: str) -> None:
        if name not in FAULTS:
            raise ValueError(f"fault {name!r} is unknown; known: {', '.join(FAULTS)}")
        self.check_name(of)
        chosen = [self.switches[key] for key in self.parts(of) if self.switches[key].has(name)]
        if not chosen:
            raise ValueError(f"{of or 'this site'} has nothing that {name} could befall")
        for switches in chosen:
            switches.turn(name, on)

    def truth(self) -> dict[str, Any]:
        """What is really so, for views and tests: kW, V, A, %, Hz, degC."""
        plant, pcs, pack = self.plant, self.plant.pcs, self.plant.pack
        charge, discharge = self.auditor.allowed_w()
        return {
            "t": plant.time_s,
            "soc": pack.soc * 100,
            "stored_kwh": pack.stored_wh() / 1000,
            "capacity_kwh": self.capacity_kwh(),
            "voltage": pack.voltage_v,
            "current": pack.current_a,
            "temperature": pack.temperature_c,
            "pcs_kw": pcs.power_w / 1000,
            "setpoint_kw": pcs.setpoint_w / 1000,
            "pcs_state": STATES[pcs.state],
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
            "bms_relay_trips": self.relay_trips(),
            "faults": list(self.active),
        }

    def capacity_kwh(self) -> float:
        """Of all batteries, new."""
        return float(self.plant.options.energy_kwh)

    def relay_trips(self) -> int:
        """How often a BMS has opened its own relay."""
        return int(self.plant.bms.relay_trips)

    def setpoints(self) -> int:
        """Written to the inverters since the site began."""
        raise NotImplementedError


def _entry(name: str, of: str) -> str:
    return f"{name} of {of}" if of else name
