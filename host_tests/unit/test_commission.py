"""Commissioning's own judgement: which mistake makes a meter follow so, how fast a step was, what is signed, what goes on."""

import asyncio
import json
import math
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tools.commission import __main__ as program
from tools.commission import bench as bench_module
from tools.commission import flows, inputs, judge, losses, mend, phases, report, scales
from tools.commission import walk as walk_module
from tools.commission.bench import NO_VALUE, Agreed, Bench
from tools.commission.outcome import FAIL, PASS, Failed, Figure, NotTested, Outcome, Plot, Series
from tools.commission.people import Terminal
from tools.commission.plots import svg
from tools.commission.steps import BY_ID, STEPS, Step
from tools.commission.walk import State, Walk, outcome
from tools.commission.wire import Console, Locked, Refused, Sample, Silent
from tools.run import ROOT
from tools.sim.healthy import plant
from tools.sim.measure import ONE_TURNED, SWAPPED, TURNED, WIRED, Gauss, MeterSensors, Wiring
from tools.sim.mistakes import MISTAKES

SUBJECT = {"chip": "a1", "firmware": "f" * 64, "firmware_stamp": "sources", "site": "home", "site_sha256": "5" * 64, "files": {},
           "simulated": False}  # fmt: skip
SITE: dict[str, Any] = {"schema": 1, "name": "home", "wifi": {"ssid": "plant", "password": "a secret"}, "devices": {}}


class Replies:
    """A port on which a board answers each line with these."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers = list(answers)
        self.on_line: Callable[[str], None] = lambda line: None

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def send(self, line: str) -> None:
        for answer in self.answers.pop(0) if self.answers else ():
            self.on_line(answer)


class NoHand:
    """Nobody is there."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def do(self, text: str, acts: tuple[tuple[str, ...], ...]) -> bool:
        return False

    def absent(self) -> str:
        return ""

    def say(self, text: str) -> None:
        self.told.append(text)

    def held_up(self) -> str:
        return ""


# ---- what a share of the power means ------------------------------------------------------------------------
def seen_by(wiring: Wiring) -> float:
    """The share of the true power that the simulated meter shows with its transformers so."""
    sensors = MeterSensors(plant(), Gauss(random.Random(1)))
    sensors.wiring = wiring
    return sum(sensors.shares()) / 3


@pytest.mark.parametrize(
    ("wiring", "words", "factor"),
    [
        (WIRED, (), 1.0),
        (TURNED, ("turned", "all"), -1.0),
        (ONE_TURNED, ("one phase", "other way"), 1.0),
        (((0, -1), (1, -1), (2, 1)), ("two phases", "other way"), 1.0),
        (SWAPPED, ("two of its phases", "swapped"), 1.0),
        (((1, 1), (2, 1), (0, 1)), ("all three phases", "circle"), 1.0),
    ],
)
def test_each_way_to_wire_a_meter_is_named(wiring: Wiring, words: tuple[str, ...], factor: float) -> None:
    for noise in (-0.07, 0.0, 0.07):
        reading = judge.share(seen_by(wiring) + noise)
        assert bool(reading.text) == bool(words), (wiring, noise, reading)
        assert all(word in reading.text for word in words), reading
        assert reading.factor == factor
        assert reading.wiring == (bool(words) and factor == 1.0), "a factor mends a turned meter, nothing mends a swapped one"


@pytest.mark.parametrize(
    ("wiring", "words"),
    [
        (WIRED, ""),
        (TURNED, "L1 is turned, L2 is turned, L3 is turned"),
        (ONE_TURNED, "L1 is turned"),
        (((0, 1), (1, 1), (2, -1)), "L3 is turned"),
        (SWAPPED, "L1 and L2 are swapped"),
        (((2, 1), (1, 1), (0, 1)), "L1 and L3 are swapped"),
        (((2, 1), (0, 1), (1, 1)), "each sits behind the voltage of the next"),
    ],
)
def test_the_phases_tell_which_transformer_it_is(wiring: Wiring, words: str) -> None:
    sensors = MeterSensors(plant(), Gauss(random.Random(1)))
    sensors.wiring = wiring
    for noise in (-0.1, 0.0, 0.1):
        assert judge.phases([share + noise for share in sensors.shares()]) == words
    assert judge.phases([2.9, 0.05, -0.02]) == "", "a single-phase inverter is no mistake"


def test_a_meters_registers_are_three_powers_or_none() -> None:
    def words(*values: int) -> list[int]:
        return [value & 0xFFFF for value in values]

    assert phases.meant(words(133, -50, 0, 1)) == pytest.approx([1.33, -0.5, 0.0])
    assert phases.meant(words(1330, -500, 0, -1)) == pytest.approx([0.133, -0.05, 0.0])
    assert phases.meant(words(133, -0x8000, 0, 1)) == []
    assert phases.meant(words(133, 133, 133, 11)) == []
    assert phases.meant(words(133, 133)) == []


@pytest.mark.parametrize("size", [0.01, 0.1, 10, 100, 1000])
@pytest.mark.parametrize("way", [1, -1])
def test_a_scale_that_is_off_by_tens_is_named_with_the_factor_that_mends_it(size: float, way: int) -> None:
    if abs(size) < 0.13:  # so little is what swapped phases show too
        assert judge.decade(way * size) == pytest.approx(size)
        return
    reading = judge.share(way * size * 1.05)
    assert f"{size:g} times" in reading.text and ("turned" in reading.text) == (way < 0), reading
    assert reading.factor * way * size == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("slot", "scale", "seen", "wanted"),
    [("METER_P", 100, 10, 10), ("METER_P", -1, -1, 1), ("METER_P", 0.1, 0.1, 1), ("CMD_P", 0.1, 10, 1), ("CMD_P", -100, -1, 100),
     ("CMD_P", 1, 0.01, 0.01)],
)  # fmt: skip
def test_a_tables_row_is_mended_whichever_way_it_goes(slot: str, scale: float, seen: float, wanted: float) -> None:
    """A row that is read and one that is written: in both slot = number on the wire x scale."""
    row = {"slot": slot, "scale": scale} if slot == "METER_P" else {"from": slot, "scale": scale}
    part = "reads" if slot == "METER_P" else "writes"
    options = {"table": {"reads": [], "writes": [], part: [{"slot": "OTHER"}, row]}}
    patch = flows.scaled("box", options, slot, 1 / seen)
    assert patch == {f"devices.box.table.{part}.1.scale": pytest.approx(wanted)}
    assert flows.scaled("box", {"table": "a_file.json"}, slot, 0.1) == flows.scaled("box", {}, slot, 0.1) == {}


# ---- how fast -----------------------------------------------------------------------------------------------
def stepped(tau: float, dead: float, ramp: float, final: float, every: float = 0.1) -> tuple[judge.Points, judge.Points]:
    """A ramped command and an inverter of the first order behind it, as the monitor would show them."""
    fine = 0.001
    y, command, power = 0.0, [], []
    for n in range(round(15 / fine)):
        t = n * fine
        asked = max(0.0, min(1.0, (t - 0.5) / ramp)) * final
        late = max(0.0, min(1.0, (t - 0.5 - dead) / ramp)) * final
        y += (late - y) * (1 - math.exp(-fine / tau))
        if n % round(every / fine) == 0:
            command.append((t, asked))
            power.append((t, y))
    return command, power


@pytest.mark.parametrize("final", [30.0, -30.0])
@pytest.mark.parametrize(("tau", "dead"), [(0.1, 0.1), (0.1, 0.4), (0.5, 0.2), (2.5, 0.1)])
def test_a_step_has_the_dead_time_and_the_rise_that_the_inverter_has(tau: float, dead: float, final: float) -> None:
    ramp = 1.5
    found = judge.response(*stepped(tau, dead, ramp, final))
    assert found is not None
    exact = judge.response(*stepped(tau, dead, ramp, final, every=0.001))
    assert exact is not None
    for measured, true in zip(found, exact, strict=True):
        assert measured == pytest.approx(true, abs=0.12), "at ten samples a second"
    assert dead <= exact.dead <= dead + tau + 0.01
    if tau >= 2:
        assert exact.rise > 3.0 and exact.settling > 5.0
    if tau == 0.1:
        assert exact.rise < 0.1 and exact.settling < dead + 0.35


def test_no_whole_step_is_no_response() -> None:
    flat = [(t / 10, 0.0) for t in range(50)]
    command, power = stepped(0.1, 0.1, 1.5, 30.0)
    assert judge.response(flat, flat) is None
    assert judge.response(command[:2], power) is None
    assert judge.crossing(power, 40.0) is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(3600, "1 hour fast"), (-7195, "2 hours slow"), (75, "75 s fast"), (-1800, "1800 s slow")]
)
def test_a_clock_that_is_off_by_hours_is_a_time_zone(seconds: float, words: str) -> None:
    text = judge.hours(seconds)
    assert text.startswith(words) and ("time zone" in text) == ("hour" in words)


# ---- how much -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rated", [5.0, 30.0, 100.0, 1000.0])
@pytest.mark.parametrize("level", scales.LEVELS)
@pytest.mark.parametrize("share", [0.5, 2.0, -1.0, 0.0])
def test_twice_or_half_of_the_smallest_level_is_out_of_its_bound(rated: float, level: int, share: float) -> None:
    kw = rated * level / 100
    assert abs(share * kw - kw) > judge.band(rated, kw)
    near = judge.meter_band(rated, kw, drift_kw=0.1 * kw)
    assert near is not None and abs(share * kw - kw) > near
    assert judge.meter_band(rated, kw, drift_kw=0.45 * kw) is None, "a load that moves so much leaves nothing to tell"


class Paper(Bench):
    """A site of 100 kW that shows these shares of a commanded power, and whose load moves by so much from one rest to the next."""

    def __init__(self, inverter: float = 1.0, meter: float = 1.0, drift: float = 0.0) -> None:
        super().__init__(Console(Replies()), {}, Agreed({}), NoHand())
        self.shares, self.drift, self.rests = (inverter, meter), drift, 0

    async def start(self) -> None: ...

    async def state(self) -> dict[str, Any]:
        return {"lim_dis": 100.0, "lim_chg": 100.0}

    async def hold(self, kw: float, seconds: float = 2.0, parts: bool = True) -> dict[str, float]:
        self.rests += kw == 0
        power, load = self.shares[0] * kw, 40.0 + self.drift * (self.rests % 2)
        return {"cmd": kw, "p": power, "grid_p": load - self.shares[1] * power, "kw_dc": power / (0.95 if kw > 0 else 1 / 0.95)}


@pytest.mark.parametrize(
    ("bench", "words"),
    [
        (Paper(), ""),
        (Paper(drift=0.5), ""),
        (Paper(inverter=2.0), "at +5.0 kW the inverter shows +10.0 kW"),
        (Paper(inverter=0.5), "at -5.0 kW the inverter shows -2.5 kW"),
        (Paper(meter=2.0), "at +5.0 kW the meter shows +10.0 kW"),
        (Paper(meter=0.5, drift=0.5), "at -5.0 kW the meter shows -2."),
        (Paper(drift=3.0), "too much to judge the meter"),
    ],
)
def test_a_scale_that_is_off_by_two_is_found_at_the_smallest_level(bench: Paper, words: str) -> None:
    bench.outcome = Outcome("scale", "Scale")
    try:
        asyncio.run(scales.scale(bench))
        text = ""
    except (Failed, NotTested) as error:
        text = str(error)
        assert isinstance(error, NotTested) == ("judge" in words), text
    assert (words in text) if words else not text, text
    for figure in bench.outcome.figures:
        assert figure.unit not in ("kW", "%") or not figure.bound or figure.unit in figure.bound, figure


# ---- the emergency stop, and a lost device ------------------------------------------------------------------
def test_when_the_power_was_gone_for_good_is_told_from_when_it_passed_zero() -> None:
    seen = [(1.0, [5]), (1.1, [0]), (1.2, [3]), (1.3, [0]), (1.4, [0])]
    assert inputs.after(seen, 1.0, lambda values: values[0] == 0) == pytest.approx(0.3)
    assert inputs.after(seen, 1.35, lambda values: values[0] == 0) == pytest.approx(0.05)
    assert inputs.after(seen[:3], 1.0, lambda values: values[0] == 0) is None


def test_a_press_is_counted_from_the_last_look_that_did_not_see_it() -> None:
    assert inputs.pressed_at([(1.0, [0]), (1.1, [0]), (1.4, [1]), (1.5, [1])]) == 1.1
    assert inputs.pressed_at([(1.4, [1]), (1.5, [1])]) == 1.4
    late = [(0.0, [0]), (99.5, [0]), (100.0, [0]), (100.5, [1])]
    assert inputs.from_press(late) == [(-0.5, [0]), (0.0, [0]), (0.5, [1])]


def test_what_flows_is_told_by_the_battery_where_the_inverter_is_off() -> None:
    assert inputs.flowing_kw([4000, 6400, 50]) == 4.0
    assert inputs.flowing_kw([NO_VALUE, 6400, 50]) == pytest.approx(3.2)
    assert inputs.flowing_kw([NO_VALUE, 6400, NO_VALUE]) is None


def test_how_long_a_device_was_silent_is_the_boards_word_whenever_the_plug_was_pulled() -> None:
    never = losses.AGE_MAX_MS
    seen = [(0.0, [0, 60_000, 900, 100]), (0.1, [0, 60_100, 1000, 200])]
    seen += [(5.0, [0b110, 60_200, 1080, never]), (9.0, [0b110, 99_000, 5000, never])]
    assert losses.silence_s(seen, 0b010) == 1.08
    assert losses.silence_s(seen, 0b001) is None
    held_up = [(0.0, [0b10, 1030, 3000])]
    assert losses.silence_s(held_up, 0b10) == 1.03, "while the board was held up itself it could hear nobody"


# ---- the table of steps, and the mistakes -------------------------------------------------------------------
def test_a_step_needs_only_what_comes_before_it() -> None:
    for n, step in enumerate(STEPS):
        assert set(step.needs) <= {earlier.id for earlier in STEPS[:n]}, step.id
    assert len(BY_ID) == len(STEPS)


def test_nothing_moves_much_before_what_stops_it_was_tried() -> None:
    for step in (
        "break_current",
        "estop_power",
        "response",
        "scale",
        "limits",
        "export",
        "watchdog",
        "loss",
        "grid",
        "relays",
        "remote",
        "ems_can",
        "power_cut",
    ):
        assert {"rest", "estop", "contactor", "direction"} <= set(BY_ID[step].needs), step


def test_the_guide_has_every_step() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "commissioning.md").read_text(), re.MULTILINE)
    assert rows == [step.id for step in STEPS]


def test_every_mistake_has_a_step_that_finds_it() -> None:
    assert {mistake.step for mistake in MISTAKES.values()} <= set(BY_ID)
    assert len(MISTAKES) >= 12


# ---- the report ------------------------------------------------------------------------------------------
DEVICES = [{"name": "bms", "type": "bms_pylontech", "where": "can0", "says": "PYLON", "given": "Force H2, serial 4711"},
           {"name": "meter", "type": "meter_sunspec", "where": "10.0.0.3:502", "says": "", "given": ""}]  # fmt: skip
FACTS = report.Facts({"export_kw": 60.0, "ems": "10.0.0.2:502"}, "A. Technician", "Storage Ltd", DEVICES)


def written(folder: Path, verdict: str = PASS, name: str = "") -> tuple[Path, Path]:
    """A report of a walk in which every step came to that; name: of the site."""
    state = State(folder / "state.json", {**SUBJECT, "site": name or SUBJECT["site"]})
    lines = [Series("p & q", [(0.0, -1.5), (1.0, 2.0)]), Series("dots", [(0.5, 1.0)], True), Series("none", [])]
    plot = Plot("a <plot>", "s", "kW", lines)
    for step in STEPS:
        figures = [Figure("a", 1.0, "kW", "at most 2", True)]
        state.put(Outcome(step.id, step.title, verdict, "text <b>", figures=figures, plots=[plot], began="now"))
    found = report.write(folder, report.content_of(state, SITE, FACTS))
    return found.copies[0], found.copies[1]


def test_a_report_is_verified_as_it_was_written(tmp_path: Path) -> None:
    for file in written(tmp_path):
        text, sound = report.verify(file)
        assert sound and "passed" in text, text


def test_no_password_is_in_a_report() -> None:
    services = {"broker": {"type": "mqtt", "user": "me", "password": "hidden"}, "ems": {"type": "sunspec_server"}, "records": False}
    shown = report.without_secrets({**SITE, "services": services})
    assert "hidden" not in str(shown) and "a secret" not in str(shown)
    assert shown["services"]["ems"] == services["ems"] and shown["services"]["broker"]["user"] == "me"


CHANGES: list[Callable[[str], str]] = [
    lambda text: text.replace("pass", "fail", 1),
    lambda text: text.replace("60.0", "61.0", 1),
    lambda text: text.replace("A. Technician", "B. Technician", 1),
    lambda text: text[:-40],
]


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_changed_in_a_report_is_seen(change: Callable[[str], str], tmp_path: Path) -> None:
    for file in written(tmp_path):
        file.write_text(change(file.read_text()))
        text, sound = report.verify(file)
        assert not sound, f"{file.name}: {text}"


def test_a_name_that_looks_like_markup_leaves_the_page_whole(tmp_path: Path) -> None:
    """In a script `<!--<script>` hides the script's own end, and with it the rest of the page."""
    page, _ = written(tmp_path, name="<!--<script> </script><b>&amp; Süd\u2028")
    text = page.read_text()
    shown, data = text.split('<script type="application/json"')
    assert "<script" not in shown and "<b>&amp;" not in shown
    assert "<!--" not in data and data.count("</script>") == 1
    said, sound = report.verify(page)
    assert sound, said


def test_what_is_no_report_is_said(tmp_path: Path) -> None:
    for name, content in (("a.json", "{}"), ("b.json", "["), ("c.html", "<p>"), ("d.json", "")):
        (tmp_path / name).write_text(content)
        assert report.verify(tmp_path / name)[1] is False
    (tmp_path / "simulated").mkdir()
    (tmp_path / "simulated" / "absent.json").write_text("{}")
    said, sound = report.verify(tmp_path / "absent.json")
    assert not sound and "there is none; of a simulated cabinet there is" in said


def test_the_page_is_whole_by_itself_escapes_what_it_shows_and_has_no_secret(tmp_path: Path) -> None:
    page, data = written(tmp_path)
    text = page.read_text()
    assert "a secret" not in text + data.read_text()
    assert not re.findall(r"(?:src|href)=[\"'](?!#)", text) and "@import" not in text and "url(" not in text
    assert "text &lt;b&gt;" in text
    for picture in re.findall(r"<svg class=.plot.*?</svg>", text, re.DOTALL):
        ET.fromstring(picture)
    for scheme in ("prefers-color-scheme:dark", "@media print"):
        assert scheme in text


@pytest.mark.parametrize("points", [[(0.0, 0.0)], [(1.0, 5.0), (2.0, 5.0)], [(0.0, -1e-9), (1e-6, 0.0)], [(0.0, 1e6), (9.0, -1e6)]])
def test_whatever_is_plotted_lies_on_the_plot(points: list[tuple[float, float]]) -> None:
    for dots in (False, True):
        picture = svg(Plot("t", "s", "kW", [Series("a", points, dots)]))
        numbers = [float(n) for n in re.findall(r'(?:x1|x2|cx|x)="([-\d.]+)"', picture)]
        assert all(-1 <= number <= 641 for number in numbers), picture
        ET.fromstring(picture)
    assert svg(Plot("t", "s", "kW", [Series("a", [])])) == ""


# ---- going on -----------------------------------------------------------------------------------------------
def test_it_goes_on_with_the_same_board_firmware_and_site_and_with_no_other(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    first = State(file, SUBJECT)
    first.put(Outcome("identity", "Identity", PASS, plots=[Plot("t", "s", "kW", [Series("a", [(0.0, 1.0)])])]))
    first.put(Outcome("clock", "Clock", FAIL, "off", patch={"a.b": 1}))
    again = State(file, dict(SUBJECT))
    assert again.resumed and again.passed("identity") and not again.passed("clock")
    assert again.outcomes == first.outcomes and again.began == first.began
    for key, other in (("chip", "a2"), ("firmware", "0"), ("site_sha256", "6")):
        state = State(file, {**SUBJECT, key: other})
        assert state.changed and not state.outcomes, key
    file.write_text(file.read_text()[:100])
    assert State(file, SUBJECT).outcomes == {}


def test_an_outcome_is_the_same_after_a_file() -> None:
    plot = Plot("h", "s", "A", [Series("i", [(0.0, 1.0)], True)])
    kept = Outcome("a", "b", FAIL, "c", "d", {"e.0.f": 1}, [Figure("g", 1.5, "kW", "", False)], [plot], "now", 1.5, False)
    assert outcome(json.loads(json.dumps(asdict(kept)))) == kept


def test_what_is_proposed_changes_that_and_nothing_else() -> None:
    site: dict[str, Any] = {"devices": {"meter": {"type": "x", "table": {"reads": [{"slot": "A"}, {"slot": "B", "scale": 100}]}}}}
    patch = {"devices.meter.table.reads.1.scale": 10, "devices.meter.reversed": True, "power.max_grid_export_power": 60}
    changed = mend.patched(site, patch)
    assert changed["devices"]["meter"]["table"]["reads"] == [{"slot": "A"}, {"slot": "B", "scale": 10}]
    assert changed["devices"]["meter"]["reversed"] is True and changed["power"] == {"max_grid_export_power": 60}
    assert site["devices"]["meter"]["table"]["reads"][1]["scale"] == 100


# ---- the console's lines ------------------------------------------------------------------------------------
def test_an_answer_is_told_from_what_else_comes() -> None:
    async def talk() -> None:
        port = Replies(
            ('{"event": "MODE_CHANGE", "data": "IDLE", "t": 12}', "not limited\r", "\x1b[2Kbattery: SoC 50.0 %", ">>> = None"),
            ('{"t": 3.5, "mode": "IDLE", "p": -1.5}', "= {'a': [1, 2.5], 'b': None}\r"),
            ("! PowerError: kw = 200: allowed are -100.0 to 100.0 kW",),
            ("= <App object at 7f>",),
        )
        console = Console(port)
        assert await console.lines("status()") == (["not limited", "battery: SoC 50.0 %"], "None")
        assert console.events[0][1:] == ("MODE_CHANGE", "IDLE")
        assert await console.ask("x") == {"a": [1, 2.5], "b": None}
        assert console.samples[0].state["p"] == -1.5
        with pytest.raises(Refused, match="allowed are"):
            await console.ask("pm.set_constant_power(200)")
        assert await console.ask("app") == "<App object at 7f>"
        with pytest.raises(Silent, match="no answer to 'why'"):
            await console.ask("why", timeout=0.05)
        port.answers += [(f"= {n}",) for n in range(9)]
        port.answers += [("! OSError: 2",), ("= 'end'",)]
        found = await console.ask_all(["a line"] * 11)
        assert found[:9] == list(range(9)) and isinstance(found[9], Refused) and found[10] == "end"

    asyncio.run(talk())


class Prompt(Replies):
    """A board that answers every line as soon as the loop turns."""

    async def send(self, line: str) -> None:
        asyncio.get_running_loop().call_soon(self.on_line, "= [1, 2]")


def test_whoever_watches_a_hand_comes_to_an_end_and_leaves_no_answer_behind() -> None:
    async def session() -> None:
        console = Console(Prompt())
        bench = Bench(console, {}, Agreed({}), simulated_hand := NoHand())
        for turns in range(100):
            async with asyncio.timeout(20), bench.watching("A", "B") as seen:
                assert len(seen) == 1, "how it was before anything is done"
                for _ in range(turns):
                    await asyncio.sleep(0)
            assert all(values == [1, 2] for _, values in seen)
            assert await console.ask("x") == [1, 2]
        assert simulated_hand.told == []

    asyncio.run(session())


class WithPin(Replies):
    """A board that runs nothing before the PIN has come."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.open_to = False

    async def send(self, line: str) -> None:
        self.sent.append(line)
        if line.startswith("login "):
            self.open_to = line == "login 4711x"
            self.on_line("= 'the role is service'" if self.open_to else "! PowerError: that is no PIN")
        else:
            self.on_line(f"= {line}" if self.open_to else "! PowerError: that needs the role service: login PIN first")


def test_a_console_that_wants_a_pin_gets_it_again_after_a_reset() -> None:
    async def talk() -> None:
        port = WithPin()
        console = Console(port)
        with pytest.raises(Locked, match="wants the service PIN"):
            await console.open()
        console.pin = "0000"
        with pytest.raises(Locked, match="that is no PIN"):
            await console.open()
        console.pin = "4711x"
        await console.open()
        port.open_to = False  # it was reset
        await console.wait_up(5)
        assert await console.ask("1") == 1 and port.sent.count("login 4711x") == 2

    asyncio.run(talk())


def test_who_is_at_no_terminal_is_told_where_the_pin_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: str) -> str:
        raise EOFError

    monkeypatch.delenv("CONSOLE_PIN", raising=False)
    monkeypatch.setattr("getpass.getpass", nobody)
    with pytest.raises(Locked, match="elsewhere CONSOLE_PIN says it"):
        asyncio.run(program.opened_by_pin(Console(WithPin()), Terminal()))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "PORT"),
        (["--sim", "--port", "x"], "SIM=1"),
        (["--sim", "--only", "nothing"], "identity"),
        (["--sim", "--plant", "nothing"], "meter_turned"),
        (["--port", "x", "--plant", "two_bms"], "--plant goes with a simulated cabinet alone: make commission SIM=1"),
        (["--port", "x", "--export-kw", "-1"], "0 to 1000"),
        (["--sim", "--site", "/nonexistent.json"], "cannot be read"),
    ],
)
def test_a_command_line_that_cannot_be_is_refused_with_what_can(given: list[str], words: str) -> None:
    errors = program.refused(program.arguments().parse_args(given))
    assert errors and words in " ".join(errors), errors


# ---- several banks -------------------------------------------------------------------------------------------
TWO = {
    "power": {"max_charge_power": 200, "max_discharge_power": 150},
    "banks": {
        "b": {"batteries": ["bms_b"], "inverters": ["pcs_b"], "power": {"max_charge_power": 60}, "io": "io_b"},
        "a": {"batteries": ["bms_a"], "inverters": ["pcs_a"], "power": {"max_charge_power": 100, "max_discharge_power": 80}},
    },
    "devices": {
        "pcs_b": {"type": "pcs_sunspec"}, "pcs_a": {"type": "pcs_sunspec"}, "bms_a": {"type": "bms_pylontech"},
        "bms_b": {"type": "bms_pylontech"}, "io_b": {"type": "io_board", "feedback_pin": 3}, "io": {"type": "io_board"},
    },
}  # fmt: skip


def test_who_is_tried_by_itself_has_its_own_rating_devices_and_values() -> None:
    port = Accepts()

    async def session() -> None:
        bench = Bench(Console(port), TWO, Agreed({}), NoHand())
        assert [bank.told for bank in bench.banks] == ["bank a (bms_a, pcs_a)", "bank b (bms_b, pcs_b)"], "in the board's order"
        assert (bench.rated_kw, bench.device("io_board")[0]) == (150, "io")
        a, b = bench.banks
        assert bench.turns("bank") == [a, b] and bench.turns("") == [None] and bench.turns("io") == [b, None]
        assert bench.turns("both") == [a, b, None]
        bench.bank = a
        assert (bench.rated_kw, bench.device("pcs")[0], bench.device("bms")[0]) == (80, "pcs_a", "bms_a")
        bench.bank = b
        assert (bench.rated_kw, bench.device("pcs")[0], bench.device("io_board")[0]) == (60, "pcs_b", "io_b")
        with pytest.raises(AssertionError):  # the answer is no list here
            await bench.raw("PCS_P", "METER_P", "IO_CONTACTOR", "AGE + im.SEQ_BMS_CELLS")
        own = "pm.image.banks[1].now[im."
        bench.bank = a
        with pytest.raises(AssertionError):
            await bench.raw("CMD_CONTACTOR", "CMD_P")
        both = "[pm.image.now[im.CMD_CONTACTOR], pm.image.banks[0].now[im.CMD_P]]"
        assert port.sent.pop() == both, "one output for all lets go when the last bank does"
        assert port.sent[-1] == f"[{own}PCS_P], pm.image.now[im.METER_P], {own}IO_CONTACTOR], {own}AGE + im.SEQ_BMS_CELLS]]"

    asyncio.run(asyncio.wait_for(session(), 10))


@pytest.mark.parametrize(
    ("b", "words"),
    [
        ((4000, 4000, 6400, 65), ""),
        ((4000, -4000, 6400, 65), "inverter pcs_b of bank b is told +4.0 kW, and does -4.00 kW"),
        ((4000, 40000, 6400, 650), "inverter pcs_b of bank b is told +4.0 kW, and does 40.00 kW"),
        ((4000, NO_VALUE, 6400, 65), "inverter pcs_b of bank b is told +4.0 kW, and does nothing"),
        ((4000, 4000, 6400, -65), "battery bms_b of bank b shows -4.16 kW"),
        ((4000, 4000, 6400, 650), "battery bms_b of bank b shows 41.60 kW"),
        ((-4000, -4000, 6400, -65), ""),
        ((0, 0, 6400, 0), "pcs_b of bank b has no part of the power"),
    ],
)
def test_each_banks_devices_do_their_part_whatever_the_sum_is(b: tuple[int, ...], words: str) -> None:
    port = Accepts()
    port.value_of = {"pm.image.banks[0]": "[4000, 4010, 6400, 65]", "pm.image.banks[1]": str(list(b))}

    async def session() -> None:
        bench = Bench(Console(port), TWO, Agreed({}), NoHand())
        if not words:
            await bench.do_their_part()
            return
        with pytest.raises(Failed, match=re.escape(words)):
            await bench.do_their_part()
        if b[0]:
            assert next(figure.name for figure in bench.outcome.figures if figure.ok is False).startswith("bank b: ")

    asyncio.run(asyncio.wait_for(session(), 10))


def test_two_banks_that_flow_against_each_other_are_no_power_at_rest() -> None:
    board, site = [1, 0, 0, 0], [0, 6400, 0]
    assert inputs.joined([*board, *site]) == [*board, *site]
    against = inputs.joined([*board, *site, 4000, 4000, 6400, 65, -4000, -4000, 6400, -65])
    assert against[:4] == [1, 0, 0, 8000] and inputs.flowing_kw(against[4:]) == 8.0
    silent = inputs.joined([*board, *site, 0, NO_VALUE, 6400, 65, 0, 0, 6400, 0])
    assert inputs.flowing_kw(silent[4:]) == pytest.approx(4.16), "the battery tells of an inverter that is off"


def test_a_step_is_done_for_each_bank_and_says_which_has_failed_and_which_is_not_tested(tmp_path: Path) -> None:
    port, hand = Accepts(), NoHand()
    tried: list[str] = []

    async def work(bench: Bench) -> None:
        name = bench.bank.name if bench.bank else "site"
        tried.append(name)
        bench.note("power", 1.0, "kW")
        if name == "b":
            raise Failed("the inverter (pcs_b) is slow", "its ramps", {"devices.pcs_b.period_ms": 50})
        if name == "site":
            raise NotTested("nobody is here")

    async def session() -> Outcome:
        console = Console(port)
        console.next_sample = lambda *_: sample(port)  # type: ignore[method-assign]
        bench = Bench(console, TWO, Agreed({}), hand)
        walk = Walk(bench, State(tmp_path / "state.json", {}), steps=())
        return await walk.one(Step("one", "One", work, standby=False, each="both"))

    result = asyncio.run(asyncio.wait_for(session(), 20))
    assert tried == ["a", "b", "site"] and result.verdict == FAIL
    assert result.text == ("bank b (bms_b, pcs_b): the inverter (pcs_b) is slow; the site as a whole: nobody is here")
    assert [figure.name for figure in result.figures] == ["bank a: power", "bank b: power", "power"]
    assert result.patch == {"devices.pcs_b.period_ms": 50}
    assert [line for line in port.sent if line.startswith("_alone(")] == ["_alone(0)", "_alone(-1)", "_alone(1)", "_alone(-1)"]
    assert all(len(line.encode()) < mend.LINE for line in port.sent), "the console takes no longer line"


# ---- what is left when commissioning is gone ------------------------------------------------------------------
class Accepts(Replies):
    """A board that takes everything; `deaf`: one that has no power."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.deaf = False
        self.mode = "STANDBY"
        self.value_of: dict[str, str] = {}  # the answer to a line that has this in it

    async def send(self, line: str) -> None:
        self.sent.append(line)
        if not self.deaf:
            self.on_line(f'{{"t": 1.0, "mode": "{self.mode}", "cmd": 0}}')
            self.on_line("= " + next((value for part, value in self.value_of.items() if part in line), "'accepted'"))


def test_a_power_ends_by_itself_is_renewed_while_it_goes_on_and_never_comes_back_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench_module, "RENEW_S", 0.01)
    port = Accepts()

    async def session() -> None:
        bench = Bench(Console(port), {}, Agreed({}), NoHand())
        await bench.set_power(4)
        while port.sent.count("pm.set_constant_power(4, 1)") < 3:
            await asyncio.sleep(0.01)
        await bench.set_power(-2)
        others = len(port.sent)
        while len(port.sent) < others + 3:
            await asyncio.sleep(0.01)
        assert set(port.sent[others:]) == {"pm.set_constant_power(-2, 1)"}
        await bench.free()
        freed = len(port.sent)
        await asyncio.sleep(0.1)
        assert port.sent[freed:] == [] and "pm.resume()" in port.sent

    asyncio.run(asyncio.wait_for(session(), 20))


def test_a_board_that_is_silent_at_the_end_is_not_said_to_be_at_rest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(walk_module, "AGAIN_S", 0.05)
    port, hand = Accepts(), NoHand()

    async def dies(bench: Bench) -> None:
        port.deaf = True
        raise Silent("the monitor has said nothing for 5 s")

    async def session() -> None:
        console = Console(port)
        monkeypatch.setattr(console, "lines", _hasty(console.lines))
        bench = Bench(console, {}, Agreed({}), hand)
        step = Step("dies", "The board loses its power", dies, standby=False)
        assert await Walk(bench, State(tmp_path / "state.json", {}), steps=(step,)).run() is False

    asyncio.run(asyncio.wait_for(session(), 20))
    assert any("PRESS THE EMERGENCY STOP" in text for text in hand.told)
    assert not any("STANDBY." in text for text in hand.told), hand.told


def test_an_emergency_that_somebody_gives_amid_a_step_is_left_to_them_and_told_at_the_end(tmp_path: Path) -> None:
    """"stopped here: 0 W, STANDBY." was said of a site whose emergency stood."""
    port, hand = Accepts(), NoHand()

    async def stopped_by_somebody(bench: Bench) -> None:
        port.mode = "EMERGENCY"
        await bench.check_running(await bench.state())

    async def session() -> None:
        step = Step("stopped", "Somebody presses the button on the page", stopped_by_somebody)
        console = Console(port)
        console.next_sample = lambda *_: sample(port)  # type: ignore[method-assign]
        bench = Bench(console, {}, Agreed({}), hand)
        assert await Walk(bench, State(tmp_path / "state.json", {}), steps=(step,)).run() is False

    asyncio.run(asyncio.wait_for(session(), 20))
    assert any("the site has stopped by itself" in text for text in hand.told), hand.told
    assert "stopped here: 0 W, an EMERGENCY stands: find its cause, then pm.reset_emergency()." in hand.told
    assert not any("reset_emergency" in line or "pm.stop" in line for line in port.sent), port.sent


@pytest.mark.parametrize("ends", ["an emergency", "Ctrl-C"])
def test_an_inverter_that_is_told_nothing_is_told_0_w_at_once_when_somebody_stops_the_step(
    ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the rest of a minute it went on with its power, and the contactors opened under it."""
    port = Accepts()

    async def session() -> None:
        console = Console(port)
        bench = Bench(console, {"devices": {"pcs": {"type": "pcs_sunspec"}}}, Agreed({}), NoHand())
        console.next_sample = lambda *_: running_sample(port)  # type: ignore[method-assign]
        monkeypatch.setattr(bench, "start", nothing)
        monkeypatch.setattr(bench, "hold", nothing)
        step = asyncio.create_task(losses.watchdog(bench))
        while not any("keep_silent" in line for line in port.sent):
            await asyncio.sleep(0.01)
        if ends == "Ctrl-C":
            step.cancel()
        else:
            port.mode = "EMERGENCY"
        with pytest.raises(asyncio.CancelledError if ends == "Ctrl-C" else Failed):
            await step

    asyncio.run(asyncio.wait_for(session(), 10))
    assert "app.site.devices['pcs'].keep_silent(0)" in [line for line in port.sent if "keep_silent" in line][-1]


def test_an_inverter_is_told_nothing_for_seconds_at_a_time_so_that_a_computer_that_is_gone_leaves_it_so_no_longer() -> None:
    """It was told nothing for all of the step, up to a minute, whatever became of the computer."""
    port = Accepts()
    port.mode = "DISCHARGE"

    async def session() -> None:
        console = Console(port)
        bench = Bench(console, {"devices": {"pcs": {"type": "pcs_sunspec"}}}, Agreed({}), NoHand())
        console.next_sample = lambda *_: running_sample(port)  # type: ignore[method-assign]
        bench.start = bench.hold = nothing  # type: ignore[method-assign, assignment]
        step = asyncio.create_task(losses.watchdog(bench))
        while sum("keep_silent" in line for line in port.sent) < 3:
            await asyncio.sleep(0.01)
        step.cancel()
        await asyncio.wait([step])

    asyncio.run(asyncio.wait_for(session(), 10))
    asked_ms = [int(found) for line in port.sent for found in re.findall(r"keep_silent\((\d+)\)", line)]
    assert max(asked_ms) == 1000 * losses.SILENCE_S and losses.SILENCE_S <= 5, asked_ms


def test_a_stop_that_somebody_gives_while_an_inverter_is_told_nothing_ends_that_at_once() -> None:
    """The contactors opened under the power that it went on with."""
    port = Accepts()
    port.mode = "DISCHARGE"
    port.value_of = {"im.ORDER_START": "False"}

    async def session() -> None:
        console = Console(port)
        bench = Bench(console, {"devices": {"pcs": {"type": "pcs_sunspec"}}}, Agreed({}), NoHand())
        console.next_sample = lambda *_: running_sample(port)  # type: ignore[method-assign]
        bench.start = bench.hold = nothing  # type: ignore[method-assign, assignment]
        with pytest.raises(Failed, match="somebody has stopped the site"):
            await losses.watchdog(bench)

    asyncio.run(asyncio.wait_for(session(), 10))
    assert "keep_silent(0)" in [line for line in port.sent if "keep_silent" in line][-1]


def test_an_emergency_that_somebody_gives_on_top_of_that_of_a_step_is_not_reset_with_it() -> None:
    """Two had been given when the step came to reset its own."""
    port = Accepts()
    port.value_of = {"pm.reset_emergency() if": "2"}

    async def session() -> None:
        bench = Bench(Console(port), {}, Agreed({}), NoHand())
        with pytest.raises(Failed, match="somebody has given an emergency meanwhile"):
            await bench.reset_emergency(1)

    asyncio.run(asyncio.wait_for(session(), 10))
    assert port.sent == ["pm.reset_emergency() if pm.emergencies<=1 else pm.emergencies"]


def test_a_power_that_an_ems_commands_amid_a_step_is_said_to_be_somebody_elses() -> None:
    """A meter was said to be turned that showed what an EMS had commanded meanwhile."""
    port = Accepts()

    async def session() -> None:
        bench = Bench(Console(port), {}, Agreed({}), NoHand())
        await bench.set_power(4)
        await bench.check_running({"mode": "DISCHARGE", "by": "manual"})
        with pytest.raises(Failed, match="somebody else commands meanwhile"):
            await bench.check_running({"mode": "DISCHARGE", "by": "remote"})
        await bench.free()
        await bench.check_running({"mode": "DISCHARGE", "by": "remote"})  # the step asks it to

    asyncio.run(asyncio.wait_for(session(), 10))


async def nothing(*_: Any) -> None:
    """A step's beginning, for which no board is there."""


async def running_sample(port: Accepts) -> Sample:
    await asyncio.sleep(0.01)
    return Sample(0.0, {"mode": "DISCHARGE" if port.mode == "STANDBY" else port.mode, "cmd": 5, "p": 5.0})


async def sample(port: Accepts) -> Sample:
    await asyncio.sleep(0)
    return Sample(0.0, {"mode": port.mode, "cmd": 0})


def test_a_step_that_meets_what_nobody_reports_has_failed_and_the_walk_goes_on(tmp_path: Path) -> None:
    """A meter that fell silent amid the export's step ended all of it with a traceback, and no result was kept."""
    port, hand = Accepts(), NoHand()
    done: list[str] = []

    async def without_meter(bench: Bench) -> None:
        bench_module.mean([{"p": 1.0, "grid_p": None}])["grid_p"]

    async def next_one(bench: Bench) -> None:
        done.append("next")

    async def session() -> State:
        console = Console(port)
        console.next_sample = lambda *_: sample(port)  # type: ignore[method-assign]
        steps = (Step("export", "Export", without_meter), Step("next", "The next", next_one))
        state = State(tmp_path / "state.json", {})
        assert await Walk(Bench(console, {}, Agreed({}), hand), state, go_on=True, steps=steps).run() is False
        return state

    state = asyncio.run(asyncio.wait_for(session(), 20))
    assert done == ["next"]
    assert state.outcomes["export"].verdict == FAIL
    assert state.outcomes["export"].text == "the step could not be ended: the board's monitor has no value of 'grid_p'"


def _hasty(lines: Callable[..., Any]) -> Callable[..., Any]:
    return lambda line, timeout=0.0, **more: lines(line, 0.05, **more)


def test_a_scale_of_ten_is_not_unsure_because_its_noise_is_ten_times_as_large() -> None:
    assert not flows.is_unsure([9.95, 10.31]) and not flows.is_unsure([-1.0, -0.9])
    assert flows.is_unsure([0.6, 1.0, 0.7]) and flows.is_unsure([7.0, 10.0, 11.0])
