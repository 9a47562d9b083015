"""Local time of every zone of the tz database whose rules a POSIX string can express, against Python's zoneinfo."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from civil import date_of, day_number
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from posixtz import GAP, OVERLAP, UNIQUE, PosixTZ

from host_tests.unit import zones_of_python
from tools.generate.gen_tz import expressible_zones

pytestmark = pytest.mark.slow

_EPOCH = datetime(2000, 1, 1)
_FIRST = datetime(2024, 1, 1)
_END = datetime(2038, 1, 1)


def _pair(moment: datetime) -> tuple[int, int]:
    past = moment.replace(tzinfo=None) - _EPOCH
    return past.days, past.seconds


def _moment(pair: tuple[int, int]) -> datetime:
    return _EPOCH + timedelta(days=pair[0], seconds=pair[1])


def _same(ours: PosixTZ, theirs: ZoneInfo, utc: datetime) -> None:
    """One instant to local time, and local times around it back, in both folds."""
    local = utc.replace(tzinfo=UTC).astimezone(theirs)
    assert _moment(ours.local(*_pair(utc))) == local.replace(tzinfo=None), utc
    for shift_s in (0, -3600, 3600, -1800, 1800):
        wall = local.replace(tzinfo=None) + timedelta(seconds=shift_s)
        offsets = []
        for fold in (0, 1):
            aware = wall.replace(tzinfo=theirs, fold=fold)
            back = aware.astimezone(UTC).replace(tzinfo=None)
            assert _moment(ours.utc(*_pair(wall), fold)) == back, (utc, wall, fold)
            offsets.append(aware.replace(tzinfo=None) - back)
        kind = UNIQUE if offsets[0] == offsets[1] else GAP if offsets[0] < offsets[1] else OVERLAP
        assert ours.kind(*_pair(wall)) == kind, (utc, wall)


def _transitions(zone: ZoneInfo, first: datetime) -> list[datetime]:
    """The instants in [first, end of 2037] at which zoneinfo's offset changes, to the second."""

    def offset(t: datetime) -> timedelta | None:
        return t.replace(tzinfo=UTC).astimezone(zone).utcoffset()

    found = []
    t = first
    before = offset(t)
    while t < _END:
        following = t + timedelta(days=14)
        after = offset(following)
        if after != before:
            low, high = t, following
            while high - low > timedelta(seconds=1):
                middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
                low, high = (low, middle) if offset(middle) != before else (middle, high)
            found.append(high)
        t, before = following, after
    return found


def _zones() -> list[tuple[PosixTZ, ZoneInfo, datetime]]:
    """Every expressible zone, in ours and in Python's words, and the instant to compare it from.

    Names that are links to one another have the same bytes in the database; one of them stands for all.
    """
    found = {}
    for zone in expressible_zones():
        # A day later, since a local time just after the first instant may still mean one before it.
        first = max(_FIRST, zone.since + timedelta(days=1))
        key = zones_of_python.bytes_of(zone.name), zone.posix
        found[key] = (PosixTZ(zone.posix), zones_of_python.iana(zone.name), first)
    return list(found.values())


def test_nearly_every_zone_is_expressible() -> None:
    zones = expressible_zones()
    assert len(zones) > 580
    assert {"Europe/Berlin", "Europe/Dublin", "America/New_York", "Australia/Lord_Howe"} <= {z.name for z in zones}


def test_every_transition_of_every_zone_2024_to_2037() -> None:
    checked = 0
    for ours, theirs, first in _zones():
        for instant in [first, *_transitions(theirs, first)]:
            for near_s in (-1, 0, 1, 1799, 3600, -3601):
                if instant + timedelta(seconds=near_s) >= first:
                    _same(ours, theirs, instant + timedelta(seconds=near_s))
                    checked += 1
    assert checked > 10000


def test_random_instants_of_every_zone() -> None:
    random_source = random.Random(4)
    for ours, theirs, first in _zones():
        span_s = int((_END - first).total_seconds())
        for _ in range(40):
            _same(ours, theirs, first + timedelta(seconds=random_source.randrange(3601, span_s)))


_NAMES = st.sampled_from(["CET", "NZST", "<+0330>", "<-03>", "Abcdef"])


@st.composite
def _rules(draw: st.DrawFn, months: range, kinds: str) -> str:
    """A rule that falls within the months given, whatever its kind: so the two of a zone never meet."""
    kind = draw(st.sampled_from(kinds))
    if kind == "M":
        rule = f"M{draw(st.sampled_from(months))}.{draw(st.integers(1, 5))}.{draw(st.integers(0, 6))}"
    else:
        start = day_number(2001, months[0], 1) - day_number(2001, 1, 1) + 1
        day = start + draw(st.integers(0, 50))
        rule = f"J{day}" if kind == "J" else f"{day}"
    time = draw(st.one_of(st.none(), st.integers(-167 * 3600, 167 * 3600), st.integers(-4, 26).map(lambda h: h * 3600)))
    if time is None:
        return rule
    return rule + "/" + _hours(time, draw(st.booleans()))


def _hours(seconds: int, plus: bool) -> str:
    sign = "-" if seconds < 0 else "+" if plus else ""
    h, rest = divmod(abs(seconds), 3600)
    return f"{sign}{h}" + (f":{rest // 60:02d}:{rest % 60:02d}" if rest % 60 else f":{rest // 60:02d}" if rest else "")


@st.composite
def _posix_strings(draw: st.DrawFn, kinds: str) -> str:
    std = draw(st.integers(-14 * 4, 14 * 4)) * 900 + draw(st.sampled_from([0, 0, 0, 17]))
    text = draw(_NAMES) + _hours(std, draw(st.booleans()))
    if draw(st.booleans()):
        return text
    text += draw(_NAMES)
    text += _hours(std + draw(st.sampled_from([-3600, -1800, 3600, 7200, -7200])), draw(st.booleans()))
    rules = [draw(_rules(range(3, 5), kinds)), draw(_rules(range(9, 11), kinds))]
    if draw(st.booleans()):
        rules.reverse()
    return text + "," + ",".join(rules)


_INSTANTS = st.lists(st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1)), min_size=1, max_size=8)


# zoneinfo (to Python 3.13 at least) puts zero-based days one day early, so those are compared with the C library only.
@settings(max_examples=300, deadline=None)
@given(posix=_posix_strings("MJ"), instants=_INSTANTS)
def test_any_posix_string_reads_as_zoneinfo_reads_it(posix: str, instants: list[datetime]) -> None:
    ours, theirs = PosixTZ(posix), zones_of_python.posix(posix)
    for instant in instants:
        instant = instant.replace(microsecond=0)
        _same(ours, theirs, instant)
        change = ours.next_change(*_pair(instant))
        if change is not None:
            for near_s in (-1, 0, 1, 3600, -3600):
                _same(ours, theirs, _moment(change) + timedelta(seconds=near_s))


@pytest.fixture
def _libc_zone() -> Iterator[None]:
    """Gives the process its own time zone back after a test that changed it."""
    before = os.environ.get("TZ")
    yield
    os.environ.pop("TZ", None)
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(posix=_posix_strings("MJn"), instants=_INSTANTS)
def test_any_posix_string_reads_as_the_c_library_reads_it(_libc_zone: None, posix: str, instants: list[datetime]) -> None:
    ours = PosixTZ(posix)
    os.environ["TZ"] = posix
    time.tzset()
    for instant in instants:
        instant = instant.replace(microsecond=0)
        change = ours.next_change(*_pair(instant))
        near = [] if change is None else [_moment(change) + timedelta(seconds=s) for s in (-1, 0, 1)]
        for moment in [instant, *near]:
            libc = time.localtime(int(moment.replace(tzinfo=UTC).timestamp()))
            assert ours.offset_at(*_pair(moment)) == libc.tm_gmtoff, moment
            assert ours.is_dst_at(*_pair(moment)) == bool(libc.tm_isdst), moment
            assert ours.name_at(*_pair(moment)) == libc.tm_zone, moment


@given(moment=st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31)))
def test_calendar_days_agree_with_datetime(moment: datetime) -> None:
    day, _ = _pair(moment)
    assert day_number(moment.year, moment.month, moment.day) == day
    assert date_of(day) == (moment.year, moment.month, moment.day)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Santiago", "Pacific/Auckland"])
def test_zones_of_both_hemispheres_change_their_clocks(zone: str) -> None:
    """Guards the guards: the comparison above would be empty if no transitions were found."""
    assert len(_transitions(zones_of_python.iana(zone), _FIRST)) == 28


def test_the_table_on_the_board_is_what_the_tz_database_gives(tmp_path: Path) -> None:
    from tools.generate import gen_tz

    table = tmp_path / "zones.txt"
    gen_tz.write(table)
    assert table.read_bytes() == gen_tz.TABLE.read_bytes()
