"""What is configured: PowerConfig and its fields.  The form of a row, and the checking, are in checks.py."""

from micropython import const

from firmware.checks import Checked
from firmware.checks import check as check
from firmware.errors import ConfigError
from firmware.flows import Grid

# PowerConfig: first the fields of the reference firmware, then ours
FIELDS = (
    ("grid_connection", "int", 2, 0, 3, "Grid: 0 ISOLATED, 1 BACKUP, 2 INTERACTIVE, 3 EXPORT"),
    ("module_count", "int", 13, 1, 24, "modules in series"),
    ("system_voltage_nominal", "float", 624.0, 24, 1200, "V"),
    ("max_charge_power", "float", 100.0, 0, 1000, "kW, AC"),
    ("max_discharge_power", "float", 100.0, 0, 1000, "kW, AC"),
    ("max_grid_export_power", "float", 100.0, 0, 1000, "kW at the point of connection"),
    ("min_soc", "float", 20.0, 0, 100, "%"),
    ("max_soc", "float", 90.0, 0, 100, "%"),
    ("allow_grid_charging", "bool", True, 0, 1, "false: only surplus charges"),
    ("allow_grid_export", "bool", True, 0, 1, "false: nothing is fed into the grid"),
    ("inverter_efficiency", "float", 95.0, 50, 100, "%"),
    ("auto_restart", "bool", True, 0, 1, "true: back by itself once a fault is gone"),
    ("module_energy", "float", 16.0, 1, 100, "kWh a module"),
    ("cells_per_module", "int", 15, 1, 32, "cells in series in a module"),
    ("ramp_up", "float", 20.0, 0.1, 1000, "kW/s, |power| rising"),
    ("ramp_down", "float", 50.0, 0.1, 1000, "kW/s, |power| falling"),
    ("cycle_ms", "int", 50, 20, 1000, "ms, in steps of 10"),
    ("soc_taper", "float", 2.0, 0.1, 10, "%, width of the power taper at floor and ceiling"),
    ("soc_rounding", ("nearest", "down"), "nearest", 0, 0, "how the BMS makes whole percents"),
    ("soc_bound", "float", 5.0, 2, 50, "%, how far BMS and counted charge may part"),
    ("bms_period_ms", "int", 1000, 50, 60000, "ms; silent for three of them is lost"),
    ("pcs_timeout_ms", "int", 1000, 100, 60000, "ms"),
    ("meter_timeout_ms", "int", 1000, 100, 60000, "ms"),
    ("internal_resistance", "float", 0.25, 0.01, 10, "ohm of the pack, taken high"),
    ("cell_voltage_max", "float", 3.6, 2, 5, "V, charged to at most"),
    ("cell_voltage_min", "float", 2.8, 1, 4, "V, discharged to at least"),
    ("cell_trip_high", "float", 3.75, 2, 5, "V, emergency above"),
    ("cell_trip_low", "float", 2.4, 1, 4, "V, emergency below"),
    ("charge_temp_zero_low", "float", 0.0, -40, 80, "degC, no charging at or below"),
    ("charge_temp_full_low", "float", 10.0, -40, 80, "degC, full charging from"),
    ("charge_temp_full_high", "float", 45.0, -40, 80, "degC, full charging to"),
    ("charge_temp_zero_high", "float", 52.0, -40, 80, "degC, no charging at or above"),
    ("discharge_temp_zero_low", "float", -20.0, -40, 80, "degC"),
    ("discharge_temp_full_low", "float", -5.0, -40, 80, "degC"),
    ("discharge_temp_full_high", "float", 48.0, -40, 80, "degC"),
    ("discharge_temp_zero_high", "float", 58.0, -40, 80, "degC"),
    ("temp_trip_high", "float", 60.0, 20, 90, "degC, emergency above"),
    ("grid_frequency", "float", 50.0, 45, 65, "Hz, nominal"),
    ("grid_voltage", "float", 400.0, 100, 1000, "V line to line, nominal"),
    ("contactor_break_current", "float", 5.0, 0.1, 500, "A, contactors open below it"),
    ("contactor_wait", "float", 2.0, 0, 30, "s, or after this wait"),
    ("service_power", "float", 5.0, 0, 50, "kW, the most MAINTENANCE may move"),
    ("overvoltage_hold", "float", 300.0, 0, 3600, "s, charging is held off after the BMS's over-voltage protection"),
    ("soc_accept", "float", 10.0, 0, 1440, "min, a BMS's SoC that disagrees and holds is accepted; 0: by accept_soc() only"),
    ("resume", "bool", True, 0, 1, "what ran before a reset starts again: schedules, claims that are renewed"),
    ("resume_manual", "bool", False, 0, 1, "a manual operation without an end goes on after a reset too"),
    ("restart_delay", "float", 2.0, 0, 3600, "s, doubling at every try"),
    ("restart_limit", "int", 5, 0, 100, "restarts in an hour, then start() is needed"),
)

_ASCENDING = const((  # fields of PowerConfig, each pair the lower one first
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
))


class PowerConfig(Checked):
    """What the site's owner decides: every field of FIELDS as an attribute, in the units given there."""

    ROWS = FIELDS
    WHERE = "power"

    def __init__(self, *unnamed, **given) -> None:
        wrong = None
        if isinstance(given.get("grid_connection"), str):
            try:
                given["grid_connection"] = Grid.parse(given["grid_connection"])
            except ValueError as error:
                wrong = error
                del given["grid_connection"]
        try:
            Checked.__init__(self, *unnamed, **given)
        except ConfigError as error:
            if wrong is not None:
                error.errors.insert(0, "power.grid_connection: %s" % wrong)
                raise ConfigError(error.errors)
            raise
        if wrong is not None:
            raise wrong

    def _check_together(self, fields: dict, errors: list) -> None:
        for low, high in _ASCENDING:
            least, most = fields[low], fields[high]
            if least >= most:
                errors.append("power.%s = %s: must be below %s = %s" % (low, least, high, most))
        if fields["cycle_ms"] % 10:
            errors.append("power.cycle_ms = %d: allowed are 20 to 1000 ms in steps of 10" % fields["cycle_ms"])
        if fields["max_soc"] - fields["min_soc"] < 2 * fields["soc_taper"]:
            errors.append("power.soc_taper = %s: must fit twice between min_soc and max_soc" % fields["soc_taper"])

    def capacity_ah(self) -> float:
        """Ah of the pack: its energy over its nominal voltage."""
        return capacity_ah(self.whole())


def capacity_ah(fields: dict) -> float:
    """The same of PowerConfig.whole()."""
    return fields["module_count"] * fields["module_energy"] * 1000 / fields["system_voltage_nominal"]
