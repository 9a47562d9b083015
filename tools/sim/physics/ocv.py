"""Open-circuit voltage of an LFP cell over its state of charge, as a table made once from a few knots.

The knots draw the shape every LFP cell has: a steep foot, two long plateaus with a small step near 62 %, a
steep end.  The curve through them is a monotone cubic (Fritsch and Carlson, 1980), so it has no kink a
voltage controller could mistake for a limit, and never overshoots a knot.
"""

# state of charge (1 = full), volts per cell at rest, 25 degC
KNOTS = (
    (-0.02, 1.50),
    (0.00, 2.50),
    (0.01, 2.76),
    (0.03, 3.00),
    (0.06, 3.13),
    (0.10, 3.205),
    (0.15, 3.240),
    (0.20, 3.258),
    (0.30, 3.283),
    (0.40, 3.291),
    (0.50, 3.295),
    (0.58, 3.300),
    (0.64, 3.318),
    (0.70, 3.330),
    (0.80, 3.334),
    (0.90, 3.338),
    (0.95, 3.346),
    (0.97, 3.360),
    (0.985, 3.400),
    (0.995, 3.510),
    (1.00, 3.600),
    (1.02, 4.20),
)
SOC_LOW = KNOTS[0][0]
SOC_HIGH = KNOTS[-1][0]
STEPS_PER_UNIT = 1000


def _slopes(xs: list[float], ys: list[float]) -> list[float]:
    """Tangents at the knots that keep the cubic monotone between them."""
    secants = [(ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k]) for k in range(len(xs) - 1)]
    slopes = [secants[0]]
    for k in range(1, len(secants)):
        left, right = secants[k - 1], secants[k]
        # The harmonic mean never exceeds three times the smaller secant: the sufficient condition for monotony.
        slopes.append(0.0 if left * right <= 0 else 2.0 * left * right / (left + right))
    slopes.append(secants[-1])
    return slopes


def _table() -> list[float]:
    xs = [k[0] for k in KNOTS]
    ys = [k[1] for k in KNOTS]
    slopes = _slopes(xs, ys)
    count = round((SOC_HIGH - SOC_LOW) * STEPS_PER_UNIT)
    values = []
    k = 0
    for n in range(count + 2):
        x = min(SOC_LOW + n / STEPS_PER_UNIT, SOC_HIGH)
        while k < len(xs) - 2 and x > xs[k + 1]:
            k += 1
        h = xs[k + 1] - xs[k]
        t = (x - xs[k]) / h
        values.append(
            ys[k] * (1 + 2 * t) * (1 - t) ** 2
            + slopes[k] * h * t * (1 - t) ** 2
            + ys[k + 1] * t * t * (3 - 2 * t)
            + slopes[k + 1] * h * t * t * (t - 1)
        )
    return values


TABLE = _table()  # volts per cell, from SOC_LOW, every 1/STEPS_PER_UNIT


def cell_ocv(soc: float) -> float:
    """Rest voltage of one cell, V, at `soc` (0..1; a little beyond is allowed, further is held at the ends)."""
    x = (soc - SOC_LOW) * STEPS_PER_UNIT
    if x <= 0.0:
        return TABLE[0]
    n = int(x)
    if n >= len(TABLE) - 1:
        return TABLE[-1]
    low = TABLE[n]
    return low + (TABLE[n + 1] - low) * (x - n)


def mean_ocv() -> float:
    """Mean rest voltage of one cell between empty and full, V: the energy of a pack is this x cells x Ah."""
    first = round(-SOC_LOW * STEPS_PER_UNIT)
    inner = sum(TABLE[first + n] for n in range(1, STEPS_PER_UNIT))
    return (inner + (TABLE[first] + TABLE[first + STEPS_PER_UNIT]) / 2) / STEPS_PER_UNIT
