"""One day as SVG: power with its limits, what limits it, state of charge; colours are the page's CSS variables."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape

from tools.logs.days import Happened, Row

WIDTH, LEFT, RIGHT = 1000, 56, 12
_POWER_H, _STRIP_H, _SOC_H, _GAP = 300, 20, 130, 26
_DAY_S = 86400
_GAP_S = 60  # between two rows: a longer one is a break in the lines
# what people need to tell apart of the limit list's rows: class, in words, the rows
GROUPS = (
    ("trouble", "fault, data missing, standby", ("mode", "fault", "missing_data", "bms_forbids")),
    ("battery", "battery", ("soc", "cell_voltage", "pack_voltage", "temperature", "bms_current", "banks")),
    ("outside", "grid, EMS, operation", ("grid_connection", "export", "operation", "remote")),
    ("rating", "ratings of site and inverter", ("pcs", "configuration")),
)
LINES = (  # class, in words, which number of a row
    ("load", "load", lambda row: row.load),
    ("pv", "PV", lambda row: row.pv),
    ("grid", "grid (+ import)", lambda row: row.grid),
    ("bat", "battery (+ discharge)", lambda row: row.power),
)


def group_of(reason: str) -> str:
    """The class of a limit's name."""
    return next((name for name, _, rows in GROUPS if reason in rows), "rating")


@dataclass(frozen=True)
class Frame:
    """Where a value stands: `x` of a moment of the day, `y` of a value between low and high."""

    midnight: datetime
    top: float
    height: float
    low: float
    high: float

    def x(self, moment: datetime) -> float:
        """Of a moment; a day of 23 or 25 hours is as wide as one of 24."""
        seconds = min(max((moment - self.midnight).total_seconds(), 0), _DAY_S)
        return LEFT + seconds * (WIDTH - LEFT - RIGHT) / _DAY_S

    def y(self, value: float) -> float:
        """Of a value; one outside is at the edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.top + self.height * (1 - share)


def step_of(span: float) -> float:
    """A round distance of grid lines, so that there are four to eight of them."""
    unit = 1.0
    while span / unit > 80:
        unit *= 10
    for factor in (1, 2, 5, 10, 20):
        if span / (unit * factor) <= 8:
            return unit * factor
    return unit * 50


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def runs(day: list[Row], value: Callable[[Row], float | None]) -> Iterator[list[Row]]:
    """Rows without a break between them that have the value."""
    run: list[Row] = []
    for row in day:
        apart = bool(run) and (row.begin - run[-1].end).total_seconds() > _GAP_S
        if run and (apart or value(row) is None):
            yield run
            run = []
        if value(row) is not None:
            run.append(row)
    if run:
        yield run


def _steps(frame: Frame, run: list[Row], value: Callable[[Row], float | None]) -> str:
    """The points of a line that holds each row's value over its five minutes."""
    points = []
    for row in run:
        y = frame.y(value(row) or 0.0)
        points += [f"{frame.x(row.begin):.1f},{y:.1f}", f"{frame.x(row.end):.1f},{y:.1f}"]
    return " ".join(points)


def _line(frame: Frame, day: list[Row], name: str, value: Callable[[Row], float | None]) -> str:
    return "".join(f'<polyline class="{name}" points="{_steps(frame, run, value)}"/>' for run in runs(day, value))


def _band(frame: Frame, day: list[Row]) -> str:
    """Between the least and the most that the battery gave in each five minutes."""
    found = ""
    for run in runs(day, lambda row: row.most if row.least is not None else None):
        upper, lower = _steps(frame, run, lambda row: row.most), _steps(frame, run, lambda row: row.least).split(" ")
        found += f'<polygon class="band" points="{upper} {" ".join(reversed(lower))}"/>'
    return found


def _grid(frame: Frame, step: float, unit: str, hours: bool) -> str:
    found = ""
    value = step * -(-frame.low // step)
    while value <= frame.high + 1e-9:
        y = frame.y(value)
        zero = " zero" if abs(value) < 1e-9 else ""
        found += f'<line class="rule{zero}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        found += f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>'
        value += step
    found += f'<text class="tick" x="{LEFT - 6}" y="{frame.top - 8:.1f}" text-anchor="end">{unit}</text>'
    for hour in range(0, 25, 3):
        x = LEFT + hour * (WIDTH - LEFT - RIGHT) / 24
        found += f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top}" y2="{frame.top + frame.height}"/>'
        if hours:
            y = frame.top + frame.height + 15
            anchor = "end" if hour == 24 else "middle"
            found += f'<text class="tick" x="{x:.1f}" y="{y}" text-anchor="{anchor}">{hour:02d}:00</text>'
    return found


def _strip(frame: Frame, day: list[Row], top: float, title: str, reason: Callable[[Row], str]) -> str:
    """What limited a direction, five minutes by five minutes; alike neighbours are one piece with its name in it."""
    found = f'<text class="tick" x="{LEFT - 6}" y="{top + 14}" text-anchor="end">{title}</text>'
    pieces: list[tuple[str, datetime, datetime]] = []
    for row in day:
        name = reason(row)
        if pieces and pieces[-1][0] == name and (row.begin - pieces[-1][2]).total_seconds() <= _GAP_S:
            pieces[-1] = (name, pieces[-1][1], row.end)
        else:
            pieces.append((name, row.begin, row.end))
    for name, begin, end in pieces:
        if not name:
            continue
        left, right = frame.x(begin), frame.x(end)
        label = name.replace("_", " ")
        found += f'<g><title>{label}</title><rect class="why {group_of(name)}" x="{left:.1f}" y="{top}" '
        found += f'width="{max(right - left - 0.6, 0.6):.1f}" height="{_STRIP_H}" rx="2"/>'
        if right - left > 6.2 * len(label) + 6:
            found += f'<text class="label" x="{(left + right) / 2:.1f}" y="{top + 14}" text-anchor="middle">{label}</text>'
        found += "</g>"
    return found


def _kw(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f} kW"


def told(row: Row, local: Callable[[datetime], datetime]) -> str:
    """All of a row, for who points at it."""
    lines = [
        f"{local(row.begin):%H:%M} to {local(row.end):%H:%M}, {row.mode}",
        f"battery {_kw(row.power)}" + (f" ({_kw(row.least)} to {_kw(row.most)})" if row.least is not None else ""),
        f"grid {_kw(row.grid)}, load {_kw(row.load)}, PV {_kw(row.pv)}",
        f"SoC {'not known' if row.soc is None else f'{row.soc:.1f} %'}",
    ]
    for way, limit, why in (("discharge", row.discharge, row.why_discharge), ("charge", row.charge, row.why_charge)):
        lines.append(f"{way}: not limited" if limit is None else f"{way} at most {_kw(limit)}: {why}")
    return "\n".join(lines)


def scale(day: list[Row]) -> tuple[float, float]:
    """The powers to show, kW: everything that flowed, and limits where they are near that."""
    flowed = [value for row in day for value in (row.power, row.least, row.most, row.grid, row.load, row.pv) if value is not None]
    most = max([abs(value) for value in flowed] + [1.0])
    limits = [limit for row in day for limit in (row.discharge, -row.charge if row.charge is not None else None)
              if limit is not None and abs(limit) <= 1.6 * most]  # fmt: skip
    low, high = min([*flowed, *limits, 0.0]), max([*flowed, *limits, 0.0])
    step = step_of(max(high - low, 1.0))
    return step * (low // step), step * -(-max(high, low + step) // step)


def _marks(frame: Frame, happened: list[Happened], local: Callable[[datetime], datetime]) -> str:
    """Errors and warnings above the powers."""
    found = ""
    for one in happened:
        if one.at is None or one.level not in ("error", "warning"):
            continue
        x = frame.x(one.at)
        found += f'<g class="mark {one.level}"><title>{local(one.at):%H:%M:%S} {escape(one.text)}</title>'
        found += f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top - 6}" y2="{frame.top + frame.height}"/>'
        found += f'<path d="M{x - 5:.1f},{frame.top - 14} h10 l-5,9 z"/></g>'
    return found


def day_svg(midnight: datetime, day: list[Row], happened: list[Happened], local: Callable[[datetime], datetime]) -> str:
    """The whole picture."""
    low, high = scale(day)
    power = Frame(midnight, 30, _POWER_H, low, high)
    strips = power.top + power.height + 28
    soc = Frame(midnight, strips + 2 * (_STRIP_H + 4) + _GAP, _SOC_H, 0, 100)
    bottom = soc.top + soc.height
    inside = _grid(power, step_of(high - low), "kW", False) + _grid(soc, 25, "%", True)
    inside += _band(power, day)
    inside += _line(power, day, "limit", lambda row: row.discharge)
    inside += _line(power, day, "limit", lambda row: None if row.charge is None else -row.charge)
    for name, _, value in LINES:
        inside += _line(power, day, name, value)
    inside += _line(soc, day, "soc", lambda row: row.soc)
    inside += _strip(power, day, strips, "dis.", lambda row: row.why_discharge)
    inside += _strip(power, day, strips + _STRIP_H + 4, "charge", lambda row: row.why_charge)
    for row in day:
        left, right = power.x(row.begin), power.x(row.end)
        inside += f'<rect class="hit" x="{left:.1f}" y="{power.top}" width="{max(right - left, 0.5):.1f}" '
        inside += f'height="{bottom - power.top}"><title>{escape(told(row, local))}</title></rect>'
    inside += _marks(power, happened, local)
    title = f"Power, limits and state of charge on {midnight:%Y-%m-%d}"
    return f'<svg viewBox="0 0 {WIDTH} {bottom + 24:.0f}" role="img" aria-label="{title}">{inside}</svg>'


def midnight_of(day: list[Row], happened: list[Happened], local: Callable[[datetime], datetime]) -> datetime:
    """When the local day began in which these are."""
    moments = [row.end - timedelta(seconds=1) for row in day] + [one.at for one in happened if one.at]
    return local(min(moments)).replace(hour=0, minute=0, second=0, microsecond=0)
