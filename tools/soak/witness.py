"""Sees when each group of values was really measured: what the image says of its age may be more, never less."""

from typing import Any

from firmware import image as im
from tools.sim.virtual.site import VirtualSite

_GROUPS = im.SEQ_IO + 1
_ROUNDING_MS = 2


class Witness:
    """Stands between an image and those who write to it."""

    def __init__(self, image: Any, site: VirtualSite) -> None:
        self._now = image.now
        self._site = site
        self._plant = site.plant
        self._measured_s: list[float | None] = [None] * _GROUPS
        self._write = image.heard
        image.heard = self._heard

    def _heard(self, seq: int) -> None:
        self._measured_s[seq] = self._site.measured_s(seq)
        self._write(seq)

    def younger_than_true(self) -> str:
        """A group that the image holds for younger than it is, in words; "" if there is none."""
        now, time_s = self._now, self._plant.time_s
        for seq, measured_s in enumerate(self._measured_s):
            if measured_s is not None:
                true_ms = (time_s - measured_s) * 1000
                if now[im.AGE + seq] + _ROUNDING_MS < true_ms:
                    return f"group {seq} is held to be {now[im.AGE + seq]} ms old, it was measured {true_ms:.0f} ms ago"
        return ""
