"""What the battery reports, in words: its readings, protections and warnings, what is missing, more about its faults.

A table of words is one text, a line each: as a tuple each word would be an object of the heap.  What is missing is a tuple all
the same: it is told most when everything is, and a text made anew is looked for among all names there are, 0.2 ms each.
"""

from micropython import const
from rows import each

from firmware import image as im
from firmware import protections

# from image.BMS_SOC on, one slot after the other: parts of the unit in one of the slot's, the unit, the name
_READINGS = const("""100 % state of charge
100 % state of health
10 V voltage
10 A current
10 degC temperature
10 V charge cut-off voltage
10 V discharge cut-off voltage
10 A charge current limit
10 A discharge current limit
1 mV highest cell voltage
1 mV lowest cell voltage
10 degC highest cell temperature
10 degC lowest cell temperature""")
# what missing_data means, a line for each bit of image.MISSING, set by kernel/diagnosis.py and site_limits.py
MISSING = (
    "the inverter is not received",
    "the battery's measurements are not received",
    "the battery's limits are not received",
    "the battery's cell voltages are not received",
    "the battery's cell temperatures are not received",
    "the battery's status is not received",
    "the board's inputs are not read",
    "the battery reports no state of charge that can be true",
    "the battery reports no voltage",
    "the battery reports no current",
    "the inverter reports no power",
    "the battery reports no temperature",
    "the meter reports no power",
    "neither inverter nor meter says whether there is a grid",
)
# protections.TABLE's words, a bit each; "" where the table is at hand: read from flash once, or in an image of our own
_CONDITIONS = "\n".join([row[0] for row in each(protections.TABLE)]) if isinstance(protections.TABLE, str) else ""


def _behind(bits: int, lines: str) -> "list[str]":
    found = []
    for text in lines.split("\n"):
        if bits & 1:
            found.append(text)
        bits >>= 1
    return found


def missing(bits: int) -> "list[str]":
    """What is missing, in words, behind a mask of image.MISSING."""
    return [text for i, text in enumerate(MISSING) if bits >> i & 1]


def reading(slot: int, value: int) -> str:
    """Name, value and unit of a reading in its slot's unit: "temperature -150.0 degC"."""
    parts, unit, name = _READINGS.split("\n")[slot - im.BMS_SOC].split(" ", 2)
    number = str(value) if parts == "1" else "%.1f" % (value / int(parts))
    return "%s %s %s" % (name, number, unit)


def odd(bits: int) -> "list[str]":
    """The names of the readings behind a mask of BMS_ODD."""
    return [line.split(" ", 2)[2] for line in _behind(bits, _READINGS)]


def conditions(bits: int) -> "list[str]":
    """The conditions behind a mask of BMS_PROTECT or BMS_ALARM; none for what was never received."""
    if bits <= 0:
        return []
    if _CONDITIONS:
        return _behind(bits, _CONDITIONS)
    return [row[0] for i, row in enumerate(protections.TABLE) if bits >> i & 1]


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
