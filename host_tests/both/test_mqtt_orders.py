"""Commands over MQTT: claims and limits with a lifetime, one controller at a time, all in the journal, and answers in words."""

import json
import sys
import time

from firmware import image as im
from firmware import remote
from firmware.modes import Mode
from firmware.mqtt import orders
from host_tests.both.emscan import Clock, Journal
from host_tests.both.plant import Plant

LENIENT = sys.implementation.name == "micropython"  # its json passes over a missing mark


class Rig:
    """Orders on a plant, on the plant's time."""

    def __init__(self, control=True, minutes=15, **config):
        self.plant = Plant(**config).ready()
        self.pm = self.plant.pm
        self.journal = Journal()
        self.clock = Clock(self.plant)
        self.said = []
        with self:
            self.orders = orders.Orders(self.pm, control, minutes, self.journal)

    def __enter__(self):
        orders.time = remote.time = self.clock
        self._say, orders.say = orders.say, self.said.append
        return self

    def __exit__(self, *error):
        orders.time = remote.time = time
        orders.say = self._say

    def raw(self, payload, retained=False):
        with self:
            found = self.orders.take(payload, retained, self.plant.ms)
        return None if found is None else json.loads(found)

    def order(self, do, **given):
        given["do"] = do
        self.clock_on()
        return self.raw(json.dumps(given).encode())

    def clock_on(self):
        """A second later for the commands, of which five are taken in each, and a cycle for the plant."""
        self.plant.ms = (self.plant.ms + 950) & 0x3FFFFFFF
        self.plant.cycle(50)
        with self:
            self.orders.look(self.plant.ms)

    def refused(self, do, **given):
        """The words of a refusal, which changed nothing."""
        before = self.pm.claims(), self.pm.curtailments(), self.pm.mode
        found = self.order(do, **given)
        assert not found["ok"], found
        after = self.pm.claims(), self.pm.curtailments(), self.pm.mode
        assert [c["kw"] for c in before[0]] == [c["kw"] for c in after[0]] and len(before[1]) == len(after[1])
        return found["says"]

    def run(self, seconds):
        for _ in range(int(seconds)):
            self.plant.run(1)
            with self:
                self.orders.look(self.plant.ms)

    def power(self):
        return self.pm.stats()["power"]

    def figures(self):
        with self:
            return dict(self.orders.figures())


class Other:
    """An EMS."""

    def who(self, number):
        return "10.0.0.9"


def test_a_setpoint_moves_the_battery_and_ends_by_itself():
    rig = Rig()
    found = rig.order("power", kw=12.5, minutes=0.2, id="a7")
    assert found["ok"] and found["id"] == "a7" and found["do"] == "power"
    assert found["says"] == "12.5 kW for 12 s, then it ends by itself"
    rig.run(5)
    assert abs(rig.power() - 12.5) < 0.1
    assert "asked by remote (mqtt)" in rig.pm.stats()["reason"]
    assert rig.figures()["setpoint"] == 12.5 and rig.figures()["controller"] == "mqtt"
    rig.run(12)
    assert rig.power() == 0 and rig.pm.claims() == []
    assert rig.orders.ended == ["ended: the time of the setpoint is over"]
    assert rig.figures()["controller"] == "" and rig.figures()["setpoint"] is None


def test_one_without_a_time_of_its_own_has_the_site_s_which_a_command_changes():
    rig = Rig(minutes=2)
    rig.order("power", kw=-5)
    assert 110 < rig.figures()["setpoint_left_s"] <= 120
    assert rig.order("lifetime", minutes=1)["ok"]
    rig.order("power", kw=-5)
    rig.run(55)
    assert abs(rig.power() + 5) < 0.1
    rig.run(7)
    assert rig.pm.claims() == []
    assert rig.figures()["lifetime"] == 1


def test_modes_are_claims_too_and_automatic_gives_back():
    rig = Rig()
    for mode, kw in (("hold", 0), ("charge", -100), ("discharge", 100)):
        assert rig.order("mode", mode=mode)["ok"]
        assert [claim["kw"] for claim in rig.pm.claims()] == [kw]
        assert rig.figures()["asked"] == mode
    assert rig.order("mode", mode="automatic")["ok"]
    assert rig.pm.claims() == [] and rig.figures()["asked"] == "automatic"
    assert "allowed are automatic, hold" in rig.refused("mode", mode="turbo")


def test_limits_bind_and_end_and_are_given_back():
    rig = Rig()
    assert rig.order("limit", discharge_kw=3, minutes=0.1)["ok"]
    rig.order("power", kw=10, minutes=5)
    rig.run(4)
    assert abs(rig.power() - 3) < 0.1
    rig.run(7)
    assert abs(rig.power() - 10) < 0.1, "the limit has ended, the setpoint has not"
    rig.order("limit", charge_kw=1)
    assert len(rig.pm.curtailments()) == 1
    assert rig.order("limit")["ok"] and rig.pm.curtailments() == []
    rig.order("limit", charge_kw=1)
    assert rig.order("give_back")["ok"]
    assert rig.pm.curtailments() == [] and rig.pm.claims() == []


def test_what_cannot_be_is_refused_with_its_value_and_range():
    rig = Rig()
    assert rig.refused("power", kw=1000) == "kw = 1000: allowed are -100.0 to 100.0 kW"
    for kw in ("5", None, True, [5], {}):
        assert "must be a number" in rig.refused("power", kw=kw)
    for minutes in (0, -1, 1441, "5", None):
        assert "minutes" in rig.refused("power", kw=1, minutes=minutes)
    assert "allowed are power, limit" in rig.refused("dance")
    assert rig.refused("limit", charge_kw=-1) == "charge_kw = -1: allowed are 0 to 100.0 kW"
    assert rig.refused("limit", discharge_kw=100.1) == "discharge_kw = 100.1: allowed are 0 to 100.0 kW"
    for payload in (
        b"", b"5", b"[]", b"{", b"\xff\xfe", b"[[[[[[", b'{"do": 5}', b'{"do": ["power"]}', b"null", b'{"do":"power","kw":1e999}',
    ):  # fmt: skip
        rig.clock_on()
        assert not rig.raw(payload)["ok"], payload
    assert rig.pm.claims() == [] and rig.orders.accepted == 0


def test_a_retained_command_is_refused_and_said():
    rig = Rig()
    found = rig.raw(b'{"do": "power", "kw": 5}', retained=True)
    assert not found["ok"] and "retained" in found["says"]
    assert rig.pm.claims() == [] and "retained" in rig.said[0]


def test_access_read_lets_nothing_through_and_says_why():
    rig = Rig(control=False)
    for do in ("power", "start", "stop", "emergency", "mode", "give_back", "lifetime"):
        assert "access is read" in rig.refused(do, kw=5, mode="hold", minutes=5)
    assert rig.pm.mode == Mode.IDLE


def test_another_interface_that_controls_is_named_and_keeps_its_power():
    rig = Rig()
    with rig:
        assert rig.pm.remote.take(Other(), 3, rig.plant.ms, 5000)
    assert rig.refused("power", kw=5) == "10.0.0.9 has the control"
    assert rig.refused("stop") == "10.0.0.9 has the control"
    rig.run(5)
    assert rig.order("power", kw=5)["ok"]


def test_who_takes_the_seat_after_ours_has_ended_ends_nothing_of_its_own():
    rig = Rig()
    rig.order("power", kw=5, minutes=0.1)
    rig.run(7)
    with rig:
        assert rig.pm.remote.take(object(), 0, rig.plant.ms, 5000)
        rig.pm.remote.claim(7000, 5000, "other")
    rig.run(2)
    assert [claim["owner"] for claim in rig.pm.claims()] == ["other"]


def test_a_person_s_control_ends_ours_and_refuses_more_but_never_an_emergency():
    rig = Rig()
    rig.order("power", kw=5)
    with rig:
        rig.pm.remote.set_local(True)
    rig.run(1)
    assert rig.pm.claims() == [] and rig.orders.ended == ["ended: another has the control"]
    assert "a person has the control" in rig.refused("power", kw=5)
    assert "a person has the control" in rig.refused("start")
    assert rig.order("emergency")["ok"] and rig.pm.is_emergency


def test_an_emergency_ends_what_was_asked_and_only_a_person_resets_a_commanded_one():
    rig = Rig()
    rig.order("power", kw=5)
    rig.run(3)
    assert rig.order("emergency", by="ha")["ok"]
    rig.run(2)
    assert rig.pm.is_emergency and rig.power() == 0
    assert "EMERGENCY" in rig.refused("power", kw=5)
    assert "a person's" in rig.refused("reset")
    rig.pm.reset_emergency()
    assert rig.pm.claims() == []


def test_start_and_stop():
    rig = Rig()
    assert rig.order("stop")["ok"]
    rig.plant.until_mode(Mode.STANDBY)
    assert rig.order("start")["ok"]
    rig.plant.until_mode(Mode.IDLE)
    assert rig.figures()["controller"] == "", "neither keeps the seat"


def test_a_stop_and_a_start_leave_a_person_s_pause():
    rig = Rig()
    rig.pm.stop_operation()
    rig.run(1)
    assert rig.order("stop")["ok"]
    rig.plant.until_mode(Mode.STANDBY)
    rig.pm.claim("optimiser", -20.0, 3600, "tariff")
    assert rig.order("start")["ok"]
    rig.plant.until_mode(Mode.IDLE)
    rig.run(5)
    assert rig.power() == 0 and rig.pm.claims()[0]["goal"] == "pause"


def test_every_command_is_in_the_journal_with_who_and_through_what():
    rig = Rig()
    rig.order("power", kw=5, by="ha")
    rig.order("power", kw=500)
    rig.order("stop", by="somebody else")
    rig.run(5)
    assert ("EMS mqtt ha power", 5000) in rig.journal.lines
    assert ("EMS REFUSED mqtt power", 0) in rig.journal.lines
    assert ("EMS mqtt stop", 1) in rig.journal.lines


def test_a_flood_is_refused_answered_once_and_said_once():
    rig = Rig()
    answers = [rig.raw(b'{"do": "lifetime", "minutes": 5}') for _ in range(100)]
    assert [bool(found and found["ok"]) for found in answers[:5]] == [True] * 5
    assert "more than 5" in answers[5]["says"] and answers[6:] == [None] * 94
    assert rig.orders.refused == 95 and len(rig.said) == 1
    rig.run(1)
    assert rig.raw(b'{"do": "lifetime", "minutes": 5}')["ok"]


def wants_the_seat(rig):
    """Whether an EMS that comes now gets it; it gives it back at once."""
    other = Other()
    with rig:
        got = rig.pm.remote.take(other, 3, rig.plant.ms, 5000)
        rig.pm.remote.leave(other, 3)
    return got


def test_a_start_or_a_refused_stop_does_not_give_away_the_seat_of_what_is_in_force():
    rig = Rig()
    rig.order("power", kw=5, minutes=1)
    assert rig.order("start")["ok"]
    assert not rig.order("reset")["ok"]
    rig.run(30)
    assert rig.figures()["controller"] == "mqtt" and not wants_the_seat(rig)
    rig.run(30)
    assert rig.figures()["controller"] == "" and wants_the_seat(rig)


def test_after_stop_the_seat_is_kept_for_what_is_left_and_free_where_nothing_is():
    rig = Rig()
    rig.order("power", kw=5, minutes=120)
    rig.order("limit", discharge_kw=4, minutes=0.5)
    assert rig.order("stop")["says"] == "accepted, and the setpoint has ended with it"
    assert rig.figures()["setpoint"] is None and rig.figures()["asked"] == "automatic"
    rig.run(25)
    assert not wants_the_seat(rig), "its limit is in force"
    rig.run(6)
    assert wants_the_seat(rig)
    assert rig.orders.ended == ["ended: the time of the limits is over"], "the answer to stop said that of the setpoint"
    assert rig.order("start")["ok"]
    rig.order("power", kw=5, minutes=120)
    assert rig.order("stop")["ok"] and wants_the_seat(rig)


def test_a_longer_setpoint_that_a_shorter_one_follows_keeps_the_seat_no_longer():
    rig = Rig()
    rig.order("power", kw=5, minutes=120)
    rig.order("power", kw=6, minutes=0.1)
    rig.run(7)
    assert rig.figures()["controller"] == "" and wants_the_seat(rig)


def test_what_a_person_has_ended_keeps_no_seat_and_is_said():
    def release(pm):
        pm.release("remote", "mqtt")

    for end in (lambda pm: pm.stop(), release):
        rig = Rig()
        rig.order("power", kw=6, minutes=120)
        end(rig.pm)
        rig.run(2)
        rig.pm.start()
        rig.run(2)
        found = rig.figures()
        assert (found["setpoint"], found["setpoint_left_s"], found["controller"]) == (None, 0, "")
        assert found["asked"] == "automatic" and wants_the_seat(rig)
        assert rig.orders.ended == ["ended: the setpoint was ended by a stop, or by a person"]


def test_limits_that_a_person_has_ended_keep_no_seat():
    rig = Rig()
    rig.order("limit", discharge_kw=4, minutes=120)
    rig.pm.limit("mqtt")
    rig.run(1)
    assert rig.figures()["limits_left_s"] == 0 and wants_the_seat(rig)
    assert rig.orders.ended == ["ended: the limits were ended by a person"]


def test_of_two_that_end_in_one_second_both_are_said():
    rig = Rig()
    rig.order("power", kw=2, minutes=0.1)
    rig.order("limit", discharge_kw=5, minutes=0.1)
    rig.plant.run(8)
    rig.run(1)
    assert rig.orders.ended == ["ended: the time of the setpoint is over", "ended: the time of the limits is over"]


def test_a_key_that_an_order_has_not_is_refused_with_those_that_it_has():
    rig = Rig()
    assert rig.order("limit", discharge_kw=3)["ok"]
    says = rig.refused("limit", dischargekw=5)
    assert says == "dischargekw: limit has no such key; allowed are do, id, by, discharge_kw, charge_kw, minutes"
    assert len(rig.pm.curtailments()) == 1
    for do, given in (
        ("power", {"kw": 1, "minute": 5}), ("mode", {"mode": "hold", "kw": 5}), ("lifetime", {"minutes": 5, "seconds": 5}),
        ("start", {"minutes": 5}), ("stop", {"now": True}), ("give_back", {"all": 1}), ("reset", {"minutes": 5}),
    ):  # fmt: skip
        assert "no such key; allowed are do, id, by" in rig.refused(do, **given), do
    assert "%.40s" % ("x" * 40) + ": " in rig.refused("power", kw=1, **{"x" * 100: 1})
    assert rig.order("emergency", why="smoke")["ok"] and rig.pm.is_emergency, "that one is never refused for what else it says"


def test_a_setpoint_says_that_nothing_moves_before_start():
    rig = Rig()
    assert rig.order("stop")["ok"]
    rig.plant.until_mode(Mode.STANDBY)
    found = rig.order("power", kw=4.1, minutes=5)
    assert found["ok"]
    assert found["says"] == "4.1 kW for 5 min, then it ends by itself; nothing moves before start: the mode is STANDBY"
    assert rig.order("mode", mode="hold")["says"].endswith("before start: the mode is STANDBY")
    assert rig.order("start")["ok"]
    rig.plant.until_mode(Mode.DISCHARGE if rig.order("power", kw=4.1)["ok"] else Mode.IDLE)
    assert "STANDBY" not in rig.order("power", kw=4.1)["says"]


def test_a_new_lifetime_is_in_the_journal():
    rig = Rig()
    rig.order("lifetime", minutes=10)
    rig.run(2)
    assert ("EMS mqtt lifetime", 10) in rig.journal.lines


def test_what_only_speaks_of_the_emergency_is_a_part_of_the_flood():
    for payload, retained, control in (
        (b'{"do": "power", "kw": 5, "id": "emergency"}', False, True), (b'["emergency"]', False, True),
        (b'"emergency"', False, True), (b'{"emergency"', False, True),
        (b'{"do": "emergency"}', True, True), (b'{"do": "emergency"}', False, False),
        (b"[" * 3900 + b'"emergency"', False, True),
    ):  # fmt: skip
        rig = Rig(control)
        answers = [rig.raw(payload, retained) for _ in range(50)]
        assert answers[6:] == [None] * 44, payload
        assert rig.orders.accepted <= 5 and not rig.pm.is_emergency


def test_the_answer_to_a_flood_says_to_which_command():
    rig = Rig()
    for i in range(6):
        found = rig.raw(b'{"do": "lifetime", "minutes": 5, "id": %d}' % i)
    assert (found["ok"], found["do"], found["id"]) == (False, "lifetime", 5)


def test_commands_that_are_too_long_are_refused_counted_and_part_of_the_flood():
    rig = Rig()
    with rig:
        found = json.loads(rig.orders.refuse_long(320, rig.plant.ms))
    assert not found["ok"] and found["id"] is None and "more than 320 bytes" in found["says"]
    assert rig.orders.refused == 1 and "320" in rig.said[0]
    with rig:
        answers = [rig.orders.refuse_long(320, rig.plant.ms) for _ in range(20)]
    assert [answer is not None for answer in answers] == [True] * 5 + [False] * 15
    assert rig.orders.refused == 21


def test_when_the_service_ends_so_does_what_it_asked_for():
    rig = Rig()
    rig.order("power", kw=5)
    rig.order("limit", charge_kw=1)
    with rig:
        rig.orders.end()
    assert rig.pm.claims() == [] and rig.pm.curtailments() == []


def test_what_a_full_heap_kept_from_ending_ends_at_the_next_look():
    rig = Rig()
    full = [True]

    def limit(*given):
        if full and given[1:3] == (im.FREE, im.FREE):
            full.clear()
            raise MemoryError("allocating 32 bytes")
        return ends(*given)

    for how in ("give_back", "another"):
        full.append(True)
        rig.order("limit", charge_kw=1)
        assert len(rig.pm.curtailments()) == 1
        ends, rig.pm.remote.limit = rig.pm.remote.limit, limit
        try:
            if how == "give_back":
                rig.order("give_back")
            else:
                rig.pm.remote.set_local(True)
                rig.pm.remote.set_local(False)
                rig.clock_on()
        except MemoryError:
            pass
        assert not full, how
        if how == "give_back":
            rig.order("give_back")
        rig.clock_on()
        assert rig.pm.curtailments() == [], how
        rig.pm.remote.limit = ends


def test_the_emergency_is_taken_in_the_middle_of_a_flood():
    rig = Rig()
    for _ in range(20):
        rig.raw(b'{"do": "lifetime", "minutes": 5}')
    assert rig.raw(b'{"do": "emergency"}')["ok"] and rig.pm.is_emergency
    assert rig.raw(b'{"do": "lifetime", "minutes": 5}') is None


def test_a_command_nested_without_end_is_refused_like_any_other():
    rig = Rig()
    for body in (b"[" * 3900 + b"]" * 3900, b'{"do": ' + b"[" * 3900 + b"]" * 3900 + b"}"):
        rig.run(2)
        found = rig.raw(body)
        assert not found["ok"] and found["says"], body[:10]
    rig.run(2)
    assert rig.order("power", kw=5)["ok"]


def test_what_json_passes_over_is_refused_and_an_emergency_is_done_however_it_is_written():
    rig = Rig()
    for payload in (
        b'{"do": "power", "minutes": 5, "kw": 5,5}',  # as people write who have a comma for a point
        b'{"do": "power", "kw": 5, "kw": 90}', b'{"do": "power", "kw": 5 "minutes": 5}', b'{"do": "power", "kw" 5}',
        b'{"do": "power", "kw": 5,, "minutes": 5}', b'{"do": "power", "kw": 5,}', b'{"do": "stop", "do": "start"}',
    ):  # fmt: skip
        rig.clock_on()
        found = rig.raw(payload)
        assert not found["ok"] and ("comma" in found["says"] or not LENIENT), (payload, found)
    assert rig.pm.claims() == [] and rig.pm.mode == Mode.IDLE and rig.orders.accepted == 0
    rig.clock_on()
    assert rig.raw(b'{"do": "power", "kw": 5, "id": "a:,\\"b\\\\"}')["ok"], "what stands in a text is no mark"
    rig.clock_on()
    assert not LENIENT or rig.raw(b'{"do": "emergency" "id": "x",}')["ok"]
    assert rig.pm.is_emergency == LENIENT
