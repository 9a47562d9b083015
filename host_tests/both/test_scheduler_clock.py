"""The schedule on the real clock: uneven ticks, drift, slewing and small steps, as on a board."""

import random
import time

from civil import day_number, text_of
from posixtz import PosixTZ

from firmware.clock import NTP, SLEWED, STEPPED, Clock
from firmware.modes import Mode
from firmware.schedule_entry import ScheduleEntry
from firmware.scheduler import ENDED, STARTED, Scheduler

_DAY = day_number(2026, 11, 22)


class Board:
    """A board whose crystal is wrong by `drift_ppm`, ticking about once a second; true time is known to the test."""

    def __init__(self, drift_ppm, seed):
        self.random = random
        random.seed(seed)
        self.ticks = time.ticks_add(0, -3000000)  # the ticks wrap within the hour
        self.clock = Clock(PosixTZ("CET-1CEST,M3.5.0,M10.5.0/3"), self.ticks)
        self.scheduler = Scheduler()
        self.drift_ppm = drift_ppm
        self.true_ms = 21 * 3600000  # since 2026-11-22 00:00 UTC
        self.drift_rem = 0
        self.seen = []

    def hear(self, off_ms=0):
        """An NTP reading, wrong by off_ms."""
        ms = self.true_ms + off_ms
        return self.clock.set(NTP, _DAY + ms // 86400000, ms % 86400000 // 1000, ms % 1000)

    def run(self, seconds):
        end_ms = self.true_ms + seconds * 1000
        while self.true_ms < end_ms:
            passed = random.randrange(700, 1300)
            self.true_ms += passed
            self.drift_rem += passed * self.drift_ppm
            counted = passed + self.drift_rem // 1000000
            self.drift_rem %= 1000000
            self.ticks = time.ticks_add(self.ticks, counted)
            self.clock.tick(self.ticks)
            self.scheduler.tick(self.clock)
            for kind, i in self.scheduler.take_events():
                self.seen.append((kind, i, self.true_ms, self.clock.elapsed_s, text_of(*self.clock.local())))


def _entry(hour, minute, minutes, kw=-40.0):
    return ScheduleEntry(hour=hour, minute=minute, duration_minutes=minutes, mode=Mode.CHARGE, power_setpoint=kw)


def test_entries_start_and_end_on_the_second_while_a_drifting_clock_is_slewed():
    for drift_ppm in (-80, 80):
        board = Board(drift_ppm, 7)
        board.hear()
        board.scheduler.add(_entry(23, 50, 20))
        board.scheduler.add(_entry(1, 0, 60))
        board.scheduler.add(_entry(2, 0, 30))
        for _ in range(17):
            board.run(1024)
            assert board.hear(board.random.randrange(-20, 20)) == SLEWED
        assert [(kind, i) for kind, i, _, _, _ in board.seen] == [
            (STARTED, 0),
            (ENDED, 0),
            (STARTED, 1),
            (ENDED, 1),
            (STARTED, 2),
            (ENDED, 2),
        ]
        nominal = [22 * 3600 + 50 * 60, 23 * 3600 + 600, 24 * 3600, 25 * 3600, 25 * 3600, 25 * 3600 + 1800]
        for (_, _, true_ms, _, _), wanted_s in zip(board.seen, nominal):
            assert wanted_s * 1000 - 200 <= true_ms < wanted_s * 1000 + 1500, (drift_ppm, board.seen)
        assert board.seen[3][2] == board.seen[4][2]  # back to back: in the same tick


def test_a_small_step_in_a_run_changes_neither_its_length_nor_repeats_it():
    for off_ms in (-900, 1500):
        board = Board(0, 11)
        board.hear()
        board.scheduler.add(_entry(23, 0, 60))
        board.run(3600 + 1200)
        assert board.hear(off_ms) == STEPPED
        board.run(3600)
        assert [(kind, i) for kind, i, _, _, _ in board.seen] == [(STARTED, 0), (ENDED, 0)]
        ran_s = board.seen[1][3] - board.seen[0][3]
        assert 3598 <= ran_s <= 3602, ran_s


def test_a_small_step_back_across_a_start_does_not_start_it_twice():
    board = Board(0, 13)
    board.hear()
    board.scheduler.add(_entry(23, 0, 1))
    board.run(3601)
    assert board.hear(-8000) == STEPPED
    board.run(3600)
    assert [(kind, i) for kind, i, _, _, _ in board.seen] == [(STARTED, 0), (ENDED, 0)]
