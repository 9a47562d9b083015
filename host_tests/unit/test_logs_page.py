"""The logs on the laptop: every line checked by its checksum whatever comes between, and a day drawn with its reasons."""

import json
import os
import pty
import re
import threading
import tty
from binascii import crc32
from collections.abc import Iterator
from datetime import UTC, date
from zoneinfo import ZoneInfo

import pytest

from firmware.history.reading import columns
from tools.logs import days, draw, page, pull

DAY = 9831  # 2026-12-01
BERLIN = ZoneInfo("Europe/Berlin")


def sealed(line: str) -> str:
    return f"{crc32(line.encode()):08x} {line}"


class Board:
    """A console that answers as timeline and history do, with other people's lines between; `torn` lines arrive damaged, once each.

    rows: of five minutes, which are torn too; None: it has no history.
    """

    def __init__(
        self, files: dict[str, list[str]], torn: tuple[int, ...] = (), noise: tuple[str, ...] = (), rows: list[str] | None = None
    ) -> None:
        self.rows = None if rows is None else [sealed(line) for line in rows]
        self.torn_rows = set(torn)
        self.files = {path: [sealed(line) for line in lines] for path, lines in files.items()}
        self.torn = set(torn)
        self.noise = noise

    def ask(self, typed: str) -> Iterator[str]:
        yield typed  # echo
        yield from self.noise
        if typed == "timeline.logs()":
            for path, lines in self.files.items():
                yield f"{sum(len(line) + 1 for line in lines)} {path}"
            yield "end"
            yield "= None"
            return
        if typed.startswith("history."):
            yield from self.remembered(typed)
            return
        found = re.fullmatch(r"timeline\.log\('([^']+)', (\d+)\)", typed)
        assert found
        at, lines, sent = 0, self.files[found[1]], 0
        for n, line in enumerate(lines):
            if at >= int(found[2]) and sent < 3:
                yield line[:-4] + "####" if n in self.torn else line
                self.torn.discard(n)
                yield from self.noise
                sent += 1
            elif sent:
                yield f"next {at}"
                return
            at += len(line) + 1
        yield f"end {at}"
        yield "= None"

    def remembered(self, typed: str) -> Iterator[str]:
        """What a memory says, three rows at a time."""
        if self.rows is None:
            yield "! NameError: name 'history' isn't defined: see help()"
            return
        found = re.fullmatch(r"history\.log\('(\w+)', (\d+)\)", typed)
        assert found
        rows, at = self.rows if found[1] == "five" else [], int(found[2])
        for n, line in enumerate(rows[at : at + 3], at):
            yield line[:-4] + "####" if n in self.torn_rows else line
            self.torn_rows.discard(n)
            yield from self.noise
        end = min(at + 3, len(rows))
        yield f"{'end' if end == len(rows) else 'next'} {end} {len(rows[at:end])}"


def test_all_files_of_a_log_are_pulled_in_order_through_echo_events_and_torn_lines() -> None:
    lines = [f"[{DAY}, {n}, 300]" for n in range(8)]
    noise = ('{"event": "MODE_CHANGE", "data": "IDLE", "t": 3}', "pcs: SunSpec at 40000", "next to nothing", ">>> ")
    files = {"data/events.1": lines[:5], "data/events": lines[5:]}
    board = Board(files, torn=(1, 4), noise=noise, rows=lines)
    pulled = pull.pull(board.ask)
    assert pulled.lines["events"] == lines and pulled.damaged == 0
    assert pulled.lines["power"] == lines and pulled.lines["days"] == []
    assert "power" not in pull.pull(Board(files).ask).lines, "a site without history"


def test_rows_that_never_come_through_whole_are_an_error_and_no_gap() -> None:
    board = Board({"data/events": []}, rows=[f"[{n}]" for n in range(5)])
    assert board.rows is not None
    board.rows[3] = "0" * 8 + board.rows[3][8:]
    with pytest.raises(pull.PullError, match="1 of 2 rows"):
        pull.pull(board.ask)


def test_a_line_that_is_damaged_on_the_flash_is_left_out_and_counted() -> None:
    board = Board({"data/events": [f"[{DAY}, {n}]" for n in range(4)]})
    board.files["data/events"][2] = "0" * 8 + board.files["data/events"][2][8:]
    pulled = pull.pull(board.ask)
    assert len(pulled.lines["events"]) == 3 and pulled.damaged == 1


def test_a_board_without_logs_or_without_a_voice_is_one_clear_line() -> None:
    with pytest.raises(pull.PullError, match="this board keeps no logs"):
        pull.pull(lambda typed: iter([typed, "! NameError: name 'timeline' isn't defined: see help()"]))
    with pytest.raises(pull.PullError, match="no answer"):
        pull.pull(lambda typed: iter([]))
    with pytest.raises(pull.PullError, match=r"PORT=/dev/nothing: .*; serial ports here: "), pull.console("/dev/nothing"):
        pass


def row(minute: int, power: int | None, why: str = "export", limit: int | None = 30000, day: int = DAY) -> str:
    told = dict.fromkeys(columns("five"))
    told |= {"time": (day + 10957) * 86400 + minute * 60, "seconds": 300, "mode": "DISCHARGE", "soc_percent": 50.0}
    told |= {"grid_w": 1000, "load_w": 20000, "limit_discharge_w": limit, "why_discharge": why if limit else None}
    told |= dict.fromkeys(("battery_w", "battery_min_w", "battery_max_w"), power)
    told |= {"charged_wh": 0, "discharged_wh": (power or 0) // 12}
    return json.dumps(list(told.values()))


def test_rows_and_events_have_their_units_words_and_local_day() -> None:
    power = days.rows([row(1435, 20000), row(5, None), json.dumps([None] * len(columns("five")))])
    assert [one.power for one in power] == [None, 20.0], "in the order of time; a row without a clock has no place"
    assert power[1].soc == 50.0 and power[1].discharge == 30.0 and power[1].charge is None
    happened = days.events([
        json.dumps([DAY, 600, "FAULT_RAISED bms_lost", 0, "E"]),
        json.dumps([DAY, 601, "LIMIT_CHANGE", 37, "I"]),
        json.dumps([DAY, 602, "SAID", "pcs: restarted <b>", "E"]),
        json.dumps([DAY, 603, "BOOT", 3]),
        json.dumps([None, 7, "EMS REFUSED 10.0.0.1 WSet", 5, "W"]),
        json.dumps([DAY, 604, "OF ANOTHER FIRMWARE", 9, "X"]),
    ])  # fmt: skip
    words = ["fault raised: bms_lost", "limit change: charge by soc", "pcs: restarted <b>", "boot: watchdog"]
    assert [one.text for one in happened[:4]] == words
    assert [one.level for one in happened] == ["error", "info", "error", "info", "warning", "info"]
    assert happened[4].at is None and happened[4].since_boot_s == 7
    assert days.days(power, happened, UTC) == [date(2026, 12, 1)]
    assert days.days(power, [], BERLIN) == [date(2026, 12, 1), date(2026, 12, 2)], "23:55 UTC is another day there"


def test_a_page_has_the_day_s_energy_its_reasons_and_its_events_and_nothing_from_outside() -> None:
    power = days.rows([row(minute, 30000, "soc" if minute < 300 else "export") for minute in range(5, 605, 5)])
    happened = days.events([json.dumps([DAY, 3600, "SAID", "<script>alert(1)</script>", "E"])])
    html = page.page("Yard & house", [date(2026, 12, 1)], power, happened, UTC)
    assert "<b>300.0 kWh</b>" in html and "<b>10.0 h</b>" in html, "30 kW for ten hours"
    assert "<title>soc</title>" in html and "<title>export</title>" in html
    assert "&lt;script&gt;alert(1)" in html and "<script" not in html and "Yard &amp; house" in html
    assert not re.findall(r"(?:src|href|url)\s*[=(]", html), "one file that needs nothing else"
    assert "prefers-color-scheme:dark" in html


def test_what_was_not_measured_is_a_gap_and_no_zero() -> None:
    day = days.rows([row(minute, None if 60 <= minute < 120 else 10000) for minute in range(5, 185, 5)])
    assert [len(run) for run in draw.runs(day, lambda one: one.power)] == [11, 13]
    apart = [one for one in day if not 30 < one.end.minute + 60 * one.end.hour < 50]
    assert len(list(draw.runs(apart, lambda one: one.load))) == 2, "no row at all is a gap too"


@pytest.mark.parametrize(("span", "step"), [(3, 1), (10, 2), (100, 20), (195, 50), (1500, 200), (30, 5)])
def test_grid_lines_are_round_and_few(span: float, step: float) -> None:
    assert draw.step_of(span) == step and 2 <= span / step <= 8


def test_a_day_without_powers_says_what_is_missing() -> None:
    happened = days.events([json.dumps([DAY, 3600, "MODE_CHANGE", 1, "I"])])
    html = page.page("x", [date(2026, 12, 1)], [], happened, UTC)
    assert "history" in html and "mode change: IDLE" in html


def test_a_console_behind_a_serial_port_is_read_as_it_comes() -> None:
    board = Board({"data/events": [f"[{DAY}, {n}, 7]" for n in range(5)]}, noise=("",))
    master, slave = pty.openpty()
    tty.setraw(slave)

    def answer() -> None:
        typed = b""
        while b"stop" not in typed:
            typed += os.read(master, 100)
            *lines, typed = typed.split(b"\r\n")
            for line in filter(None, lines):
                for said in board.ask(line.decode()):
                    for piece in (said[:7], said[7:] + "\r\n"):  # as a port gives it: not by lines
                        os.write(master, piece.encode())

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with pull.console(os.ttyname(slave)) as ask:
            assert len(pull.pull(ask).lines["events"]) == 5
    finally:
        os.write(slave, b"stop")
        thread.join(10)
        os.close(master)
        os.close(slave)
