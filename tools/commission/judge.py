"""What measurements mean, as functions of numbers alone: which mistake makes a meter follow like that, how fast a step was."""

import math
from typing import NamedTuple

Points = list[tuple[float, float]]


def slope(pairs: Points) -> float:
    """By how much the second follows the first, through the origin; 0 where the first does not move."""
    across = sum(x * x for x, _ in pairs)
    return sum(x * y for x, y in pairs) / across if across else 0.0


class Reading(NamedTuple):
    """What a share of the true power means: `text` for people, "" if it is right; the factor that mends it where one can."""

    text: str
    factor: float = 1.0
    wiring: bool = False  # to be mended at the transformers


# share of the true change that a meter shows when its current transformers are not where they belong, at a power factor near 1
_WIRING = (
    (-1.0, "is turned: all its current transformers face the other way", -1.0),
    (1 / 3, "has one phase whose current transformer faces the other way (or two phases that measure nothing)", 1.0),
    (-1 / 3, "has two phases whose current transformers face the other way", 1.0),
    (0.0, "does not follow: two of its phases are swapped (the transformer of one sits behind the voltage of the other), "
          "or it measures another line", 1.0),
    (-0.5, "has all three phases swapped in a circle: each transformer sits behind the voltage of the next phase", 1.0),
    (2 / 3, "has one phase that measures nothing", 1.0),
)  # fmt: skip
_NEAR = 0.13
PHASE = 0.25  # of its third, that a phase may part by: the load on it moves too
RIGHT = (0.84, 1.25)  # which way it turns and which phases it has: how exact it is, larger powers tell (scales.py)


def share(value: float) -> Reading:
    """What it means that a meter shows this share of the true change of power."""
    if RIGHT[0] <= value <= RIGHT[1]:
        return Reading("")
    wanted, text, factor = min(_WIRING, key=lambda row: abs(value - row[0]))
    if abs(value - wanted) <= _NEAR:
        return Reading(text, factor, factor == 1.0)
    size = decade(value)
    if size is not None:
        turned = ", and it is turned" if value < 0 else ""
        return Reading(f"shows {_times(size)} the true power{turned}: its scale is wrong", math.copysign(1 / size, value))
    return Reading(f"shows {value:.2f} of the true power", 1.0)


def phases(shares: list[float]) -> str:
    """What the phases' own shares of a third of the power tell; "" where all are right, or one alone carries everything."""
    names = [f"L{n + 1}" for n in range(len(shares))]
    right = [abs(share - 1) <= PHASE for share in shares]
    if all(right) or sorted(abs(share) for share in shares)[1] <= 0.25:  # the other kind: a single-phase inverter
        return ""
    behind = [name for name, share in zip(names, shares, strict=True) if abs(share + 0.5) <= 0.2]
    told = [f"{name} is turned" for name, share in zip(names, shares, strict=True) if abs(share + 1) <= 0.25]
    told += [f"{name} measures nothing" for name, share in zip(names, shares, strict=True) if abs(share) <= 0.2]
    if len(behind) == 2:
        told.append(f"{behind[0]} and {behind[1]} are swapped")
    elif len(behind) == 3:
        told.append("each sits behind the voltage of the next")
    return ", ".join(told) or "by phase " + ", ".join(f"{name} {share:+.2f}" for name, share in zip(names, shares, strict=True))


def decade(value: float) -> float | None:
    """10, 100, 1000 or their inverse, if that is what it is within 15 %."""
    if value == 0:
        return None
    power = round(math.log10(abs(value)))
    return 10.0**power if power and abs(abs(value) / 10.0**power - 1) <= 0.15 else None


def _times(size: float) -> str:
    return f"{size:g} times" if size > 1 else f"1/{round(1 / size)} of"


# ---- what may be parted by, kW: a meter of class 1 is right within 1 % of what it is made for, transformers and inverters within
# 3 % of what flows; the smallest power that is tried is 5 % of the rating, and twice or half of it must be seen there
SCALE = 0.03  # of the power
SCALE_RATED = 0.01  # of the rated power, where that is more
RESOLUTION_KW = 0.05
TELLS = 0.4  # of a power: who allows more does not tell half of it from the whole


def band(rated_kw: float, kw: float) -> float:
    """By how much what is shown may part from a power."""
    return max(SCALE * abs(kw), SCALE_RATED * rated_kw, RESOLUTION_KW)


def meter_band(rated_kw: float, kw: float, drift_kw: float) -> float | None:
    """The same of a meter that sees the load too, which moved by so much; None where that is too much to tell anything."""
    found = band(rated_kw, kw) + drift_kw
    return found if found <= TELLS * abs(kw) else None


class Response(NamedTuple):
    """How a measured power followed its command, s."""

    dead: float  # between the command's first 10 % and the measured power's
    rise: float  # the measured 10 to 90 %, beyond the command's own
    settling: float  # from the end of the command's way until it stays within 5 %


def response(command: Points, power: Points) -> Response | None:
    """Of (s, kW) series over one step from rest to the last value of `command`; None where there was no whole step."""
    if len(command) < 3 or len(power) < 3 or not command[-1][1]:
        return None
    final = command[-1][1]
    there = power[-1][1]
    times = [
        crossing(command, 0.1 * final),
        crossing(command, 0.9 * final),
        crossing(power, 0.1 * there),
        crossing(power, 0.9 * there),
    ]
    if None in times:
        return None
    command_10, command_90, power_10, power_90 = (float(t) for t in times if t is not None)
    command_end = crossing(command, 0.999 * final) or command_90
    outside = [t for t, value in power if abs(value - there) > 0.05 * abs(there)]
    settled = max([t for t in outside if t >= command_10], default=command_end)
    return Response(max(0.0, power_10 - command_10), max(0.0, (power_90 - power_10) - (command_90 - command_10)),
                    max(0.0, settled - command_end))  # fmt: skip


def crossing(points: Points, level: float) -> float | None:
    """When a series first reaches a level (above or below 0), between two points by a straight line."""
    way = 1 if level >= 0 else -1
    for (t0, v0), (t1, v1) in zip(points, points[1:], strict=False):
        if way * v0 < way * level <= way * v1:
            return t0 + (t1 - t0) * (level - v0) / (v1 - v0)
    return points[0][0] if points and way * points[0][1] >= way * level else None


def hours(seconds: float) -> str:
    """A clock's error in words: what is a whole number of hours is a time zone."""
    rest = abs(seconds) % 3600
    whole = round(abs(seconds) / 3600)
    if whole and min(rest, 3600 - rest) < 120:
        return (
            f"{whole} hour{'s' if whole > 1 else ''} {'fast' if seconds > 0 else 'slow'}, as with a wrong time zone or summer time"
        )
    return f"{abs(seconds):.0f} s {'fast' if seconds > 0 else 'slow'}"
