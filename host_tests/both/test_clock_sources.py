"""Where the clock gets its time after a reset: the chip's own clock, a DS3231, servers; and what is handed back."""

from civil import day_number, text_of
from ds3231 import DS3231
from posixtz import PosixTZ
from rows import each

from firmware import timekeeper
from firmware.clock import CONSOLE, EMS, HOLDOVER, KEPT, NTP, RTC, SYNCED, UNSET, Clock
from firmware.services import ems_clock
from firmware.timekeeper import OPTIONS, Timekeeper
from host_tests.both.ds3231chip import Chip
from host_tests.both.virtual import Virtual

_DAY = day_number(2026, 11, 22)


class Kept:
    """machine.RTC: its time outlives a reset, and begins in 2000 when power was away."""

    def __init__(self, *moment):
        self.moment = moment or (2000, 1, 1, 5, 0, 0, 0, 0)

    def datetime(self, moment=None):
        if moment is None:
            return self.moment
        self.moment = moment


def _options(**given):
    options = {row[0]: row[2] for row in each(OPTIONS)}
    options["ntp"] = ""
    options.update(given)
    return options


def _keeper(chip=None, kept=None, **given):
    clock = Clock(PosixTZ("UTC0"), 0)
    return clock, Timekeeper(clock, _options(**given), DS3231(chip) if chip else None, kept)


def _good_chip(second=17):
    chip = Chip(2026, 11, 22, 9, 56, second)
    chip.regs[0x0F] = 0
    return chip


def _time(clock):
    return text_of(clock.day, clock.sec)


class Ticks:
    """time.ticks_ms of a module, which the test moves."""

    ms = 0

    def ticks_ms(self):
        return self.ms & 0x3FFFFFFF


def test_an_ems_that_writes_its_right_time_in_whole_seconds_sets_the_clock_once():
    usual = ems_clock.time
    ticks = ems_clock.time = Ticks()
    try:
        for period in (60000, 10000, 1000):
            ticks.ms = 0
            clock = Clock(PosixTZ("UTC0"), 0)
            registers = ems_clock.ClockRegisters(clock)
            ticked = written = 0
            while ticks.ms < 4 * 3600000:
                if ticked <= written:  # the calendar's loop: a second, and what the loop takes
                    ticks.ms = ticked
                    clock.tick(ticks.ms & 0x3FFFFFFF)
                    ticked += 1004
                else:
                    ticks.ms = written
                    now = _DAY * 86400 + ticks.ms // 1000
                    assert registers.write(3, 0, 2, [now >> 16, now & 0xFFFF]) == 0
                    words = [0] * 4
                    registers.read(3, 0, 4, words)
                    assert abs((words[0] << 16 | words[1]) - now) <= 1, "what it reads back is what it wrote"
                    written += period
            assert clock.steps == 1 and clock.state == SYNCED, (period, clock.steps)
    finally:
        ems_clock.time = usual


def test_a_clock_chip_that_is_looked_at_every_hour_does_not_step_the_clock():
    chip = _good_chip()
    clock, keeper = _keeper(chip)
    chip.load(2026, 11, 22, 0, 0, 0)
    ticks = true_ms = 0
    for n in range(23):
        keeper.read_chip()
        step = 3600000 + n * 373 % 1000
        chip.run((true_ms + step) // 1000 - true_ms // 1000)
        true_ms += step
        ticks += step * 50001 // 50000
        clock.tick(ticks & 0x3FFFFFFF)
    assert clock.steps == 1


def test_the_timekeeper_hands_on_the_time_as_it_is_when_it_does():
    """The calendar carries the clock on once a second: the chip's own clock lost up to that at each reset."""
    chip, kept = Chip(), Kept()
    clock, keeper = _keeper(chip, kept)
    with Virtual(timekeeper, ms=1000) as life:
        clock.tick(1000)
        clock.set(NTP, _DAY, 35777, 250)
        life.run(900)
        life.start_task = life.live(keeper)
        life.run(10)
    assert kept.moment == (2026, 11, 22, 6, 9, 56, 18, 150000), kept.moment


def test_after_a_reset_the_chips_own_clock_is_believed_as_holdover():
    clock, keeper = _keeper(kept=Kept(2026, 11, 22, 6, 9, 56, 17, 250000))
    keeper.read_kept()
    assert _time(clock) == "2026-11-22 09:56:17" and clock.ms == 250
    assert clock.state == HOLDOVER and clock.source == KEPT


def test_after_power_was_away_the_chips_own_clock_is_not_believed():
    clock, keeper = _keeper(kept=Kept())
    keeper.read_kept()
    assert clock.state == UNSET


def test_a_clock_chip_sets_the_clock():
    clock, keeper = _keeper(_good_chip())
    keeper.read_chip()
    assert _time(clock) == "2026-11-22 09:56:17" and clock.source == RTC and clock.state == HOLDOVER


def test_a_clock_chip_betters_a_kept_clock():
    clock, keeper = _keeper(_good_chip(), Kept(2026, 11, 22, 6, 9, 50, 0, 0))
    keeper.read_kept()
    keeper.read_chip()
    assert _time(clock) == "2026-11-22 09:56:17" and clock.source == RTC


def test_a_clock_chip_that_lost_the_time_or_is_missing_is_told_and_changes_nothing():
    chip = Chip(2026, 11, 22)
    clock, keeper = _keeper(chip)
    keeper.read_chip()
    assert clock.state == UNSET and "lost the time" in keeper.counters()["last_error"]
    chip.present = False
    keeper.read_chip()
    assert clock.state == UNSET and keeper.counters()["chip_errors"] == 1


def test_a_clock_chip_with_an_impossible_date_is_refused():
    chip = Chip(2019, 11, 22)
    chip.regs[0x0F] = 0
    clock, keeper = _keeper(chip)
    keeper.read_chip()
    assert clock.state == UNSET and keeper.counters()["rejected"] == 1


def test_a_clock_chip_carries_a_clock_through_days_without_servers():
    chip = _good_chip()
    clock, keeper = _keeper(chip)
    keeper.read_chip()
    ticks = 0
    for _ in range(7200):
        ticks += 1001  # a crystal 0.1 % fast
        clock.tick(ticks)
    chip.run(7200)
    keeper.read_chip()
    assert clock.error_ms <= 8000
    for _ in range(4000):
        ticks += 1000
        clock.tick(ticks)
    chip.run(4000)
    keeper.read_chip()
    off_s = clock.sec - (9 * 3600 + 56 * 60 + 17 + 11200)
    assert abs(off_s) <= 1


def test_good_time_is_handed_on_to_what_survives_a_reset_whoever_brought_it():
    for source in (NTP, EMS, CONSOLE):
        chip, kept = Chip(), Kept()
        clock, keeper = _keeper(chip, kept)
        clock.set(source, _DAY, 35777, 250)
        keeper.hand_on()
        assert kept.moment == (2026, 11, 22, 6, 9, 56, 17, 250000)
        assert DS3231(chip).read() == (_DAY, 35777)


def test_time_that_came_from_the_clock_chip_is_not_handed_back_to_it():
    chip = _good_chip()
    clock, keeper = _keeper(chip)
    keeper.read_chip()
    chip.run(5)
    keeper.hand_on()
    assert DS3231(chip).read() == (_DAY, 35782)


def test_the_clock_chip_is_written_once_a_day_and_after_a_step():
    chip = Chip()
    clock, keeper = _keeper(chip)
    clock.set(CONSOLE, _DAY, 35777)
    keeper.hand_on()
    chip.load(2026, 11, 22, 0, 0, 0)
    keeper.hand_on()
    assert DS3231(chip).read() == (_DAY, 0)
    clock.set(CONSOLE, _DAY, 40000)
    keeper.hand_on()
    assert DS3231(chip).read() == (_DAY, 40000)
    for hour in range(1, 25):
        clock.tick(hour * 3600000)
    keeper.hand_on()
    assert DS3231(chip).read() == (_DAY + 1, 40000)


def test_a_missing_clock_chip_is_tried_again():
    chip = Chip()
    chip.present = False
    clock, keeper = _keeper(chip)
    clock.set(CONSOLE, _DAY, 35777)
    keeper.hand_on()
    assert keeper.counters()["chip_errors"] == 1
    chip.present = True
    keeper.hand_on()
    assert DS3231(chip).read() == (_DAY, 35777)
