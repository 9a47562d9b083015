"""What is written to an inverter is what is commanded when it is written: who is held up while reading brings no old setpoint."""

import asyncio
import time

from firmware import image as im
from firmware.devices import pcs_sunspec
from firmware.devices import sunspec_tables as t
from firmware.devices.pcs_der import Der
from firmware.devices.pcs_inverter import Inverter
from modbus import ModbusError

NUMBERS = {  # a staged tree has the numbers only
    "INVERTER_CONN": 4,
    "OP_CTL": 8,
    "STOR_OUT": 12,
    "WSET": 24,
    "WSET_ENA": 22,
    "X_RVRT_S": im.N_INPUTS + 16,
    "X_SET_SF": im.N_INPUTS + 17,
    "X_STOR_GRID": im.N_INPUTS + 30,
    "X_STOR_MAX": im.N_INPUTS + 25,
    "X_STOR_RVRT_S": im.N_INPUTS + 29,
    "X_STOR_SF": im.N_INPUTS + 31,
}


class AT:
    """Slots and offsets of sunspec_tables.py."""


for name in NUMBERS:
    setattr(AT, name, getattr(t, name, NUMBERS[name]))


class Sun:
    """Reads and writes take time, and `meanwhile` happens in each of them before it ends."""

    def __init__(self):
        self.values = [im.NO_VALUE] * 256
        for slot, value in (
            (AT.X_SET_SF, 0), (im.PCS_SETPOINT, 0), (AT.X_RVRT_S, 5), (AT.X_STOR_MAX, 100000), (AT.X_STOR_SF, -2),
            (AT.X_STOR_RVRT_S, 5), (AT.X_STOR_GRID, 1),
        ):  # fmt: skip
            self.values[slot] = value
        self.written = []  # (address, words)
        self.meanwhile = None
        self.meanwhile_at = 0  # of the requests that follow, the one in which it happens
        self.while_waiting = None  # happens before a write goes out

    async def read(self, _block):
        self._pass()
        return True

    async def write(self, address, words, count, _divisible, fresh=None):
        if self.while_waiting is not None:
            self.while_waiting()
        if fresh is not None:
            fresh()
        self.written.append((address, list(words[0:count])))
        self._pass()

    def _pass(self):
        if self.meanwhile is not None:
            if self.meanwhile_at == 0:
                self.meanwhile()
                self.meanwhile = None
            self.meanwhile_at -= 1


class Block:
    def __init__(self, address):
        self.address = address


def inverter(dialect):
    image = im.Image()
    sun = Sun()
    one = dialect(sun, image, {"reversion_s": 5, "set_grid_charging": False}, None)
    one._set = one._storage = Block(1000)
    one._control = one._connect = Block(2000)
    one._rating = None
    one._scale = im.NO_VALUE
    command(image, 30000, 1)
    return one, sun, image


def command(image, watts, run):
    image.now[im.CMD_P] = watts
    image.now[im.CMD_RUN] = run


def setpoint(dialect, words):
    if dialect is Der:
        watts = words[-2] << 16 | words[-1]
        return watts - (1 << 32) if watts >> 31 else watts
    return 10 * (words[0] - 0x10000 if words[0] >> 15 else words[0])  # 0.01 % of 100 kW


def powers(dialect, sun):
    """Every setpoint that was written, in W."""
    places = (1000 + AT.WSET_ENA, 1000 + AT.WSET) if dialect is Der else (1000 + AT.STOR_OUT,)
    return [setpoint(dialect, words) for address, words in sun.written if address in places]


def starts(dialect, sun):
    """Every start (1) and stop (0) that was written."""
    place = 2000 + (AT.OP_CTL if dialect is Der else AT.INVERTER_CONN)
    return [words[0] for address, words in sun.written if address == place]


def test_a_setpoint_is_the_one_that_is_commanded_when_it_is_written():
    for dialect in (Der, Inverter):
        for refresh, requests in ((False, 1), (True, 1), (True, 2)):
            for watts in (0, -12000, 50000):
                one, sun, image = inverter(dialect)
                asyncio.run(one.command(True, False))
                assert powers(dialect, sun) == [30000] and starts(dialect, sun) == [1]
                sun.written = []
                command(image, 40000, 1)
                sun.meanwhile = lambda image=image, watts=watts: command(image, watts, 1)
                sun.meanwhile_at = requests - 1
                asyncio.run(one.command(refresh, False))
                assert powers(dialect, sun) == [watts], (dialect, refresh, requests)


def test_an_inverter_that_may_not_switch_any_more_is_not_started():
    for dialect in (Der, Inverter):
        one, sun, image = inverter(dialect)
        asyncio.run(one.command(True, False))
        command(image, 0, 0)
        asyncio.run(one.command(False, False))
        assert starts(dialect, sun) == [1, 0] and powers(dialect, sun)[-1] == 0
        command(image, 20000, 1)
        sun.meanwhile = lambda image=image: command(image, 0, 0)
        sun.written = []
        asyncio.run(one.command(False, False))
        assert powers(dialect, sun) in ([], [0]) and starts(dialect, sun) in ([], [0])


def test_a_write_that_waits_for_its_turn_brings_the_setpoint_of_the_moment_in_which_it_goes_out():
    for dialect in (Der, Inverter):
        for refresh in (False, True):
            for watts in (0, -12000, 50000):
                one, sun, image = inverter(dialect)
                asyncio.run(one.command(True, False))
                sun.written = []
                command(image, 40000, 1)
                sun.while_waiting = lambda image=image, watts=watts: command(image, watts, 1)
                asyncio.run(one.command(refresh, False))
                assert powers(dialect, sun) == [watts], (dialect, refresh)
                asyncio.run(one.command(False, False))
                assert powers(dialect, sun) == [watts], "it is known what it holds"


def test_nor_does_a_start_go_out_late():
    for dialect in (Der, Inverter):
        one, sun, image = inverter(dialect)
        sun.while_waiting = lambda image=image: command(image, 0, 0)
        asyncio.run(one.command(True, False))
        assert 1 not in starts(dialect, sun) and set(powers(dialect, sun)) <= {0}


def test_what_nobody_renews_while_it_waits_is_not_written():
    def silent():
        raise ModbusError("nobody decides")

    for dialect in (Der, Inverter):
        one, sun, _ = inverter(dialect)
        one.check_control = silent
        try:
            asyncio.run(one.command(True, False))
            raise AssertionError("nobody renewed it")
        except ModbusError:
            pass
        assert sun.written == []


def test_on_a_slow_line_a_refresh_counts_from_when_it_was_written():
    class Late:
        reactive = None

        async def command(self, refresh, asleep):
            self.refresh = refresh
            await asyncio.sleep_ms(50)  # so long it waits for its turns
            self.done = time.ticks_ms()

        def forget(self):
            pass

    class Line:
        connections = 0
        baudrate = 9600

    options = {"bus": "rs485", "unit": 1, "longest_read": 125, "refresh_ms": 1000, "reactive": False}
    usual = pcs_sunspec.open_client
    pcs_sunspec.open_client = lambda name, options, buses, registers: Line()
    try:
        device = pcs_sunspec.Device("pcs", options, im.Image(), {})
    finally:
        pcs_sunspec.open_client = usual
    device._dialect = late = Late()
    device._refreshed = time.ticks_add(time.ticks_ms(), -options["refresh_ms"])
    asyncio.run(device._command(time.ticks_ms()))
    assert late.refresh and time.ticks_diff(device._refreshed, late.done) >= 0
