"""Energy of the site in kWh: what the site's history has summed up, else the battery's of the records and the grid's since boot.

The service `history` keeps all of it over a reset and a power cut.  Without it the battery's own is what the cycle counts, over its
life where the site keeps records, and what the grid and the PV give is integrated here once a second, since boot: who reads it as
`total_increasing` counts on from 0.
"""

from array import array

from micropython import const

from firmware import believed
from firmware import image as im

_OF = (im.METER_P, im.METER_P, im.PV_P, im.LOAD_P)  # import, export, PV, load
_EXPORT = const(1)
_NAMES = const(("grid_import", "grid_export", "pv_energy", "load_energy"))
_HISTORYS = const(("charged", "discharged", "imported", "exported", "pv", "load"))  # its names of battery_* and these
_WH = const(3600000)  # W ms
_LATE_MS = const(5000)  # longer than that nobody looked: what flowed meanwhile is not known


class Energy:
    """services: the application's, of which one may have totals(); records: the site's, or None."""

    def __init__(self, image, services: dict, records) -> None:
        self._now = image.now
        self._par = image.par
        self._services = services
        self._records = records
        self._wh = array("i", (0, 0, 0, 0))
        self._rest = array("i", (0, 0, 0, 0))  # W ms

    def count(self, ms: int) -> None:
        """So many ms have passed.  What is not measured, or too old, is not counted."""
        ms = max(0, min(ms, _LATE_MS))
        for i in range(len(_OF)):
            watts = believed.value(self._now, self._par, _OF[i])
            if watts == im.NO_VALUE:
                continue
            if i == _EXPORT:
                watts = -watts
            if watts > 0:
                sum_ms = self._rest[i] + watts * ms
                self._wh[i] += sum_ms // _WH
                self._rest[i] = sum_ms % _WH

    def figures(self):
        """Key and kWh, None where it was never measured."""
        for service in self._services.values():
            if hasattr(service, "totals"):
                totals = service.totals()
                for name, known in zip(("battery_charged", "battery_discharged") + _NAMES, _HISTORYS):
                    yield name, None if totals[known] is None else totals[known] / 1000
                return
        now = self._now
        if self._records is not None:
            energy = self._records.energy()
            yield "battery_charged", energy["in_wh"] / 1000
            yield "battery_discharged", energy["out_wh"] / 1000
        else:
            yield "battery_charged", im.energy_wh(now, im.E_IN_TURNS, im.E_IN_WH) / 1000
            yield "battery_discharged", im.energy_wh(now, im.E_OUT_TURNS, im.E_OUT_WH) / 1000
        for i, name in enumerate(_NAMES):
            yield name, self._wh[i] / 1000
