"""The frames of Pylontech's low-voltage CAN protocol: 11-bit ids, 500 kbit/s, sent every second by themselves.

V1.2 tells its alarms and permissions in 0x359 and 0x35C; V1.3 drops both for the 0x35A that SMA and Victron share,
and forbids by a limit of 0.  SMA's 0x355 adds a state of charge in 0.01 %; V1.3 packs send the bytes but leave
them 0, so they count only where they agree with the whole percents.  The controller sends 0x305 every second:
without it many packs stop sending, or open their relay.
"""

from micropython import const

from firmware import image as im

_U16 = const(1)
_S16 = const(2)
_VOLTS = const(0 << 2)  # what it counts: 0.1 V
_CENTIVOLTS = const(1 << 2)  # 0.01 V
_AMPS = const(2 << 2)  # 0.1 A
_DEGREES = const(4 << 2)  # 0.1 degC
_PERCENT = const(5 << 2)
_RAW = const(7 << 2)
_CURRENT = const(1 << 5)  # what the driver does with it; see bms_pylontech.py
_CHARGE_LIMIT = const(2 << 5)
_DISCHARGE_LIMIT = const(3 << 5)
_OPTIONAL = const(4 << 5)
_FINE_SOC = const(5 << 5)
_CLEAR = const(1 << 24)  # it is set by cleared bits

EXTENDED = False
ADDRESSED = False
SUBSCRIBE = ((0x350, 0x7F0),)
SILENT_POLLS = 3  # it sends in a rhythm of its own, so one period may pass without a frame

# Fields, flags and frames: as in pylontech_hv.py.
_LIMITS = (
    im.BMS_V_MAX << 12 | 0 << 8 | _U16 | _VOLTS,
    im.BMS_I_CHG << 12 | 2 << 8 | _S16 | _AMPS | _CHARGE_LIMIT,
    im.BMS_I_DIS << 12 | 4 << 8 | _S16 | _AMPS | _DISCHARGE_LIMIT,
    im.BMS_V_MIN << 12 | 6 << 8 | _U16 | _VOLTS | _OPTIONAL,
)
_CHARGE = (
    im.BMS_SOC << 12 | 0 << 8 | _U16 | _PERCENT,
    im.BMS_SOH << 12 | 2 << 8 | _U16 | _PERCENT,
    im.BMS_SOC << 12 | 4 << 8 | _U16 | _RAW | _FINE_SOC,
)
_OPERATING = (
    im.BMS_V << 12 | 0 << 8 | _S16 | _CENTIVOLTS,
    im.BMS_I << 12 | 2 << 8 | _S16 | _AMPS | _CURRENT,
    im.BMS_TEMP << 12 | 4 << 8 | _S16 | _DEGREES,
)
_CONDITIONS = (
    0 << 20 | 0x02 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_OVER_V,
    0 << 20 | 0x04 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_UNDER_V,
    0 << 20 | 0x08 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_OVER_T,
    0 << 20 | 0x10 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_UNDER_T,
    0 << 20 | 0x80 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_OVER_I_DIS,
    1 << 20 | 0x01 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_OVER_I_CHG,
    1 << 20 | 0x08 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_SYSTEM,
    2 << 20 | 0x02 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_OVER_V,
    2 << 20 | 0x04 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_UNDER_V,
    2 << 20 | 0x08 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_OVER_T,
    2 << 20 | 0x10 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_UNDER_T,
    2 << 20 | 0x80 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_OVER_I_DIS,
    3 << 20 | 0x01 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_OVER_I_CHG,
    3 << 20 | 0x08 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_SYSTEM,
)
_PERMITS = (
    0 << 20 | 0x80 << 12 | im.BMS_REQUESTS << 7 | im.BMS_REQ_NO_CHARGE | _CLEAR,  # the bit permits
    0 << 20 | 0x40 << 12 | im.BMS_REQUESTS << 7 | im.BMS_REQ_NO_DISCHARGE | _CLEAR,
    0 << 20 | 0x30 << 12 | im.BMS_REQUESTS << 7 | im.BMS_REQ_FORCE_CHARGE,
    0 << 20 | 0x08 << 12 | im.BMS_REQUESTS << 7 | im.BMS_REQ_FULL_CHARGE,
)
# Pairs of bits: 1 alarm, 2 none, 0 not supported; bytes 0 to 3 alarms (here protections), 4 to 7 warnings.
_CONDITIONS_13 = (
    0 << 20 | 0x04 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_OVER_V,
    0 << 20 | 0x10 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_UNDER_V,
    0 << 20 | 0x40 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_OVER_T,
    1 << 20 | 0x11 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_UNDER_T,  # any, charging
    1 << 20 | 0x04 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_OVER_T,  # charging
    1 << 20 | 0x40 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_OVER_I_DIS,
    2 << 20 | 0x01 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_OVER_I_CHG,
    2 << 20 | 0x54 << 12 | im.BMS_PROTECT << 7 | im.BMS_PROT_SYSTEM,  # contactor, short circuit, internal
    4 << 20 | 0x04 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_OVER_V,
    4 << 20 | 0x10 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_UNDER_V,
    4 << 20 | 0x40 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_OVER_T,
    5 << 20 | 0x11 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_UNDER_T,
    5 << 20 | 0x04 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_OVER_T,
    5 << 20 | 0x40 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_OVER_I_DIS,
    6 << 20 | 0x01 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_OVER_I_CHG,
    6 << 20 | 0x54 << 12 | im.BMS_ALARM << 7 | im.BMS_PROT_SYSTEM,
)

FRAMES = (
    (0x351, 6 | im.SEQ_BMS_LIMITS << 4 | 1 << 8 | 1 << 12, _LIMITS, ()),
    (0x355, 4 | im.SEQ_BMS << 4 | 1 << 8 | 3 << 12, _CHARGE, ()),
    (0x356, 6 | im.SEQ_BMS << 4 | 2 << 8 | 3 << 12, _OPERATING, ()),
    (0x359, 4 | im.SEQ_BMS_FLAGS << 4 | 1 << 8 | 3 << 12, (), _CONDITIONS),
    (0x35C, 1 | im.SEQ_BMS_FLAGS << 4 | 2 << 8 | 3 << 12, (), _PERMITS),
    (0x35A, 8 | im.SEQ_BMS_FLAGS << 4 | 4 << 8 | 4 << 12, (), _CONDITIONS_13),
)
PAIRS = ((im.BMS_V_MAX, im.BMS_V_MIN),)

EQUIPMENT = (0x35E, 0x35F)


_ALIVE = b"\0\0\0\0\0\0\0\0"


def poll(bus, _asleep, _known, _turn):
    """Send one period's frame, the keep-alive; False if it did not go out."""
    return bus.send(0x305, _ALIVE, False)
