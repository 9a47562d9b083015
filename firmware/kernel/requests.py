"""Claims run out and the first live source wins; limits with owners run out and the smallest binds."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_CURTAILED_BY = const(139)
_EMS_P_CHG = const(58)
_EMS_P_DIS = const(59)
_RANGE = const(1073741823)
# slots: end


@micropython.viper
def age_claims(table: ptr32, n: int, dt: int) -> int:
    """Let claims run out; returns the place of the winner in the low byte, n for none, and the bits of those just expired above.

    table, 6 a claim: ms left (0 none, the largest value for ever), W, goal, target SoC, source, when it came.  The lowest source
    wins, and within it who came last.
    """
    winner = n
    best = 255
    expired = 0
    k = 0
    while k < n:
        at = k * 6
        left = table[at]
        if left != 0:
            if left < _RANGE:
                left -= dt
                if left <= 0:
                    left = 0
                    expired = expired | (256 << k)
                table[at] = left
            source = table[at + 4]
            if left != 0 and (source < best or (source == best and table[at + 5] > table[winner * 6 + 5])):
                winner = k
                best = source
        k += 1
    return winner | expired


@micropython.viper
def least(table: ptr32, img: ptr32, par: ptr32, n: int, dt: int):
    """The smallest live limit of each direction and whose it is: EMS_P_DIS, EMS_P_CHG and CURTAILED_BY.

    table, 3 an owner: ms left (0 none, the largest value for ever), W of discharge, W of charge.
    """
    chg = 0
    while chg < 2:
        watts = _RANGE
        owner = n
        k = 0
        while k < n:
            left = table[k * 3]
            if chg == 0 and left != 0 and left < _RANGE:
                left -= dt
                if left < 0:
                    left = 0
                table[k * 3] = left
            if left != 0 and table[k * 3 + 1 + chg] < watts:
                watts = table[k * 3 + 1 + chg]
                owner = k
            k += 1
        par[_EMS_P_DIS - (_EMS_P_DIS - _EMS_P_CHG) * chg] = watts
        img[_CURTAILED_BY + chg] = owner
        chg += 1
