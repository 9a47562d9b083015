"""The frames of Pylontech's low-voltage CAN protocol: 11-bit ids, 500 kbit/s, sent every second by themselves.

V1.2 tells its alarms and permissions in 0x359 and 0x35C; V1.3 drops both for the 0x35A that SMA and Victron share,
and forbids by a limit of 0.  SMA's 0x355 adds a state of charge in 0.01 %; V1.3 packs send the bytes but leave
them 0, so they count only where they agree with the whole percents.  The controller sends 0x305 every second:
without it many packs stop sending, or open their relay.
"""

from micropython import const

from firmware import image as im

_U16 = const(1)  # how a value lies in the frame; see bms_pylontech.py
_S16 = const(2)
_PLAIN = const(0)  # what it is
_CURRENT = const(1)
_CHARGE_LIMIT = const(2)
_DISCHARGE_LIMIT = const(3)
_OPTIONAL = const(4)
_FINE_SOC = const(5)
_ANY = const(-1)

EXTENDED = False
ADDRESSED = False
SUBSCRIBE = ((0x350, 0x7F0),)
SILENT_POLLS = 3  # it sends in a rhythm of its own, so one period may pass without a frame

# Fields, flags and frames: as in pylontech_hv.py.
_LIMITS = (
    (im.BMS_V_MAX, 0, _U16, _PLAIN, 0, 1, 1, 0, 15000),
    (im.BMS_I_CHG, 2, _S16, _CHARGE_LIMIT, 0, 1, 1, 0, 30000),
    (im.BMS_I_DIS, 4, _S16, _DISCHARGE_LIMIT, 0, 1, 1, 0, 30000),
    (im.BMS_V_MIN, 6, _U16, _OPTIONAL, 0, 1, 1, 0, 15000),
)
_CHARGE = (
    (im.BMS_SOC, 0, _U16, _PLAIN, 0, 100, 1, 0, 10000),
    (im.BMS_SOH, 2, _U16, _PLAIN, 0, 100, 1, 0, 10000),
    (im.BMS_SOC, 4, _U16, _FINE_SOC, 0, 1, 1, 0, 65535),
)
_OPERATING = (
    (im.BMS_V, 0, _S16, _PLAIN, 5, 1, 10, 0, 15000),
    (im.BMS_I, 2, _S16, _CURRENT, 0, 1, 1, -30000, 30000),
    (im.BMS_TEMP, 4, _S16, _PLAIN, 0, 1, 1, -500, 1500),
)
_CONDITIONS = (
    (0, 0x02, _ANY, im.BMS_PROTECT, im.BMS_PROT_OVER_V, 0),
    (0, 0x04, _ANY, im.BMS_PROTECT, im.BMS_PROT_UNDER_V, 0),
    (0, 0x08, _ANY, im.BMS_PROTECT, im.BMS_PROT_OVER_T, 0),
    (0, 0x10, _ANY, im.BMS_PROTECT, im.BMS_PROT_UNDER_T, 0),
    (0, 0x80, _ANY, im.BMS_PROTECT, im.BMS_PROT_OVER_I_DIS, 0),
    (1, 0x01, _ANY, im.BMS_PROTECT, im.BMS_PROT_OVER_I_CHG, 0),
    (1, 0x08, _ANY, im.BMS_PROTECT, im.BMS_PROT_SYSTEM, 0),
    (2, 0x02, _ANY, im.BMS_ALARM, im.BMS_PROT_OVER_V, 0),
    (2, 0x04, _ANY, im.BMS_ALARM, im.BMS_PROT_UNDER_V, 0),
    (2, 0x08, _ANY, im.BMS_ALARM, im.BMS_PROT_OVER_T, 0),
    (2, 0x10, _ANY, im.BMS_ALARM, im.BMS_PROT_UNDER_T, 0),
    (2, 0x80, _ANY, im.BMS_ALARM, im.BMS_PROT_OVER_I_DIS, 0),
    (3, 0x01, _ANY, im.BMS_ALARM, im.BMS_PROT_OVER_I_CHG, 0),
    (3, 0x08, _ANY, im.BMS_ALARM, im.BMS_PROT_SYSTEM, 0),
)
_PERMITS = (
    (0, 0x80, 0, im.BMS_REQUESTS, im.BMS_REQ_NO_CHARGE, 0),  # the bit permits
    (0, 0x40, 0, im.BMS_REQUESTS, im.BMS_REQ_NO_DISCHARGE, 0),
    (0, 0x30, _ANY, im.BMS_REQUESTS, im.BMS_REQ_FORCE_CHARGE, 0),
    (0, 0x08, _ANY, im.BMS_REQUESTS, im.BMS_REQ_FULL_CHARGE, 0),
)
# Pairs of bits: 1 alarm, 2 none, 0 not supported; bytes 0 to 3 alarms (here protections), 4 to 7 warnings.
_CONDITIONS_13 = (
    (0, 0x04, _ANY, im.BMS_PROTECT, im.BMS_PROT_OVER_V, 0),
    (0, 0x10, _ANY, im.BMS_PROTECT, im.BMS_PROT_UNDER_V, 0),
    (0, 0x40, _ANY, im.BMS_PROTECT, im.BMS_PROT_OVER_T, 0),
    (1, 0x11, _ANY, im.BMS_PROTECT, im.BMS_PROT_UNDER_T, 0),  # any, charging
    (1, 0x04, _ANY, im.BMS_PROTECT, im.BMS_PROT_OVER_T, 0),  # charging
    (1, 0x40, _ANY, im.BMS_PROTECT, im.BMS_PROT_OVER_I_DIS, 0),
    (2, 0x01, _ANY, im.BMS_PROTECT, im.BMS_PROT_OVER_I_CHG, 0),
    (2, 0x54, _ANY, im.BMS_PROTECT, im.BMS_PROT_SYSTEM, 0),  # contactor, short circuit, internal
    (4, 0x04, _ANY, im.BMS_ALARM, im.BMS_PROT_OVER_V, 0),
    (4, 0x10, _ANY, im.BMS_ALARM, im.BMS_PROT_UNDER_V, 0),
    (4, 0x40, _ANY, im.BMS_ALARM, im.BMS_PROT_OVER_T, 0),
    (5, 0x11, _ANY, im.BMS_ALARM, im.BMS_PROT_UNDER_T, 0),
    (5, 0x04, _ANY, im.BMS_ALARM, im.BMS_PROT_OVER_T, 0),
    (5, 0x40, _ANY, im.BMS_ALARM, im.BMS_PROT_OVER_I_DIS, 0),
    (6, 0x01, _ANY, im.BMS_ALARM, im.BMS_PROT_OVER_I_CHG, 0),
    (6, 0x54, _ANY, im.BMS_ALARM, im.BMS_PROT_SYSTEM, 0),
)

FRAMES = (
    (0x351, 6, im.SEQ_BMS_LIMITS, 1, 1, _LIMITS, ()),
    (0x355, 4, im.SEQ_BMS, 1, 3, _CHARGE, ()),
    (0x356, 6, im.SEQ_BMS, 2, 3, _OPERATING, ()),
    (0x359, 4, im.SEQ_BMS_FLAGS, 1, 3, (), _CONDITIONS),
    (0x35C, 1, im.SEQ_BMS_FLAGS, 2, 3, (), _PERMITS),
    (0x35A, 8, im.SEQ_BMS_FLAGS, 4, 4, (), _CONDITIONS_13),
)
PAIRS = ((im.BMS_V_MAX, im.BMS_V_MIN),)

EQUIPMENT = (0x35E, 0x35F)


def equipment(known, order):
    """What 0x35E and 0x35F say, as far as they are known: maker, version, nominal Ah."""
    answer = {}
    if known[0] is not None:
        answer["maker"] = "".join([chr(b) for b in known[0] if 32 <= b < 127]).strip()
    if known[1] is not None and len(known[1]) >= 6:
        answer["version"] = int.from_bytes(known[1][2:4], order)
        answer["nominal_ah"] = int.from_bytes(known[1][4:6], order)
    return answer


class Poller:
    """What the controller sends: its keep-alive."""

    def __init__(self):
        self._alive = bytearray(8)

    def send(self, bus, _asleep, _known):
        """Send one period's frame; False if it did not go out."""
        return bus.send(0x305, self._alive, False)
