"""The auditor: compares every setpoint the PCS is given with what the battery had really allowed."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from tools.simsite.physics.bms import BmsReport
from tools.simsite.physics.plant import Plant

BMS_PERIODS = 3  # a report older than this many periods permits nothing
TRANSPORT_S = 0.15  # the way from the BMS to the board and from the board to the PCS, with the host's scheduling
SOC_TOLERANCE_PCT = 0.5  # the BMS speaks in whole percents
ROUNDING_W = 0.5  # setpoints are whole watts


class Auditor:
    """Knows the physics and what the BMS said; shares no code with the firmware.

    A setpoint is allowed if it is inside what *any* report of the last three BMS periods and one cycle allowed
    (a controller may act on the report before the newest), inside the PCS's rating and the configured power, and
    leads away from the SoC window's edge when the true charge is beyond it.
    """

    def __init__(
        self, plant: Plant, power: Mapping[str, Any], bms_period_s: float = 1.0, cycle_s: float = 0.05
    ) -> None:
        self.plant = plant
        self.power = power
        self.window_s = BMS_PERIODS * bms_period_s + cycle_s + TRANSPORT_S
        self.worst_violation_w = 0.0
        self.worst_text = ""
        self.violations = 0
        self.setpoints = 0
        self._reports: deque[tuple[float, float, float]] = deque()  # (time, charge W, discharge W) at the AC side
        self._ratings: deque[tuple[float, float, float]] = deque()  # the same of the PCS

    def reported(self, report: BmsReport) -> None:
        """The BMS has sent `report`: what it allows, at the AC side of the inverter."""
        efficiency = self.plant.pcs.efficiency
        charge = 0.0 if report.charge_forbidden else report.charge_limit_a * report.voltage_v / efficiency
        discharge = 0.0 if report.discharge_forbidden else report.discharge_limit_a * report.voltage_v * efficiency
        self._reports.append((self.plant.time_s, charge, discharge))

    def setpoint(self, watts: float) -> None:
        """The PCS was given a setpoint."""
        self.setpoints += 1
        self._judge(watts, "given")

    def watch(self) -> None:
        """Some ten times a second: is the setpoint in force still allowed?"""
        charge, discharge = self.plant.pcs.limits_w()
        self._ratings.append((self.plant.time_s, charge, discharge))
        self._judge(self.plant.pcs.in_force_w(), "in force")

    def allowed_w(self) -> tuple[float, float]:
        """(charge, discharge) power allowed now, W at the AC side."""
        now = self.plant.time_s
        for queue in (self._reports, self._ratings):
            while queue and now - queue[0][0] > self.window_s:
                queue.popleft()
        charge = max((r[1] for r in self._reports), default=0.0)
        discharge = max((r[2] for r in self._reports), default=0.0)
        rated = self.plant.pcs.limits_w()
        charge = min(charge, max((r[1] for r in self._ratings), default=rated[0]))
        discharge = min(discharge, max((r[2] for r in self._ratings), default=rated[1]))
        charge = min(charge, float(self.power.get("max_charge_power", 1e6)) * 1000)
        discharge = min(discharge, float(self.power.get("max_discharge_power", 1e6)) * 1000)
        soc = self.plant.pack.soc * 100
        if soc < float(self.power.get("min_soc", 0.0)) - SOC_TOLERANCE_PCT:
            discharge = 0.0
        if soc > float(self.power.get("max_soc", 100.0)) + SOC_TOLERANCE_PCT:
            charge = 0.0
        return charge, discharge

    def _judge(self, watts: float, how: str) -> None:
        charge, discharge = self.allowed_w()
        beyond = watts - discharge if watts > 0 else -watts - charge
        if beyond <= ROUNDING_W or watts == 0:
            return
        self.violations += 1
        if beyond > self.worst_violation_w:
            self.worst_violation_w = beyond
            self.worst_text = (
                f"{how}: {watts:.0f} W at {self.plant.time_s:.2f} s, allowed -{charge:.0f} .. +{discharge:.0f} W"
            )
