"""What happens to a board while it is judged: power flows, a hundred lines are typed, faults come, an emergency ends it."""

import ast
import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tools.bench.bars import typed
from tools.bench.bars.profiles import Judged
from tools.build import slots
from tools.sim.board.board import Board
from tools.sim.scenario import Scenario
from tools.sim.session import Session
from tools.sim.site import Site

LINES = 100
COMMAND_SLOT = slots.constants()["CMD_P"]
FLOWS_S = 30.0  # a board whose power does not flow by then is not judged with power flowing
FLOWS_KW = 5.0
READY_S = 15.0  # start() has closed the contactors long before
SIX = ("over_temperature", "cell_over_voltage", "grid_lost", "contactor_stuck", "pcs_fault", "bms_silent")
SITE: dict[str, Any] = {"load_kw": 20.0, "pv_kw": 8.0, "load_noise_kw": 0.5}
_KW = (-40.0, 30.0)  # in turn
_KINDS_KEPT = 8
# Of what lives, at the end.  Whatever is under way just then (half an answer, a request) is gone a moment later, and lies
# anywhere: the least that lives counts, and the largest piece that is free.
_SAMPLES = 8
_SAMPLE_S = 0.43


class JudgedSession(Session):
    """A Session that plays one of the stories below instead of a scenario's steps."""

    def __init__(
        self, site: Site, board: Board, judged: Judged, story: "Story", seconds: float, instructions: bool = False
    ) -> None:
        super().__init__(site, board, Scenario(story.__name__, seconds, site.seed))
        self.judged = judged
        self.story = story
        self.instructions = instructions
        self.answered = self.refused_as_it_should = 0
        self.answer_ms: dict[str, float] = {}  # the longest wait for each line's answer
        self.power_kw: list[float] = []  # what flowed, looked at now and then
        self.followed: dict[str, Any] = {}  # what the story of an EMS has shown, see follow.py
        self.hands: dict[str, Any] = {}  # what mpremote has shown, see hands.py
        self.zero_ms: dict[str, float] = {}  # from what ends the power until the inverter was told 0 W
        self._zero: asyncio.Event = asyncio.Event()
        self._setpoint = site.pcs.on_setpoint
        site.pcs.on_setpoint = self._given

    async def play(self) -> None:
        """Session's; then what lives is looked at more than once."""
        await super().play()
        for _ in range(1, _SAMPLES):
            await asyncio.sleep(_SAMPLE_S)
            with contextlib.suppress(TimeoutError, KeyError):
                seen, kept = await self.board.figures(), self.figures
                kept["heap_live"] = min(kept["heap_live"], seen["heap_live"])
                for name in ("heap_spare", "heap_largest"):
                    kept[name] = max(kept[name], seen[name])

    async def _play_once(self) -> None:
        install = f"__import__('sim_watch').install(app, {COMMAND_SLOT}, {self.instructions})"
        await self.type(install)
        await self.story(self)

    # ---- what stories are made of ---------------------------------------------------------------------
    async def type(self, line: str, wrong: bool | None = False) -> str:
        """Type a line, which must be answered; `wrong`: and refused, None: or not."""
        self._note("console", line)
        begun = time.monotonic()
        answer = await self.ask(line)
        took = 1000 * (time.monotonic() - begun)
        self.answer_ms[line] = max(self.answer_ms.get(line, 0.0), took)
        if not answer:
            self.problems.append(f"no answer to {line!r}")
        elif answer.startswith("!") and wrong is False:
            self.problems.append(f"{line!r} was refused: {answer[2:]}")
        elif not answer.startswith("!") and wrong:
            self.problems.append(f"{line!r} should have been refused, but: {answer}")
        else:
            self.answered += 1
        return answer

    async def counts(self, line: str) -> dict[str, int]:
        """What a line answers that gives a dict of numbers; nothing where it has no whole answer."""
        answer = await self.type(line)
        with contextlib.suppress(ValueError, SyntaxError):
            return dict(ast.literal_eval(answer[2:]))
        self.problems.append(f"{line!r} gave {answer!r}")
        return {}

    @property
    def ended(self) -> bool:
        """Nobody wants more of it."""
        return self._end.is_set()

    async def rest(self, seconds: float) -> None:
        """Let time pass, with an eye on the power."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._end.is_set():
            self.power_kw.append(abs(self.site.plant.pcs.power_w) / 1000)
            await self._until(min(end, time.monotonic() + 0.5))

    async def flowing(self) -> None:
        """Wait until power flows; a problem if it never does."""
        end = time.monotonic() + FLOWS_S
        while abs(self.site.plant.pcs.power_w) < FLOWS_KW * 1000:
            if time.monotonic() > end or self._end.is_set():
                why, faults = self.state.get("why_dis"), self.state.get("faults")
                self.problems.append(f"no power flowed within {FLOWS_S:g} s: {why}, {faults}")
                return
            await self._until(time.monotonic() + 0.25)

    async def until_zero(self, name: str, act: Callable[[], Awaitable[Any] | None]) -> None:
        """Do what must end the power, and take the time until the inverter has been told so."""
        self._zero.clear()
        begun = time.monotonic()
        done = act()
        if done is not None:
            await done
        try:
            await asyncio.wait_for(self._zero.wait(), 5)
        except TimeoutError:
            self.problems.append(f"{name}: the inverter was not told 0 W within 5 s")
        else:
            self.zero_ms[name] = round(1000 * (self._zero_at - begun), 1)

    def _given(self, watts: float) -> None:
        if self._setpoint is not None:
            self._setpoint(watts)
        if watts == 0 and not self._zero.is_set():
            self._zero_at = time.monotonic()
            self._zero.set()

    def inject(self, *names: str) -> None:
        """Faults, all at once."""
        self._note("site", "inject " + ", ".join(names))
        for name in names:
            self.site.inject(name)

    def clear(self, *names: str) -> None:
        """Their end."""
        self._note("site", "clear " + ", ".join(names))
        for name in names:
            self.site.clear(name)

    def summary(self) -> dict[str, Any]:
        """Session's, with what only a judged run knows."""
        slow = sorted(self.answer_ms.items(), key=lambda item: -item[1])[:_KINDS_KEPT]
        watched = (
            "watched_cycles", "erases_between_cycles", "emergency_cycles", "collections_in_cycle", "collections_unasked",
            "cycle_instructions_max", "gap_chip_ms", "gap_chip_by",
        )  # fmt: skip
        return {
            **super().summary(),
            "answered": self.answered,
            "answer_ms": {line: round(ms) for line, ms in slow},
            "mean_kw": round(sum(self.power_kw) / len(self.power_kw), 1) if self.power_kw else 0.0,
            "zero_ms": self.zero_ms,
            "followed": self.followed,
            "hands": self.hands,
            **{name: self.figures.get(name) for name in watched},
        }


Story = Callable[[JudgedSession], Awaitable[None]]


async def ready(run: JudgedSession) -> None:
    """start() has closed the contactors, as the monitor says; READY_S at most."""
    end = time.monotonic() + READY_S
    while run.state.get("mode") != "IDLE" and time.monotonic() < end:
        await run.rest(0.2)


async def begin(run: JudgedSession) -> None:
    """Callbacks registered, the clock set, power flowing."""
    if run.state.get("mode") == "EMERGENCY":
        await run.type("pm.reset_emergency()")
    for line in typed.CALLBACKS:
        await run.type(line)
    if run.judged.schedules:
        await run.type(typed.CLOCK)
    await run.type("pm.start()")
    await run.rest(2)
    await ready(run)
    await run.type(f"pm.set_constant_power({_KW[0]})")
    await run.flowing()


async def load(run: JudgedSession) -> None:
    """Power flows to and fro while a hundred lines are typed, evenly over the time; an emergency at the console ends it."""
    await _load(run, run.scenario.seconds)


async def _load(run: JudgedSession, seconds: float) -> None:
    await begin(run)
    begun = time.monotonic()
    turns = 0
    for n, line in enumerate(typed.mixed(LINES, run.judged.schedules > 0)):
        await run.rest(begun + seconds * n / LINES - time.monotonic())
        if run._end.is_set():
            return
        if n * 4 // LINES > turns:
            turns += 1
            await run.type(f"pm.set_constant_power({_KW[turns % 2]})")
        await run.type(line.text, line.wrong)
    await run.rest(begun + seconds - time.monotonic())
    await run.flowing()
    await run.until_zero("emergency_shutdown", lambda: run.type("pm.emergency_shutdown()"))
    await run.rest(2)


async def trouble(run: JudgedSession) -> None:
    """Six faults at once, a dead inverter and meter, an e-stop; each is over after a quarter of the time."""
    await _trouble(run, run.scenario.seconds)


async def full(run: JudgedSession) -> None:
    """Both, one after the other: a tenth of the time is trouble, and at the end the log of events is what that has made it."""
    seconds = run.scenario.seconds
    await _trouble(run, seconds / 10)
    await run.rest(5)  # what caused the e-stop is over, and seen to be
    await _load(run, seconds * 9 / 10)


async def _trouble(run: JudgedSession, seconds: float) -> None:
    part = seconds / 4
    await begin(run)
    run.inject(*SIX)
    await run.rest(part / 2)
    await _look(run)
    await run.rest(part / 2)
    run.clear(*SIX)
    await _recover(run, part)
    run.inject("pcs_silent", "meter_silent")
    await run.rest(part / 2)
    await _look(run)
    await run.rest(part / 2)
    run.clear("pcs_silent", "meter_silent")
    await _recover(run, part)
    await run.until_zero("e-stop", lambda: run.inject("estop"))
    await run.rest(2)
    await _look(run)
    run.clear("estop")


async def _look(run: JudgedSession) -> None:
    """What a person asks who wonders what is going on."""
    for line in ("pm.faults()", "devices()", "pm.stats()", "limits()", "pm.events.history()", "pm.claims()"):
        await run.type(line)


async def _recover(run: JudgedSession, seconds: float) -> None:
    """Back to flowing power, as a person would."""
    await run.rest(seconds / 2)
    await run.type("pm.reset_emergency() if pm.is_emergency else None", None)
    await run.type("pm.start()", None)
    await run.rest(seconds / 2)
    await run.type(f"pm.set_constant_power({_KW[1]})", None)
    await run.flowing()
