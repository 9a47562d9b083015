"""The auditor: compares every setpoint the PCS is given with what the battery had really allowed."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from tools.sim.physics.banks import Bank
from tools.sim.physics.bms import BmsReport
from tools.sim.physics.plant import Plant

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
        self, plant: Plant | Bank, power: Mapping[str, Any], bms_period_s: float = 1.0, cycle_s: float = 0.05
    ) -> None:
        self.plant = plant
        self.configure(power)
        self.window_s = BMS_PERIODS * bms_period_s + cycle_s + TRANSPORT_S
        self.worst_violation_w = 0.0
        self.worst_text = ""
        self.violations = 0
        self.setpoints = 0
        self._reports: deque[tuple[float, float, float]] = deque()  # (time, charge W, discharge W) at the AC side
        self._ratings: deque[tuple[float, float, float]] = deque()  # the same of the PCS

    def configure(self, power: Mapping[str, Any]) -> None:
        """The PowerConfig fields in force from now on."""
        self.power = power
        self._charge_max_w = float(power.get("max_charge_power", 1e6)) * 1000
        self._discharge_max_w = float(power.get("max_discharge_power", 1e6)) * 1000
        self._soc_low = float(power.get("min_soc", 0.0)) - SOC_TOLERANCE_PCT
        self._soc_high = float(power.get("max_soc", 100.0)) + SOC_TOLERANCE_PCT

    def reported(self, report: BmsReport) -> None:
        """The BMS has sent `report`: what it allows, at the AC side of the inverter."""
        self._reports.append(self.allows(report))

    def allows(self, report: BmsReport) -> tuple[float, float, float]:
        """(now, charge W, discharge W) that a report allows."""
        efficiency = self.plant.pcs.efficiency
        charge = 0.0 if report.charge_forbidden else report.charge_limit_a * report.voltage_v / efficiency
        discharge = 0.0 if report.discharge_forbidden else report.discharge_limit_a * report.voltage_v * efficiency
        return self.plant.time_s, charge, discharge

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
        charge, discharge = self._battery_w(now - self.window_s)
        if self._ratings:
            rated = most(self._ratings, now - self.window_s)
        else:
            rated = self.plant.pcs.limits_w()
        soc = self.plant.pack.soc * 100
        if soc < self._soc_low:
            discharge = 0.0
        if soc > self._soc_high:
            charge = 0.0
        return min(charge, rated[0], self._charge_max_w), min(discharge, rated[1], self._discharge_max_w)

    def _battery_w(self, since: float) -> tuple[float, float]:
        """(charge, discharge) power that the newest reports allow, or those not older than `since`."""
        return most(self._reports, since)

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


def most(queue: deque[tuple[float, float, float]], since: float) -> tuple[float, float]:
    """The largest (charge, discharge) of the entries not older than `since`; older ones are dropped."""
    while queue and queue[0][0] < since:
        queue.popleft()
    charge = discharge = 0.0
    for _, c, d in queue:
        if c > charge:
            charge = c
        if d > discharge:
            discharge = d
    return charge, discharge
