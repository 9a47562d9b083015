"""A stop that comes while an inverter is being told something else takes its setpoint to 0 W too, and not at the next refresh."""

import asyncio

from firmware import config
from firmware import image as im
from firmware.devices import connection, pcs_der, pcs_dialect, pcs_inverter, pcs_sunspec, sunspec
from host_tests.both.registers import Registers
from host_tests.both.virtual import Virtual

REFRESH_MS = 1000
AT_ONCE_MS = 300  # some requests of 20 ms
REQUEST_MS = 20


def chain(*models):
    """Zeroes, but for what says which models they are; with the address of each model."""
    registers = {40000: 0x5375, 40001: 0x6E53}
    at = 40002
    places = {}
    for model, length in models:
        places[model] = at
        for i in range(length + 2):
            registers[at + i] = 0
        registers[at] = model
        registers[at + 1] = length
        at += length + 2
    registers[at] = 0xFFFF
    registers[at + 1] = 0
    return registers, places


OLDER, OLD = chain((1, 66), (103, 50), (123, 24), (124, 24))
OLDER[OLD[124] + 2] = 10000  # WChaMax, W
OLDER[OLD[124] + 25] = 0xFFFE  # percents in hundredths
NEWER, NEW = chain((1, 66), (701, 153), (704, 65), (715, 7))
# the map; where its setpoint is, of how many registers; where it is started and stopped
KINDS = (
    (OLDER, OLD[124] + 12, 2, OLD[123] + 4),
    (NEWER, NEW[704] + 24, 2, NEW[715] + 8),
)


class Line(Registers):
    """Every request takes REQUEST_MS; `left`: after so many more, `meanwhile` happens while one is under way."""

    def __init__(self, registers, meanwhile):
        super().__init__(dict(registers))
        self.left = -1
        self.meanwhile = meanwhile

    async def read_registers(self, unit, address, count, out, function=3, to_write=False):
        await self._takes_its_time()
        await super().read_registers(unit, address, count, out, function, to_write)

    async def write_registers(self, unit, address, values, count, function=16, fresh=None):
        await super().write_registers(unit, address, values, count, function, fresh)
        await self._takes_its_time()

    async def _takes_its_time(self):
        await asyncio.sleep_ms(REQUEST_MS // 2)
        self.left -= 1
        if self.left == 0:
            self.meanwhile()
        await asyncio.sleep_ms(REQUEST_MS // 2)


def told_after_a_stop(kind, requests):
    """The setpoint's registers and start or stop, a moment after a stop came in that request after a quiet while."""
    registers, setpoint, size, start = kind
    image = im.Image()

    def command(watts, run):
        image.now[im.CMD_P] = watts
        image.now[im.CMD_RUN] = run

    def goes_on(ms):
        for _ in range(ms // 50):
            image.now[im.CMD_SEQ] += 1
            life.run(50)

    with Virtual(pcs_sunspec, pcs_dialect, pcs_inverter, pcs_der, sunspec) as life:
        options = config.check(pcs_sunspec.OPTIONS, {"host": "10.0.0.2", "refresh_ms": REFRESH_MS}, "pcs", [])
        line = Line(registers, lambda: command(0, 0))
        usual = connection.open_client
        connection.open_client = lambda name, options, buses, registers: line
        try:
            device = pcs_sunspec.Device("pcs", options, image, {})
        finally:
            connection.open_client = usual
        life.live(device)
        command(5000, 1)
        goes_on(3000)
        assert line.registers[start] == 1 and [line.registers[setpoint + i] for i in range(size)] != [0] * size, "it runs"
        line.left = requests
        while line.left > 0:
            goes_on(50)
        goes_on(AT_ONCE_MS)
        return [line.registers[setpoint + i] for i in range(size)], line.registers[start]


def test_a_stop_in_any_request_leaves_no_setpoint_behind():
    for kind in KINDS:
        for requests in range(1, 60):  # through more than a whole refresh
            assert told_after_a_stop(kind, requests) == ([0, 0], 0), (kind[1:], requests)
