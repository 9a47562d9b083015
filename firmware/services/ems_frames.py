"""The frames to and from an EMS on CAN, made of points.py by `python -m tools.generate.gen_ems_can`: do not edit.

Places of values are those of lib/canbus/signals.py.
"""

from micropython import const

from firmware import image as im

# the EMS's frames: ids above the base, where their values are, and the bits that are used
SETPOINT = const(0)
BOUNDS = const(1)
ENABLE_BYTE = const(1)
ENABLE_BIT = const(16)
SETPOINT_P = const(90)
SETPOINT_USED = b"\xff\x1f\xff\xff\xff\x00\x00\x00"
BOUND_DIS = const(26)
BOUND_CHG = const(29)
BOUNDS_USED = b"\xff\x1f\xff\xff\xff\xff\xff\xff"
BOUND_MOST = const(1000000)  # W

# what the service itself says, in this order
OWN_SETPOINT_COUNTER = const(0)
OWN_SETPOINT_RESULT = const(1)
OWN_BOUNDS_COUNTER = const(2)
OWN_BOUNDS_RESULT = const(3)
OWN_ACCEPTED = const(4)
OWN_REFUSED = const(5)
OWN_ALIVE = const(6)
OWN_CONTROLLER = const(7)
N_OWN = const(8)

N_IDS = const(16)
# id above the base, each so many periods, and two numbers of each value: place | slot << 7 (of its own: its number),
# and 0, 1 (of its own), or what must not be older than what: slot of the age << 8 | of the parameter
FRAMES = (
    (2, 1, (  # ANSWER
        OWN_SETPOINT_COUNTER << 7 | 8, 1,
        OWN_SETPOINT_RESULT << 7 | 9, 1,
        OWN_BOUNDS_COUNTER << 7 | 10, 1,
        OWN_BOUNDS_RESULT << 7 | 11, 1,
        OWN_ACCEPTED << 7 | 20, 1,
        OWN_REFUSED << 7 | 22, 1,
    )),
    (3, 1, (  # STATE
        im.MODE << 7 | 8, 0,
        im.FLOW << 7 | 9, 0,
        im.REQUEST_BY << 7 | 10, 0,
        im.WHY_DIS << 7 | 11, 0,
        im.WHY_CHG << 7 | 12, 0,
        im.GRID_OK << 7 | 13, 0,
        im.PCS_STATE << 7 | 14, im.AGE + im.SEQ_PCS << 8 | im.PAR_STALE_PCS,
        OWN_ALIVE << 7 | 15, 1,
    )),
    (4, 1, (  # POWER
        im.PCS_P << 7 | 96, im.AGE + im.SEQ_PCS << 8 | im.PAR_STALE_PCS,
        im.CMD_P << 7 | 100, 0,
    )),
    (5, 1, (  # LIMITS
        im.LIMIT_DIS << 7 | 96, 0,
        im.LIMIT_CHG << 7 | 100, 0,
    )),
    (6, 1, (  # BATTERY
        im.SOC << 7 | 16, 0,
        im.BMS_SOH << 7 | 18, im.AGE + im.SEQ_BMS << 8 | im.PAR_STALE_BMS,
        im.BMS_V << 7 | 20, im.AGE + im.SEQ_BMS << 8 | im.PAR_STALE_BMS,
        im.BMS_I << 7 | 86, im.AGE + im.SEQ_BMS << 8 | im.PAR_STALE_BMS,
    )),
    (7, 1, (  # FAULTS
        im.FAULTS << 7 | 32, 0,
        im.MISSING << 7 | 36, 0,
    )),
    (8, 5, (  # REQUEST
        im.REQUEST_P << 7 | 96, 0,
        im.NET_P << 7 | 100, 0,
    )),
    (9, 5, (  # SITE
        im.METER_P << 7 | 96, im.AGE + im.SEQ_METER << 8 | im.PAR_STALE_METER,
        im.LOAD_P << 7 | 100, 0,
    )),
    (10, 5, (  # SOURCES
        im.PV_P << 7 | 96, im.AGE + im.SEQ_PV << 8 | im.PAR_STALE_METER,
        im.GEN_P << 7 | 100, im.AGE + im.SEQ_GEN << 8 | im.PAR_STALE_METER,
    )),
    (11, 5, (  # ENERGY
        im.E_IN_WH << 7 | 32, 0,
        im.E_OUT_WH << 7 | 36, 0,
    )),
    (12, 5, (  # CELLS
        im.CELL_V_MAX << 7 | 16, im.AGE + im.SEQ_BMS_CELLS << 8 | im.PAR_STALE_BMS,
        im.CELL_V_MIN << 7 | 18, im.AGE + im.SEQ_BMS_CELLS << 8 | im.PAR_STALE_BMS,
        im.CELL_T_MAX << 7 | 84, im.AGE + im.SEQ_BMS_TEMPS << 8 | im.PAR_STALE_BMS,
        im.CELL_T_MIN << 7 | 86, im.AGE + im.SEQ_BMS_TEMPS << 8 | im.PAR_STALE_BMS,
    )),
    (13, 5, (  # GRID
        im.METER_V << 7 | 24, im.AGE + im.SEQ_METER << 8 | im.PAR_STALE_METER,
        im.METER_HZ << 7 | 27, im.AGE + im.SEQ_METER << 8 | im.PAR_STALE_METER,
        im.BMS_TEMP << 7 | 86, im.AGE + im.SEQ_BMS << 8 | im.PAR_STALE_BMS,
    )),
    (14, 5, (  # COUNTERS
        im.UPTIME_S << 7 | 32, 0,
        im.COMMANDS << 7 | 36, 0,
    )),
    (15, 1, (  # CONTROL
        OWN_CONTROLLER << 7 | 8, 1,
    )),
)  # fmt: skip

# what becomes of the EMS's frames; up to TOO_LATE as lib/canbus/e2e.py has them
NONE = const(0)
ACCEPTED = const(1)
BEGINS = const(2)
LENGTH = const(3)
CHECKSUM = const(4)
REPEATED = const(5)
JUMPED = const(6)
TOO_LATE = const(7)
RESERVED = const(8)
OUT_OF_RANGE = const(9)
NO_CONTROL = const(10)
LOCAL = const(11)
EMERGENCY = const(12)
MAINTENANCE = const(13)
NO_PLACE = const(14)
NOT_IN_CONTROL = const(15)
RESULTS = """nothing has come
accepted
the first of a row: the next one counts
has a wrong length
has a wrong checksum
has a counter that was there already
has a counter that does not follow: the next one counts
comes too late after the one before: the next one counts
has bits set that mean nothing
holds a value out of its range
is not allowed: the site file has control false
does not count in local mode
does not count in EMERGENCY
does not count in MAINTENANCE
finds no place among the claims or limits
does not count: another interface has the control"""  # a line for each
