"""The schedule: midnight, summer time, overlaps, reboots, clocks that are unset or jump, one-shots, edits."""

from civil import day_number, text_of
from posixtz import PosixTZ

from firmware.errors import ConfigError, PowerError
from firmware.modes import Mode
from firmware.schedule_entry import ScheduleEntry
from firmware.scheduler import ENDED, MISSED, NO_CLOCK, STARTED, Scheduler


class Clock:
    """A clock that the test moves; the scheduler sees the same attributes as of firmware.clock.Clock."""

    def __init__(self, zone="CET-1CEST,M3.5.0,M10.5.0/3"):
        self.tz = PosixTZ(zone)
        self.is_set = False
        self.day = 0
        self.sec = 0
        self.elapsed_s = 0

    def at(self, local):
        """Sets the clock (a step) to the local time "2026-11-22 09:30"."""
        day = day_number(int(local[:4]), int(local[5:7]), int(local[8:10]))
        self.day, self.sec = self.tz.utc(day, int(local[11:13]) * 3600 + int(local[14:16]) * 60)
        self.is_set = True

    def run(self, seconds):
        self.elapsed_s += seconds
        self.sec += seconds
        self.day += self.sec // 86400
        self.sec %= 86400

    def local(self):
        return text_of(*self.tz.local(self.day, self.sec))[:16]


def charge(kw=40.0, **fields):
    return ScheduleEntry(mode=Mode.CHARGE, power_setpoint=-kw, **fields)


def discharge(kw=30.0, **fields):
    return ScheduleEntry(mode=Mode.DISCHARGE, power_setpoint=kw, **fields)


def follow(scheduler, clock, minutes, step_s=60):
    """Ticks every `step_s`; returns [(local time, kind, id)] of what happened."""
    seen = []
    for _ in range(minutes * 60 // step_s):
        scheduler.tick(clock)
        seen += [(clock.local(), kind, i) for kind, i in scheduler.take_events()]
        clock.run(step_s)
    return seen


def started(local, clock=None, *entries):
    """A scheduler with these entries and a clock that says `local`, ticked once."""
    clock = clock or Clock()
    scheduler = Scheduler()
    for entry in entries:
        scheduler.add(entry)
    clock.at(local)
    scheduler.tick(clock)
    return scheduler, clock


def refused(kind, call, *args, **fields):
    try:
        call(*args, **fields)
    except kind as error:
        return str(error)
    raise AssertionError("accepted %s %s" % (args, fields))


def test_an_entry_runs_for_its_duration():
    scheduler, clock = started("2026-11-23 00:55", None, charge(hour=1, duration_minutes=240))
    assert follow(scheduler, clock, 24 * 60) == [("2026-11-23 01:00", STARTED, 0), ("2026-11-23 05:00", ENDED, 0)]


def test_while_it_runs_power_mode_and_remaining_time_are_told():
    scheduler, clock = started("2026-11-23 01:00", None, charge(40, hour=1, duration_minutes=240))
    clock.run(90)
    scheduler.tick(clock)
    assert (scheduler.active, scheduler.mode, scheduler.power_w) == (0, Mode.CHARGE, -40000)
    assert scheduler.remaining_s == 240 * 60 - 90
    clock.run(240 * 60)
    scheduler.tick(clock)
    assert (scheduler.active, scheduler.power_w, scheduler.remaining_s) == (-1, 0, 0)


def test_an_entry_crosses_midnight_and_belongs_to_the_day_it_starts_on():
    friday = charge(day_of_week=5, hour=23, duration_minutes=120)
    scheduler, clock = started("2026-11-22 00:00", None, friday)
    assert follow(scheduler, clock, 7 * 1440) == [("2026-11-27 23:00", STARTED, 0), ("2026-11-28 01:00", ENDED, 0)]


def test_several_days_by_mask():
    scheduler, clock = started("2026-11-22 00:00", None, charge(days=0b0101010, hour=6, duration_minutes=30))
    starts = [when[:10] for when, kind, _ in follow(scheduler, clock, 7 * 1440) if kind == STARTED]
    assert starts == ["2026-11-23", "2026-11-25", "2026-11-27"]


def test_a_start_that_spring_skips_counts_on_as_if_clocks_had_not_changed():
    scheduler, clock = started("2026-03-29 00:00", None, charge(hour=2, minute=30, duration_minutes=60))
    assert follow(scheduler, clock, 1200)[:2] == [("2026-03-29 03:30", STARTED, 0), ("2026-03-29 04:30", ENDED, 0)]


def test_a_start_that_comes_twice_in_autumn_is_taken_once():
    scheduler, clock = started("2026-10-25 00:00", None, charge(hour=2, minute=30, duration_minutes=30))
    seen = follow(scheduler, clock, 1200)
    assert seen == [("2026-10-25 02:30", STARTED, 0), ("2026-10-25 02:00", ENDED, 0)]


def test_durations_are_real_time_across_a_clock_change():
    scheduler, clock = started("2026-10-25 00:00", None, charge(hour=1, duration_minutes=180))
    assert follow(scheduler, clock, 1200) == [("2026-10-25 01:00", STARTED, 0), ("2026-10-25 03:00", ENDED, 0)]


def test_the_entry_that_started_last_sets_the_power_and_hands_back():
    scheduler, clock = started(
        "2026-11-23 00:00", None, charge(hour=1, duration_minutes=240), discharge(hour=2, duration_minutes=60)
    )
    assert follow(scheduler, clock, 600) == [
        ("2026-11-23 01:00", STARTED, 0),
        ("2026-11-23 02:00", ENDED, 0),
        ("2026-11-23 02:00", STARTED, 1),
        ("2026-11-23 03:00", ENDED, 1),
        ("2026-11-23 03:00", STARTED, 0),
        ("2026-11-23 05:00", ENDED, 0),
    ]


def test_of_two_that_start_together_the_lowest_id_sets_the_power():
    scheduler, clock = started(
        "2026-11-23 01:00", None, charge(hour=1, duration_minutes=30), discharge(hour=1, duration_minutes=60)
    )
    assert scheduler.active == 0
    clock.run(1800)
    scheduler.tick(clock)
    assert scheduler.active == 1


def test_back_to_back_entries_follow_without_a_pause():
    scheduler, clock = started(
        "2026-11-23 00:59", None, charge(hour=1, duration_minutes=60), discharge(hour=2, duration_minutes=60)
    )
    idle = []
    for second in range(3 * 3600):
        scheduler.tick(clock)
        if scheduler.active < 0 and 60 <= second < 60 + 7200:
            idle.append(second)
        clock.run(1)
    assert idle == []


def test_nothing_starts_before_the_clock_was_ever_set():
    scheduler = Scheduler()
    scheduler.add(charge(hour=1, duration_minutes=1440))
    clock = Clock()
    seen = follow(scheduler, clock, 3000)
    assert scheduler.active == -1
    assert [(kind, i) for _, kind, i in seen] == [(NO_CLOCK, -1)]


def test_a_clock_set_inside_a_window_starts_the_rest_of_it():
    scheduler, clock = started("2026-11-23 03:00", None, charge(hour=1, duration_minutes=240))
    assert scheduler.active == 0 and scheduler.remaining_s == 120 * 60


def test_after_a_reboot_inside_a_window_the_entry_resumes_for_the_rest():
    scheduler, clock = started("2026-11-23 01:00", None, charge(hour=1, duration_minutes=240))
    after = Scheduler()
    after.from_doc(scheduler.to_doc())
    later = Clock()
    assert not after.tick(later) and after.active == -1
    later.at("2026-11-23 02:30")
    later.elapsed_s = 7
    after.tick(later)
    assert after.active == 0 and after.remaining_s == 150 * 60


def test_a_one_shot_disables_itself_once_it_has_run():
    scheduler, clock = started("2026-11-23 00:30", None, charge(hour=1, duration_minutes=60, repeat=False))
    assert len(follow(scheduler, clock, 3 * 1440)) == 2
    assert not scheduler.get(0).enabled


def test_a_one_shot_whose_end_came_while_power_was_away_is_done():
    scheduler, clock = started("2026-11-23 01:00", None, charge(hour=1, duration_minutes=60, repeat=False))
    after = Scheduler()
    after.from_doc(scheduler.to_doc())
    later = Clock()
    later.at("2026-11-23 12:00")
    assert follow(after, later, 2 * 1440) == []
    assert not after.get(0).enabled and after.dirty


def test_a_one_shot_of_24_hours_runs_once_on_a_day_of_23():
    scheduler, clock = started("2026-03-29 00:00", None, charge(hour=0, duration_minutes=1440, repeat=False))
    assert follow(scheduler, clock, 3000) == [("2026-03-29 00:00", STARTED, 0), ("2026-03-30 01:00", ENDED, 0)]


def test_nor_a_second_time_for_a_reboot_in_its_last_hour():
    for cut_by_a_person in (False, True):
        scheduler, clock = started("2027-03-27 12:00", None, charge(hour=12, duration_minutes=1440, repeat=False))
        clock.run(84600)
        scheduler.tick(clock)
        if cut_by_a_person:
            scheduler.enable(False)
        after = Scheduler()
        after.from_doc(scheduler.to_doc())
        if cut_by_a_person:
            after.enable(True)
        later = Clock()
        later.day, later.sec, later.is_set = clock.day, clock.sec, True
        assert follow(after, later, 3000) == [("2027-03-28 12:30", STARTED, 0), ("2027-03-28 13:00", ENDED, 0)]
        assert not after.get(0).enabled


def test_a_one_shot_stopped_before_the_clock_was_set_again_is_not_done():
    scheduler, clock = started("2026-11-23 01:00", None, charge(hour=1, duration_minutes=60, repeat=False))
    after = Scheduler()
    after.from_doc(scheduler.to_doc())
    after.enable(False)
    later = Clock()
    later.at("2026-11-23 12:00")
    after.tick(later)
    after.enable(True)
    assert follow(after, later, 1440) == [("2026-11-24 01:00", STARTED, 0), ("2026-11-24 02:00", ENDED, 0)]


def test_a_clock_that_goes_back_repeats_nothing():
    scheduler, clock = started("2026-11-23 00:59", None, charge(hour=1, duration_minutes=30))
    assert len(follow(scheduler, clock, 60)) == 2
    clock.at("2026-11-23 00:50")
    assert follow(scheduler, clock, 120) == []


def test_a_clock_that_goes_back_in_a_run_neither_prolongs_nor_ends_it():
    scheduler, clock = started("2026-11-23 01:00", None, charge(hour=1, duration_minutes=60))
    follow(scheduler, clock, 30)
    clock.at("2026-11-22 20:00")
    assert follow(scheduler, clock, 200) == [("2026-11-22 20:30", ENDED, 0)]


def test_a_clock_that_was_days_ahead_is_corrected_and_the_schedule_follows():
    scheduler, clock = started("2027-11-23 01:00", None, charge(hour=1, duration_minutes=30))
    follow(scheduler, clock, 60)
    clock.at("2026-11-23 00:59")
    assert follow(scheduler, clock, 60)[0] == ("2026-11-23 01:00", STARTED, 0)


def test_a_clock_that_goes_forward_into_a_window_starts_the_rest_of_it():
    scheduler, clock = started("2026-11-22 22:00", None, charge(hour=1, duration_minutes=240))
    clock.at("2026-11-23 04:00")
    scheduler.tick(clock)
    assert scheduler.remaining_s == 3600


def test_a_window_skipped_by_the_clock_is_reported_and_not_caught_up_with():
    scheduler, clock = started("2026-11-22 22:00", None, charge(hour=1, duration_minutes=30))
    clock.at("2026-11-23 04:00")
    assert follow(scheduler, clock, 60) == [("2026-11-23 04:00", MISSED, 0)]


def test_one_that_it_skips_by_days_is_reported_too():
    for days in (1, 2, 3, 4, 6, 30):
        scheduler, clock = started("2026-11-21 12:00", None, charge(day_of_week=0, hour=8, duration_minutes=60))
        clock.run(60)
        scheduler.tick(clock)
        clock.day += days
        assert [row[1:] for row in follow(scheduler, clock, 60)] == [(MISSED, 0)], days
    scheduler, clock = started("2026-11-21 12:00", None, charge(day_of_week=0, hour=8, duration_minutes=60))
    clock.day -= 5
    assert follow(scheduler, clock, 60) == [], "what comes again is not missed"


def test_disabled_in_a_run_it_ends_and_enabled_in_time_it_resumes():
    scheduler, clock = started("2026-11-23 01:00", None, charge(hour=1, duration_minutes=60))
    entry = scheduler.get(0)
    entry.enabled = False
    scheduler.update(0, entry)
    clock.run(600)
    scheduler.tick(clock)
    assert scheduler.active == -1
    entry.enabled = True
    scheduler.update(0, entry)
    clock.run(600)
    scheduler.tick(clock)
    assert scheduler.active == 0 and scheduler.remaining_s == 2400


def test_switching_the_schedule_off_stops_it_and_on_resumes_it():
    scheduler, clock = started("2026-11-23 01:00", None, charge(hour=1, duration_minutes=60))
    scheduler.enable(False)
    scheduler.tick(clock)
    assert (scheduler.active, scheduler.enabled, scheduler.upcoming(3, clock)) == (-1, False, [])
    scheduler.enable(True)
    scheduler.tick(clock)
    assert scheduler.active == 0


def test_a_new_power_takes_effect_in_the_running_entry():
    scheduler, clock = started("2026-11-23 01:00", None, charge(40, hour=1, duration_minutes=60))
    scheduler.take_events()
    scheduler.update(0, charge(20, hour=1, duration_minutes=60))
    scheduler.tick(clock)
    assert scheduler.power_w == -20000 and scheduler.take_events() == []


def test_deleting_the_running_entry_ends_it_and_frees_its_id():
    scheduler, clock = started("2026-11-23 01:00", None, charge(hour=1), discharge(hour=5))
    scheduler.take_events()
    scheduler.delete(0)
    scheduler.tick(clock)
    assert scheduler.take_events() == [(ENDED, 0)]
    assert scheduler.add(charge(hour=7)) == 0
    assert [i for i, _ in scheduler.entries()] == [0, 1]


def test_upcoming_lists_the_next_starts_in_local_time():
    scheduler, clock = started(
        "2026-03-28 12:00", None, charge(hour=1, duration_minutes=240), discharge(day_of_week=0, hour=18, repeat=False)
    )
    assert [(entry["id"], entry["start"]) for entry in scheduler.upcoming(4, clock)] == [
        (0, "2026-03-29 01:00 CET"),
        (1, "2026-03-29 18:00 CEST"),
        (0, "2026-03-30 01:00 CEST"),
        (0, "2026-03-31 01:00 CEST"),
    ]


def test_seventeen_entries_are_too_many():
    scheduler = Scheduler()
    assert [scheduler.add(charge(hour=1)) for _ in range(16)] == list(range(16))
    assert "16 entries" in refused(PowerError, scheduler.add, charge(hour=1))


def test_wrong_ids_are_refused_with_the_range():
    scheduler = Scheduler()
    assert "0 to 15" in refused(PowerError, scheduler.get, 16)
    assert "no such entry" in refused(PowerError, scheduler.delete, 3)
    assert "0 to 15" in refused(PowerError, scheduler.update, True, charge())


def test_wrong_entries_are_refused_with_value_and_range():
    for fields, said in (
        ({"hour": 24}, "hour = 24: allowed are 0 to 23"),
        ({"minute": -1}, "minute = -1: allowed are 0 to 59"),
        ({"day_of_week": 8}, "day_of_week = 8: allowed are 0 to 7"),
        ({"duration_minutes": 1441}, "duration_minutes = 1441: allowed are 1 to 1440"),
        ({"duration_minutes": 0}, "duration_minutes = 0: allowed are 1 to 1440"),
        ({"days": 128}, "days = 128: allowed are 0 to 127"),
        ({"days": 3, "day_of_week": 2}, "day_of_week = 2: must be 7"),
        ({"mode": Mode.CHARGE, "power_setpoint": 5}, "must not be above 0 kW in CHARGE: a charge is negative"),
        ({"mode": Mode.DISCHARGE, "power_setpoint": -5}, "must not be below 0 kW in DISCHARGE"),
        ({"mode": Mode.IDLE, "power_setpoint": 1}, "must be 0 kW in IDLE"),
        ({"mode": Mode.EMERGENCY}, "may ask for IDLE, CHARGE or DISCHARGE"),
    ):
        assert said in refused(PowerError, ScheduleEntry, **fields), fields
    assert "hour" in refused(ValueError, ScheduleEntry, hour="1")


def test_a_stored_schedule_with_errors_lists_them_all_and_changes_nothing():
    scheduler = Scheduler()
    scheduler.add(charge(hour=1))
    doc = scheduler.to_doc()
    doc["entries"][0]["hour"] = 99
    doc["entries"].append({"id": 16})
    doc["entries"].append({"id": 3, "colour": "red"})
    try:
        scheduler.from_doc(doc)
    except ConfigError as error:
        assert len(error.errors) == 3 and "entries[0]" in error.errors[0], error.errors
        assert "0 to 15" in error.errors[1] and "colour: no such key" in error.errors[2], error.errors
    else:
        raise AssertionError("accepted")
    assert scheduler.get(0).hour == 1


class Short:
    """A heap that is full at the nth thing that is asked of it, once; it counts all of them."""

    def __init__(self, nth):
        self.left = nth

    def take(self):
        self.left -= 1
        if self.left == 0:
            raise MemoryError("memory allocation failed, allocating 32 bytes")

    def before(self, call):
        def asks(*given):
            self.take()
            return call(*given)

        return asks


class Noted(list):
    """The scheduler's events, for which a short heap may have no space."""

    def __init__(self, heap):
        super().__init__()
        self.heap = heap

    def append(self, event):
        self.heap.take()
        super().append(event)

    def __add__(self, more):
        self.heap.take()
        return list(self) + more


def _days_with_a_short_heap(nth):
    """(what happened, the power at every look, whether the heap was short) of three days with two jumps of the clock."""
    clock = Clock()
    heap = Short(nth)
    scheduler, _ = started(
        "2026-11-22 00:50",
        clock,
        charge(40, hour=1, minute=0, duration_minutes=120),
        discharge(30.5, hour=2, minute=0, duration_minutes=30),
        charge(20, hour=5, minute=0, duration_minutes=60, repeat=False),
        charge(10, hour=6, minute=0, duration_minutes=60, day_of_week=1),
        discharge(5, hour=6, minute=30, duration_minutes=20),
    )
    utc = clock.tz.utc
    real = ScheduleEntry.power_w
    ScheduleEntry.power_w = heap.before(real)
    happened = []
    powers = []
    short = 0
    try:
        for look in range(200):
            if look == 150:
                clock.at("2026-11-22 09:00")  # over two windows
            if look == 180:
                clock.at("2026-12-02 12:00")  # and by days over that of Monday
            scheduler.keep_events(Noted(heap))
            clock.tz.utc = heap.before(utc)
            try:
                scheduler.tick(clock)
            except MemoryError:
                short += 1
                scheduler.tick(clock)  # the next look finds what it needs
            clock.tz.utc = utc
            happened += scheduler.take_events()
            powers.append((scheduler.active, scheduler.mode, scheduler.power_w, scheduler.remaining_s))
            clock.run(60)
    finally:
        ScheduleEntry.power_w = real
    return happened, powers, short


def test_a_heap_that_is_full_at_any_moment_of_a_look_costs_no_event_doubles_none_and_loses_no_power():
    happened, powers, short = _days_with_a_short_heap(0)
    assert short == 0 and happened.count((STARTED, 0)) == 2 and (MISSED, 3) in happened and (MISSED, 4) in happened, happened
    assert happened.count((MISSED, 2)) == 2, happened  # by each of the jumps
    tried = 0
    while True:
        tried += 1
        found = _days_with_a_short_heap(tried)
        if not found[2]:
            break
        assert found[0] == happened, (tried, found[0], happened)
        assert found[1] == powers, tried
    assert tried > 40
