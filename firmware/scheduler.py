"""The schedule: which entry sets the power now, for how much longer, and what comes next.

Pure logic over a clock (`clock.py` or a test's own), ticked about once a second.  It knows no manager: after a
tick `active`, `mode`, `power_w`, `wants_most` and `remaining_s` say what to claim, and `take_events()` what has happened.

The rules:
  activation  An entry starts on each of its local dates at its local time, once.  A start in the hour that spring
              skips counts on as if clocks had not been changed (02:30 is 03:30 summer time); one in the hour that
              comes twice means the first.  It runs for its duration in real minutes, across midnight and DST.
  overlap     The entry that started last sets the power; of those that start together, the lowest id.  When it
              ends, an earlier one whose time is not over takes over again.
  late start  Entered, enabled, or met by a clock just set (a reboot) in the middle of its window, an entry runs for
              the rest of the window.  A one-shot that was running when power went and is over is done.
  clock       Without a clock that was ever set nothing starts.  A run, once begun, lasts its remaining time by the
              monotonic clock, whatever the wall clock does meanwhile.  A clock that goes back up to 12 hours starts
              no activation twice; one found farther back was wrong before, and the schedule follows the new time.
              A window skipped whole by a clock that goes forward is missed, not caught up with.
"""

from array import array

from civil import DAY_S, seconds_between, text_of, weekday
from micropython import const

from firmware import requests as rq
from firmware.errors import ConfigError, PowerError
from firmware.schedule_entry import FIELDS, ScheduleEntry

N_ENTRIES = const(16)
SCHEMA = const(1)

# kinds of events; a tuple (kind, entry id)
STARTED = const(1)  # this entry sets the power now
ENDED = const(2)  # it no longer does: over, overtaken by a later one, disabled or deleted
MISSED = const(3)  # the clock went forward over its whole window
NO_CLOCK = const(4)  # there is a schedule, but the clock is not set (id -1)

# phases of an entry's newest activation
_NEVER = const(0)  # none has begun, or it is forgotten
_BEGUN = const(1)  # running; after a reboot: to be resumed
_CUT = const(2)  # disabled while running; enabled again in time it resumes
_DONE = const(3)  # has run its course

_BACK_S = const(43200)  # a start this far in the future is one that a wrong clock saw
_NO_CLOCK_S = const(60)  # give clock sources this long after boot before saying that there is no clock
_FAR = const(0x10000000)  # days
_DATES_BACK = const(2)  # to look at before today's: a run of 24 h, and a start that a gap put off past midnight
_DATES = const(11)  # to look at in all: a week from today, and those


class Scheduler:
    """Up to 16 entries, ids 0 to 15.  `dirty` is set when `to_doc()` has something new to store."""

    def __init__(self) -> None:
        self.active = -1  # the id of the entry that sets the power, -1 for none
        self.mode = -1  # its mode
        self.power_w = 0  # W, positive is discharge
        self.wants_most = False  # as much as every limit allows, instead of power_w
        self.remaining_s = 0  # for how much longer, real seconds
        self.how = rq.END_TIME  # a requests.END_*: of a run that set the power and ends with the next tick
        self.dirty = False
        self.claimed = None  # what scheduling.step claimed last
        self._enabled = True
        self._entries = [None] * N_ENTRIES
        self._phase = bytearray(N_ENTRIES)
        self._begun = array("i", [0] * N_ENTRIES)  # local date (day number) of the newest activation
        self._end = array("i", [-1] * N_ENTRIES)  # clock.elapsed_s at which the run ends; -1: not running
        self._start_day = array("i", [0] * N_ENTRIES)  # UTC start of the run
        self._start_sec = array("i", [0] * N_ENTRIES)
        self._run = array("i", [0] * N_ENTRIES)  # serial number of the run, to tell two of one entry apart
        self._runs = 0
        self.run = 0  # serial number of the run that sets the power
        self._events = []
        self._met_clock = False
        self._said_no_clock = False
        self._stale = True  # something was edited: look at everything again
        self._day = self._sec = self._elapsed_s = 0  # the last tick
        self._wake = (0, 0)  # the next start of any entry, UTC
        self._last = [None] * N_ENTRIES  # of each entry, as last looked up: its last start before a moment, UTC,
        self._next = [None] * N_ENTRIES  # the next one after it,
        self._date = array("i", [0] * N_ENTRIES)  # and the local date of the last one

    # ---- entries --------------------------------------------------------------------------------------

    def add(self, entry: ScheduleEntry) -> int:
        """Takes a copy of the entry and returns its id.  PowerError when all 16 are in use."""
        for i in range(N_ENTRIES):
            if self._entries[i] is None:
                self._entries[i] = entry.copy()
                self._phase[i] = _NEVER
                self._last[i] = None
                self._edited()
                return i
        raise PowerError("schedule is full: %d entries" % N_ENTRIES)

    def update(self, entry_id: int, entry: ScheduleEntry) -> None:
        """Puts the entry in this one's place.  With the same times a run goes on, with the new power."""
        old = self._entry(entry_id)
        new = entry.copy()
        if not _same_times(new, old):
            self._forget(entry_id)
        elif not new.enabled:
            self._cut(entry_id, rq.END_DISABLED)
        self._entries[entry_id] = new
        self._last[entry_id] = None
        if entry_id == self.active and self._end[entry_id] >= 0:
            self.mode = new.mode
            self.power_w = new.power_w()
            self.wants_most = new.wants_most()
        self._edited()

    def delete(self, entry_id: int) -> None:
        """Removes the entry; its run ends."""
        self._entry(entry_id)
        self._entries[entry_id] = None
        self._forget(entry_id)
        self._edited()

    def get(self, entry_id: int) -> ScheduleEntry:
        """A copy of the entry.  PowerError when there is none."""
        return self._entry(entry_id).twin()

    def entries(self) -> list:
        """[(id, copy of the entry)], by id."""
        return [(i, entry.twin()) for i, entry in enumerate(self._entries) if entry is not None]

    def enable(self, on: bool) -> None:
        """Lets the schedule run, or stops it; entries keep their own `enabled`."""
        on = bool(on)
        if on != self._enabled:
            self._enabled = on
            if not on:
                for i in range(N_ENTRIES):
                    self._cut(i, rq.END_OFF)
            self._edited()

    @property
    def enabled(self) -> bool:
        """Whether the schedule runs."""
        return self._enabled

    def _entry(self, entry_id: int) -> ScheduleEntry:
        if isinstance(entry_id, bool) or not isinstance(entry_id, int) or not 0 <= entry_id < N_ENTRIES:
            raise PowerError("schedule id = %r: allowed are 0 to %d" % (entry_id, N_ENTRIES - 1))
        if self._entries[entry_id] is None:
            raise PowerError("schedule id = %d: there is no such entry" % entry_id)
        return self._entries[entry_id]

    def _forget(self, i: int) -> None:
        """Its run is of another entry than there is now."""
        if i == self.active:
            self.how = rq.END_REMOVED
        self._end[i] = -1
        self._phase[i] = _NEVER

    def _cut(self, i: int, how: int) -> None:
        if i == self.active:
            self.how = how
        if self._end[i] >= 0 or self._phase[i] == _BEGUN:
            self._end[i] = -1
            self._phase[i] = _CUT

    def _edited(self) -> None:
        self.dirty = True
        self._stale = True

    # ---- the tick -------------------------------------------------------------------------------------

    def tick(self, clock) -> bool:
        """Brings everything up to the clock's time; True when `active` or an event is new.

        `clock`: `is_set`, `day` and `sec` (UTC), `elapsed_s` (seconds since boot, which no step of the wall clock
        changes), `tz` (PosixTZ).  To be called at least once a minute; once a second costs a few comparisons.
        """
        elapsed_s = clock.elapsed_s
        if not clock.is_set:
            if self._said_no_clock or elapsed_s < _NO_CLOCK_S or not self._enabled or not any(self._entries):
                return False
            self._said_no_clock = True
            self._events.append((NO_CLOCK, -1))
            return True
        if self._is_due(clock, elapsed_s):
            self._evaluate(clock, elapsed_s)
        self._day = clock.day
        self._sec = clock.sec
        self._elapsed_s = elapsed_s
        self._met_clock = True
        self.remaining_s = self._end[self.active] - elapsed_s if self.active >= 0 else 0
        return bool(self._events)

    def take_events(self) -> list:
        """What happened since it was last asked: [(kind, entry id)], oldest first."""
        events = self._events
        self._events = []
        return events

    def keep_events(self, events: list) -> None:
        """What `take_events` gave could not be handed on: it gives it again.  Before the next tick."""
        self._events = events

    def _is_due(self, clock, elapsed_s: int) -> bool:
        """Whether anything may have changed: an edit, a step of the clock, an end, a start."""
        if self._stale or not self._met_clock:
            return True
        if seconds_between(self._day, self._sec, clock.day, clock.sec) != elapsed_s - self._elapsed_s:
            return True
        for i in range(N_ENTRIES):
            if 0 <= self._end[i] <= elapsed_s:
                return True
        wake_day, wake_sec = self._wake
        return clock.day > wake_day or (clock.day == wake_day and clock.sec >= wake_sec)

    def _evaluate(self, clock, elapsed_s: int) -> None:
        self._stale = True  # until all of it is done: a full heap may end it anywhere
        self._wake = (_FAR, 0)
        for i in range(N_ENTRIES):
            if self._entries[i] is not None:
                if 0 <= self._end[i] <= elapsed_s:
                    self._finish(i)
                if self._enabled and self._entries[i].enabled:
                    self._look_at(i, clock, elapsed_s)
        self._choose()
        self._stale = False

    def _finish(self, i: int) -> None:
        """The entry has run its course."""
        self._end[i] = -1
        self._phase[i] = _DONE
        if not self._entries[i].repeat:
            self._entries[i].enabled = False
        self.dirty = True

    def _look_at(self, i: int, clock, elapsed_s: int) -> None:
        """Begins the entry's activation of this moment, if there is one, and notes its next start."""
        entry = self._entries[i]
        day = clock.day
        sec = clock.sec
        self._settle(i, clock)
        if not entry.enabled:
            return
        last, following = self._last[i], self._next[i]
        was_next = (_FAR, 0) if last is None else following
        date = new_date = self._date[i]
        if last is None or not last <= (day, sec) < following:
            new_date, start_day, start_sec, next_day, next_sec = self._around(entry, clock.tz, day, sec)
            last = (start_day, start_sec)
            following = (next_day, next_sec)
            date = new_date
        if following < self._wake:
            self._wake = following
        start_day, start_sec = last
        if not entry.repeat and self._end[i] < 0 and self._phase[i] in (_BEGUN, _CUT):
            began = _start_on(entry, clock.tz, self._begun[i])
            if 0 <= seconds_between(began[0], began[1], day, sec) < entry.duration_minutes * 60:
                start_day, start_sec = began  # once is once: it goes on, although its next start has come
                date = self._begun[i]
        if start_day > -_FAR:
            past_s = seconds_between(start_day, start_sec, day, sec)
            left_s = entry.duration_minutes * 60 - past_s
            is_new = self._phase[i] == _NEVER or date > self._begun[i]
            if self._end[i] >= 0 and not entry.repeat:
                is_new = False  # once is once, even where a 24 h run meets its next start on a day of 23 h
            if left_s > 0:
                if is_new or (date == self._begun[i] and self._end[i] < 0 and self._phase[i] != _DONE):
                    self._begin(i, date, start_day, start_sec, elapsed_s + left_s)
            elif is_new and self._met_clock and seconds_between(self._day, self._sec, start_day, start_sec) > 0:
                self._miss(i)
        elif was_next <= (day, sec) and (entry.repeat or self._end[i] < 0):  # skipped, and farther back than is looked for
            self._miss(i)
        self._date[i] = new_date  # at last, without heap: a look that ends before it is repeated as it was
        self._last[i] = last
        self._next[i] = following

    def _miss(self, i: int) -> None:
        event = (MISSED, i)
        if event not in self._events:  # or this look is the second one, and a full heap ended the first behind it
            self._events.append(event)

    def _settle(self, i: int, clock) -> None:
        """What a reboot or a step of the clock left behind of an activation that is not running."""
        if self._end[i] >= 0 or self._phase[i] == _NEVER:
            return
        entry = self._entries[i]
        start_day, start_sec = _start_on(entry, clock.tz, self._begun[i])
        past_s = seconds_between(start_day, start_sec, clock.day, clock.sec)
        if past_s < -_BACK_S:
            self._phase[i] = _NEVER
            self.dirty = True
        elif self._phase[i] == _BEGUN and past_s >= entry.duration_minutes * 60:
            self._finish(i)

    def _begin(self, i: int, date: int, start_day: int, start_sec: int, end: int) -> None:
        self._phase[i] = _BEGUN
        self._begun[i] = date
        self._end[i] = end
        self._start_day[i] = start_day
        self._start_sec[i] = start_sec
        self._runs = (self._runs + 1) & 0x3FFFFFFF
        self._run[i] = self._runs
        self.dirty = True

    def _choose(self) -> None:
        """Of the entries that run, the one that started last sets the power; together: the lowest id."""
        best = -1
        for i in range(N_ENTRIES):
            if self._end[i] >= 0 and (
                best < 0
                or self._start_day[i] > self._start_day[best]
                or (self._start_day[i] == self._start_day[best] and self._start_sec[i] > self._start_sec[best])
            ):
                best = i
        run = self._run[best] if best >= 0 else 0
        if run == self.run:
            return
        # first what needs heap: what a full one ends here has changed nothing, and the next look does all of it
        mode = -1
        power_w = 0
        wants_most = False
        happened = [(ENDED, self.active)] if self.active >= 0 else []
        if best >= 0:
            entry = self._entries[best]
            mode = entry.mode
            power_w = entry.power_w()
            wants_most = entry.wants_most()
            happened.append((STARTED, best))
        self._events = self._events + happened
        self.active = best
        self.run = run
        self.mode = mode
        self.power_w = power_w
        self.wants_most = wants_most

    # ---- when -----------------------------------------------------------------------------------------

    def _around(self, entry, tz, day: int, sec: int) -> tuple:
        """(local date, UTC day, UTC sec) of the last start not after this instant, (UTC day, UTC sec) of the next one.

        The day is -_FAR or _FAR where there is none.
        """
        now = (day, sec)
        last = (0, -_FAR, 0)
        first = tz.local(day, sec)[0] - _DATES_BACK
        for date in range(first, first + _DATES):
            if entry.mask() >> weekday(date) & 1:
                start = _start_on(entry, tz, date)
                if start > now:
                    return last + start
                last = (date,) + start
        return last + (_FAR, 0)

    def upcoming(self, n: int, clock) -> list:
        """The next `n` starts, soonest first, as dicts: id, start (local), day, sec (UTC), minutes, mode, power_kw.

        Empty while the schedule is disabled or the clock is not set.
        """
        found = []
        for start in self.starts(clock):
            found.append(start)
            if len(found) == n:
                break
        return found

    def starts(self, clock):
        """What `upcoming` lists, one by one and without end, for who has other things to do in between."""
        if not (self._enabled and clock.is_set):
            return
        tz = clock.tz
        heads = []  # [UTC day, UTC sec, id, local date, days, local second] of every entry's next start
        before = tz.local(clock.day, clock.sec)[0] - _DATES_BACK - 1
        for i in range(N_ENTRIES):
            entry = self._entries[i]
            if entry is not None and entry.enabled and (entry.repeat or self._end[i] < 0):
                date = max(before, self._last_date(i, clock))
                head = [clock.day, clock.sec, i, date, entry.mask(), entry.hour * 3600 + entry.minute * 60]
                _advance(head, tz)
                heads.append(head)
        text_day = _FAR  # making a date's text is half the work, and many starts share one
        text = ""
        while heads:
            head = min(heads)
            entry = self._entries[head[2]]
            if entry is None:  # deleted meanwhile
                heads.remove(head)
                continue
            local_day, local_sec, zone = tz.named(head[0], head[1])
            if local_day != text_day:
                text_day = local_day
                text = text_of(local_day, 0)[:10]
            yield {
                "id": head[2],
                "start": "%s %02d:%02d %s" % (text, local_sec // 3600, local_sec // 60 % 60, zone),
                "day": head[0],
                "sec": head[1],
                "minutes": entry.duration_minutes,
                "mode": entry.mode,
                "power_kw": entry.power_setpoint,
            }
            if entry.repeat:
                _advance(head, tz)
            else:
                heads.remove(head)

    def _last_date(self, i: int, clock) -> int:
        """The local date up to which the entry starts no more: it has."""
        if self._phase[i] == _NEVER:
            return -_FAR
        start_day, start_sec = _start_on(self._entries[i], clock.tz, self._begun[i])
        ahead_s = seconds_between(clock.day, clock.sec, start_day, start_sec)
        return -_FAR if ahead_s > _BACK_S else self._begun[i]

    # ---- storage --------------------------------------------------------------------------------------

    def to_doc(self) -> dict:
        """Everything that must survive a power cut, as JSON can hold it."""
        entries = []
        for i, entry in enumerate(self._entries):
            if entry is not None:
                fields = entry.to_dict()
                fields["id"] = i
                fields["begun"] = [self._phase[i], self._begun[i]]
                entries.append(fields)
        return {"enabled": self._enabled, "entries": entries}

    def from_doc(self, doc: dict) -> None:
        """Takes over what `to_doc` gave, at start.  ConfigError lists every error, and nothing was changed."""
        errors = []
        entries = [None] * N_ENTRIES
        begun = [(_NEVER, 0)] * N_ENTRIES
        rows = doc.get("entries")
        if not isinstance(doc.get("enabled"), bool) or not isinstance(rows, list):
            raise ConfigError(["schedules: must have enabled (true or false) and entries (a list)"])
        for n, row in enumerate(rows):
            try:
                fields = dict(row)
                i = int(fields.pop("id"))
                if not 0 <= i < N_ENTRIES or entries[i] is not None:
                    raise ValueError("id = %d: allowed are 0 to %d, each once" % (i, N_ENTRIES - 1))
                phase, date = fields.pop("begun", (_NEVER, 0))
                if phase not in (_NEVER, _BEGUN, _CUT, _DONE) or not -DAY_S < date < DAY_S:
                    raise ValueError("begun = %r: is no phase and date" % ([phase, date],))
                for key in fields:
                    if key not in FIELDS:
                        raise ValueError("%s: no such key; known are %s" % (key, ", ".join(FIELDS)))
                begun[i] = (phase, date)
                entries[i] = ScheduleEntry(**fields)
            except (PowerError, ValueError, TypeError, KeyError) as error:
                errors.append("schedules.entries[%d]: %s" % (n, error))
        if errors:
            raise ConfigError(errors)
        self._enabled = doc["enabled"]
        self._entries = entries
        for i in range(N_ENTRIES):
            self._phase[i], self._begun[i] = begun[i]
            self._last[i] = None
            self._end[i] = -1
        self._stale = True
        self.dirty = False


def _same_times(one: ScheduleEntry, other: ScheduleEntry) -> bool:
    """Whether both start and end at the same times and repeat alike."""
    return (
        one.mask() == other.mask()
        and one.hour == other.hour
        and one.minute == other.minute
        and one.duration_minutes == other.duration_minutes
        and one.repeat == other.repeat
    )


def _start_on(entry, tz, date: int) -> tuple:
    """The UTC (day, sec) at which the entry starts on this local date."""
    return tz.utc(date, entry.hour * 3600 + entry.minute * 60)


def _advance(head: list, tz) -> None:
    """Move one of the heads of `starts` to its entry's next start, on a later date than its own."""
    days = head[4]
    date = head[3]
    now = (head[0], head[1])
    bit = 1 << weekday(date)
    for _ in range(_DATES):
        date += 1
        bit = bit << 1 if bit < 64 else 1
        if days & bit:
            start = tz.utc(date, head[5])
            if start > now:
                head[0], head[1] = start
                head[3] = date
                return
    head[0], head[1] = _FAR, 0
