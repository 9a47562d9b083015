"""What is written to an inverter is what is commanded when it is written: who is held up while reading brings no old setpoint."""

import asyncio
import time

from firmware import config
from firmware import image as im
from firmware.devices import connection, pcs_der, pcs_dialect, pcs_inverter, pcs_sunspec, sunspec
from firmware.devices import sunspec_tables as t
from firmware.devices.pcs_der import Der
from firmware.devices.pcs_inverter import Inverter
from host_tests.both.registers import Registers
from host_tests.both.virtual import Virtual
from modbus import ModbusError, ModbusTimeout

NUMBERS = {  # a staged tree has the numbers only
    "INVERTER_CONN": 4,
    "OP_CTL": 8,
    "STOR_OUT": 12,
    "WSET": 24,
    "WSET_ENA": 22,
    "X_RVRT_S": 16,
    "X_SET_SF": 17,
    "X_STOR_GRID": im.METER_P,
    "X_STOR_MAX": 25,
    "X_STOR_RVRT_S": 29,
    "X_STOR_SF": im.METER_P + 1,
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
        self.unread = []
        self.written = []  # (address, words)
        self.read_to_write = []  # of each read, whether it was for a command
        self.meanwhile = None
        self.meanwhile_at = 0  # of the requests that follow, the one in which it happens
        self.while_waiting = None  # happens before a write goes out

    @property
    def chain(self):
        return self

    def the(self, model):
        """An inverter of the older kind has model 103, of those that measure one."""
        return PLACES.get(model)

    def block(self, table, model=0, registers=None):
        """Of the models that power is not commanded by it has none."""
        place = PLACES.get(model or table[0])
        return None if place is None else Block(place)

    async def read(self, _block, to_write=False):
        self.read_to_write.append(to_write)
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


PLACES = {701: 500, 103: 500, 704: 1000, 124: 1000, 715: 2000, 123: 2000}


def inverter(dialect):
    image = im.Image()
    sun = Sun()
    one = dialect(sun, image, {"reversion_s": 5, "set_grid_charging": False}, None)
    asyncio.run(one.place())
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
        for refresh in (False, True):
            for watts in (0, -12000, 50000):
                one, sun, image = inverter(dialect)
                asyncio.run(one.command(True, False))
                assert powers(dialect, sun) == [30000] and starts(dialect, sun) == [1]
                sun.written = []
                command(image, 40000, 1)
                sun.meanwhile = lambda image=image, watts=watts: command(image, watts, 1)
                sun.meanwhile_at = 0
                asyncio.run(one.command(refresh, False))
                assert powers(dialect, sun) == [watts], (dialect, refresh)


def test_what_a_command_reads_goes_before_the_measurements_that_wait():
    for dialect in (Der, Inverter):
        one, sun, _ = inverter(dialect)
        assert not any(sun.read_to_write)  # while its blocks are placed
        sun.read_to_write = []
        asyncio.run(one.command(True, False))
        assert sun.read_to_write and all(sun.read_to_write)


def test_a_refresh_keeps_no_setpoint_waiting():
    for dialect in (Der, Inverter):
        one, sun, image = inverter(dialect)
        asyncio.run(one.command(True, False))
        sun.written = []
        asyncio.run(one.command(True, False))
        assert len(powers(dialect, sun)) == 1 and len(sun.written) > 1
        first = sun.written[0][0]
        assert first in (1000 + AT.WSET_ENA, 1000 + AT.WSET, 1000 + AT.STOR_OUT), "the timer is the same as before: it comes behind"


class Later:
    """A clock that only goes when it is told."""

    def __init__(self):
        self.ms = 1000
        self.ticks_add = time.ticks_add
        self.ticks_diff = time.ticks_diff

    def ticks_ms(self):
        return self.ms


def test_a_setpoint_that_changes_during_a_refresh_waits_for_one_more_request_at_most():
    pcs_der.time = clock = Later()
    one, sun, image = inverter(Der)
    asyncio.run(one.command(True, False))
    for at in range(1, 6):  # of a refresh: read, setpoint, timer, timer, read, heartbeat
        command(image, 30000, 1)
        asyncio.run(one.command(False, False))
        clock.ms += 1000  # the heartbeat is due
        watts = 31000 + at
        since = []

        def changes(image=image, watts=watts, since=since, sun=sun):
            command(image, watts, 1)
            since.append(len(sun.written))

        sun.written = []
        sun.meanwhile = changes
        sun.meanwhile_at = at
        asyncio.run(one.command(True, False))
        if powers(Der, sun)[-1] != watts:
            asyncio.run(one.command(False, False))  # the next look
        assert powers(Der, sun) == [30000, watts], at
        later = [address - 1000 for address, _ in sun.written[since[0] :]]
        assert later.index(AT.WSET) <= 1, (at, later)
        assert len(sun.written) == 5, "and the rest of the refresh is not left out"
    pcs_der.time = time


def test_so_it_does_where_one_is_commanded_by_limits_and_a_stop_is_0_w_first():
    for at in range(6):  # of a refresh: read, limits, mode, timer
        for watts, run in ((31000, 1), (0, 0)):
            one, sun, image = inverter(Inverter)
            asyncio.run(one.command(True, False))
            sun.written = []
            since = []

            def changes(image=image, watts=watts, run=run, since=since, sun=sun):
                command(image, watts, run)
                since.append(len(sun.written))

            sun.meanwhile = changes
            sun.meanwhile_at = at
            asyncio.run(one.command(True, False))
            asyncio.run(one.command(False, False))  # the next look
            if not since:
                continue
            later = [address for address, _ in sun.written[since[0] :]]
            assert powers(Inverter, sun)[-1] == watts, (at, watts)
            assert later.index(1000 + AT.STOR_OUT) <= 1, (at, watts, later)
            if not run:
                assert starts(Inverter, sun) == [0]
                assert later.index(1000 + AT.STOR_OUT) < later.index(2000 + AT.INVERTER_CONN), (at, later)


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


# an older inverter: models 1, 103 and 124 of zeroes, but for a rating of 10 kW and percents in hundredths
STORAGE = 40122
MAP = dict.fromkeys(range(40000, STORAGE + 28), 0)
MAP.update({40000: 0x5375, 40001: 0x6E53, 40002: 1, 40003: 66, 40070: 103, 40071: 50, STORAGE: 124, STORAGE + 1: 24})
MAP.update({STORAGE + 2: 10000, STORAGE + 25: 0xFFFE, STORAGE + 26: 0xFFFF})
TIMER, MODE = STORAGE + 15, STORAGE + 5  # what a refresh writes last, and before that


class SlowLine(Registers):
    """So long a write waits for its turn; `ended`: (address, when) of each, in ms."""

    def __init__(self, life, wait_ms):
        super().__init__(dict(MAP))
        self.life = life
        self.wait_ms = wait_ms
        self.ended = []

    async def write_registers(self, unit, address, values, count, function=16, fresh=None):
        if self.life.full:
            raise MemoryError("allocating 100 bytes")
        await asyncio.sleep_ms(self.wait_ms)
        await super().write_registers(unit, address, values, count, function, fresh)
        self.ended.append((address, self.life.us // 1000))


class Life:
    """A pcs_sunspec Device on such a line, whose control goes on."""

    def __init__(self, life, wait_ms, refresh_ms):
        options = config.check(pcs_sunspec.OPTIONS, {"host": "10.0.0.2", "refresh_ms": refresh_ms}, "pcs", [])
        self.life = life
        life.full = False
        self.image = im.Image()
        self.line = line = SlowLine(life, wait_ms)
        usual = connection.open_client
        connection.open_client = lambda name, options, buses, registers: line
        try:
            self.device = pcs_sunspec.Device("pcs", options, self.image, {})
        finally:
            connection.open_client = usual
        life.live(self.device)
        command(self.image, 5000, 1)

    def goes_on(self, ms):
        for _ in range(ms // 50):
            self.image.now[im.CMD_SEQ] += 1
            self.life.run(50)


def test_who_is_to_be_silent_writes_nothing_for_so_long_and_then_everything():
    for asked_ms, silent_ms in ((3000, 3000), (10**7, 60000)):
        with Virtual(pcs_sunspec, pcs_dialect, pcs_inverter, sunspec) as life:
            one = Life(life, 0, 1000)
            one.goes_on(3000)
            before = len(one.line.ended)
            assert before
            begun = life.us // 1000
            one.device.keep_silent(asked_ms)
            one.goes_on(silent_ms + 500)
            first = one.line.ended[before:][0][1] - begun
            assert silent_ms <= first <= silent_ms + 100, first
            assert {MODE, TIMER} <= {address for address, _ in one.line.ended[before:]}


def test_nothing_that_is_under_way_ends_the_silence_or_is_told_in_it():
    for fails in (False, True):
        for wait_ms in range(0, 350, 50):  # through a refresh
            with Virtual(pcs_sunspec, pcs_dialect, pcs_inverter, sunspec) as life:
                one = Life(life, 100, 1000)
                one.goes_on(3000)
                line = one.line
                before = len(line.ended)
                while len(line.ended) == before:
                    one.goes_on(50)
                one.goes_on(wait_ms)
                if fails:
                    line.refuse = _lost
                one.device.keep_silent(3000)
                begun = life.us // 1000
                one.goes_on(200)
                line.refuse = lambda address, count: 0
                one.goes_on(3300)
                first = next(when for _, when in line.ended if when > begun + 100) - begun  # what waited is not known to be late
                assert 3000 <= first <= 3250, (fails, wait_ms, first)


def _lost(address, count):
    raise ModbusTimeout("no answer")


def test_on_a_slow_line_a_refresh_counts_from_when_it_was_written():
    for wait_ms, refresh_ms in ((0, 1000), (300, 1000), (300, 700)):
        with Virtual(pcs_sunspec, pcs_dialect, pcs_inverter, sunspec) as life:
            one = Life(life, wait_ms, refresh_ms)
            one.goes_on(10000)
            line = one.line
        last = [i for i, (address, _) in enumerate(line.ended) if address == TIMER][1:-1]  # the first writes were no refresh
        between = [line.ended[i + 1][1] - wait_ms - line.ended[i][1] for i in last]
        assert len(between) >= 4 and min(between) >= refresh_ms, between
        assert max(between) <= refresh_ms + 50, between


def test_who_ran_out_of_heap_commands_everything_anew_when_it_is_started_again_and_measuring_goes_on():
    with Virtual(pcs_sunspec, pcs_dialect, pcs_inverter, sunspec) as life:
        one = Life(life, 0, 1000)
        one.goes_on(3000)
        life.full = True
        try:
            one.goes_on(2000)
            raise AssertionError("the application is told, and starts it again")
        except MemoryError:
            life.full = False
        written = len(one.line.ended)
        measured = one.image.inp[im.SEQ_PCS]
        one.goes_on(1500)
        assert len(one.line.ended) == written and one.image.inp[im.SEQ_PCS] > measured, "two tasks: one has not ended the other"
        for name, part in one.device.parts.items():
            life.start(name, part.run())
        one.goes_on(100)
        assert {MODE, TIMER} <= {address for address, _ in one.line.ended[written:]}


def test_a_device_that_is_started_again_is_not_commanded_twice():
    with Virtual(pcs_sunspec, pcs_dialect, pcs_inverter, sunspec) as life:
        one = Life(life, 0, 1000)
        one.goes_on(3000)
        for _ in range(3):  # as the application does after an error
            life.start("again", one.device.run())
        one.goes_on(1000)
        before = len(one.line.ended)
        one.goes_on(10000)
        refreshes = [address for address, _ in one.line.ended[before:] if address == TIMER]
        assert 9 <= len(refreshes) <= 11, "ten in ten seconds"
