"""The scheduler against a slow, obvious, minute-by-minute reference: DST, midnight, reboots, clock jumps, edits.

The reference walks through local time as a person would, with zoneinfo, and counts minutes down; it shares no code
with the scheduler.  SCHEDULE_SETS sets how many generated schedules are compared (default 24), SCHEDULE_SEED where
they begin.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from posixtz import PosixTZ

from firmware.modes import Mode
from firmware.schedule_entry import ScheduleEntry
from firmware.scheduler import ENDED, MISSED, STARTED, Scheduler
from host_tests.unit import zones_of_python
from tools.generate.gen_tz import expressible_zones

pytestmark = pytest.mark.slow

_EPOCH = datetime(2000, 1, 1)
_DAYS = 9
_SETS = int(os.environ.get("SCHEDULE_SETS", "24"))
_SEED = int(os.environ.get("SCHEDULE_SEED", "0"))

# No zone does it today: clocks go back over midnight, so that a date returns to the one before
_BACK_OVER_MIDNIGHT = "AAA0BBB,M4.1.0/0:30,M10.4.0/0:30"

# First days of the weeks compared: each holds a clock change of its zone, or none
_WEEKS = [
    ("Europe/Berlin", datetime(2026, 3, 25)),
    ("Europe/Berlin", datetime(2026, 10, 21)),
    ("Europe/Berlin", datetime(2026, 12, 28)),
    ("America/New_York", datetime(2027, 3, 10)),
    ("America/New_York", datetime(2026, 10, 28)),
    ("Australia/Lord_Howe", datetime(2026, 10, 1)),
    ("Australia/Lord_Howe", datetime(2027, 4, 1)),
    ("Africa/Cairo", datetime(2026, 4, 20)),
    ("Africa/Cairo", datetime(2026, 10, 26)),
    ("America/Santiago", datetime(2026, 9, 2)),
    ("America/Santiago", datetime(2027, 3, 31)),
    ("Antarctica/Troll", datetime(2027, 3, 24)),
    ("Asia/Kolkata", datetime(2028, 2, 25)),
    (_BACK_OVER_MIDNIGHT, datetime(2026, 10, 20)),
]


@cache
def _starts(zone_name: str, first: datetime) -> dict[int, list[tuple[int, int]]]:
    """UTC minute -> the (local date as a day number, minute of the day) that begin then, found by walking.

    A local minute that comes twice begins the first time.  Local minutes that are skipped begin one after the other
    from the moment of the change on, as if clocks had not been changed.
    """
    zone = zones_of_python.posix(zone_name) if "," in zone_name else zones_of_python.iana(zone_name)
    found = defaultdict(list)
    minute = timedelta(minutes=1)
    before = None
    base = int((first - _EPOCH).total_seconds()) // 60
    for n in range(-3 * 1440, (_DAYS + 4) * 1440):
        local = (first + n * minute).replace(tzinfo=UTC).astimezone(zone)
        wall = local.replace(tzinfo=None, fold=0)
        if before is not None:
            late = 0
            while before + minute < wall:
                before += minute
                found[base + n + late].append(before)
                late += 1
        if not local.fold:
            found[base + n].append(wall)
        before = wall
    return {m: [((wall - _EPOCH).days, wall.hour * 60 + wall.minute) for wall in walls] for m, walls in sorted(found.items())}


class _Clock:
    """A clock as the scheduler sees one, moved by the test in whole minutes."""

    def __init__(self, tz: PosixTZ) -> None:
        self.tz = tz
        self.is_set = False
        self.day = self.sec = self.elapsed_s = 0

    def show(self, utc_minute: int, elapsed_minutes: int) -> None:
        self.day, minute = divmod(utc_minute, 1440)
        self.sec = minute * 60
        self.elapsed_s = elapsed_minutes * 60


class _Line:
    """The reference's idea of one entry: its starts, the dates it has begun on, and the minutes it has left."""

    def __init__(self, fields: dict[str, Any], starts: dict[int, list[tuple[int, int]]]) -> None:
        self.fields = dict(fields)
        self.begun: dict[int, int] = {}  # local date -> UTC minute of the start
        self.unfinished = ""  # why the newest activation is not running although it has not run its course
        self.left = 0  # minutes; > 0 while it runs
        self.start = 0  # of the run
        self.run: object = None
        days = fields["days"] or (127 if fields["day_of_week"] == 7 else 1 << fields["day_of_week"])
        at = fields["hour"] * 60 + fields["minute"]
        self.starts = [
            (utc, date) for utc, walls in starts.items() for date, minute in walls if minute == at and days >> ((date + 6) % 7) & 1
        ]

    def pause(self, why: str) -> None:
        if self.left or self.unfinished == "power":
            self.left = 0
            self.unfinished = why


class _Reference:
    """The rules at the head of scheduler.py, in the most direct words."""

    def __init__(self) -> None:
        self.lines: dict[int, _Line] = {}
        self.enabled = True
        self.last: int | None = None  # the clock at the last tick
        self.in_charge: tuple[int, object] | None = None

    def reboot(self) -> None:
        for line in self.lines.values():
            line.pause("power")
        self.last = None
        self.in_charge = None

    def minute(self, now: int) -> tuple[list[tuple[int, int]], tuple[int, int, int, int]]:
        events: list[tuple[int, int]] = []
        for i, line in sorted(self.lines.items()):
            self._one(i, line, now, events)
        running = [(line.start, -i) for i, line in self.lines.items() if line.left]
        best = -max(running)[1] if running else None
        chosen = None if best is None else (best, self.lines[best].run)
        if chosen != self.in_charge:
            if self.in_charge is not None:
                events.append((ENDED, self.in_charge[0]))
            if chosen is not None:
                events.append((STARTED, chosen[0]))
            self.in_charge = chosen
        self.last = now
        if best is None:
            return events, (-1, -1, 0, 0)
        fields = self.lines[best].fields
        return events, (best, fields["mode"], round(fields["power_setpoint"] * 1000), self.lines[best].left * 60)

    def _one(self, i: int, line: _Line, now: int, events: list[tuple[int, int]]) -> None:
        length = line.fields["duration_minutes"]
        if not (self.enabled and line.fields["enabled"]):
            return
        if not line.left and line.begun:
            newest = max(line.begun)
            if line.begun[newest] > now + 720:
                line.begun = {}
                line.unfinished = ""
            elif line.unfinished == "power" and now >= line.begun[newest] + length:
                self._over(line)
        if not line.fields["enabled"]:
            return
        past = [(utc, date) for utc, date in line.starts if utc <= now]
        if not past or (line.left and not line.fields["repeat"]):
            return
        utc, date = max(past)
        newest = max(line.begun) if line.begun else 0
        if line.unfinished and not line.fields["repeat"] and line.begun[newest] <= now < line.begun[newest] + length:
            utc, date = line.begun[newest], newest  # once is once
        is_new = all(date > begun for begun in line.begun)
        resumes = bool(line.begun) and date == max(line.begun) and bool(line.unfinished)
        if now < utc + length:
            if is_new or resumes:
                line.begun[date] = utc
                line.left = utc + length - now
                line.start = utc
                line.unfinished = ""
                line.run = object()
        elif is_new and self.last is not None and utc > self.last:
            events.append((MISSED, i))

    @staticmethod
    def _over(line: _Line) -> None:
        line.unfinished = ""
        if not line.fields["repeat"]:
            line.fields["enabled"] = False

    def minute_passes(self) -> None:
        for line in self.lines.values():
            if line.left:
                line.left -= 1
                if not line.left:
                    self._over(line)


def _fields(rng: random.Random) -> dict[str, Any]:
    mode = rng.choice([Mode.CHARGE, Mode.DISCHARGE, Mode.IDLE])
    hour = rng.choice([rng.randrange(24), 0, 1, 2, 2, 3, 23])
    by_mask = rng.random() < 0.3
    return {
        "enabled": rng.random() < 0.9,
        "day_of_week": 7 if by_mask or rng.random() < 0.6 else rng.randrange(7),
        "days": rng.randrange(1, 128) if by_mask else 0,
        "hour": hour,
        "minute": rng.choice([0, 30, rng.randrange(60)]),
        "mode": mode,
        "power_setpoint": rng.randrange(0, 100) * {Mode.CHARGE: -1.0, Mode.DISCHARGE: 1.0, Mode.IDLE: 0.0}[mode],
        "duration_minutes": rng.choice([1, 30, 60, 240, 1440, rng.randrange(1, 1441)]),
        "repeat": rng.random() < 0.65,
    }


class _World:
    """One generated schedule living through nine days, in the scheduler and in the reference side by side."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.zone, self.first = self.rng.choice(_WEEKS)
        self.starts = _starts(self.zone, self.first)
        self.clock = _Clock(PosixTZ(_posix_of(self.zone)))
        self.ours = Scheduler()
        self.reference = _Reference()
        self.shift = 0  # minutes the clock is wrong by
        self.booted = 0
        self.set_at = self.rng.choice([0, 0, 5, 200])
        self.off_until = 0
        self.seen: Counter[str] = Counter()
        for _ in range(self.rng.choice([1, 2, 3, 4, 5, 8, 16])):
            self.add()

    def add(self) -> None:
        if len(self.reference.lines) < 16:
            fields = _fields(self.rng)
            self.reference.lines[self.ours.add(ScheduleEntry(**fields))] = _Line(fields, self.starts)

    def edit(self) -> None:
        if not self.reference.lines:
            return
        i = self.rng.choice(sorted(self.reference.lines))
        line = self.reference.lines[i]
        fields = dict(line.fields)
        what = self.rng.choice(["enabled", "enabled", "enabled", "power", "times", "delete"])
        if what == "delete":
            self.ours.delete(i)
            del self.reference.lines[i]
            return
        if what == "enabled":
            fields["enabled"] = not fields["enabled"]
            if not fields["enabled"]:
                line.pause("cut")
        elif what == "power":
            fields["power_setpoint"] /= 2
        else:
            fields["hour"] = (fields["hour"] + self.rng.randrange(1, 23)) % 24
            self.reference.lines[i] = line = _Line(fields, self.starts)
        line.fields = fields
        self.ours.update(i, ScheduleEntry(**fields))

    def switch(self) -> None:
        self.reference.enabled = not self.reference.enabled
        self.ours.enable(self.reference.enabled)
        if not self.reference.enabled:
            for line in self.reference.lines.values():
                line.pause("cut")

    def jump(self) -> None:
        by = self.rng.choice([1, -1, 5, -5, 30, -30, 60, -60, 90, -200, 719, -719, 1000, -1000, 1500, -1500])
        if abs(self.shift + by) < 2 * 1440:
            self.shift += by

    def reboot(self, now: int) -> None:
        doc = json.loads(json.dumps(self.ours.to_doc()))
        self.ours = Scheduler()
        self.ours.from_doc(doc)
        self.reference.reboot()
        self.off_until = now + self.rng.choice([1, 1, 5, 5, 40, 40, 300, 2000])
        self.set_at = self.off_until + self.rng.choice([0, 0, 1, 30])
        self.booted = self.off_until

    def meet(self, now: int) -> None:
        what = self.rng.choice("add edit edit edit switch jump jump reboot".split())
        if what == "reboot":
            self.reboot(now)
        else:
            getattr(self, what)()

    def live(self, trouble: float) -> Counter[str]:
        """Compares every minute; `trouble` is how often a minute brings an edit, a jump or a reboot."""
        base = int((self.first - _EPOCH).total_seconds()) // 60
        for now in range(_DAYS * 1440):
            is_on = now >= self.off_until
            if is_on:
                self.clock.is_set = now >= self.set_at
                self.clock.show(base + now + self.shift, now - self.booted)
                self.compare(base + now + self.shift)
            # Between two ticks, before the minute is over: an edit finds a run that has not ended yet.
            if self.rng.random() < trouble:
                self.meet(now)
            if not self.reference.enabled and self.rng.random() < 0.005:
                self.switch()
            elif self.rng.random() < trouble and any(line.left for line in self.reference.lines.values()):
                self.reboot(now)  # power goes in the middle of a run
            if is_on:
                self.reference.minute_passes()
        return self.seen

    def compare(self, now: int) -> None:
        self.ours.tick(self.clock)
        events = [event for event in self.ours.take_events() if event[1] >= 0]
        if not self.clock.is_set:
            assert events == [] and self.ours.active == -1
            return
        expected_events, expected = self.reference.minute(now)
        where = f"{self.zone}, clock {_EPOCH + timedelta(minutes=now)} UTC"
        assert events == expected_events, where
        assert (self.ours.active, self.ours.mode, self.ours.power_w, self.ours.remaining_s) == expected, where
        self.seen.update({STARTED: "started", ENDED: "ended", MISSED: "missed"}[kind] for kind, _ in events)


@cache
def _posix_of(name: str) -> str:
    if "," in name:
        return name
    return next(zone.posix for zone in expressible_zones() if zone.name == name)


@pytest.mark.parametrize("seed", range(_SEED, _SEED + _SETS))
def test_the_same_activations_as_the_minute_by_minute_reference(seed: int) -> None:
    _World(seed).live(trouble=0.0005 * (1 + seed % 4))


@pytest.mark.parametrize("seed", range(_SEED, _SEED + _SETS // 4))
def test_the_same_activations_without_trouble(seed: int) -> None:
    _World(seed + 1_000_000).live(trouble=0)


def test_the_comparison_is_not_empty() -> None:
    """Guards the guards: starts, ends and missed windows do come up."""
    seen: Counter[str] = Counter()
    for seed in range(8):
        seen += _World(seed).live(trouble=0.001)
    assert seen["started"] > 100 and seen["ended"] > 100 and seen["missed"] > 0, seen


@pytest.mark.parametrize("seed", range(_SEED, _SEED + _SETS // 4))
def test_upcoming_tells_what_then_happens(seed: int) -> None:
    """With nobody interfering, the starts listed beforehand are the starts of the reference."""
    world = _World(seed + 2_000_000)
    base = int((world.first - _EPOCH).total_seconds()) // 60
    world.clock.is_set = True
    world.clock.show(base, 0)
    told = [(entry["day"] * 1440 + entry["sec"] // 60, entry["id"]) for entry in world.ours.upcoming(2000, world.clock)]
    expected = []
    for i, line in world.reference.lines.items():
        starts = [utc for utc, _ in line.starts if base < utc < base + _DAYS * 1440]
        if line.fields["enabled"]:
            expected += [(utc, i) for utc in (starts if line.fields["repeat"] else starts[:1])]
    assert [start for start in told if start[0] < base + _DAYS * 1440] == sorted(expected)
