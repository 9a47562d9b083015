"""Who bounds the power: limits that programs and people give, each with its owner and lifetime; the smallest binds.

The table is an int32 array that kernel/curtailment.py walks: ms left (0 none, FOREVER), W of discharge, W of charge.
"""

from array import array

from micropython import const

from firmware import image as im
from firmware.errors import PowerError
from firmware.requests import FOREVER

OWNERS = const(8)  # at most


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


def listed(table, owners: "list[str]") -> "list[dict]":
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
