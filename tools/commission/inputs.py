"""Steps about the board's own wires: emergency stop, contactor and its feedback, the current that it breaks."""

import asyncio
import time
from collections.abc import Callable

from tools.commission import figures
from tools.commission.bench import NO_VALUE, Bench
from tools.commission.outcome import DoesNotApply, Failed, Plot, Series
from tools.commission.wire import Refused

SEEN_S = 10.0  # in which a press must have been seen once the person says that it is pressed
STOP_S = 1.0
STAYS_S = 3.0  # that it stays stopped for once it is released
COMMAND_S = 1.0  # from the last look before the press to a command of 0 W: how often the console answers is in it
POWER_S = 2.0  # and to no power
BEFORE_S = 1.0  # of a press, that is drawn
ZERO_SHARE = 0.15  # of the small power: less is none
CLOSE_S = 1.0
_FLOWING = ("PCS_P", "BMS_V", "BMS_I")  # as flowing_kw() takes them


async def estop(bench: Bench) -> None:
    """The emergency stop is seen, opens the contactors, stays latched, and can be reset once it is released."""
    name, options = bench.device("io_board")
    if int(options.get("estop_pin", -1)) < 0:
        raise DoesNotApply("no emergency stop is wired to this board (estop_pin -1): try what it acts on, and write it down")
    await bench.start()
    ours = await bench.emergencies()  # a press is none that is commanded
    wired = int(options.get("feedback_pin", -1)) >= 0
    async with bench.watching("IO_ESTOP", "CMD_CONTACTOR", "IO_CONTACTOR") as seen:
        await bench.ask_for("press")
        pressed = await _pressed(bench, 1)
        await asyncio.sleep(bench.power("contactor_wait", 2.0) + STOP_S)
    if pressed != 1:
        await bench.ask_for("release")
        raise Failed(
            f"the emergency stop is not wired: it was pressed, and the board sees nothing on pin {options['estop_pin']}",
            "its wires, its contact (normally closed: a broken wire must read as pressed), estop_pin and estop_pull in site.json",
        )
    state = (await bench.mode("EMERGENCY", seconds=5)).state
    bench.note("seen as", ", ".join(state.get("faults") or []) or "EMERGENCY")
    _opened(bench, seen, wired)
    try:
        await bench.console.ask("pm.reset_emergency()")
    except Refused as error:
        bench.note("a reset while it is pressed", "refused", "", "refused", "emergency_stop" in str(error))
    else:
        raise Failed("the emergency was reset while its stop is pressed", "the stop bounces, or its contact does not latch")
    await _released(bench)
    await _reset(bench, ours)
    _not_seen(bench)


async def estop_power(bench: Bench) -> None:
    """Pressed under a small power: how soon nothing is commanded and nothing flows; and it comes back by a reset alone."""
    _, options = bench.device("io_board")
    if int(options.get("estop_pin", -1)) < 0:
        raise DoesNotApply("no emergency stop is wired to this board (estop_pin -1): try what it acts on, and write it down")
    wired = int(options.get("feedback_pin", -1)) >= 0
    await bench.start()
    ours = await bench.emergencies()  # a press is none that is commanded
    await bench.hold(bench.pulse_kw, 1.0)
    board = ("IO_ESTOP", "CMD_CONTACTOR", "IO_CONTACTOR", "CMD_P")
    async with bench.watching(*board, *_FLOWING, of_banks=("CMD_P", *_FLOWING)) as looked:
        await bench.ask_for("press")
        pressed = await _pressed(bench, 1)
        await asyncio.sleep(bench.power("contactor_wait", 2.0) + STOP_S)
    seen = [(at, joined(values)) for at, values in looked]
    await bench.tidy()  # nobody renews the power: it is not to come back with the reset
    if pressed != 1:
        await bench.ask_for("release")
        raise Failed(f"the emergency stop was pressed, and the board sees nothing on pin {options['estop_pin']}",
                     "its wires, its contact: the step before saw them")  # fmt: skip
    await bench.mode("EMERGENCY", seconds=5)
    try:
        _ended(bench, seen)
        _opened(bench, [(at, values[:3]) for at, values in seen], wired, plotted=False)
    except Failed:
        await bench.ask_for("release")
        raise
    await _released(bench)
    await _reset(bench, ours)
    _not_seen(bench)


def _ended(bench: Bench, seen: list[tuple[float, list[int]]]) -> None:
    """From the press, as the board saw it, to 0 W: commanded, and measured."""
    kw, pressed, around = bench.pulse_kw, pressed_at(seen), from_press(seen)
    bench.outcome.plots.append(Plot("the emergency stop is pressed under power", "s", "kW", [
        Series("command", [(at, values[3] / 1000) for at, values in around]),
        Series("power", [(at, flowing) for at, values in around if (flowing := flowing_kw(values[4:])) is not None]),
        Series("emergency stop pressed", [(at, kw * max(0, values[0])) for at, values in around]),
    ]))  # fmt: skip
    bench.note("power before the press", figures.told(kw), "kW")
    told = after(seen, pressed, lambda values: values[3] == 0)
    still = after(seen, pressed, lambda values: abs(flowing_kw(values[4:]) or 0.0) <= _small(kw))
    for name, late, most in (("0 W commanded after the press", told, COMMAND_S), ("no power after the press", still, POWER_S)):
        if late is None:
            bench.note(name, "never", "", figures.at_most(most, "s"), False)
        if late is None or not bench.at_most(name, late, most, "s"):
            is_so = "never" if late is None else f"only {late:.1f} s later"
            raise Failed(f"the emergency stop is pressed under power, and the power is 0 {is_so}",
                         "the inverter's ramps and its stop input; what the emergency stop acts on beside the board")  # fmt: skip


def joined(values: list[int]) -> list[int]:
    """Of a site of several banks: the command and the power of all of them, whichever way each goes; else as it is.

    The sum of two that go against each other would be none.  What flows in them all is told as the inverters' power.
    """
    board, parts = values[:3], [values[at : at + 4] for at in range(7, len(values), 4)]
    if not parts:
        return values
    flows = [flowing_kw(part[1:]) for part in parts]
    known = [abs(kw) for kw in flows if kw is not None]
    watts = round(1000 * sum(known)) if known else NO_VALUE
    return [*board, sum(abs(part[0]) for part in parts), watts, NO_VALUE, NO_VALUE]


def _small(kw: float) -> float:
    """What of a small power counts as none, kW."""
    return max(ZERO_SHARE * kw, 0.05)


def pressed_at(seen: list[tuple[float, list[int]]]) -> float:
    """The last look that did not see the stop pressed yet: what is counted from there is no shorter than it was."""
    first = next(n for n, (_, values) in enumerate(seen) if values[0] == 1)
    return seen[max(0, first - 1)][0]


def from_press(seen: list[tuple[float, list[int]]]) -> list[tuple[float, list[int]]]:
    """What is to be drawn: from a second before the press on, counted from it.  A person may have taken minutes to the button."""
    pressed = pressed_at(seen)
    return [(at - pressed, values) for at, values in seen if at >= pressed - BEFORE_S]


def after(seen: list[tuple[float, list[int]]], since: float, wanted: Callable[[list[int]], bool]) -> float | None:
    """How long after a moment what was looked at was so for good, s; None: at the end it still was not."""
    at = None
    for when, values in seen:
        if when >= since:
            at = (when if at is None else at) if wanted(values) else None
    return None if at is None else at - since


def flowing_kw(values: list[int]) -> float | None:
    """What flows, of inverter's power, battery's voltage and current as the image has them: the inverter may be off and silent."""
    watts, volts, amps = values
    if watts != NO_VALUE:
        return watts / 1000
    return None if NO_VALUE in (volts, amps) else volts * amps / 100_000


async def _released(bench: Bench) -> None:
    """Released, it stays stopped until somebody resets it."""
    await bench.ask_for("release")
    if await _pressed(bench, 0) != 0:
        raise Failed("the emergency stop was released, and the board still sees it pressed", "its wires, and estop_pressed_level")
    await bench.until(lambda s: "emergency_stop" not in (s.get("faults") or []), 5, "the fault emergency_stop is to end")
    began = time.monotonic()
    while (stood := time.monotonic() - began) < STAYS_S:
        mode = (await bench.state()).get("mode")
        if mode != "EMERGENCY":
            raise Failed(f"the emergency stop is released, and the site goes to {mode} by itself {stood:.1f} s later",
                         "nothing but a reset may end an emergency: the firmware")  # fmt: skip
    bench.note("released, not yet reset", f"still stopped {STAYS_S:g} s later", "", "stopped until it is reset", True)
    try:
        await bench.console.ask("pm.start()")
    except Refused:
        bench.note("a start before the reset", "refused", "", "refused", True)
    else:
        raise Failed("the site can be started before the emergency is reset", "nothing but a reset may end an emergency")


async def _reset(bench: Bench, ours: int) -> None:
    """The reset ends it, and a start brings the site back, at 0 W; ours: see Bench.reset_emergency."""
    if await bench.reset_emergency(ours) is not True:
        raise Failed("the reset of the emergency could not be stored", "the board's flash: services() at the console")
    sample = await bench.mode("STANDBY", seconds=5)
    commanded = abs(float(sample.state.get("cmd") or 0.0))
    still = commanded < 0.01
    bench.note("after the reset", "STANDBY, 0 kW" if still else f"{commanded:g} kW", "", "STANDBY, 0 kW", still)
    began = time.monotonic()
    await bench.start()
    bench.note("in operation again after reset and start", time.monotonic() - began, "s", "by a start alone", True)


async def _pressed(bench: Bench, wanted: int) -> int:
    """What the board sees, once it is what is wanted or the time is over."""
    give_up = time.monotonic() + SEEN_S
    while (seen := (await bench.raw("IO_ESTOP"))[0]) != wanted and time.monotonic() < give_up:
        pass
    return seen


def _opened(bench: Bench, seen: list[tuple[float, list[int]]], wired: bool, plotted: bool = True) -> None:
    """From the press, as the board saw it, to contactors that are open by their feedback (without one: by command)."""
    names = ("emergency stop pressed", "contactors commanded closed", "feedback closed")[: 2 + wired]
    pressed = pressed_at(seen)
    around = from_press(seen)
    lines = [Series(name, [(at, float(max(0, values[n]))) for at, values in around]) for n, name in enumerate(names)]
    if plotted:
        bench.outcome.plots.append(Plot("the emergency stop is pressed", "s", "on", lines))
    opened = next((at for at, values in seen if at >= pressed and not values[1] and (not wired or values[2] == 0)), None)
    most = bench.power("contactor_wait", 2.0) + STOP_S
    if opened is None or not bench.at_most("contactors open after the press", opened - pressed, most, "s"):
        is_so = "commanded closed" if seen[-1][1][1] else "open by command, closed by their feedback"
        raise Failed(f"the stop is pressed, and the contactors are {is_so}", "the coil's circuit; the feedback's contact")


async def contactor(bench: Bench) -> None:
    """Without power: the feedback follows both ways."""
    _, options = bench.device("io_board")
    if int(options.get("contactor_pin", -1)) < 0:
        raise DoesNotApply("this board drives no contactor (contactor_pin -1)")
    wired = int(options.get("feedback_pin", -1)) >= 0
    began = time.monotonic()
    await bench.console.ask("pm.start()")
    closed_s = await _closed(bench, began, wired)
    if closed_s is not None:
        if not bench.at_most("feedback closed after the command", closed_s, CLOSE_S, "s"):
            raise Failed(f"the contactors need {closed_s:.2f} s to close", "the coil's supply")
    await bench.start()
    await _broken(bench, wired)
    if not wired:
        bench.note("feedback", "not wired: the board does not see whether the contactors close and open")
    if bench.bank is None:
        _not_seen(bench)


def _not_seen(bench: Bench) -> None:
    """Of several banks: whose contactors the site's own output and feedback tell nothing of."""
    own = [bank.name for bank in bench.banks if bank.options.get("io")]
    shared = [bank.name for bank in bench.banks if not bank.options.get("io")]
    if own:
        bench.note("not seen here", f"the contactors of bank {', '.join(own)}, on an io of its own: look at them")
    if len(shared) > 1:
        told = f"whether the contactors of bank {' and of bank '.join(shared)} each move: they have one output and one feedback"
        bench.note("not seen here", f"{told}: look at each")


async def break_current(bench: Bench) -> None:
    """Stopped under a small power they open only when the current is below what they may break."""
    _, options = bench.device("io_board")
    if int(options.get("contactor_pin", -1)) < 0:
        raise DoesNotApply("this board drives no contactor (contactor_pin -1)")
    await bench.start()
    await bench.hold(bench.pulse_kw, 1.0)
    await _broken(bench, int(options.get("feedback_pin", -1)) >= 0, bench.pulse_kw)


async def _closed(bench: Bench, began: float, wired: bool) -> float | None:
    """From the command until the feedback says closed; None without one.  Failed where it does not come."""
    commanded = 0.0
    while time.monotonic() - began < 30:
        wanted, closed = await bench.raw("CMD_CONTACTOR", "IO_CONTACTOR")
        now = time.monotonic()
        if wanted and not commanded:
            commanded = now
        if commanded and (closed == 1 or not wired):
            return now - commanded if wired else None
        if commanded and now - commanded > 5:
            raise Failed("the contactors are commanded closed, and their feedback says open",
                         "the coil's circuit (supply, interlock, fuse), and the feedback's wires")  # fmt: skip
    raise Failed(f"the contactors are not commanded closed: {await bench.why()}")


async def _broken(bench: Bench, wired: bool, kw: float = 0.0) -> None:
    """Stop (under a power), and see when that has ended, and at what current the contactors are let go."""
    most = bench.power("contactor_break_current", 5.0)
    began = time.monotonic()
    await bench.console.ask("pm.stop()")
    seen: list[tuple[float, float, int, int]] = []
    powers: list[tuple[float, list[int]]] = []
    give_up = began + bench.power("contactor_wait", 2.0) + 10
    while time.monotonic() < give_up:
        wanted, closed, dc, *power = await bench.raw("CMD_CONTACTOR", "IO_CONTACTOR", "PCS_DC_I", "PCS_P", "BMS_V", "BMS_I")
        amps = max((abs(value) / 10 for value in (power[-1], dc) if value != NO_VALUE), default=0.0)
        now = time.monotonic()
        seen.append((now - began, amps, wanted, closed))
        powers.append((now, power))
        if not wanted and (closed == 0 or not wired):
            break
    else:
        raise Failed(f"the contactors do not open after stop(): {await bench.why()}")
    opened = next(entry for entry in seen if not entry[2])
    still = after(powers, began, lambda values: abs(flowing_kw(values) or 0.0) <= _small(kw)) if kw else None
    if still is not None:
        bench.note(f"no power after stop() at {figures.given(kw)} kW", still, "s")
    bench.outcome.plots.append(Plot("stop()", "s", "A", [
        Series("current", [(t, amps) for t, amps, _, _ in seen]),
        Series("contactors commanded closed", [(t, most * wanted) for t, _, wanted, _ in seen]),
        Series("feedback closed", [(t, 0.9 * most * max(0, closed)) for t, _, _, closed in seen] if wired else []),
    ]))  # fmt: skip
    if not bench.at_most("current when they are let go", opened[1], most, "A"):
        raise Failed(f"the contactors open at {opened[1]:.1f} A, {most:g} A are allowed",
                     "contactor_break_current and contactor_wait in site.json; the inverter takes too long to 0 W")  # fmt: skip
    if wired:
        late = seen[-1][0] - opened[0]
        if not bench.at_most("feedback open after the command", late, CLOSE_S, "s"):
            raise Failed(f"the feedback opens {late:.2f} s after the command", "a coil with a slow snubber, or contacts that stick")
    await bench.mode("STANDBY")
