"""The spoilt groups and values of every image of a site of several: a Wire for each device's, and one for the site's own."""

from typing import Any

from firmware import image as im
from tools.soak.wire import Wire

BATTERY = tuple(range(im.SEQ_BMS, im.SEQ_BMS_FLAGS + 1))
INVERTER = (im.SEQ_PCS,)
SITE = (im.SEQ_METER, im.SEQ_PV, im.SEQ_IO)


class Wires:
    """`each`: name of a device, "" for the site: its Wire.  One image has one Wire, whoever writes it."""

    def __init__(self, image: Any, batteries: list[str], inverters: list[str]) -> None:
        """The names in the banks' order."""
        made: dict[int, Wire] = {}
        self.each: dict[str, Wire] = {}
        self.groups: dict[str, tuple[int, ...]] = {}
        rows: list[tuple[str, Any, tuple[int, ...]]] = [("", image, SITE)]
        rows += [(name, own, BATTERY) for name, own in zip(batteries, image.batteries, strict=True)]
        rows += [(name, own, INVERTER) for name, own in zip(inverters, image.inverters, strict=True)]
        for name, own, groups in rows:
            self.each[name] = made.setdefault(id(own), Wire(own))
            self.groups[name] = groups
        self._all = list(made.values())

    @property
    def busy(self) -> bool:
        """Anything is spoilt."""
        return any(wire.busy for wire in self._all)

    def spoil(self) -> None:
        """See Wire.spoil."""
        for wire in self._all:
            if wire.busy:
                wire.spoil()
