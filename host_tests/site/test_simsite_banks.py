"""A site file with two banks, with the simulator at its other ends: each BMS on its own bus, each inverter at its own port."""

import io
import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from host_tests.site.live_site import Running, running
from host_tests.site.test_simsite_wire import ask, join, scan, set_power
from tools.interpreters import ROOT
from tools.sim import layout, scenario
from tools.sim.banks_site import BanksSite
from tools.sim.practice import Practice, Refused
from tools.sim.session import Session
from tools.sim.view import View

FILE = ROOT / "docs" / "site.two.json"


@pytest.fixture
def live() -> Iterator[Running[BanksSite]]:
    with running(BanksSite(FILE, load_kw=20.0, soc=60.0, pcs_start_s=0.1, measurement_noise=0.0)) as one:
        one.call(one.site.set_contactor, True)
        one.until(lambda truth: all(truth["of"][name]["pcs_state"] == "RUNNING" for name in ("pcs_a", "pcs_b")))
        yield one


def percent(live: Running[BanksSite], bus: str) -> int | None:
    """The SoC that the battery on that bus answers with."""
    node = join(live, bus=bus)
    try:
        answer = ask(node, 0).get(0x4210)
        return answer[6] if answer else None
    finally:
        node.shutdown()


def test_the_file_gets_the_simulators_addresses_and_stays_what_it_is(live: Running[BanksSite]) -> None:
    content, before = live.call(live.site.site_json), json.loads(FILE.read_text())
    assert content["banks"] == before["banks"] and content["power"] == before["power"]
    buses = content["buses"]
    assert [(buses[name]["backend"], buses[name]["id"]) for name in ("can0", "can1")] == [("machine", 0), ("machine", 1)]
    ports = [content["devices"][name]["port"] for name in ("pcs_a", "pcs_b", "meter")]
    assert len(set(ports)) == 3 and all(content["devices"][name]["host"] == "127.0.0.1" for name in ("pcs_a", "pcs_b", "meter"))
    env = live.call(live.site.env)
    assert sorted(env) == ["SIM_CAN0", "SIM_CAN1"] and len(set(env.values())) == 2


def test_each_battery_answers_on_its_own_bus(live: Running[BanksSite]) -> None:
    live.call(live.site.set, "soc", 77.0, "b")
    assert (percent(live, "can0"), percent(live, "can1")) == (60, 77)
    live.call(live.site.inject, "bms_silent", "bms_a")
    assert (percent(live, "can0"), percent(live, "can1")) == (None, 77)
    live.call(live.site.clear, "bms_silent", "bms_a")
    live.call(live.site.inject, "bms_silent", "b")
    assert (percent(live, "can0"), percent(live, "can1")) == (60, None)
    assert live.truth()["faults"] == ["bms_silent of b"]


def test_each_inverter_obeys_at_its_own_port_and_the_meter_sees_the_sum(live: Running[BanksSite]) -> None:
    first, second = scan(live.ports["pcs_a"]), scan(live.ports["pcs_b"])
    set_power(first, 60_000)
    set_power(second, -15_000)
    truth = live.until(lambda t: abs(t["of"]["pcs_a"]["pcs_kw"] - 60) < 0.1 and abs(t["of"]["pcs_b"]["pcs_kw"] + 15) < 0.1)
    assert truth["pcs_kw"] == pytest.approx(45, abs=0.3) and truth["grid_kw"] == pytest.approx(-25, abs=0.3)
    assert truth["of"]["bms_a"]["current"] > 90 and truth["of"]["bms_b"]["current"] < -20
    assert truth["of"]["a"]["pcs_kw"] == truth["of"]["pcs_a"]["pcs_kw"]
    live.call(live.site.inject, "pcs_fault", "pcs_a")
    live.until(lambda t: t["of"]["pcs_a"]["pcs_state"] == "FAULT" and t["of"]["pcs_a"]["pcs_kw"] == 0)
    assert live.truth()["of"]["pcs_b"]["pcs_kw"] == pytest.approx(-15, abs=0.1)
    first.close()
    second.close()


def test_what_is_no_bank_or_device_is_refused_by_name(live: Running[BanksSite]) -> None:
    for call, arguments, complaint in (
        (live.site.inject, ("bms_silent", "bms_c"), "'bms_c' is no bank or device of this site; there are a, b, bms_a"),
        (live.site.inject, ("bms_silent", "pcs_a"), "pcs_a has nothing that bms_silent could befall"),
        (live.site.set, ("soc", 50.0, "x"), "'x' is no bank or device"),
    ):
        with pytest.raises(ValueError, match=complaint):
            live.call(call, *arguments)
    assert live.truth()["faults"] == []


def test_pins_and_faults_of_the_site_are_one_for_all(live: Running[BanksSite]) -> None:
    seen: list[tuple[int, int]] = []
    live.site.on_output = lambda pin, level: seen.append((pin, level))
    live.call(live.site.inject, "estop")
    assert seen == [(1, 1)]
    live.call(live.site.board_pin, 48, 0)
    live.until(lambda truth: not truth["contactor"])
    assert not any(live.truth()["of"][name]["contactor"] for name in ("bms_a", "bms_b"))
    live.call(live.site.inject, "meter_silent", "meter")
    assert live.site.servers["meter"].faults.silent and not live.site.servers["pcs_a"].faults.silent


@pytest.mark.parametrize(("words", "of"), [("inject bms_silent bms_a", "bms_silent of bms_a"), ("inject grid_lost", "grid_lost")])
def test_a_person_at_the_console_may_name_a_device(words: str, of: str) -> None:
    site = BanksSite(FILE)
    desk = Practice(site, cast(Any, None), lambda line: None)
    site_line = desk.to_site(words.split())
    with pytest.raises(StopIteration):
        site_line.send(None)
    assert site.active == [of]
    with pytest.raises(Refused, match="'bms_z' is no bank or device"):
        desk.to_site(["inject", "bms_silent", "bms_z"]).send(None)


def test_a_layout_is_read_from_the_banks_and_without_them_everything_is_one() -> None:
    content = json.loads(FILE.read_text())
    assert [(each.name, each.batteries, each.inverters) for each in layout.banks(content)] == [
        ("a", ("bms_a",), ("pcs_a",)), ("b", ("bms_b",), ("pcs_b",)),
    ]
    assert layout.several(content) and not layout.several(json.loads((ROOT / "docs/site.example.json").read_text()))
    del content["banks"]
    (one,) = layout.banks(content)
    assert one.batteries == ("bms_a", "bms_b") and one.inverters == ("pcs_a", "pcs_b")
    with pytest.raises(ValueError, match=r"banks\.a\.batteries: 'bms_x' is none of bms_a, bms_b"):
        layout.banks({**content, "banks": {"a": {"batteries": ["bms_x"], "inverters": ["pcs_a"]}}})


def test_two_batteries_may_be_on_one_bus_under_two_addresses_and_one_dc_bus(tmp_path: Path) -> None:
    content = json.loads(FILE.read_text())
    del content["banks"]
    content["devices"]["bms_b"].update(bus="can0", address=1)
    file = tmp_path / "site.json"
    file.write_text(json.dumps(content))
    with running(BanksSite(file, soc=60.0)) as live:
        live.call(live.site.set, "soc", 40.0, "bms_b")
        node = join(live, bus="can0")
        answers = ask(node, 0)
        node.shutdown()
        assert (answers[0x4210][6], answers[0x4211][6]) == (60, 40)
        assert list(live.site.hubs) == ["can0"]


@pytest.mark.parametrize(
    ("device", "complaint"),
    [
        ({"type": "bms_pylontech", "bus": "can0", "variant": "lv"}, "bms_a: only a bms_pylontech of the variant hv"),
        ({"type": "generic_modbus", "bus": "can0"}, "device bms_a: generic_modbus cannot be simulated"),
    ],
)
def test_what_cannot_be_simulated_is_named(tmp_path: Path, device: dict[str, Any], complaint: str) -> None:
    content = json.loads(FILE.read_text())
    content["devices"]["bms_a"] = device
    if device["type"] == "generic_modbus":
        content["banks"] = {"b": content["banks"]["b"]}
        del content["devices"]["pcs_a"]
    file = tmp_path / "site.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=complaint):
        BanksSite(file)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_the_live_view_shows_every_battery_and_inverter(width: int, height: int) -> None:
    site = BanksSite(FILE, soc=61.0)
    site.plant.set("soc", 33.0, "bms_b")
    state = {"mode": "DISCHARGE", "soc": 47.0, "req": 150.0, "by": "manual"}
    session = SimpleNamespace(
        site=site, state=state, log=deque([(1.0, "event", "MODE_CHANGE IDLE")]),
        board=SimpleNamespace(resets=[], interpreter="micropython64", heap=""), scenario=scenario.Scenario("two", 30.0),
        repeat=False, elapsed=lambda: 12.0,
    )  # fmt: skip
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(View(cast(Session, session), "two").frame(width, height))
    text = cast(io.StringIO, console.file).getvalue()
    assert len(text.rstrip("\n").split("\n")) == height
    for wanted in ("bms_a", "61.0 %", "bms_b", "33.0 %", "pcs_a", "pcs_b", "OFF", "47.00 %"):
        assert wanted in text, wanted
