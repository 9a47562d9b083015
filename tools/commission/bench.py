"""What the steps work with: the console, the site file, power that is commanded and what becomes of it, and a person's hand."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from tools.commission import banks, figures
from tools.commission.outcome import Failed, Figure, NotTested, Outcome, Plot, Series
from tools.commission.wire import Console, Refused, Sample, Silent

SAMPLE_MS = 200
NO_VALUE = -(2**30)  # of a slot: not measured
PULSE_SHARE = 0.04  # of the rating: under the 5 % from which a wrong direction is a fault of its own
OWNER = "commissioning"
# What is commanded ends by itself when nobody is there to command it: the laptop may be gone at any moment.
LIFETIME_MIN = 1  # of a power: the shortest that an operation can have
RENEW_S = 20.0  # while it is to go on longer, as when a person looks for a cable
HOLD_S = 3600  # of the 0 W below it: what a schedule would do on a site that nobody has signed off waits so long
_STOPPED = ("STANDBY", "EMERGENCY", "MAINTENANCE")
REPORTED_S = 1.5  # until every battery has reported a power that is there
_STEADY_S = 1.0
_TAKEN_S = 0.3  # until a command shows in the monitor
_BANKS_OWN = ("BMS", "PCS", "CMD_P", "CMD_RUN", "FAULTS")  # how slots and groups begin that each bank has for itself,
_BY_IO = ("IO_", "CMD_CONTACTOR")  # and that one has whose I/O board is its own
# limits that are about the direction of the request, by the keys of the monitor
_LIMITS = {1: ("lim_dis", "why_dis"), -1: ("lim_chg", "why_chg")}


class Hand(Protocol):
    """A person at the cabinet, or the simulator's."""

    async def do(self, text: str, acts: tuple[tuple[str, ...], ...]) -> bool:
        """Ask for it; False where it cannot be done here.  acts: what the simulator's hand does."""

    def say(self, text: str) -> None:
        """Tell the person."""

    def absent(self) -> str:
        """Why nobody has answered what was asked last; "" where somebody has, with no."""

    def held_up(self) -> str:
        """What has happened in this session that is no fault of the site, and may be why it failed; "" where nothing has."""


class Agreed:
    """What is agreed about the site, and no file can tell: by the grid operator's letter and the cabinet's plates."""

    KEYS = {
        "export_kw": "kW that the grid operator allows to be exported at most",
        "ems": "address of the board, HOST or HOST:PORT",
        "ems_can": "this computer's CAN adapter on the EMS's bus, INTERFACE:CHANNEL as python-can names them",
    }

    def __init__(self, values: dict[str, Any]) -> None:
        """ValueError for what is no key."""
        unknown = set(values) - set(self.KEYS)
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: known are {', '.join(self.KEYS)}")
        self.values = values

    def get(self, key: str) -> Any:
        """None: nobody has said."""
        return self.values.get(key)


class Bench:
    """One walk's surroundings.  `site`: the board's site.json; `outcome`: of the step that is under way."""

    def __init__(self, console: Console, site: dict[str, Any], agreed: Agreed, hand: Hand) -> None:
        self.console = console
        self.site = site
        self.agreed = agreed
        self.hand = hand
        self.banks = banks.of(site)
        self.bank: banks.Bank | None = None  # the one that is tried by itself
        self.outcome = Outcome("", "")
        self.software: dict[str, Any] = {}  # still.software() of this session
        self.tables: dict[str, Any] = {}  # of devices whose table stands in a file of its own
        self.counts: dict[str, Any] = {}  # devices() as it was when the walk began
        self.counted_since = time.monotonic()
        self.asked: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {}  # of the step: what a person may be asked
        self.commands = False  # a power of ours is to flow, and nobody else's
        self._ended = asyncio.Event()  # nobody renews the power that was commanded last
        self._keeper: asyncio.Task[None] | None = None

    # ---- the site file ----------------------------------------------------------------------------------
    def power(self, name: str, default: float) -> float:
        """A field of the power section: of the bank that is tried by itself, else the site's."""
        own = self.bank.options.get("power", {}) if self.bank else {}
        return float(own.get(name, self.site_power(name, default)))

    def site_power(self, name: str, default: float) -> float:
        """The site's, whoever is tried."""
        return float(self.site.get("power", {}).get(name, default))

    @property
    def rated_kw(self) -> float:
        """The lesser of both configured powers, of the bank that is tried by itself or the site's."""
        return self.rated_of(self.bank)

    def rated_of(self, bank: banks.Bank | None) -> float:
        """Of a bank, which is no more than the site; None: the site's."""
        own = bank.options.get("power", {}) if bank else {}
        given = [self.site_power(name, 100.0) for name in ("max_charge_power", "max_discharge_power")]
        return min(*given, *(float(own[name]) for name in ("max_charge_power", "max_discharge_power") if name in own))

    @property
    def pulse_kw(self) -> float:
        """A small power."""
        return round(self.rated_kw * PULSE_SHARE, 2)

    def device(self, kind: str) -> tuple[str, dict[str, Any]]:
        """Name and options of the device that is the site's bms, pcs, meter or pv; ("", {}) where there is none.

        Of the bank that is tried by itself its own, and where it has none of the kind the site's.
        """
        return next(iter(self.devices(kind)), ("", {}))

    def devices(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        """All of them, the first of which is what a site with one of each has."""
        slots = {"bms": "BMS_V", "pcs": "PCS_P", "meter": "METER_P", "pv": "PV_P"}
        found = []
        for name, options in self.site.get("devices", {}).items():
            table = self.tables.get(name, options.get("table"))
            reads = [read.get("slot") for read in table.get("reads", [])] if isinstance(table, dict) else []
            if str(options.get("type", "")).startswith(kind) or slots.get(kind) in reads:
                found.append((name, options))
        return self._whose(found)

    def _whose(self, found: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
        """Those of the bank that is tried by itself; else, and where it has none, those that are no bank's alone."""
        if self.bank is not None:
            own = (*self.bank.batteries, *self.bank.inverters, self.bank.options.get("io"))
            if mine := [device for device in found if device[0] in own]:
                return mine
        io = {bank.options.get("io") for bank in self.banks}
        return [device for device in found if device[0] not in io]

    def turns(self, each: str) -> "list[banks.Bank | None]":
        """Who is tried, one after the other: None is the site as a whole.

        each: "" the site; "bank" every bank; "both" the banks, then the site; "io" those with contactors of their own, then it.
        """
        of_io = [bank for bank in self.banks if bank.options.get("io")]
        several: list[banks.Bank | None] = [*(of_io if each == "io" else self.banks if each else [])]
        return several if several and each == "bank" else [*several, None]

    def services(self, kind: str) -> dict[str, dict[str, Any]]:
        """The services of a type that the site file names, by their names."""
        found = self.site.get("services", {}).items()
        return {name: options for name, options in found if isinstance(options, dict) and options.get("type") == kind}

    def where(self, options: dict[str, Any]) -> str:
        """How a device is reached, for people."""
        return str(options.get("bus") or f"{options.get('host')}:{options.get('port', 502)}")

    # ---- figures -----------------------------------------------------------------------------------------
    def note(self, name: str, value: float | str, unit: str = "", bound: str = "", ok: bool | None = None) -> None:
        """A figure of the step."""
        self.outcome.figures.append(Figure(name, round(value, 3) if isinstance(value, float) else value, unit, bound, ok))

    def at_most(self, name: str, value: float, most: float, unit: str) -> bool:
        """The same with an upper bound; whether it holds."""
        self.note(name, value, unit, figures.at_most(most, unit), value <= most)
        return value <= most

    def plot(self, title: str, since: float, keys: dict[str, str], y: str = "kW") -> None:
        """A plot of what the monitor has said since then; keys: of the monitor (kw_dc: v x i), and the names of their lines."""
        samples = self.console.since(since)
        lines = [
            Series(name, [(round(s.at - since, 3), value) for s in samples if (value := _shown(s.state, key)) is not None])
            for key, name in keys.items()
        ]
        self.outcome.plots.append(Plot(title, "s", y, [line for line in lines if line.points]))

    # ---- a person ----------------------------------------------------------------------------------------
    async def ask_for(self, what: str, **words: Any) -> None:
        """Have a person do what the step's row calls so.  NotTested where it cannot be done here."""
        text, acts = self.asked[what]
        filled = tuple(tuple(word.format(**words) for word in act) for act in acts)
        if not await self.hand.do(text.format(**words), filled):
            raise NotTested(f"{self.hand.absent() or 'not done here'}: {text.format(**words)}")

    # ---- the state ---------------------------------------------------------------------------------------
    async def raw(self, *slots: str, of_banks: tuple[str, ...] = ()) -> list[int]:
        """Slots of the image as they are now, and behind them these of each bank."""
        asked = [f"{self._image(slot)}.now[im.{slot}]" for slot in slots]
        asked += [f"{bank.image}.now[im.{slot}]" for bank in self.banks for slot in of_banks]
        found = await self.console.ask(f"[{', '.join(asked)}]")
        assert isinstance(found, list)
        return found

    def _image(self, slot: str) -> str:
        """Where the board has it: what a bank has of its own is asked of the one that is tried."""
        bank = self.bank
        if bank is not None and (slot.removeprefix("AGE + im.SEQ_").startswith(_BANKS_OWN) or (
            slot.startswith(_BY_IO) and bank.options.get("io")
        )):  # fmt: skip
            return bank.image
        return "pm.image"

    async def state(self) -> dict[str, Any]:
        """The monitor's next line."""
        return (await self.console.next_sample()).state

    async def why(self) -> str:
        """Why the power is what it is, in the board's words."""
        lines, _ = await self.console.lines("why()")
        return "; ".join(lines)

    async def until(self, wanted: Callable[[dict[str, Any]], bool], seconds: float, what: str, moving: bool = False) -> Sample:
        """The first sample from now on that is wanted.  Failed with what the board says after so many seconds.

        moving: it is Failed too when the site stops by itself meanwhile.
        """
        give_up = time.monotonic() + seconds
        while True:
            sample = await self.console.next_sample()
            if wanted(sample.state):
                return sample
            if moving:
                await self.check_running(sample.state)
            if time.monotonic() > give_up:
                raise Failed(f"{what}: not within {seconds:g} s; the board says: {await self.why()}")

    async def emergencies(self) -> int:
        """How many have been commanded since the board started."""
        return int(await self.console.ask("pm.emergencies"))

    async def reset_emergency(self, ours: int) -> Any:
        """End the emergency of a step, when so many had been commanded.  Failed where somebody has given another: that is theirs.

        Looked at and reset in one line: nobody comes between.
        """
        answer = await self.console.ask(f"pm.reset_emergency() if pm.emergencies<={ours} else pm.emergencies")
        if isinstance(answer, bool):
            return answer
        raise Failed("somebody has given an emergency meanwhile, on top of this one: it stands, with 0 W and open contactors",
                     "find out who and why, then pm.reset_emergency(), and the step again")  # fmt: skip

    async def check_running(self, state: dict[str, Any]) -> None:
        """Failed where the site has stopped by itself."""
        if state.get("mode") in _STOPPED:
            raise Failed(f"the site has stopped by itself: {await self.why()}")
        if state.get("by") == "remote" and self.commands:
            raise Failed(f"somebody else commands meanwhile, and has priority: {await self.why()}",
                         "have the EMS rest while the site is commissioned")  # fmt: skip

    def first(self, since: float, wanted: Callable[[dict[str, Any]], bool]) -> float:
        """When it was first so, of all the samples since then: a person says later what has happened."""
        return next((sample.at for sample in self.console.since(since) if wanted(sample.state)), time.monotonic())

    @contextlib.asynccontextmanager
    async def watching(self, *slots: str, of_banks: tuple[str, ...] = ()) -> AsyncIterator[list[tuple[float, list[int]]]]:
        """Look at slots as often as the console answers, before and while something else goes on: (when, values), as raw()."""
        seen = [(time.monotonic(), await self.raw(*slots, of_banks=of_banks))]  # how it was before
        ended = asyncio.Event()

        async def look() -> None:
            while not ended.is_set():
                values = await self.raw(*slots, of_banks=of_banks)
                seen.append((time.monotonic(), values))

        task = asyncio.create_task(look())
        try:
            yield seen
        finally:
            ended.set()
            with contextlib.suppress(Refused, Silent):
                await task

    async def mode(self, *modes: str, seconds: float = 20.0) -> Sample:
        """Wait for one of these modes."""
        return await self.until(lambda state: state.get("mode") in modes, seconds, f"waiting for {' or '.join(modes)}")

    # ---- power -------------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Contactors closed, 0 W.  Failed with what it waits for."""
        answer = await self.console.ask("pm.start()")
        give_up = time.monotonic() + 30.0
        while (await self.state()).get("mode") not in ("IDLE", "CHARGE", "DISCHARGE"):
            if time.monotonic() > give_up:
                raise Failed(f"start() does not bring it to IDLE ({answer}): {await self.why()}")
        await self.console.ask(f"pm.claim('grid_service', 0, {HOLD_S}, {OWNER!r})")
        await self.set_power(0)
        await self.until(lambda state: abs(state.get("cmd") or 0) < 0.01, 10, "0 W after start()")

    async def stop(self) -> str:
        """0 W, contactors open: STANDBY, or EMERGENCY where somebody has stopped it before; which of the two."""
        self._no_keeper()
        mode = (await self.state()).get("mode")
        if mode in ("STANDBY", "EMERGENCY"):
            return str(mode)
        await self.console.ask("pm.stop()")
        return str((await self.mode("STANDBY", "EMERGENCY")).state["mode"])

    async def set_power(self, kw: float) -> float:
        """Command a power (+ discharge); when it was sent.  It goes on until another, stop() or free(), or a minute without us."""
        self._no_keeper()
        at = time.monotonic()
        line = f"pm.set_constant_power({kw:g}, {LIFETIME_MIN})"
        answer = await self.console.ask(line)
        if not str(answer).startswith("accepted"):
            raise Failed(f"set_constant_power({kw:g}) is answered with {answer}")
        self._ended, self.commands = asyncio.Event(), True
        self._keeper = asyncio.create_task(self._keep(line, self._ended))
        return at

    async def free(self) -> None:
        """Nothing of ours asks for power: somebody else is to."""
        self._no_keeper()
        for line in ("pm.resume()", f"pm.release('grid_service', {OWNER!r})"):
            await self.console.ask(line)

    async def _keep(self, line: str, ended: asyncio.Event) -> None:
        """Renew it.  It is never cancelled: the answer of half a line would be taken for the next one's."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    await ended.wait()
            if ended.is_set():
                return
            with contextlib.suppress(Refused, Silent):  # a site that has stopped by itself takes none; it may go on later
                await self.console.lines(line, unless=ended.is_set)

    def _no_keeper(self) -> None:
        self._ended.set()
        self.commands = False

    async def hold(self, kw: float, seconds: float = 2.0, parts: bool = True) -> dict[str, float]:
        """Command a power, wait until what is measured is steady, then average for so many seconds: {key: mean}.

        What is averaged is p, cmd, grid_p, v, i, load meter and the like, as the monitor has them; kw_dc is v x i.
        parts: of several banks each has to do its part of it, too.  Failed.
        """
        await self.steady(kw, await self.set_power(kw))
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            await self.check_running((await self.console.next_sample()).state)
        means = mean([sample.state for sample in self.console.since(began)])
        if parts and kw:
            await self.do_their_part()
        return means

    async def do_their_part(self) -> None:
        """Of several banks: each inverter and each battery has its part of the power that flows.  Failed with who has not."""
        await banks.do_their_part(self)

    async def steady(self, kw: float, since: float, most_s: float = 30.0) -> None:
        """Until command and measured power stand still, later than `since`, and the battery has reported then too."""
        give_up = since + most_s
        band = max(0.12, abs(kw) * 0.02, self.rated_kw * 0.0015)
        while (now := time.monotonic()) < give_up:
            await self.check_running((await self.console.next_sample()).state)
            if now - since < _STEADY_S + _TAKEN_S:
                continue
            newest = [s.state for s in self.console.since(now - _STEADY_S)]
            powers = [state["p"] for state in newest if isinstance(state.get("p"), int | float)]
            commands = [state["cmd"] for state in newest]
            if len(powers) >= 3 and max(powers) - min(powers) < band and max(commands) - min(commands) < band:
                break
        await asyncio.sleep(1.2 * self.power("bms_period_ms", 1000) / 1000)

    def limit(self, state: dict[str, Any], kw: float) -> tuple[float, str]:
        """The live limit in the direction of a power, kW, and what makes it."""
        limit, why = _LIMITS[1 if kw >= 0 else -1]
        return float(state.get(limit) or 0.0), str(state.get(why))

    async def tidy(self) -> None:
        """Nothing of ours is left: claims, pauses, limits."""
        self._no_keeper()
        for line in (f"pm.limit({OWNER!r})", f"pm.release('grid_service', {OWNER!r})"):
            try:
                await self.console.ask(line)
            except Refused:
                continue  # there was none


def _shown(state: dict[str, Any], key: str) -> float | None:
    """What a monitor's line has of it."""
    if key == "kw_dc":
        volts, amps = state.get("v"), state.get("i")
        return volts * amps / 1000 if isinstance(volts, int | float) and isinstance(amps, int | float) else None
    value = state.get(key)
    return float(value) if isinstance(value, int | float) else None


def mean(states: list[dict[str, Any]]) -> dict[str, float]:
    """Of every number in them."""
    found: dict[str, float] = {}
    for key in {key for state in states for key in state}:
        values = [state[key] for state in states if isinstance(state.get(key), int | float) and not isinstance(state[key], bool)]
        if values:
            found[key] = statistics.fmean(values)
    if "v" in found and "i" in found:
        found["kw_dc"] = found["v"] * found["i"] / 1000
    return found


def mean_of(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """Half way between two."""
    return {key: (first[key] + second[key]) / 2 for key in first if key in second}
