"""Claims run out, and the first live source wins."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_RANGE = const(1073741823)
# slots: end


@micropython.viper
def age_claims(table: ptr32, n: int, dt: int) -> int:
    """Let claims run out; returns the first live source in the low byte and the bits of those just expired above it.

    table, 4 a source: ms left (0 none, the largest value for ever), W, goal, target SoC.
    """
    winner = n
    expired = 0
    k = n
    while k > 0:
        k -= 1
        left = table[k * 4]
        if left != 0:
            if left < _RANGE:
                left -= dt
                if left <= 0:
                    left = 0
                    expired = expired | (256 << k)
                table[k * 4] = left
            if left != 0:
                winner = k
    return winner | expired
