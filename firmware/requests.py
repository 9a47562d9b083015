"""Who asks for power, and who bounds it: claims, of which the highest live source wins, and limits with owners, of which the
smallest binds.  What is not renewed ends.

Both are int32 arrays that kernel/requests.py walks.  A claim belongs to a source and an owner; among the owners of one source
the newest wins, and when it ends the one before takes over.  A claim, 6 numbers: ms left (0 none, FOREVER), W (+ discharge),
goal, target SoC, source, when it came; a limit, 3: ms left, W of discharge, W of charge.
"""

from array import array

from micropython import const

from firmware import image as im
from firmware.errors import PowerError

# The one priority list, highest first.  A list, as the words of a constant tuple are objects of 32 bytes each, not names.
SOURCES = (
    "emergency",
    "island",  # serving an island's load: what it takes is taken, whoever asks for something else
    "protection",  # what the battery needs, such as the BMS's force-charge
    "maintenance",
    "remote",  # the EMS
    "manual",  # a person: start_charging, set_constant_power, stop_operation
    "grid_service",  # droop, and what else serves a grid
    "schedule",
    "optimiser",
    "idle",
)
ISLAND = const(1)
PROTECTION = const(2)
MAINTENANCE = const(3)
REMOTE = const(4)
MANUAL = const(5)
GRID_SERVICE = const(6)
SCHEDULE = const(7)
OPTIMISER = const(8)
IDLE = const(9)  # nobody asks: 0 W

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
END_HIGH = const(11)
END_OFF = const(12)
END_DISABLED = const(13)
END_REMOVED = const(14)
END_BACK = const(15)  # the last that image.ENDED has bits for

FOREVER = const(0x3FFFFFFF)
MINUTES_MAX = const(10080)  # of an operation or a pause: a week
PERSON = "console"  # the owner whose limit without an end is kept over a reset: nobody renews it
BY_PARAMS = const(10001)  # a charge's target SoC: the one of the ChargeParams, whatever they are by then

OWNERS = const(8)  # of limits, at most
LAST_WORD = ", reversion value"  # behind an owner: its time is over, or it is silent, and it had said that this then stands

# of a claim's numbers
PARTS = const(6)
WATTS = const(1)
GOAL = const(2)
TARGET = const(3)
SOURCE = const(4)
CAME = const(5)
PLACES = const(16)  # the first of each source is its own, further owners share the rest


def _more(left: int, ms: int) -> int:
    """By how much what people are told lasts longer than what is renewed."""
    return FOREVER if left == FOREVER else left - ms


def _told(table, parts: int, more):
    """A copy of a table with the ms that people are told."""
    table = table[:]
    for place in range(len(more)):
        left = table[place * parts]
        if left and more[place]:
            table[place * parts] = FOREVER if FOREVER in (left, more[place]) else max(1, left + more[place])
    return table


class Claims:
    """The live claims.  Not thread-safe by itself: the manager's lock guards it.  Allocates nothing, but for people."""

    def __init__(self) -> None:
        self.table = array("i", [0] * (PARTS * PLACES))
        self.owners = [""] * PLACES
        self._more = array("i", [0] * PLACES)  # ms by which each lasts longer than it says, see lasts
        self._came = 0
        self.used = IDLE  # places: so many from the first have ever had a claim
        for source in range(IDLE):
            self.table[source * PARTS + SOURCE] = source

    def put(self, source: int, watts: int, ms: int, goal: int, target_soc: int, owner: str) -> None:
        """Set or renew an owner's claim; ms is its lifetime, FOREVER for none.  PowerError when all places are taken.

        What the manager, a person or the schedule asks for has one owner at a time: the next takes its place.  What a program
        claims as "schedule", a bare setpoint, is beside what an entry does.
        """
        place = self._place(source, owner, source in _SHARED or (source == SCHEDULE and goal == POWER))
        at = place * PARTS
        table = self.table
        if not table[at]:
            self._came += 1
            table[at + CAME] = self._came
        table[at] = ms
        table[at + WATTS] = watts
        table[at + GOAL] = goal
        table[at + TARGET] = target_soc
        self.owners[place] = owner
        self._more[place] = 0

    def lasts(self, source: int, owner: str, left: int) -> None:
        """Behind put: people are told that it lasts so many ms, as its owner goes on renewing it; FOREVER: no time."""
        for place in range(self.used):
            at = place * PARTS
            if self.table[at] and self.table[at + SOURCE] == source and self.owners[place] == owner:
                self._more[place] = _more(left, self.table[at])

    def told(self):
        """A copy of the table for people."""
        return _told(self.table, PARTS, self._more)

    def _place(self, source: int, owner: str, shares: bool) -> int:
        if not shares:
            return source
        free = source
        if source == SCHEDULE or (self.table[source * PARTS] and self.owners[source] != owner):
            free = -1
        for place in range(IDLE, PLACES):
            if not self.table[place * PARTS]:
                if free < 0:
                    free = place
            elif self.table[place * PARTS + SOURCE] == source and self.owners[place] == owner:
                return place
        if free < 0:
            raise PowerError("owner = %r: all claims are taken, by %s" % (owner, ", ".join(self._live())))
        if free >= self.used:
            self.used = free + 1
        self.table[free * PARTS + SOURCE] = source
        return free

    def _live(self) -> list:
        """The owners; apart, as a function with a comprehension over its own names allocates whenever it is called."""
        return [self.owners[i] for i in range(PLACES) if self.table[i * PARTS]]

    def drop(self, source: int) -> None:
        """End what all owners of a source claim; of "schedule" what an entry does."""
        self.table[source * PARTS] = 0
        if source != SCHEDULE:
            self.drop_programs(source)

    def drop_programs(self, source: int) -> None:
        """End what programs claim as "schedule"; of other sources what owners claim beside the first."""
        for place in range(IDLE, self.used):
            if self.table[place * PARTS + SOURCE] == source:
                self.table[place * PARTS] = 0

    def drop_owner(self, source: int, owner: str) -> None:
        """End what one owner of a source claims; of "schedule" what it claims as a program."""
        for place in range(IDLE if source == SCHEDULE else 0, PLACES):
            if self.table[place * PARTS + SOURCE] == source and self.owners[place] == owner:
                self.table[place * PARTS] = 0

    def drop_all(self, but_manual: bool = False) -> None:
        """End every claim; but_manual: that of a person stays."""
        for place in range(PLACES):
            if place != MANUAL or not but_manual:
                self.table[place * PARTS] = 0


_SHARED = (REMOTE, GRID_SERVICE, OPTIMISER)  # sources that several programs may be


def newest(table, source: int) -> int:
    """The place of a source's newest claim in Claims' table, of which the used places are enough; its first where there is none."""
    found = source
    for place in range(IDLE, len(table) // PARTS):
        if table[place * PARTS] and table[place * PARTS + SOURCE] == source:
            if not table[found * PARTS] or table[place * PARTS + CAME] > table[found * PARTS + CAME]:
                found = place
    return found


def listed(table, owners: "list[str]") -> "list[dict]":
    """What Claims' table and owners say, the one that wins first: source, owner, kw, seconds left (None: no end), goal."""
    live = [place for place in range(PLACES) if table[place * PARTS]]
    live.sort(key=lambda place: (table[place * PARTS + SOURCE], -table[place * PARTS + CAME]))
    result = []
    for place in live:
        left, watts, goal, _, source, _ = table[place * PARTS : (place + 1) * PARTS]
        result.append(
            {
                "source": SOURCES[source],
                "owner": owners[place],
                "kw": watts / 1000,
                "seconds_left": None if left == FOREVER else left / 1000,
                "goal": ("power", "charge", "discharge", "pause")[goal],
            }
        )
    return result


class Curtailments:
    """The live limits.  Not thread-safe by itself: the manager's lock guards it."""

    def __init__(self) -> None:
        self.table = array("i", [0] * (3 * OWNERS))
        self.owners = [""] * OWNERS
        self._more = array("i", [0] * OWNERS)  # as Claims has it

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
        self._more[at] = 0

    def lasts(self, owner: str, left: int) -> None:
        """As Claims.lasts."""
        for i in range(OWNERS):
            if self.table[3 * i] and self.owners[i] == owner:
                self._more[i] = _more(left, self.table[3 * i])

    def told(self):
        """As Claims.told."""
        return _told(self.table, 3, self._more)

    def lasting(self, owner: str) -> "list[int]":
        """An owner's limits without an end, W of discharge and of charge, image.FREE for none."""
        for i in range(OWNERS):
            if self.table[3 * i] == FOREVER and self.owners[i] == owner:
                return [self.table[3 * i + 1], self.table[3 * i + 2]]
        return [im.FREE, im.FREE]


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
