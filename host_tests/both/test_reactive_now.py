"""Reactive power that is commanded while an inverter refuses what it was told before is told at once, not at the next refresh."""

import asyncio

from firmware import config
from firmware import image as im
from firmware.devices import connection, pcs_der, pcs_dialect, pcs_reactive, pcs_sunspec, sunspec
from host_tests.both.registers import Registers
from host_tests.both.test_stop_and_setpoint import NEW, NEWER
from host_tests.both.virtual import Virtual

REFRESH_MS = 5000
AT_ONCE_MS = 500  # some requests of 20 ms
REQUEST_MS = 20
ENABLE, SETPOINT = NEW[704] + 35, NEW[704] + 38  # VarSetEna and VarSetMod, VarSet
POWER = NEW[704] + 24  # WSet


class Line(Registers):
    """A request takes REQUEST_MS; whatever it is answered, before that `meanwhile` happens, once, while it is refused."""

    meanwhile = None
    refused = -1  # the address of which a write is refused
    at = -1  # the writes until `meanwhile` happens in one that is taken

    async def read_registers(self, unit, address, count, out, function=3, to_write=False):
        await asyncio.sleep_ms(REQUEST_MS)
        await super().read_registers(unit, address, count, out, function, to_write)

    async def write_registers(self, unit, address, values, count, function=16, fresh=None):
        fresh()
        self.at -= 1
        if self.at == 0:
            self.meanwhile()
        words = list(values[:count])
        await asyncio.sleep_ms(REQUEST_MS)
        self.refuse = lambda first, _: 3 if first == address == self.refused else 0
        try:
            await super().write_registers(unit, address, words, count, function)
        finally:
            if address == self.refused and self.meanwhile is not None:
                self.meanwhile()
                self.meanwhile = None
            self.refuse = lambda first, _: 0


class Site:
    """An inverter that runs at 5 kW; `line`: what it holds."""

    def __init__(self, life):
        self.life = life
        self.image = image = im.Image()
        options = {"host": "10.0.0.2", "refresh_ms": REFRESH_MS, "reactive": True}
        options = config.check(pcs_sunspec.OPTIONS, options, "pcs", [])
        self.line = line = Line(dict(NEWER))
        usual = connection.open_client
        connection.open_client = lambda name, options, buses, registers: line
        try:
            device = pcs_sunspec.Device("pcs", options, image, {})
        finally:
            connection.open_client = usual
        life.live(device)
        image.now[im.CMD_P] = 5000
        image.now[im.CMD_RUN] = 1
        self.goes_on(2000)

    def goes_on(self, ms):
        for _ in range(ms // 50):
            self.image.now[im.CMD_SEQ] += 1
            self.life.run(50)

    def holds(self):
        """VarSetEna, VarSetMod, VarSet."""
        registers = self.line.registers
        return registers[ENABLE], registers[ENABLE + 1], registers[SETPOINT] << 16 | registers[SETPOINT + 1]


def refused_and_overtaken(refused, var, run):
    """What it holds a moment after a write to `refused`, for 2000 var, was refused, when `var` and `run` came meanwhile."""
    with Virtual(pcs_sunspec, pcs_dialect, pcs_der, pcs_reactive, sunspec) as life:
        site = Site(life)
        line, now = site.line, site.image.now

        def meanwhile():
            line.refused = -1  # it takes everything again
            now[im.CMD_Q] = var
            now[im.CMD_RUN] = run

        line.refused = refused
        line.meanwhile = meanwhile
        now[im.CMD_Q] = 2000
        while line.meanwhile is not None:
            site.goes_on(50)
        site.goes_on(AT_ONCE_MS)
        return site.holds()


def test_another_setpoint_does_not_wait_for_a_refresh():
    for refused in (ENABLE, SETPOINT):
        assert refused_and_overtaken(refused, 1500, 1) == (1, 4, 1500), refused - SETPOINT


def test_nor_does_what_was_there_before():
    for var, run in ((0, 1), (2000, 0)):
        for refused in (ENABLE, SETPOINT):
            assert refused_and_overtaken(refused, var, run) == (0, 0, 0), (var, run, refused - SETPOINT)


def test_power_that_is_commanded_while_it_is_written_waits_for_one_more_request_at_most():
    for watts, run, var in ((4000, 1, 2000), (0, 0, 2000), (4000, 1, 0)):
        for at in range(1, 12):  # through more than a refresh
            with Virtual(pcs_sunspec, pcs_dialect, pcs_der, pcs_reactive, sunspec) as life:
                site = Site(life)
                line, now = site.line, site.image.now
                now[im.CMD_Q] = 2000
                site.goes_on(500)
                assert site.holds() == (1, 4, 2000)
                now[im.CMD_Q] = var
                begun = []

                def meanwhile(now=now, line=line, begun=begun, watts=watts, run=run):
                    now[im.CMD_P] = watts
                    now[im.CMD_RUN] = run
                    begun.append(len(line.written))

                line.at = at
                line.meanwhile = meanwhile
                while not begun:
                    site.goes_on(50)
                site.goes_on(AT_ONCE_MS)
                assert line.registers[POWER + 1] == watts, (watts, at)
                later = [address for address, _ in line.written[begun[0] + 1 :]]  # behind the one under way
                told = [i for i, address in enumerate(later) if address in (POWER, POWER - 2)]
                assert told[0] <= 1, (watts, var, at, [address - NEW[704] for address in later])
