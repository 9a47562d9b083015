"""Discharging: its parameters, and when a discharge is done.  Power is AC power at the inverter's terminals."""

from micropython import const

from firmware import image as im
from firmware import requests as rq
from firmware.charging import DONE_BAND
from firmware.checks import Checked
from firmware.limits import NAMES

_PACK_VOLTAGE = im.LIMIT_ROWS_DIS + NAMES.index("pack_voltage")
_CELL_VOLTAGE = im.LIMIT_ROWS_DIS + NAMES.index("cell_voltage")
_ODD_PACK = 1 << im.BMS_V_MIN - im.BMS_SOC  # of BMS_ODD
_ODD_CELL = 1 << im.CELL_V_MIN - im.BMS_SOC
_EMPTY_MS = const(5000)  # the minimum voltage must leave nothing for this long


class DischargeParams(Checked):
    """How far to discharge; 0 in a maximum means "as the battery and the configuration allow"."""

    WHERE = "discharge"
    ROWS = (
        ("discharge_current_max", "float", 0.0, 0, 1000, "A, 0: as the BMS allows"),
        ("discharge_power_max", "float", 0.0, 0, 1000, "kW AC, 0: as configured"),
        ("min_voltage", "float", 0.0, 0, 1500, "V of the pack, 0: as configuration and BMS allow"),
        ("min_soc", "float", 0.0, 0, 100, "%, 0: as configured; the higher of both counts"),
        ("timeout_minutes", "int", 0, 0, 10080, "min, 0: none"),
    )


class Discharger:
    """Watches one discharge at a time.  Called by the cycle: integers only, allocates nothing."""

    def __init__(self) -> None:
        self._empty_ms = 0

    def begin(self) -> None:
        """A new discharge starts."""
        self._empty_ms = 0

    def done(self, now, par) -> int:
        """How it has ended, a requests.END_*, or 0.

        The floor is reached, or the lowest voltage of pack or cell has left under 1 % of the rating for a while.
        """
        floor = par[im.PAR_SOC_MIN]
        if im.FREE != par[im.OP_SOC_MIN] > floor:
            floor = par[im.OP_SOC_MIN]
        if now[im.SOC] != im.NO_VALUE and now[im.SOC_LOW] <= floor + DONE_BAND:
            return rq.END_FLOOR
        low = par[im.PAR_P_DIS] // 100
        volts = now[im.BMS_V]
        odd = now[im.BMS_ODD]  # what was refused leaves nothing either, and ends nothing
        if volts <= 0:
            odd = _ODD_PACK | _ODD_CELL  # nor does a pack that says no voltage ...
        elif 0 < now[im.PCS_DC_V] < volts - volts // 8 or now[im.BMS_V_MIN] > volts + volts // 32:
            odd |= _ODD_PACK  # ... nor an inverter that measures another one on the same wires, and a bound far off is a stop
        if (now[_PACK_VOLTAGE] <= low and not odd & _ODD_PACK) or (now[_CELL_VOLTAGE] <= low and not odd & _ODD_CELL):
            self._empty_ms += now[im.DT]
        else:
            self._empty_ms = 0
        return rq.END_VOLTAGE if self._empty_ms >= _EMPTY_MS else 0
