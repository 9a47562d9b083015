"""The mistakes that people make when they build a site, a row each: what commissioning is to find, and what it says then.

A fault (faults.py) befalls a site that was right; a mistake was there from the first day: in the wiring, in a device's own
settings, in site.json, or left behind by whoever worked on it last.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tools.sim.devices.bms_can import BmsOnCan
from tools.sim.measure import ONE_TURNED, SWAPPED, TURNED
from tools.sim.physics.plant import Plant, PlantOptions
from tools.sim.site import Site

SiteFile = dict[str, Any]


class Mistake(NamedTuple):
    """A row: what is wrong, and how a simulated site is given it."""

    meaning: str
    step: str  # of tools/commission/steps.py, that must find it
    named: tuple[str, ...]  # words that its text must have
    build: Callable[[Site], None] | None = None  # in the site, before it starts
    file: Callable[[SiteFile, Site], None] | None = None  # in its site.json
    typed: Callable[[], str] | None = None  # at the console, before commissioning begins
    two: bool = False  # in a site of two banks (docs/site.two.json), in the second of them


def _wiring(wiring: Any) -> Callable[[Site], None]:
    def build(site: Site) -> None:
        site.meter.sensors.wiring = wiring

    return build


def _set(part: str, field: str, value: Any) -> Callable[[Site], None]:
    def build(site: Site) -> None:
        setattr(site.plant.pcs if part == "pcs" else site, field, value)

    return build


def _set_second(field: str, value: Any) -> Callable[[Any], None]:
    """Of the second inverter."""

    def build(site: Any) -> None:
        setattr(site.inverters["pcs_b"].plant.pcs, field, value)

    return build


def _exchanged(role: str) -> Callable[[SiteFile, Any], None]:
    """site.json takes what hangs on one bank for the other's."""

    def file(content: SiteFile, _site: Any) -> None:
        first, second = content["banks"]["a"], content["banks"]["b"]
        first[role], second[role] = second[role], first[role]

    return file


def _option(path: str, value: Any) -> Callable[[SiteFile, Site], None]:
    """An entry of site.json: None takes it away."""
    *folders, key = path.split(".")

    def file(content: SiteFile, _site: Site) -> None:
        at = content
        for folder in folders:
            at = at[folder]
        at.pop(key, None) if value is None else at.__setitem__(key, value)

    return file


def _meter_by_table(content: SiteFile, site: Site) -> None:
    """The meter is read by a table whose factor for the power is ten times too large."""
    places = site.meter.chain.places
    wrong = 10 * 10  # W a count is 10
    reads = [("METER_P", "203.W", "int16", wrong), ("METER_V", "203.PPV", "uint16", 1), ("METER_HZ", "203.Hz", "uint16", 10)]
    table = {
        "name": "meter of the grid",
        "reads": [{"slot": slot, "address": places[at].address, "type": kind, "scale": scale} for slot, at, kind, scale in reads],
    }
    old = content["devices"]["meter"]
    content["devices"]["meter"] = {"type": "generic_modbus", "host": old["host"], "port": old["port"], "unit": 1, "table": table}


def _inverter_by_table(scale: float, name: str = "pcs", shows: float = 10) -> Callable[[SiteFile, Any], None]:
    """The inverter has a table with these scales: a count of its setpoint is 1 W, one of its power 10 W."""

    def file(content: SiteFile, site: Any) -> None:
        device = site.pcs if isinstance(site, Site) else site.inverters[name]
        at = {point: place.address for point, place in device.chain.places.items()}
        states = {"0": 0, "2": 1, "3": 3, "4": 3, "6": 4, "7": 2}
        table = {
            "name": "inverter",
            "reads": [
                {"slot": "PCS_P", "address": at["701.W"], "type": "int16", "scale": shows},
                {"slot": "PCS_V", "address": at["701.LLV"], "type": "uint16"},
                {"slot": "PCS_HZ", "address": at["701.Hz"], "type": "uint32"},
                {"slot": "PCS_STATE", "address": at["701.InvSt"], "type": "uint16", "map": states},
                {"slot": "PCS_GRID", "address": at["701.ConnSt"], "type": "uint16"},
                {"slot": "PCS_P_CHG", "address": at["702.WChaRteMax"], "type": "uint16", "scale": 10, "period_ms": 1000},
                {"slot": "PCS_P_DIS", "address": at["702.WDisChaRteMax"], "type": "uint16", "scale": 10, "period_ms": 1000},
            ],
            "writes": [
                {"value": 1, "address": at["704.WSetMod"], "type": "uint16"},
                {"value": 1, "address": at["704.WSetEna"], "type": "uint16"},
                {"from": "CMD_P", "address": at["704.WSet"], "type": "int32", "scale": scale},
                {"from": "CMD_RUN", "address": at["715.OpCtl"], "type": "uint16", "map": {"0": 0, "1": 1}},
                {"heartbeat": True, "address": at["715.ControllerHb"], "type": "uint32"},
            ],
        }
        old = content["devices"][name]
        content["devices"][name] = {"type": "generic_modbus", "host": old["host"], "port": old["port"], "unit": 1, "table": table}

    return file


def _second_battery(site: Site) -> None:
    """Another battery of the same address, fuller than the first, answers too."""
    other = Plant(PlantOptions(soc=72.0), site.seed + 50)
    site.guests.append(BmsOnCan(other, site.random(), site.bms.address))


def _an_hour_ahead() -> str:
    ahead = time.gmtime(time.time() + 3600)
    return f"clock.set_text('{time.strftime('%Y-%m-%d %H:%M:%S', ahead)}Z')"


MISTAKES: dict[str, Mistake] = {
    "meter_turned": Mistake(
        "the meter's current transformers face the other way", "direction", ("turned", "meter"), build=_wiring(TURNED)),
    "phase_swapped": Mistake(
        "the meter's transformers of L1 and L2 are swapped", "direction", ("swapped", "meter"), build=_wiring(SWAPPED)),
    "scale_off_by_10": Mistake(
        "the meter's table takes its power ten times too large", "direction", ("10 times", "meter"), file=_meter_by_table),
    "wrong_bms_option": Mistake(
        "site.json takes the BMS's current the wrong way round", "direction", ("bms", "current"),
        file=_option("devices.bms.current_positive", "discharge")),
    "estop_not_wired": Mistake(
        "the emergency stop's wires end before the board", "estop", ("emergency stop", "not wired"),
        build=_set("site", "estop_wired", False)),
    "feedback_inverted": Mistake(
        "the contactor's feedback is the contact that opens", "rest", ("feedback", "inverted"),
        build=_set("site", "feedback_inverted", True)),
    "clock_off": Mistake("the clock is an hour ahead", "clock", ("hour", "clock"), typed=_an_hour_ahead),
    "pcs_no_watchdog": Mistake(
        "the inverter goes on when nobody commands it any more", "watchdog", ("watchdog", "goes on"),
        build=_set("pcs", "guarded", False)),
    "two_bms": Mistake("two batteries of one address share the bus", "polls", ("two batteries",), build=_second_battery),
    "export_limit_missing": Mistake(
        "site.json does not bound the export that the grid operator allows", "export", ("export limit", "missing"),
        file=_option("power.max_grid_export_power", None)),
    "slow_inverter": Mistake(
        "the inverter takes seconds to follow", "response", ("inverter", "slow"), build=_set("pcs", "tau_s", 2.5)),
    "override_left": Mistake(
        "whoever worked on it last left a limit behind", "leftovers", ("left", "technician"),
        typed=lambda: "pm.limit('technician', 20, 20)"),
    # beside the twelve
    "one_phase_turned": Mistake(
        "one of the meter's transformers faces the other way", "direction", ("one phase", "meter"), build=_wiring(ONE_TURNED)),
    "inverter_turned": Mistake(
        "the inverter takes a positive setpoint for a charge", "direction", ("inverter", "wrong way"), file=_inverter_by_table(-1)),
    "inverter_scale": Mistake(
        "the inverter's table makes ten times the power of a setpoint", "direction", ("inverter", "10 times"),
        file=_inverter_by_table(0.1)),
    "wrong_bms_address": Mistake(
        "site.json asks the BMS at an address that it does not have", "polls", ("bms", "address"),
        file=_option("devices.bms.address", 5)),
    "relay_inverted": Mistake(
        "site.json takes the grid operator's contact that opens for one that closes", "relays", ("no export", "active", "operator"),
        file=_option("services.operator.inputs.no export.contact", "closes")),
    # in the second of two banks
    "b_inverter_turned": Mistake(
        "the second inverter takes a positive setpoint for a charge", "direction", ("bank b", "pcs_b", "wrong way"),
        file=_inverter_by_table(-1, "pcs_b"), two=True),
    "b_inverter_scale": Mistake(
        "the second inverter's table makes ten times the power of a setpoint", "direction", ("bank b", "pcs_b", "10 times"),
        file=_inverter_by_table(0.1, "pcs_b"), two=True),
    "b_inverter_shows": Mistake(
        "the second inverter's table takes its own power ten times too large", "direction", ("bank b", "pcs_b", "10 times"),
        file=_inverter_by_table(1, "pcs_b", shows=100), two=True),
    "b_bms_option": Mistake(
        "site.json takes the current of the second BMS the wrong way round", "direction", ("bank b", "bms_b", "current"),
        file=_option("devices.bms_b.current_positive", "discharge"), two=True),
    "b_no_watchdog": Mistake(
        "the second inverter goes on when nobody commands it any more", "watchdog", ("bank b", "pcs_b", "goes on"),
        build=_set_second("guarded", False), two=True),
    "b_slow_inverter": Mistake(
        "the second inverter takes seconds to follow", "response", ("bank b", "pcs_b", "slow"),
        build=_set_second("tau_s", 2.5), two=True),
    "batteries_exchanged": Mistake(
        "site.json has each battery in the other bank", "direction", ("bank a", "bms_b", "banks"),
        file=_exchanged("batteries"), two=True),
}  # fmt: skip


def plant(names: list[str], site: Any) -> list[str]:
    """Give a site these mistakes before it starts; the lines to type before commissioning.  ValueError for one there is not."""
    lines = []
    for name in names:
        if name not in MISTAKES:
            raise ValueError(f"mistake {name!r} is unknown; known: {', '.join(MISTAKES)}")
        mistake = MISTAKES[name]
        if mistake.build is not None:
            mistake.build(site)
        if mistake.file is not None:
            site.mistaken.append(mistake.file)
        if mistake.typed is not None:
            lines.append(mistake.typed())
    return lines
