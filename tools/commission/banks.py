"""One bank of several tried by itself: the others are held at 0 W by the board, and what the monitor says is that bank's.

The board holds them for a lease that every look renews.  It is longer than a power has without us, so that whatever becomes of this
computer the power has ended before the others take part again; a reset ends it too.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple

from tools.commission import figures
from tools.commission.outcome import Failed
from tools.commission.wire import Refused, Sample, Silent

if TYPE_CHECKING:
    from tools.commission.bench import Bench

NO_VALUE = -(2**30)
LEASE_MS = 75_000  # longer than the minute that a power has without us
READS = 5
TELLS = 0.25  # of what a device is commanded: what its inverter may part by, here where nothing is to be measured exactly
LEAST = 0.25  # of its part of a small power: who is told less has none
BATTERY = (0.5, 2.0)  # of what a battery should carry, with losses and the share of packs in parallel
# keys of the monitor that are a bank's own
_KEYS = ("mode", "p", "cmd", "v", "i", "soc", "lim_dis", "lim_chg", "why_dis", "why_chg", "faults")
_IMPORTS = (
    "import time, asyncio",
    "from looptime import start as _start",
    "from firmware import believed as _bel, reports as _rep",
)
_BOARD = (
    f"""_who=-1
_end=0
def _alone(k):
 global _who,_end
 was=_who
 _who=k
 _end=time.ticks_add(time.ticks_ms(),{LEASE_MS})
 for n,b in enumerate(pm.image.banks):
  b.par[im.EMS_P_CHG]=b.par[im.EMS_P_DIS]=im.FREE if k<0 or n==k else 0
 if was<0<=k:
  _start('alone',_lease())
""",
    """async def _lease():
 while _who>=0:
  await asyncio.sleep_ms(500)
  if time.ticks_diff(time.ticks_ms(),_end)>0:
   _alone(-1)
""",
    f"""def _look():
 _alone(_who)
 b=pm.image.banks[_who]
 return {{k:v for k,v in _rep.brief(_bel.told(b.now,b.par)) if k in {_KEYS}}}
""",
)


class Bank(NamedTuple):
    """What hangs on one DC bus: its name, its place among the board's banks, its devices, its section of site.json."""

    name: str
    number: int
    batteries: list[str]
    inverters: list[str]
    options: dict[str, Any]

    @property
    def told(self) -> str:
        """For people."""
        return f"bank {self.name} ({', '.join(self.batteries + self.inverters)})"

    @property
    def image(self) -> str:
        """Where the board has its values."""
        return f"pm.image.banks[{self.number}]"

    @property
    def is_parallel(self) -> bool:
        """Whether it has several batteries or several inverters."""
        return len(self.batteries) > 1 or len(self.inverters) > 1


def of(site: dict[str, Any]) -> list[Bank]:
    """The banks of a site file, in the order in which the board has them; none where it does not divide itself."""
    section = site.get("banks") or {}
    return [
        Bank(name, number, list(section[name]["batteries"]), list(section[name]["inverters"]), section[name])
        for number, name in enumerate(sorted(section))
    ]


@contextlib.asynccontextmanager
async def alone(bench: "Bench", bank: Bank) -> AsyncIterator[None]:
    """Only this bank moves anything, and whatever a step asks of the site is asked of it.  Refused, Silent."""
    console = bench.console
    for line in (*_IMPORTS, *(f"exec({text!r})" for text in _BOARD), f"_alone({bank.number})"):
        await console.ask(line)
    waiting: asyncio.Queue[Sample | None] = asyncio.Queue()
    console.aside, bench.bank = waiting.put_nowait, bank
    task = asyncio.create_task(_looks(bench, waiting))
    try:
        yield
    finally:
        console.aside, bench.bank = None, None
        waiting.put_nowait(None)
        await task
        with contextlib.suppress(Refused, Silent):  # a board that was reset holds nobody any more
            await console.ask("_alone(-1)")


async def _looks(bench: "Bench", waiting: asyncio.Queue[Sample | None]) -> None:
    """Of each line of the monitor, make the bank's."""
    while (sample := await waiting.get()) is not None:
        while not waiting.empty():
            if (sample := waiting.get_nowait()) is None:
                return
        with contextlib.suppress(Refused, Silent):
            own = await bench.console.ask("_look()")
            if isinstance(own, dict):
                both = [*(sample.state.get("faults") or []), *(own.get("faults") or [])]
                bench.console.take(Sample(time.monotonic(), {**sample.state, **own, "faults": list(dict.fromkeys(both))}))


# ---- whether each device does its part ---------------------------------------------------------------------
async def do_their_part(bench: "Bench") -> None:
    """Under a power that stands still: that every inverter is told its part, does it, and its battery carries that.  Failed.

    Of the bank that is tried, or of all: a sum is right too where one goes the other way, does ten times its part, or has stopped
    for that, and the others do what it does not.
    """
    tried = [bench.bank] if bench.bank else bench.banks
    ratings = [bench.rated_of(bank) for bank in tried]
    for bank, rated in zip(tried, ratings, strict=True):
        least_kw = LEAST * bench.pulse_kw * rated / sum(ratings) / max(len(bank.inverters), len(bank.batteries))
        inverters = [f"{bank.image}.inverters[{n}]" for n in range(len(bank.inverters))]
        batteries = [f"{bank.image}.batteries[{n}]" for n in range(len(bank.batteries))]
        slots = [f"{one}.now[im.{slot}]" for one in inverters for slot in ("CMD_P", "PCS_P")]
        slots += [f"{one}.now[im.{slot}]" for one in batteries for slot in ("BMS_V", "BMS_I")]
        reads = [await bench.console.ask(f"[{', '.join(slots)}]") for _ in range(READS)]
        means = [sum(column) / READS if NO_VALUE not in column else None for column in zip(*reads, strict=True)]
        split = 2 * len(inverters)
        ac = list(zip(bank.inverters, means[0:split:2], means[1:split:2], strict=True))
        dc = list(zip(bank.batteries, means[split::2], means[split + 1 :: 2], strict=True))
        if idle := [name for name, told, _ in ac if abs(told or 0.0) / 1000 < least_kw]:
            raise Failed(f"{', '.join(idle)} of bank {bank.name} has no part of the power: {await bench.why()}",
                         "what the board says of it; the step direction tries it by itself")  # fmt: skip
        for name, told, done in ac:
            _inverter(bench, bank, name, (told or 0.0) / 1000, None if done is None else done / 1000)
        share = sum(told or 0.0 for _, told, _ in ac) / 1000 / len(bank.batteries)
        for name, volts, amps in dc:
            carries = None if volts is None or amps is None else volts * amps / 100_000
            _battery(bench, bank, name, share, carries)


def _inverter(bench: "Bench", bank: Bank, name: str, told: float, done: float | None) -> None:
    ok = done is not None and abs(done - told) <= TELLS * abs(told)
    value: float | str = "nothing" if done is None else done
    shown = figures.measured(value, "" if done is None else "kW")
    bench.note(f"bank {bank.name}: {name}, told {told:+.1f} kW, does", value, "" if done is None else "kW",
               figures.within(round(TELLS * abs(told), 2), round(told, 2), "kW", way=True), ok)  # fmt: skip
    if not ok:
        raise Failed(f"the inverter {name} of bank {bank.name} is told {told:+.1f} kW, and does {shown}",
                     "its direction, its scale, its address: the step direction says which")  # fmt: skip


def _battery(bench: "Bench", bank: Bank, name: str, share: float, carries: float | None) -> None:
    low, high = (factor * share for factor in BATTERY)
    ok = carries is not None and min(low, high) <= carries <= max(low, high)
    value: float | str = "nothing" if carries is None else carries
    shown = figures.measured(value, "" if carries is None else "kW")
    bench.note(f"bank {bank.name}: {name}, V x A", value, "" if carries is None else "kW",
               figures.between(round(min(low, high), 2), round(max(low, high), 2), "kW"), ok)  # fmt: skip
    if not ok:
        raise Failed(f"the battery {name} of bank {bank.name} shows {shown} where its inverters are told "
                     f"{share:+.1f} kW", "the inverter's direction and scale, the sign of the BMS's current; which battery hangs "
                     "on which inverter: \"banks\" in site.json")  # fmt: skip
