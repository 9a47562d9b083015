"""The process image: every number the control cycle reads or makes, in preallocated int32 arrays.

Devices write measurements into `inp`; the cycle freezes them into `now`, computes there, and leaves its
command in `now`, where devices read it.  Nobody calls anybody: as in a PLC, they meet here.

Positive is discharge (the battery gives), everywhere; grid power is positive for import.  Integers only,
each within +-(2**30 - 1), so no store ever allocates.  Which values there are, in which unit, stands in points.py;
`make slots` numbers them here, and copies the numbers that the kernels need into them.

A device that has received a good group of values bumps that group's SEQ slot (`Image.heard`).  The cycle
turns a changed SEQ into age dt (it may have come right after the cycle before) and an unchanged one into age + dt: data
are as old as they can be, and no clock ever wraps under an age.  What is seen right after a cycle that came late may have
waited in a receiver since before that one: it is as old as both; the board's own inputs (IO) wait nowhere.
"""

import _thread
from array import array

from micropython import const
from rows import each

NO_VALUE = const(-1073741824)  # "never measured": a slot that holds it takes part in nothing
AGE_NEVER = const(1000000000)  # ms; the age of what was never heard
AGE_MAX = const(900000000)  # ms; where the age of what was heard once stops growing

# points: begin (made of points.py by `make slots`)
# ---- inputs: devices write them into Image.inp; the cycle freezes them into Image.now
SEQ_BMS = const(0)  #         count     battery: how often they have arrived
SEQ_BMS_LIMITS = const(1)  #  count     battery limits: how often they have arrived
SEQ_BMS_CELLS = const(2)  #   count     cell voltages: how often they have arrived
SEQ_BMS_TEMPS = const(3)  #   count     cell temperatures: how often they have arrived
SEQ_BMS_FLAGS = const(4)  #   count     battery flags: how often they have arrived
SEQ_PCS = const(5)  #         count     inverter: how often they have arrived
SEQ_METER = const(6)  #       count     meter: how often they have arrived
SEQ_PV = const(7)  #          count     PV: how often they have arrived
SEQ_IO = const(8)  #          count     board inputs: how often they have arrived
SEQ_LOAD = const(9)  #        count     load meter: how often they have arrived
SEQ_GEN = const(10)  #        count     generator: how often they have arrived
N_GROUPS = const(11)  #       count     how many groups there are
BMS_SOC = const(11)  #        0.01 %    state of charge as the BMS reports it
BMS_SOH = const(12)  #        0.01 %    state of health
BMS_V = const(13)  #          0.1 V     battery terminal voltage
BMS_I = const(14)  #          0.1 A     battery current, + discharge
BMS_TEMP = const(15)  #       0.1 degC  battery temperature
BMS_V_MAX = const(16)  #      0.1 V     charge cut-off voltage; 0 means stop
BMS_V_MIN = const(17)  #      0.1 V     discharge cut-off voltage
BMS_I_CHG = const(18)  #      0.1 A     charge current limit; 0 means stop
BMS_I_DIS = const(19)  #      0.1 A     discharge current limit; 0 means stop
CELL_V_MAX = const(20)  #     mV        highest cell voltage
CELL_V_MIN = const(21)  #     mV        lowest cell voltage
CELL_T_MAX = const(22)  #     0.1 degC  highest cell temperature
CELL_T_MIN = const(23)  #     0.1 degC  lowest cell temperature
BMS_STATUS = const(24)  #     code      0 sleep, 1 charge, 2 discharge, 3 idle
BMS_REQUESTS = const(25)  #   bits      BMS_REQ_*: what the BMS forbids or asks for
BMS_PROTECT = const(26)  #    bits      BMS_PROT_*: protections the BMS has tripped
BMS_ALARM = const(27)  #      bits      BMS_PROT_*: the same conditions as warnings
BMS_ODD = const(28)  #        bits      1 << (slot - BMS_SOC) refused in its last report; BMS_ODD_TWO
PCS_STATE = const(30)  #      code      PCS_*: what the inverter is doing
PCS_P = const(31)  #          W         AC power, + discharge
PCS_Q = const(32)  #          var       reactive power
PCS_V = const(33)  #          0.1 V     AC voltage, line to line
PCS_I = const(34)  #          0.1 A     AC current
PCS_HZ = const(35)  #         mHz       AC frequency
PCS_DC_V = const(36)  #       0.1 V     DC bus voltage
PCS_DC_I = const(37)  #       0.1 A     DC current, + discharge
PCS_DC_P = const(38)  #       W         DC power, + discharge
PCS_P_CHG = const(39)  #      W         charge power it can take now (rating, derated)
PCS_P_DIS = const(40)  #      W         discharge power it can give now (rating, derated)
PCS_TEMP = const(41)  #       0.1 degC  cabinet or heat sink temperature
PCS_ALARM = const(42)  #      bits      its alarm bits as they came; 0 is none
PCS_GRID = const(43)  #       0/1       it sees the grid and is connected to it
PCS_SETPOINT = const(44)  #   W         the setpoint it says it follows, + discharge
PCS_S_MAX = const(45)  #      VA        apparent power it can do now (rating, derated)
METER_P = const(47)  #        W         power at the point of connection, + import
METER_V = const(48)  #        0.1 V     grid voltage, line to line
METER_I = const(49)  #        0.1 A     grid current
METER_HZ = const(50)  #       mHz       grid frequency
METER_LOAD_P = const(52)  #   W         what the loads take, by their own meter
PV_P = const(53)  #           W         PV power, + generation
GEN_P = const(54)  #          W         a generator's power, + generation
IO_ESTOP = const(55)  #       0/1       1: the emergency stop is pressed or its wire is broken
IO_CONTACTOR = const(56)  #   0/1       contactor feedback; NO_VALUE where none is wired
N_INPUTS = const(58)  #       count     how many slots are frozen each cycle

# ---- made by the cycle, in Image.now
AGE = const(58)  #            ms        ages of the groups, in the order of GROUPS (11 slots)
SOC = const(69)  #            0.01 %    state of charge, refined between the BMS's steps
SOC_LOW = const(70)  #        0.01 %    limits discharge: SOC, or the lower one when BMS and count disagree
SOC_HIGH = const(71)  #       0.01 %    limits charge: SOC, or the higher one when BMS and count disagree
SOC_DRIFT = const(72)  #      0.01 %    what the BMS moved minus what was counted, leaking to 0
NET_P = const(73)  #          W         what the site takes without the battery: load - PV - generator
LOAD_P = const(74)  #         W         what the loads take: by their own meter, else NET_P + PV_P + GEN_P
GRID_OK = const(75)  #        0/1       the grid is there (measured); not known in BACKUP where nobody says it
MODE = const(76)  #           code      modes.Mode
FLOW = const(77)  #           code      flows.Flow
FAULTS = const(78)  #         bits      active faults, bit = row of the fault table
CONDITIONS = const(79)  #     bits      what diagnose saw this cycle, before debounce
GATE = const(80)  #           bits      GATE_*: what mode and faults forbid
REQUEST_P = const(81)  #      W         what the winning claim asks for
REQUEST_BY = const(82)  #     code      the winning claim's source, requests.SOURCES
TARGET_P = const(83)  #       W         the request inside the limits, before the ramp
LIMIT_DIS = const(84)  #      W         the live discharge limit, >= 0
LIMIT_CHG = const(85)  #      W         the live charge limit, >= 0
WHY_DIS = const(86)  #        code      the row of the limit list that binds discharge
WHY_CHG = const(87)  #        code      the row of the limit list that binds charge
CMD_P = const(88)  #          W         THE command: AC power for the PCS, + discharge
CMD_RUN = const(89)  #        0/1       the PCS may switch
CMD_CONTACTOR = const(90)  #  0/1       1: close the contactors
CMD_BALANCE = const(91)  #    0/1       1: ask the BMS to balance
CMD_Q = const(92)  #          var       reactive power for the PCS, + injects (capacitive, SunSpec's sign); 0: nobody asks
CMD_SEQ = const(93)  #        count     bumped every cycle: a device's heartbeat and freshness check
DT = const(94)  #             ms        this cycle's length
UPTIME_S = const(95)  #       s         seconds since boot
UPTIME_MS = const(96)  #      ms        the part of a second carried
E_IN_WH = const(97)  #        Wh        AC energy into the battery since boot; of several banks: of their sum
E_IN_REM = const(98)  #       W ms      carried to the next Wh
E_OUT_WH = const(99)  #       Wh        AC energy out of the battery since boot; of several banks: of their sum
E_OUT_REM = const(100)  #     W ms      carried to the next Wh
WORST_P = const(101)  #       W         worst |command| beyond a live limit since boot: 0, or a bug
COMMANDS = const(102)  #      count     commands that differed from the one before
FLOW_PATHS = const(103)  #    bits      flows.PATHS that carry power
HOLD_CHG_MS = const(104)  #   ms        charging stays held off so long after the BMS's over-voltage
MISSING = const(105)  #       bits      battery_words.MISSING: what the cycle may not do without and has not
SOC_KEEP_MS = const(106)  #   ms        how long BMS and counted charge have parted by the same
DOUBT_SLOT = const(107)  #    slot      the last reading beyond a trip that was not believed; 0: none
DOUBT_VALUE = const(108)  #   mixed     its value, in its slot's unit
MODE_S = const(109)  #        s         uptime at which the mode was entered
ORDER = const(110)  #         code      ORDER_*: what decides between STANDBY and running
TRIPPED = const(111)  #       bits      the faults behind the last trip, until start()
TRIP_S = const(112)  #        s         uptime of that trip
TRIPS = const(113)  #         count     restarts used up in this hour
RESTART_MS = const(114)  #    ms        back-off left before the next restart
DARK_P = const(115)  #        W         what an island took when it was left because the battery may not carry it; 0: none was
DARK_BY = const(116)  #       row       the row of the limit list that bound it
FORCED_P = const(117)  #      W         with what a battery is charged because its BMS asks for it; 0: it does not
CAUSE = const(118)  #         row       what led to EMERGENCY, of the fault table; -1 for a command
BOUND = const(119)  #         code      1 + the row that keeps the request from being met, + 32 for charge; 0: none does
BOUND_S = const(120)  #       s         uptime since when
ENDED = const(121)  #         code      how the last operation ended: its source, + 16 x requests.END_*, + 256 a charge
ENDED_S = const(122)  #       s         uptime at which it did
E_IN_TURNS = const(123)  #    count     how often E_IN_WH has gone over 2**30 - 1
E_OUT_TURNS = const(124)  #   count     how often E_OUT_WH has
PATHS_P = const(125)  #       W         what flows on each of flows.PATHS (7 slots)
BREACH = const(132)  #        bits      rules that this cycle has broken, kernel/invariants.py: 0, or a bug
BREACHES = const(133)  #      count     how many cycles have since boot
BROKE = const(134)  #         bits      the rules that were broken last, as BREACH
BROKE_P = const(135)  #       W         the command that broke them
PARTS_LOST = const(136)  #    bits      which of several inverters in parallel are not received, or stopped by a fault
BY_BANK = const(137)  #       code      1 + the bank that is bound furthest below what it is configured for; 0: none (2 slots)
CURTAILED_BY = const(139)  #  code      whose limit is the smallest: a place of requests.OWNERS, that for none (2 slots)
FAULT_CMD = const(141)  #     W         the command when the last fault that trips came
FAULT_P = const(142)  #       W         what the inverter gave then
LIMIT_ROWS_DIS = const(143)  #W         one slot per row of the limit list, discharge (24 slots)
LIMIT_ROWS_CHG = const(167)  #W         one slot per row of the limit list, charge (24 slots)
SOC_SAID = const(191)  #      0.01 %    the BMS's value of the cycle before, to see its steps
SOC_REM = const(192)  #       0.1 A ms  charge counted that is not yet a 0.01 % step
SOC_LEAK = const(193)  #      ms        time carried to the next step of the leak
STILL_BMS_MS = const(194)  #  ms        how long the BMS has repeated voltage and current though the power has moved
STILL_PCS_MS = const(195)  #  ms        how long the PCS has repeated DC voltage and power though the battery's has moved
STILL_SUM_BMS = const(196)  # mixed     their sum the cycle before
STILL_SUM_PCS = const(197)  # mixed     their sum the cycle before
SLOW_P = const(198)  #        W         the command as an inverter with 2 s response would follow it
STILL_LOW = const(199)  #     W         least power seen elsewhere while BMS (PCS: next slot) repeated itself (2 slots)
STILL_HIGH = const(201)  #    W         the most (2 slots)
SOC_ZERO_MS = const(203)  #   ms        how long the BMS has reported a SoC of 0 that cannot be believed yet
READS_CELL_HI = const(204)  # count     readings in a row beyond PAR_CELL_TRIP_HI, at most 2
READS_CELL_LO = const(205)  # count     the same below PAR_CELL_TRIP_LO
READS_TEMP_HI = const(206)  # count     the same beyond PAR_T_TRIP_HI
DOUBT_READ = const(207)  #    mixed     the last reading beyond each trip (3 slots, as READS_*) (3 slots)
DOUBTS = const(210)  #        count     how many there were since boot
DOUBTS_SEEN = const(211)  #   count     how many of them diagnose has seen
SOC_YOUNG_MS = const(212)  #  ms        since the first SoC that could be believed, up to 8 s
CONDITIONS_BMS = const(213)  #bits      of CONDITIONS: those that the battery alone makes
GAPS = const(214)  #          0.1 V     voltage headroom: pack (BMS), pack (PCS), worst cell; discharge, then charge (6 slots)
SOC_KEEP_DRIFT = const(220)  #0.01 %    by how much
SOC_JUMP = const(221)  #      0.01 %    how far the BMS's SoC moved in this cycle, if more than a step
NET_LOW = const(222)  #       W         NET_P for the discharge limit: falls at once, rises smoothed
NET_HIGH = const(223)  #      W         NET_P for the charge limit: rises at once, falls smoothed
LOOP_MS = const(224)  #       ms        since this controller itself was held up: a device was silent at most so long
RAMP_REM = const(225)  #      mW        ramp remainder carried to the next cycle
WAS_P = const(226)  #         W         the command of the cycle before
ARRIVED = const(227)  #       bits      of several batteries in parallel: groups that have arrived since all had
REST_P = const(228)  #        W         of a command that is being shared: what is left (2 slots)
REST_LIMIT = const(230)  #    W         what those may give who have no portion yet (2 slots)
BMS_ENDS_MS = const(232)  #   ms        how long the BMS has given nothing in the running direction, near its end
FRESH = const(233)  #         bits      1 << group: it has arrived since the cycle before
HELD_MS = const(234)  #       ms        how long the cycle before held this controller up; 0: it was not late
OPEN_MS = const(235)  #       ms        how long the contactors have been wanted open while closed
REST_MS = const(236)  #       ms        how long 0 W has been commanded, up to 60 s
METER_SEEN = const(237)  #    W         METER_P as it was when it last changed, while the grid is there,
METER_ANCHOR = const(238)  #  W         and PCS_P at that time
METER_STILL_MS = const(239)  #ms        how long it repeats itself though PCS_P has moved; 0: PCS_P is awaited
ODD_P = const(240)  #         count     its reports in a row with a power that is not as commanded, at most 2; 3: an island
WAY_P = const(241)  #         W         PCS_P as near to the command as it came when it last made way
ODD_I = const(242)  #         count     times in a row that the currents of battery and inverter were not the same, at most 2
ODD_I_CAME = const(243)  #    bits      1 << group: battery, inverter: has reported since they were compared
STILL_SOC = const(244)  #     0.01 %    BMS_SOC as it was when anything of the battery's values last changed,
STILL_DRIFT = const(245)  #   0.01 %    and how large SOC_DRIFT was at that time
METER_SAID = const(246)  #    bits      what else the meter says, in one number; 0: neither voltage nor frequency
METER_SAME_MS = const(247)  # ms        how long all that the meter says has been the same while the inverter worked
N_SLOTS = const(248)  #       count     length of Image.now

# ---- parameters of the cycle, in Image.par
PAR_P_CHG = const(0)  #       W         configured charge power
PAR_P_DIS = const(1)  #       W         configured discharge power
PAR_P_EXPORT = const(2)  #    W         configured export at the point of connection
PAR_GRID_TYPE = const(3)  #   code      flows.Grid
PAR_GRID_CHG = const(4)  #    0/1       charging from the grid is allowed
PAR_EXPORT = const(5)  #      0/1       export is allowed
PAR_SOC_MIN = const(6)  #     0.01 %    floor: nothing discharges below it
PAR_SOC_MAX = const(7)  #     0.01 %    ceiling
PAR_SOC_TAPER = const(8)  #   0.01 %    width of the taper at both ends
PAR_EFF = const(9)  #         0.1 %     inverter efficiency
PAR_RAMP_UP = const(10)  #    W/s       |power| may rise this fast
PAR_RAMP_DOWN = const(11)  #  W/s       |power| falls this fast when nothing forces it at once
PAR_STALE_BMS = const(12)  #  ms        a BMS group older than this is missing
PAR_STALE_PCS = const(13)  #  ms        a PCS group older than this is missing
PAR_STALE_METER = const(14)  #ms        a meter or PV group older than this is missing
PAR_STALE_IO = const(15)  #   ms        board inputs older than this are missing
PAR_HAS = const(16)  #        bits      HAS_*: which devices the site has
PAR_Q_STEP = const(17)  #     0.1 A ms  charge of 0.01 % of the battery
PAR_SOC_FLOORED = const(18)  #0/1       the BMS cuts its percents down (1) or rounds them (0)
PAR_SOC_BOUND = const(19)  #  0.01 %    how far BMS and counted charge may part
PAR_R_PACK = const(20)  #     mOhm      internal resistance, taken high
PAR_V_MAX = const(21)  #      0.1 V     pack charge cut-off
PAR_V_MIN = const(22)  #      0.1 V     pack discharge cut-off
PAR_CELL_MAX = const(23)  #   mV        highest cell voltage to charge to
PAR_CELL_MIN = const(24)  #   mV        lowest cell voltage to discharge to
PAR_CELLS = const(25)  #      count     cells in series
PAR_T_CHG = const(26)  #      0.1 degC  charging: 0 below, full from, full to, 0 above (4 slots)
PAR_T_DIS = const(30)  #      0.1 degC  discharging: the same (4 slots)
PAR_HZ_MIN = const(34)  #     mHz       below it the grid counts as lost
PAR_HZ_MAX = const(35)  #     mHz       above it the grid counts as lost
PAR_VG_MIN = const(36)  #     0.1 V     below it the grid counts as lost
PAR_VG_MAX = const(37)  #     0.1 V     above it the grid counts as lost
PAR_BREAK_I = const(38)  #    0.1 A     contactors open below this current ...
PAR_BREAK_MS = const(39)  #   ms        ... or after this wait
PAR_OVER_P = const(40)  #     W         measured power may pass the live limit by this
PAR_FOLLOW_P = const(41)  #   W         the PCS may be off its setpoint by this
PAR_FLOW_P = const(42)  #     W         flow is seen above this, and lost below half of it
PAR_FROZEN_MS = const(43)  #  ms        unchanged this long though the power has moved is a frozen value
PAR_SERVICE_P = const(44)  #  W         the most that maintenance may move
PAR_CELL_TRIP_HI = const(45)  #mV        cell over-voltage: emergency
PAR_CELL_TRIP_LO = const(46)  #mV        cell under-voltage that the BMS does not see: emergency
PAR_T_TRIP_HI = const(47)  #  0.1 degC  over-temperature: emergency
PAR_T_TRIP_LO = const(48)  #  0.1 degC  under-temperature
PAR_ENERGY = const(49)  #     Wh        energy of the pack when new
OP_P_CHG = const(50)  #       W         an operation parameter, as the seven behind it: FREE where the operation sets none
OP_P_DIS = const(51)  #       W         an operation parameter
OP_I_CHG = const(52)  #       0.1 A     an operation parameter
OP_I_DIS = const(53)  #       0.1 A     an operation parameter
OP_V_MAX = const(54)  #       0.1 V     an operation parameter
OP_V_MIN = const(55)  #       0.1 V     an operation parameter
OP_SOC_MIN = const(56)  #     0.01 %    an operation parameter
OP_SOC_MAX = const(57)  #     0.01 %    an operation parameter
EMS_P_CHG = const(58)  #      W         the smallest limit with an owner, for charging; FREE where there is none
EMS_P_DIS = const(59)  #      W         the same for discharging
PAR_STALL_MS = const(60)  #   ms        a cycle later than this was held up by ourselves
PAR_PROT_CHG = const(61)  #   bits      protections that forbid charging (protections.TABLE)
PAR_PROT_DIS = const(62)  #   bits      protections that forbid discharging
PAR_PROT_SEP = const(63)  #   bits      protections that mean: separate the battery
PAR_OV_HOLD_MS = const(64)  # ms        charging is held off so long after an over-voltage protection
PAR_SOC_ACCEPT_MS = const(65)  #ms        a BMS's SoC that disagrees and holds is accepted after this; 0: never by itself
PAR_CELL_DEAD = const(66)  #  mV        below it a cell must not be charged either
PAR_MOST_P = const(67)  #     W         measured power beyond it, and the inverter's rating, is counted as that much
N_PAR = const(68)  #          count     length of Image.par
# points: end

# ---- what the bits and codes mean ----------------------------------------------------------------------
BMS_REQ_NO_CHARGE = const(1)  # charging is forbidden
BMS_REQ_NO_DISCHARGE = const(2)  # discharging is forbidden
BMS_REQ_FORCE_CHARGE = const(4)  # charge now, or the cells suffer
BMS_REQ_BALANCE = const(8)  # balancing wanted or going on
BMS_REQ_FULL_CHARGE = const(16)  # a full charge is wanted (SoC calibration)

# what each protection forbids: protections.TABLE
BMS_PROT_OVER_V = const(1)
BMS_PROT_UNDER_V = const(2)
BMS_PROT_OVER_T = const(4)
BMS_PROT_UNDER_T = const(8)
BMS_PROT_OVER_I_DIS = const(16)
BMS_PROT_OVER_I_CHG = const(32)
BMS_PROT_SYSTEM = const(64)
BMS_PROT_OVER_T_CHG = const(128)
BMS_PROT_OVER_T_DIS = const(256)
BMS_PROT_UNDER_T_CHG = const(512)
BMS_PROT_UNDER_T_DIS = const(1024)
BMS_PROT_SHORT = const(2048)
BMS_PROT_CONTACTOR = const(4096)
BMS_PROT_INSULATION = const(8192)
BMS_PROT_IMBALANCE = const(16384)  # this and the following forbid nothing
BMS_PROT_GENERAL = const(32768)
BMS_PROT_MODULE_CHG = const(65536)
BMS_PROT_MODULE_DIS = const(131072)
BMS_PROT_MODULE_OFF = const(262144)
BMS_PROT_OTHER = const(524288)

BMS_ODD_TWO = const(1048576)  # two batteries answer in turn

PCS_OFF = const(0)  # not switching, DC side may be open
PCS_STARTING = const(1)  # synchronising or pre-charging
PCS_STANDBY = const(2)  # ready, 0 W
PCS_RUNNING = const(3)  # moving power
PCS_FAULT = const(4)  # stopped by a fault of its own

HAS_BMS = const(1)
HAS_PCS = const(2)
HAS_METER = const(4)
HAS_PV = const(8)
HAS_IO = const(16)

ORDER_NONE = const(0)  # nobody has called start() since boot
ORDER_START = const(1)  # start(): running is wanted
ORDER_STOP = const(2)  # stop()
ORDER_SPENT = const(3)  # the restarts are used up
ORDER_RESET = const(4)  # an emergency was reset
ORDER_RESTORED = const(5)  # the emergency stood before the last reset of the controller
ORDER_SERVICE = const(6)  # maintenance
ORDER_END = const(7)  # the program ends
CAUSE_OF_SITE = const(-2)  # of a bank: another bank or the site has led to the emergency

GATE_NO_CHG = const(1)  # a fault forbids charging
GATE_NO_DIS = const(2)  # a fault forbids discharging
GATE_CLOSED = const(4)  # the mode moves nothing
GATE_SERVICE = const(8)  # maintenance: PAR_SERVICE_P at most

FREE = const(0x3FFFFFFF)  # a limit row that limits nothing
RANGE = const(0x3FFFFFFF)  # the largest value a slot may hold

# the bits of MISSING; battery_words.MISSING has the words
MISS_PCS = const(1)
MISS_BMS = const(2)  # and its further groups in the next four bits
MISS_IO = const(64)
MISS_SOC = const(128)
MISS_V = const(256)
MISS_I = const(512)
MISS_PCS_P = const(1024)
MISS_TEMP = const(2048)
MISS_METER = const(4096)
MISS_GRID = const(8192)  # nobody says whether it is there

_LEAST = const(0.999)  # of one part: what a float of 32 bits makes of exactly one may be a little less

NAMES = ()  # on a board: where the names of this file's numbers stand in flash (tools/build/tables.py)


def number_of(name: str):
    """The number that one of this file's names stands for; None where there is no such name."""
    if not NAMES:
        return globals().get(name)
    for known, number in each(NAMES):
        if known == name:
            return number
    return None


def __getattr__(name: str):
    """On a board every use of a name of this file is its number; who asks for one by name gets them all, from flash."""
    if NAMES and number_of(name) is not None:
        globals().update(dict(each(NAMES)))
        return globals()[name]
    raise AttributeError(name)


def energy_wh(now, turns: int, wh: int) -> int:
    """Wh counted since boot; turns and wh: slots E_IN_TURNS and E_IN_WH, or E_OUT_TURNS and E_OUT_WH."""
    return (now[turns] << 30) + now[wh]


def parts(value: float, per_unit: int) -> int:
    """`value` in whole parts of its unit: the nearest number of them, and none for less than one.

    Where a call knows a default it is exactly 0 that asks for it, and the caller looks for that before it asks here: what
    is smaller than the resolution is nothing, never everything.
    """
    size = abs(value) * per_unit
    if size < _LEAST:
        return 0
    return int(size + 0.5) if value > 0 else -int(size + 0.5)


class Image:
    """The arrays and the lock that guards them.

    `inp`: inputs as devices last wrote them; `now`: this cycle's frozen inputs and results; `par`: the
    parameters of the cycle as integers (parameters.py fills it).  A device that writes several slots of one
    group from a thread other than the main loop holds `lock`; on the main loop no await between the
    writes is enough.  `banks`, `batteries`, `inverters`: the Images of each, in order; of a site with one of each, it is its
    own.  A bank's Image has the bank's `name`, its `config`, in `has` what further devices it has, and it alone `places`, as a
    Site has them.  `barred`: what keeps its inverter from being commanded, in words.
    """

    barred = ""

    def __init__(self) -> None:
        self.inp = array("i", [NO_VALUE] * N_INPUTS)
        self.now = array("i", [0] * N_SLOTS)
        self.par = array("i", [0] * N_PAR)
        self.lock = _thread.allocate_lock()
        self.banks = self.batteries = self.inverters = [self]
        self.divided = False  # into banks with Images of their own
        self.name = ""
        self.config = None
        self.has = 0
        for slot in range(N_GROUPS):
            self.inp[slot] = 0
        self.inp[BMS_ODD] = 0
        for slot in range(N_INPUTS):
            self.now[slot] = self.inp[slot]
        for slot in range(N_GROUPS):
            self.now[AGE + slot] = AGE_NEVER
        self.now[LOOP_MS] = AGE_MAX
        for slot in (SOC, SOC_LOW, SOC_HIGH, SOC_SAID, NET_P, NET_LOW, NET_HIGH, LOAD_P, METER_SEEN):
            self.now[slot] = NO_VALUE
        for slot in range(STILL_LOW, STILL_HIGH + 2):
            self.now[slot] = NO_VALUE

    def every(self) -> list:
        """This Image and those of its banks and of devices in parallel."""
        return [self] if not self.divided else [self] + self.banks + self.batteries + self.inverters

    def heard(self, seq_slot: int) -> None:
        """A complete, plausible group of values has just been written: its age starts again.  Allocates nothing."""
        self.inp[seq_slot] = (self.inp[seq_slot] + 1) & 0x3FFFFFFF
