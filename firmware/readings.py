"""The battery's readings in words: names and units of the image's BMS_* and CELL_* slots, for people."""

from firmware import image as im

TABLE = (  # from image.BMS_SOC on, one slot after the other: name, parts of its unit in one, unit
    ("state of charge", 100, "%"),
    ("state of health", 100, "%"),
    ("voltage", 10, "V"),
    ("current", 10, "A"),
    ("temperature", 10, "degC"),
    ("charge cut-off voltage", 10, "V"),
    ("discharge cut-off voltage", 10, "V"),
    ("charge current limit", 10, "A"),
    ("discharge current limit", 10, "A"),
    ("highest cell voltage", 1, "mV"),
    ("lowest cell voltage", 1, "mV"),
    ("highest cell temperature", 10, "degC"),
    ("lowest cell temperature", 10, "degC"),
    ("status", 1, ""),
)


def name(slot: int) -> str:
    """What the slot measures."""
    return TABLE[slot - im.BMS_SOC][0]


def words(slot: int, value: int) -> str:
    """Name, value and unit of a reading in its slot's unit: "temperature -150.0 degC"."""
    what, parts, unit = TABLE[slot - im.BMS_SOC]
    if value == im.NO_VALUE:
        return "no " + what
    return "%s %s %s" % (what, "%.1f" % (value / parts) if parts > 1 else value, unit)


def odd(bits: int) -> "list[str]":
    """The names behind a mask of BMS_ODD."""
    return [row[0] for i, row in enumerate(TABLE) if bits >> i & 1]
