"""What a BMS may report as a protection or as a warning, and what a protection forbids: the one table of both.

A protection forbids the direction it is about, and never the other one; only what means that the battery must be
separated takes the system to STANDBY.  A warning (the same bits in BMS_ALARM) forbids nothing.  The table may stay in a
board's flash (lib/rows.py): it is read when a manager is made, and once when battery_words.py is loaded.
"""

from micropython import const
from rows import each

NOTHING = const(0)
CHARGE = const(1)
DISCHARGE = const(2)
BOTH = const(3)
SEPARATE = const(7)  # neither direction, and the contactors open

TABLE = (
    # in words, image.BMS_PROT_*, what it forbids as a protection
    ("over-voltage", 1, CHARGE),
    ("under-voltage", 2, DISCHARGE),  # a charge is what heals it
    ("over-temperature", 4, BOTH),
    ("under-temperature", 8, CHARGE),  # what is too cold to discharge the temperature row knows, and the BMS's own limits
    ("over-current discharging", 16, DISCHARGE),
    ("over-current charging", 32, CHARGE),
    ("system error", 64, SEPARATE),
    ("over-temperature for charging", 128, CHARGE),
    ("over-temperature for discharging", 256, DISCHARGE),
    ("under-temperature for charging", 512, CHARGE),
    ("under-temperature for discharging", 1024, DISCHARGE),
    ("short circuit", 2048, SEPARATE),
    ("contactor", 4096, SEPARATE),
    ("insulation", 8192, SEPARATE),
    ("cell imbalance", 16384, NOTHING),
    ("general alarm", 32768, NOTHING),
    ("modules block charging", 65536, NOTHING),
    ("modules block discharging", 131072, NOTHING),
    ("modules are offline", 262144, NOTHING),
    ("an alarm bit without a known meaning", 524288, NOTHING),
)


def masks() -> tuple:
    """The bits of all protections that forbid CHARGE, of those that forbid DISCHARGE, and of those that mean SEPARATE."""
    charge = discharge = separate = 0
    for _, bit, what in each(TABLE):
        if what & CHARGE:
            charge |= bit
        if what & DISCHARGE:
            discharge |= bit
        if what == SEPARATE:
            separate |= bit
    return charge, discharge, separate
