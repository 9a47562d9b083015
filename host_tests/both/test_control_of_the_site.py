"""Who has the control of a site that several may command: a person, or one interface at a time; and what no timer undoes."""

import gc

import micropython
from emsrig import Ems, Refused
from rows import each

from firmware import image as im
from firmware import remote
from firmware.ems import access, allowing
from firmware.errors import PowerError
from firmware.modes import Mode
from firmware.restriction import Restriction
from firmware.services import ems_frames as fr
from host_tests.both.emscan import Rig
from host_tests.both.plant import Plant


class App:
    """As much of the application as access looks at."""

    def __init__(self, pm):
        self.pm = pm
        self.services = {}


def _plant(**config):
    return Plant(ramp_up=1000.0, ramp_down=1000.0, **config).ready()


def _sunspec(plant, clock, **given):
    """An EMS by SunSpec at 127.0.0.1, with all rights, whose time is the plant's."""
    options = {row[0]: row[2] for row in each(allowing.OPTIONS)}
    options["commands_per_s"] = 1000
    options.update(given)
    access.time = clock
    gate = access.Access(options, 4, App(plant.pm))
    for client in range(4):
        gate.opened(client, "127.0.0.%d" % (client + 1))
    ems = Ems(plant, access=gate, silence_s=5)
    return ems, gate


class Site:
    """Both on one plant, in step."""

    def __init__(self, **given):
        self.plant = _plant()
        self.pm = self.plant.pm
        self.can = Rig(plant=self.plant, lifetime_ms=3000, window_ms=2000)
        with self.can:
            clock = remote.time
        self.ems, self.gate = _sunspec(self.plant, clock, **given)
        self.frame = 0

    def run(self, seconds, sunspec=True):
        """Time passes; the EMS by SunSpec asks something each second."""
        for i in range(int(seconds * 20)):
            self.can.run(50)
            self.ems.control.step(50)
            if sunspec and i % 20 == 19:
                self.ems.get(701, 3)
                self.gate.asked(0, self.plant.ms)

    def write(self, *given):
        """As Ems.refusal, of client 0."""
        with self.can:
            return self.ems.refusal(*given)

    def charge(self, watts):
        """The EMS by SunSpec asks for a charge: the exception code, 0 for none."""
        with self.can:
            try:
                self.ems.put_long(704, 24, -watts)
            except Refused as refused:
                return refused.code
        return self.write(704, 22, 1)

    def ask(self, watts, enable=1):
        """The EMS on CAN asks, twice in a row as the protection wants it; the result in words."""
        self.can.ask(watts, enable)
        return self.can.ask(watts, enable)

    def controller(self):
        """Code of CONTROLLER in the next frame CONTROL."""
        self.can.can.sent = []
        for _ in range(12):
            self.run(0.05, sunspec=False)
            for can_id, data, _ in self.can.can.sent:
                if can_id == 0x60F:
                    return data[0]
        raise AssertionError("no CONTROL")


ACCEPTED = fr.RESULTS.split("\n")[fr.ACCEPTED]
REFUSED = fr.RESULTS.split("\n")[fr.NOT_IN_CONTROL]


def test_who_commands_by_sunspec_keeps_the_ems_on_can_out_and_both_are_told():
    site = Site()
    assert site.charge(10000) == 0
    site.run(1)
    assert site.ask(-40000) == REFUSED and site.ask(0, 0) == ACCEPTED
    site.can.bound(0, 0)
    assert site.can.bound(0, 0) == REFUSED
    assert site.controller() == 2, "another"
    with site.can:
        assert site.pm.remote.controller == "127.0.0.1"
    assert site.plant.command() == -10000 and site.pm.curtailments() == []
    who = [(one["who"], one["accepted"]) for one in site.gate.commands()]
    assert ("127.0.0.1", True) in who and ("can0", False) in who, "one table has the commands of both"


def test_of_two_by_sunspec_the_second_may_when_the_first_has_only_read_for_the_seat_s_time():
    site = Site()  # seat_s: 60
    assert site.charge(10000) == 0

    def second(watts):
        site.ems.server.client = 1
        code = site.charge(watts)
        site.ems.server.client = 0
        return code

    for _ in range(5):
        site.run(11)
        assert second(3000) == 6 and site.plant.command() == -10000
    assert site.charge(10000) == 0
    for _ in range(5):
        site.run(11)
        assert second(3000) == 6, "the first has renewed its command"
    site.run(6)
    assert second(3000) == 0, "it has only read since"
    site.run(0.5)
    assert site.plant.command() == -3000
    assert site.charge(10000) == 6, "now the first is told"
    who = [(one["who"], one["accepted"]) for one in site.gate.commands()]
    assert ("127.0.0.2", True) in who and ("127.0.0.1", False) in who


def test_who_commands_on_can_keeps_sunspec_out_until_it_has_given_back():
    site = Site()
    assert site.ask(-20000) == ACCEPTED and site.controller() == 1
    assert site.ask(-20000) == ACCEPTED
    assert site.charge(5000) == 6 and site.plant.command() == -20000
    with site.can:
        assert site.pm.remote.controller == "can0"
    assert site.ask(0, 0) == ACCEPTED
    assert site.charge(5000) == 0
    site.run(0.5)
    assert site.plant.command() == -5000


def test_an_ems_on_can_that_is_silent_frees_the_seat_with_its_setpoint():
    site = Site()
    assert site.ask(-20000) == ACCEPTED
    site.run(3.2)
    assert site.controller() == 0 and site.charge(5000) == 0


def test_what_another_interface_had_commanded_is_over_when_the_control_is_taken():
    site = Site()
    site.write(704, 14, 1, 2000, 0, 1, 0)  # 20 %, and 0 % when it is over
    site.charge(10000)
    site.write(703, 2, 0)
    site.write(704, 49, 500)
    site.write(124, 17, 0)
    site.run(2)
    assert site.plant.command() == 0
    with site.can:
        site.gate.closed(0)
    site.run(0.5, sunspec=False)
    assert site.ask(-20000) == ACCEPTED
    site.run(1, sunspec=False)
    assert site.plant.command() == -20000, "no permit, limit or restriction of it is left"
    assert site.pm.curtailments() == [] and [one["owner"] for one in site.pm.claims()] == ["ems can"]
    for _ in range(10):
        site.ask(-20000)
        site.run(0.7, sunspec=False)
    assert site.plant.command() == -20000 and site.pm.curtailments() == [], "its silence and its timers change nothing either"


def test_a_person_takes_the_control_from_all_of_them_at_once_and_gives_it_back():
    site = Site()
    site.charge(10000)
    site.run(1)
    site.pm.remote.set_local(True)
    assert site.pm.is_local and site.pm.remote.controller == "local" and site.pm.claims() == []
    assert site.charge(10000) == 1
    assert "local mode" in site.ask(-5000) and site.controller() == 3
    site.run(1)
    assert site.plant.command() == 0 and site.ems.get(715, 2) == 1
    site.pm.remote.set_local(False)
    site.run(1)
    assert site.plant.command() == 0 and site.ems.get(715, 2) == 0 and site.pm.remote.controller == ""
    assert site.ask(-5000) == ACCEPTED
    said = [(one["who"], one["point"], one["value"]) for one in site.gate.commands() if one["who"] == "a person"]
    assert said == [("a person", "local control", 0)]


def test_the_word_of_the_console_takes_gives_back_and_says_who_has_it():
    remote = _plant().pm.remote
    assert remote.local() == "nobody" and remote.local(True) is None and remote.local() == "local"
    assert remote.local(False) is None and remote.local() == "nobody"


def test_control_that_was_taken_for_a_moment_only_has_ended_what_was_commanded():
    site = Site()
    site.write(704, 14, 1, 2000, 0, 1, 0)
    site.charge(10000)
    site.run(1)
    site.pm.remote.set_local(True)
    site.pm.remote.set_local(False)
    site.run(2)
    assert site.plant.command() == 0 and site.pm.claims() == [] and site.pm.curtailments() == []
    site.ask(-20000)
    site.can.bound(5000, 5000)
    assert site.can.bound(5000, 5000) == ACCEPTED
    site.pm.remote.set_local(True)
    site.pm.remote.set_local(False)
    site.run(0.1)
    assert site.pm.claims() == [] and site.pm.curtailments() == []


def test_what_a_person_or_another_interface_has_ended_does_not_come_back_by_a_command_in_the_same_moment():
    for other in ("person", "can"):
        site = Site()
        site.write(802, 9, 2000)
        site.charge(10000)
        site.run(1)
        assert site.plant.command() == -10000 or site.pm.curtailments()
        if other == "person":
            site.pm.remote.set_local(True)
            site.pm.remote.set_local(False)
        else:
            with site.can:
                site.gate.closed(0)
                site.gate.opened(0, "127.0.0.1")
            assert site.ask(-20000) == ACCEPTED and site.ask(0, 0) == ACCEPTED
        assert site.write(123, 5, 9000) == 0
        site.run(2)
        assert site.plant.command() == 0 and site.pm.claims() == [] and site.pm.curtailments() == [], other
        assert site.ems.get(704, 22) == 0 and site.ems.get(802, 9) == 9000, other


def test_local_is_for_the_remote_not_for_the_operator_of_the_grid_or_a_schedule():
    plant = _plant()
    plant.pm.limit("operator", 20.0, 4.2)
    plant.pm.remote.set_local(True)
    plant.pm.claim("optimiser", -10.0, 60, "tariff")
    plant.run(2)
    assert plant.command() == -4200
    try:
        plant.pm.claim("remote", -1.0, 60, "mine")
    except PowerError as error:
        assert "a person has the control" in str(error)
    else:
        raise AssertionError("accepted")
    for wrong in (2, "yes", None):
        try:
            plant.pm.remote.set_local(wrong)
        except ValueError:
            pass
        else:
            raise AssertionError("accepted")
    assert plant.pm.is_local is True


# ---- timers against what was ordered since ------------------------------------------------------------------------------


def _disconnected(seconds=5):
    ems = Ems(_plant())
    ems.put(123, 3, seconds)
    ems.put(123, 4, 0)
    ems.run(2)
    assert ems.pm.mode == Mode.STANDBY
    return ems


def _disconnected_site(seconds):
    site = Site()
    assert site.write(123, 3, seconds) == 0 and site.write(123, 4, 0) == 0
    site.run(2)
    assert site.pm.mode == Mode.STANDBY and site.ems.get(123, 4) == 0
    with site.can:
        site.gate.closed(0)
    site.ems.server.client = 1
    assert site.ask(-20000) == ACCEPTED
    site.run(1, sunspec=False)
    return site


def test_a_disconnection_stands_when_another_interface_takes_the_control_and_ends_by_its_own_time():
    site = _disconnected_site(6)
    assert site.pm.mode == Mode.STANDBY and site.ems.get(123, 4) == 0, "what is disconnected is not told to be connected"
    for _ in range(8):
        site.ask(-20000)
        site.run(0.7, sunspec=False)
    assert site.ems.get(123, 4) == 1 and site.pm.mode == Mode.CHARGE and site.plant.command() == -20000


def test_who_has_the_control_then_sees_the_disconnection_and_connects():
    site = _disconnected_site(0)
    assert site.write(123, 4, 1) == 6, "the EMS on CAN has it"
    site.run(60, sunspec=False)
    assert site.ems.get(123, 4) == 0 and site.pm.mode == Mode.STANDBY, "without a time it stands"
    assert site.ask(0, 0) == ACCEPTED
    assert site.write(123, 4, 1) == 0
    site.run(3, sunspec=False)
    assert site.ems.get(123, 4) == 1 and site.pm.mode == Mode.IDLE


def test_a_start_by_another_interface_is_told_as_connected():
    site = _disconnected_site(0)
    site.pm.remote.start()
    site.run(3, sunspec=False)
    assert site.ems.get(123, 4) == 1 and site.pm.mode != Mode.STANDBY


def _orders(ems):
    """715 OpCtl and 802 SetOp as they read."""
    return ems.get(715, 8), ems.get(802, 50)


def test_what_the_orders_read_is_what_is_in_force_whoever_gave_it():
    ems = Ems(Plant(ramp_up=1000.0, ramp_down=1000.0))
    ems.run(1)
    assert _orders(ems) == (0, 2), "nobody has started it"
    ems.pm.start()
    ems.run(3)
    assert _orders(ems) == (1, 1)
    ems.pm.stop()
    ems.run(1)
    assert _orders(ems) == (0, 2)
    ems.put(802, 50, 1)
    assert ems.get(802, 50) == 1, "a write is read back at once"
    ems.run(0.1)
    assert _orders(ems) == (1, 1)
    ems.put(715, 8, 0)
    assert ems.get(715, 8) == 0
    ems.run(0.1)
    assert _orders(ems) == (0, 2)
    ems.put(715, 8, 1)
    ems.run(3)
    assert _orders(ems) == (1, 1)
    ems.put(123, 4, 0)
    ems.run(0.1)
    assert _orders(ems) == (0, 2)
    ems.put(123, 4, 1)
    ems.run(3)
    assert _orders(ems) == (1, 1)
    ems.put(715, 8, 2)
    ems.run(1)
    assert _orders(ems) == (2, 1)
    ems.put(715, 8, 3)
    ems.run(1)
    assert _orders(ems) == (3, 1)
    ems.pm.emergency_shutdown()
    ems.run(1)
    assert _orders(ems) == (0, 2)
    ems.pm.reset_emergency()
    ems.run(1)
    assert _orders(ems) == (0, 2)


def test_a_standby_that_is_over_is_not_read():
    for end in ("person", "emergency", "interface"):
        site = Site(allow={"127.0.0.1": "service"})
        assert site.write(715, 8, 2) == 0
        site.run(1)
        assert site.ems.get(715, 8) == 2
        if end == "person":
            site.pm.remote.set_local(True)
            site.pm.remote.set_local(False)
        elif end == "emergency":
            site.pm.emergency_shutdown()
        else:
            with site.can:
                site.gate.closed(0)
            site.ems.server.client = 1
            assert site.ask(-20000) == ACCEPTED
        site.run(0.5, sunspec=False)
        assert site.ems.get(715, 8) == (0 if end == "emergency" else 1), end


def test_a_start_that_came_to_nothing_is_not_read_as_one():
    ems = Ems(_plant())
    ems.put(802, 50, 1)
    ems.pm.stop()
    ems.run(3)
    assert ems.pm.mode == Mode.STANDBY and _orders(ems) == (0, 2)


def test_a_disconnection_that_runs_out_starts_nothing_that_a_person_has_stopped():
    ems = _disconnected()
    ems.pm.stop()
    ems.run(10)
    assert ems.pm.mode == Mode.STANDBY and ems.get(123, 4) == 1
    ems.put(123, 4, 1)
    ems.run(5)
    assert ems.pm.mode == Mode.STANDBY, "nor does a gateway that writes Conn with all the others"


def test_nor_one_that_was_stopped_before_it_was_disconnected():
    ems = Ems(_plant())
    ems.pm.stop()
    ems.run(5)
    ems.put(123, 3, 2)
    ems.put(123, 4, 0)
    ems.run(10)
    assert ems.pm.mode == Mode.STANDBY and ems.get(123, 4) == 1


def test_nor_one_that_was_stopped_in_another_way_since():
    for order in ("pause", "opctl", "setop", "maintenance", "local"):
        ems = _disconnected()
        if order == "pause":
            ems.pm.stop_operation()
        elif order == "opctl":
            ems.put(715, 8, 0)
        elif order == "setop":
            ems.put(802, 50, 2)
        elif order == "maintenance":
            ems.pm.set_mode(Mode.MAINTENANCE)
            ems.run(1)
            ems.pm.stop()
        else:
            ems.pm.remote.set_local(True)
            ems.pm.remote.set_local(False)
        ems.run(10)
        assert ems.pm.mode == Mode.STANDBY, order


def test_a_site_that_a_person_has_started_meanwhile_is_connected():
    ems = _disconnected(0)
    ems.pm.start()
    ems.run(5)
    assert ems.pm.mode == Mode.IDLE and ems.get(123, 4) == 1


def test_a_start_that_was_written_a_moment_before_a_person_s_stop_starts_nothing():
    for model, offset, word in ((715, 8, 1), (802, 50, 1)):
        ems = Ems(_plant())
        ems.put(model, offset, word)
        ems.pm.stop()
        ems.run(10)
        assert ems.pm.mode == Mode.STANDBY, model


def test_a_stop_that_was_written_a_moment_before_a_person_s_order_stops_all_the_same():
    for model, offset, word in ((715, 8, 0), (802, 50, 2), (123, 4, 0), (715, 8, 2)):
        ems = Ems(_plant())
        ems.pm.claim("optimiser", 10.0, 3600, "tariff")
        ems.run(1)
        ems.put(model, offset, word)
        ems.pm.start()  # he has not seen it yet
        assert ems.get(model, offset) == word
        ems.run(5)
        assert ems.get(model, offset) == word and ems.plant.command() == 0, (model, offset)
        assert (word == 2 and model == 715) or ems.pm.mode == Mode.STANDBY, (model, offset)


def test_a_start_of_an_ems_leaves_a_person_s_pause():
    ems = Ems(_plant())
    ems.pm.claim("schedule", -20.0, 600, "night")
    ems.run(1)
    ems.pm.stop_operation()
    ems.put(715, 8, 1)
    ems.run(5)
    assert ems.plant.command() == 0


def _paused():
    """A person's pause stands above a program that asks for a charge, and renews it."""
    ems = Ems(_plant())
    ems.pm.claim("optimiser", -20.0, 3600, "tariff")
    ems.run(1)
    assert ems.plant.command() == -20000
    ems.pm.stop_operation()
    ems.run(1)
    assert ems.plant.command() == 0
    return ems


def _is_paused(ems):
    """The program asks again, and nothing moves until a person says so."""
    ems.pm.claim("optimiser", -20.0, 3600, "tariff")
    for _ in range(10):
        ems.run(1)
        assert ems.plant.command() == 0
    assert ems.pm.mode == Mode.IDLE, "the site is started"
    assert ems.pm.claims()[0]["goal"] == "pause" and "paused by stop_operation()" in ems.pm.stats()["reason"]
    ems.pm.resume()
    ems.run(1)
    return ems.plant.command() == -20000


def test_a_stop_and_a_start_of_an_ems_leave_a_person_s_pause():
    for model, offset, off, on in ((123, 4, 0, 1), (802, 50, 2, 1), (715, 8, 0, 1)):
        ems = _paused()
        ems.put(model, offset, off)
        ems.run(5)
        assert ems.pm.mode == Mode.STANDBY and ems.pm.claims()[0]["goal"] == "pause", model
        ems.put(model, offset, on)
        assert _is_paused(ems), model


def test_a_disconnection_that_runs_out_leaves_a_person_s_pause():
    ems = _paused()
    ems.put(123, 3, 10, 0)
    ems.run(5)
    assert ems.pm.mode == Mode.STANDBY
    ems.run(8)
    assert ems.get(123, 4) == 1 and _is_paused(ems)


def test_an_emergency_that_an_ems_resets_and_starts_behind_leaves_a_person_s_pause():
    ems = _paused()
    ems.plant.force[im.IO_ESTOP] = 1
    ems.run(2)
    assert ems.pm.mode == Mode.EMERGENCY
    ems.plant.force[im.IO_ESTOP] = 0
    ems.run(2)
    ems.put(715, 7, 1)
    ems.run(1)
    assert ems.pm.mode == Mode.STANDBY
    ems.put(715, 8, 1)
    assert _is_paused(ems)


def test_restarts_that_are_used_up_and_the_reset_of_an_ems_leave_a_person_s_pause():
    ems = _paused()
    for _ in range(10):
        if ems.pm.image.now[im.ORDER] == im.ORDER_SPENT:
            break
        ems.plant.force[im.PCS_STATE] = im.PCS_FAULT
        ems.run(15)
        ems.plant.force.clear()
        ems.run(120)
    assert ems.pm.image.now[im.ORDER] == im.ORDER_SPENT
    ems.put(715, 7, 1)
    ems.run(10)
    assert _is_paused(ems)


def test_what_a_person_says_of_a_pause_ends_it_as_ever():
    for words in ("stop", "start", "resume"):
        ems = _paused()
        getattr(ems.pm, words)()
        ems.run(5)
        assert not [one for one in ems.pm.claims() if one["goal"] == "pause"], words
    ems = _paused()
    ems.put(802, 50, 2)
    ems.run(5)
    ems.pm.start()
    ems.pm.claim("optimiser", -20.0, 3600, "tariff")
    ems.run(5)
    assert ems.plant.command() == -20000, "an EMS has stopped it, a person starts it"


def test_an_ems_ends_an_operation_of_a_person_by_its_stop():
    ems = Ems(_plant())
    ems.pm.set_constant_power(-10.0)
    ems.run(1)
    ems.put(802, 50, 2)
    ems.run(5)
    ems.put(802, 50, 1)
    ems.run(5)
    assert ems.plant.command() == 0 and ems.pm.claims() == []


def _left_alone():
    """Its EMS has gone, and both reversion values are in force: 0 % of WMaxLimPct, and a charge."""
    ems = Ems(_plant(), silence_s=5)
    ems.put(704, 14, 1, 5000, 0, 1, 0)
    ems.put_long(704, 26, -5000)
    ems.put(704, 30, 1)
    ems.put_long(704, 24, 10000)
    ems.put(704, 22, 1)
    ems.run(1)
    ems.run(6, polls=False)
    assert ems.plant.command() == -5000
    return ems


def test_a_setpoint_of_who_is_gone_does_not_outlive_a_person_s_stop_and_a_limit_does():
    ems = _left_alone()
    ems.pm.stop()
    ems.run(5, polls=False)
    ems.pm.start()
    ems.run(5, polls=False)
    assert ems.plant.command() == 0 and ems.pm.claims() == [] and ems.limits() == (0.0, None)
    assert ems.get(704, 22) == 0 and ems.get(704, 14) == 1


def test_a_reversion_value_says_what_it_is_and_what_ends_it():
    ems = _left_alone()
    kept = [(one["point"], one["value"]) for one in ems.pm.remote.commands.listed()]
    assert ("704 WMaxLimPct reversion", 0) in kept and ("704 WSet reversion", -5000) in kept, "the journal has it too"
    ems.pm.remote.set_local(True)
    ems.pm.remote.set_local(False)
    ems.put(704, 14, 1, 5000, 0, 1, 0)
    ems.pm.set_constant_power(30.0)
    ems.run(6, polls=False)
    assert ems.plant.command() == 0
    reason = ems.pm.stats()["reason"]
    assert "ems, reversion value until it commands again, or local(True)" in reason and "left" not in reason, reason
    ems.pm.remote.set_local(True)
    ems.run(1, polls=False)
    assert ems.plant.command() == 30000
    ems.pm.remote.set_local(False)
    ems.run(5, polls=False)
    assert ems.plant.command() == 30000


def test_what_an_ems_narrows_ends_with_a_person_s_control_and_is_the_reason_until_then():
    ems = Ems(Plant().ready())  # 20 kW/s
    ems.put(704, 49, 5)
    ems.put(124, 17, 0)
    ems.pm.set_constant_power(-40.0)
    ems.run(3)
    assert ems.plant.command() == 0 and "(ems)" in ems.pm.stats()["reason"], ems.pm.stats()["reason"]
    ems.pm.remote.set_local(True)
    ems.run(3)
    assert ems.plant.command() == -40000, "from the grid, and at the configured ramp"
    assert ems.get(704, 49) == 20 and ems.get(124, 17) == 1


def test_a_permit_that_was_taken_outlives_an_emergency_and_not_a_person_s_control():
    ems = Ems(_plant())
    ems.put(703, 2, 0)
    ems.run(1)
    ems.pm.emergency_shutdown()
    ems.run(1)
    ems.pm.reset_emergency()
    ems.pm.start()
    ems.run(4)
    assert ems.get(703, 2) == 0 and ems.limits() == (0.0, 0.0)
    ems.pm.remote.set_local(True)
    ems.run(1)
    assert ems.get(703, 2) == 1 and ems.limits() == (None, None)


# ---- what is configured, made narrower --------------------------------------------------------------------------------


def test_a_restriction_is_narrower_than_the_configuration_and_never_wider_and_ends():
    plant = Plant().ready()
    par = plant.pm.image.par
    narrow = Restriction(plant.pm)
    narrow.put("a", 5000, 0, 10000)
    assert (par[im.PAR_RAMP_UP], par[im.PAR_GRID_CHG], narrow.owner) == (5000, 0, "a")
    plant.run(9.9)
    assert par[im.PAR_RAMP_UP] == 5000
    plant.run(0.2)
    assert (par[im.PAR_RAMP_UP], par[im.PAR_GRID_CHG], narrow.owner) == (20000, 1, "")
    narrow.put("a", 90000, 1)
    assert (par[im.PAR_RAMP_UP], par[im.PAR_GRID_CHG]) == (20000, 1)
    narrow.put("b", 3000, 0)
    plant.run(100)
    assert (par[im.PAR_RAMP_UP], par[im.PAR_GRID_CHG]) == (3000, 0), "without a lifetime it stands"
    narrow.end()
    assert (par[im.PAR_RAMP_UP], par[im.PAR_GRID_CHG]) == (20000, 1)
    other = Plant(allow_grid_charging=False).ready()
    Restriction(other.pm).put("a", im.FREE, 1)
    assert other.pm.image.par[im.PAR_GRID_CHG] == 0


def test_what_is_wrong_with_a_restriction_is_refused_and_changes_nothing():
    plant = Plant().ready()
    before = list(plant.pm.image.par)
    narrow = Restriction(plant.pm)
    for given in (("", 9, 1, 9), ("a", 0, 1, 9), ("a", -5, 1, 9), ("a", 9, 2, 9), ("a", 9, -1, 9), ("a", 9, 1, 0)):
        try:
            narrow.put(*given)
        except PowerError as error:
            assert "must be" in str(error)
        else:
            raise AssertionError("accepted %r" % (given,))
    assert list(plant.pm.image.par) == before and narrow.owner == ""


# ---- in whole watts -------------------------------------------------------------------------------------------------


def test_claims_and_limits_in_watts_are_the_same_and_a_renewal_allocates_nothing():
    plant = _plant()
    pm = plant.pm
    pm.remote.claim(-20001, 1500, "a")
    pm.remote.limit("b", im.FREE, 15000, 1500)
    narrow = Restriction(pm)
    assert [(one["owner"], one["kw"], one["seconds_left"]) for one in pm.claims()] == [("a", -20.001, 1.5)]
    assert [(one["discharge_kw"], one["charge_kw"], one["seconds_left"]) for one in pm.curtailments()] == [(None, 15.0, 1.5)]

    def renew():
        for i in range(200):
            pm.remote.claim(-20000 - i, 1500, "a")
            pm.remote.limit("b", 1000, 15000 + i, 1500)
            narrow.put("c", 5000 + i, 0, 50)
            plant.pm.arbiter.curtail(49)  # as the cycle does: the restriction runs out in its middle
            plant.pm.arbiter.curtail(49)

    renew()
    gc.collect()
    micropython.heap_lock()
    try:
        renew()
    finally:
        micropython.heap_unlock()
    plant.run(1.6)
    assert pm.claims() == [] and pm.curtailments() == []


def test_what_is_out_of_range_in_watts_is_refused_with_the_range():
    pm = _plant().pm
    remote = pm.remote
    for call, given in (
        (remote.claim, (100001, 1000, "a")), (remote.claim, (-100001, 1000, "a")), (remote.claim, (0, 0, "a")),
        (remote.claim, (0, 86400001, "a")), (remote.limit, ("a", -1, 0, 1000)), (remote.limit, ("a", 0, 1000001, 1000)),
        (remote.limit, ("a", 0, 0, 0)), (remote.limit, ("a", 0, 0, 86400001)),
    ):  # fmt: skip
        try:
            call(*given)
        except PowerError as error:
            assert "allowed are" in str(error)
        else:
            raise AssertionError("accepted %r" % (given,))
    assert pm.claims() == [] and pm.curtailments() == []
