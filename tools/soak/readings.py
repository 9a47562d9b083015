"""What two readings may do and one may not: the readings beyond a trip counted here again, from the inputs alone."""

from typing import Any

from firmware import image as im
from firmware.faults import TABLE
from firmware.modes import Mode

_ROWS = {row[0]: i for i, row in enumerate(TABLE)}
_OVER_VOLTAGE, _UNDER_VOLTAGE, _OVER_TEMPERATURE = (
    _ROWS[name] for name in ("cell_over_voltage", "cell_under_voltage", "over_temperature")
)
_KINDS = (_OVER_VOLTAGE, _UNDER_VOLTAGE, _OVER_TEMPERATURE)
_AGREED_MS = 6000  # two that agree have latched by then: 2 s that the fault must hold, and the cycles it takes
_AGREED_CYCLES = 4
_STEP_MS = 2000


class Readings:
    """Counts them; `check` after each cycle."""

    def __init__(self, manager: Any) -> None:
        self._now = manager.image.now
        self._par = manager.image.par
        self._seqs = self._now[0:4]
        self._in_a_row = [0, 0, 0]
        self._agreed_ms = 0
        self._agreed_cycles = 0
        self._was_emergency = self._now[im.MODE] == Mode.EMERGENCY  # one that stood before a reset

    def check(self, dt: int) -> str:
        """What is wrong with an emergency that came, or did not; "" if nothing is."""
        now = self._now
        seqs = now[0:4]
        if seqs != self._seqs:
            fresh = [new != old for new, old in zip(seqs, self._seqs, strict=True)]
            self._seqs = seqs
            self._count(fresh)
        emergency = now[im.MODE] == Mode.EMERGENCY
        came = emergency and not self._was_emergency
        self._was_emergency = emergency
        if came and now[im.CAUSE] in _KINDS and self._in_a_row[_KINDS.index(now[im.CAUSE])] < 2:
            return f"EMERGENCY by {TABLE[now[im.CAUSE]][0]} after one reading alone"
        if emergency or not self._must_latch():
            self._agreed_ms = self._agreed_cycles = 0
            return ""
        self._agreed_ms += min(dt, _STEP_MS)
        self._agreed_cycles += 1
        if self._agreed_ms > _AGREED_MS and self._agreed_cycles > _AGREED_CYCLES:
            return f"readings beyond a trip agree for {self._agreed_ms} ms ({self._in_a_row}) and there is no EMERGENCY"
        return ""

    def _count(self, fresh: list[bool]) -> None:
        now, par = self._now, self._par
        high, low, hottest = now[im.CELL_V_MAX], now[im.CELL_V_MIN], now[im.CELL_T_MAX]
        by_cells = hottest != im.NO_VALUE
        if not by_cells:
            hottest = now[im.BMS_TEMP]
        beyond = (
            high > par[im.PAR_CELL_TRIP_HI],
            im.NO_VALUE != low < par[im.PAR_CELL_TRIP_LO],
            hottest > par[im.PAR_T_TRIP_HI],
        )
        groups = (im.SEQ_BMS_CELLS, im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS if by_cells else im.SEQ_BMS)
        for k, group in enumerate(groups):
            if fresh[group]:
                self._in_a_row[k] = self._in_a_row[k] + 1 if beyond[k] else 0

    def _must_latch(self) -> bool:
        """Two or more hot readings, or of too high a cell that the pack's voltage bears out."""
        if self._in_a_row[2] >= 2:
            return True
        if self._in_a_row[0] < 2:
            return False
        now = self._now
        volts, high, low = now[im.BMS_V], now[im.CELL_V_MAX], now[im.CELL_V_MIN]
        if volts <= 0 or high == im.NO_VALUE:
            return False
        return low == im.NO_VALUE or (self._par[im.PAR_CELLS] - 1) * low + high <= 102 * volts
