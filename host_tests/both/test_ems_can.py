"""An EMS on CAN: what it receives, what it may command, and that nothing else moves the battery."""

import gc

import micropython

from firmware import image as im
from firmware.services import ems_frames as fr
from host_tests.both.bankplant import BankPlant
from host_tests.both.emscan import BASE, Rig, bounds, number, sealed, setpoint
from host_tests.both.fakecan import FakeCAN
from host_tests.both.plant import Plant

ACCEPTED, BEGINS = fr.RESULTS.split("\n")[1:3]


def controlling(watts=-20000, **given):
    """A rig whose EMS has been accepted."""
    rig = Rig(**given)
    rig.ask(watts)
    assert rig.ask(watts) == ACCEPTED
    return rig


def test_two_frames_in_a_row_move_the_battery_and_one_does_not():
    rig = Rig()
    assert rig.ask(-30000) == BEGINS
    rig.run(1000)
    assert rig.claims() == [] and rig.plant.now[im.CMD_P] == 0
    assert rig.ask(-30000) == ACCEPTED
    assert rig.claims() == [("ems can", -30.0)]
    for _ in range(8):
        rig.run(500)
        assert rig.ask(-30000) == ACCEPTED
    assert rig.plant.now[im.CMD_P] == -30000
    assert rig.service.counters()["accepted"] == 9 and rig.service.counters()["refused"] == 0


def test_the_whole_of_what_is_configured_may_be_asked_for_and_no_watt_more():
    for config, most in (({}, 100000), ({"max_charge_power": 33.333, "max_discharge_power": 33.333}, 33333)):
        rig = Rig(plant=Plant(**config).ready(), window_ms=60000, lifetime_ms=60000)
        rig.ask(0)
        for watts in (most, -most, most - 1, 1, -1, 0, 1 - most):
            assert rig.ask(watts) == ACCEPTED, watts
            assert rig.plant.now[im.REQUEST_P] == watts
        for watts in (most + 1, -most - 1, 0x7FFFFF, -0x7FFFFF):
            assert "out of its range" in rig.ask(watts), watts


def test_a_setpoint_is_the_command_s_within_the_next_cycle():
    rig = controlling(-10000)
    rig.counters[0] += 1
    rig.receive(BASE, setpoint(rig.counters[0], 15000))
    rig.plant.cycle(50)
    assert rig.plant.now[im.REQUEST_P] == 15000 and rig.plant.now[im.REQUEST_BY] == 4, "remote"


def test_silence_ends_the_setpoint_and_the_next_claim_takes_over():
    rig = Rig(lifetime_ms=3000, window_ms=1000)
    rig.plant.pm.set_constant_power(12.0)
    rig.ask(-30000)
    rig.counters[0] += 1
    rig.receive(BASE, setpoint(rig.counters[0], -30000))
    rig.run(2950)
    assert rig.plant.now[im.REQUEST_P] == -30000 and rig.said == []
    rig.run(100)
    assert rig.claims() == [] and rig.plant.now[im.REQUEST_P] == 12000
    rig.run(100)
    assert rig.said == ["EMS on can0: its setpoint ends: not renewed for 3000 ms"]


def test_the_ems_gives_back_at_once_what_it_has():
    rig = controlling()
    assert rig.ask(0, enable=0) == ACCEPTED
    assert rig.claims() == []
    rig.bound(5000, 5000)
    assert rig.bound(5000, 5000) == ACCEPTED and len(rig.plant.pm.curtailments()) == 1
    assert rig.bound(None, None, enable=0) == ACCEPTED
    assert rig.plant.pm.curtailments() == []
    rig.run(10000)
    assert rig.said == [], "nothing was left that could end"


def test_what_a_stop_or_a_person_has_ended_keeps_no_seat():
    for words in (("stop",), ("release", "remote", "ems can")):
        rig = Rig(lifetime_ms=600000)
        rig.ask(-20000)
        rig.ask(-20000)
        rig.run(2000)
        assert rig.plant.pm.remote.number == 0 and rig.claims() == [("ems can", -20.0)]
        getattr(rig.plant.pm, words[0])(*words[1:])
        rig.run(1100)
        assert rig.claims() == [] and rig.plant.pm.remote.number == -1, words
        assert rig.said == ["EMS on can0: its setpoint has ended by a stop or a person"], rig.said
        rig.ask(-20000)
        assert rig.ask(-20000) == ACCEPTED, "who asks again has it again"
        rig.run(2000)
        assert rig.plant.pm.remote.number == 0
    rig = Rig(lifetime_ms=600000)
    rig.bound(None, 1000)
    rig.bound(None, 1000)
    rig.ask(-20000)
    rig.ask(-20000)
    rig.plant.pm.stop()
    rig.run(1100)
    assert rig.plant.pm.remote.number == 0, "its limits hold on"
    rig.plant.pm.limit("ems can")
    rig.run(1100)
    assert rig.plant.pm.remote.number == -1


def test_limits_bound_both_directions_and_end_with_silence():
    rig = Rig()
    rig.bound(8000, None)
    assert rig.bound(8000, None) == ACCEPTED
    limit = rig.plant.pm.curtailments()[0]
    assert (limit["owner"], limit["discharge_kw"], limit["charge_kw"]) == ("ems can", 8.0, None)
    rig.plant.pm.set_constant_power(20.0)
    rig.run(2000)
    assert rig.plant.now[im.CMD_P] == 8000
    rig.run(4000)
    assert rig.plant.pm.curtailments() == [] and rig.said == ["EMS on can0: its limits end: not renewed for 5000 ms"]
    assert rig.bound(8000, None) != ACCEPTED and rig.bound(0, 1000000) == ACCEPTED
    limit = rig.plant.pm.curtailments()[0]
    assert (limit["discharge_kw"], limit["charge_kw"]) == (0, 1000)


def refused(rig, can_id, data, words):
    """This frame is refused with these words, and nothing changes."""
    before = rig.claims(), rig.plant.pm.curtailments() == [], rig.service.counters()["accepted"]
    count = rig.service.counters()["refused"]
    rig.receive(can_id, data)
    which = can_id - rig.options["base_id"]
    assert words in rig.result(which), rig.result(which)
    assert rig.service.counters()["refused"] == count + 1
    assert before == (rig.claims(), rig.plant.pm.curtailments() == [], rig.service.counters()["accepted"])


def test_what_is_wrong_with_a_frame_is_said_and_changes_nothing():
    rig = controlling(-20000, window_ms=60000, lifetime_ms=60000)
    at = rig.counters[0]
    good = setpoint(at + 1, 50000)
    refused(rig, BASE, setpoint(at, -20000), "was there already")
    refused(rig, BASE, good[:7], "wrong length")
    refused(rig, BASE, b"", "wrong length")
    for bit in range(64):
        spoilt = bytearray(good)
        spoilt[bit // 8] ^= 1 << bit % 8
        refused(rig, BASE, spoilt, "wrong checksum")
    refused(rig, BASE, setpoint(at + 1, 50000, base=BASE + 1), "wrong checksum")  # another frame's data id
    refused(rig, BASE, setpoint(15, 50000), "does not follow")
    refused(rig, BASE, setpoint(at + 1, 100001), "out of its range")
    refused(rig, BASE, setpoint(at + 2, -100001), "out of its range")
    refused(rig, BASE, setpoint(at + 3, -0x800000), "out of its range")
    for place, bits in ((1, 0x20), (5, 1), (6, 0x80), (7, 0xFF)):
        at = (at + 4) % 15 if place == 1 else (at + 1) % 15
        data = bytearray(setpoint(at, 50000))
        data[place] |= bits
        refused(rig, BASE, sealed(BASE, data), "bits set")
    refused(rig, BASE, setpoint((at + 4) % 15, 50000), "does not follow")
    assert rig.claims() == [("ems can", -20.0)]
    assert rig.ask(1000, skip=0) != ACCEPTED


def test_the_limits_frame_is_judged_by_itself():
    rig = Rig()
    rig.bound(1000, 1000)
    assert rig.bound(1000, 1000) == ACCEPTED
    refused(rig, BASE + 1, bounds(3, 1000001, 0), "out of its range")
    refused(rig, BASE + 1, bounds(4, 0, 0xFFFFFE), "out of its range")
    refused(rig, BASE + 1, bounds(4, 0, 0), "was there already")
    data = bytearray(bounds(5, 0, 0))
    data[1] |= 0x80
    refused(rig, BASE + 1, sealed(BASE + 1, data), "bits set")
    assert [limit["discharge_kw"] for limit in rig.plant.pm.curtailments()] == [1.0]
    assert rig.ask(1000) == BEGINS, "the counter of the other frame is its own"


def test_lost_frames_are_borne_up_to_two_and_a_jump_begins_anew():
    rig = controlling()
    assert rig.ask(-20000, skip=3) == ACCEPTED
    assert "does not follow" in rig.ask(-20000, skip=4)
    assert rig.ask(-20000) == ACCEPTED
    for _ in range(20):
        assert rig.ask(-20000) == ACCEPTED, "across 14 and 0"


def test_a_frame_that_comes_too_late_only_begins_anew():
    rig = controlling(window_ms=1000)
    rig.run(1100)
    assert "too late" in rig.ask(40000)
    assert rig.claims() == [("ems can", -20.0)]
    assert rig.ask(40000) == ACCEPTED and rig.claims() == [("ems can", 40.0)]
    rig.run(1100)
    late = setpoint(rig.counters[0], 40000)
    refused(rig, BASE, late, "too late")
    refused(rig, BASE, late, "was there already")  # one that is repeated for ever never counts


def test_after_weeks_of_silence_the_last_frame_is_still_old():
    rig = controlling()
    rig.run(10000)
    rig.plant.ms = rig.plant.ms - 10000 & 0x3FFFFFFF  # ticks have gone all the way round
    assert "too late" in rig.ask(40000)


def test_without_control_everything_is_refused_and_status_goes_on():
    rig = Rig(control=False)
    rig.ask(1000)
    assert "control false" in rig.ask(1000) and "control false" in rig.ask(0, enable=0)
    rig.bound(1000, 1000)
    assert "control false" in rig.bound(1000, 1000)
    assert rig.claims() == [] and rig.plant.pm.curtailments() == []
    assert sorted(rig.status()) == list(range(2, 16))


def test_an_emergency_maintenance_and_local_mode_take_no_command():
    rig = controlling()
    rig.plant.pm.remote.set_local(True)
    assert rig.claims() == [], "what it had ends"
    assert "local mode" in rig.ask(30000) and rig.claims() == []
    rig.plant.pm.remote.set_local(False)
    assert rig.ask(30000) == ACCEPTED
    rig.plant.pm.emergency_shutdown()
    rig.run(100)
    assert "EMERGENCY" in rig.ask(30000) and rig.claims() == []
    rig.run(3000)
    rig.plant.pm.reset_emergency()
    rig.run(100)
    rig.plant.pm.set_mode(5)
    rig.run(100)
    rig.ask(30000)
    assert "MAINTENANCE" in rig.ask(30000) and rig.claims() == []


def test_refusals_are_said_at_once_and_then_seldom_with_their_number():
    rig = controlling()
    for _ in range(50):
        rig.receive(BASE, b"12345678")
        rig.run(50)
    assert rig.said == ["EMS on can0: SETPOINT refused: has a wrong checksum"]
    rig.run(10000)
    assert rig.said[-1] == "EMS on can0: SETPOINT refused: has a wrong checksum (49 since the last line)"
    count = len(rig.said)
    rig.run(30000)
    assert len(rig.said) == count, "nothing new"
    rig.ask(1000)
    rig.ask(200000)
    rig.run(10000)
    assert "allowed are -100.0 to 100.0 kW" in rig.said[-1], rig.said


def ten_minutes(rig):
    """They pass, and the frames of that time are forgotten."""
    for _ in range(20):
        rig.run(30000)
        rig.can.sent = []


def test_the_journal_has_who_commanded_what_and_what_was_refused():
    rig = controlling(-20000)
    rig.run(1000)
    for _ in range(20):
        rig.ask(-20000)
    rig.run(1000)
    assert rig.journal.lines == [("EMS can0 SETPOINT", -20000)], rig.journal.lines
    rig.ask(200000)
    rig.run(1000)
    rig.receive(BASE, b"12345678")
    rig.bound(7000, None)
    rig.bound(7000, None)
    rig.run(2000)
    assert rig.journal.lines[1:] == [("EMS REFUSED can0 SETPOINT", fr.OUT_OF_RANGE), ("EMS can0 BOUNDS", 7000)]
    for watts in range(1000, 9000, 1000):
        rig.ask(watts)
    assert len(rig.journal.lines) == 3, "no flood of lines wears the flash"
    ten_minutes(rig)
    assert rig.journal.lines[3:] == [("EMS can0 SETPOINT x27", 8000), ("EMS REFUSED can0 SETPOINT x2", fr.TOO_LATE)]
    rig = Rig()
    rig.bound(None, 4000)
    rig.bound(None, 4000)
    rig.run(1000)
    assert rig.journal.lines == [("EMS can0 BOUNDS", -4000)], "of the charge, where the discharge is free"


def test_a_site_without_records_has_none():
    rig = Rig(records=False)
    rig.ask(-1000)
    assert rig.ask(-1000) == ACCEPTED and rig.journal.lines == []


def test_status_is_what_the_image_holds():
    rig = Rig()
    rig.plant.pm.set_constant_power(-25.5)
    rig.run(5000)
    frames = rig.status()
    now = rig.plant.now
    assert sorted(frames) == list(range(2, 16)) and all(len(data) == 8 for data in frames.values())
    assert frames[3][0] == now[im.MODE] == 2 and frames[3][2] == now[im.REQUEST_BY]
    assert (number(frames[4], 0, 4, True), number(frames[4], 4, 4, True)) == (-25500, -25500)
    assert number(frames[5], 0, 4, True) == now[im.LIMIT_DIS] and number(frames[5], 4, 4, True) == now[im.LIMIT_CHG]
    assert number(frames[6], 2, 2) == 10000 and number(frames[6], 6, 2, True) == now[im.BMS_I] < 0
    assert number(frames[12], 0, 2) == now[im.CELL_V_MAX] and number(frames[13], 3, 3) == 50000
    assert 0 <= now[im.UPTIME_S] - number(frames[14], 0, 4) <= 3


def test_what_is_unknown_or_too_old_is_marked_and_faults_are_shown():
    rig = Rig()
    frames = rig.status()
    assert number(frames[10], 4, 4, True) is None, "there is no generator"
    assert 6434 <= number(frames[6], 4, 2) <= 6436
    rig.plant.silent = {im.SEQ_BMS, im.SEQ_METER}
    rig.run(3000)
    frames = rig.status()
    assert [number(frames[6], at, 2) for at in (2, 4)] == [None, None] and number(frames[6], 6, 2, True) is None
    assert number(frames[9], 0, 4, True) is None and number(frames[13], 0, 3) is None and number(frames[13], 3, 3) is None
    assert frames[7][0] & 1, "bms_lost"
    assert frames[7][4] & 2, "and that it is missing"
    rig.plant.silent = {im.SEQ_PCS}
    rig.run(3000)
    assert rig.status()[3][6] == 255


def test_of_several_banks_the_sum_is_sent_and_the_faults_of_each():
    rig = Rig(plant=BankPlant().ready(), window_ms=60000, lifetime_ms=60000)
    rig.ask(-150000)
    assert rig.ask(-150000) == ACCEPTED, "the site may take more than a bank"
    rig.run(12000)
    assert number(rig.status()[4], 4, 4, True) == -150000
    rig.plant.batteries[1].silent = True
    rig.run(3000)
    frames = rig.status()
    assert frames[7][0] & 1 and frames[7][4] & 2, "bms_lost, of one bank"
    assert number(frames[6], 0, 2) is not None


def test_a_period_has_every_frame_once_and_the_slow_ones_each_fifth():
    rig = Rig(period_ms=500)
    rig.run(1000)
    rig.can.sent = []
    rig.run(5000)
    counts = {}
    for can_id, _, _ in rig.can.sent:
        counts[can_id - BASE] = counts.get(can_id - BASE, 0) + 1
    assert all(9 <= counts[at] <= 11 for at in range(2, 8)), counts
    assert all(counts[at] == 2 for at in range(8, 15)), counts
    alive = [data[7] for can_id, data, _ in rig.can.sent if can_id == BASE + 3]
    assert all((b - a) % 255 == 1 for a, b in zip(alive, alive[1:]))
    assert rig.service.skipped == 0


def test_at_the_shortest_period_every_frame_finds_its_place():
    rig = Rig(period_ms=200)
    rig.run(20000)
    assert rig.service.skipped == 0 and len(rig.can.sent) > 500


def test_frames_go_after_a_cycle_and_two_at_a_time():
    rig = Rig()
    rig.run(2000)
    rig.can.sent = []
    with rig:
        rig.service.look(rig.plant.ms)
        rig.service.look(rig.plant.ms + 1)
    assert rig.can.sent == [], "no cycle has come between"
    for _ in range(40):
        rig.can.sent = []
        rig.run(50)
        assert len(rig.can.sent) <= 2


class Waiting(FakeCAN):
    """A controller in which frames of others wait to be sent, or one that is not on its bus."""

    waiting = 0
    stopped = False

    def get_counters(self, numbers=None):
        if self.stopped:
            raise OSError(22)
        numbers = super().get_counters(numbers)
        numbers[5] = self.waiting
        return numbers


def test_nothing_is_queued_behind_what_waits_and_a_period_without_place_is_counted():
    rig = Rig(controller=Waiting())
    rig.run(1000)
    rig.can.waiting = 1
    rig.can.sent = []
    rig.run(2000)
    assert rig.can.sent == [] and rig.service.skipped > 10 and rig.service.waited > 10
    rig.can.waiting = 0
    assert sorted(rig.status()) == list(range(2, 16))
    rig.can.stopped = True
    rig.can.sent = []
    rig.run(2000)
    assert rig.can.sent == []
    rig.can.stopped = False
    assert sorted(rig.status()) == list(range(2, 16))


def test_a_full_queue_and_a_bus_that_is_off_cost_frames_only():
    rig = controlling()
    rig.can.room = 0
    rig.run(2000)
    assert rig.service.skipped > 10 and rig.bus.send_full > 10
    rig.can.room = 1000
    rig.can.fall_off()
    rig.run(1000)
    assert rig.bus.send_failed > 0
    rig.can.restart()
    assert rig.ask(-20000) != "" and sorted(rig.status()) == list(range(2, 16))


def test_a_burst_of_the_bms_is_waited_for_but_not_for_ever():
    rig = Rig()
    rig.run(2000)
    rig.can.sent = []
    for i in range(40):
        rig.plant.cycle(50)
        rig.bus.last_ms = rig.plant.ms - 1 if i < 4 else rig.bus.last_ms
        with rig:
            rig.service.look(rig.plant.ms)
        if i < 4:
            assert rig.can.sent == []
    assert rig.can.sent != []
    rig.can.sent = []
    for _ in range(40):
        rig.plant.cycle(50)
        rig.bus.last_ms = rig.plant.ms
        with rig:
            rig.service.look(rig.plant.ms)
    assert 4 <= len(rig.can.sent) <= 24, "a bus that is never quiet is used seldom"


def test_29_bit_ids_are_answered_with_such_and_others_are_not_ours():
    base = 0x18FF5000
    rig = Rig(base_id=base, extended=True)
    rig.ask(-5000)
    assert rig.ask(-5000) == ACCEPTED and rig.claims() == [("ems can", -5.0)]
    rig.receive(base & 0x7F0, setpoint(3, 9000, base=base), extended=False)
    assert rig.claims() == [("ems can", -5.0)]
    assert all(flags == 2 for _, _, flags in rig.can.sent)


def test_a_stopped_service_takes_nothing_more():
    rig = controlling()
    rig.service.stop()
    rig.counters[0] += 1
    rig.receive(BASE, setpoint(rig.counters[0], 50000))
    assert rig.claims() == [("ems can", -20.0)]
    rig.run(5100)
    assert rig.claims() == []


def test_what_a_full_heap_kept_from_ending_ends_at_the_next_look():
    rig = Rig(lifetime_ms=600000)
    rig.bound(None, 1000)
    rig.bound(None, 1000)
    assert len(rig.plant.pm.curtailments()) == 1
    seat, full = rig.plant.pm.remote, [True]
    ends = seat.limit

    def limit(*given):
        if full:
            full.clear()
            raise MemoryError("allocating 32 bytes")
        return ends(*given)

    seat.set_local(True)
    seat.limit = limit
    for _ in range(2):
        try:
            rig.run(100)
        except MemoryError:
            pass
    assert not full and rig.plant.pm.curtailments() == []


def test_every_place_taken_is_a_refusal_too():
    rig = Rig()
    for i in range(8):
        rig.plant.pm.limit("owner %d" % i, 50, 50)
    rig.bound(1000, 1000)
    assert "no place" in rig.bound(1000, 1000)
    for i in range(8):
        rig.plant.pm.limit("owner %d" % i)
    assert rig.bound(1000, 1000) == ACCEPTED


class Quiet(FakeCAN):
    """Hands over what it is given without allocating, and counts what is sent."""

    def __init__(self):
        super().__init__()
        self.frame = None
        self.id = 0
        self.count = 0

    def recv(self, message=None):
        if self.frame is None:
            return None
        for i in range(8):
            self._buffer[i] = self.frame[i]
        self.frame = None
        message[0] = self.id
        message[1] = self._views[8]
        message[2] = 0
        message[3] = 0
        return message

    def send(self, can_id, data, flags=0):
        self.count += 1
        return 0

    def get_counters(self, into=None):
        into = into or [0] * 8
        into[5] = self.count & 1  # every other look finds something that waits
        self.count += 1
        return into


class Held:
    """A plant whose time and cycles the test makes, as neither may allocate."""

    def __init__(self, plant):
        self.pm = plant.pm
        self.now = plant.now
        self.ms = plant.ms

    def cycle(self, ms):
        self.ms += ms
        self.now[im.CMD_SEQ] = self.now[im.CMD_SEQ] + 1 & 0x3FFFFFFF


def test_receiving_and_sending_allocate_nothing():
    can = Quiet()
    held = Held(Plant().ready())
    rig = Rig(plant=held, controller=can)
    good = [setpoint(i, -20000) for i in range(15)], [bounds(i, 30000, None) for i in range(15)]
    bad = bytes(good[0][0][:7]) + b"x"

    def turn(i):  # one that closes over more names than this is called with memory of the heap
        for at in range(2):
            can.id = BASE + at
            can.frame = good[at][i % 15]
            rig.bus.drain()
            can.frame = bad
            rig.bus.drain()
        rig.plant.cycle(50)
        rig.service.look(rig.plant.ms)

    with rig:
        rig.service.waited = rig.service.skipped = 0x3FFFFFFF  # a bus that is hardly ever quiet has such after some months
        for i in range(100):  # five seconds: the journal has its line of each kind
            turn(i)
        gc.collect()
        before = rig.service.counters()["accepted"]
        micropython.heap_lock()
        try:
            for i in range(100, 190):  # less than the ten seconds after which refusals are said again
                turn(i)
        finally:
            micropython.heap_unlock()
    assert rig.service.counters()["accepted"] == before + 180 and can.count > 100 and rig.bus.handler_errors == 0
