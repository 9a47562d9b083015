"""The meter at the point of connection behind a SunSpec meter model: 201 to 204 (integers), 211 to 214 (floats).

SunSpec's sign is ours: positive is import from the grid.  `reversed` turns it for current transformers that
were mounted the other way round.  Where a chain holds several meters, `which` names the one that is meant: the
production meter taken for the grid's would be worse than none.
"""

from micropython import const

from firmware import image as im
from firmware.devices import sunspec_tables as t
from firmware.devices.connection import CONNECTION_OPTIONS
from firmware.devices.sunspec import LONGEST_METER, Box, SunSpec
from firmware.devices.sunspec_chain import NeedsPerson

_OWN_OPTIONS = (
    ("period_ms", "int", 100, 20, 5000, "ms between measurements"),
    ("which", "str", "", 0, 64, "of several meters in one chain: its number, or part of its name"),
    ("reversed", "bool", False, 0, 0, "the current transformers face the other way: turn the sign of power"),
)
OPTIONS = (CONNECTION_OPTIONS, _OWN_OPTIONS)

_MODELS = const((201, 202, 203, 204, 211, 212, 213, 214))
_FLOATS = const(210)  # models above it

# points: begin (what can be true: slot, lowest, highest; copied from points.py by `make slots`)
# t.X_METER_P = im.METER_P
# t.X_METER_V = im.METER_V
# t.X_METER_I = im.METER_I
# t.X_METER_HZ = im.METER_HZ
# t.X_PHASE_V, 0, 600000
_RANGES = (
    t.X_METER_P, -200000000, 200000000,
    t.X_METER_V, 0, 1000000,
    t.X_METER_I, -1000000, 1000000,
    t.X_METER_HZ, 0, 100000,
    t.X_PHASE_V, 0, 600000,
)  # fmt: skip
# points: end


class Device(Box):
    """One meter."""

    def __init__(self, name: str, options: dict, image, buses: dict) -> None:
        from firmware.devices import connection  # here: whoever runs does not need it any more, see firmware/loading.py

        self.model = 0
        client = connection.open_client(name, options, buses, LONGEST_METER)
        longest, gap = connection.reading(options, client)
        sun = SunSpec(client, options["unit"], _RANGES, (t.X_METER_P,), LONGEST_METER, longest, gap, t.N_METER_VALUES)
        Box.__init__(self, name, sun, options["period_ms"])
        self._which = options["which"]  # the others have built it
        self._reversed = options["reversed"]
        self._image = image
        self._block = None  # where its measurement is

    async def place(self) -> None:
        """Find the model that it is measured by.  Raises NeedsPerson where there is none."""
        sun = self.sun
        self.model = await sun.choose(_MODELS, self._which)
        table = t.METER_FLOAT if self.model > _FLOATS else t.METER_INT
        self._block = sun.block(table, self.model) if self.model else None
        if self._block is None:
            raise NeedsPerson("there is no meter model (201 to 204, 211 to 214) in this chain")
        sun.forget()
        self.once.text = ""

    async def read(self, _now: int) -> None:
        """One measurement into the image.  A meter without power is none."""
        sun = self.sun
        if not await sun.read(self._block):
            return
        values = sun.values
        if values[t.X_METER_P] == im.NO_VALUE:
            sun.unit.reject("%s: power is not implemented, or not now" % self._block.place_of(t.X_METER_P))
            return
        inp = self._image.inp
        inp[im.METER_P] = -values[t.X_METER_P] if self._reversed else values[t.X_METER_P]
        voltage = values[t.X_METER_V]
        if voltage <= 0 < values[t.X_PHASE_V]:  # not implemented, for which some say 0
            voltage = values[t.X_PHASE_V]
            if self.model % 10 != 1:  # all but single phase: line to line, of a symmetrical three-phase system
                voltage = voltage * 1732 // 1000
        inp[im.METER_V] = voltage
        inp[im.METER_I] = values[t.X_METER_I]
        inp[im.METER_HZ] = values[t.X_METER_HZ] or (im.NO_VALUE if voltage > 0 else 0)  # no voltage has 0 Hz
        self._image.heard(im.SEQ_METER)
