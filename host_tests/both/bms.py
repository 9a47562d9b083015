"""A high-voltage pack's answers, packed from figures by the protocol's description, not by the driver's tables."""

import struct

from rows import each

from firmware.devices import bms_pylontech


def options(**given):
    """The driver's options with their defaults, as the site file's check delivers them."""
    values = {row[0]: row[2] for row in each(bms_pylontech.OPTIONS)}
    values["bus"] = "can0"
    values.update(given)
    return values


def measurements(volts=650.0, amps_charging=0.0, celsius=25.0, soc=57, soh=99):
    raw_amps = round((amps_charging + 3000) * 10)
    return struct.pack("<HHHBB", round(volts * 10), raw_amps, round((celsius + 100) * 10), soc, soh)


def limits(charge_v=702.0, discharge_v=546.0, charge_a=160.0, discharge_a=165.0):
    raw_charge_a = round((charge_a + 3000) * 10)
    raw_discharge_a = round((discharge_a + 3000) * 10)
    return struct.pack("<HHHH", round(charge_v * 10), round(discharge_v * 10), raw_charge_a, raw_discharge_a)


def cells(high=3340, low=3321):
    return struct.pack("<HHHH", high, low, 12, 190)


def temperatures(high=26.5, low=24.0):
    return struct.pack("<HHHH", round((high + 100) * 10), round((low + 100) * 10), 3, 77)


def status(basic=3, error=0, alarm=0, protection=0):
    return struct.pack("<BHBHH", basic, 0, error, alarm, protection)


def forbidden(charge=False, discharge=False):
    return bytes([0xAA if charge else 0, 0xAA if discharge else 0, 0, 0, 0, 0, 0, 0])


FRAMES = (
    (0x4210, measurements()),
    (0x4220, limits()),
    (0x4230, cells()),
    (0x4240, temperatures()),
    (0x4250, status()),
    (0x4260, bytes(8)),
    (0x4270, bytes(8)),
    (0x4280, forbidden()),
    (0x4290, bytes(8)),
    (0x7310, bytes(8)),
    (0x7320, struct.pack("<HBBHH", 195, 13, 15, 624, 333)),
    (0x7330, b"Example "),
    (0x7340, b"Battery\0"),
)
