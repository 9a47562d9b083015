"""What a site's memory says, as rows, JSON and CSV, made row by row: for the console, tools/logs and the web.

kind      a row is                                     it reaches
second    a second                                     the last hour, in RAM (shorter without PSRAM)
five      five minutes, or less behind a boot          `days` of the service
day       a day, month or year of local time, the      three years, ten years, fifty years
month     one that goes on last, and before all a row
year      without a period: the clock was not set
"""

from binascii import crc32

from civil import DAY_S, UNIX_DAY, date_of, day_number, days_in_month, seconds_between, text_of
from micropython import const

from firmware import image as im
from firmware.history import five
from firmware.history.books import ENERGIES, PERIODS, SOURCE, keys_of, period
from firmware.limits import NAMES
from firmware.modes import Mode

_MOMENT = const("%s = %r: must be like 2026-11-28, 2026-11-28T12:00, 2026-11-28T12:00:00Z, -3600 (s before now) or Unix seconds")
KINDS = ("second", "five") + PERIODS
FORMS = ("json", "csv")
_ASKED = const(("kind", "from", "to", "format"))
_NOW = const("battery_w grid_w load_w pv_w soc_percent limit_discharge_w limit_charge_w why_discharge why_charge mode")
_WH = const("charged_wh discharged_wh imported_wh exported_wh pv_wh load_wh")
_OF = const("battery_s grid_s load_s pv_s")
_SOC_AT = const((6, 7, -1, -1, -1))  # which column of each kind is a state of charge, in 0.01 %
_LAST = const(("-30", "-7200", "", "", ""))  # from when on a person is shown rows of each kind who names no time
_FAR = const(0x3FFFFFFF)
_MANY = const(16)  # rows that are passed over in one go
_PIECE = const(3000)  # characters in one answer: the console cuts longer ones


def columns(kind: str) -> list:
    """The names of a kind's columns, units behind them.  ValueError for another kind."""
    _check("kind", kind, KINDS)
    if kind == "second":
        return ("time up_s " + _NOW).split()
    if kind == "five":
        return ("time up_s seconds %s battery_min_w battery_max_w %s %s" % (_NOW, _WH, _OF)).split()
    return ("period %s seconds %s" % (_WH, _OF)).split()


def _check(what: str, value, allowed: tuple) -> None:
    if value not in allowed:
        raise ValueError("%s = %r: allowed are %s" % (what, value, ", ".join(allowed)))


class Reading:
    """What a history.Service remembers."""

    def __init__(self, service, pm) -> None:
        self._service = service
        self._pm = pm

    # ---- rows -----------------------------------------------------------------------------------------

    def rows(self, kind: str, first: str = "", last: str = ""):
        """A generator of rows, oldest first, each a tuple in the order of columns(kind).

        first and last: see `moment`.  None comes between two rows where the next is not found yet: await there.  A row's time is
        its end, (day, second) in UTC; None without a clock: then up_s is the seconds since boot.  SoC in 0.01 %, powers in W,
        battery + discharge, grid + import; None is not measured, not limited, or not known any more.  ValueError for what
        cannot be.
        """
        span = self._span(kind, first, last)
        return (None if found is None else found[1] for found in self._numbered(kind, span, 0))

    def pieces(self, kind: str, first: str = "", last: str = "", form: str = "json"):
        """A generator of texts, a row each, "" where the next is not found yet: all together JSON or CSV.

        Times in JSON are Unix seconds.  ValueError, at once, for what cannot be.
        """
        _check("format", form, FORMS)
        found = self.rows(kind, first, last)
        return _csv(kind, found) if form == "csv" else _json(kind, found)

    def answer(self, query: dict) -> tuple:
        """(content type, pieces) of what a web client asks: kind, from, to, format, all texts.  ValueError for what cannot be."""
        for name in query:
            _check("parameter", name, _ASKED)
        form = query.get("format", "json")
        found = self.pieces(query.get("kind", ""), query.get("from", ""), query.get("to", ""), form)
        return "text/csv; charset=utf-8" if form == "csv" else "application/json", found

    def told(self, words: list):
        """Lines for people: the energies; or rows as CSV: kind, from when to when (`moment`).  ValueError for what cannot be."""
        if not words:
            return self._energies()
        if len(words) > 3:
            raise ValueError("%r: nothing stands behind kind, from and to" % words[3])
        first = words[1] if len(words) > 1 else _LAST[KINDS.index(words[0])] if words[0] in KINDS and self._pm.clock.is_set else ""
        found = self.pieces(words[0], first, words[2] if len(words) > 2 else "", "csv")
        return (piece[:-2] for piece in found if piece)

    def _energies(self):
        service = self._service
        for title, energies in (("today", service.today()), ("in all", service.totals())):
            known = ["%s %d.%03d" % (name, energies[name] // 1000, energies[name] % 1000)
                     for name in ENERGIES if energies[name] is not None]  # fmt: skip
            yield "%s, kWh: %s" % (title, ", ".join(known) or "nothing was measured")
        counts = service.counters()
        text = "%d rows of five minutes, %d days are kept; %d minutes by the second"
        yield text % (counts["rows"], counts["days"], counts["minutes"])

    def log(self, kind: str, at: int = 0):
        """Rows as JSON from number `at` on, each behind its checksum, some 3,000 characters; last "next 120 12" or "end 130 10":
        how far it came, and how many rows these are."""
        return self._log(kind, self._span(kind, "", ""), at)

    def _log(self, kind: str, span: tuple, at: int):
        length = count = 0
        for found in self._numbered(kind, span, at):
            if found is None:
                continue
            if length > _PIECE:
                yield "next %d %d" % (found[0], count)
                return
            at = found[0] + 1
            line = _json_row(kind, found[1])
            length += len(line) + 11
            count += 1
            yield "%08x %s" % (crc32(line.encode()), line)
        yield "end %d %d" % (at, count)

    def _numbered(self, kind: str, span: tuple, at: int):
        if kind == "second":
            return self._seconds(span, at)
        if kind == "five":
            return self._fives(span, at)
        return self._periods(PERIODS.index(kind), span, at)

    def _seconds(self, span: tuple, at: int):
        """first and last as seconds since boot; their times by the clock as it is now."""
        up_s = self._pm.image.now[im.UPTIME_S]
        clock = self._pm.clock
        first, last = [None if each is None else up_s - seconds_between(each[0], each[1], clock.day, clock.sec) for each in span]
        for row in self._service.seconds.rows(max(at, 0 if first is None else first), _FAR if last is None else last):
            when = None
            if clock.is_set:
                sec = clock.sec - (up_s - row[0])
                when = (clock.day + sec // DAY_S, sec % DAY_S)
            yield row[0], (when, row[0]) + row[1:6] + _words(row[6:11])

    def _fives(self, span: tuple, at: int):
        first, last = span
        log = self._service.fives
        begin = 0
        if first is not None:
            for number in self._service.begins(first):
                begin = number
                yield None  # each look opens a file
            at = max(at, begin)
        passed = 0
        for number, packed in log.rows(at):
            row = None if packed is None else five.unpacked(packed)
            if row is None or not _is_inside(row, first, last):
                passed += 1
                if passed % _MANY == 0:
                    yield None
                continue
            when = None if row[0] == five.NO_DAY else (row[0], row[1])
            soc = None if row[11] == five.NO_SOC else row[11]
            means = tuple([None if value == im.NO_VALUE else value for value in row[5:11]])
            limits = [None if value == im.FREE else value for value in row[12:14]]
            words = _words((limits[0], limits[1], row[14], row[15], row[3]))
            up_s = row[1] if when is None else None
            yield number, (when, up_s, row[2]) + means[:4] + (soc,) + words + means[4:] + row[16:26]

    def _periods(self, kind: int, span: tuple, at: int):
        low, high = 0, _FAR
        if span[0] is not None:
            low = keys_of(self._pm.clock.tz.local(*span[0])[0])[kind]
        elif at == 0:
            undated = self._service.undated()
            if any(undated):
                yield 0, _period_row(None, undated)
        if span[1] is not None:
            day, sec = span[1]
            sec -= 1  # midnight is the end of a day
            high = keys_of(self._pm.clock.tz.local(day + sec // DAY_S, sec % DAY_S)[0])[kind]
        log = self._service.periods[kind]
        passed = 0
        for number, packed in log.rows(max(0, at - 1)):
            passed += 1
            if passed % _MANY == 0:
                yield None
            key, numbers = (-1, ()) if packed is None else period(packed)
            if low <= key <= high:
                yield number + 1, _period_row(_name(kind, key), numbers)
        number = log.next
        for key, numbers in self._service.open_periods(kind):
            number += 1
            if number >= at and low <= key <= high:
                yield number, _period_row(_name(kind, key), numbers)

    # ---- from when to when ----------------------------------------------------------------------------

    def _span(self, kind: str, first: str, last: str) -> tuple:
        _check("kind", kind, KINDS)
        begin, end = self.moment("from", first, False), self.moment("to", last, True)
        if begin is not None and end is not None and begin >= end:
            raise ValueError("from = %r: must be before to = %r" % (first, last))
        return begin, end

    def moment(self, what: str, text: str, is_last: bool):
        """(day, second) in UTC of "-3600" (seconds before now), "2026-11-28" (its begin, or its end), "2026-11-28T12:00" (local),
        "2026-11-28T12:00:00Z", "1795867200" (Unix); None for "".  ValueError, naming `what`, for anything else."""
        if not text:
            return None
        clock = self._pm.clock
        if text[:1] == "-" and text[1:].isdigit() and len(text) < 11:
            if not clock.is_set:
                raise ValueError("%s = %r: the clock is not set" % (what, text))
            sec = clock.sec + int(text)
            return clock.day + sec // DAY_S, sec % DAY_S
        if text.isdigit() and len(text) < 11:
            return int(text) // DAY_S - UNIX_DAY, int(text) % DAY_S
        return self._local(what, text, is_last)

    def _local(self, what: str, text: str, is_last: bool) -> tuple:
        is_utc = text[-1:] == "Z"
        date, _, rest = text[:-1].partition("T") if is_utc else text.partition("T")
        numbers = _numbers(date, "-", 3)
        clocked = _numbers(rest, ":", 3 if len(rest) > 5 else 2) if rest else [24, 0] if is_last else [0, 0]
        if not numbers or not clocked or not 2000 <= numbers[0] <= 2099 or not 1 <= numbers[1] <= 12:
            raise ValueError(_MOMENT % (what, text))
        if not 1 <= numbers[2] <= days_in_month(numbers[0], numbers[1]) or clocked[0] > 24 or max(clocked[1:]) > 59:
            raise ValueError(_MOMENT % (what, text))
        day = day_number(*numbers)
        sec = clocked[0] * 3600 + clocked[1] * 60 + (clocked[2] if len(clocked) > 2 else 0)
        day, sec = day + sec // DAY_S, sec % DAY_S
        return (day, sec) if is_utc else self._pm.clock.tz.utc(day, sec)


def _numbers(text: str, between: str, count: int) -> list:
    """The whole numbers of a text; [] where it is none."""
    parts = text.split(between)
    return [int(part) for part in parts] if len(parts) == count and all(part.isdigit() for part in parts) else []


def _is_inside(row: tuple, first, last) -> bool:
    """A row without a time is inside of everything that begins with what is oldest."""
    if row[0] == five.NO_DAY:
        return first is None
    return (first is None or row[:2] > first) and (last is None or row[:2] <= last)


def _words(found: tuple) -> tuple:
    """Limits, reasons and mode with the names of the latter; of what is not limited there is no reason."""
    discharge, charge, why_discharge, why_charge, mode = found
    return (
        discharge, charge,
        None if discharge is None else NAMES[why_discharge],
        None if charge is None else NAMES[why_charge],
        None if mode is None else Mode.name(mode),
    )  # fmt: skip


def _name(kind: int, key: int) -> str:
    if kind == 0:
        return "%04d-%02d-%02d" % date_of(key)
    return "%04d-%02d" % (key // 12, key % 12 + 1) if kind == 1 else "%04d" % key


def _period_row(name, numbers) -> tuple:
    """Energies of what was never measured are None."""
    found = [name]
    for i, of in enumerate(SOURCE):
        found.append(numbers[i] if numbers[6 + of] else None)
    return tuple(found) + (numbers[10],) + tuple(numbers[6:10])


def _cells(row: tuple, soc_at: int, none: str, quote: str, is_json: bool) -> str:
    found = []
    for i, value in enumerate(row):
        if value is None:
            text = none
        elif isinstance(value, tuple):
            text = "%d" % ((value[0] + UNIX_DAY) * DAY_S + value[1]) if is_json else text_of(*value).replace(" ", "T") + "Z"
        elif i == soc_at:
            text = "%d.%02d" % (value // 100, value % 100)
        else:
            text = quote + value + quote if isinstance(value, str) else "%d" % value
        found.append(text)
    return ",".join(found)


def _json_row(kind: str, row: tuple) -> str:
    return "[" + _cells(row, _SOC_AT[KINDS.index(kind)], "null", '"', True) + "]"


def _json(kind: str, rows):
    yield '{"kind": "%s", "columns": ["%s"], "rows": [' % (kind, '", "'.join(columns(kind)))
    before = "\n"
    for row in rows:
        if row is None:
            yield ""
        else:
            yield before + _json_row(kind, row)
            before = ",\n"
    yield "\n]}\n"


def _csv(kind: str, rows):
    soc_at = _SOC_AT[KINDS.index(kind)]
    yield ",".join(columns(kind)) + "\r\n"
    for row in rows:
        yield "" if row is None else _cells(row, soc_at, "", "", False) + "\r\n"
