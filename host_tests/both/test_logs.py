"""The logs of a site: levels, what is said to people without its secrets, and how they are read."""

import os
import sys

from host_tests.both import scratch
from host_tests.both.test_io_board import FakeMachine

_real = sys.modules.get("machine")
sys.modules["machine"] = FakeMachine
import journal  # noqa: E402
import notice  # noqa: E402

from firmware.event_codes import Event  # noqa: E402
from firmware.faults import rows  # noqa: E402
from firmware.services import calls, records  # noqa: E402
from host_tests.both.plant import Plant  # noqa: E402

if _real is None:
    del sys.modules["machine"]
else:
    sys.modules["machine"] = _real

_ROOT = scratch.place("logs")
FAULTS = [row[0] for row in rows()]


class Clock:
    """Noon of a day of 2026."""

    def __init__(self):
        self.is_set = True
        self.day, self.sec, self.elapsed_s = 9822, 43200, 0

    def text_ago(self, _seconds):
        return "12:00"

    def pass_by(self, seconds):
        self.sec += seconds
        self.elapsed_s += seconds


class Site:
    secrets = ("correct horse battery",)


class App:
    """As much of the application as these services look at."""

    class metering:
        class loop_time:
            turn = None

    def __init__(self):
        self.site = Site()
        self.services = {}


class Rig:
    """A healthy site with its records in a folder of their own."""

    def __init__(self, name, **options):
        self.place = _ROOT + "-" + name
        self.plant = Plant()
        self.pm = self.plant.pm
        self.clock = self.pm.clock = Clock()
        self.app = App()
        given = {"place": self.place, "level": "info"}
        given.update(options)
        self.service = self.app.services["records"] = records.Service("records", given, self.pm, self.app)

    def post(self, event, data=0):
        self.pm.events.post(event, data, 0)
        while self.service.log_one():
            pass

    def logged(self):
        return [row[2:] for row in self.service.records.logged()]

    def read(self, path):
        """A log's file as a tool reads it, piece by piece; how many pieces, and the lines."""
        lines, at, pieces = [], 0, 0
        while True:
            found = list(self.service.log(path, at))
            pieces += 1
            lines += found[:-1]
            word, _, offset = found[-1].partition(" ")
            assert int(offset) - at == sum([len(line) + 1 for line in found[:-1]]), "so that who reads it sees what is missing"
            if word == "end":
                return pieces, lines
            assert word == "next", found[-1]
            assert sum([len(line) + 2 for line in found]) < 4096, "an answer of the console is cut there"
            at = int(offset)


def test_every_event_has_a_level_and_a_fault_has_that_of_its_severity():
    rig = Rig("levels", level="debug")
    for code in range(len(Event.names)):
        if code not in (Event.FAULT_RAISED, Event.FAULT_CLEARED):
            rig.post(code)
    levels = {row[0]: row[2] for row in rig.logged()}
    assert set(levels.values()) == {"E", "W", "I", "D"}
    assert levels["EMERGENCY"] == "E" and levels["COMMS_LOST"] == "W" and levels["FLOW_CHANGE"] == "D"
    for name, level in (("bms_lost", "E"), ("meter_lost", "W"), ("emergency_stop", "E")):
        rig.post(Event.FAULT_RAISED, FAULTS.index(name))
        assert rig.logged()[-1] == ["FAULT_RAISED " + name, FAULTS.index(name), level]
    rig.post(Event.FAULT_CLEARED, FAULTS.index("bms_lost"))
    assert rig.logged()[-1][2] == "I"
    rig.service.records.log(rig.clock, "EMS REFUSED 10.0.0.1 WSet", 5)
    assert rig.logged()[-1][2] == "W"
    rig.service.stop()


def test_what_is_below_the_level_of_the_site_is_not_kept():
    rig = Rig("least", level="warning")
    for event in (Event.FLOW_CHANGE, Event.MODE_CHANGE, Event.GRID_DISCONNECTED, Event.EMERGENCY):
        rig.post(event)
    assert [row[0] for row in rig.logged()] == ["GRID_DISCONNECTED", "EMERGENCY"]
    rig.service.stop()


def test_an_event_for_which_there_was_no_heap_is_logged_later_and_in_its_turn():
    rig = Rig("heap")
    usual = rig.service.records.log
    refusals = [MemoryError(), MemoryError()]

    def short(*row):
        if refusals:
            raise refusals.pop()
        usual(*row)

    rig.service.records.log = short
    rig.post(Event.EMERGENCY, -1)
    assert rig.logged() == []
    rig.post(Event.MODE_CHANGE, 4)
    rig.post(Event.GRID_CONNECTED)
    assert [row[0] for row in rig.logged()] == ["EMERGENCY", "MODE_CHANGE", "GRID_CONNECTED"]
    rig.service.stop()


def test_the_status_says_that_nothing_can_be_stored_as_long_as_it_is_so():
    rig = Rig("failing")
    rig.app.site.name, rig.app.path = "yard", "site.json"
    status = calls.Calls(rig.app, None).status
    rig.app.pm = rig.pm
    sink, notice.sink = notice.sink, lambda text: None

    def full(path, *_mode):
        raise OSError(28)

    def saved_at(second):
        for _ in rig.service.records.steps(second):
            pass
        return [line for line in status() if line.startswith("storage: ")]

    assert saved_at(1) == []
    journal.open = full
    try:
        rig.post(Event.EMERGENCY, -1)
        saved_at(2)
        assert "cannot store urgent events (" in saved_at(5)[0]
    finally:
        del journal.open
        notice.sink = sink
    assert saved_at(100) == []
    said = [row for row in rig.logged() if row[0] == "SAID"]
    assert [row[2] for row in said] == ["E", "I"] and "cannot store" in said[0][1]
    rig.service.stop()


def test_what_is_said_to_people_is_kept_without_secrets_and_not_without_end():
    rig = Rig("said")
    sink, notice.sink = notice.sink, lambda text: None
    try:
        notice.say("wifi: joined with correct horse battery")
        rig.app.site.secrets += ("hunter22",)  # of a service that was built later
        notice.say("pcs: restarted after OSError hunter22", True)
        for n in range(40):
            notice.say("meter: odd %d" % n)
        rows = rig.logged()
        assert rows[:2] == [["SAID", "wifi: joined with ***", "I"], ["SAID", "pcs: restarted after OSError ***", "E"]]
        assert len(rows) == 12 and rig.service.unsaid == 30
        rig.clock.pass_by(700)
        notice.say("x" * 1000)
        assert len(rig.logged()) == 13 and len(rig.logged()[-1][1]) == 160
        rig.service.stop()
        notice.say("after it was stopped")
        assert len(rig.logged()) == 13
    finally:
        notice.sink = sink
    rig.service.records.flush()
    for name in os.listdir(rig.place):
        with open(rig.place + "/" + name, "rb") as file:
            assert b"correct horse battery" not in file.read()


def test_another_file_is_not_read():
    rig = Rig("other")
    try:
        rig.service.log("site.json")
        raise AssertionError("site.json was read")
    except ValueError as error:
        assert "site.json" in str(error) and "allowed are" in str(error)
    rig.service.stop()
