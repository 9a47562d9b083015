"""The step about the grid operator's relays: each contact is seen, bounds what it is to bound, and frees it again."""

import time
from typing import Any

from tools.commission.bench import Bench
from tools.commission.outcome import DoesNotApply, Failed, NotTested

SEEN_S = 5.0
HELD_S = 1.0
BAND = 0.02  # of the rating
MOST_KW = 1000.0  # what a limit says where it bounds nothing


async def relays(bench: Bench) -> None:
    """Close one contact after the other: what it says is in force while it is, and at no other time."""
    found = bench.services("relays")
    if not found:
        raise DoesNotApply("the site file names no relays of a grid operator (services: relays)")
    for name, options in found.items():
        await _rest(bench, name, options)
        await bench.start()
        for contact, given in options["inputs"].items():
            await _one(bench, name, contact, given, options)
    await bench.hold(0.0, 0.5)


async def _states(bench: Bench, name: str) -> dict[str, Any]:
    states = await bench.console.ask(f"app.services[{name!r}].counters()")
    return states if isinstance(states, dict) else {}


async def _rest(bench: Bench, name: str, options: dict[str, Any]) -> None:
    """At rest no contact is active, but the one of several that always is."""
    states = await _states(bench, name)
    active = [contact for contact in options["inputs"] if states.get(contact) != "rests"]
    always = options.get("one_active", "none") != "none"
    bench.note(f"{name}: contacts that limit now", ", ".join(active) or "none", "", "none", not active or always)
    if active and not always:
        seen = ", ".join(f"{contact} is {states.get(contact)}" for contact in active)
        raise Failed(
            f"{name}: {seen} though the grid operator limits nothing",
            "its wires; contact (closes, opens), closed_level and pull of the input; its module: docs/relays.md",
        )
    if active:
        raise NotTested(f"{name}: one of its contacts is always active: to be tried with the operator's receiver")


async def _one(bench: Bench, name: str, contact: str, given: dict[str, Any], options: dict[str, Any]) -> None:
    move = ("Close", "Open") if given.get("contact", "closes") == "closes" else ("Open", "Close")
    where = f"pin {given['input_pin']}" if "input_pin" in given else f"input {given.get('bit')} of its module"
    words = {"contact": contact, "where": where, "pin": str(given.get("input_pin", ""))}
    closed = int(given.get("closed_level", 0))
    levels = (closed, 1 - closed) if move[0] == "Close" else (1 - closed, closed)
    began = time.monotonic()
    await bench.ask_for("limit", move=move[0], level=levels[0], **words)
    try:
        others = await _seen(bench, name, contact, "active")
        if others:
            raise Failed(f"{name}: {contact} was moved, and {others}", "which wire is on which input: docs/relays.md")
        for way in ("import", "export"):
            if f"{way}_kw" in given or f"{way}_percent" in given:
                await _bounded(bench, name, contact, way, _bound_kw(bench, given, options, way))
    finally:
        await bench.set_power(0.0)
        await bench.ask_for("free", move=move[1], level=levels[1], **words)
    others = await _seen(bench, name, contact, "rests")
    if others:
        raise Failed(f"{name}: {contact} was moved back, and {others}", "its contact, its wires: docs/relays.md")
    bench.plot(f"{name}: {contact}", began, {"cmd": "command", "p": "inverter", "grid_p": "grid", "lim_chg": "limit of charge"})


async def _seen(bench: Bench, name: str, contact: str, wanted: str) -> str:
    """Wait until the board sees it so, and the others at rest; "", or what it sees instead."""
    give_up = time.monotonic() + SEEN_S
    while True:
        states = {key: value for key, value in (await _states(bench, name)).items() if value in ("active", "rests", "unknown")}
        strange = [f"{key} is {value}" for key, value in states.items() if value != (wanted if key == contact else "rests")]
        if not strange:
            bench.note(f"{name}: {contact}", wanted, "", wanted, True)
            return ""
        if time.monotonic() > give_up:
            return f"the board sees: {', '.join(strange)}"


def _bound_kw(bench: Bench, given: dict[str, Any], options: dict[str, Any], way: str) -> float:
    """What the contact allows at the grid."""
    if f"{way}_kw" in given:
        return float(given[f"{way}_kw"])
    own = bench.power("max_charge_power" if way == "import" else "max_grid_export_power", 100.0)
    return float(given[f"{way}_percent"]) / 100 * (float(options.get(f"{way}_rated_kw", 0)) or own)


async def _bounded(bench: Bench, name: str, contact: str, way: str, allowed: float) -> None:
    """Ask for more than it leaves of the battery's power: what flows, and what the meter shows of it, stays inside."""
    sign = -1 if way == "import" else 1
    key = "charge_kw" if sign < 0 else "discharge_kw"
    owner = f"{name}: {contact}"
    limits = [one[key] for one in await bench.console.ask("pm.curtailments()") if str(one["owner"]).startswith(owner)]
    if not limits or limits[0] is None or limits[0] >= MOST_KW:
        raise Failed(f"{name}: {contact} is active, and bounds nothing", "services() at the console; docs/relays.md")
    rated = bench.power("max_charge_power" if sign < 0 else "max_discharge_power", 100.0)
    wanted = min(rated, limits[0] + 0.1 * bench.rated_kw)
    band = BAND * bench.rated_kw + 0.2
    held = await bench.hold(sign * wanted, HELD_S)
    limit, why = bench.limit(await bench.state(), sign * wanted)
    if abs(held["p"]) > limits[0] + band:
        raise Failed(f"{name}: {contact} leaves {limits[0]:.1f} kW, and {abs(held['p']):.1f} kW flow", "the inverter's setpoint")
    bound = f"at most {limits[0] + band:.1f} kW: {limits[0]:.1f} kW that it leaves, and {band:.1f} kW for what the site moves"
    told = f"{owner}: {'charge' if sign < 0 else 'discharge'}"
    bench.note(told, abs(held["p"]), "kW", bound, True)
    if limits[0] >= wanted - 0.1 or why != "remote":
        bench.note(f"{name}: {contact} does not bind now", f"{limit:.1f} kW by {why}")
    if sign > 0 and bench.device("meter")[0]:
        given = -held["grid_p"]
        bench.at_most(f"{name}: {contact}: export at the meter (below 0: import)", given, allowed + band, "kW")
        if given > allowed + band:
            raise Failed(f"{owner} allows {allowed:g} kW of export, the meter shows {given:.1f} kW", "the meter's place and sign")
