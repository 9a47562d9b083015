"""POSIX TZ strings: every form, both directions, gap and overlap, and what is said of a wrong one."""

from civil import date_of, day_number, seconds_between, text_of, weekday
from posixtz import GAP, OVERLAP, UNIQUE, PosixTZ

from firmware.zones import zone


def _at(text):
    """(day, sec) of "2026-03-29 01:00" or "...:00:59"."""
    seconds = 0
    for part in text[11:].split(":") + ["0"] * (2 - text[11:].count(":")):
        seconds = seconds * 60 + int(part)
    return (day_number(int(text[:4]), int(text[5:7]), int(text[8:10])), seconds)


def _local(tz, utc):
    day, sec = _at(utc)
    return text_of(*tz.local(day, sec)) + " " + tz.name_at(day, sec)


def _utc(tz, local, fold=0):
    day, sec = _at(local)
    return text_of(*tz.utc(day, sec, fold))


def _error(text):
    try:
        PosixTZ(text)
    except ValueError as error:
        return str(error)
    raise AssertionError("accepted: " + text)


def test_berlin_changes_its_clocks_at_one_utc():
    tz = PosixTZ("CET-1CEST,M3.5.0,M10.5.0/3")
    assert _local(tz, "2026-03-29 00:59:59") == "2026-03-29 01:59:59 CET"
    assert _local(tz, "2026-03-29 01:00:00") == "2026-03-29 03:00:00 CEST"
    assert _local(tz, "2026-10-25 00:59:59") == "2026-10-25 02:59:59 CEST"
    assert _local(tz, "2026-10-25 01:00:00") == "2026-10-25 02:00:00 CET"


def test_a_missing_local_time_counts_on_as_if_clocks_had_not_been_changed():
    tz = PosixTZ("CET-1CEST,M3.5.0,M10.5.0/3")
    assert tz.kind(*_at("2026-03-29 02:30")) == GAP
    assert _utc(tz, "2026-03-29 02:30") == "2026-03-29 01:30:00"
    assert _utc(tz, "2026-03-29 02:30", 1) == "2026-03-29 00:30:00"


def test_a_local_time_that_comes_twice_means_the_first_or_by_fold_the_second():
    tz = PosixTZ("CET-1CEST,M3.5.0,M10.5.0/3")
    assert tz.kind(*_at("2026-10-25 02:30")) == OVERLAP
    assert _utc(tz, "2026-10-25 02:30") == "2026-10-25 00:30:00"
    assert _utc(tz, "2026-10-25 02:30", 1) == "2026-10-25 01:30:00"
    assert tz.kind(*_at("2026-10-25 03:00")) == UNIQUE


def test_the_southern_summer_spans_new_year():
    tz = PosixTZ("AEST-10AEDT,M10.1.0,M4.1.0/3")
    assert _local(tz, "2026-01-01 00:00:00") == "2026-01-01 11:00:00 AEDT"
    assert _local(tz, "2026-07-01 00:00:00") == "2026-07-01 10:00:00 AEST"
    assert _local(tz, "2026-12-31 23:59:59") == "2027-01-01 10:59:59 AEDT"


def test_a_zone_without_dst_never_changes():
    tz = PosixTZ("<+0545>-5:45")
    assert tz.next_change(*_at("2026-01-01 00:00")) is None
    assert _local(tz, "2026-06-30 18:15:00") == "2026-07-01 00:00:00 +0545"


def test_dst_may_be_the_winter_as_in_dublin():
    tz = PosixTZ("IST-1GMT0,M10.5.0,M3.5.0/1")
    assert _local(tz, "2026-01-15 12:00:00") == "2026-01-15 12:00:00 GMT"
    assert _local(tz, "2026-07-15 12:00:00") == "2026-07-15 13:00:00 IST"


def test_rule_times_before_midnight_and_over_24_hours():
    nuuk = PosixTZ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0")
    assert _local(nuuk, "2026-03-29 01:00:00") == "2026-03-29 00:00:00 -01"
    gaza_like = PosixTZ("EET-2EEST,M3.4.4/50,M10.4.4/50")
    assert _local(gaza_like, "2026-03-28 00:00:00") == "2026-03-28 03:00:00 EEST"
    assert _local(gaza_like, "2026-03-27 23:59:59") == "2026-03-28 01:59:59 EET"


def test_julian_days_skip_the_leap_day_and_zero_based_days_count_it():
    julian = PosixTZ("AAA0BBB,J60/0,J300/0")
    counted = PosixTZ("AAA0BBB,59/0,299/0")
    assert _local(julian, "2028-02-29 00:00:00")[-3:] == "AAA"
    assert _local(julian, "2028-03-01 00:00:00")[-3:] == "BBB"
    assert _local(counted, "2028-02-29 00:00:00")[-3:] == "BBB"
    assert _local(counted, "2027-03-01 00:00:00")[-3:] == "BBB"
    assert _local(counted, "2027-02-28 23:59:59")[-3:] == "AAA"


def test_dst_all_the_year_round():
    tz = PosixTZ("XXX3EDT4,0/0,J365/23")  # the example of RFC 9636, section 3.3.1
    for utc in ("2026-01-01 02:59:59", "2026-01-01 03:00:00", "2026-07-01 00:00:00", "2026-12-31 23:30:00"):
        assert _local(tz, utc)[-3:] == "EDT"
    assert tz.kind(*_at("2026-01-01 00:00")) == UNIQUE


def test_dst_without_rules_has_those_of_the_united_states():
    tz = PosixTZ("EST5EDT")
    assert _local(tz, "2026-03-08 06:59:59") == "2026-03-08 01:59:59 EST"
    assert _local(tz, "2026-03-08 07:00:00") == "2026-03-08 03:00:00 EDT"
    assert _local(tz, "2026-11-01 06:00:00") == "2026-11-01 01:00:00 EST"


def test_asking_back_and_forth_over_years_gives_the_same_answers():
    """The held period must never answer for another one."""
    tz = PosixTZ("CET-1CEST,M3.5.0,M10.5.0/3")
    fresh = [PosixTZ("CET-1CEST,M3.5.0,M10.5.0/3").local(day, 3600) for day in range(9000, 10000, 13)]
    assert [tz.local(day, 3600) for day in range(9000, 10000, 13)] == fresh
    assert [tz.local(day, 3600) for day in range(9999 - (999 % 13), 8999, -13)] == list(reversed(fresh))


def test_wrong_strings_are_refused_with_the_character():
    for text, said in (
        ("", "character 1: expected a zone name"),
        ("CE", "character 1: expected a zone name"),
        (":Europe/Berlin", "character 1: expected a zone name"),
        ("CET", "character 4: expected hours of the offset, 0 to 24"),
        ("CET-25", "character 5: expected hours of the offset, 0 to 24"),
        ("CET-1:7", "character 7: expected two digits of minutes"),
        ("<+03-3", "character 7: expected '>'"),
        ("CET-1CEST,M13.5.0,M10.5.0", "character 12: expected a month, 1 to 12"),
        ("CET-1CEST,M3.6.0,M10.5.0", "character 14: expected a week, 1 to 5"),
        ("CET-1CEST,M3.5.7,M10.5.0", "character 16: expected a day of the week, 0 to 6"),
        ("CET-1CEST,J0,J300", "character 12: expected a day of the year, 1 to 365"),
        ("CET-1CEST,366,J300", "character 11: expected M, J or a day of the year, 0 to 365"),
        ("CET-1CEST,M3.5.0/168,M10.5.0", "character 18: expected hours of a rule, 0 to 167"),
        ("CET-1CEST,M3.5.0", "character 17: expected ','"),
        ("CET-1CEST,M3.5.0,M10.5.0/3x", "character 27: expected the end"),
    ):
        assert said in _error(text), (text, _error(text))


def test_days_and_dates():
    assert day_number(2000, 1, 1) == 0 and weekday(0) == 6
    assert date_of(day_number(2028, 2, 29)) == (2028, 2, 29)
    assert date_of(-1) == (1999, 12, 31)
    assert seconds_between(0, 10, 1, 5) == 86395
    assert seconds_between(0, 0, 40000, 0) == 0x3FFFFFFF


def test_zones_are_found_by_name_or_taken_as_posix_strings():
    assert zone("Europe/Berlin").text == "CET-1CEST,M3.5.0,M10.5.0/3"
    assert zone("UTC").text == "UTC0"
    assert zone("<-03>3").std_offset_s == -10800


def test_unknown_zones_are_refused_with_the_nearest_name():
    for name, said in (
        ("berlin", "did you mean Europe/Berlin?"),
        ("europe/berlin", "did you mean Europe/Berlin?"),
        ("Europe/New York", "did you mean America/New_York?"),
        ("Asia/Gaza", "no fixed rule"),
        ("Mars/Olympus", "neither a name"),
    ):
        try:
            zone(name)
        except ValueError as error:
            assert said in str(error), str(error)
        else:
            raise AssertionError("accepted: " + name)
