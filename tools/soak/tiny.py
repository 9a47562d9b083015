"""Setpoints and limits smaller than a watt, an ampere's tenth, a hundredth of a percent: they are nothing, never everything."""

import random
from typing import Any

from firmware import image as im
from firmware import requests as rq
from firmware.modes import Mode

_TINY = (5.6e-17, 1e-9, 1e-5, 0.0004, 0.0009, 5e-324)
TRICKLE = 3  # ChargeMethod


def tiny(rng: random.Random, signed: bool = False) -> float:
    """One of them."""
    value = rng.choice(_TINY)
    return -value if signed and rng.random() < 0.5 else value


def more_than_given(what: str, given: float, unit: str, held: int, per_unit: int) -> str:
    """`held` parts of a unit were made of `given`: in words if that is more than rounding does.  Exactly 0 may mean anything."""
    if given != 0 and abs(held) > abs(given) * per_unit + 0.51:
        return f"{what} {given} {unit} became {held} parts of 1/{per_unit} {unit}"
    return ""


def not_a_limit(params: Any, rows: tuple[tuple[str, int, int], ...], par: Any) -> str:
    """What of given parameters limits more loosely than it says; rows: name, slot of par, parts of its unit."""
    for name, slot, per_unit in rows:
        wrong = more_than_given(name, getattr(params, name), "", par[slot], per_unit)
        if wrong:
            return wrong
    return ""


CHARGE_ROWS = (
    ("charge_power_max", im.OP_P_CHG, 1000), ("charge_current_max", im.OP_I_CHG, 10), ("charge_voltage_max", im.OP_V_MAX, 10),
)  # fmt: skip
DISCHARGE_ROWS = (
    ("discharge_power_max", im.OP_P_DIS, 1000), ("discharge_current_max", im.OP_I_DIS, 10),
    ("min_voltage", im.OP_V_MIN, 10), ("min_soc", im.OP_SOC_MIN, 100),
)  # fmt: skip


def looser_than_params(manager: Any) -> str:
    """What a running operation's parameters say and the cycle's slots do not hold; "" if nothing."""
    par, now = manager.image.par, manager.image.now
    charge = manager.arbiter.charge_params
    wrong = not_a_limit(charge, CHARGE_ROWS, par) or not_a_limit(manager.arbiter.discharge_params, DISCHARGE_ROWS, par)
    by_method = charge.method == TRICKLE and now[im.MODE] == Mode.CHARGE and now[im.REQUEST_BY] == rq.MANUAL
    if not wrong and by_method and manager.arbiter.claims.table[rq.MANUAL * rq.PARTS + rq.GOAL] == rq.CHARGE:
        return more_than_given("trickle_current", charge.trickle_current, "A", par[im.OP_I_CHG], 10)
    return wrong
