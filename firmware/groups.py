"""What the making of a site needs of the points, made of points.py by `make slots`: do not edit.

It leaves with the builders.
"""

from firmware import image as im

# SEQ slot, first and last slot, what it brings to the site, first word of the types that fill it, in words
GROUPS = (
    (im.SEQ_BMS, im.BMS_SOC, im.BMS_TEMP, im.HAS_BMS, "bms", "battery"),
    (im.SEQ_BMS_LIMITS, im.BMS_V_MAX, im.BMS_I_DIS, 0, "bms", "battery limits"),
    (im.SEQ_BMS_CELLS, im.CELL_V_MAX, im.CELL_V_MIN, 0, "bms", "cell voltages"),
    (im.SEQ_BMS_TEMPS, im.CELL_T_MAX, im.CELL_T_MIN, 0, "bms", "cell temperatures"),
    (im.SEQ_BMS_FLAGS, im.BMS_STATUS, im.BMS_ALARM, 0, "bms", "battery flags"),
    (im.SEQ_PCS, im.PCS_STATE, im.PCS_S_MAX, im.HAS_PCS, "pcs", "inverter"),
    (im.SEQ_METER, im.METER_P, im.METER_HZ, im.HAS_METER, "meter", "meter"),
    (im.SEQ_PV, im.PV_P, im.PV_P, im.HAS_PV, "pv", "PV"),
    (im.SEQ_IO, im.IO_ESTOP, im.IO_CONTACTOR, im.HAS_IO, "io", "board inputs"),
    (im.SEQ_LOAD, im.METER_LOAD_P, im.METER_LOAD_P, 0, "load", "load meter"),
    (im.SEQ_GEN, im.GEN_P, im.GEN_P, 0, "generator", "generator"),
)
# of everything measured: slot, lowest and highest that can be true
PLAUSIBLE = (
    im.BMS_SOC, 0, 10000,
    im.BMS_SOH, 0, 10000,
    im.BMS_V, 0, 15000,
    im.BMS_I, -30000, 30000,
    im.BMS_TEMP, -500, 1500,
    im.BMS_V_MAX, 0, 15000,
    im.BMS_V_MIN, 0, 15000,
    im.BMS_I_CHG, 0, 30000,
    im.BMS_I_DIS, 0, 30000,
    im.CELL_V_MAX, 500, 5000,
    im.CELL_V_MIN, 500, 5000,
    im.CELL_T_MAX, -500, 1500,
    im.CELL_T_MIN, -500, 1500,
    im.BMS_STATUS, 0, 7,
    im.BMS_REQUESTS, -im.RANGE, im.RANGE,
    im.BMS_PROTECT, -im.RANGE, im.RANGE,
    im.BMS_ALARM, -im.RANGE, im.RANGE,
    im.BMS_ODD, -im.RANGE, im.RANGE,
    im.PCS_STATE, -im.RANGE, im.RANGE,
    im.PCS_P, -20000000, 20000000,
    im.PCS_Q, -im.RANGE, im.RANGE,
    im.PCS_V, 0, 20000,
    im.PCS_I, -im.RANGE, im.RANGE,
    im.PCS_HZ, 0, 100000,
    im.PCS_DC_V, 0, 20000,
    im.PCS_DC_I, -100000, 100000,
    im.PCS_DC_P, -im.RANGE, im.RANGE,
    im.PCS_P_CHG, -im.RANGE, im.RANGE,
    im.PCS_P_DIS, -im.RANGE, im.RANGE,
    im.PCS_TEMP, -1000, 2500,
    im.PCS_ALARM, -im.RANGE, im.RANGE,
    im.PCS_GRID, -im.RANGE, im.RANGE,
    im.PCS_SETPOINT, -im.RANGE, im.RANGE,
    im.PCS_S_MAX, -im.RANGE, im.RANGE,
    im.METER_P, -200000000, 200000000,
    im.METER_V, 0, 1000000,
    im.METER_I, -1000000, 1000000,
    im.METER_HZ, 0, 100000,
    im.METER_LOAD_P, -200000000, 200000000,
    im.PV_P, -200000000, 200000000,
    im.GEN_P, -200000000, 200000000,
    im.IO_ESTOP, 0, 1,
    im.IO_CONTACTOR, 0, 1,
)  # fmt: skip
