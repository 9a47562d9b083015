"""The frames of Pylontech's high-voltage CAN protocol (V1.2x; Dyness and others too): 29-bit ids, 500 kbit/s.

The controller asks with 0x4200 (byte 0: 0 operating data, 2 equipment); 0x421x to 0x429x and 0x731x to 0x734x
answer, x being the battery's address.  bms_pylontech.py reads these tables; `tools/gen_dbc.py` makes a DBC of them.
"""

from micropython import const

from firmware import image as im

_U8 = const(0)  # how a value lies in the frame
_U16 = const(1)
_BITS3 = const(3)  # the low three bits of a byte
_VOLTS = const(0 << 2)  # what it counts: 0.1 V
_AMPS = const(2 << 2)  # 0.1 A
_DEGREES_100 = const(3 << 2)  # 0.1 degC above -100 degC
_PERCENT = const(5 << 2)
_MILLIVOLTS = const(6 << 2)
_RAW = const(7 << 2)
_CURRENT = const(1 << 5)  # what the driver does with it; see bms_pylontech.py
_CHARGE_LIMIT = const(2 << 5)
_DISCHARGE_LIMIT = const(3 << 5)
_WORD = const(1 << 23)  # a flag's byte is half of a 16-bit word
_EQUALS_AA = const(1 << 25)  # it is set by the byte 0xAA

EXTENDED = True
ADDRESSED = True  # the battery's address is the last digit of each id
SUBSCRIBE = ((0x4200, 0x1FFFFF00), (0x7300, 0x1FFFFF00))  # (id, mask)
SILENT_POLLS = 1  # a poll without an answer is a timeout

# The tables are small integers, as tuples cost the board's memory.  Fields: slot, byte, how, what.
_OPERATING = (
    im.BMS_V << 12 | 0 << 8 | _U16 | _VOLTS,
    im.BMS_I << 12 | 2 << 8 | _U16 | _AMPS | _CURRENT,
    im.BMS_TEMP << 12 | 4 << 8 | _U16 | _DEGREES_100,
    im.BMS_SOC << 12 | 6 << 8 | _U8 | _PERCENT,
    im.BMS_SOH << 12 | 7 << 8 | _U8 | _PERCENT,
)
_LIMITS = (
    im.BMS_V_MAX << 12 | 0 << 8 | _U16 | _VOLTS,
    im.BMS_V_MIN << 12 | 2 << 8 | _U16 | _VOLTS,
    im.BMS_I_CHG << 12 | 4 << 8 | _U16 | _AMPS | _CHARGE_LIMIT,
    im.BMS_I_DIS << 12 | 6 << 8 | _U16 | _AMPS | _DISCHARGE_LIMIT,
)
_CELLS = (
    im.CELL_V_MAX << 12 | 0 << 8 | _U16 | _MILLIVOLTS,
    im.CELL_V_MIN << 12 | 2 << 8 | _U16 | _MILLIVOLTS,
)
_TEMPS = (
    im.CELL_T_MAX << 12 | 0 << 8 | _U16 | _DEGREES_100,
    im.CELL_T_MIN << 12 | 2 << 8 | _U16 | _DEGREES_100,
)
_STATUS = (im.BMS_STATUS << 12 | 0 << 8 | _BITS3 | _RAW,)

# Flags: byte, mask, slot, flag; any bit of the mask sets the flag, unless _CLEAR or _EQUALS_AA is there.
_CONDITIONS = (
    0 << 20 | 0x08 << 12 | im.BMS_REQUESTS << 7 | im.BMS_REQ_FORCE_CHARGE,
    0 << 20 | 0x10 << 12 | im.BMS_REQUESTS << 7 | im.BMS_REQ_BALANCE,
    3 << 20 | 0xFF << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_SYSTEM,  # an error of the BMS itself
    4 << 20 | 0x05 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_UNDER_V | _WORD,  # cell, system
    4 << 20 | 0x0A << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_OVER_V | _WORD,
    4 << 20 | 0x50 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_UNDER_T | _WORD,  # charging, discharging
    4 << 20 | 0xA0 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_OVER_T | _WORD,
    5 << 20 | 0x01 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_OVER_I_CHG | _WORD,
    5 << 20 | 0x02 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_OVER_I_DIS | _WORD,
    5 << 20 | 0x04 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_UNDER_V | _WORD,  # module
    5 << 20 | 0x08 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_OVER_V | _WORD,
    6 << 20 | 0x05 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_UNDER_V | _WORD,
    6 << 20 | 0x0A << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_OVER_V | _WORD,
    6 << 20 | 0x50 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_UNDER_T | _WORD,
    6 << 20 | 0xA0 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_OVER_T | _WORD,
    7 << 20 | 0x01 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_OVER_I_CHG | _WORD,
    7 << 20 | 0x02 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_OVER_I_DIS | _WORD,
    7 << 20 | 0x04 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_UNDER_V | _WORD,
    7 << 20 | 0x08 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_OVER_V | _WORD,
)
_FORBIDS = (
    0 << 20 | 0xFF << 12 | im.BMS_REQUESTS << 7 | im.BMS_REQ_NO_CHARGE | _EQUALS_AA,
    1 << 20 | 0xFF << 12 | im.BMS_REQUESTS << 7 | im.BMS_REQ_NO_DISCHARGE | _EQUALS_AA,
)

# Frames: (id, shortest length | SEQ slot of its group | this frame's part of the group | all parts, fields, flags).
# Two frames make the flags: what the pack forbids is in 0x428x, all the rest in 0x425x.
FRAMES = (
    (0x4210, 8 | im.SEQ_BMS << 4 | 1 << 8 | 1 << 12, _OPERATING, ()),
    (0x4220, 8 | im.SEQ_BMS_LIMITS << 4 | 1 << 8 | 1 << 12, _LIMITS, ()),
    (0x4230, 8 | im.SEQ_BMS_CELLS << 4 | 1 << 8 | 1 << 12, _CELLS, ()),
    (0x4240, 8 | im.SEQ_BMS_TEMPS << 4 | 1 << 8 | 1 << 12, _TEMPS, ()),
    (0x4250, 8 | im.SEQ_BMS_FLAGS << 4 | 1 << 8 | 3 << 12, _STATUS, _CONDITIONS),
    (0x4280, 8 | im.SEQ_BMS_FLAGS << 4 | 2 << 8 | 3 << 12, (), _FORBIDS),
)
PAIRS = ((im.CELL_V_MAX, im.CELL_V_MIN), (im.CELL_T_MAX, im.CELL_T_MIN), (im.BMS_V_MAX, im.BMS_V_MIN))

EQUIPMENT = (0x7310, 0x7320, 0x7330, 0x7340)


_WAKE = b"\xaa\0\0\0\0\0\0\0"  # leave sleep
_ASK_EQUIPMENT = b"\2\0\0\0\0\0\0\0"
_ASK = b"\0\0\0\0\0\0\0\0"


def poll(bus, asleep, known, turn):
    """Send one period's frames: the poll, the equipment question until it is answered, the wake-up call.

    False if the poll did not go out.  `known`: the equipment frames so far; `turn`: counts the periods.
    """
    if asleep:
        bus.send(0x8200, _WAKE, True)
    if known[1] is None and turn % 10 == 0:
        bus.send(0x4200, _ASK_EQUIPMENT, True)
    return bus.send(0x4200, _ASK, True)
