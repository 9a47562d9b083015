"""The walk through the checklist: what may come next, a safe stop at a failure, and a file from which it goes on."""

import asyncio
import contextlib
import hashlib
import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.commission import banks, figures, mend, still
from tools.commission.bench import SAMPLE_MS, Bench
from tools.commission.outcome import FAIL, NOT_TESTED, PASS, DoesNotApply, Failed, Figure, NotTested, Outcome, Plot, Series
from tools.commission.steps import STEPS, Step
from tools.commission.wire import Refused, Silent

SAFE_S = 15.0
_AT_REST = {"STANDBY": "0 W, STANDBY.", "EMERGENCY": "0 W, an EMERGENCY stands: find its cause, then pm.reset_emergency()."}
AGAIN_S = 15.0  # in which a board that was reset amid a step has started again


def utc() -> str:
    """Now, for files."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


class State:
    """What has been measured so far, in a file: of one board, one firmware and one site file; anything else begins anew."""

    def __init__(self, file: Path, subject: dict[str, Any]) -> None:
        """subject: chip, firmware and site file by their hashes."""
        self.file = file
        self.subject = subject
        self.began = utc()
        self.outcomes: dict[str, Outcome] = {}
        self.told: dict[str, Any] = {}  # by people, for the report: it need not be said again when it goes on
        self.resumed = False
        self.changed = False  # there were results, of something else
        if file.exists():
            self._load()

    def _load(self) -> None:
        try:
            kept = json.loads(self.file.read_text())
            same = kept["subject"] == self.subject
            found = {key: outcome(value) for key, value in kept["outcomes"].items()}
        except (ValueError, KeyError, TypeError):
            self.changed = True
            return
        if not same:
            self.changed = bool(found)
            return
        self.began, self.outcomes, self.resumed = kept["began"], found, bool(found)
        self.told = kept.get("told", {})

    def put(self, result: Outcome) -> None:
        """Keep one: the file is whole at every moment."""
        self.outcomes[result.id] = result
        self.file.parent.mkdir(parents=True, exist_ok=True)
        beside = self.file.with_suffix(".new")
        outcomes = {key: asdict(value) for key, value in self.outcomes.items()}
        content = {"subject": self.subject, "began": self.began, "told": self.told, "outcomes": outcomes}
        beside.write_text(json.dumps(content, indent=1))
        beside.replace(self.file)

    def passed(self, step: str) -> bool:
        """Whether a step has been passed, or does not apply."""
        return step in self.outcomes and self.outcomes[step].fine


def outcome(content: dict[str, Any]) -> Outcome:
    """An Outcome from its dictionary."""
    plots = [Plot(p["title"], p["x"], p["y"], [Series(s["name"], [(x, y) for x, y in s["points"]], s["dots"]) for s in p["series"]])
             for p in content["plots"]]  # fmt: skip
    return Outcome(**{**content, "figures": [Figure(**f) for f in content["figures"]], "plots": plots})


async def subject(bench: Bench, content: bytes) -> dict[str, Any]:
    """Who is being commissioned."""
    found = bench.software = await still.software(bench.console)
    return {
        "chip": await bench.console.ask("binascii.hexlify(machine.unique_id()).decode()"),
        "firmware": found["sha256"],
        "firmware_stamp": found["stamp"],
        "site": bench.site.get("name"),
        "site_sha256": hashlib.sha256(content).hexdigest(),
        "files": found["each"],
        "simulated": await still.simulated(bench.console),
    }


class Walk:
    """One session at the cabinet."""

    def __init__(self, bench: Bench, state: State, go_on: bool = False, steps: tuple[Step, ...] = STEPS) -> None:
        """go_on: behind a failure with what does not need it; steps: those of the checklist."""
        self.steps = steps
        self.bench = bench
        self.state = state
        self.go_on = go_on

    def due(self, only: list[str] | None = None) -> list[Step]:
        """What is still to be done, in its order; `only`: these, passed or not."""
        if only:
            return [step for step in self.steps if step.id in only]
        return [step for step in self.steps if not self.state.passed(step.id)]

    async def run(self, only: list[str] | None = None) -> bool:
        """Whether nothing has failed.  However it ends, the site is at 0 W in STANDBY."""
        bench = self.bench
        await bench.console.monitor(SAMPLE_MS)
        await bench.tidy()  # what a session before, whose laptop was gone, had no time to end
        sound = True
        try:
            for step in self.due(only):
                result = await self.one(step, check=not only)
                await asyncio.to_thread(self.state.put, result)  # a disk that is busy takes seconds, and control is not to wait
                self._tell(result)
                if result.verdict == FAIL:
                    sound = False
                    if not self.go_on:
                        break
                    await self.make_safe()
        finally:
            rests = await self.make_safe()
            await self._hush()
        if not sound and not self.go_on:
            bench.hand.say(f"stopped here: {_AT_REST.get(rests, '')}")
        return sound

    async def one(self, step: Step, check: bool = True) -> Outcome:
        """Do one step, whatever it comes to."""
        bench = self.bench
        result = bench.outcome = Outcome(step.id, step.title, began=utc())
        bench.asked = step.hands
        bench.hand.say(f"-- {step.title}")
        began, starts = time.monotonic(), bench.console.starts
        try:
            missing = [need for need in step.needs if not self.state.passed(need)] if check else []
            if missing:
                raise NotTested(f"needs first: {', '.join(missing)}")
            await self._work(step)
            result.verdict = PASS
            doubtful = [figure.name for figure in result.figures if figure.ok is False]
            if doubtful:
                raise Failed(f"out of bounds: {', '.join(doubtful)}")
        except Failed as error:
            result.verdict, result.text, result.advice, result.patch = FAIL, str(error), error.advice, error.patch
        except DoesNotApply as error:
            result.verdict, result.applies, result.text = NOT_TESTED, False, f"does not apply: {error}"
        except NotTested as error:
            result.verdict, result.text = NOT_TESTED, str(error)
        except (Refused, Silent) as error:
            again = "; it has started again meanwhile" if bench.console.starts > starts else ""
            result.verdict, result.text = FAIL, f"the board: {error}{again}"
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, AssertionError) as error:
            what = "the board's monitor has no value of" if isinstance(error, KeyError) else f"{type(error).__name__}:"
            result.verdict, result.text = FAIL, f"the step could not be ended: {what} {error}"
        result.seconds = round(time.monotonic() - began, 1)
        if result.verdict == FAIL and (held := bench.hand.held_up()):
            result.text += f" ({held})"
        if result.verdict != FAIL and step.standby:
            await self._end()
        return result

    async def _work(self, step: Step) -> None:
        """What the step does, of a site of several banks for each that it is about.  Failed and NotTested say for which."""
        turns = self.bench.turns(step.each)
        failed: list[Failed] = []
        untested: list[NotTested] = []
        for number, bank in enumerate(turns):
            who = f"{bank.told}: " if bank else "the site as a whole: " if len(turns) > 1 else ""
            try:
                await self._turn(step, bank, who)
            except Failed as error:
                failed.append(Failed(who + str(error), error.advice, error.patch))
                if number + 1 < len(turns):
                    await self.make_safe()
            except NotTested as error:
                untested.append(type(error)(who + str(error)))
        if failed:
            patch = {path: value for one in failed for path, value in one.patch.items()}
            advice = dict.fromkeys(one.advice for one in failed if one.advice)
            raise Failed("; ".join(str(one) for one in (*failed, *untested)), "; ".join(advice), patch)
        missing = [one for one in untested if not isinstance(one, DoesNotApply)]
        if missing or len(untested) == len(turns):
            kind = NotTested if missing else DoesNotApply
            raise kind("; ".join(str(one) for one in missing or untested))
        for one in untested:
            self.bench.note("does not apply", str(one))

    async def _turn(self, step: Step, bank: "banks.Bank | None", who: str) -> None:
        """One of them; its figures and plots get its name."""
        bench, result = self.bench, self.bench.outcome
        if step.standby:
            await self._begin()
        if bank is None:
            await step.work(bench)
            return
        bench.hand.say(f"   {who.removesuffix(': ')}")
        figures_before, plots_before = len(result.figures), len(result.plots)
        try:
            async with banks.alone(bench, bank):
                await step.work(bench)
        finally:
            name = f"bank {bank.name}: "
            for figure in result.figures[figures_before:]:
                figure.name = name + figure.name.removeprefix(name)
            for plot in result.plots[plots_before:]:
                plot.title = name + plot.title
        if step.standby:
            await bench.tidy()
            await bench.stop()

    async def _begin(self) -> None:
        if await self.bench.stop() == "EMERGENCY":
            raise Failed(f"an emergency stands: {await self.bench.why()}", "find its cause, then pm.reset_emergency()")

    async def _end(self) -> None:
        try:
            await self.bench.tidy()
            await self.bench.stop()
        except (Failed, Refused, Silent) as error:
            self.bench.hand.say(f"   the site does not come to STANDBY by itself: {error}")

    def _tell(self, result: Outcome) -> None:
        say = self.bench.hand.say
        say(f"   {result.verdict.upper()} in {result.seconds:.1f} s{': ' + result.text if result.text else ''}")
        for figure in result.figures:
            mark = {True: "ok ", False: "BAD", None: "   "}[figure.ok]
            bound = f" ({figure.bound})" if figure.bound else ""
            say(f"     {mark} {figure.name}: {figures.measured(figure.value, figure.unit)}{bound}")
        if result.advice:
            say(f"   what to do: {result.advice}")
        for line in mend.entries(result.patch):
            say(f"   {line}")

    async def make_safe(self) -> str:
        """0 W, contactors open: the mode; "" where it is not so: its emergency, and a person is told of a silent console."""
        bench = self.bench
        try:
            try:
                return await self._stopped()
            except Silent:  # a board that has started again keeps the monitor silent, and a console with a PIN locked
                await bench.console.wait_up(AGAIN_S)
                return await self._stopped()
        except (Failed, Refused, Silent, TimeoutError) as error:
            bench.hand.say(f"the site does not come to STANDBY: {error}")
            try:
                await bench.console.ask("emergency", 5.0)
                bench.hand.say("EMERGENCY was commanded: 0 W, contactors open; pm.reset_emergency() ends it")
            except (Refused, Silent):
                bench.hand.say(
                    "THE BOARD DOES NOT ANSWER: PRESS THE EMERGENCY STOP (what was commanded here ends by itself within a minute)"
                )
        return ""

    async def _stopped(self) -> str:
        await self.bench.tidy()
        async with asyncio.timeout(SAFE_S):
            return await self.bench.stop()

    async def _hush(self) -> None:
        """The monitor rests."""
        with contextlib.suppress(Refused, Silent):
            await self.bench.console.monitor(0)
