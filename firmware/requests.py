"""Who asks for power, and who bounds it: claims, of which the highest live source wins, and limits with owners, of which the
smallest binds.  What is not renewed ends.

Both are int32 arrays that kernel/requests.py walks.  A claim: ms left (0 none, FOREVER), W (+ discharge), goal, target SoC; a
limit: ms left, W of discharge, W of charge.
"""

from array import array

from micropython import const

from firmware import image as im
from firmware.errors import PowerError

# The one priority list, highest first.  A list, as the words of a constant tuple are objects of 32 bytes each, not names.
SOURCES = [
    "emergency",
    "protection",  # what the battery needs, such as the BMS's force-charge
    "maintenance",
    "remote",  # the EMS
    "manual",  # a person: start_charging, set_constant_power, stop_operation
    "grid_service",  # droop, serving the load of an island
    "schedule",
    "optimiser",
    "idle",
]
PROTECTION = const(1)
MAINTENANCE = const(2)
REMOTE = const(3)
MANUAL = const(4)
GRID_SERVICE = const(5)
SCHEDULE = const(6)
OPTIMISER = const(7)
IDLE = const(8)  # nobody asks: 0 W

# goals
POWER = const(0)  # these watts, until the lifetime ends
CHARGE = const(1)  # charge by ChargeParams to the target SoC, at most these watts
DISCHARGE = const(2)  # discharge by DischargeParams at these watts
PAUSE = const(3)  # 0 W, and nobody below may move anything

# how an operation ended, in image.ENDED; reasons.py has the words
END_TARGET = const(1)
END_TAIL = const(2)
END_STAGES = const(3)
END_BMS = const(4)
END_FLOOR = const(5)
END_VOLTAGE = const(6)
END_TIME = const(7)
END_SPENT = const(8)
END_EMERGENCY = const(9)
END_STOP = const(10)

FOREVER = const(0x3FFFFFFF)
BY_PARAMS = const(10001)  # a charge's target SoC: the one of the ChargeParams, whatever they are by then

OWNERS = const(8)  # of limits, at most

ISLAND = "island"  # the owner of the claim that serves an island's load


class Claims:
    """The live claims.  Not thread-safe by itself: the manager's lock guards it.  Allocates nothing."""

    def __init__(self) -> None:
        self.table = array("i", [0] * (4 * IDLE))
        self.owners = [""] * IDLE

    def put(self, source: int, watts: int, ms: int, goal: int, target_soc: int, owner: str) -> None:
        """Set or renew a source's claim; ms is its lifetime, FOREVER for none."""
        at = source * 4
        table = self.table
        table[at] = ms
        table[at + 1] = watts
        table[at + 2] = goal
        table[at + 3] = target_soc
        self.owners[source] = owner

    def drop(self, source: int) -> None:
        """End a source's claim."""
        self.table[source * 4] = 0

    def drop_all(self) -> None:
        """End every claim."""
        for source in range(IDLE):
            self.table[source * 4] = 0


def listed(table, owners: "list[str]") -> "list[dict]":
    """What Claims' table and owners say, highest first: source, owner, kw, seconds left (None: no end), goal."""
    result = []
    for source in range(IDLE):
        left = table[source * 4]
        if left:
            result.append(
                {
                    "source": SOURCES[source],
                    "owner": owners[source],
                    "kw": table[source * 4 + 1] / 1000,
                    "seconds_left": None if left == FOREVER else left / 1000,
                    "goal": ("power", "charge", "discharge", "pause")[table[source * 4 + 2]],
                }
            )
    return result


class Curtailments:
    """The live limits.  Not thread-safe by itself: the manager's lock guards it."""

    def __init__(self) -> None:
        self.table = array("i", [0] * (3 * OWNERS))
        self.owners = [""] * OWNERS

    def put(self, owner: str, discharge: int, charge: int, ms: int) -> None:
        """Set or renew an owner's limits in W, image.FREE for none; both free: they end.  PowerError when all places are taken."""
        table = self.table
        at = -1
        for i in range(OWNERS):
            if table[3 * i] and self.owners[i] == owner:
                at = i
                break
            if at < 0 and not table[3 * i]:
                at = i
        if discharge == charge == im.FREE:
            if at >= 0 and self.owners[at] == owner:
                table[3 * at] = 0
            return
        if at < 0:
            raise PowerError("owner = %r: %d owners have given limits already: %s" % (owner, OWNERS, ", ".join(self.owners)))
        self.owners[at] = owner
        table[3 * at] = ms
        table[3 * at + 1] = discharge
        table[3 * at + 2] = charge


def limits_listed(table, owners: "list[str]") -> "list[dict]":
    """What Curtailments' table and owners say: owner, discharge_kw, charge_kw (None: not bounded), seconds_left (None: no end)."""
    found = []
    for i in range(OWNERS):
        left, discharge, charge = table[3 * i : 3 * i + 3]
        if left:
            found.append(
                {
                    "owner": owners[i],
                    "discharge_kw": None if discharge == im.FREE else discharge / 1000,
                    "charge_kw": None if charge == im.FREE else charge / 1000,
                    "seconds_left": None if left == FOREVER else left / 1000,
                }
            )
    return found
