"""The frames of Pylontech's low-voltage CAN protocol: 11-bit ids, 500 kbit/s, sent every second by themselves.

V1.2 tells its alarms and permissions in 0x359 and 0x35C; V1.3 drops both for the 0x35A that SMA and Victron share,
and forbids by a limit of 0.  Some send 0x359 alone.  V2 packs (and what speaks Victron's edition) add cells and
temperatures in 0x373, a wanted charge in 0x360, their modules in 0x372 and Ah in 0x379; 0x370 and 0x371 mean different
things to different makers and are not read.  SMA's 0x355 adds a state of charge in 0.01 %; V1.3 packs send the bytes but leave
them 0, so they count only where they agree with the whole percents.  The controller sends 0x305 every second:
without it many packs stop sending, or open their relay.
"""

from micropython import const
from notice import readable

from firmware import image as im
from firmware.devices import can_fields as f

EXTENDED = False
ADDRESSED = False
SUBSCRIBE = ((0x350, 0x7F0), (0x360, 0x7FF), (0x372, 0x7FE), (0x379, 0x7FF))
SILENT_REPORTS = 3  # it sends in a rhythm of its own, so one period may pass without a frame
BEAT_MS = 1000  # the keep-alive is due every second, however slowly the battery reports
FLAG_WORDS = False

# Fields, flags and frames: as in pylontech_hv.py.
_LIMITS = (
    im.BMS_V_MAX << 12 | 0 << 8 | f.U16 | f.VOLTS,
    im.BMS_I_CHG << 12 | 2 << 8 | f.S16 | f.AMPS | f.CHARGE_LIMIT,
    im.BMS_I_DIS << 12 | 4 << 8 | f.S16 | f.AMPS | f.DISCHARGE_LIMIT,
    im.BMS_V_MIN << 12 | 6 << 8 | f.U16 | f.VOLTS | f.OPTIONAL,
)
_CHARGE = (
    im.BMS_SOC << 12 | 0 << 8 | f.U16 | f.PERCENT,
    im.BMS_SOH << 12 | 2 << 8 | f.U16 | f.PERCENT,
    im.BMS_SOC << 12 | 4 << 8 | f.U16 | f.RAW | f.FINE_SOC,
)
_OPERATING = (
    im.BMS_V << 12 | 0 << 8 | f.S16 | f.CENTIVOLTS,
    im.BMS_I << 12 | 2 << 8 | f.S16 | f.AMPS | f.CURRENT,
    im.BMS_TEMP << 12 | 4 << 8 | f.S16 | f.DEGREES,
)
_CELLS = (
    im.CELL_V_MAX << 12 | 2 << 8 | f.U16 | f.MILLIVOLTS,
    im.CELL_V_MIN << 12 | 0 << 8 | f.U16 | f.MILLIVOLTS,
)
_TEMPS = (
    im.CELL_T_MAX << 12 | 6 << 8 | f.U16 | f.KELVINS,
    im.CELL_T_MIN << 12 | 4 << 8 | f.U16 | f.KELVINS,
)
# bytes 0, 1 protections, 2, 3 warnings; a bit that no edition explains is a warning, whatever it means
_CONDITIONS = (
    0 << 12 | 0x02 << 4 | f.PROTECT, im.BMS_PROT_OVER_V,
    0 << 12 | 0x04 << 4 | f.PROTECT, im.BMS_PROT_UNDER_V,
    0 << 12 | 0x08 << 4 | f.PROTECT, im.BMS_PROT_OVER_T,
    0 << 12 | 0x10 << 4 | f.PROTECT, im.BMS_PROT_UNDER_T,
    0 << 12 | 0x80 << 4 | f.PROTECT, im.BMS_PROT_OVER_I_DIS,
    1 << 12 | 0x01 << 4 | f.PROTECT, im.BMS_PROT_OVER_I_CHG,
    1 << 12 | 0x08 << 4 | f.PROTECT, im.BMS_PROT_SYSTEM,
    2 << 12 | 0x02 << 4 | f.ALARM, im.BMS_PROT_OVER_V,
    2 << 12 | 0x04 << 4 | f.ALARM, im.BMS_PROT_UNDER_V,
    2 << 12 | 0x08 << 4 | f.ALARM, im.BMS_PROT_OVER_T,
    2 << 12 | 0x10 << 4 | f.ALARM, im.BMS_PROT_UNDER_T,
    2 << 12 | 0x80 << 4 | f.ALARM, im.BMS_PROT_OVER_I_DIS,
    3 << 12 | 0x01 << 4 | f.ALARM, im.BMS_PROT_OVER_I_CHG,
    3 << 12 | 0x08 << 4 | f.ALARM, im.BMS_PROT_SYSTEM,
    0 << 12 | 0x61 << 4 | f.ALARM, im.BMS_PROT_OTHER,
    1 << 12 | 0xF6 << 4 | f.ALARM, im.BMS_PROT_OTHER,
    2 << 12 | 0x61 << 4 | f.ALARM, im.BMS_PROT_OTHER,
    3 << 12 | 0xF6 << 4 | f.ALARM, im.BMS_PROT_OTHER,
)  # fmt: skip
_PERMITS = (
    0 << 12 | 0x80 << 4 | f.REQUESTS | f.CLEAR, im.BMS_REQ_NO_CHARGE,  # the bit permits
    0 << 12 | 0x40 << 4 | f.REQUESTS | f.CLEAR, im.BMS_REQ_NO_DISCHARGE,
    0 << 12 | 0x30 << 4 | f.REQUESTS, im.BMS_REQ_FORCE_CHARGE,
    0 << 12 | 0x08 << 4 | f.REQUESTS, im.BMS_REQ_FULL_CHARGE,
)  # fmt: skip
# Pairs of bits: 1 alarm, 2 none, 0 not supported; bytes 0 to 3 alarms (here protections), 4 to 7 warnings.
_CONDITIONS_13 = (
    0 << 12 | 0x01 << 4 | f.ALARM, im.BMS_PROT_GENERAL,
    0 << 12 | 0x04 << 4 | f.PROTECT, im.BMS_PROT_OVER_V,
    0 << 12 | 0x10 << 4 | f.PROTECT, im.BMS_PROT_UNDER_V,
    0 << 12 | 0x40 << 4 | f.PROTECT, im.BMS_PROT_OVER_T,
    1 << 12 | 0x01 << 4 | f.PROTECT, im.BMS_PROT_UNDER_T,
    1 << 12 | 0x04 << 4 | f.PROTECT, im.BMS_PROT_OVER_T_CHG,
    1 << 12 | 0x10 << 4 | f.PROTECT, im.BMS_PROT_UNDER_T_CHG,
    1 << 12 | 0x40 << 4 | f.PROTECT, im.BMS_PROT_OVER_I_DIS,
    2 << 12 | 0x01 << 4 | f.PROTECT, im.BMS_PROT_OVER_I_CHG,
    2 << 12 | 0x04 << 4 | f.PROTECT, im.BMS_PROT_CONTACTOR,
    2 << 12 | 0x10 << 4 | f.PROTECT, im.BMS_PROT_SHORT,
    2 << 12 | 0x40 << 4 | f.PROTECT, im.BMS_PROT_SYSTEM,
    3 << 12 | 0x01 << 4 | f.ALARM, im.BMS_PROT_IMBALANCE,
    4 << 12 | 0x01 << 4 | f.ALARM, im.BMS_PROT_GENERAL,
    4 << 12 | 0x04 << 4 | f.ALARM, im.BMS_PROT_OVER_V,
    4 << 12 | 0x10 << 4 | f.ALARM, im.BMS_PROT_UNDER_V,
    4 << 12 | 0x40 << 4 | f.ALARM, im.BMS_PROT_OVER_T,
    5 << 12 | 0x01 << 4 | f.ALARM, im.BMS_PROT_UNDER_T,
    5 << 12 | 0x04 << 4 | f.ALARM, im.BMS_PROT_OVER_T_CHG,
    5 << 12 | 0x10 << 4 | f.ALARM, im.BMS_PROT_UNDER_T_CHG,
    5 << 12 | 0x40 << 4 | f.ALARM, im.BMS_PROT_OVER_I_DIS,
    6 << 12 | 0x01 << 4 | f.ALARM, im.BMS_PROT_OVER_I_CHG,
    6 << 12 | 0x04 << 4 | f.ALARM, im.BMS_PROT_CONTACTOR,
    6 << 12 | 0x10 << 4 | f.ALARM, im.BMS_PROT_SHORT,
    6 << 12 | 0x40 << 4 | f.ALARM, im.BMS_PROT_SYSTEM,
    7 << 12 | 0x01 << 4 | f.ALARM, im.BMS_PROT_IMBALANCE,
)  # fmt: skip
_WANTS = (0 << 12 | 0xFF << 4 | f.REQUESTS | f.EQUALS, im.BMS_REQ_FORCE_CHARGE)
# u16 each: modules online, blocking charge, blocking discharge, offline
_MODULES = (
    2 << 12 | 0xFF << 4 | f.ALARM, im.BMS_PROT_MODULE_CHG,
    3 << 12 | 0xFF << 4 | f.ALARM, im.BMS_PROT_MODULE_CHG,
    4 << 12 | 0xFF << 4 | f.ALARM, im.BMS_PROT_MODULE_DIS,
    5 << 12 | 0xFF << 4 | f.ALARM, im.BMS_PROT_MODULE_DIS,
    6 << 12 | 0xFF << 4 | f.ALARM, im.BMS_PROT_MODULE_OFF,
    7 << 12 | 0xFF << 4 | f.ALARM, im.BMS_PROT_MODULE_OFF,
)  # fmt: skip

# of the flags any frame makes the group; what ever came of 0x359 and 0x35C must go on coming beside the other
FRAMES = (
    (0x351, 6 | im.SEQ_BMS_LIMITS << 4 | 1 << 8 | 1 << 16, _LIMITS, ()),
    (0x355, 4 | im.SEQ_BMS << 4 | 1 << 8 | 3 << 16, _CHARGE, ()),
    (0x356, 6 | im.SEQ_BMS << 4 | 2 << 8 | 3 << 16, _OPERATING, ()),
    (0x359, 4 | im.SEQ_BMS_FLAGS << 4 | 1 << 8 | 3 << 26 | f.WARNINGS, (), _CONDITIONS),
    (0x35C, 1 | im.SEQ_BMS_FLAGS << 4 | 2 << 8 | 3 << 26, (), _PERMITS),
    (0x35A, 8 | im.SEQ_BMS_FLAGS << 4 | 4 << 8 | 4 << 26, (), _CONDITIONS_13),
    (0x373, 4 | im.SEQ_BMS_CELLS << 4 | 1 << 8 | 1 << 16 | f.AT_TIMES, _CELLS, ()),
    (0x373, 8 | im.SEQ_BMS_TEMPS << 4 | 1 << 8 | 1 << 16 | f.AT_TIMES, _TEMPS, ()),
    (0x360, 1 | im.SEQ_BMS_FLAGS << 4 | f.MAY_REST, (), _WANTS),
    (0x372, 8 | im.SEQ_BMS_FLAGS << 4 | f.MAY_REST, (), _MODULES),
)
PAIRS = ((im.BMS_V_MAX, im.BMS_V_MIN), (im.CELL_V_MAX, im.CELL_V_MIN), (im.CELL_T_MAX, im.CELL_T_MIN))

EQUIPMENT = (0x35E, 0x35F, 0x379)


_ALIVE = const(b"\0\0\0\0\0\0\0\0")


def poll(bus, _wish, _known, _turn):
    """Send one period's frame, the keep-alive; False if it did not go out."""
    return bus.send(0x305, _ALIVE, False)


def equipment(known, order):
    """Maker (0x35E), version and nominal Ah (0x35F, or 0x379)."""
    answer = {}
    if known[0] is not None:
        answer["maker"] = readable(known[0])
    if known[1] is not None and len(known[1]) >= 6:
        answer["version"] = int.from_bytes(known[1][2:4], order)
        answer["nominal_ah"] = int.from_bytes(known[1][4:6], order)
    if known[2] is not None and len(known[2]) >= 2:
        answer["nominal_ah"] = int.from_bytes(known[2][0:2], order)
    return answer
