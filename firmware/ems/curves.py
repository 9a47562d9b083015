"""Curves of 705, 706, 711 and 712: one that was stored is adopted when it can be, and is then the first, the one in force."""

from micropython import const

from firmware.ems import tables as t

_COMPLETED = const(1)
_FAILED = const(2)
# of each model, in the order of the groups of meaning from G_VOLT_VAR on: its request, curve 1, the stored one, words of it to
# copy (up to ReadOnly), first point behind them (0: it has none), words a point
_MODELS = (
    (t.VV_REQ, t.VV_1, t.VV_2, 9, 10, 4),
    (t.VW_REQ, t.VW_1, t.VW_2, 4, 5, 2),
    (t.DROOP_REQ, t.DROOP_1, t.DROOP_2, 9, 0, 0),
    (t.WV_REQ, t.WV_1, t.WV_2, 3, 4, 6),
)


def adopt(registers, groups: int) -> None:
    """Answer the adopt requests of these groups (bits): the result stands behind the request."""
    for i in range(len(_MODELS)):
        if not groups >> (t.G_VOLT_VAR + i) & 1:
            continue
        request, first, stored, head, points, most = _MODELS[i]
        if registers[request] == 1:
            registers[request + 1] = _COMPLETED  # what is in force stays so
        elif points and not _ascends(registers, stored, points, most):
            registers[request + 1] = _FAILED
        else:
            for j in range(head):
                registers[first + j] = registers[stored + j]
            for j in range(points, points + 2 * most):
                registers[first + j] = registers[stored + j]
            registers[request + 1] = _COMPLETED


def _ascends(registers, curve: int, points: int, most: int) -> bool:
    """A curve has as many points as it says, and each lies to the right of the one before."""
    active = registers[curve]
    if not 1 <= active <= most:
        return False
    before = -0x8000
    for i in range(active):
        x = registers[curve + points + 2 * i]
        if x & 0x8000:
            x -= 0x10000
        if x <= before or registers[curve + points + 2 * i + 1] == 0x8000:
            return False
        before = x
    return True
