"""A site's memory: five-minute rows, energy by day, month and year that is counted once, the last hour by the second."""

import gc
import json
import os

import journal
import notice
import rowlog
import safestore

from firmware import image as im
from firmware.history import books, five
from firmware.history.seconds import Seconds, coded, decoded
from host_tests.both.historyrig import NOON, Rig

KWH_12 = 12000 * 300 // 3600  # Wh of 12 kW in five minutes


def test_a_row_has_means_extremes_the_least_limits_and_what_flowed_in_five_minutes():
    rig = Rig("row", *NOON)
    for second in range(300):
        rig.set(battery=10000 if second < 100 else 40000 if second < 150 else -2000, grid=6000 if second < 150 else -3000)
        rig.now[im.LIMIT_DIS], rig.now[im.WHY_DIS] = (30000, 5) if second == 20 else (90000, 14)
        rig.run(1, 1)
    (row,) = rig.rows("five")
    assert row["time"] == (9822, 39900) and row["seconds"] == 300 and row["mode"] == "IDLE"
    assert abs(row["battery_w"] - (100 * 10000 + 50 * 40000 - 150 * 2000) // 300) < 150
    assert (row["battery_min_w"], row["battery_max_w"]) == (-2000, 40000)
    assert row["soc_percent"] == 5000 and row["load_w"] == 20000 and row["pv_w"] == 0
    assert (row["limit_discharge_w"], row["why_discharge"]) == (30000, "soc")
    assert (row["limit_charge_w"], row["why_charge"]) == (None, None)
    assert (row["discharged_wh"], row["charged_wh"]) == ((100 * 10000 + 50 * 40000) // 3600, 150 * 2000 // 3600)
    assert abs(row["imported_wh"] - 250) <= 2 and abs(row["exported_wh"] - 125) <= 2
    assert [row[name] for name in ("battery_s", "grid_s", "load_s", "pv_s")] == [300, 300, 300, 300]


def test_what_is_not_measured_or_too_old_is_in_no_mean_and_no_energy_and_that_is_said():
    rig = Rig("missing", *NOON).set(pv=None, grid=12000).run(150)
    rig.now[im.AGE + im.SEQ_METER] = im.AGE_NEVER  # the meter is silent, its last value stands
    rig.set(grid=99000, load=None).run(150)
    (row,) = rig.rows("five")
    assert row["grid_w"] == 12000 and row["grid_s"] == 150 and row["imported_wh"] == KWH_12 // 2
    assert row["pv_w"] is None and row["pv_s"] == 0 and row["pv_wh"] == 0
    totals = rig.history.totals()
    assert totals["pv"] is None and totals["imported"] == 500 and totals["exported"] == 0
    assert rig.rows("day")[-1]["pv_wh"] is None


def test_who_was_not_there_counts_nothing_for_the_time_between():
    rig = Rig("away", *NOON).set(grid=36000)
    rig.run(60, 60)  # held for a minute
    assert rig.history.totals()["imported"] is None
    rig.run(10)
    assert rig.history.totals()["imported"] == 100


def test_energy_is_counted_by_local_day_month_and_year_and_a_day_of_23_hours_has_23():
    rig = Rig("spring", 9583, 82800).set(battery=3600)  # 2026-03-29 begins in Berlin: the clocks are put on
    for hours in (23, 24):
        rig.run(5).run(295, 295).run(hours * 3600 - 300, 300)
    days = rig.rows("day")
    assert [(row["period"], row["seconds"], row["discharged_wh"]) for row in days] == [
        ("2026-03-29", 82800, 82800),
        ("2026-03-30", 86400, 86400),
    ]
    months, years = rig.rows("month"), rig.rows("year")
    assert [row["period"] for row in months] == ["2026-03"] and [row["period"] for row in years] == ["2026"]
    assert years[0]["discharged_wh"] == months[0]["discharged_wh"] == rig.history.totals()["discharged"] == 47 * 3600


def test_the_last_five_minutes_of_a_year_are_that_year_s():
    rig = Rig("year", 9861, 79200).set(grid=12000).run(3600 + 600)  # an hour before 2027 in Berlin
    assert [(row["period"], row["imported_wh"]) for row in rig.rows("year")] == [("2026", 12000), ("2027", 2000)]
    assert [row["period"] for row in rig.rows("month")] == ["2026-12", "2027-01"]
    assert rig.history.today()["imported"] == 2000


def test_a_day_that_waits_for_the_flash_is_there_already():
    rig = Rig("waits", 9822, 79200).set(grid=12000).run(3600, 5, False).run(600, 5, False)
    told = [(row["period"], row["imported_wh"]) for row in rig.rows("day")]
    assert told == [("2026-11-22", 12000), ("2026-11-23", 2000)]
    for _ in range(9):
        rig.save()
    assert [(row["period"], row["imported_wh"]) for row in rig.rows("day")] == told
    again = Rig("waits", 9822, 83700).set(grid=12000)
    assert [(row["period"], row["imported_wh"]) for row in again.rows("day")][:2] == told


def test_what_flows_before_the_clock_is_set_goes_to_the_day_when_it_all_was_on_that_day():
    rig = Rig("late").set(grid=12000).run(1200)
    assert rig.rows("day")[0]["period"] is None and rig.rows("day")[0]["imported_wh"] == 4000
    assert rig.rows("five")[0]["time"] is None and rig.rows("five")[1]["up_s"] == 600
    assert rig.history.today()["imported"] is None
    rig.pm.clock.set(3, *NOON)
    rig.run(600)
    assert [(row["period"], row["imported_wh"]) for row in rig.rows("day")] == [("2026-11-22", 6000)]


def test_and_to_no_day_when_midnight_was_between():
    rig = Rig("too late").set(grid=12000).run(7200)
    rig.pm.clock.set(3, 9822, 0)  # one o'clock in Berlin, and it runs for two hours
    rig.run(600)
    assert [(row["period"], row["imported_wh"]) for row in rig.rows("day")] == [(None, 24000), ("2026-11-22", 2000)]
    again = Rig("too late", 9822, 600).set(grid=12000).run(300)
    assert [(row["period"], row["imported_wh"]) for row in again.rows("day")] == [(None, 24000), ("2026-11-22", 3000)]
    assert again.history.totals()["imported"] == 27000


def test_a_clock_that_jumps_neither_adds_energy_nor_loses_any():
    rig = Rig("jumps", *NOON).set(grid=12000)
    for day, sec in ((9822, 40000), (9822, 36000), (9900, 5), (9822, 43000), (9822, 43001)):
        rig.run(110)
        rig.pm.clock.set(3, day, sec)
        rig.run(145)
    assert abs(rig.history.totals()["imported"] - 5 * 255 * 12000 // 3600) <= 1
    assert sum([row["imported_wh"] for row in rig.rows("day")]) == rig.history.totals()["imported"]
    assert abs(sum([row["seconds"] for row in rig.rows("five")]) - 5 * 255) < 300
    first = rig.rows("five")[0]
    assert first["time"] == (9822, NOON[1] + 115) and first["seconds"] == 115, "it ends by the clock that it began with"


def test_a_power_cut_costs_at_most_five_minutes_and_nothing_is_counted_twice():
    """Off and on every 40 minutes or so for three days: what is known is the sum of the rows, once each."""
    day, sec, made, boots = 9861, 70000, 0, 0  # over the end of a year
    while boots < 30:
        rig = Rig("cuts", day, sec).set(battery=12000)
        known = rig.history.totals()["discharged"] or 0
        assert made - known <= (boots + 1) * KWH_12 and known <= made, (boots, made, known)
        assert sum([row["discharged_wh"] for row in rig.each("five")]) == known
        for kind in ("day", "month", "year"):
            rows = rig.rows(kind)
            assert sum([row["discharged_wh"] or 0 for row in rows]) == known, (boots, kind)
            assert len({row["period"] for row in rows}) == len(rows), "each of them once"
        seconds = 65 * (40 + 37 * boots % 73)
        for _ in range(seconds // 65):
            rig.run(60, 60).run(5)  # a step of 60 s is no measurement of the time between, but the cycle has counted it
        made += seconds * 12000 // 3600
        sec += seconds
        day, sec = day + sec // 86400, sec % 86400
        boots += 1
    assert len(rig.rows("year")) == 2 and len(rig.rows("day")) >= 3


def test_books_that_are_damaged_are_begun_anew_and_that_is_said():
    rig = Rig("damaged", *NOON).set(grid=12000).run(7200)
    for name in ("books.json", "books.json.old"):
        with open(rig.place + "/history/" + name, "w") as file:
            file.write("{}")
    again = Rig("damaged", 9822, 50000).set(grid=12000)
    assert "counted anew" in again.history.problems[0]
    assert again.history.totals()["imported"] is None and len(again.rows("five")) == 24, "the rows are there still"
    again.run(600)
    assert again.history.totals()["imported"] == 2000


def test_days_that_end_while_the_flash_is_full_wait_for_it():
    rig = Rig("full", *NOON).set(battery=12000)

    def run(seconds):
        for _ in range(seconds // 300):
            rig.run(295, 295).run(5)

    run(86400)

    def full(path, mode="r", *_more):
        if mode != "rb":
            raise OSError(28)
        return open(path, mode)

    sink, notice.sink = notice.sink, lambda text: None
    rowlog.open = safestore.open = journal.open = full
    try:
        run(4 * 86400)
    finally:
        del rowlog.open, safestore.open, journal.open
    run(3 * 3600)
    notice.sink = sink
    flowed = (5 * 86400 + 3 * 3600) * 12000 // 3600
    for again in (rig, Rig("full", rig.pm.clock.day, rig.pm.clock.sec)):
        days = again.rows("day")
        assert [row["period"] for row in days] == ["2026-11-%02d" % day for day in range(22, 28)], days
        assert abs(sum([row["discharged_wh"] for row in days]) - flowed) <= KWH_12
        assert again.history.totals()["discharged"] == sum([row["discharged_wh"] for row in days])


def test_days_that_end_while_the_flash_stays_full_are_bounded_and_those_that_go_are_counted():
    waiting = books.Books()
    for day in range(9000, 9100):
        waiting.take(day, 0, [1000] * books.NUMBERS)
    kept = {0: [], 1: [], 2: []}
    for kind, number, packed in waiting.closed:
        kept[kind].append((number, books.period(packed)[0]))
    assert len(waiting.closed) == 40 and 60 <= waiting.dropped <= 63, "99 days and some months are over"
    assert kept[0][-1][1] == 9098 and kept[0][0][1] == 9098 - len(kept[0]) + 1, "the newest"
    for kind in range(3):
        assert [number for number, _ in kept[kind]] == list(range(len(kept[kind]))), "kept without a gap"
        assert waiting.count[kind] == len(kept[kind])


class Short:
    """A function for which the heap is too short once: when all of those that share `left` were called so often."""

    def __init__(self, usual, left):
        self._usual, self._left = usual, left

    def __call__(self, *given):
        self._left[0] -= 1
        if self._left[0] == -1:
            raise MemoryError
        return self._usual(*given)


class Structs:
    """In the place of struct in five.py."""

    def __init__(self, usual, left):
        self.pack = Short(usual.pack, left)
        self.unpack = usual.unpack


def test_a_row_for_which_there_is_no_heap_is_counted_everywhere_or_nowhere():
    usual, structs = books.keys_of, five.struct
    for fails in range(12):
        rig = Rig("heap-%d" % fails, *NOON).set(battery=12000).run(295)
        left = [fails]
        history = rig.history
        books.keys_of = Short(usual, left)
        five.struct = Structs(structs, left)
        history.fives.append = Short(history.fives.append, left)
        try:
            for _ in range(300):
                try:
                    rig.run(5)
                except MemoryError:
                    pass
        finally:
            books.keys_of, five.struct = usual, structs
        total = history.totals()["discharged"]
        assert total == sum([row["discharged_wh"] for row in rig.rows("day")]), fails
        assert abs(total - 1795 * 12000 // 3600) <= 20, (fails, total)


def test_rows_are_bounded_and_the_oldest_go():
    rig = Rig("bounded", *NOON, days=1)
    rig.run(3 * 86400, 300)
    counters = rig.history.counters()
    assert 288 <= counters["rows"] <= 2 * 288 and counters["waiting"] <= 1 and counters["lost"] == 0
    assert rig.count("five") == counters["rows"]
    assert [row["time"] for row in rig.each("five", "-299")] == [(9825, NOON[1])]


def test_rows_whose_files_somebody_has_removed_are_no_rows():
    rig = Rig("removed", *NOON).run(3 * 86400, 300)
    known = rig.history.totals()
    place = rig.place + "/history"
    for folder in (place, place + "/tail"):
        for name in os.listdir(folder):
            if name[:5] == "five.":
                os.remove(folder + "/" + name)
    again = Rig("removed", 9826, 0)
    assert again.rows("five") == [] and again.history.counters()["rows"] == again.history.counters()["damaged"] == 0
    assert again.history.totals() == known
    again.run(900, 300)
    assert 2 <= len(again.rows("five")) == again.history.counters()["rows"]


def test_a_span_gives_what_ended_in_it():
    rig = Rig("span", *NOON).run(2 * 86400, 300)
    assert rig.count("five") == 576
    assert rig.count("five", "-3600") == 12
    assert rig.count("five", "2026-11-23", "2026-11-23") == 288
    assert rig.count("five", "2026-11-23T12:00", "2026-11-23T13:00") == 12
    assert next(rig.each("five", "2026-11-23T11:00:00Z"))["time"] == (9823, 39900)
    assert next(rig.each("five", "%d" % ((9823 + 10957) * 86400 + 39600)))["time"] == (9823, 39900)
    assert [row["period"] for row in rig.rows("day", "2026-11-23", "2026-11-23")] == ["2026-11-23"]
    assert len(rig.rows("second", "-60")) == 1 and len(rig.rows("second", "-3600", "-1800")) == 0


def test_what_cannot_be_asked_for_is_refused_with_what_can():
    rig = Rig("refused", *NOON)
    for kind, first, form, said in (
        ("week", "", "json", "second, five, day"),
        ("day", "yesterday", "json", "2026-11-28"),
        ("day", "2026-02-30", "json", "from"),
        ("day", "2026-13-01", "json", "from"),
        ("five", "2026-11-28T25:00", "json", "from"),
        ("five", "2026-11-28T12:60", "json", "from"),
        ("five", "-", "json", "from"),
        ("five", "", "xml", "json, csv"),
    ):
        try:
            rig.history.pieces(kind, first, "", form)
            raise AssertionError("%s %s %s was not refused" % (kind, first, form))
        except ValueError as error:
            assert said in str(error), str(error)
    try:
        rig.history.answer({"kind": "five", "since": "-3600"})
        raise AssertionError("there is no such parameter")
    except ValueError as error:
        assert "kind, from, to, format" in str(error)
    unset = Rig("unset")
    try:
        unset.history.rows("five", "-60")
        raise AssertionError("before what?")
    except ValueError as error:
        assert "clock is not set" in str(error)


def test_json_and_csv_say_the_same_with_units_in_the_names():
    rig = Rig("forms", *NOON).set(battery=None, grid=12000).run(900)
    for kind in ("second", "five", "day", "month", "year"):
        told = json.loads(rig.text(kind, "json"))
        assert told["kind"] == kind and told["rows"]
        lines = rig.text(kind, "csv").split("\r\n")
        assert lines[0].split(",") == told["columns"] and lines[-1] == ""
        assert len(lines) == 2 + len(told["rows"])
        for line, row in zip(lines[1:], told["rows"]):
            for name, cell, value in zip(told["columns"], line.split(","), row):
                if name == "time":
                    assert cell[:11] == "2026-11-22T" and cell[-1] == "Z" and value // 86400 == 9822 + 10957
                else:
                    assert cell == ("" if value is None else "%.2f" % value if name == "soc_percent" else str(value))
    kind, pieces = rig.history.answer({"kind": "five", "from": "-3600"})
    five = json.loads("".join(list(pieces)))
    assert kind == "application/json" and rig.history.answer({"kind": "day", "format": "csv"})[0][:8] == "text/csv"
    row = dict(zip(five["columns"], five["rows"][0]))
    assert row["soc_percent"] == 50.0 and row["battery_w"] is None and row["time"] == (9822 + 10957) * 86400 + 39900


def test_a_log_is_read_in_answers_that_a_console_can_give_and_goes_on_where_it_came_to():
    rig = Rig("log", *NOON).run(86400, 300)
    begin = (NOON[0] + 10957) * 86400 + NOON[1]
    at, rows, answers = 0, [], 0
    while True:
        lines = list(rig.history.log("five", at))
        word, came_to, count = lines[-1].split(" ")
        assert sum([len(line) + 2 for line in lines]) < 4096 and len(lines) - 1 == int(count)
        rows += [json.loads(line[9:])[0] - begin for line in lines[:-1]]
        at = int(came_to)
        answers += 1
        if word == "end":
            break
    assert answers > 5 and rows == list(range(300, 86401, 300))
    assert list(rig.history.log("five", at)) == ["end %d 0" % at]
    rig.run(300)
    assert len(list(rig.history.log("five", at))) == 2


def test_a_person_sees_energies_and_the_last_rows():
    rig = Rig("person", *NOON).set(pv=None, battery=12000)
    for _ in range(36):
        rig.run(5).run(295, 295)
    told = list(rig.history.told([]))
    assert told[0] == "today, kWh: charged 0.000, discharged 36.000, imported 1.000, exported 0.000, load 1.000"
    assert told[1][:6] == "in all" and "30 days" in told[2] and told[2][:2] == "36"
    assert len(list(rig.history.told(["five"]))) == 1 + 24, "of two hours"
    assert len(list(rig.history.told(["five", "-600"]))) == 1 + 2 and len(list(rig.history.told(["day"]))) == 2
    assert all("\r" not in line for line in rig.history.told(["second"]))
    try:
        rig.history.told(["weeks"])
        raise AssertionError("there are no weeks")
    except ValueError as error:
        assert "second, five, day" in str(error)


def test_a_time_that_ends_before_it_begins_and_a_word_too_many_are_refused():
    rig = Rig("backwards", *NOON).run(5)
    for words, said in (
        (["five", "2026-11-29", "2026-11-28"], "from = '2026-11-29': must be before to = '2026-11-28'"),
        (["second", "-60", "-120"], "from = '-60': must be before to = '-120'"),
        (["five", "-60", "-10", "5"], "'5': nothing stands behind kind, from and to"),
    ):
        try:
            rig.history.told(words)
            raise AssertionError("%s was not refused" % words)
        except ValueError as error:
            assert str(error) == said, error
    assert list(rig.history.told(["five", "2026-11-28", "2026-11-28"])), "of a day"


def test_hours_by_the_second_take_no_more_heap():
    if not hasattr(gc, "mem_alloc"):
        return
    rig = Rig("hours", *NOON, minutes=5)
    rig.run(1200, 1, False).save()
    before = None
    for _ in range(3):
        rig.run(1200, 1, False).save()
        gc.collect()
        if before is None:
            before = gc.mem_alloc()
    assert gc.mem_alloc() - before <= 64, "a number more of records or books, and that is all"


# ---- the last hour by the second ----------------------------------------------------------------------


def test_a_power_in_16_bits_is_right_to_the_watt_and_then_to_a_thirtieth_of_a_percent():
    for value in (0, 1, -1, 4095, -4095, 4096, 50000, -120000, 999999, 30000000, -60000000):
        assert abs(decoded(coded(value)) - value) <= abs(value) * 0.0005 if abs(value) > 4095 else decoded(coded(value)) == value
    assert decoded(coded(im.NO_VALUE)) is None
    assert decoded(coded(200000000)) == 67092480, "more than any site has"


def test_the_last_minutes_are_there_second_by_second_and_what_was_missed_is_said():
    rig = Rig("seconds", *NOON, minutes=3).set(pv=None)
    for second in range(1, 400):
        if second % 50 == 7:
            continue
        rig.now[im.UPTIME_S] = second
        rig.now[im.SOC] = 5000 - second
        rig.set(battery=second * 100)
        rig.history.seconds.sample()
    rows = list(rig.history.seconds.rows(0, 1000))
    assert rows[-1][0] == 399 and 180 <= len(rows) <= 240
    assert [row[0] for row in rows] == list(range(rows[0][0], 400)), "each second has its row"
    for row in rows:
        if row[0] % 50 == 7:
            assert row[1:5] == (None,) * 4
        else:
            assert abs(row[1] - row[0] * 100) <= 8 and row[2:5] == (20000, 20000, None)
            assert 0 <= 5000 - row[5] - row[0] // 10 * 10 <= 2
    assert list(rig.history.seconds.rows(390, 392)) == rows[-10:-7]


def test_limits_have_their_reason_at_their_second_and_within_one_percent():
    image = Rig("limits", *NOON).pm.image
    now, seconds = image.now, Seconds(image, 5)
    said = {}
    for second in range(1, 301):
        now[im.UPTIME_S] = second
        limit = 80000 - 1000 * (second // 25) + second % 3
        now[im.LIMIT_DIS] = im.FREE if second > 250 else limit
        now[im.WHY_DIS] = 5 if second < 100 else 9
        now[im.LIMIT_CHG], now[im.WHY_CHG] = 120000, 14
        now[im.MODE] = 3 if second < 200 else 1
        seconds.sample()
        said[second] = (now[im.LIMIT_DIS], now[im.WHY_DIS], now[im.MODE])
    for row in seconds.rows(1, 300):
        limit, why, mode = said[row[0]]
        assert (row[8], row[9], row[10]) == (why, 14, mode), row[0]
        if limit == im.FREE:
            assert row[6] is None
        else:
            assert abs(row[6] - limit) <= limit * 0.0105, row[0]


def test_limits_that_move_all_the_time_reach_back_less_far_and_the_powers_as_far_as_ever():
    image = Rig("restless", *NOON).pm.image
    now, seconds = image.now, Seconds(image, 5)
    for second in range(1, 301):
        now[im.UPTIME_S] = second
        now[im.LIMIT_DIS] = 10000 + second % 2 * 10000
        seconds.sample()
    rows = list(seconds.rows(1, 300))
    assert len(rows) == 300 and all(row[2] == 20000 for row in rows)
    assert rows[0][6] is None and rows[0][10] is None and rows[-1][6] == 10000
    assert sum([row[6] is not None for row in rows]) == 24


def test_when_the_heap_runs_short_the_last_hour_is_given_back_first():
    rig = Rig("short", *NOON, minutes=25).run(1200, 5)
    assert rig.history.counters()["minutes"] == 25
    rig.app.metering.free_bytes = 9000
    told = []
    for _ in range(4):
        rig.history.spare_the_heap()
        told.append((rig.history.counters()["minutes"], len(rig.rows("second")) > 0))
        rig.run(60)
    assert told == [(15, True), (5, True), (0, False), (0, False)]
    assert rig.history.counters()["given_back"] == 25 and rig.rows("second") == []
    rig.app.metering.free_bytes = 100000
    assert Rig("none", *NOON, minutes=0).run(600).rows("second") == []


def test_a_zone_that_is_a_whole_day_off_has_its_days_too():
    for n, zone in enumerate(("AAA24", "AAA24:59:59", "AAA-24BBB-24:59,M3.5.0,M10.5.0")):
        rig = Rig("zone-%d" % n, *NOON, zone=zone).set(grid=12000)
        for _ in range(2 * 288):
            rig.run(295, 295).run(5)
        days = rig.rows("day")
        assert len(days) == 3 and sum([row["seconds"] for row in days]) == 2 * 86400, (zone, days)
        assert len(Rig("zone-%d" % n, rig.pm.clock.day, rig.pm.clock.sec, zone=zone).rows("day")) == 3
