"""The frames of Pylontech's high-voltage CAN protocol (V1.2x; Dyness and others too): 29-bit ids, 500 kbit/s.

The controller asks with 0x4200 (byte 0: 0 operating data, 2 equipment); 0x421x to 0x429x and 0x731x to 0x734x
answer, x being the battery's address.  bms_pylontech.py reads these tables; `tools/generate/gen_dbc.py` makes a DBC of them.
"""

from micropython import const
from notice import readable

from firmware import image as im
from firmware.devices import can_fields as f

EXTENDED = True
ADDRESSED = True  # the battery's address is the last digit of each id
SUBSCRIBE = ((0x4200, 0x1FFFFF00), (0x7300, 0x1FFFFF00))  # (id, mask)
SILENT_REPORTS = 1  # a poll without an answer is a timeout
BEAT_MS = 60000  # polled as slowly as the option says
FLAG_WORDS = True  # bytes 4 to 7 of flags are 16-bit words

# The tables are small integers, as tuples cost the board's memory.  Fields: slot, byte, how, what.
#
# Flags, two numbers each: byte << 12 | mask << 4 | what it belongs to, and the flag; any bit of the mask sets it, unless
# f.EQUALS is there.  Bits of the alarm word (bytes 4, 5) and the protection word (6, 7): voltage of cells 0 low 1 high,
# of the system 2 low 3 high; temperature for charging 4 low 5 high, for discharging 6 low 7 high; current charging 8,
# discharging 9; voltage of modules 10 low 11 high.
#
# Frames: (id, shortest length | SEQ slot of its group << 4 | this frame's part of the group << 8 | parts that must have
# come << 16 | parts that must go on coming once they came << 26, fields, flags).  Two frames make the flags: what the pack
# forbids is in 0x428x, all the rest in 0x425x; either counts without the other.  One literal: only that is a constant,
# and lies in flash in an image of our own.
FRAMES = (
    (
        0x4210, 8 | im.SEQ_BMS << 4 | 1 << 8 | 1 << 16,
        (
            im.BMS_V << 12 | 0 << 8 | f.U16 | f.VOLTS,
            im.BMS_I << 12 | 2 << 8 | f.U16 | f.AMPS | f.CURRENT,
            im.BMS_TEMP << 12 | 4 << 8 | f.U16 | f.DEGREES_100,
            im.BMS_SOC << 12 | 6 << 8 | f.U8 | f.PERCENT,
            im.BMS_SOH << 12 | 7 << 8 | f.U8 | f.PERCENT,
        ),
        (),
    ),
    (
        0x4220, 8 | im.SEQ_BMS_LIMITS << 4 | 1 << 8 | 1 << 16,
        (
            im.BMS_V_MAX << 12 | 0 << 8 | f.U16 | f.VOLTS,
            im.BMS_V_MIN << 12 | 2 << 8 | f.U16 | f.VOLTS,
            im.BMS_I_CHG << 12 | 4 << 8 | f.U16 | f.AMPS | f.CHARGE_LIMIT,
            im.BMS_I_DIS << 12 | 6 << 8 | f.U16 | f.AMPS | f.DISCHARGE_LIMIT,
        ),
        (),
    ),
    (
        0x4230, 8 | im.SEQ_BMS_CELLS << 4 | 1 << 8 | 1 << 16,
        (
            im.CELL_V_MAX << 12 | 0 << 8 | f.U16 | f.MILLIVOLTS,
            im.CELL_V_MIN << 12 | 2 << 8 | f.U16 | f.MILLIVOLTS,
        ),
        (),
    ),
    (
        0x4240, 8 | im.SEQ_BMS_TEMPS << 4 | 1 << 8 | 1 << 16,
        (
            im.CELL_T_MAX << 12 | 0 << 8 | f.U16 | f.DEGREES_100,
            im.CELL_T_MIN << 12 | 2 << 8 | f.U16 | f.DEGREES_100,
        ),
        (),
    ),
    (
        0x4250, 8 | im.SEQ_BMS_FLAGS << 4 | 1 << 8 | 3 << 26,
        (im.BMS_STATUS << 12 | 0 << 8 | f.LOW_BITS | f.RAW,),
        (
            0 << 12 | 0x08 << 4 | f.REQUESTS, im.BMS_REQ_FORCE_CHARGE,
            0 << 12 | 0x10 << 4 | f.REQUESTS, im.BMS_REQ_BALANCE,
            3 << 12 | 0xFF << 4 | f.PROTECT, im.BMS_PROT_SYSTEM,  # an error of the BMS itself
            4 << 12 | 0x05 << 4 | f.ALARM, im.BMS_PROT_UNDER_V,
            4 << 12 | 0x0A << 4 | f.ALARM, im.BMS_PROT_OVER_V,
            4 << 12 | 0x10 << 4 | f.ALARM, im.BMS_PROT_UNDER_T_CHG,
            4 << 12 | 0x20 << 4 | f.ALARM, im.BMS_PROT_OVER_T_CHG,
            4 << 12 | 0x40 << 4 | f.ALARM, im.BMS_PROT_UNDER_T_DIS,
            4 << 12 | 0x80 << 4 | f.ALARM, im.BMS_PROT_OVER_T_DIS,
            5 << 12 | 0x01 << 4 | f.ALARM, im.BMS_PROT_OVER_I_CHG,
            5 << 12 | 0x02 << 4 | f.ALARM, im.BMS_PROT_OVER_I_DIS,
            5 << 12 | 0x04 << 4 | f.ALARM, im.BMS_PROT_UNDER_V,
            5 << 12 | 0x08 << 4 | f.ALARM, im.BMS_PROT_OVER_V,
            5 << 12 | 0xF0 << 4 | f.ALARM, im.BMS_PROT_OTHER,
            6 << 12 | 0x05 << 4 | f.PROTECT, im.BMS_PROT_UNDER_V,
            6 << 12 | 0x0A << 4 | f.PROTECT, im.BMS_PROT_OVER_V,
            6 << 12 | 0x10 << 4 | f.PROTECT, im.BMS_PROT_UNDER_T_CHG,
            6 << 12 | 0x20 << 4 | f.PROTECT, im.BMS_PROT_OVER_T_CHG,
            6 << 12 | 0x40 << 4 | f.PROTECT, im.BMS_PROT_UNDER_T_DIS,
            6 << 12 | 0x80 << 4 | f.PROTECT, im.BMS_PROT_OVER_T_DIS,
            7 << 12 | 0x01 << 4 | f.PROTECT, im.BMS_PROT_OVER_I_CHG,
            7 << 12 | 0x02 << 4 | f.PROTECT, im.BMS_PROT_OVER_I_DIS,
            7 << 12 | 0x04 << 4 | f.PROTECT, im.BMS_PROT_UNDER_V,
            7 << 12 | 0x08 << 4 | f.PROTECT, im.BMS_PROT_OVER_V,
            7 << 12 | 0xF0 << 4 | f.ALARM, im.BMS_PROT_OTHER,
        ),
    ),
    (
        0x4280, 2 | im.SEQ_BMS_FLAGS << 4 | 2 << 8 | 3 << 26,
        (),
        (
            0 << 12 | 0xAA << 4 | f.REQUESTS | f.EQUALS, im.BMS_REQ_NO_CHARGE,
            1 << 12 | 0xAA << 4 | f.REQUESTS | f.EQUALS, im.BMS_REQ_NO_DISCHARGE,
        ),
    ),
)  # fmt: skip
PAIRS = ((im.CELL_V_MAX, im.CELL_V_MIN), (im.CELL_T_MAX, im.CELL_T_MIN), (im.BMS_V_MAX, im.BMS_V_MIN))

EQUIPMENT = (0x7310, 0x7320, 0x7330, 0x7340)


_WANTED = const(b"\xaa\0\0\0\0\0\0\0")  # of 0x8200: leave sleep; of 0x8210: close the pack's contactors for a charge
_ASK_EQUIPMENT = const(b"\2\0\0\0\0\0\0\0")
_ASK = const(b"\0\0\0\0\0\0\0\0")


def poll(bus, wish, known, turn):
    """Send one period's frames: what the pack is asked for, the equipment question until it is answered, the poll.

    False if the poll did not go out.  `wish`: 1 wake up, 2 charge; `known`: the equipment frames so far; `turn`: counts
    the periods.
    """
    if wish & 1:
        bus.send(0x8200, _WANTED, True)
    if wish & 2:
        bus.send(0x8210, _WANTED, True)
    if known[1] is None and turn % 10 == 0:
        bus.send(0x4200, _ASK_EQUIPMENT, True)
    return bus.send(0x4200, _ASK, True)


def equipment(known, order):
    """Cells, modules, voltage, Ah (0x732x) and maker (0x733x, 0x734x)."""
    answer = {}
    sizes = known[1]
    if sizes is not None and len(sizes) == 8:
        answer["cells"] = int.from_bytes(sizes[0:2], order)
        answer["modules_in_series"] = sizes[2]
        answer["cells_per_module"] = sizes[3]
        answer["nominal_v"] = int.from_bytes(sizes[4:6], order)
        answer["nominal_ah"] = int.from_bytes(sizes[6:8], order)
    if known[2] is not None and known[3] is not None:
        answer["maker"] = readable(known[2] + known[3])
    return answer
