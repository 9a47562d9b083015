"""Steps in which power moves: which way each meter and the inverter turn, how fast they follow, whether their scales are right."""

import statistics
import time
from typing import Any

from tools.commission import figures, judge, phases
from tools.commission.bench import NO_VALUE, SAMPLE_MS, Bench, mean, mean_of
from tools.commission.outcome import Failed, Figure, NotTested, Plot, Series

REACHED = 0.9  # of a level: less is another level
STEP_SHARE = 0.3
DEAD_S, RISE_S, SETTLING_S = 0.6, 1.0, 2.0
_PULSES = (1, -1)
QUIET = 0.12  # of a pulse: what the load may move in one before it is done again
UNSURE = 0.25  # what the meter's shares may part by from one pulse to the next; of the share where that is more than 1
TRIP_SAMPLES = 3  # before a fault
_RESPONSE_MS = 100
# meters of something else, which must not move with the battery: slot, what it is
_OTHERS = (("PV_P", "PV's meter"), ("GEN_P", "generator's meter"), ("METER_LOAD_P", "load's meter"))
_READS = 5


async def direction(bench: Bench) -> None:
    """Small pulses both ways: what inverter, battery and meter show of them has to have their sign and size."""
    await bench.start()
    began = time.monotonic()
    meter_name = await phases.begin(bench)
    rounds = [await _pulses(bench, meter_name)]
    if rounds[0]["noise"] > QUIET * bench.pulse_kw:
        bench.hand.say(f"   the load moves by {rounds[0]['noise']:.1f} kW meanwhile: twice more")
        rounds += [await _pulses(bench, meter_name) for _ in range(2)]
    bench.plot("pulses", began, {"cmd": "command", "p": "inverter", "grid_p": "grid"})
    found = {key: statistics.median(one[key] for one in rounds) for key in rounds[0] if all(key in one for one in rounds)}
    bench.note("the load moved meanwhile by", found.pop("noise"), "kW")
    shown = [one["meter"] for one in rounds if "meter" in one]
    seems = judge.share(found["meter"]).text if shown else ""
    if seems and is_unsure(shown):
        spread = f"{min(shown):.2f} to {max(shown):.2f} of a pulse"
        raise NotTested(f"the load moves too much, the meter shows {spread}; it seems that it {seems}: again at a quieter time")
    wrong = _judged(bench, found)
    if wrong:
        raise _together(wrong)
    if bench.bank and bench.bank.is_parallel:  # their sum is right; each of them by itself, at the same small power
        await bench.hold(bench.pulse_kw)
        await bench.hold(-bench.pulse_kw)


def is_unsure(shares: list[float]) -> bool:
    """What a meter shows of one pulse and of the next parts by too much to say what is wrong with it."""
    return max(shares) - min(shares) > UNSURE * max(1.0, abs(statistics.median(shares)))


async def _pulses(bench: Bench, meter_name: str) -> dict[str, float]:
    """A pulse each way: by how much each follows the command, as 1 where it is right (others: 0), and how the load moved."""
    rests, moved = [await _held(bench, 0.0, meter_name)], []
    for way in _PULSES:
        kw = way * bench.pulse_kw
        at = time.monotonic()
        try:
            moved.append(await _held(bench, kw, meter_name))
        except Failed as error:
            raise _tripped(bench, kw, at, rests[-1], error) from None
        rests.append(await _held(bench, 0.0, meter_name))
    pairs: dict[str, judge.Points] = {}
    for n, way in enumerate(_PULSES):
        kw = way * bench.pulse_kw
        before, during, after = rests[n], moved[n], rests[n + 1]
        for key, value in _changes(bench, kw, mean_of(before, after), during).items():
            pairs.setdefault(key, []).append((kw, value))
    noise = max(abs(rests[n + 1].get("grid_p", 0.0) - rests[n].get("grid_p", 0.0)) for n in range(len(_PULSES)))
    return {**{key: judge.slope(points) for key, points in pairs.items() if len(points) == len(_PULSES)}, "noise": noise}


def _changes(bench: Bench, kw: float, rest: dict[str, float], during: dict[str, float]) -> dict[str, float]:
    """What each shows of a power beside what it showed at rest, in kW of that power."""
    efficiency = bench.power("inverter_efficiency", 95) / 100
    change = {key: during[key] - rest[key] for key in during if key in rest}
    found = {}
    if "p" in change:
        found["inverter"] = change["p"]
    if "kw_dc" in change:  # by the battery: a witness that no option of the inverter turns
        found["battery"] = change["kw_dc"] * (efficiency if kw > 0 else 1 / efficiency)
    if "grid_p" in change:
        found["meter"] = -change["grid_p"]
    found.update({name: -3 * change[name] for name in phases.NAMES if name in change})
    found.update({slot: change[slot] for slot, _ in _OTHERS if slot in change})
    return found


def _tripped(bench: Bench, kw: float, at: float, rest: dict[str, float], error: Failed) -> Failed:
    """What a pulse has shown before it ended in a fault; the fault itself where that says nothing."""
    during = [s.state for s in bench.console.since(at) if abs(s.state.get("cmd") or 0.0) > 0.9 * abs(kw)]
    if not during:
        return error
    last = mean(during[-TRIP_SAMPLES:])
    found = {key: value / kw for key, value in _changes(bench, kw, rest, last).items()}
    wrong = _judged(bench, found)
    if not wrong:
        return error
    together = _together(wrong)
    return Failed(f"{together}; {error}", together.advice, together.patch)


async def _held(bench: Bench, kw: float, meter: str) -> dict[str, float]:
    """As Bench.hold, with what the other meters show, in kW by their slots, and the meter's phases by their names."""
    means = await bench.hold(kw, 1.5, parts=False)  # who is wrong is judged here, by three witnesses
    reads = [await bench.raw(*(slot for slot, _ in _OTHERS)) for _ in range(_READS)]
    for n, (slot, _) in enumerate(_OTHERS):
        values = [read[n] for read in reads if read[n] != NO_VALUE]
        if values:
            means[slot] = sum(values) / len(values) / 1000
    if meter:
        means.update(zip(phases.NAMES, await phases.kilowatts(bench, meter), strict=False))
    return means


def _figure(name: str, value: float, about: str) -> Figure:
    bound = figures.between(100 * judge.RIGHT[0], 100 * judge.RIGHT[1], "%")
    return Figure(f"{name}: {about}", round(100 * value, 1), "%", bound, not judge.share(value).text)


def _phase(name: str, value: float, shares: list[float], meter: float | None) -> Figure:
    """One phase of the meter: judged where the sum is wrong; where that is right it may be a single-phase inverter or the load."""
    right = abs(value - 1) <= judge.PHASE
    bound = figures.between(100 * (1 - judge.PHASE), 100 * (1 + judge.PHASE), "%")
    is_sum_right = meter is not None and not judge.share(meter).text
    if not right and (is_sum_right or not judge.phases(shares)):
        bound, verdict = f"{bound}; not judged alone: {'their sum is right' if is_sum_right else 'one phase carries all'}", None
    else:
        verdict = right
    return Figure(f"meter, {name}: less import, of a third of what is commanded", round(100 * value, 1), "%", bound, verdict)


def _judged(bench: Bench, found: dict[str, float]) -> list[Failed]:
    """Who is wrong, where three say how the power went: the one that the other two contradict."""
    inverter, battery, meter = found.get("inverter", 0.0), found.get("battery", 0.0), found.get("meter")
    shown = bench.outcome.figures
    shown.append(_figure("inverter", inverter, "its own power, of what is commanded"))
    shown.append(_figure("battery", battery, "voltage x current, of what it should carry"))
    if meter is not None:
        shown.append(_figure("meter", meter, "less import, of what is commanded"))
    shares = [found[name] for name in phases.NAMES if name in found]
    for name, value in zip(phases.NAMES, shares, strict=False):
        shown.append(_phase(name, value, shares, meter))
    wrong: list[Failed] = []
    name = bench.device("pcs")[0]
    witnesses = [value for value in (battery, meter) if value is not None]
    scaled = judge.decade(sum(witnesses) / len(witnesses))
    if all(value < -0.2 for value in witnesses):
        size = f", and {scaled:g} times as much" if scaled else ""
        text = f"the inverter ({name}) goes the wrong way: it charges where a discharge is commanded{size}"
        return [_of_inverter(bench, text, -1 / (scaled or 1.0), "CMD_P")]
    if scaled is not None and all(judge.decade(value) == scaled for value in witnesses):
        text = f"the inverter ({name}) moves {scaled:g} times the power that is commanded"
        return [_of_inverter(bench, text, 1 / scaled, "CMD_P")]
    if (reading := judge.share(inverter)).text:
        wrong.append(_of_inverter(bench, f"the own power of the inverter ({name}) {_own(reading.text)}", reading.factor, "PCS_P"))
    if judge.share(battery).text:
        wrong.append(_of_battery(bench, battery))
    if meter is not None and (reading := judge.share(meter)).text:
        wrong.append(_of_meter(bench, reading, judge.phases(shares) if shares else ""))
    for slot, name in _OTHERS:
        if slot in found:
            ok = abs(found[slot]) <= 0.2
            shown.append(Figure(f"{name}: moves with the battery by", round(100 * found[slot], 1), "%", "within 20 % of 0 %", ok))
            if not ok:
                wrong.append(Failed(f"the {name} moves with the battery ({found[slot]:+.2f}): it sees the battery's power too",
                                    "its transformers belong in the line of what it is named after"))  # fmt: skip
    return wrong


def _own(text: str) -> str:
    return text.replace("is turned: all its current transformers face the other way", "has the wrong sign")


def _of_meter(bench: Bench, reading: judge.Reading, by_phase: str) -> Failed:
    name, options = bench.device("meter")
    text = f"the meter ({name}) {reading.text}{': ' + by_phase if by_phase else ''}"
    if reading.wiring:
        return Failed(text, "the meter's current transformers: each on the phase of its voltage, arrows towards the load")
    if reading.factor == -1.0 and options.get("type") == "meter_sunspec":
        turned = not options.get("reversed", False)
        return Failed(text, "turn the transformers, or tell the firmware", {f"devices.{name}.reversed": turned})
    return Failed(
        text,
        "the transformers' ratio as it is set in the meter, or the scale of its row",
        scaled(name, options, "METER_P", reading.factor),
    )


def _of_inverter(bench: Bench, text: str, factor: float, slot: str) -> Failed:
    name, options = bench.device("pcs")
    return Failed(text, "the scale of its row, the inverter's own sign convention", scaled(name, options, slot, factor))


def _of_battery(bench: Bench, value: float) -> Failed:
    name, options = bench.device("bms")
    if value < -0.2:
        key = f"devices.{name}.current_positive"
        now = options.get("current_positive", "charge")
        return Failed(f"the battery's current ({name}) has the wrong sign: it shows a charge as a discharge",
                      "the BMS counts the other way", {key: "discharge" if now == "charge" else "charge"})  # fmt: skip
    text = f"the battery's current ({name}) shows {value:.2f} of what flows: its scale is wrong, or its DC side feeds more"
    advice = "the options of the BMS: current_offset, byte_order, its variant"
    if bench.bank and abs(value) < 0.2:
        text += "; or it is the battery of another bank: \"banks\" in site.json, and which bus which battery is on"
    return Failed(text, advice)


def scaled(name: str, options: dict[str, Any], slot: str, factor: float) -> dict[str, Any]:
    """The entry of a table's row that makes what is shown or moved `factor` times as much; {} without a table in site.json."""
    table = options.get("table")
    if not isinstance(table, dict) or factor == 1.0:
        return {}
    for part, way in (("reads", factor), ("writes", 1 / factor)):  # both rows: slot = number on the wire x scale
        for n, row in enumerate(table.get(part, [])):
            if slot in (row.get("slot"), row.get("from")):
                scale = round(row.get("scale", 1) * way, 9)
                return {f"devices.{name}.table.{part}.{n}.scale": int(scale) if scale == int(scale) else scale}
    return {}


def _together(wrong: list[Failed]) -> Failed:
    patch: dict[str, Any] = {}
    for failed in wrong:
        patch.update(failed.patch)
    return Failed("; ".join(str(failed) for failed in wrong), "; ".join(failed.advice for failed in wrong), patch)


# ---- how fast ----------------------------------------------------------------------------------------------
async def response(bench: Bench) -> None:
    """A step each way: dead time, 10 to 90 % and settling of the inverter's power behind the command."""
    await bench.start()
    await bench.console.monitor(_RESPONSE_MS)
    try:
        slow = [text for way in _PULSES if (text := await _one_response(bench, way * bench.rated_kw * STEP_SHARE))]
    finally:
        await bench.console.monitor(SAMPLE_MS)
    if slow:
        raise Failed(f"the inverter ({bench.device('pcs')[0]}) is slow: {'; '.join(slow)}",
                     "its own ramps and filters; period_ms of its device; ramps in site.json as it can")  # fmt: skip


async def _one_response(bench: Bench, kw: float) -> str:
    """One step from 0; what is too slow in it."""
    await bench.hold(0.0, 0.5)
    began = await bench.set_power(kw)
    limit, why = bench.limit(await bench.state(), kw)
    if limit < abs(kw) * REACHED:
        raise NotTested(f"a step to {kw:g} kW: {why} allows {limit:.1f} kW")
    await bench.steady(kw, began)
    await bench.do_their_part()
    samples = bench.console.since(began)
    command = [(s.at - began, float(s.state["cmd"])) for s in samples]
    power = [(s.at - began, float(s.state["p"])) for s in samples if s.state.get("p") is not None]
    bench.outcome.plots.append(Plot(f"step to {kw:+g} kW", "s", "kW", [Series("command", command), Series("inverter", power)]))
    found = judge.response(command, power)
    if found is None:
        return f"no whole step to {kw:+g} kW was seen"
    slow = []
    for name, value, most in (("dead time", found.dead, DEAD_S), ("10 to 90 % beyond the command's ramp", found.rise, RISE_S),
                              ("settling to 5 %", found.settling, SETTLING_S)):  # fmt: skip
        if not bench.at_most(f"{name}, {kw:+g} kW", value, most, "s"):
            slow.append(f"{name} {value:.1f} s at {kw:+g} kW, allowed {most:g} s")
    return ", ".join(slow)
