"""The frames of Pylontech's high-voltage CAN protocol (V1.2x; Dyness and others too): 29-bit ids, 500 kbit/s.

The controller asks with 0x4200 (byte 0: 0 operating data, 2 equipment); 0x421x to 0x429x and 0x731x to 0x734x
answer, x being the battery's address.  bms_pylontech.py reads these tables; `tools/gen_dbc.py` makes a DBC of them.
"""

from micropython import const

from firmware import image as im

_U8 = const(0)  # how a value lies in the frame; see bms_pylontech.py
_U16 = const(1)
_BITS3 = const(3)
_PLAIN = const(0)  # what it is
_CURRENT = const(1)
_CHARGE_LIMIT = const(2)
_DISCHARGE_LIMIT = const(3)
_ANY = const(-1)
_FORBIDDEN = const(0xAA)

EXTENDED = True
ADDRESSED = True  # the battery's address is the last digit of each id
SUBSCRIBE = ((0x4200, 0x1FFFFF00), (0x7300, 0x1FFFFF00))  # (id, mask)
SILENT_POLLS = 1  # a poll without an answer is a timeout

# Fields: (slot, byte, kind, role, add to raw, multiply, divide, lowest, highest), the last two in the slot's unit.
_OPERATING = (
    (im.BMS_V, 0, _U16, _PLAIN, 0, 1, 1, 0, 15000),
    (im.BMS_I, 2, _U16, _CURRENT, 0, 1, 1, -30000, 30000),
    (im.BMS_TEMP, 4, _U16, _PLAIN, -1000, 1, 1, -500, 1500),
    (im.BMS_SOC, 6, _U8, _PLAIN, 0, 100, 1, 0, 10000),
    (im.BMS_SOH, 7, _U8, _PLAIN, 0, 100, 1, 0, 10000),
)
_LIMITS = (
    (im.BMS_V_MAX, 0, _U16, _PLAIN, 0, 1, 1, 0, 15000),
    (im.BMS_V_MIN, 2, _U16, _PLAIN, 0, 1, 1, 0, 15000),
    (im.BMS_I_CHG, 4, _U16, _CHARGE_LIMIT, 0, 1, 1, 0, 30000),
    (im.BMS_I_DIS, 6, _U16, _DISCHARGE_LIMIT, 0, 1, 1, 0, 30000),
)
_CELLS = (
    (im.CELL_V_MAX, 0, _U16, _PLAIN, 0, 1, 1, 0, 5000),
    (im.CELL_V_MIN, 2, _U16, _PLAIN, 0, 1, 1, 0, 5000),
)
_TEMPS = (
    (im.CELL_T_MAX, 0, _U16, _PLAIN, -1000, 1, 1, -500, 1500),
    (im.CELL_T_MIN, 2, _U16, _PLAIN, -1000, 1, 1, -500, 1500),
)
_STATUS = ((im.BMS_STATUS, 0, _BITS3, _PLAIN, 0, 1, 1, 0, 7),)

# Flags: (byte, mask, value that sets the flag or _ANY bit of the mask, slot, flag, whether a byte of a 16-bit word)
_CONDITIONS = (
    (0, 0x08, _ANY, im.BMS_REQUESTS, im.BMS_REQ_FORCE_CHARGE, 0),
    (0, 0x10, _ANY, im.BMS_REQUESTS, im.BMS_REQ_BALANCE, 0),
    (3, 0xFF, _ANY, im.BMS_PROTECT, im.BMS_PROT_SYSTEM, 0),  # an error of the BMS itself
    (4, 0x05, _ANY, im.BMS_ALARM, im.BMS_PROT_UNDER_V, 1),  # cell, system
    (4, 0x0A, _ANY, im.BMS_ALARM, im.BMS_PROT_OVER_V, 1),
    (4, 0x50, _ANY, im.BMS_ALARM, im.BMS_PROT_UNDER_T, 1),  # charging, discharging
    (4, 0xA0, _ANY, im.BMS_ALARM, im.BMS_PROT_OVER_T, 1),
    (5, 0x01, _ANY, im.BMS_ALARM, im.BMS_PROT_OVER_I_CHG, 1),
    (5, 0x02, _ANY, im.BMS_ALARM, im.BMS_PROT_OVER_I_DIS, 1),
    (5, 0x04, _ANY, im.BMS_ALARM, im.BMS_PROT_UNDER_V, 1),  # module
    (5, 0x08, _ANY, im.BMS_ALARM, im.BMS_PROT_OVER_V, 1),
    (6, 0x05, _ANY, im.BMS_PROTECT, im.BMS_PROT_UNDER_V, 1),
    (6, 0x0A, _ANY, im.BMS_PROTECT, im.BMS_PROT_OVER_V, 1),
    (6, 0x50, _ANY, im.BMS_PROTECT, im.BMS_PROT_UNDER_T, 1),
    (6, 0xA0, _ANY, im.BMS_PROTECT, im.BMS_PROT_OVER_T, 1),
    (7, 0x01, _ANY, im.BMS_PROTECT, im.BMS_PROT_OVER_I_CHG, 1),
    (7, 0x02, _ANY, im.BMS_PROTECT, im.BMS_PROT_OVER_I_DIS, 1),
    (7, 0x04, _ANY, im.BMS_PROTECT, im.BMS_PROT_UNDER_V, 1),
    (7, 0x08, _ANY, im.BMS_PROTECT, im.BMS_PROT_OVER_V, 1),
)
_FORBIDS = (
    (0, 0xFF, _FORBIDDEN, im.BMS_REQUESTS, im.BMS_REQ_NO_CHARGE, 0),
    (1, 0xFF, _FORBIDDEN, im.BMS_REQUESTS, im.BMS_REQ_NO_DISCHARGE, 0),
)

# Frames: (id, shortest length, SEQ slot of its group, this frame's part of the group, all parts, fields, flags).
# Two frames make the flags: what the pack forbids is in 0x428x, all the rest in 0x425x.
FRAMES = (
    (0x4210, 8, im.SEQ_BMS, 1, 1, _OPERATING, ()),
    (0x4220, 8, im.SEQ_BMS_LIMITS, 1, 1, _LIMITS, ()),
    (0x4230, 8, im.SEQ_BMS_CELLS, 1, 1, _CELLS, ()),
    (0x4240, 8, im.SEQ_BMS_TEMPS, 1, 1, _TEMPS, ()),
    (0x4250, 8, im.SEQ_BMS_FLAGS, 1, 3, _STATUS, _CONDITIONS),
    (0x4280, 8, im.SEQ_BMS_FLAGS, 2, 3, (), _FORBIDS),
)
PAIRS = ((im.CELL_V_MAX, im.CELL_V_MIN), (im.CELL_T_MAX, im.CELL_T_MIN), (im.BMS_V_MAX, im.BMS_V_MIN))

EQUIPMENT = (0x7310, 0x7320, 0x7330, 0x7340)


def equipment(known, order):
    """What the four equipment frames say, as far as they are known: cells, modules, voltage, Ah, maker."""
    answer = {}
    sizes = known[1]
    if sizes is not None and len(sizes) == 8:
        answer["cells"] = int.from_bytes(sizes[0:2], order)
        answer["modules_in_series"] = sizes[2]
        answer["cells_per_module"] = sizes[3]
        answer["nominal_v"] = int.from_bytes(sizes[4:6], order)
        answer["nominal_ah"] = int.from_bytes(sizes[6:8], order)
    if known[2] is not None and known[3] is not None:
        answer["maker"] = "".join([chr(b) for b in known[2] + known[3] if 32 <= b < 127]).strip()
    return answer


class Poller:
    """What the controller sends: the poll, the equipment question until it is answered, the wake-up call."""

    def __init__(self):
        self._poll = bytearray(8)
        self._wake = bytearray(b"\xaa\0\0\0\0\0\0\0")
        self._asked = 0

    def send(self, bus, asleep, known):
        """Send one period's frames; False if the poll did not go out.  `known`: the equipment frames so far."""
        poll = self._poll
        if asleep:
            bus.send(0x8200, self._wake, True)  # 0xAA: leave sleep
        if known[1] is None and self._asked % 10 == 0:
            poll[0] = 2
            bus.send(0x4200, poll, True)
        self._asked = (self._asked + 1) % 10
        poll[0] = 0
        return bus.send(0x4200, poll, True)
