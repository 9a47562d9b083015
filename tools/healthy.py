"""The healthy site at rest, as firmware/points.py has it: what tests and simulated plants report unless they say otherwise."""

from rows import each

from firmware import points


def healthy(block: str = "") -> list:
    """(slot, value, SEQ slot of its group or None) of everything that it reports, or that a block of it does."""
    rows = [row for row in each(points.MEASURED) if row[8] is not None]
    return [(row[1], row[8], row[5]) for row in rows if not block or row[0] == block]
