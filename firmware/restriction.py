"""What a program outside makes narrower of what is configured: the ramp, and charging from the grid.  Loaded with an EMS that may.

Like the control itself it is one owner's at a time; what is not renewed ends.
"""

from firmware import image as im
from firmware import requests as rq
from firmware.errors import PowerError


class Restriction:
    """The one of a site; it allocates nothing, and nothing of it goes beyond the configuration."""

    def __init__(self, pm) -> None:
        self.owner = ""  # whose it is; "": there is none
        self._lock = pm.image.lock
        self._par = pm.image.par
        self._ramp = self._par[im.PAR_RAMP_UP]  # as configured
        self._grid = self._par[im.PAR_GRID_CHG]
        self._left_ms = 0
        pm.arbiter.restriction = self

    def put(self, owner: str, ramp: int, grid: int, ms: int = rq.FOREVER) -> None:
        """Set or renew it: the ramp up in W/s at most, and whether the grid may charge, 0 or 1.  PowerError out of range."""
        if ramp < 1 or not 0 <= grid <= 1 or ms < 1 or not owner:
            form = "owner = %r, ramp = %r, grid = %r, ms = %r: must be a text, 1 W/s or more, 0 or 1, 1 ms or more"
            raise PowerError(form % (owner, ramp, grid, ms))
        with self._lock:
            self.owner = owner
            self._left_ms = ms
            self._par[im.PAR_RAMP_UP] = min(self._ramp, ramp)
            self._par[im.PAR_GRID_CHG] = min(self._grid, grid)

    def end(self) -> None:
        """All is as it is configured."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        self.owner = ""
        self._left_ms = 0
        self._par[im.PAR_RAMP_UP] = self._ramp
        self._par[im.PAR_GRID_CHG] = self._grid

    def step(self, dt: int) -> None:
        """So many ms later, in the cycle and under its lock."""
        if 0 < self._left_ms < rq.FOREVER:
            self._left_ms -= dt
            if self._left_ms <= 0:
                self._end()

    def forbids_grid(self) -> str:
        """Who does not let the grid charge where the configuration would; "": nobody."""
        return self.owner if self._grid and not self._par[im.PAR_GRID_CHG] else ""
