"""The frames of Pylontech's high-voltage CAN protocol (V1.2x; Dyness and others too): 29-bit ids, 500 kbit/s.

The controller asks with 0x4200 (byte 0: 0 operating data, 2 equipment); 0x421x to 0x429x and 0x731x to 0x734x
answer, x being the battery's address.  `tools/gen_dbc.py` makes a DBC of these same tables.
"""

from micropython import const

from firmware import image as im

U8 = const(0)
U16 = const(1)
CURRENT = const(3)  # u16, less the current offset option; the current sign option decides which way it flows
CHARGE_LIMIT = const(4)  # u16, less the current offset option; >= 0
DISCHARGE_LIMIT = const(5)  # u16, less the current offset option; makers differ in its sign

EXTENDED = True
# Subscriptions (id, mask) without the address, which is added to both the id and, as 0xF, the mask.
SUBSCRIBE = ((0x4200, 0x1FFFFF00), (0x7300, 0x1FFFFF00))

# Fields: (slot, byte, kind, add to raw, multiply, divide, lowest, highest), the limits in the slot's unit.
# Frames: (id, length, group's SEQ slot, this frame's part of the group, all parts of the group, fields)
FRAMES = (
    (
        0x4210,
        8,
        im.SEQ_BMS,
        1,
        1,
        (
            (im.BMS_V, 0, U16, 0, 1, 1, 0, 15000),
            (im.BMS_I, 2, CURRENT, 0, 1, 1, -30000, 30000),
            (im.BMS_TEMP, 4, U16, -1000, 1, 1, -500, 1500),
            (im.BMS_SOC, 6, U8, 0, 100, 1, 0, 10000),
            (im.BMS_SOH, 7, U8, 0, 100, 1, 0, 10000),
        ),
    ),
    (
        0x4220,
        8,
        im.SEQ_BMS_LIMITS,
        1,
        1,
        (
            (im.BMS_V_MAX, 0, U16, 0, 1, 1, 0, 15000),
            (im.BMS_V_MIN, 2, U16, 0, 1, 1, 0, 15000),
            (im.BMS_I_CHG, 4, CHARGE_LIMIT, 0, 1, 1, 0, 30000),
            (im.BMS_I_DIS, 6, DISCHARGE_LIMIT, 0, 1, 1, 0, 30000),
        ),
    ),
    (
        0x4230,
        8,
        im.SEQ_BMS_CELLS,
        1,
        1,
        ((im.CELL_V_MAX, 0, U16, 0, 1, 1, 0, 5000), (im.CELL_V_MIN, 2, U16, 0, 1, 1, 0, 5000)),
    ),
    (
        0x4240,
        8,
        im.SEQ_BMS_TEMPS,
        1,
        1,
        ((im.CELL_T_MAX, 0, U16, -1000, 1, 1, -500, 1500), (im.CELL_T_MIN, 2, U16, -1000, 1, 1, -500, 1500)),
    ),
    # Two frames make the flags: what the pack forbids is in 0x428x, all the rest in 0x425x.
    (0x4250, 8, im.SEQ_BMS_FLAGS, 1, 3, ()),
    (0x4280, 8, im.SEQ_BMS_FLAGS, 2, 3, ()),
)
EQUIPMENT = (0x7310, 0x7320, 0x7330, 0x7340)
PAIRS = ((im.CELL_V_MAX, im.CELL_V_MIN), (im.CELL_T_MAX, im.CELL_T_MIN), (im.BMS_V_MAX, im.BMS_V_MIN))

# Alarm and protection words of 0x425x, bit by bit: cell, system and module voltage low and high, charge and
# discharge temperature low and high, charge and discharge over-current.
_PROTECTIONS = (
    (im.BMS_PROT_UNDER_V, 0x405),
    (im.BMS_PROT_OVER_V, 0x80A),
    (im.BMS_PROT_UNDER_T, 0x050),
    (im.BMS_PROT_OVER_T, 0x0A0),
    (im.BMS_PROT_OVER_I_CHG, 0x100),
    (im.BMS_PROT_OVER_I_DIS, 0x200),
)
_FORBIDDEN = const(0xAA)


def _conditions(word):
    bits = 0
    for i in range(len(_PROTECTIONS)):
        if word & _PROTECTIONS[i][1]:
            bits |= _PROTECTIONS[i][0]
    return bits


def flags(base, data, big_endian, scratch):
    """Read a flags frame (0x4250 or 0x4280, without the address) into `scratch`, indexed as the image's slots."""
    requests = scratch[im.BMS_REQUESTS]
    if base == 0x4280:
        requests &= im.BMS_REQ_FORCE_CHARGE | im.BMS_REQ_BALANCE
        if data[0] == _FORBIDDEN:
            requests |= im.BMS_REQ_NO_CHARGE
        if data[1] == _FORBIDDEN:
            requests |= im.BMS_REQ_NO_DISCHARGE
        scratch[im.BMS_REQUESTS] = requests
        return
    requests &= im.BMS_REQ_NO_CHARGE | im.BMS_REQ_NO_DISCHARGE
    if data[0] & 0x08:
        requests |= im.BMS_REQ_FORCE_CHARGE
    if data[0] & 0x10:
        requests |= im.BMS_REQ_BALANCE
    scratch[im.BMS_REQUESTS] = requests
    scratch[im.BMS_STATUS] = data[0] & 7
    high = 0 if big_endian else 1  # which byte of a word is the high one
    scratch[im.BMS_ALARM] = _conditions(data[4 + high] << 8 | data[5 - high])
    tripped = _conditions(data[6 + high] << 8 | data[7 - high])
    if data[3]:  # an error of the BMS itself: a sensor, its own bus, a relay
        tripped |= im.BMS_PROT_SYSTEM
    scratch[im.BMS_PROTECT] = tripped


class Poller:
    """What the controller sends: the poll, the equipment question until it is answered, the wake-up call."""

    def __init__(self):
        self._poll = bytearray(8)
        self._wake = bytearray(b"\xaa\0\0\0\0\0\0\0")
        self._asked = 0

    def send(self, bus, asleep, know_equipment):
        """Send one period's frames; False if the poll did not go out."""
        poll = self._poll
        if asleep:
            bus.send(0x8200, self._wake, True)  # 0xAA: leave sleep
        if not know_equipment and self._asked % 10 == 0:
            poll[0] = 2
            bus.send(0x4200, poll, True)
        self._asked = (self._asked + 1) % 10
        poll[0] = 0
        return bus.send(0x4200, poll, True)
