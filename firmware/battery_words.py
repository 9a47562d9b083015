"""What the battery reports, in words: its readings, protections and warnings, what is missing, more about its faults.

For people only: loaded when somebody asks for the first time and there is something to say.
"""

from rows import each

from firmware import image as im
from firmware import protections

# from image.BMS_SOC on, one slot after the other
_NAMES = (
    "state of charge",
    "state of health",
    "voltage",
    "current",
    "temperature",
    "charge cut-off voltage",
    "discharge cut-off voltage",
    "charge current limit",
    "discharge current limit",
    "highest cell voltage",
    "lowest cell voltage",
    "highest cell temperature",
    "lowest cell temperature",
)
_PARTS = (100, 100, 10, 10, 10, 10, 10, 10, 10, 1, 1, 10, 10)  # of its unit in one of the slot's
_UNITS = ("%", "%", "V", "A", "degC", "V", "V", "A", "A", "mV", "mV", "degC", "degC")
_CONDITIONS = [(row[0], row[1]) for row in each(protections.TABLE)]
MISSING = (  # what missing_data means, a bit each of image.MISSING, set by hot.examine
    "the inverter is not received",
    "the battery's measurements are not received",
    "the battery's limits are not received",
    "the battery's cell voltages are not received any more",
    "the battery's cell temperatures are not received any more",
    "the battery's status is not received any more",
    "the board's inputs are not read",
    "the battery reports no state of charge that can be true",
    "the battery reports no voltage",
    "the battery reports no current",
    "the inverter reports no power",
    "the battery reports no temperature",
    "the meter is not received",
)


def missing(bits: int) -> "list[str]":
    """What is missing, in words, behind a mask of image.MISSING."""
    return [text for i, text in enumerate(MISSING) if bits >> i & 1]


def reading(slot: int, value: int) -> str:
    """Name, value and unit of a reading in its slot's unit: "temperature -150.0 degC"."""
    at = slot - im.BMS_SOC
    number = str(value) if _PARTS[at] == 1 else "%.1f" % (value / _PARTS[at])
    return "%s %s %s" % (_NAMES[at], number, _UNITS[at])


def odd(bits: int) -> "list[str]":
    """The names of the readings behind a mask of BMS_ODD."""
    return [name for i, name in enumerate(_NAMES) if bits >> i & 1]


def conditions(bits: int) -> "list[str]":
    """The conditions behind a mask of BMS_PROTECT or BMS_ALARM; none for what was never received."""
    return [name for name, bit in _CONDITIONS if bits > 0 and bits & bit]


def detail(name: str, now) -> str:
    """More about a fault of the battery that is active, in words; "" where the name says it all."""
    if name in ("bms_protection", "bms_no_charge", "bms_no_discharge"):
        said = conditions(now[im.BMS_PROTECT])
        if name == "bms_no_charge" and now[im.HOLD_CHG_MS] > 0 and not now[im.BMS_PROTECT] & im.BMS_PROT_OVER_V:
            said.append("charging is held off for %d s more after an over-voltage" % (now[im.HOLD_CHG_MS] // 1000))
        return "; ".join(said)
    if name == "bms_alarm":
        return "; ".join(conditions(now[im.BMS_ALARM]))
    if name == "bms_value":
        said = [what + " cannot be true" for what in odd(now[im.BMS_ODD])]
        if now[im.DOUBT_SLOT]:
            said.append(reading(now[im.DOUBT_SLOT], now[im.DOUBT_VALUE]) + " was not believed")
        return "; ".join(said)
    if name in ("soc_disagrees", "soc_jump") and now[im.SOC] != im.NO_VALUE:
        counted = min(10000, max(0, now[im.SOC] - now[im.SOC_DRIFT]))
        return "the BMS reports %.1f %%, counted are %.1f %%" % (now[im.SOC] / 100, counted / 100)
    if name == "two_batteries":
        return "two batteries answer on this bus: their states of charge alternate"
    return ""
