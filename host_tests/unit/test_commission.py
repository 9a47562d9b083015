"""Commissioning's steps: what each needs, what goes on after an interruption, each bank by itself."""

import asyncio
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from host_tests.unit.commission_ports import SUBJECT, Accepts, NoHand, sample
from tools.commission import inputs, mend
from tools.commission.bench import NO_VALUE, Agreed, Bench
from tools.commission.outcome import FAIL, PASS, Failed, Figure, NotTested, Outcome, Plot, Series
from tools.commission.steps import BY_ID, STEPS, Step
from tools.commission.walk import State, Walk, outcome
from tools.commission.wire import Console
from tools.run import ROOT
from tools.sim.mistakes import MISTAKES


# ---- the table of steps, and the mistakes -----------------------------------------------------------------
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


# ---- going on ---------------------------------------------------------------------------------------------
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


# ---- several banks ----------------------------------------------------------------------------------------
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
