"""What a generic table writes is what is commanded when the request goes out, however long it waited before."""

from firmware import image as im
from firmware.devices import generic_writer
from firmware.devices.generic_writes import made
from firmware.devices.modbus_unit import ModbusUnit
from host_tests.both.virtual import Virtual
from modbus import ModbusTimeout
from modbus.client import PDU, Client, get16

OPTIONS = {"refresh_ms": 1000, "control_timeout_ms": 1500}
POWER = {"from": "CMD_P", "address": 10, "type": "int32"}
MAP = {"-1": 2, "0": 0, "1": 3}
WAY = {"from": "CMD_DIRECTION", "address": 50, "type": "uint16", "map": MAP}
SIZE = {"from": "CMD_MAGNITUDE", "address": 51, "type": "uint16"}
HALF_KINDS = ((WAY, SIZE), (SIZE, WAY))


class Wire(Client):
    """Before the request of number `at` goes out `meanwhile` happens; the first `busy` requests are answered with busy."""

    def __init__(self):
        super().__init__()
        self.held = {}
        self.written = []  # (address, words) of what the device took
        self.after = []  # what it held after each
        self.meanwhile = None
        self.at = 0
        self.busy = 0

    async def _exchange(self, slot, length):
        if self.meanwhile is not None and self.at == 0:
            self.meanwhile()
            self.meanwhile = None
        self.at -= 1
        if hasattr(slot, "fill"):
            slot.fill(PDU + length)
        frame = slot.frame
        if self.busy:
            self.busy -= 1
            frame[PDU] |= 0x80
            frame[PDU + 1] = 6
            return 2
        address = get16(frame, PDU + 1)
        if frame[PDU] == 6:
            words = [get16(frame, PDU + 3)]
        else:
            words = [get16(frame, PDU + 6 + 2 * i) for i in range(get16(frame, PDU + 3))]
        self.written.append((address, words))
        for i in range(len(words)):
            self.held[address + i] = words[i]
        self.after.append(dict(self.held))
        return 5


class Site:
    """A writer of these rows that has seen control count, and is told 5000 W; `wire`, `image`, `unit`: what it has to do with."""

    def __init__(self, life, rows, **more):
        self.life = life
        self.image = im.Image()
        self.wire = Wire()
        self.unit = ModbusUnit(self.wire, 1)
        options = dict(OPTIONS)
        options.update(more)
        self.writer = one = generic_writer.Writer(self.image, options, made(list(rows)), {-1: self.unit}, False, None)
        life.start("writer", one.run())
        command(self.image, 5000)
        life.run(10)
        command(self.image, 5000)
        assert self.wire.written == []

    def round(self, refresh=False):
        """Let it look and write, after so long that it writes everything again or at once."""
        if refresh:
            self.life.skip(OPTIONS["refresh_ms"])
        self.image.now[im.CMD_SEQ] += 1
        self.life.run(60)


def sites(*sets_of_rows, **more):
    """A site for each of them, one after the other, in a time of its own."""
    for rows in sets_of_rows:
        with Virtual(generic_writer) as life:
            yield Site(life, rows, **more)


def command(image, watts, run=1):
    image.now[im.CMD_P] = watts
    image.now[im.CMD_RUN] = run
    image.now[im.CMD_SEQ] += 1


def number(words):
    value = words[0] << 16 | words[1]
    return value - (1 << 32) if value >> 31 else value


def test_a_setpoint_is_the_one_of_the_moment_in_which_it_goes_out():
    for busy in (0, 1):
        for refresh in (False, True):
            for watts in (0, -3000, 7000):
                for site in sites([POWER]):
                    wire, image = site.wire, site.image
                    site.round()
                    assert number(wire.written[-1][1]) == 5000
                    if not refresh:
                        command(image, 6000)
                    wire.busy = busy
                    wire.at = busy
                    wire.meanwhile = lambda image=image, watts=watts: command(image, watts)
                    site.round(refresh)
                    assert [number(words) for _, words in wire.written[1:]] == [watts], (busy, refresh)
                    site.round()
                    assert len(wire.written) == 2  # it is known what the device holds


def test_one_register_too():
    for site in sites([{"from": "CMD_P", "address": 10, "function": 6}]):
        site.wire.meanwhile = lambda site=site: command(site.image, 5000, 0)
        site.round()
        assert site.wire.written == [(10, [0])]


def test_rows_of_one_request_are_of_one_instant():
    rows = [{"together": [{"from": "CMD_RUN", "address": 9}, POWER, {"from": "CMD_DIRECTION", "address": 12, "map": MAP}]}]
    for site in sites(rows):
        wire, image = site.wire, site.image
        wire.meanwhile = lambda image=image: command(image, -4000)
        site.round()
        assert wire.written == [(9, [1, 0xFFFF, 0xF060, 2])]
        command(image, 3000)
        wire.at = 0
        wire.meanwhile = lambda image=image: command(image, 3000, 0)
        site.round()
        assert wire.written[1:] == [(9, [0, 0, 0, 0])]


def test_a_float_too():
    for site in sites([{"from": "CMD_P", "address": 10, "type": "float32"}]):
        site.wire.meanwhile = lambda site=site: command(site.image, -2)
        site.round()
        assert site.wire.written == [(10, [0xC000, 0])]


def test_a_direction_that_changes_while_a_request_waits_never_meets_the_power_of_the_other():
    for before in (0, 5000):
        for first, second in ((5000, -3000), (-3000, 5000), (7000, 0), (0, -3000), (-3000, -100)):
            for at in range(5):
                for site in sites(*HALF_KINDS):
                    wire, image = site.wire, site.image
                    command(image, before)
                    site.round()
                    wire.after = []
                    command(image, first)
                    wire.at = at
                    wire.meanwhile = lambda image=image, second=second: command(image, second)
                    for _ in range(4):
                        site.round(True)
                    did = [power(held) for held in wire.after]
                    assert all(watts in (0, before, first, second) for watts in did), (before, first, second, at, did)
                    wanted = second if wire.meanwhile is None else first
                    assert did[-1] == wanted, (before, first, second, at, did)


def test_a_device_that_begins_anew_while_a_request_waits_never_meets_the_power_without_its_direction():
    for rows in HALF_KINDS:
        for anew in (2, 3):  # the direction that it begins with
            for at in range(3):
                for refresh in (False, True):
                    for site in sites(rows):
                        _begins_anew(site, anew, at, refresh)


def _begins_anew(site, anew, at, refresh):
    """It charges if it begins with discharging, and the other way round; then it is connected to again, by whoever measures it."""
    wire, image = site.wire, site.image
    watts = -5000 if anew == 3 else 5000
    command(image, watts)
    site.round()
    assert power(wire.held) == watts
    wire.after = []
    command(image, watts * 4 // 5)

    def restarts():
        wire.connections += 1
        wire.held = {50: anew, 51: 0}

    wire.at = at
    wire.meanwhile = restarts
    for _ in range(4):
        site.round(refresh)
    did = [power(held) for held in wire.after]
    assert all(each * watts >= 0 for each in did), (anew, at, refresh, did)
    assert did[-1] == watts * 4 // 5, (anew, at, refresh, did)


def power(held):
    return {0: 0, 2: -1, 3: 1}[held.get(50, 0)] * held.get(51, 0)


def test_who_may_not_run_any_more_is_not_started_after_a_turn():
    rows = HALF_KINDS[0] + ({"from": "CMD_RUN", "address": 60},)
    for at in range(3):
        for site in sites(rows):
            wire = site.wire
            wire.at = at
            wire.meanwhile = lambda site=site: command(site.image, 0, 0)
            site.round()
            runs = [words[0] for address, words in wire.written[at:] if address == 60]
            assert runs in ([], [0]), (at, wire.written)


def test_what_nobody_renews_while_it_waits_does_not_go_out():
    for busy in (0, 1):
        for site in sites([POWER], control_timeout_ms=30):
            site.wire.busy = busy
            site.wire.at = busy
            site.wire.meanwhile = lambda site=site: site.life.skip(50)
            site.round()
            assert site.wire.meanwhile is None and site.wire.written == []
            assert "the control cycle has not renewed the command for 30 ms" in site.unit.count.last_error
            for _ in range(4):
                site.round()
            assert len(site.wire.written) == 1, "somebody decides again"


VARS = {"from": "CMD_Q", "address": 20, "type": "int16", "scale": 10}


def test_reactive_power_is_left_alone_until_somebody_asks_for_it():
    for site in sites([POWER, VARS]):
        wire, image = site.wire, site.image
        for refresh in (False, True, True):
            site.round(refresh)
        assert [address for address, _ in wire.written] == [10, 10, 10], "P alone"
        image.now[im.CMD_Q] = 2500
        command(image, 5000)
        site.round()
        image.now[im.CMD_Q] = -2509
        site.round()
        assert wire.written[3:] == [(20, [250]), (20, [0x10000 - 250])], wire.written
        command(image, 5000, run=0)
        site.round()
        assert wire.written[-1] == (20, [0]), "none where it may not switch"
        command(image, 5000)
        image.now[im.CMD_Q] = 0
        site.round()
        before = len(wire.written)
        site.round(True)
        assert wire.written[before:] == [(10, [0, 5000]), (20, [0])], "from then on it is this controller's"


def test_reactive_power_in_one_request_with_power_goes_with_it():
    for site in sites([{"together": [POWER, {"from": "CMD_Q", "address": 12, "type": "int16"}]}]):
        site.round()
        site.image.now[im.CMD_Q] = -7
        site.round()
        assert site.wire.written == [(10, [0, 5000, 0]), (10, [0, 5000, 0x10000 - 7])]


def test_who_is_to_be_silent_writes_nothing_for_so_long_and_then_what_is_commanded():
    for asked_ms, refresh, quiet, more in ((480, False, 7, 3), (10**8, True, 56, 2)):  # rounds of 60 or 1060 ms; 60 s at most
        for site in sites([POWER, {"heartbeat": True, "address": 30}]):
            site.round()
            before = len(site.wire.written)
            site.writer.keep_silent(asked_ms)
            command(site.image, -3000)
            for _ in range(quiet):
                site.round(refresh)
            assert len(site.wire.written) == before, site.wire.written[before:]
            for _ in range(more):
                site.round(refresh)
            assert number([words for address, words in site.wire.written[before:] if address == 10][-1]) == -3000


def test_nothing_that_is_under_way_ends_the_silence_or_is_told_in_it():
    for fails in (False, True):
        for site in sites([POWER, {"from": "CMD_RUN", "address": 60}]):
            wire, writer = site.wire, site.writer
            site.round()
            before = len(wire.written)
            command(site.image, 3000)

            def meanwhile(wire=wire, writer=writer, fails=fails):
                wire.meanwhile = None
                writer.keep_silent(1000)
                if fails:
                    raise ModbusTimeout("no answer")

            wire.meanwhile = meanwhile
            wire.at = 0
            for _ in range(15):  # rounds of 60 ms
                site.round()
            assert wire.meanwhile is None and len(wire.written) == before, (fails, wire.written[before:])
            for _ in range(4):
                site.round()
            assert wire.written[before:] == [(10, [0, 3000]), (60, [1])], "then everything is told anew"


def test_power_that_changes_in_a_round_waits_for_one_more_request_at_most():
    others = [{"value": n, "address": 70 + n, "refresh": True} for n in range(6)]
    run = {"from": "CMD_RUN", "address": 60}
    for rows in ([POWER] + others + [run], others + [run, POWER], others[:3] + [POWER, run] + others[3:]):
        for at in range(8):
            for watts, runs in ((0, 0), (-3000, 1)):
                for site in sites(rows):
                    _changes_in_a_round(site, at, watts, runs)


def _changes_in_a_round(site, at, watts, runs):
    wire, image = site.wire, site.image
    site.round()
    before = len(wire.written)
    begun = []

    def changes():
        command(image, watts, runs)
        begun.append(len(wire.written))

    wire.at = at
    wire.meanwhile = changes
    site.round(True)
    site.round()
    later = [(address, words) for address, words in wire.written[begun[0] :]]
    told = [i for i, (address, words) in enumerate(later) if address == 10 and number(words) == watts]
    assert told[0] <= 1, (at, watts, [address for address, _ in later])
    assert [wire.held[address] for address in (10, 11, 60)] == [watts >> 16 & 0xFFFF, watts & 0xFFFF, runs]
    refreshed = {address for address, _ in wire.written[before:]}
    assert len(refreshed) == 8, "and the rest of the refresh is not left out"
