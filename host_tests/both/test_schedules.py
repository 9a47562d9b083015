"""Schedules through the public API: what an entry makes the power do, by the clock, with its events; scheduler.py's rules apart."""

from civil import day_number
from posixtz import PosixTZ

from firmware import ChargeParams, Event, Mode, PowerError
from firmware import image as im
from firmware import requests as rq
from firmware.clock import CONSOLE, EMS, NTP, Clock
from firmware.schedule_entry import ScheduleEntry
from host_tests.both.plant import Plant, photo, refusal

MIDNIGHT = day_number(2026, 11, 22)  # a Sunday


class Site:
    """A plant with a wall clock in UTC, whose application looks at the schedule once a second."""

    def __init__(self, hour, minute=0, day=MIDNIGHT, soc=50.0, clock_set=True):
        self.plant = Plant(cycle_ms=1000)
        self.plant.soc = soc
        self.pm = self.plant.pm
        self.plant.ready()
        self.pm.clock = Clock(PosixTZ("UTC0"), self.plant.ms)
        if clock_set:
            self.pm.clock.set(CONSOLE, day, hour * 3600 + minute * 60)

    def second(self, step_s=1):
        if step_s <= 2:
            self.plant.cycles(step_s * 2, 500)
        else:
            self.plant.cycles(step_s * 2 // 3, 1500)
        self.pm.clock.tick(self.plant.ms)
        self.pm.run_schedule()

    def seconds(self, count):
        for _ in range(count):
            self.second()

    def minutes(self, count):
        for _ in range(count * 2):
            self.second(30)

    def named(self, *names):
        return [(name, data) for name, data in self.plant.events() if name in names]


def night_charge(**changed):
    """The original requirement's example: every day at 01:00, four hours with 40 kW."""
    fields = {
        "enabled": True,
        "day_of_week": 7,
        "hour": 1,
        "minute": 0,
        "mode": Mode.CHARGE,
        "power_setpoint": -40.0,
        "duration_minutes": 240,
        "repeat": True,
    }
    fields.update(changed)
    return ScheduleEntry(**fields)


def test_the_example_charges_every_night_and_ends_with_events():
    site = Site(0, 58, soc=21.0)
    entry_id = site.pm.add_schedule(night_charge(power_setpoint=-25.0))
    site.pm.enable_scheduling(True)
    assert site.pm.scheduling_enabled is True
    site.seconds(60)
    assert site.plant.command() == 0
    site.seconds(70)
    assert site.plant.command() == -25000 and site.pm.mode == Mode.CHARGE and site.plant.by() == "schedule"
    assert site.pm.claims()[0]["owner"] == "schedule %d" % entry_id
    site.minutes(236)
    assert site.plant.command() == -25000
    site.seconds(300)
    assert site.plant.command() == 0 and site.pm.mode == Mode.IDLE
    assert site.named("SCHEDULE_STARTED", "SCHEDULE_ENDED") == [("SCHEDULE_STARTED", entry_id), ("SCHEDULE_ENDED", entry_id)]
    assert not site.plant.events("OPERATION_TIMEOUT"), "it ended by the schedule"
    site.minutes(2 * 60)
    assert len(site.plant.events("SCHEDULE_STARTED")) == 1, "not twice in one night"
    site.pm.clock.set(CONSOLE, MIDNIGHT + 1, 58 * 60)  # the rest of the day in one step
    site.seconds(150)
    assert len(site.plant.events("SCHEDULE_STARTED")) == 2, "and again the next night"
    assert site.plant.command() == -25000


def test_callbacks_hear_every_start_and_end_and_may_call_back():
    site = Site(0, 59)
    heard = []

    def listener(event, entry_id, pm):
        heard.append((event, entry_id, pm.get_schedule(entry_id).hour, len(pm.schedules())))

    while site.pm.events.dispatch():
        pass
    site.pm.register_callback(Event.SCHEDULE_STARTED, listener, site.pm)
    site.pm.register_callback(Event.SCHEDULE_ENDED, listener, site.pm)
    site.pm.add_schedule(night_charge(duration_minutes=1))
    for _ in range(180):
        site.second()
        while site.pm.events.dispatch():
            pass
    assert heard == [(Event.SCHEDULE_STARTED, 0, 1, 1), (Event.SCHEDULE_ENDED, 0, 1, 1)]


def test_an_entry_that_crosses_midnight_runs_on_the_other_side():
    site = Site(23, 54, soc=80.0)
    site.pm.add_schedule(night_charge(hour=23, minute=55, mode=Mode.DISCHARGE, power_setpoint=30.0, duration_minutes=15))
    site.seconds(80)
    assert site.plant.command() == 30000
    site.seconds(600)
    assert site.pm.clock.day == MIDNIGHT + 1 and site.plant.command() == 30000
    site.seconds(330)
    assert site.plant.command() == 0


def test_only_its_days_count():
    site = Site(0, 59, day=MIDNIGHT)
    site.pm.add_schedule(night_charge(day_of_week=1))
    site.seconds(120)
    assert site.plant.command() == 0, "Sunday is not Monday"
    site = Site(0, 59, day=MIDNIGHT + 1)
    site.pm.add_schedule(night_charge(day_of_week=1))
    site.seconds(120)
    assert site.plant.command() == -40000


def test_a_clock_that_was_never_set_starts_nothing_and_says_so():
    site = Site(0, clock_set=False)
    for hour in range(12):
        site.pm.add_schedule(night_charge(hour=hour))
    site.seconds(90)
    assert site.plant.command() == 0
    assert site.named("SCHEDULE_STARTED", "SCHEDULE_MISSED") == [("SCHEDULE_MISSED", -1)]
    assert site.pm.upcoming(3) == []


def test_a_person_is_above_the_schedule_and_a_pause_survives_it():
    site = Site(0, 59)
    site.pm.add_schedule(night_charge())
    site.pm.set_constant_power(10)
    site.seconds(120)
    assert site.plant.command() == 10000
    site.pm.stop_operation()
    site.seconds(60)
    assert site.plant.command() == 0
    site.pm.resume()
    site.seconds(10)
    assert site.plant.command() == -40000


def test_a_charge_that_is_full_does_not_begin_again_in_its_window():
    site = Site(0, 59, soc=88.6)
    site.pm.add_schedule(night_charge(power_setpoint=-100.0))
    site.seconds(1200)
    assert len(site.plant.events("CHARGE_COMPLETE")) == 1 and site.plant.command() == 0
    assert abs(site.plant.soc - 90) < 0.3


def test_charge_ends_at_the_parameters_target_when_scheduled_too():
    """charge-ends: a scheduled charge honours the target of its parameters, new ones included."""
    site = Site(0, 59, soc=50.0)
    site.pm.set_charge_params(ChargeParams(target_soc=80))
    site.pm.add_schedule(night_charge(power_setpoint=-90.0))
    site.seconds(90)
    assert site.plant.command() < -50000
    site.pm.set_charge_params(ChargeParams(target_soc=50.9))
    site.seconds(400)
    assert site.plant.command() == 0 and len(site.plant.events("CHARGE_COMPLETE")) == 1
    assert 50.8 < site.plant.soc < 51.2 and site.pm.claims() == []


def test_idle_holds_still_against_the_optimiser():
    site = Site(0, 59)
    site.pm.add_schedule(night_charge(mode=Mode.IDLE, power_setpoint=0, duration_minutes=10))
    site.pm.claim("optimiser", 20, 3600, "test")
    site.seconds(30)
    assert site.plant.command() == 20000
    site.seconds(60)
    assert site.plant.command() == 0
    assert "held by schedule (schedule 0)" in site.pm.stats()["reason"], "nobody has called stop_operation()"
    site.seconds(600)
    assert site.plant.command() == 20000


def test_stopped_or_in_emergency_it_waits_and_started_again_it_goes_on_for_the_rest_of_its_window():
    site = Site(0, 59)
    site.pm.add_schedule(night_charge(duration_minutes=30))
    for halt, again in ((site.pm.stop, lambda: None), (site.pm.emergency_shutdown, site.pm.reset_emergency)):
        site.seconds(120)
        assert site.plant.command() == -40000
        halt()
        site.seconds(60)
        assert site.plant.command() == 0 and site.pm.claims() == []
        again()
        site.pm.start()
        site.seconds(10)
        assert site.plant.command() == -40000 and site.plant.by() == "schedule"
    site.seconds(1500)
    assert site.plant.command() == 0, "no longer than its window"


def test_disabling_scheduling_ends_a_run_and_enabling_resumes_it():
    site = Site(0, 59)
    site.pm.add_schedule(night_charge())
    site.seconds(120)
    site.pm.enable_scheduling(False)
    assert site.pm.scheduling_enabled is False
    site.seconds(5)
    assert site.plant.command() == 0
    site.pm.enable_scheduling(True)
    site.seconds(5)
    assert site.plant.command() == -40000
    for wrong in ("yes", None, 2):
        refusal(ValueError, site.pm.enable_scheduling, wrong)
    assert site.pm.scheduling_enabled is True


def test_how_a_run_ended_is_said_whoever_ended_it():
    def off(pm):
        pm.enable_scheduling(False)

    def disabled(pm):
        pm.update_schedule(0, night_charge(enabled=False, duration_minutes=3))

    def deleted(pm):
        pm.delete_schedule(0)

    def another_time(pm):
        pm.update_schedule(0, night_charge(hour=5))

    for end, words in (
        (off, "scheduling was switched off"),
        (disabled, "its schedule entry was disabled"),
        (deleted, "its schedule entry was deleted or given another time"),
        (another_time, "its schedule entry was deleted or given another time"),
        (lambda pm: None, "its time was over or it was not renewed"),
    ):
        site = Site(0, 59)
        site.pm.add_schedule(night_charge(duration_minutes=3))
        site.seconds(100)
        assert site.plant.command() == -40000
        end(site.pm)
        site.seconds(5)
        if site.plant.command():
            site.seconds(180)
        told = site.pm.stats()["last_end"]
        assert told.startswith("the charge by schedule ended") and told.endswith(words), told
        assert words in site.pm.stats()["reason"]


def test_what_ends_another_entry_or_ends_and_begins_again_is_no_end_of_the_run():
    site = Site(0, 59)
    pm = site.pm
    pm.add_schedule(night_charge(duration_minutes=3))
    pm.add_schedule(night_charge(hour=12))
    site.seconds(100)
    pm.delete_schedule(1)  # it does not run
    pm.enable_scheduling(False)
    pm.enable_scheduling(True)  # before anybody looked
    site.seconds(5)
    assert site.plant.command() == -40000 and pm.stats()["last_end"] == ""
    site.seconds(180)
    assert site.plant.command() == 0 and pm.stats()["last_end"].endswith("its time was over or it was not renewed")


def test_an_entry_beyond_the_sites_power_is_refused_with_the_range():
    site = Site(12)
    pm = site.pm  # 100 kW both ways
    for mode, kw, allowed in (
        (Mode.CHARGE, -100.5, "-100.0 to 0 kW in CHARGE"),
        (Mode.DISCHARGE, 500.0, "0 to 100.0 kW in DISCHARGE"),
    ):
        entry = night_charge(mode=mode, power_setpoint=kw)
        said = refusal(PowerError, pm.add_schedule, entry)
        assert "power_setpoint = %s: allowed are %s" % (kw, allowed) in said, said
        assert pm.schedules() == []
    entry_id = pm.add_schedule(night_charge(power_setpoint=-100.0))
    said = refusal(PowerError, pm.update_schedule, entry_id, night_charge(power_setpoint=-101.0))
    assert "power_setpoint = -101.0: allowed are -100.0 to 0 kW in CHARGE" in said
    assert pm.get_schedule(entry_id).power_setpoint == -100.0
    pm.add_schedule(night_charge(power_setpoint=0.0))  # as much as may flow


def test_an_entry_that_became_too_large_can_be_switched_off_and_not_on_again():
    site = Site(12)
    pm = site.pm
    entry_id = pm.add_schedule(night_charge(power_setpoint=-100.0))
    pm.image.par[im.PAR_P_CHG] = 60000  # the site file was changed, the entry was kept
    entry = pm.get_schedule(entry_id)
    entry.enabled = False
    pm.update_schedule(entry_id, entry)
    assert not pm.get_schedule(entry_id).enabled and pm.get_schedule(entry_id).power_setpoint == -100.0
    entry.enabled = True
    assert "allowed are -60.0 to 0 kW" in refusal(PowerError, pm.update_schedule, entry_id, entry)
    assert not pm.get_schedule(entry_id).enabled


def test_entries_are_added_read_changed_listed_and_deleted():
    site = Site(12)
    pm = site.pm
    ids = [pm.add_schedule(night_charge(hour=hour)) for hour in range(16)]
    assert ids == list(range(16))
    assert "16" in refusal(PowerError, pm.add_schedule, night_charge())
    assert [(i, entry.hour) for i, entry in pm.schedules()] == [(i, i) for i in range(16)]
    pm.update_schedule(3, night_charge(hour=22, power_setpoint=-7.5))
    assert pm.get_schedule(3).power_setpoint == -7.5 and pm.get_schedule(3).hour == 22
    pm.delete_schedule(3)
    assert len(pm.schedules()) == 15
    for call in (pm.get_schedule, pm.delete_schedule):
        assert "3" in refusal(PowerError, call, 3)
        for wrong in (16, -1, None, "3", 1.5):
            assert "15" in refusal(PowerError, call, wrong)
    assert "3" in refusal(PowerError, pm.update_schedule, 3, night_charge())
    assert pm.add_schedule(night_charge()) == 3, "its place is free again"


def test_what_is_handed_out_is_a_copy():
    site = Site(12)
    mine = night_charge()
    entry_id = site.pm.add_schedule(mine)
    mine.hour = 23
    site.pm.get_schedule(entry_id).minute = 59
    site.pm.schedules()[0][1].enabled = False
    kept = site.pm.get_schedule(entry_id)
    assert (kept.hour, kept.minute, kept.enabled) == (1, 0, True)


def test_changing_the_power_of_a_running_entry_counts_at_once():
    site = Site(0, 59)
    entry_id = site.pm.add_schedule(night_charge())
    site.seconds(120)
    site.pm.update_schedule(entry_id, night_charge(power_setpoint=-15.0))
    site.seconds(5)
    assert site.plant.command() == -15000
    site.pm.delete_schedule(entry_id)
    site.seconds(5)
    assert site.plant.command() == 0


def test_a_one_shot_disables_itself():
    site = Site(0, 59)
    entry_id = site.pm.add_schedule(night_charge(repeat=False, duration_minutes=1))
    site.seconds(130)
    assert site.pm.get_schedule(entry_id).enabled is False and len(site.plant.events("SCHEDULE_ENDED")) == 1


def test_bad_entries_are_refused_by_name_value_and_range():
    site = Site(12)
    before = photo(site.pm)
    for given, pieces in (
        ({"day_of_week": 8}, ("day_of_week", "8", "7")),
        ({"hour": 24}, ("hour", "24", "23")),
        ({"minute": 60}, ("minute", "60", "59")),
        ({"duration_minutes": 0}, ("duration_minutes", "0", "1440")),
        ({"power_setpoint": 40.0}, ("power_setpoint", "40", "CHARGE")),
        ({"mode": Mode.EMERGENCY}, ("mode", "4", "DISCHARGE")),
        ({"mode": Mode.IDLE}, ("power_setpoint", "IDLE")),
    ):
        changed = dict(given)
        said = refusal(PowerError, lambda: night_charge(**changed))  # noqa: B023
        for piece in pieces:
            assert piece in said, said
    for wrong in ("1", None, 1.5):
        assert "hour" in refusal(ValueError, lambda: night_charge(hour=wrong))  # noqa: B023
    for wrong in (None, {}, "every night", 3):
        assert "ScheduleEntry" in refusal(ValueError, site.pm.add_schedule, wrong)
        assert "ScheduleEntry" in refusal(ValueError, site.pm.update_schedule, 0, wrong)
    assert photo(site.pm) == before and site.pm.schedules() == []


def test_what_comes_next_is_known():
    site = Site(12)
    site.pm.add_schedule(night_charge())
    site.pm.add_schedule(night_charge(hour=18, mode=Mode.DISCHARGE, power_setpoint=50.0, duration_minutes=90))
    coming = site.pm.upcoming(3)
    assert [(c["id"], c["minutes"], c["power_kw"]) for c in coming] == [(1, 90, 50.0), (0, 240, -40.0), (1, 90, 50.0)]
    assert "18:00" in coming[0]["start"]
    for wrong in (0, 101):
        assert "100" in refusal(PowerError, site.pm.upcoming, wrong)


def test_ntp_a_jump_that_one_source_claims_starts_no_entry():
    site = Site(12)
    site.pm.add_schedule(night_charge())  # 01:00 every day
    site.seconds(5)
    for source in (NTP, EMS):
        for _ in range(3):
            clock = site.pm.clock
            clock.set(source, clock.day + 3653, 2 * 3600)  # in the middle of its window, ten years on
            site.seconds(3)
    assert site.plant.command() == 0 and site.named("SCHEDULE_STARTED") == []
    clock.set(CONSOLE, clock.day, 2 * 3600)  # a person may
    site.seconds(5)
    assert site.plant.command() == -40000 and site.named("SCHEDULE_STARTED") != []


def test_a_program_s_claim_of_the_schedule_s_source_ends_and_the_entry_goes_on():
    site = Site(1, 0)
    site.pm.add_schedule(night_charge())
    site.seconds(20)
    for end in (lambda: None, lambda: site.pm.release("schedule"), lambda: site.pm.release("schedule", "tariff")):
        assert site.plant.command() == -40000
        site.pm.claim("schedule", -5, 6, "tariff")
        site.seconds(4)
        assert site.plant.command() == -5000 and site.plant.by() == "schedule"
        assert [claim["owner"] for claim in site.pm.claims()] == ["tariff", "schedule 0"], "the newest first"
        end()
        site.seconds(10)
    for owner in (None, "schedule 0"):
        site.pm.release("schedule", owner)
        site.seconds(3)
        assert site.plant.command() == -40000, "a program ends what programs claim; an entry ends by its own rules"
    site.pm.claim("schedule", -5, 3, "schedule 0")
    site.seconds(10)
    assert site.plant.command() == -40000, "whatever it calls itself"


def test_an_entry_that_starts_or_ends_leaves_what_a_program_claims():
    site = Site(0, 59)
    site.pm.add_schedule(night_charge(duration_minutes=1))
    site.pm.claim("schedule", 7, 600, "tariff")
    site.seconds(30)
    assert site.plant.command() == 7000
    site.seconds(40)
    assert site.plant.command() == -40000, "the newest"
    site.seconds(60)
    assert site.plant.command() == 7000 and site.named("SCHEDULE_ENDED") == [("SCHEDULE_ENDED", 0)]
    site = Site(0, 59, soc=89.9)
    site.pm.add_schedule(night_charge())
    site.seconds(62)
    site.pm.claim("schedule", 7, 20, "tariff")
    site.seconds(10)
    assert site.plant.command() == 7000
    site.seconds(300)
    assert len(site.plant.events("CHARGE_COMPLETE")) == 1 and site.pm.claims() == [], "the entry's own end is still its own"


class Short:
    """Instead of a call: MemoryError at its nth time that counts, else what it did; `counts` looks at what it is given."""

    def __init__(self, call, nth, counts=lambda *given: True):
        self.call = call
        self.left = nth
        self.counts = counts

    def __call__(self, *given):
        if self.counts(*given):
            self.left -= 1
            if not self.left:
                raise MemoryError("memory allocation failed, allocating 32 bytes")
        return self.call(*given)


def test_a_full_heap_in_the_second_in_which_an_entry_starts_or_ends_costs_neither_it_nor_its_events():
    for name in ("start", "end", "claims", "looks"):
        site = Site(0, 59)
        pm = site.pm
        pm.add_schedule(night_charge(duration_minutes=2))
        site.seconds(5)
        if name == "claims":
            pm.arbiter.claims.put = Short(pm.arbiter.claims.put, 1, lambda source, *rest: source == rq.SCHEDULE)
        elif name == "looks":
            pm.clock.tz.utc = Short(pm.clock.tz.utc, 1)
        else:
            pm.take_schedule = Short(pm.take_schedule, 1 if name == "start" else 2)
        short = 0
        for second in range(240):
            try:
                site.second()
            except MemoryError:
                short += 1
            if second == 80:
                assert site.plant.command() == -40000 and site.plant.by() == "schedule", name
        assert short == 1, name
        assert site.named("SCHEDULE_STARTED", "SCHEDULE_ENDED") == [("SCHEDULE_STARTED", 0), ("SCHEDULE_ENDED", 0)], name
        assert site.plant.command() == 0 and pm.claims() == [], name
        assert not site.plant.events("OPERATION_TIMEOUT"), "it ended by the schedule"


def test_a_claim_does_not_end_before_its_entry_where_a_fast_crystal_is_slewed_back():
    """By ticks a day is 7 s longer than by the clock at 80 ppm; here an hour is, with a crystal that is worse."""
    site = Site(0, 59)
    site.pm.add_schedule(night_charge(mode=Mode.DISCHARGE, power_setpoint=1.0, duration_minutes=60))
    clock = site.pm.clock
    started = site.plant.ms
    second = clock.sec
    for n in range(3600 + 90):
        site.second()
        if n % 30 == 0:
            true_ms = (site.plant.ms - started) * 1000 // 1002  # 2000 ppm fast
            clock.set(NTP, MIDNIGHT, second + true_ms // 1000, true_ms % 1000, 20)
    assert [name for name, _ in site.named("OPERATION_TIMEOUT", "SCHEDULE_STARTED", "SCHEDULE_ENDED")] == [
        "SCHEDULE_STARTED",
        "SCHEDULE_ENDED",
    ]


def test_a_thread_that_reads_the_plan_for_long_holds_up_nobody():
    site = Site(0, 59)
    site.pm.add_schedule(night_charge(duration_minutes=2))
    site.seconds(5)
    site.pm.plan_lock.acquire()  # as another thread has it
    site.seconds(70)
    assert site.plant.command() == 0 and site.plant.by() != "schedule"
    site.pm.plan_lock.release()
    site.seconds(10)
    assert site.plant.command() == -40000 and site.plant.by() == "schedule"

