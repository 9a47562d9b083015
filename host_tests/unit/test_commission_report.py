"""Commissioning's report: nothing overwrites a kept one, one session at a time, its units and digits, and whom it is about."""

import asyncio
import io
import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tools.commission import __main__ as program
from tools.commission import figures, page, people, place, plates, report, settings
from tools.commission.bench import Agreed, Bench
from tools.commission.outcome import FAIL, NOT_TESTED, PASS, Figure, NotTested, Outcome
from tools.commission.people import Terminal
from tools.commission.steps import STEPS
from tools.commission.walk import State
from tools.commission.wire import Console, Refused, Silent
from tools.run import ROOT

SUBJECT: dict[str, Any] = {"chip": "a1", "firmware": "f" * 64, "firmware_stamp": "sources", "site": "Home & Co",
                           "site_sha256": "5" * 64, "files": {}, "simulated": False}  # fmt: skip
DEVICES = [{"name": "bms", "type": "bms_pylontech", "where": "can0", "says": "PYLON", "given": "Force H2, serial 4711"},
           {"name": "meter", "type": "meter_sunspec", "where": "10.0.0.3:502", "says": "", "given": ""}]  # fmt: skip
FACTS = report.Facts({"export_kw": 60.0, "ems": "10.0.0.2:502"}, "A. Technician", "Storage Ltd", DEVICES)
SITE: dict[str, Any] = {"schema": 1, "name": "home", "devices": {}}


def content(folder: Path, verdict: str = PASS, simulated: bool = False, value: float = 1.0) -> dict[str, Any]:
    """A walk's, in which every step came to that."""
    state = State(folder / "state.json", {**SUBJECT, "simulated": simulated})
    for step in STEPS:
        figure = Figure("a", value, "kW", figures.at_most(2, "kW"), True)
        state.outcomes[step.id] = Outcome(step.id, step.title, verdict, figures=[figure], began="now")
    return report.content_of(state, SITE, FACTS)


# ---- nothing overwrites it ----------------------------------------------------------------------------------
@pytest.mark.parametrize("later", [PASS, FAIL, NOT_TESTED])
def test_a_later_commissioning_leaves_every_earlier_report_as_it_was(later: str, tmp_path: Path) -> None:
    first = report.write(tmp_path, content(tmp_path, value=1.25))
    before = {file: file.read_bytes() for file in first.kept}
    second = report.write(tmp_path, content(tmp_path, later, value=1.5))
    assert not set(first.kept) & set(second.kept) and second.moved == []
    assert {file: file.read_bytes() for file in first.kept} == before
    assert [file.read_bytes() for file in second.copies] == [file.read_bytes() for file in second.kept]
    assert all(report.verify(file)[1] for file in (*first.kept, *second.kept, *second.copies))


def test_a_report_is_named_after_site_time_and_hash(tmp_path: Path) -> None:
    found = content(tmp_path)
    name = report.write(tmp_path, found).kept[0].name
    assert re.fullmatch(rf"home-co-\d{{8}}-\d{{6}}Z-{found['sha256'][:8]}\.html", name), name
    assert page.name_of(content(tmp_path, simulated=True)).startswith("SIMULATED-")


def test_what_stands_at_the_newest_ones_place_and_is_kept_nowhere_is_moved_and_told(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("signed by hand with a pen of bits")
    for _ in range(2):
        found = report.write(tmp_path, content(tmp_path, value=len(list(tmp_path.iterdir())) / 8))
        if found.moved:
            aside = found.moved
    assert [file.read_text() for file in aside] == ["signed by hand with a pen of bits"] and aside[0].exists()
    with pytest.raises(FileExistsError):
        place.keep(tmp_path, "a", {".json": "1"})
        place.keep(tmp_path, "a", {".json": "2"})
    assert (tmp_path / place.REPORTS / "a.json").read_text() == "1"


def test_each_board_and_the_simulated_cabinet_have_a_walk_of_their_own() -> None:
    assert place.state_file(Path("a"), {"chip": "1"}) != place.state_file(Path("a"), {"chip": "2"})
    parse = program.arguments().parse_args
    assert program.folder(parse(["--sim"])) != program.folder(parse(["--port", "x"]))
    assert program.folder(parse(["--sim", "--out", "there"])) == Path("there")


def test_what_people_have_told_is_known_when_it_goes_on(tmp_path: Path) -> None:
    state = State(tmp_path / "state.json", SUBJECT)
    state.told = {"by": "A. Technician", "agreed": {"export_kw": 60.0}}
    state.put(Outcome("identity", "Identity", PASS))
    assert State(tmp_path / "state.json", SUBJECT).told == state.told
    assert State(tmp_path / "state.json", {**SUBJECT, "firmware": "0"}).told == {}


# ---- one at a time ------------------------------------------------------------------------------------------
HOLDS = """
import sys, time
from pathlib import Path
from tools.commission import place
with place.claimed(Path(sys.argv[1]), "PORT=/dev/ttyUSB7"):
    print("has it", flush=True)
    time.sleep(600)
"""


def test_a_second_commissioning_is_refused_and_told_who_the_first_is_until_that_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "has it\n"
        with pytest.raises(place.InUse) as refused, place.claimed(tmp_path, "SIM=1"):
            pass
        for words in (f"process {other.pid}", "PORT=/dev/ttyUSB7", str(tmp_path), "--out"):
            assert words in str(refused.value)
        with place.claimed(tmp_path / "elsewhere", "SIM=1"):
            pass
        other.kill()
        other.wait(30)
    assert "/dev/ttyUSB7" in (tmp_path / place.LOCK).read_text(), "it had no time to take its name away"
    with place.claimed(tmp_path, "SIM=1"):
        assert "SIM=1" in (tmp_path / place.LOCK).read_text()
    with place.claimed(tmp_path, "SIM=1"):
        pass


# ---- what it says -------------------------------------------------------------------------------------------
def test_a_simulated_cabinet_is_called_so_at_the_top_of_everything(tmp_path: Path) -> None:
    written = report.write(tmp_path, content(tmp_path, simulated=True))
    shown, data = (file.read_text() for file in written.kept)
    body = shown[shown.index("<body>") :]
    assert body.index("SIMULATED CABINET") < body.index("<h1>") and "<title>SIMULATED" in shown
    assert json.loads(data)["simulated"] is True and "SIMULATED" in json.loads(data)["notice"]
    assert "SIMULATED" in report.verify(written.kept[0])[0]
    state = State(tmp_path / "none.json", {**SUBJECT, "simulated": True})
    assert "SIMULATED" in report.summary(state)
    real = page.page_of(content(tmp_path))
    assert "SIMULATED" not in real[real.index("<body>") :] and json.loads(json.dumps(content(tmp_path)))["simulated"] is False


def test_the_page_says_who_what_and_of_which_devices_in_plain_words(tmp_path: Path) -> None:
    text = page.page_of(content(tmp_path))
    for words in ("A. Technician", "Storage Ltd", "Force H2, serial 4711", plates.NOT_GIVEN,
                  "export that the grid operator allows", "60 kW", "an EMS on Modbus reaches the board at",
                  "nobody's signature", "SHA-256", "owner or operator"):  # fmt: skip
        assert words in text, words
    assert "agreed:" not in text and "<h2>Signature" not in text
    assert f"make commission VERIFY={place.FOLDER}/{place.REPORTS}/home-co-" in text


def test_no_hint_is_one_that_cannot_be_typed() -> None:
    for file in [*(ROOT / "tools" / "commission").glob("*.py"), ROOT / "docs" / "commissioning.md"]:
        for line in file.read_text().splitlines():
            assert not re.search(r"(?<!\.venv/bin/)python3? -m", line), f"{file.name}: {line}"
    makefile = (ROOT / "Makefile").read_text()
    assert '--verify "$(VERIFY)"' in makefile


@pytest.mark.parametrize(
    ("value", "text"),
    [(-4.0200000000000005, "-4.02"), (60.0, "60.00"), (-0.0, "0.00"), (-0.00001, "0.00"), (0.0244, "0.024"), (212.345, "212.3"),
     (1234.5, "1234"), (5.1, "5.10"), ("open", "open"), (1728, "1728")],
)  # fmt: skip
def test_a_figure_has_the_digits_of_a_measurement(value: float | str, text: str) -> None:
    assert figures.digits(value) == text


def test_a_bound_has_its_unit() -> None:
    assert figures.at_most(0.5, "s") == "at most 0.5 s"
    assert figures.within(1.0, 5.0, "kW", way=True) == "within 1 kW of +5 kW"
    assert figures.within(1.5, -50.003, "kW", way=True) == "within 1.5 kW of -50.003 kW"
    assert figures.within(1.0, 60.0, "kW") == "within 1 kW of 60 kW" and figures.signed(-0.0) == "0"
    assert figures.measured(95.04, "%") == "95.0 %" and figures.measured("open", "") == "open"
    assert figures.measured(figures.told(60.0), "kW") == "60 kW" and figures.told(4.2) == 4.2
    assert figures.between(84.0, 125.0, "%") == "84 to 125 %"


def test_the_data_have_no_noise_of_floats(tmp_path: Path) -> None:
    found = content(tmp_path, value=-4.0200000000000005)
    assert found["steps"][0]["figures"][0]["value"] == -4.02
    assert report.rounded({"a": [(0.1 + 0.2, -1e-9)], "b": "x", "c": True}) == {"a": [[0.3, 0.0]], "b": "x", "c": True}


# ---- what it is set to --------------------------------------------------------------------------------------
def test_the_page_shows_what_the_site_is_set_to_with_units_and_defaults_and_no_password(tmp_path: Path) -> None:
    site = {"schema": 1, "name": "home", "cycle_ms": 100, "power": {"max_charge_power": 60.0, "grid_connection": "EXPORT"},
            "buses": {"can0": {"type": "can", "bitrate": 250000}}, "wifi": {"ssid": "x", "password": "hidden-1"},
            "devices": {"pcs": {"type": "pcs_sunspec", "host": "10.0.0.7"}, "io": {"type": "io_board", "estop_pin": 34}},
            "services": {"m": {"type": "mqtt", "host": "h", "password": "hidden-2"}, "web": False,
                         "ems": {"type": "sunspec_server", "allow": {"10.0.0.9": "control"}}}}  # fmt: skip
    found = {(one["part"], one["name"]): one for one in settings.of(site)}
    for part, name, value, default in (
        ("power", "max_charge_power", "60", False), ("power", "max_discharge_power", "100", True),
        ("power", "grid_connection", "EXPORT", False), ("power", "cycle_ms", "100", False),
        ("bus can0 (can)", "bitrate", "250000", False), ("device pcs (pcs_sunspec)", "host", "10.0.0.7", False),
        ("device pcs (pcs_sunspec)", "reversion_s", "5", True), ("device io (io_board)", "estop_pin", "34", False),
        ("service m (mqtt)", "password", "***", False), ("service web", "in use", "no", False),
        ("service ems (sunspec_server)", "others", "read-only", True),
    ):  # fmt: skip
        assert (found[part, name]["value"], found[part, name]["default"]) == (value, default), (part, name)
    assert found["power", "max_charge_power"]["means"].startswith("kW")
    text = page.page_of(report.content_of(State(tmp_path / "s.json", SUBJECT), site, FACTS))
    assert "What the site is set to" in text and "default" in text and "hidden" not in text
    assert "10.0.0.9" in text[: text.index("<script")]


# ---- plates -------------------------------------------------------------------------------------------------
def test_a_plate_is_a_device_and_a_text() -> None:
    assert plates.given(["bms=A=B, serial 1", "pcs = C"]) == {"bms": "A=B, serial 1", "pcs": "C"}
    for wrong in ("bms", "=x", "bms="):
        with pytest.raises(ValueError, match="allowed is NAME=TEXT"):
            plates.given([wrong])
    assert "--plate" in " ".join(program.refused(program.arguments().parse_args(["--sim", "--plate", "bms"])))
    assert plates.unknown(DEVICES, {"bms": "x", "battery": "y"}) == ["battery"]


def test_what_a_battery_says_of_itself_is_put_into_words() -> None:
    assert plates.equipment({"maker": "PYLON", "nominal_v": 614, "nominal_ah": 50}) == "PYLON, 614 V, 50 Ah"
    assert plates.common(["SIM", "PCS 100", "", "S1"]) == "maker SIM, model PCS 100, serial number S1" and plates.common(None) == ""
    assert plates.equipment({}) == plates.equipment(None) == ""


class Asked(Console):
    """A console that answers some questions, and is silent after so many."""

    def __init__(self, answers: dict[str, Any], silent: bool = False) -> None:
        self.answers, self.silent, self.count = answers, silent, 0

    async def ask(self, line: str, timeout: float = 0.0) -> Any:
        self.count += 1
        if self.silent:
            raise Silent("nothing")
        for words, answer in self.answers.items():
            if words in line:
                return answer
        raise Refused("AttributeError")


def test_devices_are_asked_once_and_a_silent_board_only_once() -> None:
    site = {"devices": {"bms": {"type": "bms_pylontech", "bus": "can0"}, "pcs": {"type": "pcs_sunspec", "host": "h"},
                        "box": {"type": "generic_modbus", "host": "h", "table": {"name": "A Box"}},
                        "io": {"type": "io_board"}}}  # fmt: skip

    async def session() -> None:
        answers = {"equipment": {"maker": "PYLON"}, "_plates.get(": ["", "", "", ""], "": None}
        bench = Bench(Asked(answers), site, Agreed({}), Terminal())
        first = await plates.read(bench, {"pcs": "by hand"})
        assert [(one["name"], one["says"], one["given"]) for one in first] == [
            ("bms", "PYLON", ""), ("pcs", "", "by hand"), ("box", "read by the table of: A Box", "")]  # fmt: skip
        silent = Asked({}, silent=True)
        bench.console = silent
        assert await plates.read(bench, {"pcs": "by hand"}, first) == first
        assert silent.count == 1

    asyncio.run(session())


# ---- nobody at the terminal ---------------------------------------------------------------------------------
def test_hands_without_a_terminal_are_said_loudly_before_and_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))  # one answer on a pipe, and no more
    hand = Terminal()

    async def session() -> None:
        bench = Bench(Asked({}), SITE, Agreed({}), hand)
        bench.asked = {"press": ("Press the stop.", ()), "release": ("Release it.", ())}
        await bench.ask_for("press")
        assert hand.unanswered == [] and hand.absent() == ""
        with pytest.raises(NotTested, match=r"nobody answered.*Release it"):
            await bench.ask_for("release")

    asyncio.run(session())
    assert hand.unanswered == ["Release it."] and not hand.is_there()
    assert people.ABSENT in capsys.readouterr().out
    args = program.arguments().parse_args(["--port", "/dev/ttyUSB0", "--out", str(tmp_path)])
    assert program.typed_again(args, "--apply") == f'make commission PORT=/dev/ttyUSB0 ARGS="--out {tmp_path} --apply"'
    assert program.typed_again(program.arguments().parse_args(["--sim"])) == "make commission SIM=1"
    before = " ".join(program.lonely(args))
    assert "estop" in before and "NOT TESTED" in before and "make commission PORT=/dev/ttyUSB0" in before
    written = report.write(tmp_path, content(tmp_path))
    behind = " ".join(program.ending(args, State(tmp_path / "s.json", SUBJECT), hand, written, True))
    assert "NOBODY ANSWERED" in behind and "make commission PORT=/dev/ttyUSB0" in behind


def test_what_is_said_last_names_the_reports_and_how_to_verify_them(tmp_path: Path) -> None:
    args = program.arguments().parse_args(["--sim", "--out", str(tmp_path)])
    state = State(tmp_path / "s.json", {**SUBJECT, "simulated": True})
    written = report.write(tmp_path, content(tmp_path, simulated=True))
    lines = program.ending(args, state, Terminal(), written, True)
    text = "\n".join(lines)
    assert str(written.kept[0]) in text and f"make commission VERIFY={written.kept[0]}" in text and "SIMULATED" in text


def test_an_outcome_that_is_kept_is_whole(tmp_path: Path) -> None:
    kept = Outcome("a", "b", PASS, figures=[Figure("g", 1.5, "kW", "at most 2 kW", True)])
    state = State(tmp_path / "s.json", SUBJECT)
    state.put(kept)
    assert asdict(State(tmp_path / "s.json", SUBJECT).outcomes["a"]) == asdict(kept)


def test_what_nobody_has_told_is_said_in_a_line(tmp_path: Path) -> None:
    state = State(tmp_path / "s.json", SUBJECT)
    (line,) = program.unsaid(state, DEVICES)
    assert "--by" in line and "meter (--plate" in line and "bms" not in line
    state.told = {"by": "A. Technician"}
    assert program.unsaid(state, DEVICES[:1]) == []
