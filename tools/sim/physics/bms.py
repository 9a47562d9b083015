"""The battery's BMS: what it measures (quantised), what it permits, what it protects against."""

import random
from typing import NamedTuple

from tools.sim.physics.pack import Pack

SLEEP = 0
CHARGING = 1
DISCHARGING = 2
IDLE = 3

OVER_VOLTAGE = 1  # bit numbers of `protection`; the CAN encoder maps them to the wire
UNDER_VOLTAGE = 2
OVER_TEMPERATURE = 4
UNDER_TEMPERATURE = 8

CELL_OVER_V = 3.65
CELL_UNDER_V = 2.50
CELL_OVER_V_BACK = 3.50
CELL_UNDER_V_BACK = 2.90
CELL_OVER_C = 60.0
CELL_OVER_C_BACK = 55.0
CELL_UNDER_C = -20.0
CELL_UNDER_C_BACK = -15.0
PROTECT_AFTER_S = 0.5
RELAY_AFTER_S = 5.0  # current in a forbidden direction for this long: the BMS opens its own relay
RELAY_CURRENT_A = 5.0
CHARGE_ASKED_S = 300.0  # so long an empty pack keeps its contactors closed for a charge that it was asked to take
# What its sensors add (standard deviation): no two readings of a live battery are quite the same.
NOISE_V = 0.08
NOISE_A = 0.15
TRIANGLE = 6.0**0.5  # half width of the triangular noise, in standard deviations

# (value, share of the current limit), linear between, held outside
CHARGE_BY_TEMPERATURE = ((0.0, 0.0), (0.1, 0.1), (10.0, 0.5), (15.0, 1.0), (45.0, 1.0), (55.0, 0.0))
DISCHARGE_BY_TEMPERATURE = ((-20.0, 0.0), (-10.0, 0.5), (0.0, 1.0), (50.0, 1.0), (60.0, 0.0))
CHARGE_BY_CELL_V = ((3.58, 1.0), (3.65, 0.0))
ALL_FREE = (15.0, 45.0)  # degC
DISCHARGE_BY_CELL_V = ((2.75, 0.0), (2.95, 1.0))


def share(points: tuple[tuple[float, float], ...], x: float) -> float:
    """The piecewise-linear curve through `points` at `x`."""
    if x <= points[0][0]:
        return points[0][1]
    if x >= points[-1][0]:
        return points[-1][1]
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]


class BmsReport(NamedTuple):
    """One set of values as a BMS sends it.  Currents: positive is discharge; limits are magnitudes."""

    voltage_v: float
    current_a: float
    temperature_c: float
    soc_pct: int
    soh_pct: int
    charge_cutoff_v: float
    discharge_cutoff_v: float
    charge_limit_a: float
    discharge_limit_a: float
    cell_max_mv: int
    cell_min_mv: int
    cell_max_c: float
    cell_min_c: float
    status: int
    protection: int
    alarm: int
    charge_forbidden: bool
    discharge_forbidden: bool
    force_charge: bool
    balancing: bool


class Bms:
    """Watches a pack.  `step` follows the protections; `report` makes the values of one answer."""

    __slots__ = (
        "pack", "current_max_a", "cell_v_offset", "temperature_offset_c", "protection", "relay_closed", "relay_trips",
        "_timers_s", "_wrong_way_s", "charge_cutoff_v", "discharge_cutoff_v", "soc_error_pct",
        "soc_half", "soh_pct", "noise", "_random", "opens_when_empty", "empty_open", "_charge_asked_s",
    )

    def __init__(
        self, pack: Pack, current_max_a: float = 165.0, noise: float = 0.0, seed: int = 1, soc_rounding: str = "nearest"
    ) -> None:
        """`noise` scales the sensors' noise: 1 as real ones have, 0 none; `soc_rounding`: "nearest" or "down"."""
        self.pack = pack
        self.current_max_a = current_max_a
        self.charge_cutoff_v = 3.6 * pack.cells
        self.discharge_cutoff_v = 44.0 / 15.0 * pack.cells
        self.cell_v_offset = 0.0  # measurement offset of the highest cell, V (fault injection)
        self.temperature_offset_c = 0.0  # of the hottest cell, K
        self.soc_error_pct = 0.0
        self.soc_half = 0.5 if soc_rounding == "nearest" else 0.0
        self.soh_pct = 100  # what it says; the pack's capacity is the pack's
        self.protection = 0
        self.relay_closed = True
        self.relay_trips = 0
        self.noise = noise
        self._random = random.Random(seed)
        self._timers_s = [0.0, 0.0, 0.0, 0.0]
        self._wrong_way_s = 0.0
        self.opens_when_empty = False  # in under-voltage it opens its own contactors until it is asked to take a charge
        self.empty_open = False
        self._charge_asked_s = 0.0

    def ask_charge(self) -> None:
        """The controller asks an empty pack to close its contactors for a charge."""
        self._charge_asked_s = CHARGE_ASKED_S

    def step(self, dt_s: float) -> None:
        """Follow the protections for `dt_s`; called some ten times a second."""
        high, low = self.pack.cell_voltages()
        high += self.cell_v_offset
        hot = self.pack.temperature_c + self.temperature_offset_c
        self._watch(0, OVER_VOLTAGE, high > CELL_OVER_V, high < CELL_OVER_V_BACK, dt_s)
        self._watch(1, UNDER_VOLTAGE, low < CELL_UNDER_V, low > CELL_UNDER_V_BACK, dt_s)
        self._watch(2, OVER_TEMPERATURE, hot > CELL_OVER_C, hot < CELL_OVER_C_BACK, dt_s)
        self._watch(3, UNDER_TEMPERATURE, hot < CELL_UNDER_C, hot > CELL_UNDER_C_BACK, dt_s)
        self._charge_asked_s = max(0.0, self._charge_asked_s - dt_s)
        empty = self.opens_when_empty and self.protection & UNDER_VOLTAGE
        self.empty_open = bool(empty) and self._charge_asked_s == 0.0
        current = self.pack.current_a
        no_charge, no_discharge = self._forbidden()
        wrong = (no_charge and current < -RELAY_CURRENT_A) or (no_discharge and current > RELAY_CURRENT_A)
        self._wrong_way_s = self._wrong_way_s + dt_s if wrong else 0.0
        if self._wrong_way_s > RELAY_AFTER_S and self.relay_closed:
            # The last line of defence: a controller that ignores a protection loses the battery.
            self.relay_closed = False
            self.relay_trips += 1

    def reset(self) -> None:
        """Close the relay again after a trip (a technician's reset)."""
        self.relay_closed = True
        self._wrong_way_s = 0.0

    def _watch(self, n: int, bit: int, bad: bool, good: bool, dt_s: float) -> None:
        if bad:
            self._timers_s[n] += dt_s
            if self._timers_s[n] >= PROTECT_AFTER_S:
                self.protection |= bit
        else:
            self._timers_s[n] = 0.0
            if good:
                self.protection &= ~bit

    def _forbidden(self) -> tuple[bool, bool]:
        temperatures = self.protection & (OVER_TEMPERATURE | UNDER_TEMPERATURE)
        return bool(self.protection & OVER_VOLTAGE or temperatures), bool(
            self.protection & UNDER_VOLTAGE or temperatures
        )

    def limits_a(self) -> tuple[float, float]:
        """(charge, discharge) current limits, A, as it would tell them now."""
        high, low = self.pack.cell_voltages()
        return self._limits_a(high + self.cell_v_offset, low, *self._forbidden())

    def _limits_a(self, high: float, low: float, no_charge: bool, no_discharge: bool) -> tuple[float, float]:
        cold = self.pack.temperature_c - 1.0
        hot = self.pack.temperature_c + self.temperature_offset_c
        charge = discharge = self.current_max_a
        if not ALL_FREE[0] < cold <= hot < ALL_FREE[1]:  # else no curve takes anything away
            charge *= min(share(CHARGE_BY_TEMPERATURE, hot), share(CHARGE_BY_TEMPERATURE, cold))
            discharge *= min(share(DISCHARGE_BY_TEMPERATURE, hot), share(DISCHARGE_BY_TEMPERATURE, cold))
        charge = 0.0 if no_charge else charge * share(CHARGE_BY_CELL_V, high)
        empty = no_discharge or self.pack.soc <= 0.0
        discharge = 0.0 if empty else discharge * share(DISCHARGE_BY_CELL_V, low)
        return int(charge * 10) / 10, int(discharge * 10) / 10

    def report(self) -> BmsReport:
        """The values of one answer, in the resolution a BMS has: 0.1 V, 0.1 A, whole percents, mV, 0.1 degC."""
        pack = self.pack
        high, low = pack.cell_voltages()
        high += self.cell_v_offset
        no_charge, no_discharge = self._forbidden()
        charge, discharge = self._limits_a(high, low, no_charge, no_discharge)
        rnd, noise = self._random.random, self.noise * TRIANGLE
        # With open contactors the current sensor reads its zero.
        current = round(pack.current_a + ((rnd() + rnd() - 1.0) * NOISE_A * noise if pack.current_a else 0.0), 1)
        temperature = pack.temperature_c
        soc = pack.soc * 100.0 + self.soc_error_pct
        return BmsReport(
            voltage_v=round(pack.voltage_v + (rnd() + rnd() - 1.0) * NOISE_V * noise, 1),
            current_a=current,
            temperature_c=round(temperature, 1),
            soc_pct=max(0, min(100, int(soc + self.soc_half))),
            soh_pct=self.soh_pct,
            charge_cutoff_v=round(self.charge_cutoff_v, 1),
            discharge_cutoff_v=round(self.discharge_cutoff_v, 1),
            charge_limit_a=charge,
            discharge_limit_a=discharge,
            cell_max_mv=round(high * 1000),
            cell_min_mv=round(low * 1000),
            cell_max_c=round(temperature + self.temperature_offset_c + 1.0, 1),
            cell_min_c=round(temperature - 1.0, 1),
            status=CHARGING if current < -0.5 else DISCHARGING if current > 0.5 else IDLE,
            protection=self.protection,
            alarm=self._alarms(high, low, temperature + self.temperature_offset_c),
            charge_forbidden=no_charge,
            discharge_forbidden=no_discharge,
            force_charge=pack.soc < 0.02,
            balancing=high > 3.40 and high - low > 0.01,
        )

    @staticmethod
    def _alarms(high: float, low: float, hot: float) -> int:
        """Warnings, a little before each protection."""
        alarm = OVER_VOLTAGE if high > CELL_OVER_V - 0.03 else 0
        alarm |= UNDER_VOLTAGE if low < CELL_UNDER_V + 0.2 else 0
        alarm |= OVER_TEMPERATURE if hot > CELL_OVER_C - 5.0 else 0
        alarm |= UNDER_TEMPERATURE if hot < CELL_UNDER_C + 5.0 else 0
        return alarm
