"""The step about scales: at 5, 25, 50 and 100 % both ways, whether inverter, meter and battery show what is commanded."""

from typing import NamedTuple

from tools.commission import figures, judge
from tools.commission.bench import Bench, mean_of
from tools.commission.flows import REACHED
from tools.commission.outcome import Failed, NotTested, Plot, Series

LEVELS = (5, 25, 50, 100)  # % of the rating
EFFICIENCY = (0.82, 1.01)
EFFICIENT_FROM = 0.2  # of the rating: below it the inverter's own consumption is no small part
TRIES = 3  # of the smallest level, until the load is quiet enough for it
_WAYS = (1, -1)
_SEEN = "less import at the meter (below 0: more)"


class Row(NamedTuple):
    """A level: what was measured in it, at 0 W (the mean of before and after), and how the load moved between those two, kW."""

    means: dict[str, float]
    rests: dict[str, float]
    drift: float

    @property
    def command(self) -> float:
        """kW."""
        return self.means["cmd"]

    @property
    def seen(self) -> float | None:
        """What the meter sees of it, kW; None without one."""
        return self.rests["grid_p"] - self.means["grid_p"] if "grid_p" in self.means and "grid_p" in self.rests else None


async def scale(bench: Bench) -> None:
    """At 5, 25, 50 and 100 % both ways: what is commanded, what the inverter shows, what the meter and the battery see of it."""
    await bench.start()
    rows: list[Row] = []
    short: list[str] = []
    for way in _WAYS:
        rows += await _small(bench, way, short)
        rows += await _large(bench, way, short)
    share, more = f"{100 * judge.SCALE_RATED:g} % of the rated power ({bench.rated_kw:g} kW)", f"{100 * judge.SCALE:g} %"
    bench.note("allowed difference", f"{share}, or {more} of the power where that is more; the meter by what the load moved too")
    wrong = [text for row in rows for text in _level(bench, row, short)]
    _plot(bench, rows)
    if wrong:
        raise Failed("; ".join(wrong), "the scale of inverter, meter (ratio of its transformers) or BMS; losses of the inverter")
    if short:
        raise NotTested("; ".join(short) + ("" if rows else ": no level was reached"))


async def _small(bench: Bench, way: int, short: list[str]) -> list[Row]:
    """The smallest level between two rests of its own, again where the load moved too much for it; the quietest of them."""
    best: list[Row] = []
    for _ in range(TRIES):
        before = await bench.hold(0.0)
        means = await _held(bench, way, LEVELS[0], short)
        if means is None:
            return []
        row = _row(means, before, await bench.hold(0.0))
        if not best or row.drift < best[0].drift:
            best = [row]
        if judge.meter_band(bench.rated_kw, row.command, row.drift) is not None:
            break
    return best


async def _large(bench: Bench, way: int, short: list[str]) -> list[Row]:
    """The other levels, between two rests."""
    before = await bench.hold(0.0)
    sweep = [means for level in LEVELS[1:] if (means := await _held(bench, way, level, short)) is not None]
    after = await bench.hold(0.0)
    rows = [_row(means, before, after) for means in sweep]
    if rows:
        bench.note(f"the load moved meanwhile ({_word(way)})", rows[0].drift, "kW")
    return rows


async def _held(bench: Bench, way: int, level: int, short: list[str]) -> dict[str, float] | None:
    """What is measured at a level; None, and said, where a limit lies below it."""
    kw = way * bench.rated_kw * level / 100
    limit, why = bench.limit(await bench.state(), kw)
    if limit < abs(kw) * REACHED:
        short.append(f"{level} % {_word(way)}: {why} allows {limit:.1f} kW")
        return None
    is_parallel = bench.bank is not None and bench.bank.is_parallel  # of one of each all is judged here, closer
    return await bench.hold(way * min(abs(kw), limit), 1.2, parts=is_parallel)


def _word(way: int) -> str:
    return "discharge" if way > 0 else "charge"


def _row(means: dict[str, float], before: dict[str, float], after: dict[str, float]) -> Row:
    return Row(means, mean_of(before, after), abs(after.get("grid_p", 0.0) - before.get("grid_p", 0.0)))


def _level(bench: Bench, row: Row, short: list[str]) -> list[str]:
    """What is wrong at one level; what could not be told is added to `short`."""
    wrong = []
    command, power = row.command, row.means["p"]
    at = f"{figures.signed(round(command, 2))} kW commanded"
    band = judge.band(bench.rated_kw, command)
    if not _shown(bench, f"{at}: the inverter's own power", power, command, band):
        wrong.append(f"at {command:+.1f} kW the inverter shows {power:+.1f} kW")
    if row.seen is not None:
        near = judge.meter_band(bench.rated_kw, command, row.drift)
        if near is None:
            bench.note(f"{at}: {_SEEN}", row.seen, "kW", f"not judged: the load moved by {row.drift:.1f} kW")
            short.append(f"{at}: the load moved by {row.drift:.1f} kW, too much to judge the meter: again at a quieter time")
        elif not _shown(bench, f"{at}: {_SEEN}", row.seen, power, near):
            wrong.append(f"at {command:+.1f} kW the meter shows {row.seen:+.1f} kW")
    dc = row.means["kw_dc"] - row.rests.get("kw_dc", 0.0)
    if abs(power) >= EFFICIENT_FROM * bench.rated_kw:
        efficiency = power / dc if power > 0 else dc / power
        ok = EFFICIENCY[0] <= efficiency <= EFFICIENCY[1]
        bound = figures.between(100 * EFFICIENCY[0], 100 * EFFICIENCY[1], "%")
        bench.note(f"{at}: efficiency to the battery", round(100 * efficiency, 1), "%", bound, ok)
        if not ok:
            wrong.append(f"at {command:+.1f} kW the battery carries {dc:+.1f} kW")
    return wrong


def _shown(bench: Bench, name: str, value: float, wanted: float, band: float) -> bool:
    """Note what is shown beside what it should be; whether it is near enough."""
    ok = abs(value - wanted) <= band
    bench.note(name, value, "kW", figures.within(round(band, 2), round(wanted, 2), "kW", way=True), ok)
    return ok


def _plot(bench: Bench, rows: list[Row]) -> None:
    """How far what is shown is from what was commanded."""
    if not rows:
        return
    ordered = sorted(rows, key=lambda row: row.command)
    lines = [Series("inverter", [(row.command, row.means["p"] - row.command) for row in ordered], True)]
    seen = [(row.command, row.seen - row.command) for row in ordered if row.seen is not None]
    if seen:
        lines.append(Series("meter, less import", seen, True))
    knee = bench.rated_kw * judge.SCALE_RATED / judge.SCALE  # from where on it is a share of the power
    ends = (ordered[0].command, ordered[-1].command)
    at = sorted({*ends, *(x for x in (-knee, knee) if ends[0] < x < ends[1])})
    lines += [Series("allowed", [(x, way * judge.band(bench.rated_kw, x)) for x in at]) for way in _WAYS]
    bench.outcome.plots.append(Plot("what is shown beyond what is commanded, over the command", "kW", "kW", lines))
