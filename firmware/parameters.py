"""Turns a PowerConfig into the cycle's integers.  Needed when the configuration changes only: app.py unloads it."""

from firmware import image as im


def apply(power, par, has: int) -> None:
    """Write the cycle's integer parameters (image.PAR_*); `has`: image.HAS_* bits of the site's devices."""
    for slot, value, scale in (
        (im.PAR_P_CHG, power.max_charge_power, 1000),
        (im.PAR_P_DIS, power.max_discharge_power, 1000),
        (im.PAR_P_EXPORT, power.max_grid_export_power, 1000),
        (im.PAR_GRID_TYPE, power.grid_connection, 1),
        (im.PAR_GRID_CHG, power.allow_grid_charging, 1),
        (im.PAR_EXPORT, power.allow_grid_export, 1),
        (im.PAR_SOC_MIN, power.min_soc, 100),
        (im.PAR_SOC_MAX, power.max_soc, 100),
        (im.PAR_SOC_TAPER, power.soc_taper, 100),
        (im.PAR_EFF, power.inverter_efficiency, 10),
        (im.PAR_RAMP_UP, power.ramp_up, 1000),
        (im.PAR_RAMP_DOWN, power.ramp_down, 1000),
        (im.PAR_STALE_BMS, power.bms_period_ms, 3),
        (im.PAR_STALE_PCS, power.pcs_timeout_ms, 1),
        (im.PAR_STALE_METER, power.meter_timeout_ms, 1),
        (im.PAR_STALE_IO, 500, 1),
        (im.PAR_HAS, has, 1),
        (im.PAR_Q_STEP, power.capacity_ah(), 3600),  # Ah x 3600 s x 10 x 1000 ms / 10000 steps
        (im.PAR_SOC_FLOORED, power.soc_rounding == "down", 1),
        (im.PAR_SOC_BOUND, power.soc_bound, 100),
        (im.PAR_R_PACK, power.internal_resistance, 1000),
        (im.PAR_V_MAX, power.cell_voltage_max * power.cells(), 10),
        (im.PAR_V_MIN, power.cell_voltage_min * power.cells(), 10),
        (im.PAR_CELL_MAX, power.cell_voltage_max, 1000),
        (im.PAR_CELL_MIN, power.cell_voltage_min, 1000),
        (im.PAR_CELLS, power.cells(), 1),
        (im.PAR_T_CHG, power.charge_temp_zero_low, 10),
        (im.PAR_T_CHG + 1, power.charge_temp_full_low, 10),
        (im.PAR_T_CHG + 2, power.charge_temp_full_high, 10),
        (im.PAR_T_CHG + 3, power.charge_temp_zero_high, 10),
        (im.PAR_T_DIS, power.discharge_temp_zero_low, 10),
        (im.PAR_T_DIS + 1, power.discharge_temp_full_low, 10),
        (im.PAR_T_DIS + 2, power.discharge_temp_full_high, 10),
        (im.PAR_T_DIS + 3, power.discharge_temp_zero_high, 10),
        (im.PAR_HZ_MIN, power.grid_frequency, 940),  # 47 to 52 Hz at 50 Hz: EN 50549-1's operating range, widened
        (im.PAR_HZ_MAX, power.grid_frequency, 1040),
        (im.PAR_VG_MIN, power.grid_voltage, 8),  # 80 to 120 %
        (im.PAR_VG_MAX, power.grid_voltage, 12),
        (im.PAR_BREAK_I, power.contactor_break_current, 10),
        (im.PAR_BREAK_MS, power.contactor_wait, 1000),
        (im.PAR_OVER_P, max(power.max_charge_power, power.max_discharge_power), 50),  # 5 % of rating
        (im.PAR_FOLLOW_P, max(power.max_charge_power, power.max_discharge_power), 50),
        (im.PAR_FLOW_P, max(power.max_charge_power, power.max_discharge_power), 5),  # 0.5 %
        (im.PAR_FROZEN_MS, 60000, 1),
        (im.PAR_SERVICE_P, power.service_power, 1000),
        (im.PAR_CELL_TRIP_HI, power.cell_trip_high, 1000),
        (im.PAR_CELL_TRIP_LO, power.cell_trip_low, 1000),
        (im.PAR_T_TRIP_HI, power.temp_trip_high, 10),
        (im.PAR_T_TRIP_LO, power.discharge_temp_zero_low, 10),
    ):
        par[slot] = int(value * scale + (0.5 if value >= 0 else -0.5))
