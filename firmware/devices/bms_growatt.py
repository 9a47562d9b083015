"""Growatt's low-voltage battery on CAN: 11-bit ids, 500 kbit/s, big-endian, sent every second by itself.

From public documents, never tried on the box.  What protects and warns (0x312, the status in 0x311) is not read, as its
bits are not known for certain: its limits and permissions say what it forbids.  The sign of its current is an option; a
discharge limit below zero is taken for what it is meant.  The controller sends 0x301 every second.
"""

import sys

from micropython import const

from firmware import image as im
from firmware.devices import can_fields as f
from firmware.devices.can_tables import Battery

OPTIONS = (
    ("bus", "str", "REQUIRED", 0, 0, "name of the CAN bus"),
    ("period_ms", "int", 1000, 100, 60000, "ms between the battery's own reports"),
    ("current_positive", ("charge", "discharge"), "charge", 0, 0, "which way a positive current flows on this bus"),
    ("current_max", "int", 1000, 1, 3000, "A; a current or limit beyond it cannot be true"),
    ("voltage_max", "int", 100, 10, 650, "V; a battery voltage beyond it cannot be true"),
)

EXTENDED = False
ADDRESSED = False
SUBSCRIBE = ((0x311, 0x7FD), (0x319, 0x7FF))  # (id, mask); the first is 0x311 and 0x313
SILENT_REPORTS = 3
BEAT_MS = 1000
FLAG_WORDS = False
BYTE_ORDER = "big"

_LIMITS = (
    im.BMS_V_MAX << 12 | 0 << 8 | f.U16 | f.VOLTS,
    im.BMS_I_CHG << 12 | 2 << 8 | f.S16 | f.AMPS | f.CHARGE_LIMIT,
    im.BMS_I_DIS << 12 | 4 << 8 | f.S16 | f.AMPS | f.DISCHARGE_LIMIT,
)
_OPERATING = (
    im.BMS_V << 12 | 0 << 8 | f.U16 | f.CENTIVOLTS,
    im.BMS_I << 12 | 2 << 8 | f.S16 | f.AMPS | f.CURRENT,
    im.BMS_TEMP << 12 | 4 << 8 | f.S16 | f.DEGREES,
    im.BMS_SOC << 12 | 6 << 8 | f.U8 | f.PERCENT,
    im.BMS_SOH << 12 | 7 << 8 | f.LOW_BITS | f.PERCENT,
)
_CELLS = (
    im.CELL_V_MAX << 12 | 1 << 8 | f.U16 | f.MILLIVOLTS,
    im.CELL_V_MIN << 12 | 3 << 8 | f.U16 | f.MILLIVOLTS,
)
_PERMITS = (
    0 << 12 | 0x80 << 4 | f.REQUESTS | f.CLEAR, im.BMS_REQ_NO_CHARGE,  # the bit permits
    0 << 12 | 0x40 << 4 | f.REQUESTS | f.CLEAR, im.BMS_REQ_NO_DISCHARGE,
    0 << 12 | 0x30 << 4 | f.REQUESTS, im.BMS_REQ_FORCE_CHARGE,
)  # fmt: skip

FRAMES = (
    (0x311, 6 | im.SEQ_BMS_LIMITS << 4 | 1 << 8 | 1 << 16, _LIMITS, ()),
    (0x313, 8 | im.SEQ_BMS << 4 | 1 << 8 | 1 << 16, _OPERATING, ()),
    (0x319, 5 | im.SEQ_BMS_CELLS << 4 | 1 << 8 | 1 << 16, _CELLS, ()),
    (0x319, 1 | im.SEQ_BMS_FLAGS << 4 | 1 << 8 | 1 << 16, (), _PERMITS),
)
PAIRS = ((im.CELL_V_MAX, im.CELL_V_MIN),)
EQUIPMENT = ()

_ALIVE = const(b"\0\0\0\0\0\0\0\0")


class Device(Battery):
    """One such battery."""

    def __init__(self, name, options, image, buses):
        """Raises ValueError if there is no such bus."""
        super().__init__(name, options, image, buses, sys.modules[__name__])

    def poll(self, _turn):
        """Send the keep-alive; False if it did not go out."""
        return self.bus.send(0x301, _ALIVE, False)


def equipment(_known, _order):
    """It says nothing of itself that is read."""
    return {}
