"""The fault table: what can go wrong, how long it must hold, how bad it is, and what the manager does about it.

The cycle works with masks and times made of the table when a manager is made, and the table itself stays in a board's
flash (lib/rows.py): go through it with `rows()`.

To add a fault: one row here, `make slots`, and one line in kernel/diagnosis.py that sets its condition.
"""

from array import array

from micropython import const
from rows import each

# severities
INFO = const(0)
WARNING = const(1)
FAULT = const(2)
EMERGENCY = const(3)
SEVERITIES = ("info", "warning", "fault", "emergency")

# reactions
NOTHING = const(0)
NO_CHARGE = const(1)
NO_DISCHARGE = const(2)
BOTH = const(3)  # neither direction, but stay connected
TRIP = const(7)  # neither direction, and to STANDBY until it is gone (auto_restart with back-off)

TABLE = (
    # name, cycles, ms it must hold, ms it must be gone, severity, reaction
    ("bms_lost", 1, 0, 1000, FAULT, TRIP),  # its age already is the debounce
    ("pcs_lost", 1, 0, 1000, FAULT, TRIP),
    ("meter_lost", 1, 0, 1000, WARNING, NOTHING),  # limits that need it are 0 by themselves
    ("pv_lost", 1, 0, 1000, WARNING, NOTHING),
    ("io_lost", 1, 0, 1000, FAULT, TRIP),
    ("emergency_stop", 1, 0, 500, EMERGENCY, TRIP),  # debounced at the pin
    ("bms_protection", 1, 0, 5000, FAULT, TRIP),  # what separates only: system error, short circuit, insulation, contactor
    ("bms_alarm", 1, 1000, 5000, WARNING, NOTHING),
    ("cell_over_voltage", 2, 200, 5000, EMERGENCY, TRIP),
    ("cell_under_voltage", 2, 2000, 5000, EMERGENCY, TRIP),
    ("over_temperature", 2, 2000, 30000, EMERGENCY, TRIP),
    ("under_temperature", 2, 2000, 30000, WARNING, NOTHING),  # derating has already taken the power
    ("soc_jump", 1, 0, 60000, WARNING, NOTHING),
    ("soc_disagrees", 1, 5000, 60000, WARNING, NOTHING),  # each direction already takes the worse voice
    ("pcs_fault", 1, 100, 2000, FAULT, TRIP),
    ("pcs_not_following", 3, 3000, 3000, FAULT, TRIP),
    ("overpower", 3, 1500, 2000, FAULT, TRIP),
    ("bms_frozen", 1, 0, 2000, FAULT, TRIP),
    ("pcs_frozen", 1, 0, 2000, FAULT, TRIP),
    ("current_mismatch", 3, 5000, 5000, FAULT, TRIP),
    ("contactor", 3, 2000, 2000, FAULT, TRIP),
    ("bms_no_charge", 1, 0, 1000, WARNING, NOTHING),  # a protection of the BMS forbids it; the limit row bms_forbids acts
    ("bms_no_discharge", 1, 0, 1000, WARNING, NOTHING),
    ("bms_value", 1, 0, 60000, WARNING, NOTHING),  # a value that cannot be true, or was not confirmed; costs itself
    ("two_batteries", 1, 0, 10000, FAULT, BOTH),  # two answer in turn on one bus
    ("breach", 1, 0, 10000, FAULT, TRIP),  # the cycle broke one of its own rules (kernel/invariants.py): 0 W already
    ("inverter_silent", 1, 0, 1000, WARNING, NOTHING),  # one of several in parallel; the others go on
    ("meter_frozen", 1, 0, 2000, WARNING, NOTHING),  # limits that need it are 0, as without it
)


def rows():
    """The table's rows, one by one."""
    return each(TABLE)


def debounce_rows() -> array:
    """The table's first three numbers, as kernel/diagnosis.py wants them: of 16 bits, and less than 65535."""
    numbers = array("H")
    for row in rows():
        for number in row[1:4]:
            numbers.append(number)
    return numbers


def mask(column: int, wanted: int) -> int:
    """The bits of all faults that have `wanted` in a column: 4 severity, 5 reaction (any of its bits)."""
    bits = 0
    for i, row in enumerate(rows()):
        if row[column] == wanted if column == 4 else row[column] & wanted:
            bits |= 1 << i
    return bits


def names(bits: int) -> "list[str]":
    """The names behind a mask of faults."""
    found: list = []
    for row in rows() if isinstance(TABLE, str) else TABLE:  # row by row of a generator is twice the work
        if not bits:
            break
        if bits & 1:
            found.append(row[0])
        bits >>= 1
    return found
