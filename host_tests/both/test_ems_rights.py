"""Who may write which point of the EMS's chain, who keeps a command alive, and what is told of who commanded what."""

import gc

import micropython
from emsrig import Ems, Refused

from firmware.ems import tables as t

OFF, READ, CONTROL, SERVICE = 0, 1, 2, 3


class Access:
    """Who the clients are, as firmware.ems.access says it: names, rights, one seat."""

    def __init__(self):
        self.people = ["192.168.1.5", "192.168.1.6", "192.168.1.5", "192.168.1.9"]
        self.rights = [CONTROL, CONTROL, READ, SERVICE]
        self.controller = -1
        self.beside = []  # connections that were there while another one of their address asked
        self.asked = []
        self.told = []
        self.kept = []

    def role(self, client):
        return self.rights[client]

    def who(self, client):
        return self.people[client]

    def take(self, client):
        if self.controller >= 0 and self.controller != client:
            return 6
        self.controller = client
        return 0

    def here(self, client):
        self.asked.append(client)

    def is_beside(self, client):
        return client in self.beside

    def keep(self, client):
        self.kept.append(client)

    def note(self, client, accepted, point, value):
        self.told.append((client, accepted, point, value))

    def leave(self, client):
        """Its connection ends."""
        self.rights[client] = OFF
        if self.controller == client:
            self.controller = -1


def _rig():
    access = Access()
    ems = Ems(access=access)
    return ems, access


def _as(ems, client):
    ems.server.client = client
    return ems


# every kind of writable point: model, offset, a word that it takes, the least role that may write it
POINTS = (
    (704, 22, 1, CONTROL), (704, 15, 5000, CONTROL), (704, 49, 5, CONTROL), (123, 5, 5000, CONTROL), (123, 4, 1, CONTROL),
    (124, 5, 2, CONTROL), (124, 17, 1, CONTROL), (802, 10, 3000, CONTROL), (802, 9, 8000, CONTROL), (703, 2, 1, CONTROL),
    (703, 4, 900, CONTROL), (705, 3, 1, CONTROL), (706, 3, 1, CONTROL), (711, 3, 1, CONTROL), (712, 3, 1, CONTROL),
    (715, 7, 1, SERVICE), (715, 8, 1, SERVICE), (715, 5, 9, SERVICE), (802, 19, 9, SERVICE), (802, 20, 1, SERVICE),
    (802, 50, 1, SERVICE),
)  # fmt: skip


def test_every_kind_of_point_times_every_role():
    for model, offset, word, least in POINTS:
        for role in (OFF, READ, CONTROL, SERVICE):
            ems, access = _rig()
            access.rights[0] = role
            before = list(ems.chain.registers)
            words = (0, word) if (model, offset) == (715, 5) else (word,)
            code = ems.refusal(model, offset, *words)
            assert code == (0 if role >= least else 1), (model, offset, role)
            if code:
                assert list(ems.chain.registers) == before


def test_who_has_no_rights_reads_nothing():
    ems, access = _rig()
    access.rights[0] = OFF
    try:
        ems.read(40000, 2)
    except Refused as refused:
        assert refused.code == 1
    else:
        raise AssertionError("it was read")


def test_one_controls_and_the_other_is_told():
    ems, _ = _rig()
    _as(ems, 0).put_long(704, 24, 10000)
    ems.put(704, 22, 1)
    ems.run(1)
    assert ems.owner() == "ems 192.168.1.5"
    assert _as(ems, 1).refusal(704, 22, 0) == 6
    ems.run(1)
    assert ems.plant.command() == 10000


def test_a_write_that_is_out_of_range_takes_no_seat():
    ems, access = _rig()
    assert _as(ems, 1).refusal(704, 22, 7) == 3 and access.controller == -1


def test_a_heartbeat_takes_no_seat():
    ems, access = _rig()
    assert _as(ems, 3).refusal(715, 5, 0, 9) == 0 and access.controller == -1
    assert access.kept == [3], "but it keeps one"
    _as(ems, 3).get(715, 5)
    assert access.kept == [3] and _as(ems, 1).refusal(715, 5, 0, 9) == 1 and access.kept == [3]


def _commanded():
    ems, access = _rig()
    _as(ems, 0).put_long(704, 24, 10000)
    ems.put(704, 22, 1)
    ems.run(1)
    return ems, access


def test_another_address_keeps_nothing_alive():
    ems, _ = _commanded()
    _as(ems, 1).run(61)
    assert ems.plant.command() == 0


def test_a_second_program_at_the_same_address_keeps_nothing_alive_while_the_first_is_connected():
    ems, _ = _commanded()
    _as(ems, 2).run(61)
    assert ems.plant.command() == 0


def test_who_connects_anew_keeps_what_it_commanded_before():
    ems, access = _commanded()
    access.leave(0)
    _as(ems, 2).run(200)
    assert ems.plant.command() == 10000
    ems.run(61, polls=False)
    assert ems.plant.command() == 0


def test_who_was_connected_beside_it_keeps_nothing_alive_when_it_is_gone():
    ems, access = _commanded()
    assert set(access.asked) == {0}, "it is said who is there"
    access.leave(0)
    access.beside = [2]
    _as(ems, 2).run(61)
    assert ems.plant.command() == 0
    assert ems.owner() == ""


def test_who_was_connected_beside_it_keeps_alive_what_it_writes_or_says_that_it_lives():
    for model, offset, words in ((704, 32, (0,)), (715, 5, (0, 7))):
        ems, access = _commanded()
        access.leave(0)
        access.beside = [2]
        access.rights[2] = SERVICE
        for _ in range(3):
            _as(ems, 2).run(50)
            ems.put(model, offset, *words)
        assert ems.plant.command() == 10000, model
        _as(ems, 2).run(61)
        assert ems.plant.command() == 10000, "from then on it is the one that commands"


def test_somebody_else_with_the_number_of_before_keeps_nothing_alive():
    ems, access = _commanded()
    access.leave(0)
    access.people[0], access.rights[0] = "192.168.1.77", READ
    _as(ems, 0).run(61)
    assert ems.plant.command() == 0


def _one_after_the_other(ems, access, first, second, seconds=70):
    """Client 0 commands and hangs up; client 1 has the seat then, and says the same again and again."""
    for words in first:
        assert _as(ems, 0).refusal(*words) == 0
    ems.run(2)
    access.leave(0)
    for _ in range(seconds // 5):
        assert _as(ems, 1).refusal(*second) == 0
        ems.run(5)


def test_a_setpoint_of_who_has_hung_up_ends_whatever_another_goes_on_commanding():
    ems, access = _rig()
    _one_after_the_other(ems, access, ((704, 22, 1, 1, 0xFFFF, 45536),), (704, 14, 1, 10000), 55)
    assert ems.plant.command() == -20000 and ems.owner() == "ems 192.168.1.5", "it stands for its time, in its own client's name"
    assert ems.pm.curtailments()[0]["owner"] == "ems 192.168.1.6"
    _one_after_the_other(ems, access, (), (704, 14, 1, 10000), 10)
    assert ems.plant.command() == 0 and ems.pm.claims() == [] and ems.get(704, 22) == 0
    assert ems.pm.curtailments()[0]["discharge_kw"] == 100.0, "and the other's limit goes on"


def test_each_group_ends_by_the_silence_of_its_own_client():
    for first in (((704, 14, 1, 5000),), ((123, 5, 5000), (123, 9, 1)), ((124, 12, 5000), (124, 5, 2)), ((802, 10, 9000),)):
        ems, access = _rig()
        _one_after_the_other(ems, access, first, (704, 22, 1, 1, 0, 1000), 50)
        assert ems.limits()[0] in (50.0, 0.0), first
        assert ems.pm.curtailments()[0]["owner"] == "ems 192.168.1.5" and ems.owner() == "ems 192.168.1.6", first
        _one_after_the_other(ems, access, (), (704, 22, 1, 1, 0, 1000), 20)
        assert ems.pm.curtailments() == [] and ems.plant.command() == 1000, first


def test_a_standby_is_an_order_that_stands_whoever_falls_silent():
    ems, access = _rig()
    access.rights[0] = SERVICE
    _one_after_the_other(ems, access, ((715, 8, 2),), (704, 22, 1, 1, 0, 1000), 50)
    assert ems.plant.command() == 0
    _one_after_the_other(ems, access, (), (704, 22, 1, 1, 0, 1000), 200)
    assert ems.plant.command() == 0 and ems.get(715, 8) == 2
    access.rights[1] = SERVICE
    assert _as(ems, 1).refusal(715, 8, 3) == 0
    ems.run(1)
    assert ems.plant.command() == 1000 and ems.get(715, 8) == 3


def test_who_goes_puts_no_reversion_value_of_who_is_there_in_force():
    ems, access = _rig()
    ems.pm.set_constant_power(20.0)
    assert _as(ems, 0).refusal(704, 14, 1, 10000, 0, 1, 0) == 0
    ems.run(2)
    access.controller = -1  # its seat has ended: it only reads
    assert _as(ems, 1).refusal(802, 10, 2000) == 0
    ems.run(2)
    access.leave(1)
    _as(ems, 0).run(130)
    assert ems.plant.command() == 20000 and ems.get(704, 15) == 10000
    ems.run(61, polls=False)
    assert ems.plant.command() == 0 and ems.pm.curtailments()[0]["owner"] == "ems 192.168.1.5, reversion value"


def test_who_keeps_reading_keeps_its_own_and_nothing_of_another():
    ems, access = _rig()
    assert _as(ems, 0).refusal(704, 22, 1, 1, 0, 1000) == 0
    ems.run(1)
    access.controller = -1
    assert _as(ems, 1).refusal(704, 14, 1, 9000) == 0
    access.leave(1)
    _as(ems, 0).run(70)
    assert ems.plant.command() == 1000 and ems.pm.curtailments() == []


def test_a_setpoint_that_another_says_again_is_its_own_from_then_on():
    ems, access = _rig()
    _one_after_the_other(ems, access, ((704, 22, 1, 1, 0, 1000),), (704, 22, 1, 1, 0, 1000), 5)
    assert [one["owner"] for one in ems.pm.claims()] == ["ems 192.168.1.6"]


def test_two_clients_that_ask_and_what_they_have_in_force_allocate_nothing():
    ems, access = _rig()
    assert _as(ems, 0).refusal(704, 22, 1, 1, 0, 20000) == 0
    ems.run(1)
    access.controller = -1
    assert _as(ems, 1).refusal(704, 14, 1, 10000) == 0
    ems.run(1)
    access.here = _nothing
    control = ems.control

    def ask():
        for i in range(200):
            control.heard(i & 1)
            control.step(25)
            ems.chain.registers[t.SET_W + 1] = 1000 + i  # the setpoint, as a write changes it

    ask()
    gc.collect()
    micropython.heap_lock()
    try:
        ask()
    finally:
        micropython.heap_unlock()
    assert ems.owner() == "ems 192.168.1.5" and ems.pm.curtailments()[0]["owner"] == "ems 192.168.1.6"


def test_what_nobody_has_commanded_for_weeks_allocates_nothing():
    """2**30 ms are twelve days: a time that runs on below them takes of the heap in each of fifty steps a second."""
    ems, access = _rig()
    control = ems.control
    for _ in range(3):
        control.step(0x1FFFFFFF)
    gc.collect()
    micropython.heap_lock()
    try:
        for _ in range(100):
            control.step(25)
    finally:
        micropython.heap_unlock()
    assert _as(ems, 0).refusal(704, 22, 1, 1, 0, 20000) == 0
    ems.run(1)
    assert ems.owner() == "ems 192.168.1.5"


def _nothing(_client):
    """Instead of the rig's list, which grows."""


def _left(words):
    """Client 0 has commanded this and gone, and its reversion values are in force; nobody has the seat."""
    ems, access = _rig()
    access.rights[1] = SERVICE
    assert _as(ems, 0).refusal(*words) == 0
    ems.run(2)
    access.leave(0)
    ems.run(61, polls=False)
    return _as(ems, 1)


CHARGE = (704, 22, 1, 1, 0xFFFF, 45536, 0xFFFF, 60536, 0, 0, 1, 0, 0)  # -20 kW, then -5 kW
BOUND = (704, 14, 1, 10000, 0, 1, 0)  # 100 %, then 0 %


def test_a_reversion_value_ends_with_the_next_command_of_another_client_whatever_it_commands():
    for words in ((704, 14, 1, 9000), (123, 5, 9000), (124, 5, 3), (802, 10, 2500), (715, 8, 1), (704, 49, 5), (703, 2, 1)):
        ems = _left(CHARGE)
        assert ems.plant.command() == -5000 and ems.owner() == "ems 192.168.1.5, reversion value"
        assert ems.refusal(*words) == 0
        ems.run(2)
        assert ems.plant.command() == 0 and ems.pm.claims() == [] and ems.get(704, 22) == 0, words
    for words in ((704, 22, 1, 1, 0, 20000), (123, 5, 9000), (802, 10, 2500), (802, 50, 1)):
        ems = _left(BOUND)
        assert ems.limits() == (0.0, None)
        assert ems.refusal(*words) == 0
        ems.run(2)
        assert ems.limits() == (None, None) and ems.get(704, 14) == 0, words
        assert ems.plant.command() == (20000 if words[1] == 22 else 0)


def test_neither_reading_nor_a_heartbeat_nor_what_is_refused_ends_a_reversion_value():
    ems = _left(BOUND)
    ems.run(10)
    assert ems.refusal(715, 5, 0, 9) == 0 and ems.refusal(704, 22, 7) == 3
    ems.run(10)
    assert ems.limits() == (0.0, None)


def test_who_comes_back_ends_its_own_reversion_values_by_whatever_it_commands():
    ems, _ = _rig()
    assert _as(ems, 0).refusal(704, 14, 1, 10000, 5000, 1, 0) == 0
    ems.run(61, polls=False)
    assert ems.limits() == (50.0, None)
    assert ems.refusal(704, 22, 1, 1, 0, 60000) == 0
    ems.run(5)
    assert ems.plant.command() == 60000 and ems.limits() == (None, None) and ems.owner() == "ems 192.168.1.5"


def test_a_setpoint_beside_a_reverted_limit_is_no_last_word_nor_the_other_way_round():
    ems, _ = _rig()
    assert _as(ems, 0).refusal(704, 14, 1, 10000, 5000, 1, 0, 5) == 0  # its own time: 5 s
    assert ems.refusal(704, 22, 1, 1, 0, 1000) == 0
    ems.run(10)
    assert ems.owner() == "ems 192.168.1.5" and ems.pm.curtailments()[0]["owner"] == "ems 192.168.1.5, reversion value"
    ems, _ = _rig()
    assert _as(ems, 0).refusal(704, 22, 1, 1, 0, 1000, 0, 500, 0, 0, 1, 0, 5) == 0
    assert ems.refusal(704, 14, 1, 9000) == 0
    ems.run(10)
    assert ems.owner() == "ems 192.168.1.5, reversion value" and ems.pm.curtailments()[0]["owner"] == "ems 192.168.1.5"


def test_what_is_commanded_and_refused_is_told_with_its_point_and_value():
    ems, access = _commanded()
    assert access.told[-1] == (0, True, "704 WSet", 10000), "what stands, whichever register was written last"
    ems.refusal(701, 10, 5)
    assert access.told[-1] == (0, False, "read-only register", 5)
    ems.refusal(124, 12, 0x8000)
    assert access.told[-1] == (0, False, "124 OutWRte", -0x8000)
    told = len(access.told)
    _as(ems, 3).put(715, 5, 0, 1)
    assert len(access.told) == told, "heartbeats are no commands"


# what is written of which model from which offset on: what is told of the last of them
TOLD = (
    (((704, 22, 1, 1, 0xFFFF, 45536, 0, 0, 0, 0, 0, 0, 60),), "704 WSet", -20000),
    (((704, 24, 0xFFFF, 45536), (704, 22, 1)), "704 WSet", -20000),
    (((704, 24, 0xFFFF, 45536), (704, 22, 1), (704, 32, 60)), "704 WSet", -20000),
    (((704, 24, 0xFFFF, 45536), (704, 22, 1), (704, 22, 0)), "704 WSetEna", 0),
    (((704, 22, 0, 1, 0xFFFF, 45536),), "704 WSetEna", 0),
    (((704, 23, 0), (704, 28, 0xF448), (704, 22, 1)), "704 WSetPct", -3000),
    (((704, 14, 1, 3000, 0, 1, 0),), "704 WMaxLimPct", 3000),  # as a Victron GX writes it,
    (((704, 15, 4000), (704, 14, 1), (704, 17, 1)), "704 WMaxLimPct", 4000),  # and register by register
    (((704, 14, 0, 10000),), "704 WMaxLimPctEna", 0),
    (((123, 5, 6000), (123, 9, 1)), "123 WMaxLimPct", 6000),
    (((123, 9, 0),), "123 WMaxLim_Ena", 0),
    (((124, 12, 0xF830), (124, 5, 2)), "124 OutWRte", -2000),  # evcc's forced charge, in both orders
    (((124, 5, 2), (124, 12, 0xF830)), "124 OutWRte", -2000),
    (((124, 12, 0xF830),), "124 OutWRte", -2000),
    (((124, 12, 2500, 1500), (124, 5, 1)), "124 InWRte", 1500),
    (((124, 12, 2500, 0xFC18), (124, 5, 3)), "124 InWRte", -1000),
    (((124, 13, 1500),), "124 InWRte", 1500),
    (((124, 5, 2), (124, 5, 0)), "124 StorCtl_Mod", 0),
    (((124, 17, 0),), "124 ChaGriSet", 0),
    (((802, 10, 3000),), "802 SoCRsvMin", 3000),
    (((802, 9, 8000),), "802 SocRsvMax", 8000),
    (((802, 9, 8000, 3000),), "802 SoCRsvMin", 3000),
    (((123, 4, 0),), "123 Conn", 0),
    (((123, 3, 30, 0),), "123 Conn", 0),
    (((703, 2, 0),), "703 ES", 0),
    (((704, 49, 5),), "704 WRmp", 5),
)  # fmt: skip


def test_of_a_write_the_value_is_told_that_an_ems_commands_by_it():
    for writes, point, value in TOLD:
        ems, access = _rig()
        for model, offset, *words in writes:
            assert ems.refusal(model, offset, *words) == 0, (model, offset, words)
        assert access.told[-1] == (0, True, point, value), (writes, access.told)


def test_of_a_refused_write_the_value_is_told_that_was_asked_for():
    for model, offset, words, point, value in (
        (704, 22, (1, 1, 0xFFFF, 45536), "704 WSet", -20000),
        (704, 24, (0x8000, 0), "704 WSet", -0x3FFFFFFF),
        (704, 24, (0x7FFF, 0xFFFF), "704 WSet", 0x3FFFFFFF),
        (704, 25, (7,), "704 WSet", 7),
        (704, 22, (1,), "704 WSet", 1),
        (704, 14, (1, 3000, 0, 1, 0), "704 WMaxLimPct", 3000),
        (124, 12, (0xF830,), "124 OutWRte", -2000),
        (802, 10, (3000,), "802 SoCRsvMin", 3000),
    ):
        ems, access = _rig()
        access.controller = 1
        assert _as(ems, 0).refusal(model, offset, *words) in (3, 6)
        assert access.told[-1] == (0, False, point, value), (model, offset, access.told[-1])


def test_what_the_rights_do_not_reach_is_told_with_its_point_too():
    for client, model, offset, words, point, value in (
        (2, 704, 22, (1, 1, 0xFFFF, 45536), "704 WSet", -20000),
        (2, 802, 10, (3000,), "802 SoCRsvMin", 3000),
        (0, 715, 8, (1,), "715 OpCtl", 1),
        (0, 802, 50, (2,), "802 SetOp", 2),
        (2, 701, 10, (5,), "read-only register", 5),
    ):
        ems, access = _rig()
        assert _as(ems, client).refusal(model, offset, *words) == 1
        assert access.told == [(client, False, point, value)] and access.controller == -1, (model, offset, access.told)


def test_a_disconnection_that_runs_out_is_told_as_whose_it_was():
    for stopped in (False, True):
        ems, access = _rig()
        assert _as(ems, 1).refusal(123, 3, 5, 0) == 0
        ems.run(3)
        if stopped:
            ems.pm.stop()
        ems.run(4)
        told = [(one["who"], one["point"], one["value"]) for one in ems.pm.remote.commands.listed()]
        assert (("192.168.1.6", "123 Conn reversion", 1) in told) is not stopped, told


def test_a_reversion_value_in_percent_is_told_in_percent():
    ems, access = _rig()
    ems.put(704, 22, 1, 0, 0, 0, 0, 0, 3000, 0xFC18, 1, 0, 5)
    ems.run(6)
    assert ("704 WSetPct reversion", -1000) in [(one["point"], one["value"]) for one in ems.pm.remote.commands.listed()]
