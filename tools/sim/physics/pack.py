"""The LFP pack: open-circuit voltage, one resistor, one RC pair, heat, coulombic efficiency, cell spread."""

import math

from tools.sim.physics.ocv import SOC_LOW, STEPS_PER_UNIT, TABLE, cell_ocv, mean_ocv

MODULES = 13
CELLS_PER_MODULE = 15
ENERGY_WH = 208_000.0
CELL_R0_OHM = 0.00013  # 320 Ah class LFP cell, 25 degC, DC, within the first second
CELL_R1_OHM = 0.00005
TAU1_S = 30.0
# Losses grow in the cold: about 1.5 % a degree below 25 degC, none assumed above.
COLD_PER_K = 0.015
CELL_HEAT_J_PER_K = 5600.0  # 5.6 kg at about 1 kJ/kg/K
COOLING_TAU_S = 9000.0


class Pack:
    """A battery as a controller meets it at its terminals.  Currents: positive is discharge, A."""

    __slots__ = (
        "soc", "temperature_c", "ambient_c", "current_a", "voltage_v", "cells", "capacity_ah", "coulombic",
        "spread_high", "spread_low", "emf_v", "r0_ohm", "charge_c", "polarisation_v", "_dt", "_decay", "_r0_25",
        "_r1_25", "_heat_j_per_k", "_table", "_last", "_cells_v",
    )

    def __init__(
        self,
        soc_pct: float = 55.0,
        energy_wh: float = ENERGY_WH,
        modules: int = MODULES,
        coulombic: float = 0.999,
        temperature_c: float = 25.0,
        spread_pct: float = 0.05,
    ) -> None:
        """A rested pack.  `spread_pct`: how far the fullest and the emptiest cell are from the mean, % of charge."""
        self.cells = modules * CELLS_PER_MODULE
        self.soc = soc_pct / 100.0
        self.capacity_ah = energy_wh / (mean_ocv() * self.cells)
        self.coulombic = coulombic
        self.temperature_c = temperature_c
        self.ambient_c = temperature_c
        self.spread_high = spread_pct / 100.0
        self.spread_low = spread_pct / 100.0
        self._table = [v * self.cells for v in TABLE]
        self._last = len(TABLE) - 1.000001
        self._r0_25 = CELL_R0_OHM * self.cells
        self._r1_25 = CELL_R1_OHM * self.cells
        self._heat_j_per_k = CELL_HEAT_J_PER_K * self.cells
        self.charge_c = 0.0
        self.polarisation_v = 0.0
        self._dt = -1.0
        self._decay = 0.0
        self.current_a = 0.0
        self.r0_ohm = self._r0_25
        self.emf_v = cell_ocv(self.soc) * self.cells
        self.voltage_v = self.emf_v
        self._cells_v: tuple[float, float] | None = None  # worked out when asked for
        self.step(0.0, 0.0)

    def step(self, dt_s: float, current_a: float) -> None:
        """Let `current_a` flow for `dt_s` seconds (the exact solution of the RC pair for a constant current)."""
        if dt_s != self._dt:
            self._dt = dt_s
            self._decay = 1.0 - math.exp(-dt_s / TAU1_S)
        temperature = self.temperature_c
        cold = 1.0 + COLD_PER_K * (25.0 - temperature) if temperature < 25.0 else 1.0
        r0 = self._r0_25 * cold
        u1 = self.polarisation_v
        u1 += (current_a * self._r1_25 * cold - u1) * self._decay
        charge = current_a * dt_s
        self.charge_c += charge
        # Coulombic efficiency: a small part of the charge put in is not stored.
        soc = self.soc - (charge if charge >= 0.0 else charge * self.coulombic) / (self.capacity_ah * 3600.0)
        x = (soc - SOC_LOW) * STEPS_PER_UNIT
        x = 0.0 if x < 0.0 else (self._last if x > self._last else x)
        n = int(x)
        table = self._table
        low = table[n]
        emf = low + (table[n + 1] - low) * (x - n) - u1
        heat_w = current_a * (current_a * r0 + u1)
        self.temperature_c = temperature + dt_s * (
            heat_w / self._heat_j_per_k - (temperature - self.ambient_c) / COOLING_TAU_S
        )
        self.soc = soc
        self.polarisation_v = u1
        self.r0_ohm = r0
        self.emf_v = emf
        self.current_a = current_a
        self.voltage_v = emf - current_a * r0
        self._cells_v = None

    def current_for(self, power_w: float) -> float:
        """The current, A, at which the terminals give `power_w` (the weaker of the two solutions does not exist
        in practice); beyond the pack's maximum power, the current of that maximum."""
        emf = self.emf_v
        r0 = self.r0_ohm
        root = emf * emf - 4.0 * r0 * power_w
        if root <= 0.0:
            return emf / (2.0 * r0)
        return (emf - math.sqrt(root)) / (2.0 * r0)

    def rest(self, soc_pct: float) -> None:
        """Put the pack at `soc_pct`, fully rested, no current."""
        self.soc = soc_pct / 100.0
        self.polarisation_v = 0.0
        self.step(0.0, 0.0)

    def cell_voltages(self) -> tuple[float, float]:
        """(highest, lowest) cell voltage, V: the mean cell moved by the charge the outermost cells differ by."""
        if self._cells_v is None:
            mean = self.voltage_v / self.cells
            here = cell_ocv(self.soc)
            high = mean + cell_ocv(self.soc + self.spread_high) - here
            self._cells_v = high, mean + cell_ocv(self.soc - self.spread_low) - here
        return self._cells_v

    def stored_wh(self) -> float:
        """Energy between empty and the present charge at rest voltage, Wh."""
        first = -SOC_LOW * STEPS_PER_UNIT
        x = first + max(0.0, min(1.0, self.soc)) * STEPS_PER_UNIT
        n = int(x)
        table = self._table
        start = round(first)
        area = sum((table[k] + table[k + 1]) / 2 for k in range(start, n))
        part = x - n
        if part:
            area += (table[n] + (table[n + 1] - table[n]) * part / 2) * part
        return area / STEPS_PER_UNIT * self.capacity_ah
