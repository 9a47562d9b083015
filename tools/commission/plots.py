"""Plots as SVG in the page itself: axes with round numbers, lines with their names, no colour that print or the dark loses."""

import html
import math

from tools.commission.outcome import Plot, Series

WIDTH, HEIGHT = 640, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 12, 40
_TICKS = 6


def svg(plot: Plot) -> str:
    """One plot; "" where there is nothing to draw."""
    lines = [line for line in plot.series if line.points]
    if not lines:
        return ""
    x = _axis([point[0] for line in lines for point in line.points])
    y = _axis([point[1] for line in lines for point in line.points], zero=True)

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return (
            LEFT + (point[0] - x[0]) / (x[1] - x[0]) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (point[1] - y[0]) / (y[1] - y[0]) * (HEIGHT - TOP - BOTTOM),
        )

    parts = [f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(plot.title)}">']
    parts += [f"<title>{html.escape(plot.title)}</title>"]
    for value in _steps(*x):
        px, _ = at((value, y[0]))
        parts.append(f'<line class="grid" x1="{px:.1f}" y1="{TOP}" x2="{px:.1f}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text class="tick" x="{px:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{value:g}</text>')
    for value in _steps(*y):
        _, py = at((x[0], value))
        kind = "zero" if value == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{LEFT}" y1="{py:.1f}" x2="{WIDTH - RIGHT}" y2="{py:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{py + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts.append(f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{html.escape(plot.x)}</text>')
    parts.append(f'<text class="tick" x="4" y="{TOP + 4}">{html.escape(plot.y)}</text>')
    parts += [_line(line, n, [at(point) for point in line.points]) for n, line in enumerate(lines)]
    parts.append("</svg>")
    return "".join(parts)


def legend(plot: Plot) -> str:
    """The names of its lines, each with a piece of it."""
    lines = [line for line in plot.series if line.points]
    parts = []
    for n, line in enumerate(lines):
        piece = _line(line, n, [(13, 5)] if line.dots else [(3, 5), (23, 5)])
        parts.append(f'<span class="key"><svg viewBox="0 0 26 10" aria-hidden="true">{piece}</svg>{html.escape(line.name)}</span>')
    return "".join(parts)


def _line(line: Series, n: int, points: list[tuple[float, float]]) -> str:
    kind = f"s{n % 5}"
    if line.dots:
        return "".join(_dot(kind, n, *point) for point in points)
    return f'<polyline class="{kind}" points="{" ".join(f"{px:.1f},{py:.1f}" for px, py in points)}"/>'


def _dot(kind: str, n: int, x: float, y: float) -> str:
    """Circle, square or triangle: which line it is can be told without its colour."""
    if n % 3 == 0:
        return f'<circle class="{kind} dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    if n % 3 == 1:
        return f'<rect class="{kind} dot" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
    return f'<polygon class="{kind} dot" points="{x:.1f},{y - 6:.1f} {x + 5:.1f},{y + 4:.1f} {x - 5:.1f},{y + 4:.1f}"/>'


def _axis(values: list[float], zero: bool = False) -> tuple[float, float]:
    """From a round number to a round number."""
    low, high = min(values), max(values)
    if zero:
        low, high = min(0.0, low), max(0.0, high)
    if high - low < 1e-9:
        high = low + 1.0
    step = _step(high - low)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten."""
    rough = span / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough - 1e-12)


def _steps(low: float, high: float) -> list[float]:
    step = _step(high - low)
    return [round(low + n * step, 10) for n in range(round((high - low) / step) + 1)]
