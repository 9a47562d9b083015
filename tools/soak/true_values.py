"""What must hold where inverter and meter are on Modbus: the image holds what was true lately, and commands arrive as given.

A scale factor taken from another moment than its value is a power of ten here, whatever the driver's own checks say.
"""

from typing import Any

from firmware import image as im
from tools.sim.measure import NOISE_W
from tools.sim.virtual.wired import TRUTH_S, WiredSite

_READ_MS = 800  # values of a group that is older are not looked at: what was true then is not kept
_ROUNDING_W = 60.0  # half a step of the coarsest scale factor, and the driver's
_NOISE_W = 8 * NOISE_W
_STEP_W = 100  # of the coarsest scale factor of a setpoint
_HONEST_MS = 5000  # so long after a fault of theirs nothing is judged
_LISTENING_MS = 500
_STEADY_MS = 20000  # the slowest block has been read twice
_OFF = 0.03  # what is steady is read with that accuracy
_OFF_DC = 0.1  # a pack's voltage sags and rises meanwhile


class TrueValues:
    """Checks one WiredSite; `check` after each cycle."""

    def __init__(self, image: Any, site: WiredSite) -> None:
        self._now = image.now
        self._site = site
        self._honest_ms = 0  # how long both devices have answered with what they measure
        self._steady_ms = 0  # and nothing outside has changed
        self._active = 0  # faults of the site
        self._dc_ms = 0  # how long the inverter has had its DC voltage

    def check(self, dt: int, honest: bool, quiet_ms: int) -> str:
        """What is not true, in words; "" if nothing is.  quiet_ms: since something outside has changed."""
        read = min(dt, _LISTENING_MS)  # nobody reads while all is held up
        self._honest_ms = self._honest_ms + read if honest else 0
        active = len(self._site.active)
        self._steady_ms = self._steady_ms + read if honest and quiet_ms > dt and active == self._active else 0
        self._active = active
        self._dc_ms = self._dc_ms + read if self._site.plant.pcs.dc_present else 0
        written = self._site.written
        self._site.written = []
        if self._honest_ms < _HONEST_MS:
            return ""
        return self._powers() or self._commands(written) or (self._steady() if self._steady_ms > _STEADY_MS else "")

    def _powers(self) -> str:
        now, site = self._now, self._site
        for seq, slot, which in ((im.SEQ_PCS, im.PCS_P, 1), (im.SEQ_METER, im.METER_P, 2)):
            value = now[slot]
            if now[im.AGE + seq] > _READ_MS or value == im.NO_VALUE:
                continue
            true = [moment[which] for moment in site.truth]
            if not min(true) - _NOISE_W - _ROUNDING_W <= value <= max(true) + _NOISE_W + _ROUNDING_W:
                name = "inverter" if which == 1 else "meter"
                return f"the image holds {value} W of the {name}, true were {min(true):.0f} to {max(true):.0f} W within {TRUTH_S} s"
        return ""

    @staticmethod
    def _commands(written: list[tuple[float, list[int]]]) -> str:
        for watts, commanded in written:
            near = (given for given in commanded if abs(given) - _STEP_W < abs(watts) <= abs(given) + 0.5)
            if watts and not any(given * watts > 0 for given in near):
                return f"{watts:.0f} W are written to the inverter, commanded were {commanded[-12:]} W within {TRUTH_S} s"
        return ""

    def _steady(self) -> str:
        site, now = self._site, self._now
        plant = site.plant
        charge, discharge = plant.pcs.limits_w()
        grid_v, grid_mhz = plant.grid_v * 10, plant.grid_hz * 1000
        expected = [(im.PCS_P_CHG, charge, _OFF), (im.PCS_P_DIS, discharge, _OFF)]
        if plant.grid_present:
            expected += [(im.PCS_V, grid_v, _OFF), (im.METER_V, grid_v, _OFF)]
            expected += [(im.PCS_HZ, grid_mhz, _OFF), (im.METER_HZ, grid_mhz, _OFF)]
        if self._dc_ms > _STEADY_MS:
            expected.append((im.PCS_DC_V, plant.pack.voltage_v * 10, _OFF_DC))
        for slot, true, off in expected:
            if now[slot] != im.NO_VALUE and abs(now[slot] - true) > off * true + 200:
                return f"slot {slot} of the image holds {now[slot]}, true is {true:.0f}"
        return ""
