"""The live view fits its terminal and shows what people look for; event numbers become words."""

import io
from collections import deque
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from tools.sim.names import event_text
from tools.sim.session import Session
from tools.sim.site import Site
from tools.sim.view import Chart, View

STATE: dict[str, Any] = {
    "t": 4000.0, "mode": "DISCHARGE", "p": 59.9, "cmd": 60.0, "req": 80.0, "soc": 51.23, "lim_dis": 60.0,
    "lim_chg": 95.0, "why_dis": "bms_current", "why_chg": "configuration", "by": "manual", "grid_p": -40.0,
    "load_p": 20.0, "pv_p": None, "cycles": 80000, "period_p50": 50.0, "period_p99": 51.2, "compute_p50": 59,
    "compute_p99": 160, "commands": 12, "violation_w": 0, "e_in": 1000.0, "e_out": 2500.0,
    "faults": ["meter_lost"], "events": {}, "heap_used": 50000, "heap_free": 40000,
    "reason": "60 kW of 80 kW asked by manual: discharging is limited to 60.0 kW by bms_current for 3 min",
}


def view_of(state: dict[str, Any]) -> View:
    site = Site(load_kw=20.0, soc=51.2)
    session = SimpleNamespace(
        site=site, state=state, log=deque([(1.0, "event", "MODE_CHANGE IDLE"), (2.0, "error", "! PowerError: no")]),
        board=SimpleNamespace(resets=[], interpreter="micropython64", heap="96K"),
        scenario=SimpleNamespace(name="test", seconds=30.0), repeat=False, elapsed=lambda: 12.0,
    )
    return View(cast(Session, session), "battery power manager")


def drawn(view: View, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(view.frame(width, height))
    return cast(io.StringIO, console.file).getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (200, 60)])
@pytest.mark.parametrize("state", [STATE, {}], ids=["running", "not yet heard"])
def test_view_fills_the_terminal_exactly(width: int, height: int, state: dict[str, Any]) -> None:
    lines = drawn(view_of(state), width, height)
    assert len(lines) == height
    assert all(len(line) <= width for line in lines)


def test_view_shows_power_charge_mode_limits_and_events_in_80_by_24() -> None:
    text = "\n".join(drawn(view_of(STATE), 80, 24))
    for wanted in (
        "DISCHARGE", "51.23 %", "asked +80.0 kW", "by manual", "+60.0 kW", "bms current", "-95.0 kW", "configuration",
        "MODE_CHANGE IDLE", "! PowerError: no", "meter_lost", "-40.0 kW", "export", "1:06:40", "0 W over a limit",
        "Ctrl-C ends", "faults: meter_lost",
    ):
        assert wanted in text, wanted


@pytest.mark.parametrize(("size", "shown"), [((80, 24), "60 kW of 80 kW asked by"), ((120, 30), str(STATE["reason"]))])
def test_the_reason_is_shown_in_words(size: tuple[int, int], shown: str) -> None:
    assert shown in "\n".join(drawn(view_of(STATE), *size))


def test_foot_of_the_view_names_the_scenario_while_nothing_is_wrong() -> None:
    text = "\n".join(drawn(view_of({**STATE, "faults": []}), 80, 24))
    assert "test  12 of 30 s  micropython64, heap 96K" in text


def test_chart_grows_up_for_discharge_and_down_for_charge() -> None:
    console = Console(width=40, height=8, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(Chart(deque([-100.0, 0.0, 50.0, 100.0]), 100.0), height=4)
    rows = cast(io.StringIO, console.file).getvalue().rstrip("\n").split("\n")
    newest = [row[-4:] for row in rows[-4:]]
    assert newest[0][3] == "█" and newest[0][0] == " "
    assert newest[1][2] == "█"
    assert newest[2][0] == "█" and newest[3][0] == "█" and newest[3][3] == " "


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("MODE_CHANGE", 2, "MODE_CHANGE CHARGE"),
        ("FLOW_CHANGE", 0, "FLOW_CHANGE NONE"),
        ("FAULT_RAISED", 0, "FAULT_RAISED bms_lost"),
        ("COMMS_LOST", 1, "COMMS_LOST pcs_lost"),
        ("EMERGENCY", -1, "EMERGENCY commanded"),
        ("OVERPOWER", 1200, "OVERPOWER 1200 W"),
        ("GRID_CONNECTED", 0, "GRID_CONNECTED"),
        ("MODE_CHANGE", 99, "MODE_CHANGE 99"),
        ("MODE_CHANGE", "IDLE", "MODE_CHANGE IDLE"),
    ],
)
def test_event_numbers_become_words(name: str, data: int | str, words: str) -> None:
    assert event_text(name, data) == words


def test_limit_event_names_direction_and_reason() -> None:
    assert event_text("LIMIT_CHANGE", 9) == "LIMIT_CHANGE discharge by bms_current"
    assert event_text("LIMIT_CHANGE", 32 + 9) == "LIMIT_CHANGE charge by bms_current"
