"""One run: a site, a board and a scenario, joined; what both sides say of it, and whether it was sound."""

import ast
import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from tools.sim.board.board import Board
from tools.sim.live import LiveSite
from tools.sim.names import event_text
from tools.sim.scenario import Scenario, Step

MONITOR_MS = 500
READERS_TOLD = 20
READY_S = 30.0  # a board that has not answered by then has not booted
ANSWER_S = 5.0
EXPECT_S = 2.0  # an expectation may come true this much late (the console reports twice a second)
BOOT_S = 5.0  # while devices announce themselves, their lines may cut a report in two
EVENTS_KEPT = 200
FIGURES_S = 10.0  # a board that has not counted up by then says nothing
# What the board itself counts (tools/sim/board/figures.py): None where it has no such thing or did not answer.
FIGURES = (
    "chip", "boot_ms", "boot_flash_ops", "flash_reads", "flash_writes", "flash_erases", "store_reads", "imports", "opens",
    "collections", "collection_ms_max", "heap_live", "heap_spare", "heap_largest", "heap_bytes", "heap_third_area",
    "names", "names_frozen",
    "heap_names_given_back", "heap_constants_given_back", "heap_instruments_given_back", "pool", "pool_code",
    "pool_wifi", "pool_free", "watchdog_unfed_ms_max", "clock_late_ms_max",
    "clock_given_up_ms",
)  # fmt: skip
# What is asked at the end of a run, by its name in the summary.
QUESTIONS = {"gap_causes": "app.metering.causes()", "step_ms_max": "app.metering.loop_time.report()"}
# Console lines no sound run prints: an exception, a site file that is refused, a task that had to start again.
TROUBLE = ("Traceback", "MemoryError", "Task exception", " is refused; staying in", ": restarted after ")


class Session:
    """Plays `scenario`.  `state` is the board's newest monitor line, `log` what happened, newest last."""

    def __init__(
        self, site: LiveSite, board: Board, scenario: Scenario, repeat: bool = False, typed: Sequence[str] = ()
    ) -> None:  # fmt: skip
        """repeat: begin the scenario again when it ends, until `end()` is called; typed: lines at the console whenever it is up."""
        self.typed = typed
        self.site = site
        self.board = board
        self.scenario = scenario
        self.repeat = repeat
        self.state: dict[str, Any] = {}
        self.log: deque[tuple[float, str, str]] = deque(maxlen=EVENTS_KEPT)  # (second, kind, text)
        self.noted = 0  # entries of the log so far, those that it has dropped included
        self.problems: list[str] = []
        self.started = 0.0
        self.seconds = 0.0
        self.soc_start = site.plant.pack.soc * 100
        self.soc_end = self.soc_start
        self.on_tick: Callable[[], None] | None = None
        self.figures: dict[str, Any] = {}
        self.told: dict[str, Any] = {}  # what the console was asked at the end
        self.answer_s = ANSWER_S  # that a line's answer is waited for
        self._answers: asyncio.Queue[str] = asyncio.Queue()
        self._behind = False  # an answer came too late, and may be taken for the next one's
        self._marks = 0
        self._ready = asyncio.Event()
        self._end = asyncio.Event()
        self._clears: list[asyncio.Task[None]] = []
        self._cut = False  # the scenario has taken the board's power away

    # ---- the run ----------------------------------------------------------------------------------------
    async def play(self) -> None:
        """Start everything, play the scenario to its end (or to `end()`), leave everything running."""
        site, board = self.site, self.board
        await site.start()
        board.site = site.board_json()
        board.on_line = self._line
        site.wire(board)
        board.on_reset = self._reset
        await board.start()
        await self._greet()
        self.started = time.monotonic()
        self.soc_start = site.plant.pack.soc * 100
        for name, profile in self.scenario.profiles.items():
            site.follow(name, profile)
        while True:
            await self._play_once()
            if not self.repeat or self._end.is_set():
                break
        self.soc_end = site.plant.pack.soc * 100
        self.seconds = time.monotonic() - self.started
        if board.running:
            await self._ask_at_the_end()
        with contextlib.suppress(TimeoutError):
            self.figures = await board.figures(timeout=FIGURES_S)
        if not board.running and not self._cut:
            self.problems.append(f"the board ended (exit code {board.returncode})")

    async def _ask_at_the_end(self) -> None:
        """What the monitor does not say: who held control up, [late cycles, longest gap in ms], and each task's longest step."""
        for name, line in QUESTIONS.items():
            answer = await self.ask(line)
            with contextlib.suppress(ValueError, SyntaxError):  # no answer, or one that was cut
                self.told[name] = ast.literal_eval(answer[2:])

    def end(self) -> None:
        """Stop playing as soon as possible."""
        self._end.set()
        self._ready.set()

    async def close(self) -> None:
        """Stop the board, then the site."""
        for task in self._clears:
            task.cancel()
        self.board.on_line = None
        with contextlib.suppress(Exception):
            await self.board.stop()
        await self.site.stop()

    async def _greet(self) -> None:
        """Wait until the console answers, and ask it to report."""
        give_up = time.monotonic() + READY_S
        # as a line of Python it loads nothing from flash; a console with PINs takes it as a command only, until the login below
        report = f"monitor {MONITOR_MS}" if self.typed else f"monitor({MONITOR_MS})"
        while not self._ready.is_set():
            if self.board.is_off or time.monotonic() > give_up:
                tail = "\n".join(list(self.board.lines)[-20:])
                raise RuntimeError(f"the board did not come up; its console said:\n{tail or '(nothing)'}")
            await self.board.send(report)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ready.wait(), 1.0)
        await self._catch_up()
        for line in self.typed:
            answer = await self.ask(line)
            if not answer.startswith("= "):
                self.problems.append(f"{line.split()[0]!r}, typed at the start, was refused: {answer[1:].strip() or 'no answer'}")

    async def _play_once(self) -> None:
        base = time.monotonic()
        for step in self.scenario.steps:
            if step.at >= self.scenario.seconds:
                break
            await self._until(base + step.at)
            if self._end.is_set():
                return
            await self._act(step)
        await self._until(base + self.scenario.seconds)

    async def _until(self, when: float) -> None:
        while not self._end.is_set():
            left = when - time.monotonic()
            if left <= 0:
                return
            if self.on_tick is not None:
                self.on_tick()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._end.wait(), min(left, 0.25))

    # ---- steps ------------------------------------------------------------------------------------------
    async def _act(self, step: Step) -> None:
        if step.action == "do":
            await self._type(step)
            return
        if step.action == "expect":
            await self._expect(step)
            return
        self._note("site", str(step) + (f" for {step.seconds:g} s" if step.seconds else ""))
        if step.action == "set":
            for name, value in step.value.items():
                self.site.set(name, value, step.of)
        elif step.action == "follow":
            for name, profile in step.value.items():
                self.site.follow(name, profile)
        elif step.action == "inject":
            self.site.inject(step.value, step.of)
            if step.seconds:
                self._clears.append(asyncio.create_task(self._clear_later(step)))
        elif step.action == "clear":
            self.site.clear(step.value, step.of)
        elif step.value == "kill":
            self._cut = True
            self.board.kill()
        else:
            self._cut = False
            await self.board.restart()
            self._ready.clear()
            await self._greet()

    async def ask(self, line: str) -> str:
        """Type a line; its answer, "" when none has come in time."""
        if self._behind:
            await self._catch_up()
        await self.board.send(line)
        return await self._answer()

    async def _answer(self) -> str:
        try:
            return await asyncio.wait_for(self._answers.get(), self.answer_s)
        except TimeoutError:
            self._behind = True
            return ""

    async def _catch_up(self) -> None:
        """Wait for the answers to all that was typed before: a slow board has many lines before it."""
        self._marks += 1
        await self.board.send(f"'here {self._marks}'")
        while (answer := await self._answer()) != f"= 'here {self._marks}'":
            if not answer:
                return
        self._behind = False

    async def _type(self, step: Step) -> None:
        self._note("console", step.value)
        answer = await self.ask(step.value)
        if not answer:
            self.problems.append(f"no answer to {step.value!r} within {self.answer_s:g} s")
            self._note("error", f"no answer to {step.value}")
            return
        if answer.startswith("!"):
            self._note("console" if step.refused else "error", answer)
            if not step.refused:
                self.problems.append(f"{step.value!r} was refused: {answer[1:].strip()}")
        elif step.refused:
            self.problems.append(f"{step.value!r} should have been refused, but: {answer}")

    async def _clear_later(self, step: Step) -> None:
        await asyncio.sleep(step.seconds)
        self._note("site", f"clear {step.value}" + (f" of {step.of}" if step.of else ""))
        self.site.clear(step.value, step.of)

    async def _expect(self, step: Step) -> None:
        """Look until it is true, or say what is instead."""
        give_up = time.monotonic() + EXPECT_S
        while True:
            truth = self.site.truth()
            known = truth["of"][step.of] if step.of else {**self.state, **{k: v for k, v in truth.items() if k != "faults"}}
            wrong = [f"{n} is {known.get(n)!r}, not {w!r}" for n, w in step.value.items() if not _fits(known.get(n), w)]
            if not wrong:
                of = f"{step.of}: " if step.of else ""
                self._note("site", f"as expected: {of}" + ", ".join(f"{n} {_short(known[n])}" for n in step.value))
                return
            if time.monotonic() > give_up:
                break
            await asyncio.sleep(0.1)
        self.problems += [f"at {step.at:g} s: {step.of + ': ' if step.of else ''}{text}" for text in wrong]
        self._note("error", "; ".join(wrong))

    # ---- what the board says ----------------------------------------------------------------------------
    def _line(self, line: str) -> None:
        if line.startswith("{"):
            self._report(line)
        elif line.startswith(("= ", "! ")) or line == "=":
            self._answers.put_nowait(line)
        elif line.strip():
            bad = any(mark in line for mark in TROUBLE)
            if bad:
                self.problems.append(f"console: {line}")
            self._note("error" if bad else "board", line)

    def _report(self, line: str) -> None:
        try:
            data = json.loads(line)
        except json.JSONDecodeError:
            self._note("board", line)
            if self.started and self.elapsed() > BOOT_S and not self._cut:  # a power cut may end a line
                self.problems.append(f"console: broken report {line[:60]!r}")
            return
        if "event" in data:
            self._note("event", event_text(data["event"], data.get("data")))
        elif "t" in data:
            self.state = data
            self._ready.set()

    def _reset(self, cause: str) -> None:
        self.problems.append(f"the board restarted: {cause}")
        self._note("error", f"board restarted: {cause}")

    def elapsed(self) -> float:
        """Seconds since the scenario began."""
        return time.monotonic() - self.started if self.started else 0.0

    def _note(self, kind: str, text: str) -> None:
        self.log.append((self.elapsed(), kind, text))
        self.noted += 1

    # ---- the verdict ------------------------------------------------------------------------------------
    def summary(self) -> dict[str, Any]:
        """The figures of the run, from the firmware's own report and the site's truth."""
        s, truth = self.state, self.site.truth()
        worst = max(float(s.get("violation_w") or 0), self.site.auditor.worst_violation_w)
        if worst > 0:
            text = self.site.auditor.worst_text or "by the firmware's own account"
            self.problems.append(f"limit violated by {worst:.0f} W ({text})")
        return {
            "cycles": s.get("cycles", 0),
            "period_ms_p50": s.get("period_p50"),
            "period_ms_p99": s.get("period_p99"),
            "compute_us_p50": s.get("compute_p50"),
            "compute_us_p99": s.get("compute_p99"),
            "commands": s.get("commands", 0),
            "worst_violation_w": round(worst, 1),
            "soc_start": self.soc_start,
            "soc_end": self.soc_end,
            "energy_in_wh": s.get("e_in"),
            "energy_out_wh": s.get("e_out"),
            "mode": s.get("mode"),
            "faults": s.get("faults", []),
            "events": s.get("events", {}),
            "heap_used": s.get("heap_used"),
            "heap_free": s.get("heap_free"),
            "period_ok": s.get("period_ok"),
            "gap_ms_max": s.get("gap_ms_max"),
            "gap_ms_p999": s.get("gap_ms_p999"),
            "gap_ms_flash": s.get("gap_ms_flash"),
            "gap_causes": self.told.get("gap_causes"),
            "step_ms_max": self.told.get("step_ms_max"),
            **{name: self.figures.get(name) for name in FIGURES},
            "flash_read_by": self._flash_read_by(),
            "energy_balance_error_pct": self._balance_error(s),
            "scenario": self.scenario.name,
            "seconds": round(self.seconds, 1),
            "seed": self.site.seed,
            "setpoints_written": self.site.setpoints(),
            "pcs_watchdog_trips": truth["pcs_watchdog_trips"],
            "bms_relay_trips": truth["bms_relay_trips"],
            "true_energy_in_wh": round(truth["energy_in_wh"], 2),
            "true_energy_out_wh": round(truth["energy_out_wh"], 2),
            "problems": self.problems,
        }

    def _flash_read_by(self) -> list[str]:
        """What read flash in operation, most reads first: "import x: 84"."""
        seen = [one for one in self.board.accesses if one[0] != "store"]
        seen = seen[self.figures.get("boot_accesses", 0) :] if self.figures.get("boot_ms") else []
        totals: dict[str, int] = {}
        for kind, name, reads in seen:
            totals[f"{kind} {name}"] = totals.get(f"{kind} {name}", 0) + reads
        return [f"{what}: {reads}" for what, reads in sorted(totals.items(), key=lambda item: -item[1])[:READERS_TOLD]]

    def _balance_error(self, s: dict[str, Any]) -> float | None:
        """How far the firmware's AC energy counters, through the inverter's efficiency, are from the energy the
        SoC change stands for, % of it; None where there is too little to compare."""
        efficiency = self.site.plant.pcs.efficiency
        from_soc = (self.soc_start - self.soc_end) / 100 * self.site.capacity_kwh() * 1000
        if s.get("e_in") is None or abs(from_soc) < 10:
            return None
        from_ac = float(s["e_out"]) / efficiency - float(s["e_in"]) * efficiency
        return round(100 * abs(from_ac - from_soc) / abs(from_soc), 3)


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return isinstance(value, int | float) and wanted[0] <= value <= wanted[1]
    return value == wanted


def _short(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
