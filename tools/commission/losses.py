"""Steps in which something is taken away: each device, the commands to the inverter, the grid."""

import asyncio
import contextlib
import time
from typing import Any, NamedTuple

from tools.commission import figures
from tools.commission.bench import SAMPLE_MS, Bench
from tools.commission.outcome import DoesNotApply, Failed, NotTested
from tools.commission.wire import Refused, Silent

AGE_MAX_MS = 900_000_000  # of a group: from here on it was never heard
NOTICED_S = 0.5  # from the fault, or what is missing, to 0 W commanded
BACK_S = 40.0
GRID_S = 2.0
GRID_BACK_S = 420.0  # an inverter may have to look at the grid for minutes before it connects again
WATCHDOG_MARGIN_S = 3.0
UNKNOWN_WATCHDOG_S = 10.0  # of an inverter whose own time nobody knows
SILENCE_S = 5.0  # of an inverter, that it is told nothing: renewed while the step goes on
RAISED_S = 0.5  # beyond the time that a device may be silent: the cycle, and how often the console is asked
_LOOK_ON_S = 0.3  # until the fault that the monitor has told is seen by who looks too


class Kind(NamedTuple):
    """A device that can be lost: the fault that it raises, and the groups of data that come from it."""

    kind: str
    fault: str
    bit: int  # of the fault in FAULTS (docs/can.md)
    act: str  # what the simulator's hand does to it
    groups: tuple[str, ...]
    needed: bool = True  # by control: without it 0 W


_KINDS = (
    Kind("bms", "bms_lost", 1, "bms_silent", ("SEQ_BMS", "SEQ_BMS_LIMITS", "SEQ_BMS_CELLS", "SEQ_BMS_TEMPS", "SEQ_BMS_FLAGS")),
    Kind("pcs", "pcs_lost", 2, "pcs_silent", ("SEQ_PCS",)),
    Kind("meter", "meter_lost", 4, "meter_silent", ("SEQ_METER",)),
    Kind("pv", "pv_lost", 8, "pv_silent", ("SEQ_PV",), needed=False),
)
Look = tuple[float, list[int]]  # when; active faults as bits, how long the board was not held up itself, ages of the groups, ms


async def loss(bench: Bench) -> None:
    """Each device falls silent under a small power: it is seen in time, 0 W where control needs it, and it comes back by itself."""
    unplugged = []
    taken: set[str] = set()
    for kind in _KINDS:
        name, options = bench.device(kind.kind)
        is_of_banks = bool(bench.banks) and kind.kind in ("bms", "pcs")
        if not name or name in taken or is_of_banks != (bench.bank is not None):  # a meter that has the PV's figures too
            continue
        each = bench.devices(kind.kind) if is_of_banks else [(name, options)]
        if kind.kind == "pcs" and len(each) > 1:
            told = ", ".join(one for one, _ in each)
            unplugged.append(f"{told}: inverters in parallel, of which one that is lost leaves the others to go on: not tried here")
            continue
        for one, its in each:
            taken.add(one)
            try:
                await _one(bench, one, its, kind)
            except NotTested as error:
                unplugged.append(str(error))
    if unplugged:
        raise NotTested("; ".join(unplugged))


def _time_out(bench: Bench, kind: str) -> float:
    """s after which it counts as lost."""
    if kind == "bms_lost":
        return 3 * bench.power("bms_period_ms", 1000) / 1000
    return bench.power("pcs_timeout_ms" if kind == "pcs_lost" else "meter_timeout_ms", 1000) / 1000


async def _one(bench: Bench, name: str, options: dict[str, Any], kind: Kind) -> None:
    fault, act = kind.fault, kind.act
    await bench.start()
    await bench.hold(bench.pulse_kw, 0.5)
    began = time.monotonic()
    allowed = _time_out(bench, fault)

    def is_lost(state: dict[str, Any]) -> bool:
        return fault in (state.get("faults") or [])

    async with bench.watching("FAULTS", "LOOP_MS", *(f"AGE + im.{group}" for group in kind.groups)) as seen:
        await bench.ask_for("unplug", name=name, where=bench.where(options), act=act)
        await bench.until(is_lost, allowed + 10, f"{name} is unplugged, and {fault} is to be raised")
        await asyncio.sleep(_LOOK_ON_S)
    _raised(bench, name, fault, silence_s(seen, kind.bit), allowed)
    try:
        await (_still if kind.needed else _goes_on)(bench, name, fault, began)
    finally:
        bench.plot(f"{name} is lost", began, {"cmd": "command", "p": "inverter", "kw_dc": "battery"})
    await bench.ask_for("plug", name=name, act=act)
    plugged = time.monotonic()
    back = await bench.until(
        lambda s: fault not in (s.get("faults") or []), BACK_S, f"{name} is plugged in again, and {fault} is to end"
    )
    bench.note(f"{name}: back after", back.at - plugged, "s")
    if kind.kind in ("bms", "pcs"):  # without these it had left operation
        if not bench.power("auto_restart", 1):
            await bench.console.ask("pm.start()")
        again = await bench.mode("IDLE", "CHARGE", "DISCHARGE", seconds=BACK_S)
        bench.note(f"{name}: in operation again after", again.at - plugged, "s")


def _is_still(state: dict[str, Any]) -> bool:
    return abs(state.get("cmd") or 0) < 0.01


async def _still(bench: Bench, name: str, fault: str, began: float) -> None:
    """0 W are commanded, and soon."""
    await bench.until(_is_still, NOTICED_S + 2, f"{name} is lost, and 0 W are to be commanded")
    raised = bench.first(began, lambda state: fault in (state.get("faults") or []))
    after = max(0.0, bench.first(began, _is_still) - raised)
    bench.at_most(f"{name}: 0 W after {fault} (looked at every {SAMPLE_MS / 1000:g} s)", after, NOTICED_S, "s")
    if after > NOTICED_S:
        raise Failed(f"{name} is lost, and 0 W are commanded only {after:.1f} s after it was noticed")


async def _goes_on(bench: Bench, name: str, fault: str, _began: float) -> None:
    """The power stays as it was: nothing of this device decides on it."""
    kw = float((await bench.state()).get("cmd") or 0.0)
    stays = abs(kw) > 0.5 * bench.pulse_kw
    bench.note(f"{name}: commanded while {fault} lasts, which is a warning", kw, "kW", f"as before: {bench.pulse_kw:g} kW", stays)
    if not stays:
        raise Failed(f"{name} is lost, and control gives up {bench.pulse_kw:g} kW, which need nothing of it")


def silence_s(seen: list[Look], bit: int) -> float | None:
    """How long a device had been silent, by the board's own clock, when its fault was first seen; None where it was not seen.

    Whenever the plug was pulled: the board knows how old what it heard last is.  What it was held up itself does not count.
    """
    for _, (faults, listening_ms, *ages_ms) in seen:
        if faults & bit:
            heard = [age for age in ages_ms if age < AGE_MAX_MS]
            return min(max(heard), listening_ms) / 1000 if heard else None
    return None


def _raised(bench: Bench, name: str, fault: str, silent_s: float | None, allowed: float) -> None:
    """The time from the last that was heard to the fault, beside what the site file allows."""
    figure = f"{name}: {fault} appears after it has been silent for"
    if silent_s is None:
        bench.note(figure, "not seen: it was gone again too soon")
        return
    most = allowed + RAISED_S
    bench.note(figure, silent_s, "s", f"{figures.at_most(most, 's')}: {figures.given(allowed)} s by site.json", silent_s <= most)
    if silent_s > most:
        raise Failed(f"{name} is lost, and {fault} appears only after {silent_s:.1f} s, {most:g} s are allowed",
                     "pcs_timeout_ms, meter_timeout_ms, bms_period_ms in site.json")  # fmt: skip


async def watchdog(bench: Bench) -> None:
    """The inverter is told nothing for a while, as when the controller dies: it has to end its power by itself."""
    silenced = bench.devices("pcs")
    name, options = silenced[0] if silenced else ("", {})
    names = ", ".join(one for one, _ in silenced)
    await bench.start()
    own_s = float(options.get("reversion_s", 5)) if options.get("type") == "pcs_sunspec" else UNKNOWN_WATCHDOG_S
    known = options.get("type") == "pcs_sunspec" and own_s > 0
    if own_s == 0:
        own_s = UNKNOWN_WATCHDOG_S
    most = own_s + WATCHDOG_MARGIN_S
    await bench.hold(bench.pulse_kw, 1.0)
    small = 0.3 * bench.pulse_kw / max(1, len(silenced))
    began = time.monotonic()
    try:
        ended = await _ends_by_itself(bench, [one for one, _ in silenced], small, min(55.0, most + 2) - 0.5)
        await bench.set_power(0.0)
    finally:  # whoever stops it meanwhile: the 0 W are not to wait
        with contextlib.suppress(Refused, Silent):
            await bench.console.ask(_silence([one for one, _ in silenced], 0))
    await bench.until(lambda s: abs(s.get("p") or 0.0) < small, 5, "0 W once it is commanded again")
    bench.plot("nobody commands", began, {"cmd": "command", "p": "inverter"})
    bench.note(
        f"{names}: power ended by itself after",
        ended if ended is not None else "never",
        "s" if ended is not None else "",
        f"{figures.at_most(most, 's')}: {own_s:g} s {'reversion_s' if known else 'as nobody knows its own'}, "
        f"and {WATCHDOG_MARGIN_S:g} s",
        ended is not None,
    )
    if ended is None:
        raise Failed(
            f"the inverter ({names}) has no watchdog of its own that works: it goes on with {bench.pulse_kw:g} kW though nobody "
            f"has commanded it for {most:g} s",
            "its communication time-out (at most 10 s, to 0 W) in its own settings; of pcs_sunspec: reversion_s; "
            "with generic_modbus: a row with heartbeat",
        )  # fmt: skip


def _silence(names: list[str], ms: int) -> str:
    """The line that has these inverters told nothing for so long; its answer: whether the site is still to run."""
    told = ", ".join(f"app.site.devices[{name!r}].keep_silent({ms})" for name in names)
    return f"[{told}, pm.image.now[im.ORDER]==im.ORDER_START][-1]"


async def _ends_by_itself(bench: Bench, names: list[str], small: float, seconds: float) -> float | None:
    """Tell inverters nothing, and see when their power ends, s; None: it does not.  NotTested, Failed.

    The silence is asked for again and again, and short: a computer that is gone leaves them untold no longer than that.
    """
    began = asked = time.monotonic()
    again = 0.0
    while time.monotonic() - began < seconds:
        now = time.monotonic()
        if now >= again:
            if now - asked > SILENCE_S - 0.5:
                raise NotTested(f"this computer was held up for {now - asked:.1f} s, and {', '.join(names)} told again meanwhile")
            asked, again = now, now + SILENCE_S / 5
            try:
                wanted = await bench.console.ask(_silence(names, round(SILENCE_S * 1000)))
            except Refused as error:
                raise NotTested(f"the driver of {', '.join(names)} cannot be silenced ({error}); instead: take the board's supply "
                                "away under power") from None  # fmt: skip
            if wanted is False:
                raise Failed("somebody has stopped the site meanwhile")
        sample = await bench.console.next_sample()
        if sample.state.get("mode") == "EMERGENCY":
            await bench.check_running(sample.state)
        if abs(sample.state.get("p") or 0.0) < small:
            return sample.at - began
    return None


async def grid(bench: Bench) -> None:
    """The grid goes away under a small power, and comes back: what the site's kind does then."""
    kind = str(bench.site.get("power", {}).get("grid_connection", "INTERACTIVE"))
    if kind in ("ISOLATED", "0"):
        raise DoesNotApply("an ISOLATED site has no grid")
    await bench.start()
    await bench.hold(bench.pulse_kw, 0.5)
    began = time.monotonic()
    await bench.ask_for("grid_off")

    def is_gone(state: dict[str, Any]) -> bool:
        return not state.get("hz") or state.get("why_dis") == "grid_connection" or state.get("mode") == "STANDBY"

    def is_still(state: dict[str, Any]) -> bool:
        return abs(state.get("p") or 0.0) < 0.3 * bench.pulse_kw

    await bench.until(is_gone, 15, "the grid is switched off, and the board is to see it")
    if kind in ("BACKUP", "1"):
        bench.note("as an island", str((await bench.state()).get("flow")))
    else:
        await bench.until(is_still, GRID_S + 2, "without a grid 0 W are to flow")
        after = max(0.0, bench.first(began, is_still) - bench.first(began, is_gone))
        if not bench.at_most("0 W after it was seen", after, GRID_S, "s"):
            raise Failed(f"power flows {after:.1f} s after the grid was lost", "the inverter's anti-islanding")
    await bench.ask_for("grid_on")
    switched = time.monotonic()
    back = await bench.until(lambda s: (s.get("p") or 0.0) > 0.5 * bench.pulse_kw, GRID_BACK_S,
                             "the grid is back, and the power is to go on")  # fmt: skip
    bench.note("in operation again after", back.at - switched, "s")
    bench.plot("the grid is lost", began, {"cmd": "command", "p": "inverter", "grid_p": "grid"})
    bench.plot("its frequency meanwhile", began, {"hz": "frequency"}, "Hz")
