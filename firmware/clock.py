"""The wall clock: who sets it, how good it is, and how it is corrected without upsetting schedules.

UTC as (day, sec, ms) in small integers (`civil.py`), carried on by the monotonic `ticks_ms`.  Sources, worst first:
the chip's own clock kept over a reset, an external RTC, the EMS, a person at the console, NTP.

  first reading      sets the clock.
  500 ms or less off (or no more than the reading and the clock may be wrong: two whole seconds that are right are up to 1 s
                     apart) the clock is slewed at 5 ms a second, so no second is skipped or repeated.
  more               the clock is stepped: `steps` counts, `step_s` says by how much.
  more than 10 min   ... or steps that add up to it in a day: held, until another source says the same, or a second reading
                     on which several servers agree, or a person.  One source alone never moves the clock so far.
  a worse source     is refused while a better one is fresh, and only confirms when it agrees within its own error.
"""

import time

from civil import DAY_S, day_number, days_in_month, seconds_between, text_of
from micropython import const

from firmware.errors import PowerError

# states
UNSET = const(0)  # never set since boot
HOLDOVER = const(1)  # set, but no live reference has been heard lately
SYNCED = const(2)  # a live reference was heard lately
STATE_NAMES = ("UNSET", "HOLDOVER", "SYNCED")

# sources, by rank
KEPT = const(0)  # the chip's own clock, kept over a reset
RTC = const(1)  # a DS3231
EMS = const(2)
CONSOLE = const(3)
NTP = const(4)
SOURCE_NAMES = ("KEPT", "RTC", "EMS", "CONSOLE", "NTP")
_ERROR_MS = const((5000, 1000, 1000, 2000, 50))  # of a reading, where the source does not say
_FRESH_S = const((0, 0, 7200, 86400, 10800))  # for how long a reading keeps the clock SYNCED

# what became of a reading
REFUSED = const(0)  # a better source is fresh
HELD = const(1)  # a big step: waiting for somebody else who says the same
CONFIRMED = const(2)  # agrees within its own error, which is larger than the clock's: the clock goes on as it was
SLEWED = const(3)
STEPPED = const(4)

_FIRST_DAY = const(9497)  # 2026-01-01: no clock of this firmware is older
_LAST_DAY = const(36524)  # 2099-12-31
_SLEW_MS = const(500)
_SLEW_PER_S = const(5)  # ms; 0.5 %
_DOUBT_S = const(600)
_SAME_S = const(2)
_DRIFT_S = const(20)  # s in which a crystal with 50 ppm, bad ones when hot, drifts 1 ms


class Clock:
    """The one clock of the board.  `tick` it at least every few seconds; everything else reads the attributes.

    `day`, `sec`, `ms`: UTC.  `elapsed_s`: seconds since boot, which turn over together with `sec` and which no step
    changes: durations are measured with it.  `tz`: the site's PosixTZ.
    """

    def __init__(self, tz, now_ms: int) -> None:
        self.tz = tz
        self.day = self.sec = self.ms = 0
        self.elapsed_s = 0
        self.is_set = False
        self.source = -1  # of the last reading taken over
        self.steps = 0  # how often the clock was stepped since boot, the first setting included
        self.step_s = 0  # by how much it was stepped last
        self._ticks = now_ms
        self._read_s = 0  # elapsed_s of the last reading taken over
        self._read_error_ms = 0
        self._slew_ms = 0  # still to be slewed, + forward
        self._slew_rem = 0  # ms x s carried
        self._doubt_source = -1
        self._doubt_s = 0
        self._walked_s = 0  # by steps of single sources, of the day that began at
        self._walk_began_s = 0

    # ---- reading --------------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Carries the clock on to `now_ms` (ticks_ms).  Allocates nothing."""
        passed = time.ticks_diff(now_ms, self._ticks)
        if passed <= 0:
            return
        self._ticks = now_ms
        if self._slew_ms:
            passed += self._slew(passed)
        self.ms += passed
        if self.ms >= 1000:
            seconds = self.ms // 1000
            self.ms -= seconds * 1000
            self.elapsed_s += seconds
            self.sec += seconds
            while self.sec >= DAY_S:
                self.sec -= DAY_S
                self.day += 1

    def _slew(self, passed: int) -> int:
        """The part of the correction that belongs to `passed` ms."""
        passed = min(passed, 1000000)  # in 17 minutes every correction is done
        step = (passed * _SLEW_PER_S + self._slew_rem) // 1000
        self._slew_rem = (passed * _SLEW_PER_S + self._slew_rem) % 1000
        if self._slew_ms > 0:
            step = min(step, self._slew_ms)
        else:
            step = 0 - min(step, 0 - self._slew_ms)
        self._slew_ms -= step
        return step

    @property
    def state(self) -> int:
        """UNSET, HOLDOVER or SYNCED."""
        if not self.is_set:
            return UNSET
        return SYNCED if self.age_s < _FRESH_S[self.source] else HOLDOVER

    @property
    def age_s(self) -> int:
        """Seconds since the last reading that was taken over."""
        return self.elapsed_s - self._read_s

    @property
    def error_ms(self) -> int:
        """How wrong the clock may be: the reading's own error, what is still to be slewed, and drift since."""
        return min(self._read_error_ms + abs(self._slew_ms) + self.age_s // _DRIFT_S, 0x3FFFFFFF)

    def local(self) -> tuple:
        """Local (day, sec)."""
        return self.tz.local(self.day, self.sec)

    def text_ago(self, seconds: int) -> str:
        """The local time so many seconds ago: "12:03", with the date where that was longer ago than 20 hours."""
        day, sec = self.tz.local(self.day + (self.sec - seconds) // DAY_S, (self.sec - seconds) % DAY_S)
        return text_of(day, sec)[:16] if seconds > 72000 else "%02d:%02d" % (sec // 3600, sec // 60 % 60)

    def report(self) -> dict:
        """Everything about the clock, for people."""
        if not self.is_set:
            return {"state": STATE_NAMES[UNSET], "zone": self.tz.text}
        report = {
            "state": STATE_NAMES[self.state],
            "zone": self.tz.text,
            "utc": text_of(self.day, self.sec),
            "local": text_of(*self.local()) + " " + self.tz.name_at(self.day, self.sec),
            "source": SOURCE_NAMES[self.source],
            "age_s": self.age_s,
            "error_ms": self.error_ms,
            "steps": self.steps,
        }
        if self._doubt_source >= 0:
            report["held"] = "%s says %+d s: another source that agrees moves the clock so far, or a person" % (
                SOURCE_NAMES[self._doubt_source],
                self._doubt_s,
            )
        return report

    # ---- setting --------------------------------------------------------------------------------------

    def set(self, source: int, day: int, sec: int, ms: int = 0, error_ms: int = -1, at_ms=None, agreed: int = 1) -> int:
        """Takes a reading: UTC at `at_ms` (ticks_ms; default: the last tick), wrong by up to `error_ms`, on which so many
        servers agreed.

        Returns what became of it: REFUSED, HELD, CONFIRMED, SLEWED or STEPPED.  PowerError for a time that cannot be.
        """
        if not (_FIRST_DAY <= day <= _LAST_DAY and 0 <= sec < DAY_S and 0 <= ms < 1000):
            raise PowerError(
                "time from %s = %s: allowed are 2026-01-01 to 2099-12-31" % (SOURCE_NAMES[source], _text(day, sec))
            )
        if error_ms < 0:
            error_ms = _ERROR_MS[source]
        late_ms = 0 if at_ms is None else time.ticks_diff(self._ticks, at_ms)
        # Positive: the clock is slow.
        off_s = seconds_between(self.day, self.sec, day, sec)
        off_ms = off_s * 1000 + ms - self.ms + late_ms if abs(off_s) < 100000 else off_s
        done = self._judge(source, off_s, off_ms, error_ms, agreed)
        if done >= SLEWED:
            coarse_ms = error_ms // 2 if error_ms > _SLEW_MS else 0  # of a whole second it may be any moment: only what is beyond
            self._slew_ms = off_ms - max(-coarse_ms, min(coarse_ms, off_ms)) if done == SLEWED else 0
            self._slew_rem = 0
            if done == STEPPED:
                self._step(day, sec, ms + late_ms, off_s)
            self._doubt_source = -1
            if agreed > 1 or source == CONSOLE or not self.is_set:
                self._walked_s = 0
            elif done == STEPPED:
                self._walked_s += abs(off_s)
            self.is_set = True
            self.source = source
            self._read_s = self.elapsed_s
            self._read_error_ms = error_ms
        elif done == CONFIRMED and source >= self.source:
            self._read_error_ms = self.error_ms - abs(self._slew_ms)  # no better for it, but heard now
            self._read_s = self.elapsed_s
            self.source = source
            self._doubt_source = -1
        return done

    def _judge(self, source: int, off_s: int, off_ms: int, error_ms: int, agreed: int) -> int:
        """What is to become of a reading that is off by so much."""
        if not self.is_set:
            return STEPPED
        if source != CONSOLE:
            agrees = abs(off_s) < 100000 and abs(off_ms) <= error_ms + min(self.error_ms, error_ms)
            if agrees and self.error_ms < error_ms:
                return CONFIRMED
            # At boot a clock chip is the better of the two, unless it stands still: what was kept is past, so nothing is behind it.
            far = self._is_far(off_s, agreed) and (source != RTC or self.source != KEPT or off_s < 0)
            same = far and self._doubt_source >= 0 and abs(off_s - self._doubt_s) <= _SAME_S
            if same and (agreed > 1 or self._doubt_source != source):
                self._walked_s = 0 - abs(off_s)  # this step is nobody's alone
                return STEPPED
            if source < self.source and self.state == SYNCED:
                return REFUSED
            if far:
                self._doubt_source = source
                self._doubt_s = off_s
                return HELD
            if agrees:
                return SLEWED
        return SLEWED if abs(off_s) <= 1 and abs(off_ms) <= _SLEW_MS else STEPPED

    def _is_far(self, off_s: int, agreed: int) -> bool:
        """More than one source alone may move the clock: at once, or in small steps of one day together."""
        if self.elapsed_s - self._walk_began_s >= DAY_S:
            self._walk_began_s = self.elapsed_s
            self._walked_s = 0
        walked_s = 0 if agreed > 1 or abs(off_s) <= 1 else self._walked_s
        return abs(off_s) + walked_s > _DOUBT_S

    def _step(self, day: int, sec: int, ms: int, off_s: int) -> None:
        sec += ms // 1000
        self.ms = ms % 1000
        self.day = day + sec // DAY_S
        self.sec = sec % DAY_S
        self.steps += 1
        self.step_s = off_s if self.is_set else 0

    def set_text(self, text: str) -> int:
        """Sets the clock from the console: local "2026-11-22 09:56:17", or UTC with a Z behind.  What became of it.

        Raises ValueError where the text is no date and time.
        """
        digits = _digits(text[:-1] if text.endswith("Z") else text)
        if not digits:
            raise ValueError("time %r: must be like 2026-11-22 09:56:17 (local) or ...Z (UTC)" % text)
        if not _is_time(*digits):
            raise ValueError("time %r: is no date and time from 2000-01-01 00:00:00 to 2099-12-31 23:59:59" % text)
        day = day_number(digits[0], digits[1], digits[2])
        sec = digits[3] * 3600 + digits[4] * 60 + digits[5]
        if not text.endswith("Z"):
            day, sec = self.tz.utc(day, sec)
        self.tick(time.ticks_ms())  # it is typed now, and not at the calendar's last look
        return self.set(CONSOLE, day, sec)


def _digits(text: str) -> list:
    """The six numbers of "2026-11-22 09:56:17" (seconds may be left out); [] for anything else."""
    if len(text) == 16:
        text += ":00"
    if len(text) != 19 or text[10] not in " T" or text[4] + text[7] + text[13] + text[16] != "--::":
        return []
    parts = [text[0:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19]]
    return [int(part) for part in parts] if all(part.isdigit() for part in parts) else []


def _is_time(year: int, month: int, mday: int, hour: int, minute: int, second: int) -> bool:
    if not (1 <= month <= 12 and 2000 <= year <= 2099):
        return False
    return 1 <= mday <= days_in_month(year, month) and 0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60


def _text(day: int, sec: int) -> str:
    return text_of(day, sec) if 0 <= sec < DAY_S and abs(day) < 300000 else "day %d second %d" % (day, sec)
