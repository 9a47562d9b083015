"""Steps about the board's own wires: emergency stop, contactor and its feedback, the current that it breaks."""

import asyncio
import time

from tools.commission.bench import NO_VALUE, Bench
from tools.commission.outcome import DoesNotApply, Failed, Plot, Series
from tools.commission.wire import Refused

SEEN_S = 10.0  # in which a press must have been seen once the person says that it is pressed
STOP_S = 1.0
CLOSE_S = 1.0


async def estop(bench: Bench) -> None:
    """The emergency stop is seen, opens the contactors, stays latched, and can be reset once it is released."""
    name, options = bench.device("io_board")
    if int(options.get("estop_pin", -1)) < 0:
        raise DoesNotApply("no emergency stop is wired to this board (estop_pin -1): try what it acts on, and write it down")
    await bench.start()
    began = time.monotonic()
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
    _opened(bench, seen, began, wired)
    try:
        await bench.console.ask("pm.reset_emergency()")
    except Refused as error:
        bench.note("a reset while it is pressed", "refused", "", "refused", "emergency_stop" in str(error))
    else:
        raise Failed("the emergency was reset while its stop is pressed", "the stop bounces, or its contact does not latch")
    await bench.ask_for("release")
    if await _pressed(bench, 0) != 0:
        raise Failed("the emergency stop was released, and the board still sees it pressed", "its wires, and estop_pressed_level")
    await bench.until(lambda s: "emergency_stop" not in (s.get("faults") or []), 5, "the fault emergency_stop is to end")
    if await bench.console.ask("pm.reset_emergency()") is not True:
        raise Failed("the reset of the emergency could not be stored", "the board's flash: services() at the console")
    await bench.mode("STANDBY", seconds=5)


async def _pressed(bench: Bench, wanted: int) -> int:
    """What the board sees, once it is what is wanted or the time is over."""
    give_up = time.monotonic() + SEEN_S
    while (seen := (await bench.raw("IO_ESTOP"))[0]) != wanted and time.monotonic() < give_up:
        pass
    return seen


def _opened(bench: Bench, seen: list[tuple[float, list[int]]], began: float, wired: bool) -> None:
    """From the press, as the board saw it, to contactors that are open by their feedback (without one: by command)."""
    names = ("emergency stop pressed", "contactors commanded closed", "feedback closed")[: 2 + wired]
    lines = [Series(name, [(at - began, float(max(0, values[n]))) for at, values in seen]) for n, name in enumerate(names)]
    bench.outcome.plots.append(Plot("the emergency stop is pressed", "s", "on", lines))
    pressed = next(at for at, values in seen if values[0] == 1)
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
        bench.note("feedback closed after the command", closed_s, "s", f"at most {CLOSE_S:g}", closed_s <= CLOSE_S)
        if closed_s > CLOSE_S:
            raise Failed(f"the contactors need {closed_s:.2f} s to close", "the coil's supply")
    await bench.start()
    await _broken(bench, wired)
    if not wired:
        bench.note("feedback", "not wired: the board does not see whether the contactors close and open")


async def break_current(bench: Bench) -> None:
    """Stopped under a small power they open only when the current is below what they may break."""
    _, options = bench.device("io_board")
    if int(options.get("contactor_pin", -1)) < 0:
        raise DoesNotApply("this board drives no contactor (contactor_pin -1)")
    await bench.start()
    await bench.hold(bench.pulse_kw, 1.0)
    await _broken(bench, int(options.get("feedback_pin", -1)) >= 0)


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


async def _broken(bench: Bench, wired: bool) -> None:
    """Stop under power, and see at what current the contactors are let go."""
    most = bench.power("contactor_break_current", 5.0)
    began = time.monotonic()
    await bench.console.ask("pm.stop()")
    seen: list[tuple[float, float, int, int]] = []
    give_up = began + bench.power("contactor_wait", 2.0) + 10
    while time.monotonic() < give_up:
        wanted, closed, bms, dc = await bench.raw("CMD_CONTACTOR", "IO_CONTACTOR", "BMS_I", "PCS_DC_I")
        amps = max((abs(value) / 10 for value in (bms, dc) if value != NO_VALUE), default=0.0)
        seen.append((time.monotonic() - began, amps, wanted, closed))
        if not wanted and (closed == 0 or not wired):
            break
    else:
        raise Failed(f"the contactors do not open after stop(): {await bench.why()}")
    opened = next(entry for entry in seen if not entry[2])
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
