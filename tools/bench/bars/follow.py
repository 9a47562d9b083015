"""An EMS at the console: a setpoint that changes every few seconds over the range, both ways; does the inverter follow?

Judged by the inverter's own power in the plant, not by what the board has measured.  The time that a step may take is the
site's ramp (ramp_up, ramp_down: a change of direction falls to zero, then rises), the inverter's response, and some cycles.
"""

import asyncio
import time
from dataclasses import dataclass, field

from tools.bench.bars.story import JudgedSession, begin

HOLD_S = 5.0  # of each setpoint, at least
RANGE = (0.8, -0.8, 0.2, -0.5, 0.7, -0.1, -0.8, 0.4, 0.0, -0.6, 0.6)  # of the site's limits, in turn
NEAR_KW = 1.0  # this close is there: measurement noise and efficiency are no part of it
TIME_CONSTANTS = 5  # of the inverter's first-order response: 0.7 % are left
CYCLES = 10  # between what is typed and what the inverter is told: a look, a request that is under way, the write
THINKING_S = 0.05  # of a slow device, before every answer
_LOOK_S = 0.01
_COUNTED = ("pcs_lost", "pcs_not_following")


@dataclass
class Step:
    """One setpoint, and what became of it; seconds from when the line was sent."""

    before_kw: float
    wanted_kw: float
    first_write_s: float | None = None
    reached_s: float | None = None
    allowed_s: float = 0.0


@dataclass
class Followed:
    """What a run has shown."""

    steps: list[Step] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)  # faults that must not come, times raised
    requests_per_s: float | None = None  # on the RS485 line
    line_share: float | None = None  # of its time that it carried a request or an answer

    def summary(self) -> dict[str, object]:
        """For the figures of the run."""
        behind = [one.reached_s - one.allowed_s for one in self.steps if one.reached_s is not None]
        first = [one.first_write_s for one in self.steps if one.first_write_s is not None]
        return {
            "setpoints": len(self.steps),
            "not_written": sum(one.first_write_s is None for one in self.steps),
            "not_reached": [f"{one.before_kw:g} to {one.wanted_kw:g} kW" for one in self.steps if one.reached_s is None],
            "first_write_s_max": round(max(first), 3) if first else None,
            "behind_s_max": round(max(behind), 3) if behind else None,  # what it came later than it may; below 0: earlier
            "faults": self.lost,
            "requests_per_s": self.requests_per_s,
            "line_share": self.line_share,
        }


def ramp_s(before_kw: float, wanted_kw: float, up_kw_s: float, down_kw_s: float) -> float:
    """How long the site's ramp takes from one power to another."""
    if before_kw * wanted_kw < 0:
        return abs(before_kw) / down_kw_s + abs(wanted_kw) / up_kw_s
    rising = abs(wanted_kw) > abs(before_kw)
    return abs(wanted_kw - before_kw) / (up_kw_s if rising else down_kw_s)


async def follow(run: JudgedSession) -> None:
    """Setpoints over the range, each held until it is reached or HOLD_S are over."""
    await begin(run)
    await setpoints(run, run.scenario.seconds)


async def slow(run: JudgedSession) -> None:
    """The same with an inverter and a meter that think before every answer, as real ones do."""
    for server in run.site.servers.values():
        server.faults.delay_s = THINKING_S
        server.faults.slow = True
    await begin(run)
    await setpoints(run, run.scenario.seconds)


async def setpoints(run: JudgedSession, seconds: float) -> None:
    """The story's body: changes the setpoint for so long, and leaves what was seen in run.followed."""
    seen = Followed()
    power = run.site.power
    limits = power.get("max_discharge_power", 100.0), power.get("max_charge_power", 100.0)
    line = getattr(run.site, "line", None)
    begun, requests, busy = time.monotonic(), line.requests if line else 0, line.busy_s if line else 0.0
    turn = 0
    while time.monotonic() - begun < seconds and not run.ended:
        share = RANGE[turn % len(RANGE)]
        seen.steps.append(await one(run, round(share * limits[share < 0], 1)))
        turn += 1
    took = time.monotonic() - begun
    if line:
        seen.requests_per_s = round((line.requests - requests) / took, 1)
        seen.line_share = round((line.busy_s - busy) / took, 3)
    counts = await run.counts("pm.fault_counts()")
    seen.lost = {name: counts[name] for name in _COUNTED if name in counts}
    run.followed = seen.summary()


async def one(run: JudgedSession, kw: float) -> Step:
    """One setpoint, typed at the console, and what the inverter makes of it."""
    pcs = run.site.plant.pcs
    power = run.site.power
    step = Step(round(pcs.power_w / 1000, 1), kw)
    ramp = ramp_s(step.before_kw, kw, power.get("ramp_up", 20.0), power.get("ramp_down", 50.0))
    step.allowed_s = ramp + TIME_CONSTANTS * pcs.tau_s + CYCLES * power.get("cycle_ms", 50) / 1000
    begun = time.monotonic()
    told = pcs.setpoint_w
    typing = asyncio.create_task(run.type(f"pm.set_constant_power({kw})"))
    end = begun + max(HOLD_S, step.allowed_s + 2)
    while time.monotonic() < end and not run.ended:
        passed = time.monotonic() - begun
        if step.first_write_s is None and pcs.setpoint_w != told:
            step.first_write_s = passed
        if step.reached_s is None and abs(pcs.power_w / 1000 - kw) <= NEAR_KW:
            step.reached_s = passed
        if step.reached_s is not None and passed > HOLD_S:
            break
        await asyncio.sleep(_LOOK_S)
    await typing
    run.power_kw.append(abs(pcs.power_w) / 1000)
    return step
