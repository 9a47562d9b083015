"""The PCS (inverter): states, ratings and derating, first-order response, efficiency, its own comms watchdog."""

import math

OFF = 0  # stopped, or no DC voltage
STARTING = 1
STANDBY = 2  # ready, not moving power
RUNNING = 3
FAULT = 4

NO_ISLAND = "off"  # grid lost: 0 W (anti-islanding)
FORM_ISLAND = "form"  # grid lost: forms the island and carries whatever the load takes, within its ratings
FOLLOW_ISLAND = "follow"  # grid lost: carries the load only as far as the setpoint allows, the rest is shed

DEAD_BAND_W = 1.0  # below this the decaying output is 0
SINK_TAU_S = 300.0
SINK_RISE_K = 35.0  # heat sink above ambient at rated power
DERATE_FROM_C = 80.0
DERATE_TO_C = 100.0


class Pcs:
    """A bidirectional inverter.  AC power and setpoint: positive is discharge, W."""

    __slots__ = (
        "rated_w", "charge_fraction", "discharge_fraction", "efficiency", "tau_s", "watchdog_s", "start_s", "island",
        "setpoint_w", "enabled", "run", "state", "power_w", "grid_present", "dc_present", "silence_s", "tripped",
        "watchdog_trips", "revert_after_s", "revert_left_s", "revert_to_w", "revert_enabled", "alarm",
        "sink_c", "ambient_c", "wh_out", "wh_in", "guarded", "_start_left_s", "_dt", "_gain",
    )

    def __init__(
        self,
        rated_w: float = 100_000.0,
        efficiency: float = 0.95,
        tau_s: float = 0.1,
        watchdog_s: float = 3.0,
        start_s: float = 1.0,
        island: str = NO_ISLAND,
        autostart: bool = True,
    ) -> None:
        """`autostart`: a freshly powered inverter runs without waiting for a START command."""
        self.rated_w = rated_w
        self.charge_fraction = 1.0  # derating imposed from outside, 0..1
        self.discharge_fraction = 1.0
        self.efficiency = efficiency
        self.tau_s = tau_s
        self.watchdog_s = watchdog_s
        self.start_s = start_s
        self.island = island
        self.setpoint_w = 0.0
        self.enabled = False  # the setpoint is in force
        self.run = autostart
        self.state = OFF
        self.power_w = 0.0
        self.grid_present = True
        self.dc_present = False
        self.silence_s = 1e9
        self.tripped = True  # nothing heard since power-up
        self.watchdog_trips = 0
        self.revert_after_s = 0.0  # 0: no reversion
        self.revert_left_s = 0.0
        self.revert_to_w = 0.0
        self.revert_enabled = False
        self.alarm = 0  # an alarm forced by a fault injection: the inverter stops
        self.sink_c = 25.0
        self.ambient_c = 25.0
        self.wh_out = 0.0
        self.wh_in = 0.0
        self.guarded = True  # False: neither its watchdog nor its reversion timer does anything
        self._start_left_s = 0.0
        self._dt = -1.0
        self._gain = 0.0

    # ---- what the controller does to it ---------------------------------------------------------------
    def heard(self) -> None:
        """The controller's heartbeat changed: the comms watchdog starts again."""
        self.silence_s = 0.0

    def command(self, setpoint_w: float, enabled: bool = True) -> None:
        """A setpoint was written: a sign of life that re-arms a tripped watchdog and the reversion timer."""
        self.setpoint_w = setpoint_w
        self.enabled = enabled
        self.silence_s = 0.0
        self.tripped = False
        self.revert_left_s = self.revert_after_s

    def in_force_w(self) -> float:
        """The setpoint it follows now, W: 0 unless enabled, running and not cut by the watchdog."""
        return self.setpoint_w if self.enabled and not self.tripped and self.state == RUNNING else 0.0

    def limits_w(self) -> tuple[float, float]:
        """(charge, discharge) power it can take and give now, W, derated."""
        hot = 1.0
        if self.sink_c > DERATE_FROM_C:
            hot = max(0.0, (DERATE_TO_C - self.sink_c) / (DERATE_TO_C - DERATE_FROM_C))
        return self.rated_w * self.charge_fraction * hot, self.rated_w * self.discharge_fraction * hot

    # ---- time -------------------------------------------------------------------------------------------
    def step(self, dt_s: float, island_load_w: float, dc_max_w: float) -> float:
        """One step; returns the AC power, W.

        `island_load_w`: load minus PV, what an island needs from it; `dc_max_w`: what the battery can give.
        """
        self._timers(dt_s)
        self._next_state(dt_s)
        target = self._target(island_load_w)
        if dt_s != self._dt:
            self._dt = dt_s
            self._gain = 1.0 - math.exp(-dt_s / self.tau_s) if self.tau_s > 0.0 else 1.0
        if self.state != RUNNING:
            power = 0.0  # the bridge is blocked: no decay
        else:
            power = self.power_w
            power += (target - power) * self._gain
            if target == 0.0 and -DEAD_BAND_W < power < DEAD_BAND_W:
                power = 0.0
            if power > 0.0:
                if power > dc_max_w:
                    power = dc_max_w
                self.wh_out += power * dt_s / 3600.0
            else:
                self.wh_in -= power * dt_s / 3600.0
        self.power_w = power
        share = power / self.rated_w
        self.sink_c += (self.ambient_c + SINK_RISE_K * share * share - self.sink_c) * dt_s / SINK_TAU_S
        return power

    def dc_power_w(self) -> float:
        """Power on its DC side, W (positive: out of the battery), for the present AC power."""
        power = self.power_w
        return power / self.efficiency if power > 0.0 else power * self.efficiency

    def _timers(self, dt_s: float) -> None:
        self.silence_s += dt_s
        if not self.guarded:
            return
        if self.silence_s > self.watchdog_s and not self.tripped:
            self.tripped = True
            self.watchdog_trips += 1
            self.setpoint_w = 0.0
        if self.revert_after_s > 0.0 and self.revert_left_s > 0.0:
            self.revert_left_s -= dt_s
            if self.revert_left_s <= 0.0:
                self.revert_left_s = 0.0
                self.setpoint_w = self.revert_to_w
                self.enabled = self.revert_enabled

    def _next_state(self, dt_s: float) -> None:
        if self.alarm:
            self.state = FAULT
        elif not self.dc_present or not self.run:
            self.state = OFF
        elif not self.grid_present and self.island == NO_ISLAND:
            self.state = STANDBY
        elif self.state == RUNNING:
            return
        elif self.state == STARTING:
            self._start_left_s -= dt_s
            if self._start_left_s <= 0.0:
                self.state = RUNNING
        else:
            self.state = STARTING
            self._start_left_s = self.start_s

    def _target(self, island_load_w: float) -> float:
        """The setpoint inside its own ratings (or what the island takes)."""
        target = self.setpoint_w if self.enabled and not self.tripped else 0.0
        if not self.grid_present:
            low, high = (target, 0.0) if target < 0.0 else (0.0, target)
            if self.island == FOLLOW_ISLAND:
                target = min(max(island_load_w, low), high)
            elif self.island == FORM_ISLAND:
                target = 0.0 if self.tripped else island_load_w
        charge, discharge = self.limits_w()
        if target > discharge:
            return discharge
        return -charge if target < -charge else target
