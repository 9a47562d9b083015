"""A scenario file is checked as a whole, and says everything that is wrong with it."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from firmware.services import monitor
from host_tests import shims
from tools.run import SCENARIOS, arguments, find_scenario, plan, site_of
from tools.sim import scenario as scenarios
from tools.sim.physics.plant import Plant, PlantOptions
from tools.sim.scenario import ScenarioError
from tools.sim.site import OWN_OPTIONS, Site

GOOD: dict[str, Any] = {
    "name": "a bit of everything",
    "seconds": 20,
    "seed": 4,
    "site": {"soc": 60.0, "load_kw": 10},
    "profiles": {"pv_kw": [[0, 0], [10, 30]]},
    "steps": [
        {"at": 5, "inject": "bms_silent", "for": 6},
        {"at": 2, "do": "pm.start()"},
        {"at": 3, "set": {"grid_hz": 50.2}},
        {"at": 4, "follow": {"load_kw": [[0, 10], [5, 20]]}},
        {"at": 9, "expect": {"mode": "IDLE", "pcs_kw": [-1, 1], "grid": True}},
        {"at": 10, "do": "pm.set_constant_power(900, 0)", "refused": True},
        {"at": 12, "board": "kill"},
    ],
}


def test_good_scenario_is_read_in_the_order_of_time() -> None:
    read = scenarios.parse(GOOD)
    assert [s.at for s in read.steps] == [2, 3, 4, 5, 9, 10, 12]
    assert read.steps[3].action == "inject" and read.steps[3].seconds == 6
    assert read.steps[5].refused
    assert read.profiles["pv_kw"] == [(0, 0), (10, 30)]
    Site(read.seed, **read.site)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"secs": 3}, "'secs' is unknown; known: name, seconds, seed, site_file, site, profiles, steps"),
        ({"seconds": 0}, "seconds: 0 is not a number from 1 to 86400"),
        ({"seed": "x"}, "seed: 'x' is not a whole number"),
        ({"site": []}, "site: [] is not an object of options"),
        ({"steps": {}}, "steps: is not a list"),
        ({"profiles": {"wind": [[0, 1]]}}, "profiles: 'wind' is unknown; known: load_kw, pv_kw, grid_hz, grid_v"),
        ({"profiles": {"pv_kw": [[0, 1], [0, 2]]}}, "profiles.pv_kw: seconds must rise from point to point"),
        ({"profiles": {"pv_kw": [[0]]}}, "profiles.pv_kw: every point is [second, value]"),
        ({"steps": [{"at": -1, "do": "x"}]}, "steps[0].at: -1 is not a number from 0 to 86400"),
        ({"steps": [{"do": "x"}]}, "steps[0].at: None is not a number"),
        ({"steps": [{"at": 1}]}, "steps[0]: has 0 actions, exactly one of"),
        ({"steps": [{"at": 1, "do": "x", "clear": "estop"}]}, "steps[0]: has 2 actions"),
        ({"steps": [{"at": 1, "do": "a\nb"}]}, "is not one line of text"),
        ({"steps": [{"at": 1, "inject": "gremlins"}]}, "steps[0].inject: 'gremlins' is unknown; known: bms_silent"),
        ({"steps": [{"at": 1, "do": "x", "for": 3}]}, "steps[0].for: only goes with 'inject'"),
        ({"steps": [{"at": 1, "set": {"moon": 1}}]}, "steps[0].set: 'moon' is unknown; known: load_kw"),
        ({"steps": [{"at": 1, "set": {"load_kw": "much"}}]}, "steps[0].set.load_kw: 'much' is not a number"),
        ({"steps": [{"at": 1, "board": "explode"}]}, "'explode' is not one of kill, restart"),
        ({"steps": [{"at": 1, "expect": {"pcs_kw": [1]}}]}, "steps[0].expect.pcs_kw: [1] is not a [low, high] range"),
        ({"site": {"soc": 500}}, "site.soc: 500 is not a number from 0 to 100"),
        ({"site": {"load_kw": "a"}}, "site.load_kw: 'a' is not a number from 0 to 10000"),
        ({"site": {"lod_kw": 3}}, "site.lod_kw: is unknown; known: soc,"),
        ({"site": {"modules": 2.5}}, "site.modules: 2.5 is not a whole number"),
        ({"site": {"pcs_autostart": 1}}, "site.pcs_autostart: 1 is not true or false"),
        ({"site": {"soc_rounding": []}}, "site.soc_rounding: [] is not one of nearest, down"),
        ({"site": {"meter_model": 204}}, "site.meter_model: 204 is not one of 203, 213"),
        ({"site": {"cycle_ms": 55}}, "site.cycle_ms: 55 is not one of 20, 30 ... 1000"),
        ({"site": {"power": {"min_soc": 120}}}, "site.power.min_soc = 120: allowed are 0 to 100"),
        ({"site": {"power": {"mim_soc": 12}}}, "did you mean min_soc"),
        ({"site": {"power": 5}}, "site.power: 5 is not an object"),
        ({"seed": True}, "seed: True is not a whole number"),
        ({"name": 5}, "name: 5 is not a text"),
        ({"profiles": {"grid_hz": [[0, -5]]}}, "profiles.grid_hz: -5 is not a number from 0 to 100"),
        ({"steps": [{"at": 1, "set": {"soc": 101}}]}, "steps[0].set.soc: 101 is not a number from 0 to 100"),
        ({"steps": [{"at": 1, "set": {"load_kw": float("nan")}}]}, "steps[0].set.load_kw: nan is not a number"),
        ({"steps": [{"at": 1, "inject": ["estop"]}]}, "steps[0].inject: ['estop'] is unknown"),
        ({"steps": [{"at": 1, "do": "x", "refused": "yes"}]}, "steps[0].refused: 'yes'"),
        ({"steps": [{"at": 1, "inject": "estop", "refused": True}]}, "steps[0].refused: True"),
        ({"steps": [{"at": 1, "expect": {"pcs_kw": [2, 1]}}]}, "steps[0].expect.pcs_kw: [2, 1] is not a [low, high] range"),
        ({"steps": [{"at": 1, "expect": {"mod": "IDLE"}}]}, "steps[0].expect: 'mod' is unknown; known: by, cmd"),
        ({"steps": [{"at": 1, "when": 2, "do": "x"}]}, "steps[0]: 'when' is unknown; known: at, board, clear"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ScenarioError) as error:
        scenarios.parse({**GOOD, **change})
    assert complaint in str(error.value)


def test_every_option_of_a_site_has_a_row_that_its_default_fits() -> None:
    defaults = {f.name: f.default for f in fields(PlantOptions)}
    assert set(scenarios.OPTIONS) | {"power"} == set(defaults) | set(OWN_OPTIONS)
    assert scenarios.parse({"site": defaults}).site == defaults
    plant = Plant()
    for name, (low, high) in scenarios.RANGES.items():
        for value in (low, high):
            plant.set(name, value)


def test_everything_that_an_expectation_may_be_about_is_there() -> None:
    shims.install()
    from host_tests.both.desk import Desk

    desk = Desk()
    reported = dict(monitor.state(desk.app))
    there = {**reported, "waiting": 0, **Site().truth()}
    assert set(scenarios.EXPECTED) <= set(there)
    scalars = {name for name, value in there.items() if not isinstance(value, list | dict)}
    missing = {"t", "heap_used", "heap_free", "lock_wait_us"}
    assert {name for name in Site().truth() if name in scalars} - missing <= set(scenarios.EXPECTED)


def test_all_faults_of_a_file_are_listed_at_once(tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text(json.dumps({
        "seconds": -1, "seed": "x", "site": {"soc": 500, "load_kw": "a"},
        "steps": [{"at": 1, "inject": "gremlins"}, {"at": 2, "set": {"soc": -1}}],
    }))
    with pytest.raises(ScenarioError) as error:
        scenarios.load(file)
    text = str(error.value)
    assert str(file) in text and len(text.splitlines()) == 1 + 6
    for word in ("seconds: -1", "seed: 'x'", "site.soc: 500", "site.load_kw: 'a'", "gremlins", "set.soc: -1"):
        assert word in text


def test_file_that_is_not_json_or_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text('{\n"a": 1,\n}')
    with pytest.raises(ScenarioError, match=r"bad\.json, line 3: not JSON"):
        scenarios.load(file)
    file.write_bytes(b'{"name": "S\xfcd"}')
    with pytest.raises(ScenarioError, match="is not UTF-8 text"):
        scenarios.load(file)
    with pytest.raises(ScenarioError, match="No such file"):
        scenarios.load(tmp_path / "none.json")


@pytest.mark.parametrize("file", sorted(SCENARIOS.glob("*.json")), ids=lambda f: f.stem)
def test_shipped_scenario_can_be_played(file: Path) -> None:
    read = scenarios.load(file)
    assert read.steps and read.name != "unnamed"
    assert read.steps[-1].at < read.seconds
    site = site_of(None, read)
    for step in read.steps:
        if step.action in ("inject", "clear"):
            site.inject(step.value, step.of)
        elif step.action == "expect" and step.of:
            assert set(step.value) <= set(site.truth()["of"][step.of])


TWO = {"site_file": "docs/site.two.json", "steps": [{"at": 1, "inject": "bms_silent", "of": "bms_a", "for": 3}]}


def test_a_step_may_be_about_one_bank_or_device_of_the_site_file() -> None:
    read = scenarios.parse(TWO)
    assert [step.of for step in read.steps] == ["bms_a"] and str(read.steps[0]) == "inject bms_silent of bms_a"
    steps = [{"at": 1, "set": {"soc": 90}, "of": "b"}, {"at": 2, "expect": {"soc": [1, 2]}, "of": "b"}]
    read = scenarios.parse({**TWO, "steps": steps})
    assert [step.of for step in read.steps] == ["b", "b"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"site_file": "docs/none.json"}, "site_file: 'docs/none.json': [Errno 2]"),
        ({"site_file": 5}, "site_file: 5"),
        ({"steps": [{"at": 1, "inject": "bms_silent", "of": "c"}]}, "steps[0].of: 'c': goes with set, inject, clear, expect"),
        ({"steps": [{"at": 1, "inject": "bms_silent", "of": "bms_c"}]}, "is one of a, b, bms_a, bms_b, pcs_a"),
        ({"steps": [{"at": 1, "do": "pm.start()", "of": "a"}]}, "steps[0].of: 'a': goes with"),
        ({"site_file": None}, "and is one of a site_file"),
    ],
)
def test_what_is_no_bank_or_device_is_named_with_those_that_are(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ScenarioError) as error:
        scenarios.parse({**TWO, **change})
    assert complaint in str(error.value)


def test_default_scenario_fits_into_any_length() -> None:
    for seconds in (10, 30, 600):
        read = scenarios.default(seconds)
        assert [s.value.split("(")[0] for s in read.steps] == [
            "pm.start", "pm.set_constant_power", "pm.set_constant_power", "pm.stop_operation", "pm.stop",
        ]
        assert all(0 < s.at < seconds for s in read.steps)


def test_command_line_overrides_length_and_seed() -> None:
    args = arguments().parse_args(["--seconds", "12", "--seed", "9"])
    script, repeat = plan(args, live=True)
    assert (script.seconds, script.seed, repeat) == (12, 9, False)
    script, repeat = plan(arguments().parse_args([]), live=True)
    assert repeat
    script, repeat = plan(arguments().parse_args([]), live=False)
    assert script.seconds == 30 and not repeat


def test_scenario_is_found_by_name_or_path(tmp_path: Path) -> None:
    assert find_scenario("bms_silent") == SCENARIOS / "bms_silent.json"
    (tmp_path / "mine.json").write_text("{}")
    assert find_scenario(str(tmp_path / "mine.json")) == tmp_path / "mine.json"
    with pytest.raises(ScenarioError, match=r"--scenario nosuch: no such file, and none of the project's own: .*bms_silent"):
        find_scenario("nosuch")
