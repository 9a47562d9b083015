"""The wall clock: states, sources, slewing and stepping, doubts, and time that goes on across the wrap of ticks."""

import random
import time

import micropython
from civil import day_number, text_of
from posixtz import PosixTZ

from firmware import clock as clock_module
from firmware.clock import (
    CONFIRMED,
    CONSOLE,
    EMS,
    HELD,
    HOLDOVER,
    KEPT,
    NTP,
    REFUSED,
    RTC,
    SLEWED,
    STEPPED,
    SYNCED,
    UNSET,
    Clock,
)
from firmware.errors import PowerError
from host_tests.both.plant import refusal
from host_tests.both.virtual import Virtual

_NOON = 12 * 3600
_DAY = day_number(2026, 11, 22)


class Board:
    """A clock on a board whose ticks the test moves."""

    def __init__(self):
        self.ticks = time.ticks_add(0, -5000)  # 5 s before the ticks wrap
        self.clock = Clock(PosixTZ("CET-1CEST,M3.5.0,M10.5.0/3"), self.ticks)

    def run(self, ms, step=1000):
        while ms > 0:
            part = min(ms, step)
            self.ticks = time.ticks_add(self.ticks, part)
            self.clock.tick(self.ticks)
            ms -= part

    def off_by_ms(self, source, off_ms, **more):
        """A reading that says the clock is slow by off_ms."""
        clock = self.clock
        total = clock.sec * 1000 + clock.ms + off_ms
        day, total = clock.day + total // 86400000, total % 86400000
        return clock.set(source, day, total // 1000, total % 1000, **more)


def synced(source=NTP, **more):
    board = Board()
    assert board.clock.set(source, _DAY, _NOON, **more) == STEPPED
    return board


def test_a_clock_is_unset_until_a_source_speaks():
    board = Board()
    board.run(5000)
    assert board.clock.state == UNSET and not board.clock.is_set
    assert board.clock.report()["state"] == "UNSET"
    board.clock.set(NTP, _DAY, _NOON, 250)
    assert board.clock.state == SYNCED and board.clock.steps == 1 and board.clock.step_s == 0


def test_time_goes_on_across_midnight_and_the_wrap_of_ticks():
    board = Board()
    board.clock.set(NTP, _DAY, 86399, 900)
    board.run(20000, 7)
    assert text_of(board.clock.day, board.clock.sec) == "2026-11-23 00:00:19" and board.clock.ms == 900


def test_elapsed_seconds_turn_over_with_the_clocks_seconds_and_ignore_steps():
    board = synced()
    board.run(300)
    board.off_by_ms(NTP, 400)
    before = board.clock.elapsed_s - board.clock.sec
    for _ in range(200):
        board.run(331)
        assert board.clock.elapsed_s - board.clock.sec == before
    elapsed = board.clock.elapsed_s
    assert board.off_by_ms(NTP, 90000) == STEPPED
    assert board.clock.elapsed_s == elapsed and board.clock.step_s == 90


def test_a_small_error_is_slewed_without_a_second_lost_or_repeated():
    for off_ms in (450, -450):
        board = synced()
        assert board.off_by_ms(NTP, off_ms) == SLEWED
        start = board.clock.sec * 1000 + board.clock.ms
        last = start
        for _ in range(1000):
            board.run(100)
            now = board.clock.sec * 1000 + board.clock.ms
            assert 99 <= now - last <= 101
            last = now
        assert last - start == 100000 + off_ms
        assert board.clock.steps == 1


def test_a_larger_error_is_stepped():
    board = synced()
    assert board.off_by_ms(NTP, -1700) == STEPPED
    assert (board.clock.steps, board.clock.step_s) == (2, -2)
    assert text_of(board.clock.day, board.clock.sec) == "2026-11-22 11:59:58" and board.clock.ms == 300


def test_a_reading_counts_from_the_tick_it_was_true_at():
    board = Board()
    then = board.ticks
    board.run(1500)
    board.clock.set(NTP, _DAY, _NOON, 700, at_ms=then)
    assert (board.clock.sec, board.clock.ms) == (_NOON + 2, 200)


def test_a_clock_without_readings_falls_into_holdover_and_its_error_grows():
    board = synced(error_ms=20)
    assert board.clock.error_ms == 20
    board.run(10000000, 60000)
    assert board.clock.state == SYNCED and board.clock.age_s == 10000
    board.run(2000000, 60000)
    assert board.clock.state == HOLDOVER and board.clock.error_ms == 20 + 12000 // 20


def test_a_kept_clock_or_an_rtc_gives_holdover_only():
    for source in (KEPT, RTC):
        board = synced(source)
        assert board.clock.state == HOLDOVER and board.clock.is_set


def test_a_worse_source_is_refused_while_a_better_one_is_fresh():
    board = synced(NTP)
    assert board.off_by_ms(EMS, 30000) == REFUSED
    board.run(10900000, 60000)
    assert board.off_by_ms(EMS, 30000) == STEPPED
    assert board.clock.source == EMS


def test_a_coarse_source_that_agrees_only_confirms():
    board = synced(NTP)
    assert board.off_by_ms(EMS, 900) == CONFIRMED
    assert board.clock.source == NTP and board.clock.steps == 1


def test_a_source_of_whole_seconds_that_is_right_never_steps_the_clock_however_often_it_speaks():
    for source, left_ms in ((EMS, 0), (EMS, 500), (RTC, 500)):
        for period in (3600000, 60000, 10300, 1000):
            board = Board()
            true_ms = _NOON * 1000
            done = set()
            for n in range(400):
                at_ms = time.ticks_add(board.ticks, -(n * 373 % 1000))  # the clock was carried on up to a second later
                then = true_ms - n * 373 % 1000
                done.add(board.clock.set(source, _DAY, then // 1000 % 86400, left_ms, at_ms=at_ms))
                if n == 200:
                    done.clear()
                off_ms = (board.clock.day - _DAY) * 86400000 + board.clock.sec * 1000 + board.clock.ms - true_ms
                assert abs(off_ms) <= 1100, (source, period, n, off_ms)
                board.run(period, 1000)
                true_ms += period + (period // 50000)  # a crystal 20 ppm slow
                if then // 86400000 != true_ms // 86400000:
                    break
            assert board.clock.steps == 1, (source, period, board.clock.steps)
            assert board.clock.state == (HOLDOVER if source == RTC else SYNCED)


def test_nor_does_one_whose_seconds_are_read_at_any_moment_for_a_year():
    """Two whole seconds that are both right may be a second apart, and more with what a crystal drifts and a line takes."""
    random.seed(5)
    for source, period, readings, late in ((RTC, 3600000, 24 * 365, 10), (EMS, 60000, 20000, 150), (EMS, 1000, 20000, 150)):
        board = Board()
        true_ms = _NOON * 1000
        ran = 0
        for n in range(readings):
            then = true_ms - random.randrange(late)
            board.clock.set(source, _DAY + then // 86400000, then // 1000 % 86400, 500)
            assert board.clock.steps == 1, (source, period, n)
            part = period + random.randrange(1000)
            true_ms += part
            ran += part * 30
            board.run(part + ran // 1000000, 60000)  # a crystal 30 ppm fast
            ran %= 1000000


def test_a_source_that_is_no_better_than_its_own_last_word_keeps_the_clock_synced():
    board = synced(NTP, error_ms=20)
    for _ in range(30):
        board.run(3600000, 60000)
        assert board.off_by_ms(NTP, 30, error_ms=1400) in (CONFIRMED, SLEWED)
        assert board.clock.state == SYNCED and board.clock.error_ms <= 1430


def test_a_source_of_whole_seconds_that_is_wrong_by_more_is_stepped_to():
    board = synced(EMS)
    board.run(60000)
    assert board.off_by_ms(EMS, 5000) == STEPPED
    assert board.clock.step_s == 5


def test_a_big_step_on_which_servers_agree_waits_for_a_second_reading_that_says_the_same():
    board = synced(NTP)
    assert board.off_by_ms(NTP, 86400000, agreed=3) == HELD
    board.run(64000)
    assert board.off_by_ms(NTP, -7000000, agreed=2) == HELD
    board.run(64000)
    assert board.off_by_ms(NTP, -7000100, agreed=2) == STEPPED
    assert board.clock.step_s == -7001 or board.clock.step_s == -7000


# ---- ntp (the case of that name): one source alone never moves a clock that is set far ----------------------

TEN_YEARS_S = 3653 * 86400


def ten_years_on(board, source, **more):
    clock = board.clock
    return clock.set(source, clock.day + 3653, clock.sec, clock.ms, **more)


def test_ntp_one_server_that_says_ten_years_is_never_believed():
    for first in (NTP, EMS, CONSOLE, RTC, KEPT):
        for source in (NTP, EMS):
            board = synced(first)
            board.run(200000000, 60000)  # whatever set it is not fresh any more
            before = board.clock.day
            for _ in range(20):
                assert ten_years_on(board, source) in (HELD, REFUSED)
                board.run(64000)
            assert board.clock.day == before and board.clock.steps == 1


def test_ntp_far_back_and_a_little_more_than_ten_minutes_are_held_too():
    for off_s in (601, -601, 3600, -3600, -86400):
        board = synced(NTP)
        for _ in range(3):
            assert board.off_by_ms(NTP, off_s * 1000) == HELD
            board.run(64000)
        assert board.clock.steps == 1
    for off_s in (600, -600):
        assert synced(NTP).off_by_ms(NTP, off_s * 1000) == STEPPED


def test_ntp_another_source_that_says_the_same_is_agreement():
    for first, second in ((NTP, EMS), (EMS, NTP), (NTP, RTC)):
        board = synced(NTP)
        board.run(11000000, 60000)
        assert ten_years_on(board, first) == HELD
        board.run(5000)
        assert ten_years_on(board, second) == STEPPED
        assert board.clock.step_s == TEN_YEARS_S


def test_ntp_what_is_held_is_said_and_a_person_decides():
    board = synced(NTP)
    assert "held" not in board.clock.report()
    ten_years_on(board, NTP)
    assert "NTP says +%d s" % TEN_YEARS_S in board.clock.report()["held"]
    assert ten_years_on(board, CONSOLE) == STEPPED
    assert "held" not in board.clock.report() and board.clock.source == CONSOLE


def test_ntp_small_steps_of_one_source_do_not_add_up_to_a_big_one_within_a_day():
    board = synced(NTP)
    done = []
    for _ in range(8):
        board.run(1024000, 1000)
        done.append(board.off_by_ms(NTP, 290000))
    assert done == [STEPPED, STEPPED] + [HELD] * 6
    assert board.clock.steps == 3
    assert board.off_by_ms(NTP, 290000, agreed=3) == STEPPED, "several servers that agree"
    board.run(87000000, 60000)
    assert board.off_by_ms(NTP, 290000) == STEPPED, "another day"
    board = synced(NTP)
    for _ in range(2000):
        board.run(64000, 64000)
        assert board.off_by_ms(NTP, 300) in (SLEWED, CONFIRMED), "slewing is no step"


def test_ntp_at_boot_a_clock_chip_betters_the_chips_own_clock_by_any_step_ahead():
    """The chip's own clock may have stood still for a while; what it kept is past all the same."""
    board = synced(KEPT)
    assert board.off_by_ms(RTC, 7200000) == STEPPED
    for _ in range(3):
        assert board.off_by_ms(RTC, 86400000) == HELD, "but no other time does so by itself"


def test_a_clock_chip_that_is_behind_the_kept_time_stands_still_and_moves_nothing_alone():
    for off_s in (-601, -7200, -200 * 86400, -2000 * 86400):
        board = Board()
        day = _DAY + 3000
        board.clock.set(KEPT, day, _NOON)
        for _ in range(3):
            assert board.clock.set(RTC, day + (_NOON + off_s) // 86400, (_NOON + off_s) % 86400, 500) == HELD
            board.run(60000)
        assert board.clock.day == day and board.clock.steps == 1 and "RTC says" in board.clock.report()["held"]
        assert board.off_by_ms(NTP, 300, error_ms=20) == SLEWED, "a server that knows better need not convince anybody"
    board = synced(KEPT)
    assert board.off_by_ms(RTC, -7200000) == HELD
    assert board.off_by_ms(EMS, -7200000) == STEPPED, "two say so: the kept clock was wrong"


def test_one_falseticker_does_not_move_the_clock():
    board = synced(NTP)
    assert board.off_by_ms(NTP, 86400000) == HELD
    board.run(64000)
    assert board.off_by_ms(NTP, 3) == SLEWED
    board.run(64000)
    assert board.off_by_ms(NTP, 86400000) == HELD


def test_a_person_may_move_the_clock_at_once():
    board = synced(NTP)
    assert board.off_by_ms(CONSOLE, 86400000) == STEPPED


def test_the_console_takes_local_time_and_utc():
    board = Board()
    board.clock.set_text("2026-07-01 12:30")
    assert text_of(board.clock.day, board.clock.sec) == "2026-07-01 10:30:00"
    board.clock.set_text("2026-11-22T09:56:17Z")
    assert text_of(board.clock.day, board.clock.sec) == "2026-11-22 09:56:17"
    assert board.clock.report()["local"] == "2026-11-22 10:56:17 CET"
    for text in ("", "yesterday", "2026-11-22", "2026-11--22 9:00"):
        assert "must be like" in refusal(ValueError, board.clock.set_text, text), text
    for text in ("2026-02-29 10:00", "2026-11-22 24:00", "2199-11-22 09:56:17", "1999-12-31 23:59:59Z"):
        said = refusal(ValueError, board.clock.set_text, text)
        assert said == "time '%s': is no date and time from 2000-01-01 00:00:00 to 2099-12-31 23:59:59" % text


def test_times_that_cannot_be_are_refused_with_the_range():
    board = Board()
    for day, sec in ((0, 0), (9496, 5), (36525, 0), (_DAY, 86400), (_DAY, -1)):
        try:
            board.clock.set(NTP, day, sec)
        except PowerError as error:
            assert "2026-01-01 to 2099-12-31" in str(error)
        else:
            raise AssertionError((day, sec))
    assert board.clock.state == UNSET


def test_a_tick_allocates_nothing():
    board = synced()
    board.off_by_ms(NTP, -450)
    clock = board.clock
    ticks = [time.ticks_add(board.ticks, n * 137) for n in range(700)]
    micropython.heap_lock()
    for now in ticks:
        clock.tick(now)
    micropython.heap_unlock()
    assert clock.elapsed_s == 95


def test_what_is_typed_counts_from_when_it_is_typed_and_not_from_the_last_tick():
    real, clock_module.time = clock_module.time, Virtual(ms=5000)
    try:
        clock = Clock(PosixTZ("UTC0"), 5000)
        clock.tick(5100)
        clock_module.time.us += 900000  # the calendar looks once a second
        clock.set_text("2026-11-22 09:56:17")
        clock_module.time.us += 200000
        clock.tick(clock_module.time.ticks_ms())
        assert (clock.sec % 60, clock.ms) == (17, 200)
    finally:
        clock_module.time = real
