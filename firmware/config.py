"""Checks configuration, all of it at once: PowerConfig's fields, and any section described by a table of rows.

A row is (key, kind, default, low, high, meaning with its unit).  kind: "float", "int", "bool", "str" (low and high
are then its length, 0 0 for any), "any" (the owner of the rows checks it) or a tuple of the words allowed.  default REQUIRED: the key must be given.
"""

from firmware.errors import ConfigError, PowerError, in_range
from firmware.flows import Grid
from firmware import image as im

REQUIRED = object()

# PowerConfig: first the fields of the reference firmware, then ours
FIELDS = (
    ("grid_connection", "int", Grid.INTERACTIVE, 0, 3, "Grid: 0 ISOLATED, 1 BACKUP, 2 INTERACTIVE, 3 EXPORT"),
    ("module_count", "int", 13, 1, 24, "modules in series"),
    ("system_voltage_nominal", "float", 624, 24, 1200, "V"),
    ("max_charge_power", "float", 100, 0, 1000, "kW, AC"),
    ("max_discharge_power", "float", 100, 0, 1000, "kW, AC"),
    ("max_grid_export_power", "float", 100, 0, 1000, "kW at the point of connection"),
    ("min_soc", "float", 20, 0, 100, "%"),
    ("max_soc", "float", 90, 0, 100, "%"),
    ("allow_grid_charging", "bool", True, 0, 1, ""),
    ("allow_grid_export", "bool", True, 0, 1, ""),
    ("inverter_efficiency", "float", 95, 50, 100, "%"),
    ("auto_restart", "bool", True, 0, 1, ""),
    ("module_energy", "float", 16, 1, 100, "kWh a module"),
    ("cells_per_module", "int", 15, 1, 32, "cells in series in a module"),
    ("ramp_up", "float", 20, 0.1, 1000, "kW/s, |power| rising"),
    ("ramp_down", "float", 50, 0.1, 1000, "kW/s, |power| falling"),
    ("cycle_ms", "int", 50, 20, 1000, "ms, in steps of 10"),
    ("soc_taper", "float", 2, 0.1, 10, "%, width of the power taper at floor and ceiling"),
    ("soc_rounding", ("nearest", "down"), "nearest", 0, 0, "how the BMS makes whole percents"),
    ("soc_bound", "float", 5, 2, 50, "%, how far BMS and counted charge may part"),
    ("bms_period_ms", "int", 1000, 50, 60000, "ms; silent for three of them is lost"),
    ("pcs_timeout_ms", "int", 1000, 100, 60000, "ms"),
    ("meter_timeout_ms", "int", 1000, 100, 60000, "ms"),
    ("internal_resistance", "float", 0.25, 0.01, 10, "ohm of the pack, taken high"),
    ("cell_voltage_max", "float", 3.6, 2, 5, "V, charged to at most"),
    ("cell_voltage_min", "float", 2.8, 1, 4, "V, discharged to at least"),
    ("cell_trip_high", "float", 3.75, 2, 5, "V, emergency above"),
    ("cell_trip_low", "float", 2.4, 1, 4, "V, emergency below"),
    ("charge_temp_zero_low", "float", 0, -40, 80, "degC, no charging at or below"),
    ("charge_temp_full_low", "float", 10, -40, 80, "degC, full charging from"),
    ("charge_temp_full_high", "float", 45, -40, 80, "degC, full charging to"),
    ("charge_temp_zero_high", "float", 52, -40, 80, "degC, no charging at or above"),
    ("discharge_temp_zero_low", "float", -20, -40, 80, "degC"),
    ("discharge_temp_full_low", "float", -5, -40, 80, "degC"),
    ("discharge_temp_full_high", "float", 48, -40, 80, "degC"),
    ("discharge_temp_zero_high", "float", 58, -40, 80, "degC"),
    ("temp_trip_high", "float", 60, 20, 90, "degC, emergency above"),
    ("grid_frequency", "float", 50, 45, 65, "Hz, nominal"),
    ("grid_voltage", "float", 400, 100, 1000, "V line to line, nominal"),
    ("contactor_break_current", "float", 5, 0.1, 500, "A, contactors open below it"),
    ("contactor_wait", "float", 2, 0, 30, "s, or after this wait"),
    ("service_power", "float", 5, 0, 50, "kW, the most MAINTENANCE may move"),
    ("restart_delay", "float", 2, 0, 3600, "s, doubling at every try"),
    ("restart_limit", "int", 5, 0, 100, "restarts in an hour, then start() is needed"),
)


def _distance(a: str, b: str) -> int:
    """How many letters to change, add or drop to make b of a (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        left = row[0]
        row[0] = i + 1
        for j, y in enumerate(b):
            new = min(row[j] + 1, row[j + 1] + 1, left + (x != y))
            left = row[j + 1]
            row[j + 1] = new
    return row[-1]


def _nearest(key: str, rows) -> str:
    best = min([row[0] for row in rows], key=lambda known: _distance(key, known))
    return "; did you mean %s?" % best if _distance(key, best) <= max(2, len(key) // 3) else ""


def _value(row, value):
    """One value against its row; raises PowerError or ValueError."""
    key, kind, _, low, high, unit = row
    if isinstance(kind, tuple):
        if value not in kind:
            raise ValueError("%s = %r: allowed are %s" % (key, value, ", ".join(kind)))
        return value
    if kind == "any":
        return value  # checked by the class itself
    if kind == "str":
        if not isinstance(value, str) or (high and not low <= len(value) <= high):
            raise ValueError("%s = %r: must be a text of %d to %d characters" % (key, value, low, high))
        return value
    return in_range(key, value, low, high, unit, {"float": float, "int": int, "bool": bool}[kind])


def check(rows, given: dict, where: str, errors: list) -> dict:
    """`given` made whole with the rows' defaults; every error is appended to `errors` with `where` in front."""
    if not isinstance(given, dict):
        errors.append("%s = %r: must be an object of keys and values" % (where, given))
        return {}
    result = {}
    for key in given:
        if key not in [row[0] for row in rows]:
            errors.append("%s.%s: no such key%s" % (where, key, _nearest(key, rows)))
    for row in rows:
        key = row[0]
        if key in given:
            try:
                result[key] = _value(row, given[key])
            except (PowerError, ValueError) as error:
                errors.append("%s.%s" % (where, error))
        elif row[2] is REQUIRED:
            errors.append("%s.%s: is missing (%s)" % (where, key, row[5]))
        else:
            result[key] = float(row[2]) if row[1] == "float" else row[2]
    return result


class Checked:
    """A set of named values described by ROWS, checked as a whole when made; ConfigError lists all that is wrong."""

    ROWS = ()
    WHERE = ""

    def __init__(self, **given) -> None:
        errors: list = []
        values = check(self.ROWS, given, self.WHERE, errors)
        if not errors:
            for key in values:
                setattr(self, key, values[key])
            self._check_together(errors)
        if errors:
            raise ConfigError(errors)

    def _check_together(self, errors: list) -> None:
        """Rules that need two fields."""


class PowerConfig(Checked):
    """What the site's owner decides: every field of FIELDS as an attribute, in the units given there."""

    ROWS = FIELDS
    WHERE = "power"

    def __init__(self, **given) -> None:
        if isinstance(given.get("grid_connection"), str):
            given["grid_connection"] = Grid.parse(given["grid_connection"])
        super().__init__(**given)

    def _check_together(self, errors: list) -> None:
        for low, high in (
            ("min_soc", "max_soc"),
            ("cell_voltage_min", "cell_voltage_max"),
            ("cell_voltage_max", "cell_trip_high"),
            ("cell_trip_low", "cell_voltage_min"),
            ("charge_temp_zero_low", "charge_temp_full_low"),
            ("charge_temp_full_low", "charge_temp_full_high"),
            ("charge_temp_full_high", "charge_temp_zero_high"),
            ("discharge_temp_zero_low", "discharge_temp_full_low"),
            ("discharge_temp_full_low", "discharge_temp_full_high"),
            ("discharge_temp_full_high", "discharge_temp_zero_high"),
        ):
            if getattr(self, low) >= getattr(self, high):
                errors.append("power.%s = %s: must be below %s = %s" % (low, getattr(self, low), high, getattr(self, high)))
        if self.cycle_ms % 10:
            errors.append("power.cycle_ms = %d: allowed are 20 to 1000 ms in steps of 10" % self.cycle_ms)
        if self.max_soc - self.min_soc < 2 * self.soc_taper:
            errors.append("power.soc_taper = %s: must fit twice between min_soc and max_soc" % self.soc_taper)

    def apply(self, par, has: int) -> None:
        """Write the cycle's integer parameters (image.PAR_*); `has`: image.HAS_* bits of the site's devices."""
        for slot, value, scale in (
            (im.PAR_P_CHG, self.max_charge_power, 1000),
            (im.PAR_P_DIS, self.max_discharge_power, 1000),
            (im.PAR_P_EXPORT, self.max_grid_export_power, 1000),
            (im.PAR_GRID_TYPE, self.grid_connection, 1),
            (im.PAR_GRID_CHG, self.allow_grid_charging, 1),
            (im.PAR_EXPORT, self.allow_grid_export, 1),
            (im.PAR_SOC_MIN, self.min_soc, 100),
            (im.PAR_SOC_MAX, self.max_soc, 100),
            (im.PAR_SOC_TAPER, self.soc_taper, 100),
            (im.PAR_EFF, self.inverter_efficiency, 10),
            (im.PAR_RAMP_UP, self.ramp_up, 1000),
            (im.PAR_RAMP_DOWN, self.ramp_down, 1000),
            (im.PAR_STALE_BMS, self.bms_period_ms, 3),
            (im.PAR_STALE_PCS, self.pcs_timeout_ms, 1),
            (im.PAR_STALE_METER, self.meter_timeout_ms, 1),
            (im.PAR_STALE_IO, 500, 1),
            (im.PAR_HAS, has, 1),
            (im.PAR_Q_STEP, self.capacity_ah(), 3600),  # Ah x 3600 s x 10 x 1000 ms / 10000 steps
            (im.PAR_SOC_FLOORED, self.soc_rounding == "down", 1),
            (im.PAR_SOC_BOUND, self.soc_bound, 100),
            (im.PAR_R_PACK, self.internal_resistance, 1000),
            (im.PAR_V_MAX, self.cell_voltage_max * self.cells(), 10),
            (im.PAR_V_MIN, self.cell_voltage_min * self.cells(), 10),
            (im.PAR_CELL_MAX, self.cell_voltage_max, 1000),
            (im.PAR_CELL_MIN, self.cell_voltage_min, 1000),
            (im.PAR_CELLS, self.cells(), 1),
            (im.PAR_T_CHG, self.charge_temp_zero_low, 10),
            (im.PAR_T_CHG + 1, self.charge_temp_full_low, 10),
            (im.PAR_T_CHG + 2, self.charge_temp_full_high, 10),
            (im.PAR_T_CHG + 3, self.charge_temp_zero_high, 10),
            (im.PAR_T_DIS, self.discharge_temp_zero_low, 10),
            (im.PAR_T_DIS + 1, self.discharge_temp_full_low, 10),
            (im.PAR_T_DIS + 2, self.discharge_temp_full_high, 10),
            (im.PAR_T_DIS + 3, self.discharge_temp_zero_high, 10),
            (im.PAR_HZ_MIN, self.grid_frequency, 940),  # 47 to 52 Hz at 50 Hz: EN 50549-1's operating range, widened
            (im.PAR_HZ_MAX, self.grid_frequency, 1040),
            (im.PAR_VG_MIN, self.grid_voltage, 8),  # 80 to 120 %
            (im.PAR_VG_MAX, self.grid_voltage, 12),
            (im.PAR_BREAK_I, self.contactor_break_current, 10),
            (im.PAR_BREAK_MS, self.contactor_wait, 1000),
            (im.PAR_OVER_P, max(self.max_charge_power, self.max_discharge_power), 50),  # 5 % of rating
            (im.PAR_FOLLOW_P, max(self.max_charge_power, self.max_discharge_power), 50),
            (im.PAR_FLOW_P, max(self.max_charge_power, self.max_discharge_power), 5),  # 0.5 %
            (im.PAR_FROZEN_MS, 60000, 1),
            (im.PAR_SERVICE_P, self.service_power, 1000),
            (im.PAR_CELL_TRIP_HI, self.cell_trip_high, 1000),
            (im.PAR_CELL_TRIP_LO, self.cell_trip_low, 1000),
            (im.PAR_T_TRIP_HI, self.temp_trip_high, 10),
            (im.PAR_T_TRIP_LO, self.discharge_temp_zero_low, 10),
        ):
            par[slot] = int(value * scale + (0.5 if value >= 0 else -0.5))

    def cells(self) -> int:
        """Cells in series."""
        return self.module_count * self.cells_per_module

    def capacity_ah(self) -> float:
        """Ah of the pack: its energy over its nominal voltage."""
        return self.module_count * self.module_energy * 1000 / self.system_voltage_nominal
