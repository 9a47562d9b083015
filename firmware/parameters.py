"""Turns a PowerConfig into the cycle's integers."""

from micropython import const
from rows import each

from firmware import image as im
from firmware import protections
from firmware.config import capacity_ah
from firmware.image import parts

_IO_SILENT_MS = const(500)

PLACE_ROWS = (  # field of config.FIELDS; slot; parts of its unit in one of the field's
    ("grid_connection", im.PAR_GRID_TYPE, 1),
    ("max_charge_power", im.PAR_P_CHG, 1000),
    ("max_discharge_power", im.PAR_P_DIS, 1000),
    ("max_grid_export_power", im.PAR_P_EXPORT, 1000),
    ("min_soc", im.PAR_SOC_MIN, 100),
    ("max_soc", im.PAR_SOC_MAX, 100),
    ("allow_grid_charging", im.PAR_GRID_CHG, 1),
    ("allow_grid_export", im.PAR_EXPORT, 1),
    ("inverter_efficiency", im.PAR_EFF, 10),
    ("ramp_up", im.PAR_RAMP_UP, 1000),
    ("ramp_down", im.PAR_RAMP_DOWN, 1000),
    ("soc_taper", im.PAR_SOC_TAPER, 100),
    ("soc_bound", im.PAR_SOC_BOUND, 100),
    ("internal_resistance", im.PAR_R_PACK, 1000),
    ("cell_voltage_max", im.PAR_CELL_MAX, 1000),
    ("cell_voltage_min", im.PAR_CELL_MIN, 1000),
    ("cell_trip_high", im.PAR_CELL_TRIP_HI, 1000),
    ("cell_trip_low", im.PAR_CELL_TRIP_LO, 1000),
    ("charge_temp_zero_low", im.PAR_T_CHG, 10),
    ("charge_temp_full_low", im.PAR_T_CHG + 1, 10),
    ("charge_temp_full_high", im.PAR_T_CHG + 2, 10),
    ("charge_temp_zero_high", im.PAR_T_CHG + 3, 10),
    ("discharge_temp_zero_low", im.PAR_T_DIS, 10),
    ("discharge_temp_full_low", im.PAR_T_DIS + 1, 10),
    ("discharge_temp_full_high", im.PAR_T_DIS + 2, 10),
    ("discharge_temp_zero_high", im.PAR_T_DIS + 3, 10),
    ("temp_trip_high", im.PAR_T_TRIP_HI, 10),
    ("grid_frequency", im.PAR_HZ_MIN, 940),  # 47 to 52 Hz at 50 Hz: EN 50549-1's operating range, widened
    ("grid_frequency", im.PAR_HZ_MAX, 1040),
    ("grid_voltage", im.PAR_VG_MIN, 8),  # 80 to 120 %
    ("grid_voltage", im.PAR_VG_MAX, 12),
    ("contactor_break_current", im.PAR_BREAK_I, 10),
    ("contactor_wait", im.PAR_BREAK_MS, 1000),
    ("service_power", im.PAR_SERVICE_P, 1000),
    ("overvoltage_hold", im.PAR_OV_HOLD_MS, 1000),
    ("soc_accept", im.PAR_SOC_ACCEPT_MS, 60000),
)


def apply(fields: dict, par, has: int, packs: int = 1) -> None:
    """Write the cycle's integer parameters (image.PAR_*).

    fields: PowerConfig.whole(); has: image.HAS_* bits of the devices; packs: in parallel.
    """
    for name, slot, scale in each(PLACE_ROWS):
        par[slot] = parts(fields[name], scale)
    cells = fields["module_count"] * fields["cells_per_module"]
    most = max(par[im.PAR_P_CHG], par[im.PAR_P_DIS])
    par[im.PAR_HAS] = has
    par[im.PAR_FROZEN_MS] = 60000
    par[im.PAR_STALL_MS] = fields["cycle_ms"] * 3 // 2 + 100  # at most 1600: inputs.freeze bounds a cycle to 2000
    for slot, silent_ms in (
        (im.PAR_STALE_BMS, 3 * fields["bms_period_ms"]),
        (im.PAR_STALE_PCS, fields["pcs_timeout_ms"]),
        (im.PAR_STALE_METER, fields["meter_timeout_ms"]),
        (im.PAR_STALE_IO, _IO_SILENT_MS),
    ):  # an age counts from the cycle before the one that saw the group, and a cycle may be late by PAR_STALL_MS on top
        par[slot] = max(silent_ms, par[im.PAR_STALL_MS]) + fields["cycle_ms"]
    par[im.PAR_SOC_FLOORED] = 1 if fields["soc_rounding"] == "down" else 0
    par[im.PAR_CELLS] = cells
    par[im.PAR_V_MAX] = parts(fields["cell_voltage_max"] * cells, 10)
    par[im.PAR_V_MIN] = parts(fields["cell_voltage_min"] * cells, 10)
    par[im.PAR_R_PACK] = max(1, par[im.PAR_R_PACK] // packs)
    par[im.PAR_ENERGY] = parts(fields["module_count"] * fields["module_energy"] * packs, 1000)
    par[im.PAR_Q_STEP] = parts(capacity_ah(fields) * packs, 3600)  # Ah x 3600 s x 10 x 1000 ms / 10000 steps
    par[im.PAR_CELL_DEAD] = par[im.PAR_CELL_TRIP_LO] * 2 // 3  # copper dissolves: such a cell is no longer charged
    par[im.PAR_PROT_CHG], par[im.PAR_PROT_DIS], par[im.PAR_PROT_SEP] = protections.masks()
    par[im.PAR_T_TRIP_LO] = par[im.PAR_T_DIS]
    par[im.PAR_OVER_P] = par[im.PAR_FOLLOW_P] = most // 20  # 5 % of rating
    par[im.PAR_FLOW_P] = most // 200  # 0.5 %
    par[im.PAR_MOST_P] = most * 5 // 4
