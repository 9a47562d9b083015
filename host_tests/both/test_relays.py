"""The grid operator's relays: what each contact bounds, at the grid, and what holds while one is not known."""

import sys

from host_tests.both.test_io_board import FakeMachine, FakePin

_real = sys.modules.get("machine")
sys.modules["machine"] = FakeMachine
from rows import each  # noqa: E402

from firmware import image as im  # noqa: E402  (the pins must be ours when the service is imported)
from firmware.devices import connection, modbus_unit  # noqa: E402
from firmware.errors import ConfigError  # noqa: E402
from firmware.services import relays  # noqa: E402
from host_tests.both.plant import ALL, Plant  # noqa: E402
from modbus import rarer  # noqa: E402

if _real is None:
    del sys.modules["machine"]
else:
    sys.modules["machine"] = _real

IMPORT_14A = {"14a": {"input_pin": 32, "import_kw": 4.2}}
STEPS_9 = {
    "100": {"input_pin": 32, "export_percent": 100},
    "60": {"input_pin": 33, "export_percent": 60},
    "30": {"input_pin": 13, "export_percent": 30},
    "0": {"input_pin": 14, "export_percent": 0},
}
OPEN = 1  # of a pin that is pulled up
CLOSED = 0


class Records:
    """The journal of a site."""

    def __init__(self):
        self.lines = []
        self.records = self

    def log(self, _clock, name, data=0, _urgent=False):
        self.lines.append((name, data))


class App:
    """As much of the application as the relays look at."""

    def __init__(self):
        self.site = self
        self.buses = {}
        self.services = {"records": Records()}


def _options(inputs, **given):
    options = {row[0]: row[2] for row in each(relays.OPTIONS)}
    options.update(given)
    options["inputs"] = inputs
    errors = []
    relays.check_options("services.operator", options, errors)
    return options, errors


class Rig:
    """A plant with relays: `set` moves contacts, `run` lets time pass for both."""

    def __init__(self, inputs, has=ALL, **given):
        options, errors = _options(inputs, **given)
        assert errors == [], errors
        self.plant = Plant(has=has)
        FakePin.at.clear()
        self.app = App()
        self.service = relays.Service("operator", options, self.plant.pm, self.app)
        for pin in FakePin.at.values():
            pin.level = OPEN
        self.pm = self.plant.pm

    def ready(self):
        self.run(1)
        self.plant.ready()
        return self

    def set(self, **levels):
        for name, level in levels.items():
            FakePin.at[int(name[1:])].level = level

    def run(self, seconds):
        for _ in range(int(seconds * 20)):
            self.service.look(50)
            self.plant.cycle()

    def owners(self):
        """Whose limits there are."""
        return [one["owner"] for one in self.pm.curtailments()]

    def limits(self):
        """(kW of discharge, kW of charge) that the operator leaves of the battery's power."""
        found = [one for one in self.pm.curtailments() if one["owner"].startswith("operator")]
        return (found[0]["discharge_kw"], found[0]["charge_kw"]) if found else None


FREE_KW = 1000.0


def test_a_contact_that_closes_bounds_the_import_and_one_that_opens_frees_it():
    rig = Rig(IMPORT_14A).ready()
    rig.pm.set_constant_power(-30)
    rig.run(6)
    assert rig.plant.power < -29000
    rig.set(p32=CLOSED)
    rig.run(6)
    assert rig.limits() == (FREE_KW, 4.2) and -4200 <= rig.plant.power < -4000
    rig.set(p32=OPEN)
    rig.run(6)
    assert rig.limits() == (FREE_KW, FREE_KW) and rig.plant.power < -29000


def test_a_contact_of_the_other_sense_bounds_while_it_is_open_so_that_a_broken_wire_does():
    rig = Rig({"14a": {"input_pin": 32, "import_kw": 4.2, "contact": "opens"}}).ready()
    assert rig.limits() == (FREE_KW, 4.2)
    rig.set(p32=CLOSED)
    rig.run(2)
    assert rig.limits() == (FREE_KW, FREE_KW)


def test_the_site_s_own_surplus_charges_beside_what_may_be_imported():
    rig = Rig(IMPORT_14A)
    rig.plant.pv = 50000
    rig.ready()
    rig.set(p32=CLOSED)
    rig.run(4)
    assert rig.limits() == (FREE_KW, 34.2), "30 kW of surplus and 4.2 kW of the grid"


def test_export_is_bounded_at_the_grid_what_the_site_takes_is_not_exported():
    rig = Rig(STEPS_9, export_rated_kw=50).ready()
    rig.set(p33=CLOSED)
    rig.run(4)
    assert rig.limits() == (50.0, FREE_KW), "60 % of 50 kW and the load's 20 kW"
    rig.plant.load, rig.plant.pv = 0, 10000
    rig.run(4)
    assert rig.limits() == (20.0, FREE_KW), "10 kW of PV are exported already"
    rig.plant.pv = 60000
    rig.run(4)
    assert rig.limits() == (0.0, FREE_KW)


def test_export_in_steps_of_which_the_smallest_that_is_active_holds():
    rig = Rig(STEPS_9, export_rated_kw=50)
    rig.plant.load = 0
    rig.ready()
    for pin, kw in ((32, 50.0), (33, 30.0), (13, 15.0), (14, 0.0)):
        FakePin.at[pin].level = CLOSED
        rig.run(3)
        assert rig.limits() == (kw, FREE_KW), pin
    FakePin.at[14].level = OPEN
    rig.run(3)
    assert rig.limits() == (15.0, FREE_KW)


def test_without_a_meter_what_the_battery_moves_is_what_is_bounded():
    rig = Rig({"both": {"input_pin": 32, "import_kw": 4, "export_kw": 7}}, has=im.HAS_BMS | im.HAS_PCS).ready()
    rig.set(p32=CLOSED)
    rig.run(2)
    assert rig.limits() == (7.0, 4.0)


def test_while_the_meter_is_lost_nothing_is_given_to_a_grid_that_bounds_the_export():
    rig = Rig({"both": {"input_pin": 32, "import_kw": 4, "export_kw": 7}}).ready()
    rig.set(p32=CLOSED)
    rig.run(2)
    rig.plant.silent.add(im.SEQ_METER)
    rig.run(6)
    assert rig.limits() == (0.0, 4.0)


def test_a_contact_that_bounces_changes_nothing_until_it_is_steady():
    rig = Rig(IMPORT_14A, debounce_ms=200).ready()
    for _ in range(20):
        rig.set(p32=CLOSED)
        rig.run(0.1)
        rig.set(p32=OPEN)
        rig.run(0.1)
    assert rig.limits() == (FREE_KW, FREE_KW) and rig.service.counters()["changes"] == 1
    rig.set(p32=CLOSED)
    rig.run(0.3)
    assert rig.limits() == (FREE_KW, 4.2)


def test_a_contact_that_never_comes_to_rest_is_not_known_and_counts_as_active():
    """A loose wire that flaps ten times a second stood for "rests" for ever, also while the operator limited."""
    rig = Rig(IMPORT_14A).ready()

    def flap(seconds, pause_s=0.05):
        for _ in range(int(seconds / (2 * pause_s))):
            rig.set(p32=CLOSED)
            rig.run(pause_s)
            rig.set(p32=OPEN)
            rig.run(pause_s)

    flap(3)
    assert rig.limits() == (FREE_KW, FREE_KW)
    flap(3)
    assert rig.limits() == (FREE_KW, 4.2) and rig.owners() == ["operator: 14a unknown"]
    rig.run(2)
    assert rig.limits() == (FREE_KW, FREE_KW), "it is at rest again"
    rig.set(p32=CLOSED)
    rig.run(1)
    flap(8)
    assert rig.limits() == (FREE_KW, 4.2) and rig.owners() == ["operator: 14a unknown"]
    rig = Rig(IMPORT_14A, debounce_ms=10000)
    rig.run(11)
    rig.set(p32=CLOSED)
    rig.run(8)
    assert rig.service.counters()["14a"] == "rests", "no longer than it has to be looked at"


def test_from_power_on_until_a_contact_was_steady_it_counts_as_active():
    rig = Rig({"both": {"input_pin": 32, "import_kw": 4, "export_kw": 7}}, debounce_ms=500, has=im.HAS_BMS | im.HAS_PCS)
    assert rig.limits() == (7.0, 4.0)
    rig.run(0.3)
    assert rig.limits() == (7.0, 4.0)
    rig.run(2)
    assert rig.limits() == (FREE_KW, FREE_KW)


def test_an_unknown_contact_counts_as_the_site_says():
    rig = Rig({"both": {"input_pin": 32, "import_kw": 4, "export_kw": 7}}, has=im.HAS_BMS | im.HAS_PCS, fail_safe_import_kw=11)
    assert rig.limits() == (7.0, 11.0)
    rig = Rig({"both": {"input_pin": 32, "import_kw": 4, "export_kw": 7}}, has=im.HAS_BMS | im.HAS_PCS, fail_safe_export_kw=0)
    assert rig.limits() == (0.0, 4.0)


def test_where_one_is_always_active_none_is_a_broken_wire():
    rig = Rig(STEPS_9, export_rated_kw=50, one_active="export")
    rig.plant.load = 0
    rig.ready()
    assert rig.limits() == (0.0, FREE_KW), "nobody has closed any yet"
    rig.set(p33=CLOSED)
    rig.run(3)
    assert rig.limits() == (30.0, FREE_KW)
    rig.set(p33=OPEN)
    rig.run(3)
    assert rig.limits() == (0.0, FREE_KW)


def test_a_bound_that_tightens_does_at_once_and_one_that_loosens_waits_a_second():
    rig = Rig({"0": {"input_pin": 14, "export_kw": 0}}).ready()
    rig.set(p14=CLOSED)
    rig.run(3)
    assert rig.limits() == (20.0, FREE_KW)
    rig.plant.load = 5000
    rig.run(0.2)
    assert rig.limits() == (5.0, FREE_KW)


class Short:
    """Instead of a call: MemoryError at the calls that are given by their numbers from 1 on, else what it did."""

    def __init__(self, call, *fails):
        self.call = call
        self.fails = fails
        self.calls = 0

    def __call__(self, *given):
        self.calls += 1
        if self.calls in self.fails:
            raise MemoryError("memory allocation failed, allocating 16 bytes")
        return self.call(*given)


def look(rig, seconds):
    """As `run` of a service that is started again after what it raises."""
    for _ in range(int(seconds * 20)):
        try:
            rig.service.look(50)
        except MemoryError:
            pass
        rig.plant.cycle()


def test_a_tighter_bound_that_a_full_heap_did_not_let_it_give_is_given_at_the_next_look():
    rig = Rig({"0": {"input_pin": 14, "export_kw": 0}}).ready()
    rig.set(p14=CLOSED)
    rig.pm.set_constant_power(60)
    rig.run(8)
    assert rig.limits() == (20.0, FREE_KW)
    rig.pm.limit = Short(rig.pm.limit, 1)
    rig.plant.load = 5000
    look(rig, 3)
    assert rig.limits() == (5.0, FREE_KW) and rig.plant.power <= 5000, "0 kW are exported"


def test_whichever_call_meets_a_full_heap_the_bound_holds_and_one_limit_stays():
    for fails in ((1,), (2,), (2, 3, 4), (2, 4, 6), (1, 3, 5)):
        rig = Rig(STEPS_9, export_rated_kw=50).ready()
        rig.pm.limit = Short(rig.pm.limit, *fails)
        rig.set(p33=CLOSED)
        look(rig, 0.3)
        rig.set(p13=CLOSED)
        look(rig, 2)
        assert rig.owners() == ["operator: 30, 60"] and rig.limits()[0] == 35.0, (fails, rig.pm.curtailments())
        rig.set(p33=OPEN, p13=OPEN)
        look(rig, 2)
        assert rig.owners() == ["operator"] and rig.limits() == (FREE_KW, FREE_KW), fails


class Nameless:
    """A name that no heap is found for."""

    def __add__(self, _more):
        raise MemoryError("memory allocation failed, allocating 64 bytes")


def test_a_bound_waits_for_no_name():
    rig = Rig(IMPORT_14A).ready()
    one = rig.service.inputs[0]
    name, one.name = one.name, Nameless()
    rig.set(p32=CLOSED)
    look(rig, 1)
    assert rig.limits() == (FREE_KW, 4.2) and rig.owners() == ["operator"]
    one.name = name
    look(rig, 1)
    assert rig.limits() == (FREE_KW, 4.2) and rig.owners() == ["operator: 14a"]


def test_a_change_whose_line_found_no_heap_is_in_the_journal_all_the_same():
    rig = Rig(IMPORT_14A).ready()
    records = rig.app.services["records"]
    rig.run(31)
    records.log = Short(records.log, 1)
    rig.set(p32=CLOSED)
    look(rig, 1)
    assert records.lines[1:] == [("RELAY 14a", 1)]


def test_a_service_that_is_stopped_leaves_the_strictest_bounds():
    rig = Rig({"both": {"input_pin": 32, "import_kw": 4, "export_kw": 7}}, has=im.HAS_BMS | im.HAS_PCS).ready()
    rig.run(2)
    assert rig.limits() == (FREE_KW, FREE_KW)
    rig.service.stop()
    assert rig.limits() == (7.0, 4.0)
    rig.plant.run(60)
    assert rig.limits() == (7.0, 4.0), "they have no lifetime"


def test_each_change_is_in_the_journal_and_a_contact_that_flutters_does_not_fill_it():
    rig = Rig(IMPORT_14A).ready()
    lines = rig.app.services["records"].lines
    assert lines == [("RELAY 14a", 0)]
    rig.run(31)
    rig.set(p32=CLOSED)
    rig.run(1)
    assert lines[1:] == [("RELAY 14a", 1)]
    for _ in range(100):
        rig.set(p32=OPEN)
        rig.run(0.3)
        rig.set(p32=CLOSED)
        rig.run(0.3)
    assert len(lines) <= 5


def test_a_limit_that_stands_is_in_the_journal_however_soon_after_another_line_and_what_is_not_is_counted():
    rig = Rig(IMPORT_14A).ready()
    lines = rig.app.services["records"].lines
    rig.run(31)
    del lines[:]

    def switch(level, seconds):
        rig.set(p32=level)
        rig.run(seconds)

    switch(CLOSED, 1)
    assert lines == [("RELAY 14a", 1)]
    switch(OPEN, 20)
    switch(CLOSED, 20)
    switch(OPEN, 20)
    assert lines == [("RELAY 14a", 1), ("RELAY 14a", 0), ("RELAY 14a", 1), ("RELAY 14a", 0)]
    switch(CLOSED, 2)
    switch(OPEN, 40)
    assert lines[4:] == [("RELAY 14a changes", 2)], "too short for lines of their own"
    rig.run(100)
    assert len(lines) == 5


def test_a_contact_that_switches_every_few_seconds_for_twenty_minutes_does_not_fill_the_journal():
    rig = Rig(IMPORT_14A).ready()
    lines = rig.app.services["records"].lines
    rig.run(31)
    del lines[:]
    changes = rig.service.counters()["changes"]
    for _ in range(100):
        rig.set(p32=CLOSED)
        rig.run(6)
        rig.set(p32=OPEN)
        rig.run(6)
    assert len(lines) <= 40 + 12, len(lines)
    rig.run(60)
    told = sum(data if name == "RELAY 14a changes" else 1 for name, data in lines)
    assert told == rig.service.counters()["changes"] - changes == 200 and lines[-1] != ("RELAY 14a", 1), "each is in it"


def test_several_inputs_that_change_at_once_have_their_lines_within_seconds():
    rig = Rig(STEPS_9, export_rated_kw=50).ready()
    lines = rig.app.services["records"].lines
    rig.run(125)
    del lines[:]
    rig.set(p33=CLOSED, p13=CLOSED, p14=CLOSED)
    rig.run(17)
    assert sorted(lines) == [("RELAY 0", 1), ("RELAY 30", 1), ("RELAY 60", 1)]


def test_the_operator_is_the_reason_that_people_read():
    rig = Rig(IMPORT_14A).ready()
    rig.set(p32=CLOSED)
    rig.pm.set_constant_power(-30)
    rig.run(6)
    assert "operator" in rig.pm.stats()["reason"] and "4.2 kW" in rig.pm.stats()["reason"], rig.pm.stats()["reason"]


def test_what_binds_is_named_and_there_is_one_limit_at_a_time():
    rig = Rig(STEPS_9, export_rated_kw=50)
    assert rig.owners() == ["operator: 0 unknown, 100 unknown, 30 unknown, 60 unknown"]
    rig.ready()
    assert rig.owners() == ["operator"]
    rig.set(p33=CLOSED, p13=CLOSED)
    rig.run(2)
    assert rig.owners() == ["operator: 30, 60"]
    rig.set(p13=OPEN)
    rig.run(2)
    assert rig.owners() == ["operator: 60"]
    rig = Rig(STEPS_9, export_rated_kw=50, one_active="export").ready()
    assert rig.owners() == ["operator: none is active"]


def test_where_eight_have_given_limits_the_operator_s_still_holds():
    rig = Rig(IMPORT_14A).ready()
    for i in range(7):
        rig.pm.limit("owner %d" % i, 50, 50)
    rig.set(p32=CLOSED)
    rig.run(2)
    assert rig.limits() == (FREE_KW, 4.2) and len(rig.owners()) == 8
    rig.set(p32=OPEN)
    rig.run(3)
    assert rig.limits() == (FREE_KW, FREE_KW)


def test_a_surplus_that_flickers_gives_few_limits_and_none_that_is_too_large():
    rig = Rig(IMPORT_14A)
    rig.plant.pv = 50000
    rig.ready()
    rig.set(p32=CLOSED)
    rig.run(4)
    seen = set()
    for i in range(100):
        rig.plant.pv = 50000 + 40 * (i & 1)
        rig.run(0.05)
        seen.add(rig.limits()[1])
    assert seen == {34.2}, "whole steps of 100 W of the surplus, cut down"


class Unit:
    """As much of a device's ModbusUnit as an I/O module has: its client answers each read with the next of `samples`."""

    def __init__(self, _client, number):
        self.client = self.count = self
        self.number = number
        self.frames = 0
        self.samples = [0]
        self.note = self.notes = None

    def as_dict(self):
        return {}


class ModuleRig(Rig):
    """Relays whose inputs are a module's; `run` lets it be read when it would be, `samples` says what it then has."""

    def __init__(self, samples, round_ms=20, **given):
        self.before = modbus_unit.ModbusUnit, connection.open_client, relays.asyncio, rarer.read_bits
        modbus_unit.ModbusUnit, rarer.read_bits, relays.asyncio = Unit, self._read, self
        connection.open_client = lambda *_: None
        self.round_ms = round_ms
        self.wake_ms = self.at_ms = 0
        self.samples = samples  # function: which of them -> bit
        self.reads = 0
        try:
            Rig.__init__(self, {"0": {"bit": 0, "export_kw": 0}}, host="10.0.0.9", **given)
        finally:
            modbus_unit.ModbusUnit, connection.open_client, _, rarer.read_bits = self.before
        self.task = self.service.parts["operator_module"].run()

    def end(self):
        self.task.close()
        relays.asyncio = self.before[2]

    async def _read(self, _client, _unit, _first, _count, into, _function):
        await self.sleep_ms(self.round_ms)
        into[0] = self.samples(self.reads)
        self.reads += 1

    def sleep_ms(self, ms):
        self.wake_ms += ms
        return relays_pause()

    def run(self, seconds):
        for _ in range(int(seconds * 20)):
            self.at_ms += 50
            while self.wake_ms <= self.at_ms:
                self.task.send(None)
            self.service.look(50)
            self.plant.cycle()


class relays_pause:
    """Gives way to who plays the loop."""

    def __await__(self):
        yield

    __iter__ = __await__


def test_a_module_is_read_often_enough_to_be_known_or_refused():
    bit = {"0": {"bit": 0, "export_kw": 0}}
    for given, least in (({"poll_ms": 5000}, 10000), ({"lost_ms": 500}, 1000), ({"poll_ms": 100, "lost_ms": 500}, 600)):
        words = _options(bit, host="10.0.0.9", **given)[1]
        assert len(words) == 1 and words[0].startswith("services.operator.lost_ms = "), (given, words)
        assert "at least %d ms" % least in words[0] and "poll_ms = %d" % given.get("poll_ms", 500) in words[0], words
        assert _options(bit, host="10.0.0.9", **dict(given, lost_ms=least))[1] == []
    assert _options(bit, bus="rs485", poll_ms=100, lost_ms=500)[1] == [], "a bus has a time-out of its own"
    assert _options(IMPORT_14A, poll_ms=5000)[1] == [], "no module, nothing that could be lost"
    rig = ModuleRig(lambda n: 0, poll_ms=2000, lost_ms=4000, round_ms=450).ready()
    rig.run(5)
    seen = set()
    for _ in range(60):
        rig.run(0.5)
        seen.add(rig.limits())
    rig.end()
    assert seen == {(FREE_KW, FREE_KW)}, "a module that answers is known all the time"


def test_a_module_s_input_counts_as_changed_when_a_second_read_says_so_too():
    rig = ModuleRig(lambda n: 1 if n == 12 else 0, debounce_ms=300).ready()
    rig.run(10)
    assert rig.reads > 15 and rig.service.counters()["changes"] == 1, "what a single read met changes nothing"
    rig.end()
    rig = ModuleRig(lambda n: 1 if n == 12 else 0, debounce_ms=0).ready()
    rig.run(10)
    assert rig.service.counters()["changes"] == 3, "without debouncing each read counts"
    rig.end()
    level = [0]
    rig = ModuleRig(lambda n: level[0], debounce_ms=300).ready()
    rig.run(3)
    level[0] = 1
    rig.run(1)
    assert rig.service.counters()["0"] == "active", "it is asked again when the debouncing is over, not a whole poll_ms later"
    rig.end()


def test_what_is_wrong_with_the_inputs_is_named():
    pin = {"input_pin": 32, "import_kw": 4}
    for inputs, given, words in (
        ({}, {}, "1 to 4 inputs"),
        ({str(i): pin for i in range(5)}, {}, "1 to 4 inputs"),
        ([], {}, "1 to 4 inputs"),
        ({"a": 5}, {}, "inputs.a = 5"),
        ({"a": {"import_kw": 4}}, {}, "input_pin = -1, bit = -1: give one"),
        ({"a": {"input_pin": 32, "bit": 1, "import_kw": 4}}, {"host": "10.0.0.1"}, "give one of the two"),
        ({"a": {"input_pin": 32}}, {}, "limits nothing"),
        ({"a": {"input_pin": 32, "import_kw": 4, "import_percent": 40}}, {}, "import_kw and import_percent"),
        ({"a": {"input_pin": 32, "export_kw": 4, "export_percent": 40}}, {}, "export_kw and export_percent"),
        ({"a": {"input_pin": 32, "import_kw": 4, "pull": "down"}}, {}, "would close an open contact"),
        ({"a": {"input_pin": 32, "import_kw": 4, "closed_level": 1}}, {}, "would close an open contact"),
        ({"a": {"input_pin": 49, "import_kw": 4}}, {}, "inputs.a.input_pin = 49"),
        ({"a": {"input_pin": 32, "import_kv": 4}}, {}, "did you mean import_kw?"),
        ({"a": {"bit": 0, "import_kw": 4}}, {}, "give one, its inputs are a module's"),
        ({"a": {"bit": 0, "import_kw": 4}}, {"host": "10.0.0.1", "bus": "rs485"}, "give one, its inputs are a module's"),
        ({"a": pin}, {"host": "10.0.0.1"}, "no input has a bit"),
        ({"a": {"bit": 0, "import_kw": 4}, "b": {"bit": 125, "import_kw": 4}}, {"host": "10.0.0.1"}, "within 125"),
        ({"a": {"bit": 0, "import_kw": 4}}, {"bus": "rs485", "unit": 0}, "unit = 0"),
    ):
        errors = _options(inputs, **given)[1]
        assert errors and all(e.startswith("services.operator") for e in errors), (inputs, errors)
        assert any(words in e for e in errors), (inputs, errors)


def test_a_bus_that_is_not_there_is_named_and_the_bounds_hold_all_the_same():
    options, errors = _options({"a": {"bit": 0, "import_kw": 4}}, bus="rs486")
    assert errors == []
    plant = Plant()
    try:
        relays.Service("operator", options, plant.pm, App())
    except ConfigError as error:
        assert "rs486" in str(error)
    else:
        raise AssertionError("accepted")
    assert plant.pm.curtailments()[0]["charge_kw"] == 4.0
