"""What survives a power cut: the schedule, lifetime energy and the event log; saved late, loaded with every problem told."""

import os

import journal as journal_lib
import notice
import safestore
from safestore import Store

from firmware import faults
from firmware import image as im
from firmware.modes import Mode
from firmware.records import Records
from firmware.schedule_entry import ScheduleEntry
from firmware.scheduler import Scheduler
from firmware.web import journal
from host_tests.both import scratch

_ROOT = scratch.place("records")


class Clock:
    """What the log asks of a clock."""

    def __init__(self, is_set=True):
        self.is_set = is_set
        self.day, self.sec, self.elapsed_s = 9822, 35777, 12


class Planner:
    """Has a schedule from the start."""

    def __init__(self):
        self.plan = self.planned = Scheduler()


def _boot(name, fresh=True):
    """A board that powers on with the files of `name`."""
    place = _ROOT + "-" + name
    if fresh:
        try:
            for left in os.listdir(place):
                os.remove(place + "/" + left)
        except OSError:
            pass
    image = im.Image()
    planner = Planner()
    records = Records(place, image, planner, 208000)
    return place, image, planner.plan, records


def _again(name):
    """The same board after power came back, loaded."""
    _, image, scheduler, records = _boot(name, fresh=False)
    problems = records.load()
    return image, scheduler, records, problems


def _run(records, seconds, start=0, step=1):
    for now_s in range(start, start + seconds, step):
        _tick(records, now_s)


def _tick(records, now_s):
    for _ in records.steps(now_s):
        pass


def _files(place):
    return sorted(os.listdir(place))


def test_a_new_board_starts_without_complaint():
    place, _, _, records = _boot("new")
    assert records.load() == []
    _run(records, 3600, step=10)
    assert _files(place) == []
    assert records.energy() == {"in_wh": 0, "out_wh": 0, "throughput_wh": 0, "cycles": 0.0}


def test_energy_goes_on_counting_where_the_last_boot_ended():
    _, image, _, records = _boot("energy")
    records.load()
    image.now[im.E_IN_WH] = 110000
    image.now[im.E_OUT_WH] = 98000
    _run(records, 5)
    image, _, records, problems = _again("energy")
    assert problems == []
    image.now[im.E_OUT_WH] = 1000
    energy = records.energy()
    assert (energy["in_wh"], energy["out_wh"], energy["throughput_wh"]) == (110000, 99000, 209000)
    assert abs(energy["cycles"] - 209000 / 416000) < 1e-6


def test_energy_is_saved_every_quarter_of_an_hour_at_most():
    _, image, _, records = _boot("seldom")
    records.load()
    for now_s in range(4 * 3600):
        image.now[im.E_OUT_WH] = now_s
        _tick(records, now_s)
    assert records.wear.writes == 16
    image.now[im.E_OUT_WH] = 20000
    assert records.flush()
    _, _, records, _ = _again("seldom")
    assert records.energy()["out_wh"] == 20000


def test_the_schedule_is_saved_soon_after_an_edit_and_loaded():
    _, _, scheduler, records = _boot("schedule")
    records.load()
    _run(records, 3)
    entry = ScheduleEntry(hour=1, mode=Mode.CHARGE, power_setpoint=-40.0, duration_minutes=240, days=0b0011110)
    scheduler.add(entry)
    _run(records, 30, 3)
    assert records.wear.writes == 1
    _, scheduler, _, problems = _again("schedule")
    assert problems == []
    assert [(i, entry.to_dict()) for i, entry in scheduler.entries()] == [(0, entry.to_dict())]


def _after_a_cut(name):
    """What a board finds that lost its power just now: entries, and names of what was logged."""
    _, scheduler, records, problems = _again(name)
    assert problems == []
    return [entry.hour for _, entry in scheduler.entries()], [row[2] for row in records.logged()]


def test_an_edit_of_the_schedule_is_in_flash_within_ten_seconds_however_soon_it_follows_another():
    _, _, scheduler, records = _boot("edits")
    records.load()
    now_s = 3
    for hour in range(16):  # as many as there may be, one after the other
        scheduler.add(ScheduleEntry(hour=hour))
        _run(records, 9, now_s + 1)
        now_s += 9
        assert _after_a_cut("edits")[0] == list(range(hour + 1))
    for gone in range(3):
        scheduler.delete(gone)
        _run(records, 9, now_s + 1)
        now_s += 9
        assert _after_a_cut("edits")[0] == [entry.hour for _, entry in scheduler.entries()]


def test_a_program_that_edits_the_schedule_without_a_pause_is_saved_once_a_minute():
    _, _, scheduler, records = _boot("loop")
    records.load()
    for now_s in range(3 * 3600):
        scheduler.enable(now_s & 1 == 1)
        _tick(records, now_s)
    assert records.wear.writes <= 180 + 20


def test_an_emergency_and_a_fault_are_in_flash_within_two_seconds_also_after_a_boot_and_another():
    _, image, scheduler, records = _boot("trip")
    records.load()
    records.log(Clock(), "BOOT", 1, urgent=True)
    assert records.flush()
    logged = ["BOOT"]
    for now_s in range(1, 30, 3):
        image.now[im.E_IN_WH] += 100  # everything else is due too
        scheduler.enable(now_s & 1 == 1)
        _tick(records, now_s)
        records.log(Clock(), "FLOW_CHANGE", 1)
        records.log(Clock(), "FAULT_RAISED trip", now_s, urgent=True)
        _run(records, 2, now_s + 1)
        logged += ["FLOW_CHANGE", "FAULT_RAISED trip"]
        assert _after_a_cut("trip")[1] == logged, now_s


def test_a_fault_that_flaps_for_hours_is_written_once_a_minute():
    _, _, _, records = _boot("flaps")
    records.load()
    for now_s in range(3 * 3600):
        if now_s % 4 == 0:
            records.log(Clock(), "FAULT_RAISED flaps", now_s, urgent=True)
        _tick(records, now_s)
    assert records.wear.writes <= 180 + 20


def test_nothing_is_stored_any_more_once_everything_was_erased():
    place, image, _, records = _boot("quiet")
    records.load()
    image.now[im.E_IN_WH] = 500
    records.quiet = True
    assert records.flush() and _files(place) == []


def test_a_damaged_schedule_is_told_and_the_version_before_used():
    place, _, scheduler, records = _boot("damaged")
    records.load()
    scheduler.add(ScheduleEntry(hour=1))
    records.flush()
    scheduler.add(ScheduleEntry(hour=2))
    records.flush()
    with open(place + "/schedules.json", "rb") as file:
        data = file.read()
    with open(place + "/schedules.json", "wb") as file:
        file.write(data[:-20])
    _, scheduler, _, problems = _again("damaged")
    assert len(problems) == 1 and "schedules.json" in problems[0] and "version before" in problems[0], problems
    assert len(scheduler.entries()) == 1


def test_a_schedule_with_wrong_values_is_told_value_by_value_and_the_version_before_used():
    place, _, scheduler, records = _boot("values")
    records.load()
    scheduler.add(ScheduleEntry(hour=1))
    records.flush()
    doc = scheduler.to_doc()
    doc["entries"][0]["hour"] = 77
    Store(place + "/schedules.json", 1).save(doc)
    _, scheduler, _, problems = _again("values")
    assert "hour = 77: allowed are 0 to 23" in problems[0] and len(problems) == 2, problems
    assert scheduler.get(0).hour == 1


def test_when_nothing_can_be_read_everything_is_told_and_starts_anew():
    place, _, _, records = _boot("rubbish")
    records.load()
    for name in ("schedules.json", "energy.json"):
        with open(place + "/" + name, "wb") as file:
            file.write(b"\x00\xff rubbish")
    _, scheduler, records, problems = _again("rubbish")
    assert len(problems) == 2 and "energy.json" in problems[0] and "schedules.json" in problems[1], problems
    assert scheduler.entries() == [] and records.energy()["in_wh"] == 0


def test_events_are_logged_with_their_time_and_come_back():
    _, _, _, records = _boot("events")
    records.load()
    records.log(Clock(is_set=False), "CLOCK_SET", 5)
    records.log(Clock(), "EMERGENCY", 2, level="E")
    records.flush()
    _, _, records, _ = _again("events")
    assert list(records.logged()) == [[None, 12, "CLOCK_SET", 5, "I"], [9822, 35777, "EMERGENCY", 2, "E"]]


def test_the_page_is_told_them_in_words():
    _, _, _, records = _boot("words")
    records.load()
    for name, data, level in (
        ("BOOT", 3, ""), ("BOOT", 77, ""), ("EMERGENCY", -1, "E"), ("EMERGENCY", 0, "E"), ("MODE_CHANGE", 3, ""),
        ("LIMIT_CHANGE", 32, "W"), ("FAULT_RAISED as it was called then", 2, "E"), ("FAULT_CLEARED", 999, ""),
        ("CLOCK_SET", 5, "D"),
        ("WEB operate 10.0.0.1 power", -20000, ""), ("EMS REFUSED 10.0.0.1 WSet", 1, ""), ("SAID", "a <b> line", ""),
    ):  # fmt: skip
        records.log(Clock(), name, data, level=level)
    for line in ("[1, 2]", "{}", "7", '[1, 2, 3, 4, "I"]'):
        records.events.append(line)  # an older firmware's
    found = [row for row in journal.last(records, 500) if row is not None]
    assert found[0] == [(9822 + 10957) * 86400 + 35777, 35777, "BOOT", "watchdog", "information"]
    assert [row[2:] for row in found[1:]] == [
        ["BOOT", 77, "information"], ["EMERGENCY", "commanded", "error"], ["EMERGENCY", faults.names(1)[0], "error"],
        ["MODE_CHANGE", "DISCHARGE", "information"], ["LIMIT_CHANGE", "charge by mode", "warning"],
        ["FAULT_RAISED", "as it was called then", "error"], ["FAULT_CLEARED", 999, "information"], ["CLOCK_SET", 5, "debug"],
        ["WEB operate 10.0.0.1 power", -20000, "information"], ["EMS REFUSED 10.0.0.1 WSet", 1, "warning"],
        ["SAID", "a <b> line", "information"],
    ]  # fmt: skip


def test_a_long_log_is_read_for_the_page_a_few_lines_at_a_time():
    _, _, _, records = _boot("long")
    records.load()
    for number in range(300):
        records.log(Clock(), "SAID", "line %d" % number)
        if number % 50 == 0:
            records.flush()
    steps = list(journal.last(records, 3))
    assert [row[3] for row in steps if row is not None] == ["line 297", "line 298", "line 299"]
    assert len(steps) > 50


def test_ordinary_events_wait_and_urgent_ones_take_them_along():
    _, _, _, records = _boot("urgent")
    records.load()
    _run(records, 5)
    records.log(Clock(), "FLOW_CHANGE", 1)
    _run(records, 300, 5)
    assert records.wear.writes == 0
    records.log(Clock(), "EMERGENCY", 3, urgent=True)
    _run(records, 10, 305)
    assert records.wear.writes == 1 and records.events.waiting == 0


def test_that_nothing_can_be_stored_is_said_once_and_that_it_can_again():
    """An edit of the schedule was accepted and gone with the power, and nobody knew."""
    _, _, scheduler, records = _boot("telling")
    records.load()
    said = []

    def full(path, *_mode):
        raise OSError(28)

    sink, notice.sink = notice.sink, said.append
    journal_lib.open = safestore.open = full
    try:
        scheduler.add(ScheduleEntry(hour=14, mode=Mode.DISCHARGE, power_setpoint=100))
        records.log(Clock(), "EMERGENCY", 5, urgent=True)
        _run(records, 7200)
        assert len(said) == 2 and records.report()["save_errors"] > 100, said
        assert [line.split(":")[0] for line in said] == ["storage", "storage"]
        assert "schedules" in said[0] + said[1] and "urgent events" in said[0] + said[1] and "28" in said[0]
        assert "schedules" in records.failing and "urgent events" in records.failing
    finally:
        del safestore.open, journal_lib.open
    try:
        _run(records, 200, 7200)
        assert said[2:] == ["storage: everything is stored again"] and records.failing == ""
    finally:
        notice.sink = sink


def test_a_full_flash_is_counted_and_nothing_raised():
    _, image, _, records = _boot("full")
    records.load()

    def full(path, *_mode):
        raise OSError(28)

    safestore.open = full
    try:
        image.now[im.E_IN_WH] = 500
        _run(records, 30)
        assert records.report()["save_errors"] == 1 and "energy" in records.report()["last_error"]
        assert not records.flush()
    finally:
        del safestore.open
    assert records.flush()


def test_the_report_tells_of_the_flash():
    _, image, _, records = _boot("report")
    records.load()
    image.now[im.E_IN_WH] = 500
    _run(records, 3)
    report = records.report()
    assert report["writes"] == 1 and report["years"] > 0 and report["save_errors"] == 0


def _planted(name, file, *docs):
    """A board whose file holds these, oldest first, each saved as the firmware would."""
    place, _, _, records = _boot(name)
    records.load()
    for doc in docs:
        Store(place + "/" + file, 1).save(doc)
    return _again(name)


def test_int32_energy_that_cannot_be_is_refused_and_the_version_before_counts():
    good = {"in_wh": 5000, "out_wh": 4000}
    for wrong in (
        {"in_wh": -1, "out_wh": 0},
        {"in_wh": 0, "out_wh": -4000},
        {"in_wh": 10**12 + 1, "out_wh": 0},
        {"in_wh": 5000, "out_wh": 10**30},
        {"in_wh": True, "out_wh": 5},
        {"in_wh": 1.5, "out_wh": 5},
        {"in_wh": "5000", "out_wh": 5},
        {"in_wh": None, "out_wh": 5},
        {"in_wh": 5000},
        {},
    ):
        _, _, records, problems = _planted("wrong", "energy.json", good, wrong)
        assert records.energy()["in_wh"] == 5000 and records.energy()["out_wh"] == 4000, wrong
        assert len(problems) == 2 and "10**12" in problems[0] and "the version before" in problems[1], problems
        _, _, records, problems = _planted("wrong", "energy.json", wrong)
        assert records.energy()["throughput_wh"] == 0 and len(problems) == 1, problems
        _, _, records, problems = _planted("wrong", "energy.json", wrong, wrong)
        assert records.energy()["throughput_wh"] == 0 and len(problems) == 1, problems


def test_int32_fault_counts_that_cannot_be_are_refused():
    for wrong in ({"bms_lost": -3}, {"bms_lost": 2**40}, {"bms_lost": True}, {"bms_lost": "4"}, {"bms_lost": 2.5}, [1], None):
        _, _, records, problems = _planted("counts", "faults.json", {"raised": {"pcs_lost": 7}}, {"raised": wrong})
        assert records.faults() == {"pcs_lost": 7}, wrong
        assert len(problems) == 2, problems


def test_int32_a_counter_that_starts_again_at_0_takes_nothing_back():
    _, image, _, records = _boot("turn")
    records.load()
    image.now[im.E_OUT_WH] = 0x3FFFFFFF
    before = records.energy()["out_wh"]
    image.now[im.E_OUT_WH] = 0
    image.now[im.E_OUT_TURNS] = 1
    assert records.energy()["out_wh"] == before + 1


def test_storage_place_that_is_a_file_is_said():
    place = _ROOT + "-file"
    with open(place, "w") as file:
        file.write("x")
    problems = Records(place, im.Image(), Planner(), 208000).load()
    assert any("is a file" in problem for problem in problems), problems
    os.remove(place)
