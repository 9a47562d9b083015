"""Answers that come too late on a serial line: none is ever taken for that of another request."""

from array import array

from host_tests.both.fakeline import Late
from host_tests.both.virtual import Virtual
from modbus import ModbusError, ModbusTimeout, ModbusUnreachable, client, rtu_client, rtu_line, silent
from modbus.rtu_client import RtuClient

T = 300  # the client's timeout_ms
FIRST, OTHER = 0, 1000  # two blocks of registers that are equally long


class Rig:
    """A client on a line whose registers hold their own address; unit 2 answers after 10 ms, unit 1 as `think` says."""

    def __init__(self, life, think, **options):
        self.life = life
        self.line = Late(life, lambda unit, address, number: think(address, number) if unit == 1 else 10)
        self.client = RtuClient(self.line, 115200, timeout_ms=T, **options)
        for unit in (1, 2):
            for address in (FIRST, OTHER):
                self.line.registers[unit, address] = 100 * unit + address
        self.out = array("H", (0,))

    def read(self, address, unit=1):
        """The register, or the error's class; `took`: ms."""
        begun = self.life.us
        try:
            self.life.go(self.client.read_registers(unit, address, 1, self.out))
            return self.out[0] - 100 * unit
        except ModbusError as error:
            return type(error)
        finally:
            self.took = (self.life.us - begun) / 1000


def story(think, **options):
    def decorate(test):
        def run():
            with Virtual(client, rtu_client, rtu_line, silent) as life:
                test(Rig(life, think, **options))

        return run

    return decorate


def once(ms):
    """Busy for so long with its first request, quick with the others."""
    return lambda address, number: ms if number == 1 else 10


def _the_repeats_own_answer(rig):
    assert rig.read(FIRST) == FIRST, "the repeat is answered by the answer to the request itself"
    for _ in range(3):
        assert rig.read(OTHER) == OTHER and rig.read(FIRST) == FIRST
    assert rig.client.count.late == 1 and rig.client.count.timeouts == 1


test_a_repeats_own_answer_is_not_the_next_requests = story(once(305))(_the_repeats_own_answer)
test_nor_after_a_longer_wait = story(once(590))(_the_repeats_own_answer)


def _always_slow(rig):
    for _ in range(5):
        assert rig.read(FIRST) == FIRST and rig.read(OTHER) == OTHER


test_a_device_that_is_always_slower_than_the_time_out_gives_true_values = story(lambda a, n: 350)(_always_slow)
test_so_does_one_that_is_slower_by_a_hair = story(lambda a, n: 301)(_always_slow)


def _no_repeats(rig):
    assert rig.read(FIRST) == ModbusTimeout
    got = None
    while got in (None, ModbusUnreachable):
        got = rig.read(OTHER)
        rig.life.run(5)
    assert got == OTHER
    assert rig.read(FIRST) == FIRST and rig.client.count.late == 1


test_without_repeats_a_late_answer_is_not_the_next_requests = story(once(350), retries=0)(_no_repeats)


def _two_repeats(rig):
    for _ in range(4):
        got = rig.read(FIRST)
        assert got in (FIRST, ModbusUnreachable), "it was silent twice, and is left in peace"
        rig.life.run(50)
        got = rig.read(OTHER)
        assert got in (OTHER, ModbusUnreachable)
        rig.life.run(700)


test_more_repeats_make_no_difference = story(lambda a, n: 620 if n in (1, 5) else 10, retries=2)(_two_repeats)


def _same_request(rig):
    rig.read(FIRST)
    rig.line.registers[1, FIRST] = 107
    assert rig.read(FIRST) == 7, "what the register held before is not what it holds"


test_the_same_register_asked_again_is_not_answered_with_what_it_held = story(once(310))(_same_request)


def _writes(rig):
    rig.read(FIRST)
    said = []
    rig.life.go(rig.client.write_registers(1, OTHER, array("H", (5,)), 1))
    rig.life.go(rig.client.write_registers(1, OTHER, array("H", (6,)), 1, 16, lambda: said.append(1)))
    assert len(said) == 2 and rig.client.count.rejected == 0, "its repeat carries what is so then"
    assert rig.read(FIRST) == FIRST and rig.client.count.late == 2


test_writes_are_asked_behind_a_late_answer = story(lambda a, n: 310 if n in (1, 4) else 10)(_writes)


def _another_number(function):
    def overtaken(rig):
        """The first request is answered late; its repeat, which says 0, is not heard."""
        held = []  # what the device has taken
        usual = rig.line.write
        rig.client.echoes = False  # that is known

        def write(frame, start, length):
            if len(rig.line.asked) != 1:
                at = start + (7 if function == 16 else 4)
                held.append(frame[at] << 8 | frame[at + 1])
            return usual(frame, start, length)

        rig.line.write = write
        words = array("H", (0,))
        wanted = [5000, 0]

        def fresh():
            words[0] = wanted.pop(0) if wanted else 0

        begun = rig.life.us
        try:
            rig.life.go(rig.client.write_registers(1, OTHER, words, 1, function, fresh))
        except ModbusError:
            assert rig.life.us - begun < 2000 * T, "the repeat has not waited"
            rig.life.go(rig.client.write_registers(1, OTHER, words, 1, function, fresh))
        assert held == [5000, 0], "the answer to the first is not taken for that to the second"
        assert rig.read(FIRST) == FIRST

    return overtaken


def _silent_once(address, number):
    return {1: 350, 2: None}.get(number, 10)


test_a_late_answer_does_not_say_that_another_number_was_taken = story(_silent_once)(_another_number(16))
test_nor_does_it_of_one_register_alone = story(_silent_once)(_another_number(6))


def _other_units(rig):
    rig.read(FIRST)
    assert rig.read(FIRST, 2) == FIRST and rig.took < 40, "its answers carry another number"
    assert rig.read(OTHER) == OTHER


def _passed_meanwhile(rig):
    rig.read(FIRST)
    rig.life.run(20)
    assert rig.read(FIRST, 2) == FIRST
    assert rig.read(OTHER) == OTHER and rig.took < 40, "it has come already, before the other unit was asked"


test_what_came_late_is_not_waited_for_any_more = story(once(305))(_passed_meanwhile)
test_other_units_need_not_wait_for_a_late_answer = story(once(305))(_other_units)


def _late_among_others(rig):
    assert rig.read(FIRST) == FIRST
    rig.line._think = lambda unit, address, number: 60
    assert rig.read(FIRST, 2) == FIRST
    assert rig.read(OTHER, 2) == OTHER, "what another unit says late does not end the wait"
    assert rig.client.count.crc_errors == 0


test_a_late_answer_does_not_end_the_wait_for_another_unit = story(lambda a, n: {1: 302, 2: 5}.get(n, 10))(_late_among_others)


def _noise(rig):
    rig.line.noise(rig.life.us // 1000 + 20, b"\x55\xaa\x00")
    assert rig.read(FIRST) == FIRST
    assert rig.read(OTHER) == OTHER and rig.read(FIRST) == FIRST
    assert rig.client.count.crc_errors == 1 and len(rig.line.asked) == 3, "nothing had to be sent again"


test_noise_before_an_answer_does_not_end_the_wait_for_it = story(lambda a, n: 150)(_noise)


def _garbage(rig):
    for _ in range(2):
        rig.line.noise(rig.life.us // 1000 + 20, b"\x55\xaa\x0f")
        rig.read(FIRST)
        assert "3 bytes that are no answer came" in rig.client.count.last_error, "another baud rate looks like that"
        rig.life.run(2000)


test_it_is_said_that_something_came = story(lambda a, n: None, retries=0)(_garbage)


def _two_late(rig):
    assert rig.read(FIRST) == ModbusTimeout
    rig.line.noise(rig.life.us // 1000 + 5, b"\x55")
    rig.line.say(rig.life.us // 1000 + 40, b"\x02\x03\x02\0\7")
    rig.life.run(T)
    assert rig.read(OTHER) == OTHER, "neither noise nor another unit is what it owes"
    assert rig.read(FIRST) == FIRST


test_what_is_owed_is_known_by_its_unit = story(once(T + 250), retries=0)(_two_late)


def _cancelled(rig):
    task = rig.life.start("", rig.client.read_registers(1, FIRST, 1, rig.out))
    rig.life.run(100)
    rig.life.stop(task)
    assert rig.read(OTHER, 2) == OTHER, "its answer is due: everybody lets it pass"
    assert rig.read(OTHER) == OTHER and rig.read(FIRST) == FIRST


test_a_request_that_was_given_up_leaves_no_answer_behind = story(once(150))(_cancelled)
test_nor_when_its_answer_is_late = story(once(500))(_cancelled)


def _a_lost_request(rig):
    assert rig.read(FIRST) == FIRST
    assert rig.read(OTHER) == OTHER and rig.took < 2 * T, "no longer than an answer may be late"
    assert rig.read(FIRST) == FIRST and rig.took < 40, "and that once"


test_a_request_that_got_lost_costs_one_wait = story(lambda a, n: None if n == 1 else 10)(_a_lost_request)


def _dead(rig):
    begun = rig.life.us
    spent = 0
    while rig.life.us - begun < 20000000:
        rig.read(FIRST)
        spent += rig.took
        rig.life.run(20)
        assert rig.read(FIRST, 2) == FIRST and rig.took < 40
    assert spent < 9 * (T + 20), "two time-outs, then one for each pause that doubles"


test_a_dead_unit_costs_the_others_no_more_than_its_time_outs = story(lambda a, n: None)(_dead)


def _broadcast(rig):
    rig.life.go(rig.client.write_register(0, OTHER, 1))
    assert rig.read(OTHER) == OTHER and rig.took < 40


test_a_broadcast_leaves_no_answer_to_wait_for = story(lambda a, n: 10)(_broadcast)
