"""The points: every value that the cycle reads, makes or is set by, a row each.  Whatever lists values is made of this table.

`make slots` numbers them: into image.py (`im.BMS_SOC`), from there into the kernels, ranges into drivers, docs/points.md.
stats(), the monitor's line, the live view, the tests' healthy site and the owners of groups go through it as it stands.
So a value is added by one row here and `make slots`; whoever measures or makes it then writes its slot.

On a board the tables stay in flash (lib/rows.py): only a check of a site, or its making, goes through them.  What people
ask for in operation is kept as one text where the tables are files (`_SHOWN`).
"""

from rows import each

from firmware import image as im

UNITS = (  # unit of a slot, parts of it in one of the unit that people read (0: a word stands for it, -1: yes or no), that unit
    ("W", 1000, "kW"),
    ("0.1 V", 10, "V"),
    ("0.1 A", 10, "A"),
    ("0.01 %", 100, "%"),
    ("0.1 degC", 10, "degC"),
    ("code", 0, ""),
    ("bits", 0, ""),
    ("mV", 1000, "V"),
    ("mHz", 1000, "Hz"),
    ("count", 1, ""),
    ("s", 1, "s"),
    ("0/1", -1, ""),
    ("var", 1000, "kvar"),
    ("Wh", 1000, "kWh"),
    ("ms", 1000, "s"),
    ("0.1 %", 10, "%"),
    ("W/s", 1000, "kW/s"),
    ("mOhm", 1000, "Ohm"),
    ("mW", 1000, "W"),
    ("0.1 A ms", 1, "0.1 A ms"),
    ("W ms", 1, "W ms"),
    ("mixed", 1, ""),
    ("slot", 1, ""),
    ("row", 1, ""),
)

# What arrives together and has one age.  A group has one owner, the device that fills it (sitefile.py).
GROUPS = (  # block, SEQ slot, first word of the types that fill it, what that brings to the site (image.HAS_*), in words
    ("battery", im.SEQ_BMS, "bms", im.HAS_BMS, "battery"),
    ("battery", im.SEQ_BMS_LIMITS, "bms", 0, "battery limits"),
    ("battery", im.SEQ_BMS_CELLS, "bms", 0, "cell voltages"),
    ("battery", im.SEQ_BMS_TEMPS, "bms", 0, "cell temperatures"),
    ("battery", im.SEQ_BMS_FLAGS, "bms", 0, "battery flags"),
    ("pcs", im.SEQ_PCS, "pcs", im.HAS_PCS, "inverter"),
    ("meter", im.SEQ_METER, "meter", im.HAS_METER, "meter"),
    ("pv", im.SEQ_PV, "pv", im.HAS_PV, "PV"),
    ("io", im.SEQ_IO, "io", im.HAS_IO, "board inputs"),
    ("load", im.SEQ_LOAD, "load", 0, "load meter"),
    ("generator", im.SEQ_GEN, "generator", 0, "generator"),
)

# Where the slots of each block begin in Image.inp, behind the SEQ slots; what is free behind its rows is for more.  Each slot takes
# 16 bytes of a board's heap.  Whoever moves a block runs `python -m tools.gen_sunspec` too, whose tables hold slot numbers.
BLOCKS = (
    ("battery", 11),
    ("pcs", 30),
    ("meter", 46),
    ("load", 51),
    ("pv", 52),
    ("generator", 53),
    ("io", 54),
    ("end", 57),
)

# Measured: devices write them into Image.inp, the cycle freezes them into Image.now.
# block, slot, unit, key in stats(), key in the monitor's line, group (None: its driver's own), lowest and highest that can
# be true (None: whatever a slot holds), what a healthy site at rest reports (None: nothing), meaning
MEASURED = (
    ("battery", im.BMS_SOC, "0.01 %", "", "", im.SEQ_BMS, 0, 10000, 5000, "state of charge as the BMS reports it"),
    ("battery", im.BMS_SOH, "0.01 %", "soh", "", im.SEQ_BMS, 0, 10000, 10000, "state of health"),
    ("battery", im.BMS_V, "0.1 V", "voltage", "v", im.SEQ_BMS, 0, 15000, 6435, "battery terminal voltage"),
    ("battery", im.BMS_I, "0.1 A", "current", "i", im.SEQ_BMS, -30000, 30000, 0, "battery current, + discharge"),
    ("battery", im.BMS_TEMP, "0.1 degC", "temperature", "temp", im.SEQ_BMS, -500, 1500, 250, "battery temperature"),
    ("battery", im.BMS_V_MAX, "0.1 V", "", "", im.SEQ_BMS_LIMITS, 0, 15000, 7020, "charge cut-off voltage; 0 means stop"),
    ("battery", im.BMS_V_MIN, "0.1 V", "", "", im.SEQ_BMS_LIMITS, 0, 15000, 5460, "discharge cut-off voltage"),
    ("battery", im.BMS_I_CHG, "0.1 A", "", "", im.SEQ_BMS_LIMITS, 0, 30000, 2000, "charge current limit; 0 means stop"),
    ("battery", im.BMS_I_DIS, "0.1 A", "", "", im.SEQ_BMS_LIMITS, 0, 30000, 2000, "discharge current limit; 0 means stop"),
    ("battery", im.CELL_V_MAX, "mV", "cell_max", "", im.SEQ_BMS_CELLS, 500, 5000, 3300, "highest cell voltage"),
    ("battery", im.CELL_V_MIN, "mV", "cell_min", "", im.SEQ_BMS_CELLS, 500, 5000, 3290, "lowest cell voltage"),
    ("battery", im.CELL_T_MAX, "0.1 degC", "", "", im.SEQ_BMS_TEMPS, -500, 1500, 260, "highest cell temperature"),
    ("battery", im.CELL_T_MIN, "0.1 degC", "", "", im.SEQ_BMS_TEMPS, -500, 1500, 240, "lowest cell temperature"),
    ("battery", im.BMS_STATUS, "code", "", "", im.SEQ_BMS_FLAGS, 0, 7, 3, "0 sleep, 1 charge, 2 discharge, 3 idle"),
    ("battery", im.BMS_REQUESTS, "bits", "", "", im.SEQ_BMS_FLAGS, None, None, 0, "BMS_REQ_*: what the BMS forbids or asks for"),
    ("battery", im.BMS_PROTECT, "bits", "", "", im.SEQ_BMS_FLAGS, None, None, 0, "BMS_PROT_*: protections the BMS has tripped"),
    ("battery", im.BMS_ALARM, "bits", "", "", im.SEQ_BMS_FLAGS, None, None, 0, "BMS_PROT_*: the same conditions as warnings"),
    ("battery", im.BMS_ODD, "bits", "", "", None, None, None, 0, "1 << (slot - BMS_SOC) refused in its last report; BMS_ODD_TWO"),
    ("pcs", im.PCS_STATE, "code", "", "", im.SEQ_PCS, None, None, im.PCS_STANDBY, "PCS_*: what the inverter is doing"),
    ("pcs", im.PCS_P, "W", "power", "p", im.SEQ_PCS, -20000000, 20000000, 0, "AC power, + discharge"),
    ("pcs", im.PCS_Q, "var", "", "", im.SEQ_PCS, None, None, 0, "reactive power"),
    ("pcs", im.PCS_V, "0.1 V", "", "", im.SEQ_PCS, 0, 20000, 4000, "AC voltage, line to line"),
    ("pcs", im.PCS_I, "0.1 A", "", "", im.SEQ_PCS, None, None, 0, "AC current"),
    ("pcs", im.PCS_HZ, "mHz", "", "", im.SEQ_PCS, 0, 100000, 50000, "AC frequency"),
    ("pcs", im.PCS_DC_V, "0.1 V", "dc_bus_voltage", "", im.SEQ_PCS, 0, 20000, 6435, "DC bus voltage"),
    ("pcs", im.PCS_DC_I, "0.1 A", "", "", im.SEQ_PCS, -100000, 100000, 0, "DC current, + discharge"),
    ("pcs", im.PCS_DC_P, "W", "", "", im.SEQ_PCS, None, None, 0, "DC power, + discharge"),
    ("pcs", im.PCS_P_CHG, "W", "", "", im.SEQ_PCS, None, None, 120000, "charge power it can take now (rating, derated)"),
    ("pcs", im.PCS_P_DIS, "W", "", "", im.SEQ_PCS, None, None, 120000, "discharge power it can give now (rating, derated)"),
    ("pcs", im.PCS_TEMP, "0.1 degC", "", "", im.SEQ_PCS, -1000, 2500, 300, "cabinet or heat sink temperature"),
    ("pcs", im.PCS_ALARM, "bits", "", "", im.SEQ_PCS, None, None, 0, "its alarm bits as they came; 0 is none"),
    ("pcs", im.PCS_GRID, "0/1", "", "", im.SEQ_PCS, None, None, 1, "it sees the grid and is connected to it"),
    ("pcs", im.PCS_SETPOINT, "W", "", "", im.SEQ_PCS, None, None, None, "the setpoint it says it follows, + discharge"),
    ("meter", im.METER_P, "W", "grid_power", "grid_p", im.SEQ_METER, -200000000, 200000000, 20000,
     "power at the point of connection, + import"),
    ("meter", im.METER_V, "0.1 V", "grid_voltage", "", im.SEQ_METER, 0, 1000000, 4000, "grid voltage, line to line"),
    ("meter", im.METER_I, "0.1 A", "grid_current", "", im.SEQ_METER, -1000000, 1000000, 300, "grid current"),
    ("meter", im.METER_HZ, "mHz", "grid_frequency", "hz", im.SEQ_METER, 0, 100000, 50000, "grid frequency"),
    ("load", im.METER_LOAD_P, "W", "load_meter_power", "", im.SEQ_LOAD, -200000000, 200000000, None,
     "what the loads take, by their own meter"),
    ("pv", im.PV_P, "W", "pv_power", "pv_p", im.SEQ_PV, -200000000, 200000000, 0, "PV power, + generation"),
    ("generator", im.GEN_P, "W", "generator_power", "", im.SEQ_GEN, -200000000, 200000000, None,
     "a generator's power, + generation"),
    ("io", im.IO_ESTOP, "0/1", "", "", im.SEQ_IO, 0, 1, 0, "1: the emergency stop is pressed or its wire is broken"),
    ("io", im.IO_CONTACTOR, "0/1", "", "", im.SEQ_IO, 0, 1, None, "contactor feedback; NO_VALUE where none is wired"),
)  # fmt: skip

# Made by the cycle, in Image.now, behind what is measured.
# block, first slot, unit, key in stats(), key in the monitor's line, how many slots, meaning
MADE = (
    ("site", im.AGE, "ms", "", "", 11, "ages of the groups, in the order of GROUPS"),
    ("battery", im.SOC, "0.01 %", "soc", "soc", 1, "state of charge, refined between the BMS's steps"),
    ("site", im.SOC_LOW, "0.01 %", "", "", 1, "limits discharge: SOC, or the lower one when BMS and count disagree"),
    ("site", im.SOC_HIGH, "0.01 %", "", "", 1, "limits charge: SOC, or the higher one when BMS and count disagree"),
    ("site", im.SOC_SAID, "0.01 %", "", "", 1, "the BMS's value of the cycle before, to see its steps"),
    ("site", im.SOC_REM, "0.1 A ms", "", "", 1, "charge counted that is not yet a 0.01 % step"),
    ("site", im.SOC_DRIFT, "0.01 %", "", "", 1, "what the BMS moved minus what was counted, leaking to 0"),
    ("site", im.SOC_LEAK, "ms", "", "", 1, "time carried to the next step of the leak"),
    ("site", im.NET_P, "W", "", "", 1, "what the site takes without the battery: load - PV - generator"),
    ("site", im.LOAD_P, "W", "load_power", "load_p", 1, "what the loads take: by their own meter, else NET_P + PV_P + GEN_P"),
    ("site", im.GRID_OK, "0/1", "grid_connected", "", 1, "the grid is there (measured)"),
    ("site", im.MODE, "code", "mode", "mode", 1, "modes.Mode"),
    ("site", im.FLOW, "code", "flow", "flow", 1, "flows.Flow"),
    ("site", im.FAULTS, "bits", "faults", "faults", 1, "active faults, bit = row of the fault table"),
    ("site", im.CONDITIONS, "bits", "", "", 1, "what diagnose saw this cycle, before debounce"),
    ("site", im.GATE, "bits", "", "", 1, "GATE_*: what mode and faults forbid"),
    ("site", im.REQUEST_P, "W", "request", "req", 1, "what the winning claim asks for"),
    ("site", im.REQUEST_BY, "code", "requested_by", "by", 1, "the winning claim's source, requests.SOURCES"),
    ("site", im.TARGET_P, "W", "", "", 1, "the request inside the limits, before the ramp"),
    ("site", im.LIMIT_DIS, "W", "limit_discharge", "lim_dis", 1, "the live discharge limit, >= 0"),
    ("site", im.LIMIT_CHG, "W", "limit_charge", "lim_chg", 1, "the live charge limit, >= 0"),
    ("site", im.WHY_DIS, "code", "why_discharge", "why_dis", 1, "the row of the limit list that binds discharge"),
    ("site", im.WHY_CHG, "code", "why_charge", "why_chg", 1, "the row of the limit list that binds charge"),
    ("site", im.RAMP_REM, "mW", "", "", 1, "ramp remainder carried to the next cycle"),
    ("site", im.CMD_P, "W", "command", "cmd", 1, "THE command: AC power for the PCS, + discharge"),
    ("site", im.CMD_RUN, "0/1", "", "", 1, "the PCS may switch"),
    ("site", im.CMD_CONTACTOR, "0/1", "", "", 1, "1: close the contactors"),
    ("site", im.CMD_BALANCE, "0/1", "", "", 1, "1: ask the BMS to balance"),
    ("site", im.CMD_SEQ, "count", "", "", 1, "bumped every cycle: a device's heartbeat and freshness check"),
    ("site", im.DT, "ms", "", "", 1, "this cycle's length"),
    ("site", im.UPTIME_S, "s", "uptime_s", "", 1, "seconds since boot"),
    ("site", im.UPTIME_MS, "ms", "", "", 1, "the part of a second carried"),
    ("site", im.E_IN_WH, "Wh", "", "", 1, "AC energy into the battery since boot"),
    ("site", im.E_IN_REM, "W ms", "", "", 1, "carried to the next Wh"),
    ("site", im.E_OUT_WH, "Wh", "", "", 1, "AC energy out of the battery since boot"),
    ("site", im.E_OUT_REM, "W ms", "", "", 1, "carried to the next Wh"),
    ("site", im.STILL_BMS_MS, "ms", "", "", 1, "how long the BMS has repeated voltage and current though the power has moved"),
    ("site", im.STILL_PCS_MS, "ms", "", "", 1, "how long the PCS has repeated DC voltage and power though the battery's has moved"),
    ("site", im.STILL_SUM_BMS, "mixed", "", "", 1, "their sum the cycle before"),
    ("site", im.STILL_SUM_PCS, "mixed", "", "", 1, "their sum the cycle before"),
    ("site", im.SLOW_P, "W", "", "", 1, "the command as an inverter with 2 s response would follow it"),
    ("site", im.WORST_P, "W", "", "", 1, "worst |command| beyond a live limit since boot: 0, or a bug"),
    ("site", im.COMMANDS, "count", "", "commands", 1, "commands that differed from the one before"),
    ("site", im.OPEN_MS, "ms", "", "", 1, "how long the contactors have been wanted open while closed"),
    ("site", im.FLOW_PATHS, "bits", "paths", "", 1, "flows.PATHS that carry power"),
    ("site", im.SOC_JUMP, "0.01 %", "", "", 1, "how far the BMS's SoC moved in this cycle, if more than a step"),
    ("site", im.NET_LOW, "W", "", "", 1, "NET_P for the discharge limit: falls at once, rises smoothed"),
    ("site", im.NET_HIGH, "W", "", "", 1, "NET_P for the charge limit: rises at once, falls smoothed"),
    ("site", im.LOOP_MS, "ms", "", "", 1, "since this controller itself was held up: a device was silent at most so long"),
    ("site", im.HOLD_CHG_MS, "ms", "", "", 1, "charging stays held off so long after the BMS's over-voltage"),
    ("site", im.MISSING, "bits", "missing", "", 1, "battery_words.MISSING: what the cycle may not do without and has not"),
    ("site", im.LIMIT_ROWS_DIS, "W", "", "", 16, "one slot per row of the limit list, discharge"),
    ("site", im.LIMIT_ROWS_CHG, "W", "", "", 16, "one slot per row of the limit list, charge"),
    ("site", im.SOC_KEEP_MS, "ms", "", "", 1, "how long BMS and counted charge have parted by the same"),
    ("site", im.SOC_KEEP_DRIFT, "0.01 %", "", "", 1, "by how much"),
    ("site", im.SOC_ZERO_MS, "ms", "", "", 1, "how long the BMS has reported a SoC of 0 that cannot be believed yet"),
    ("site", im.READS_CELL_HI, "count", "", "", 1, "readings in a row beyond PAR_CELL_TRIP_HI, at most 2"),
    ("site", im.READS_CELL_LO, "count", "", "", 1, "the same below PAR_CELL_TRIP_LO"),
    ("site", im.READS_TEMP_HI, "count", "", "", 1, "the same beyond PAR_T_TRIP_HI"),
    ("site", im.DOUBT_SLOT, "slot", "", "", 1, "the last reading beyond a trip that was not believed; 0: none"),
    ("site", im.DOUBT_VALUE, "mixed", "", "", 1, "its value, in its slot's unit"),
    ("site", im.DOUBTS, "count", "", "", 1, "how many there were since boot"),
    ("site", im.DOUBTS_SEEN, "count", "", "", 1, "how many of them diagnose has seen"),
    ("site", im.DOUBT_READ, "mixed", "", "", 3, "the last reading beyond each trip (3 slots, as READS_*)"),
    ("site", im.STILL_LOW, "W", "", "", 2, "least power seen elsewhere while BMS (PCS: next slot) repeated itself"),
    ("site", im.STILL_HIGH, "W", "", "", 2, "the most"),
    ("site", im.BMS_ENDS_MS, "ms", "", "", 1, "how long the BMS has given nothing in the running direction, near its end"),
    ("site", im.SOC_YOUNG_MS, "ms", "", "", 1, "since the first SoC that could be believed, up to 8 s"),
    ("site", im.CONDITIONS_BMS, "bits", "", "", 1, "of CONDITIONS: those that the battery alone makes"),
    ("site", im.MODE_S, "s", "", "", 1, "uptime at which the mode was entered"),
    ("site", im.ORDER, "code", "", "", 1, "ORDER_*: what decides between STANDBY and running"),
    ("site", im.TRIPPED, "bits", "", "", 1, "the faults behind the last trip, until start()"),
    ("site", im.TRIP_S, "s", "", "", 1, "uptime of that trip"),
    ("site", im.TRIPS, "count", "", "", 1, "restarts used up in this hour"),
    ("site", im.RESTART_MS, "ms", "", "", 1, "back-off left before the next restart"),
    ("site", im.CAUSE, "row", "", "", 1, "what led to EMERGENCY, of the fault table; -1 for a command"),
    ("site", im.BOUND, "code", "", "", 1, "1 + the row that keeps the request from being met, + 16 for charge; 0: none does"),
    ("site", im.BOUND_S, "s", "", "", 1, "uptime since when"),
    ("site", im.ENDED, "code", "", "", 1, "how the last operation ended: its source, + 16 x requests.END_*, + 256 a charge"),
    ("site", im.ENDED_S, "s", "", "", 1, "uptime at which it did"),
    ("site", im.FRESH, "bits", "", "", 1, "1 << group: it has arrived since the cycle before"),
    ("site", im.E_IN_TURNS, "count", "", "", 1, "how often E_IN_WH has gone over 2**30 - 1"),
    ("site", im.E_OUT_TURNS, "count", "", "", 1, "how often E_OUT_WH has"),
    ("site", im.HELD_MS, "ms", "", "", 1, "how long the cycle before held this controller up; 0: it was not late"),
    ("site", im.GAPS, "0.1 V", "", "", 3, "voltage headroom of one direction: pack (BMS), pack (PCS), worst cell"),
    ("site", im.PATHS_P, "W", "", "", 7, "what flows on each of flows.PATHS"),
    ("site", im.CURTAILED_BY, "code", "", "", 2, "whose limit is the smallest: a place of requests.OWNERS, that for none"),
)

# Parameters of the cycle, in Image.par; parameters.py fills them from the site's configuration.
# block, first slot, unit, how many slots, meaning
PARAMETERS = (
    ("params", im.PAR_P_CHG, "W", 1, "configured charge power"),
    ("params", im.PAR_P_DIS, "W", 1, "configured discharge power"),
    ("params", im.PAR_P_EXPORT, "W", 1, "configured export at the point of connection"),
    ("params", im.PAR_GRID_TYPE, "code", 1, "flows.Grid"),
    ("params", im.PAR_GRID_CHG, "0/1", 1, "charging from the grid is allowed"),
    ("params", im.PAR_EXPORT, "0/1", 1, "export is allowed"),
    ("params", im.PAR_SOC_MIN, "0.01 %", 1, "floor: nothing discharges below it"),
    ("params", im.PAR_SOC_MAX, "0.01 %", 1, "ceiling"),
    ("params", im.PAR_SOC_TAPER, "0.01 %", 1, "width of the taper at both ends"),
    ("params", im.PAR_EFF, "0.1 %", 1, "inverter efficiency"),
    ("params", im.PAR_RAMP_UP, "W/s", 1, "|power| may rise this fast"),
    ("params", im.PAR_RAMP_DOWN, "W/s", 1, "|power| falls this fast when nothing forces it at once"),
    ("params", im.PAR_STALE_BMS, "ms", 1, "a BMS group older than this is missing"),
    ("params", im.PAR_STALE_PCS, "ms", 1, "a PCS group older than this is missing"),
    ("params", im.PAR_STALE_METER, "ms", 1, "a meter or PV group older than this is missing"),
    ("params", im.PAR_STALE_IO, "ms", 1, "board inputs older than this are missing"),
    ("params", im.PAR_HAS, "bits", 1, "HAS_*: which devices the site has"),
    ("params", im.PAR_Q_STEP, "0.1 A ms", 1, "charge of 0.01 % of the battery"),
    ("params", im.PAR_SOC_FLOORED, "0/1", 1, "the BMS cuts its percents down (1) or rounds them (0)"),
    ("params", im.PAR_SOC_BOUND, "0.01 %", 1, "how far BMS and counted charge may part"),
    ("params", im.PAR_R_PACK, "mOhm", 1, "internal resistance, taken high"),
    ("params", im.PAR_V_MAX, "0.1 V", 1, "pack charge cut-off"),
    ("params", im.PAR_V_MIN, "0.1 V", 1, "pack discharge cut-off"),
    ("params", im.PAR_CELL_MAX, "mV", 1, "highest cell voltage to charge to"),
    ("params", im.PAR_CELL_MIN, "mV", 1, "lowest cell voltage to discharge to"),
    ("params", im.PAR_CELLS, "count", 1, "cells in series"),
    ("params", im.PAR_T_CHG, "0.1 degC", 4, "charging: 0 below, full from, full to, 0 above"),
    ("params", im.PAR_T_DIS, "0.1 degC", 4, "discharging: the same"),
    ("params", im.PAR_HZ_MIN, "mHz", 1, "below it the grid counts as lost"),
    ("params", im.PAR_HZ_MAX, "mHz", 1, "above it the grid counts as lost"),
    ("params", im.PAR_VG_MIN, "0.1 V", 1, "below it the grid counts as lost"),
    ("params", im.PAR_VG_MAX, "0.1 V", 1, "above it the grid counts as lost"),
    ("params", im.PAR_BREAK_I, "0.1 A", 1, "contactors open below this current ..."),
    ("params", im.PAR_BREAK_MS, "ms", 1, "... or after this wait"),
    ("params", im.PAR_OVER_P, "W", 1, "measured power may pass the live limit by this"),
    ("params", im.PAR_FOLLOW_P, "W", 1, "the PCS may be off its setpoint by this"),
    ("params", im.PAR_FLOW_P, "W", 1, "flow is seen above this, and lost below half of it"),
    ("params", im.PAR_FROZEN_MS, "ms", 1, "unchanged this long though the power has moved is a frozen value"),
    ("params", im.PAR_SERVICE_P, "W", 1, "the most that maintenance may move"),
    ("params", im.PAR_CELL_TRIP_HI, "mV", 1, "cell over-voltage: emergency"),
    ("params", im.PAR_CELL_TRIP_LO, "mV", 1, "cell under-voltage that the BMS does not see: emergency"),
    ("params", im.PAR_T_TRIP_HI, "0.1 degC", 1, "over-temperature: emergency"),
    ("params", im.PAR_T_TRIP_LO, "0.1 degC", 1, "under-temperature"),
    ("params", im.PAR_ENERGY, "Wh", 1, "energy of the pack when new"),
    ("params", im.OP_P_CHG, "W", 1, "an operation parameter, as the seven behind it: FREE where the operation sets none"),
    ("params", im.OP_P_DIS, "W", 1, "an operation parameter"),
    ("params", im.OP_I_CHG, "0.1 A", 1, "an operation parameter"),
    ("params", im.OP_I_DIS, "0.1 A", 1, "an operation parameter"),
    ("params", im.OP_V_MAX, "0.1 V", 1, "an operation parameter"),
    ("params", im.OP_V_MIN, "0.1 V", 1, "an operation parameter"),
    ("params", im.OP_SOC_MIN, "0.01 %", 1, "an operation parameter"),
    ("params", im.OP_SOC_MAX, "0.01 %", 1, "an operation parameter"),
    ("params", im.EMS_P_CHG, "W", 1, "the smallest limit with an owner, for charging; FREE where there is none"),
    ("params", im.EMS_P_DIS, "W", 1, "the same for discharging"),
    ("params", im.PAR_STALL_MS, "ms", 1, "a cycle later than this was held up by ourselves"),
    ("params", im.PAR_PROT_CHG, "bits", 1, "protections that forbid charging (protections.TABLE)"),
    ("params", im.PAR_PROT_DIS, "bits", 1, "protections that forbid discharging"),
    ("params", im.PAR_PROT_SEP, "bits", 1, "protections that mean: separate the battery"),
    ("params", im.PAR_OV_HOLD_MS, "ms", 1, "charging is held off so long after an over-voltage protection"),
    ("params", im.PAR_SOC_ACCEPT_MS, "ms", 1, "a BMS's SoC that disagrees and holds is accepted after this; 0: never by itself"),
    ("params", im.PAR_CELL_DEAD, "mV", 1, "below it a cell must not be charged either"),
    ("params", im.PAR_MOST_P, "W", 1, "measured power beyond it, and the inverter's rating, is counted as that much"),
)


def parts(unit: str) -> int:
    """Parts of a slot's unit in one of the unit that people read; 0: a word stands for it, -1: yes or no."""
    for known, number, _ in each(UNITS):
        if known == unit:
            return number
    return 1


# where the tables are files of the flash: a line for each value that people see, read from there once, in boot
_SHOWN = "" if isinstance(MADE, tuple) else "\n".join(
    ["%s %d %d %s %s" % (row[0], row[1], parts(row[2]), row[3], row[4]) for row in each((MEASURED, MADE)) if row[3] or row[4]]
)  # fmt: skip


def shown():
    """The values that people see: block, slot, parts (see `parts`), key in stats(), key in the monitor's line ("": it has none)."""
    if _SHOWN:
        for line in _SHOWN.split("\n"):
            block, slot, number, key, short = line.split(" ")
            yield block, int(slot), int(number), key, short
        return
    for table in (MEASURED, MADE):
        for row in table:
            if row[3] or row[4]:
                yield row[0], row[1], parts(row[2]), row[3], row[4]


def groups():
    """The groups: SEQ slot, first and last slot of its values, what it brings to the site, first word of its types, its words."""
    rows = [(row[5], row[1]) for row in each(MEASURED)]
    for _, seq, kind, brings, words in each(GROUPS):
        slots = [slot for group, slot in rows if group == seq]
        yield seq, min(slots), max(slots), brings, kind, words


def plausible():
    """Slot, lowest and highest value that can be true, in its unit, of everything measured: for the making of a device."""
    for row in each(MEASURED):
        yield row[1], -im.RANGE if row[6] is None else row[6], im.RANGE if row[7] is None else row[7]
