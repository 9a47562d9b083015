"""The page's commands and the seat: it is kept for as long as what was commanded there lasts, and local control for a time ends."""

import time

from httpd.answer import Refused

from firmware import remote
from firmware.charging import ChargeParams
from firmware.modes import Mode
from firmware.services.lines import SERVICE
from firmware.web import commanding
from host_tests.both.emscan import Clock
from host_tests.both.plant import Plant


class Session:
    """Somebody who has logged in."""

    who = "web: service 10.0.0.1"
    role = SERVICE
    second_ms = 0
    commands = 0


class App:
    """As far as commands look at it."""

    def __init__(self, pm):
        self.pm = pm
        self.services = {}


class Other:
    """An EMS."""

    def who(self, number):
        return "10.0.0.9"


class Rig:
    """The page's commands on a plant, on the plant's time."""

    def __init__(self, **config):
        self.plant = Plant(**config).ready()
        self.pm = self.plant.pm
        self.clock = Clock(self.plant)
        self.page = commanding.Commanding(App(self.pm), 1000)

    def __enter__(self):
        commanding.time = remote.time = self.clock
        return self

    def __exit__(self, *error):
        commanding.time = remote.time = time

    def do(self, what, **given):
        """What was said to a command; of a refusal its status and words."""
        given["do"] = what
        given["confirm"] = True
        with self:
            try:
                return self.page.run(Session, given, self.plant.ms)
            except Refused as error:
                return error.status, error.words

    def run(self, seconds):
        for _ in range(int(seconds)):
            self.plant.cycles(4, 250)
            with self:
                self.page.step(self.plant.ms)

    def local(self, on):
        """As a person at the console."""
        with self:
            self.pm.remote.set_local(on)

    def is_free(self):
        """Whether an EMS that comes now gets the seat; it gives it back at once."""
        other = Other()
        with self:
            got = not self.pm.is_local and self.pm.remote.take(other, 3, self.plant.ms, 5000)
            self.pm.remote.leave(other, 3)
        return got

    def operation(self):
        return [(claim["goal"], claim["kw"]) for claim in self.pm.claims() if claim["source"] == "manual"]


def test_the_seat_is_kept_while_the_operation_lasts_and_free_when_its_time_is_over():
    for what, given in (
        ("power", {"kw": 5}), ("charge", {"soc": 80}), ("discharge", {"kw": 5}), ("pause", {}), ("limit", {"charge_kw": 5}),
    ):  # fmt: skip
        rig = Rig()
        assert not isinstance(rig.do(what, minutes=3, **given), tuple), what
        rig.run(175)
        assert not rig.is_free(), what
        rig.run(7)
        assert rig.is_free(), what


def test_what_was_stopped_keeps_no_seat_for_longer_than_the_command_that_followed():
    rig = Rig()
    rig.do("power", kw=3, minutes=1440)
    rig.run(100)
    assert rig.do("stop") == rig.do("start") == "accepted"
    rig.run(57)
    assert not rig.is_free(), "who has just commanded without a time keeps it for a minute"
    rig.run(5)
    assert rig.is_free()


def test_what_a_person_or_an_emergency_has_ended_keeps_no_seat():
    def emergency(pm):
        pm.emergency_shutdown()

    for end in (lambda pm: pm.stop(), lambda pm: pm.resume(), emergency):
        rig = Rig()
        rig.do("power", kw=3, minutes=1440)
        rig.run(100)
        end(rig.pm)
        rig.run(2)
        assert rig.is_free()


def test_a_charge_that_is_complete_keeps_no_seat():
    rig = Rig()
    rig.do("charge", soc=50.5, minutes=1440)
    rig.run(100)
    assert not rig.is_free()
    rig.plant.until(lambda: not rig.operation(), 4000, 500)
    rig.run(2)
    assert rig.is_free()


def test_limits_of_the_page_keep_the_seat_when_its_operation_has_ended():
    rig = Rig()
    rig.do("power", kw=3, minutes=1)
    rig.do("limit", discharge_kw=2, minutes=3)
    rig.run(100)
    assert not rig.is_free()
    rig.run(85)
    assert rig.is_free()


def test_minutes_may_be_said_as_a_number_with_a_point_and_what_is_refused_changes_nothing():
    for what, given in (
        ("power", {"kw": 5}), ("charge", {"soc": 80}), ("discharge", {"kw": 5}), ("pause", {}), ("limit", {"charge_kw": 5}),
        ("take", {}),
    ):  # fmt: skip
        rig = Rig()
        assert not isinstance(rig.do(what, minutes=2.0, **given), tuple), what
        for wrong in (2.5, 0, "2", None, True, 1e30):
            rig = Rig()
            status, words = rig.do(what, minutes=wrong, **given)
            assert status == 400 and "minutes" in words, (what, wrong)
            assert not rig.pm.is_local and not rig.operation() and rig.is_free(), (what, wrong)


def test_a_limit_without_a_bound_is_none():
    rig = Rig()
    assert not isinstance(rig.do("limit", minutes=5, discharge_kw=20), tuple)
    for given in ({}, {"discharge_kw": None}, {"discharge_kw": None, "charge_kw": None}):
        status, words = rig.do("limit", minutes=5, **given)
        assert status == 400 and "missing" in words, given
    assert [row["discharge_kw"] for row in rig.pm.curtailments()] == [20.0], "what stood stands"


def test_the_operation_of_a_person_at_the_console_is_none_of_the_page_s():
    for by in (lambda pm: pm.set_constant_power(7), lambda pm: pm.set_constant_power(3), lambda pm: pm.start_charging(60, 1440)):
        rig = Rig()
        rig.do("power", kw=3, minutes=60)
        rig.run(100)
        by(rig.pm)
        found = rig.operation()
        rig.run(2)
        assert rig.is_free()
        assert rig.do("give_back") == "given back" and rig.operation() == found
    rig = Rig()
    rig.pm.set_constant_power(7)
    rig.do("limit", discharge_kw=2, minutes=3)
    rig.do("give_back")
    assert rig.operation() == [("power", 7)] and rig.pm.curtailments() == []


def test_new_parameters_of_a_charge_change_nothing_of_whose_it_is():
    rig = Rig()
    rig.do("charge", soc=0, minutes=60)
    rig.pm.set_charge_params(ChargeParams(target_soc=80, timeout_minutes=5))
    rig.run(100)
    assert not rig.is_free()
    rig.do("give_back")
    assert rig.operation() == []


def test_give_back_ends_what_was_commanded_under_local_control():
    rig = Rig()
    rig.do("take", minutes=5)
    rig.do("power", kw=3, minutes=60)
    assert rig.operation() == [("power", 3)]
    assert rig.do("give_back") == "given back"
    assert rig.operation() == [] and not rig.pm.is_local and rig.is_free()


def test_local_control_for_a_time_ends_and_what_was_commanded_in_it_has_the_seat_then():
    rig = Rig()
    rig.do("take", minutes=1)
    rig.do("power", kw=3, minutes=3)
    rig.run(58)
    assert rig.pm.is_local and not rig.is_free()
    rig.run(3)
    assert not rig.pm.is_local and rig.operation() == [("power", 3)]
    assert rig.pm.remote.client(rig.page) == 0 and not rig.is_free()
    rig.run(125)
    assert rig.is_free()
    rig.do("take", minutes=1)
    rig.run(62)
    assert not rig.pm.is_local and rig.is_free()


def test_a_person_at_the_console_who_takes_the_control_from_the_page_has_it_for_good():
    rig = Rig()
    rig.do("take", minutes=1)
    rig.local(True)
    rig.run(120)
    assert rig.pm.is_local
    for what, given in (("take", {}), ("power", {"kw": 3})):
        status, words = rig.do(what, minutes=1, **given)
        assert status == 409 and "a person at the console" in words
    rig.do("give_back")
    assert rig.pm.is_local
    rig.local(False)
    assert rig.do("take", minutes=1) == "local control for 1 min: no EMS has it"


def test_maintenance_keeps_no_seat_for_what_it_ended():
    rig = Rig()
    rig.do("pause", minutes=1440)
    rig.plant.run(5)
    rig.run(100)
    rig.pm.stop()
    rig.plant.until_mode(Mode.STANDBY)
    assert rig.do("maintenance", on=True) == "accepted"
    rig.run(62)
    assert rig.is_free()


def test_a_limit_beyond_the_site_s_own_power_is_refused_with_value_and_range_and_what_stood_stands():
    rig = Rig(max_charge_power=40.0)
    assert not isinstance(rig.do("limit", minutes=5, discharge_kw=100, charge_kw=40), tuple), "all that it has"
    for given, said in (
        ({"discharge_kw": 1000}, "discharge_kw = 1000: allowed are 0 to 100.0 kW"),
        ({"charge_kw": 40.5}, "charge_kw = 40.5: allowed are 0 to 40.0 kW"),
        ({"charge_kw": 5, "discharge_kw": 100.1}, "discharge_kw = 100.1: allowed are 0 to 100.0 kW"),
        ({"charge_kw": -1}, "charge_kw = -1: allowed are 0 to 40.0 kW"),
    ):
        status, words = rig.do("limit", minutes=5, **given)
        assert status == 400 and words.startswith(said), words
    assert [(row["discharge_kw"], row["charge_kw"]) for row in rig.pm.curtailments()] == [(100.0, 40.0)]


def test_a_key_that_a_command_has_not_is_refused_but_of_an_emergency():
    rig = Rig()
    for what, given in (
        ("charge", {"soc": 80, "minutes": 5, "kw": 20}),  # it would charge with all there is
        ("power", {"kw": 5, "minutes": 5, "soc": 80}), ("pause", {"minutes": 5, "kw": 5}), ("start", {"minutes": 5}),
        ("give_back", {"kw": 0}), ("take", {"minutes": 5, "on": False}), ("limit", {"minutes": 5, "charge_kw": 5, "kw": 5}),
    ):  # fmt: skip
        status, words = rig.do(what, **given)
        assert status == 400 and "no such key; allowed are do, confirm" in words, (what, words)
        assert not rig.operation() and not rig.pm.curtailments() and rig.is_free(), what
    assert "EMERGENCY" in rig.do("emergency", minutes=5, why="smoke")
    assert rig.pm.is_emergency


class Journal:
    """The records of a site, as far as commands look at them."""

    def __init__(self):
        self.records = self
        self.lines = []

    def log(self, clock, name, data=0, urgent=False, level=""):
        self.lines.append(name)


def test_a_program_that_logs_in_again_and_again_does_not_fill_the_journal():
    """At one login in ten seconds the 32 KB of it had nothing else after seven hours: no emergency, no fault."""
    rig = Rig()
    journal = Journal()
    app = App(rig.pm)
    app.services["records"] = journal
    page = commanding.Commanding(app, 30)
    for i in range(120):
        page.note("web: view 10.0.0.7", True, "login", 0)
        page.note("web: service 10.0.0.1", True, "power", i)
        for _ in range(10):
            rig.plant.cycles(4, 250)
            page.seat.commands.tell(journal)
    assert journal.lines.count("WEB service 10.0.0.1 power") == 120, "each command is told"
    assert 1 <= journal.lines.count("WEB view 10.0.0.7 login") <= 3
