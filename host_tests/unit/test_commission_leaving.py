"""What commissioning leaves behind: no power that nobody renews, no inverter that is told nothing, nobody else's emergency."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from host_tests.unit.commission_ports import Accepts, NoHand, sample
from tools.commission import bench as bench_module
from tools.commission import losses
from tools.commission import walk as walk_module
from tools.commission.bench import Agreed, Bench
from tools.commission.outcome import FAIL, Failed
from tools.commission.steps import Step
from tools.commission.walk import State, Walk
from tools.commission.wire import Console, Sample, Silent


def test_a_power_ends_by_itself_is_renewed_while_it_goes_on_and_never_comes_back_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench_module, "RENEW_S", 0.01)
    port = Accepts()

    async def session() -> None:
        bench = Bench(Console(port), {}, Agreed({}), NoHand())
        await bench.set_power(4)
        while port.sent.count("pm.set_constant_power(4, 1)") < 3:
            await asyncio.sleep(0.01)
        await bench.set_power(-2)
        others = len(port.sent)
        while len(port.sent) < others + 3:
            await asyncio.sleep(0.01)
        assert set(port.sent[others:]) == {"pm.set_constant_power(-2, 1)"}
        await bench.free()
        freed = len(port.sent)
        await asyncio.sleep(0.1)
        assert port.sent[freed:] == [] and "pm.resume()" in port.sent

    asyncio.run(asyncio.wait_for(session(), 20))


def test_a_board_that_is_silent_at_the_end_is_not_said_to_be_at_rest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(walk_module, "AGAIN_S", 0.05)
    port, hand = Accepts(), NoHand()

    async def dies(bench: Bench) -> None:
        port.deaf = True
        raise Silent("the monitor has said nothing for 5 s")

    async def session() -> None:
        console = Console(port)
        monkeypatch.setattr(console, "lines", _hasty(console.lines))
        bench = Bench(console, {}, Agreed({}), hand)
        step = Step("dies", "The board loses its power", dies, standby=False)
        assert await Walk(bench, State(tmp_path / "state.json", {}), steps=(step,)).run() is False

    asyncio.run(asyncio.wait_for(session(), 20))
    assert any("PRESS THE EMERGENCY STOP" in text for text in hand.told)
    assert not any("STANDBY." in text for text in hand.told), hand.told


def test_an_emergency_that_somebody_gives_amid_a_step_is_left_to_them_and_told_at_the_end(tmp_path: Path) -> None:
    """"stopped here: 0 W, STANDBY." was said of a site whose emergency stood."""
    port, hand = Accepts(), NoHand()

    async def stopped_by_somebody(bench: Bench) -> None:
        port.mode = "EMERGENCY"
        await bench.check_running(await bench.state())

    async def session() -> None:
        step = Step("stopped", "Somebody presses the button on the page", stopped_by_somebody)
        console = Console(port)
        console.next_sample = lambda *_: sample(port)  # type: ignore[method-assign]
        bench = Bench(console, {}, Agreed({}), hand)
        assert await Walk(bench, State(tmp_path / "state.json", {}), steps=(step,)).run() is False

    asyncio.run(asyncio.wait_for(session(), 20))
    assert any("the site has stopped by itself" in text for text in hand.told), hand.told
    assert "stopped here: 0 W, an EMERGENCY stands: find its cause, then pm.reset_emergency()." in hand.told
    assert not any("reset_emergency" in line or "pm.stop" in line for line in port.sent), port.sent


@pytest.mark.parametrize("ends", ["an emergency", "Ctrl-C"])
def test_an_inverter_that_is_told_nothing_is_told_0_w_at_once_when_somebody_stops_the_step(
    ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the rest of a minute it went on with its power, and the contactors opened under it."""
    port = Accepts()

    async def session() -> None:
        console = Console(port)
        bench = Bench(console, {"devices": {"pcs": {"type": "pcs_sunspec"}}}, Agreed({}), NoHand())
        console.next_sample = lambda *_: running_sample(port)  # type: ignore[method-assign]
        monkeypatch.setattr(bench, "start", nothing)
        monkeypatch.setattr(bench, "hold", nothing)
        step = asyncio.create_task(losses.watchdog(bench))
        while not any("keep_silent" in line for line in port.sent):
            await asyncio.sleep(0.01)
        if ends == "Ctrl-C":
            step.cancel()
        else:
            port.mode = "EMERGENCY"
        with pytest.raises(asyncio.CancelledError if ends == "Ctrl-C" else Failed):
            await step

    asyncio.run(asyncio.wait_for(session(), 10))
    assert "app.site.devices['pcs'].keep_silent(0)" in [line for line in port.sent if "keep_silent" in line][-1]


def test_an_inverter_is_told_nothing_for_seconds_at_a_time_so_that_a_computer_that_is_gone_leaves_it_so_no_longer() -> None:
    """It was told nothing for all of the step, up to a minute, whatever became of the computer."""
    port = Accepts()
    port.mode = "DISCHARGE"

    async def session() -> None:
        console = Console(port)
        bench = Bench(console, {"devices": {"pcs": {"type": "pcs_sunspec"}}}, Agreed({}), NoHand())
        console.next_sample = lambda *_: running_sample(port)  # type: ignore[method-assign]
        bench.start = bench.hold = nothing  # type: ignore[method-assign, assignment]
        step = asyncio.create_task(losses.watchdog(bench))
        while sum("keep_silent" in line for line in port.sent) < 3:
            await asyncio.sleep(0.01)
        step.cancel()
        await asyncio.wait([step])

    asyncio.run(asyncio.wait_for(session(), 10))
    asked_ms = [int(found) for line in port.sent for found in re.findall(r"keep_silent\((\d+)\)", line)]
    assert max(asked_ms) == 1000 * losses.SILENCE_S and losses.SILENCE_S <= 5, asked_ms


def test_a_stop_that_somebody_gives_while_an_inverter_is_told_nothing_ends_that_at_once() -> None:
    """The contactors opened under the power that it went on with."""
    port = Accepts()
    port.mode = "DISCHARGE"
    port.value_of = {"im.ORDER_START": "False"}

    async def session() -> None:
        console = Console(port)
        bench = Bench(console, {"devices": {"pcs": {"type": "pcs_sunspec"}}}, Agreed({}), NoHand())
        console.next_sample = lambda *_: running_sample(port)  # type: ignore[method-assign]
        bench.start = bench.hold = nothing  # type: ignore[method-assign, assignment]
        with pytest.raises(Failed, match="somebody has stopped the site"):
            await losses.watchdog(bench)

    asyncio.run(asyncio.wait_for(session(), 10))
    assert "keep_silent(0)" in [line for line in port.sent if "keep_silent" in line][-1]


def test_an_emergency_that_somebody_gives_on_top_of_that_of_a_step_is_not_reset_with_it() -> None:
    """Two had been given when the step came to reset its own."""
    port = Accepts()
    port.value_of = {"pm.reset_emergency() if": "2"}

    async def session() -> None:
        bench = Bench(Console(port), {}, Agreed({}), NoHand())
        with pytest.raises(Failed, match="somebody has given an emergency meanwhile"):
            await bench.reset_emergency(1)

    asyncio.run(asyncio.wait_for(session(), 10))
    assert port.sent == ["pm.reset_emergency() if pm.emergencies<=1 else pm.emergencies"]


def test_a_power_that_an_ems_commands_amid_a_step_is_said_to_be_somebody_elses() -> None:
    """A meter was said to be turned that showed what an EMS had commanded meanwhile."""
    port = Accepts()

    async def session() -> None:
        bench = Bench(Console(port), {}, Agreed({}), NoHand())
        await bench.set_power(4)
        await bench.check_running({"mode": "DISCHARGE", "by": "manual"})
        with pytest.raises(Failed, match="somebody else commands meanwhile"):
            await bench.check_running({"mode": "DISCHARGE", "by": "remote"})
        await bench.free()
        await bench.check_running({"mode": "DISCHARGE", "by": "remote"})  # the step asks it to

    asyncio.run(asyncio.wait_for(session(), 10))


async def nothing(*_: Any) -> None:
    """A step's beginning, for which no board is there."""


async def running_sample(port: Accepts) -> Sample:
    await asyncio.sleep(0.01)
    return Sample(0.0, {"mode": "DISCHARGE" if port.mode == "STANDBY" else port.mode, "cmd": 5, "p": 5.0})


def test_a_step_that_meets_what_nobody_reports_has_failed_and_the_walk_goes_on(tmp_path: Path) -> None:
    """A meter that fell silent amid the export's step ended all of it with a traceback, and no result was kept."""
    port, hand = Accepts(), NoHand()
    done: list[str] = []

    async def without_meter(bench: Bench) -> None:
        bench_module.mean([{"p": 1.0, "grid_p": None}])["grid_p"]

    async def next_one(bench: Bench) -> None:
        done.append("next")

    async def session() -> State:
        console = Console(port)
        console.next_sample = lambda *_: sample(port)  # type: ignore[method-assign]
        steps = (Step("export", "Export", without_meter), Step("next", "The next", next_one))
        state = State(tmp_path / "state.json", {})
        assert await Walk(Bench(console, {}, Agreed({}), hand), state, go_on=True, steps=steps).run() is False
        return state

    state = asyncio.run(asyncio.wait_for(session(), 20))
    assert done == ["next"]
    assert state.outcomes["export"].verdict == FAIL
    assert state.outcomes["export"].text == "the step could not be ended: the board's monitor has no value of 'grid_p'"


def _hasty(lines: Callable[..., Any]) -> Callable[..., Any]:
    return lambda line, timeout=0.0, **more: lines(line, 0.05, **more)
