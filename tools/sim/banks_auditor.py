"""The auditor of several banks: each against what its batteries had allowed, all of them against the site's limits."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from tools.sim.auditor import ROUNDING_W, Auditor, most
from tools.sim.physics.banks import Bank, BanksPlant
from tools.sim.physics.bms import BmsReport

PATIENCE = 4  # looks, a tenth of a second each: one setpoint goes down a period after the other has gone up


class BankAuditor(Auditor):
    """One bank's: its batteries' allowances add up."""

    def __init__(self, bank: Bank, power: Mapping[str, Any], bms_period_s: float = 1.0, cycle_s: float = 0.05) -> None:
        super().__init__(bank, power, bms_period_s, cycle_s)
        self._each: dict[str, deque[tuple[float, float, float]]] = {battery.name: deque() for battery in bank.batteries}
        self._names = {*self._each, *(inverter.name for inverter in bank.inverters)}
        self._together = len(bank.inverters) > 1
        self._beyond = 0

    def has(self, device: str) -> bool:
        """Whether a battery or an inverter of that name is in this bank."""
        return device in self._names

    def reporter(self, battery: str) -> Callable[[BmsReport], None]:
        """What that battery's CAN node calls with every report."""
        return lambda report: self._each[battery].append(self.allows(report))

    def _battery_w(self, since: float) -> tuple[float, float]:
        allowed = [most(reports, since) for reports in self._each.values()]
        return sum(charge for charge, _ in allowed), sum(discharge for _, discharge in allowed)

    def setpoint(self, watts: float) -> None:
        """One of its inverters was given a setpoint; alone on its bus, it is judged at once."""
        if self._together:
            self.setpoints += 1
        else:
            super().setpoint(watts)

    def _judge(self, watts: float, how: str) -> None:
        if self._together:
            charge, discharge = self.allowed_w()
            self._beyond = self._beyond + 1 if not -charge - ROUNDING_W <= watts <= discharge + ROUNDING_W else 0
            if self._beyond < PATIENCE:
                return
        super()._judge(watts, how)


class BanksAuditor:
    """The site's: `banks` by name."""

    def __init__(self, plant: BanksPlant, powers: Mapping[str, Any], power: Mapping[str, Any], cycle_s: float = 0.05) -> None:
        """`powers`: PowerConfig's fields of each bank, by its name; `power`: of the site."""
        self.plant = plant
        self.banks = {bank.name: BankAuditor(bank, powers[bank.name], 1.0, cycle_s) for bank in plant.banks}
        self._most_w = float(power.get("max_charge_power", 1e6)) * 1000, float(power.get("max_discharge_power", 1e6)) * 1000
        self._beyond = 0
        self._worst_w = 0.0
        self._worst_text = ""

    def watch(self) -> None:
        """Some ten times a second."""
        for auditor in self.banks.values():
            auditor.watch()
        watts = self.plant.pcs.in_force_w()
        charge, discharge = self._most_w
        beyond = watts - discharge if watts > 0 else -watts - charge
        self._beyond = self._beyond + 1 if beyond > ROUNDING_W else 0
        if self._beyond >= PATIENCE and beyond > self._worst_w:
            self._worst_w = beyond
            self._worst_text = f"the site: {watts:.0f} W at {self.plant.time_s:.2f} s, allowed -{charge:.0f} .. +{discharge:.0f} W"

    def allowed_w(self) -> tuple[float, float]:
        """(charge, discharge) power allowed now, W at the AC side."""
        allowed = [auditor.allowed_w() for auditor in self.banks.values()]
        charge, discharge = (sum(each[k] for each in allowed) for k in (0, 1))
        return min(charge, self._most_w[0]), min(discharge, self._most_w[1])

    def _worst(self) -> BankAuditor:
        return max(self.banks.values(), key=lambda auditor: auditor.worst_violation_w)

    @property
    def worst_violation_w(self) -> float:
        """Of a bank or of the site."""
        return max(self._worst_w, self._worst().worst_violation_w)

    @property
    def worst_text(self) -> str:
        """In words."""
        worst = self._worst()
        return self._worst_text if self._worst_w > worst.worst_violation_w else worst.worst_text

    @property
    def setpoints(self) -> int:
        """Given to all inverters."""
        return sum(auditor.setpoints for auditor in self.banks.values())
