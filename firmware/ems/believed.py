"""What of an image's numbers the EMS is told: of a group that is older than control believes it none.

Allocates nothing once it is made.
"""

from array import array

from firmware import image as im
from firmware.ems import tables as t


class Believed:
    """The numbers of one image at a time: where nothing is too old, they are the image's own."""

    def __init__(self) -> None:
        self._copy = array("i", [0] * t.N_SLOTS)

    def of(self, image):
        """As image.now has them, up to the last one that the chain tells; for whoever asks next, they are another's."""
        now = image.now
        par = image.par
        groups = t.GROUPS
        found = now
        for i in range(0, len(groups), 4):
            if now[groups[i + 2]] > par[groups[i + 3]]:
                for slot in range(groups[i], groups[i + 1]):
                    if now[slot] != im.NO_VALUE:
                        if found is now:
                            found = self._copied(now)
                        found[slot] = im.NO_VALUE
        return found

    def _copied(self, now):
        copy = self._copy
        for slot in range(t.N_SLOTS):
            copy[slot] = now[slot]
        return copy
