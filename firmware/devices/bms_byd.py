"""BYD's high-voltage batteries (HVS, HVM) on CAN: 11-bit ids, 500 kbit/s, big-endian, sent by themselves once an inverter asks.

From public documents, never tried on the box.  Limits come every 2 s, all else every 10 s: power.bms_period_ms must be
10000 or more, and limits that stay away for three of their own periods are taken as 0 A here.  Alarms (0x190) are not read, as
their bits are not known: what the battery forbids is in its limits.  The sign of its current is an option.  The controller
asks who it is (0x151) until it answers (0x250), and tells it what the inverter measures (0x091), its state of charge (0x0D1)
and the time (0x111).
"""

import sys
import time

from micropython import const

from firmware import image as im
from firmware.devices import can_fields as f
from firmware.devices.can_tables import Battery

OPTIONS = (
    ("bus", "str", "REQUIRED", 0, 0, "name of the CAN bus"),
    ("period_ms", "int", 10000, 100, 60000, "ms between the battery's own reports of voltage and state of charge"),
    ("limits_ms", "int", 2000, 100, 60000, "ms between the battery's own reports of its limits"),
    ("current_positive", ("charge", "discharge"), "charge", 0, 0, "which way a positive current flows on this bus"),
    ("current_max", "int", 200, 1, 3000, "A; a current or limit beyond it cannot be true"),
    ("voltage_max", "int", 1000, 10, 1500, "V; a battery voltage beyond it cannot be true"),
)

EXTENDED = False
ADDRESSED = False
SUBSCRIBE = ((0x110, 0x7BF), (0x1D0, 0x7FF), (0x210, 0x7BF))  # (id, mask): 0x110, 0x150; 0x1D0; 0x210, 0x250
SILENT_REPORTS = 3
BEAT_MS = 1000
FLAG_WORDS = False
BYTE_ORDER = "big"

_LIMITS = (
    im.BMS_V_MAX << 12 | 0 << 8 | f.U16 | f.VOLTS,
    im.BMS_V_MIN << 12 | 2 << 8 | f.U16 | f.VOLTS,
    im.BMS_I_DIS << 12 | 4 << 8 | f.S16 | f.AMPS | f.DISCHARGE_LIMIT,
    im.BMS_I_CHG << 12 | 6 << 8 | f.S16 | f.AMPS | f.CHARGE_LIMIT,
)
_CHARGE = (
    im.BMS_SOC << 12 | 0 << 8 | f.U16 | f.CENTIPERCENT,
    im.BMS_SOH << 12 | 2 << 8 | f.U16 | f.CENTIPERCENT,
)
_OPERATING = (
    im.BMS_V << 12 | 0 << 8 | f.U16 | f.VOLTS,
    im.BMS_I << 12 | 2 << 8 | f.S16 | f.AMPS | f.CURRENT,
    im.BMS_TEMP << 12 | 4 << 8 | f.S16 | f.DEGREES,
)
_TEMPS = (
    im.CELL_T_MAX << 12 | 0 << 8 | f.S16 | f.DEGREES,
    im.CELL_T_MIN << 12 | 2 << 8 | f.S16 | f.DEGREES,
)

FRAMES = (
    (0x110, 8 | im.SEQ_BMS_LIMITS << 4 | 1 << 8 | 1 << 16, _LIMITS, ()),
    (0x150, 4 | im.SEQ_BMS << 4 | 1 << 8 | 3 << 16, _CHARGE, ()),
    (0x1D0, 6 | im.SEQ_BMS << 4 | 2 << 8 | 3 << 16, _OPERATING, ()),
    (0x210, 4 | im.SEQ_BMS_TEMPS << 4 | 1 << 8 | 1 << 16, _TEMPS, ()),
)
PAIRS = ((im.BMS_V_MAX, im.BMS_V_MIN), (im.CELL_T_MAX, im.CELL_T_MIN))
EQUIPMENT = (0x250,)

_IDENTIFY = const(b"\1\0\0\0\0\0\0\0")
_PRESENT = const(b"\0\0\0\0\0\0\0\0")
_TELL = const(2)  # s between two reports of what the inverter measures
_CLOCK = const(10)  # and of the time
_CLOCK_SET = const(1704067200)  # 2024: a clock before it is not set
_EPOCH = 0 if time.gmtime(0)[0] == 1970 else 946684800


def check_site(where, options, power, errors):
    """Called when a site file is checked: the site must bear how seldom the battery reports."""
    period_ms = options.get("period_ms", 10000)
    if power.bms_period_ms < period_ms:
        text = "%s: reports every %d ms, power.bms_period_ms = %d takes it for lost: allowed are %d to 60000"
        errors.append(text % (where, period_ms, power.bms_period_ms, period_ms))


class Device(Battery):
    """One such battery."""

    def __init__(self, name, options, image, buses):
        """Raises ValueError if there is no such bus."""
        super().__init__(name, options, image, buses, sys.modules[__name__])
        self._limits_seq = 0
        self._silent_ms = 0  # since limits came
        self._limits_ms = 3 * options["limits_ms"]
        self._beat_ms = min(options["period_ms"], BEAT_MS)  # between two polls

    def poll(self, turn):
        """Send one second's frames, and watch that limits come; False if the frames did not go out."""
        self._watch_limits()
        sent = self.bus.send(0x151, _IDENTIFY if self.answers[0] is None else _PRESENT, False)
        if turn % _TELL == 0:
            sent = self._tell() and sent
        if turn % _CLOCK == 0:
            seconds = int(time.time()) + _EPOCH
            if seconds >= _CLOCK_SET:
                sent = self.bus.send(0x111, seconds.to_bytes(4, "big") + b"\0\0\0\0", False) and sent
        return sent

    def _watch_limits(self):
        """Limits that do not come any more are 0 A: the group's age would show it only at the pace of the slowest."""
        inp = self.image.inp
        if inp[im.SEQ_BMS_LIMITS] != self._limits_seq:
            self._limits_seq = inp[im.SEQ_BMS_LIMITS]
            self._silent_ms = 0
            return
        self._silent_ms = min(self._silent_ms + self._beat_ms, self._limits_ms)
        if self._silent_ms >= self._limits_ms and self._limits_seq:
            inp[im.BMS_I_CHG] = inp[im.BMS_I_DIS] = 0

    def _tell(self):
        """The inverter's DC side, the battery's own where it does not measure it, and the state of charge."""
        inp = self.image.inp
        volts = _first(inp[im.PCS_DC_V], inp[im.BMS_V])
        if volts == im.NO_VALUE:
            return True
        amps = _first(inp[im.PCS_DC_I], inp[im.BMS_I]) * self.current_sign
        sent = self.bus.send(0x091, _words(volts, amps, _first(inp[im.PCS_TEMP], inp[im.BMS_TEMP])), False)
        if inp[im.BMS_SOC] != im.NO_VALUE:
            sent = self.bus.send(0x0D1, _words(inp[im.BMS_SOC] // 10, 0, 0), False) and sent
        return sent


def equipment(known, order):
    """Energy of the whole battery (0x250)."""
    answer = {}
    if known[0] is not None:
        answer["maker"] = "BYD"
        if len(known[0]) >= 6:
            answer["nominal_kwh"] = int.from_bytes(known[0][4:6], order) / 10
    return answer


def _first(value, other):
    return value if value != im.NO_VALUE else other


def _words(*values):
    """Eight bytes of numbers of 16 bits, 0 for those that nobody knows."""
    data = bytearray(8)
    for i, value in enumerate(values):
        if -32768 <= value <= 65535:
            data[2 * i] = value >> 8 & 255
            data[2 * i + 1] = value & 255
    return data
