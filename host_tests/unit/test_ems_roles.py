"""Every point of the chain times every role, as the standard's own tables list the points: who may write it, and nobody else."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from host_tests.both.emsrig import BASE, Ems, Refused
from tools.generate import gen_ems
from tools.generate import gen_ems_points as points

ROLES = OFF, READ, CONTROL, SERVICE = range(4)
# by SunSpec's tables of roles what only the super administrator writes: heartbeats, resets and operating commands
SERVICES_OWN = {(715, "ControllerHb"), (715, "AlarmReset"), (715, "OpCtl")}
SERVICES_OWN |= {(802, name) for name in ("CtrlHb", "AlmRst", "SetOp")}


class Access:
    """One client, who has this role."""

    def __init__(self, role: int) -> None:
        self.is_role = role

    def role(self, _client: int) -> int:
        return self.is_role

    def take(self, _client: int) -> int:
        return 0

    def keep(self, _client: int) -> None:
        pass

    def here(self, _client: int) -> None:
        pass

    def is_beside(self, _client: int) -> bool:
        return False

    def who(self, _client: int) -> str:
        return "somebody"

    def note(self, *_given: Any) -> None:
        pass


@cache
def places() -> list[gen_ems.Place]:
    """Every point of the chain."""
    return gen_ems.layout()[0]


def code_of(ems: Any, place: gen_ems.Place, words: list[int]) -> int:
    """The exception code of writing a point whole, 0: accepted."""
    try:
        ems.write(BASE + place.at, *words)
    except Refused as refused:
        return int(refused.code)
    return 0


@pytest.mark.parametrize("role", ROLES)
def test_every_point_is_written_by_who_may_and_by_nobody_else(role: int) -> None:
    access = Access(SERVICE)
    ems = Ems(access=access)
    values = {place.at: ems.read(BASE + place.at, place.size) for place in places()}  # what it is, it may become
    access.is_role = role
    before = list(ems.chain.registers)
    allowed = 0
    for place in places():
        code = code_of(ems, place, values[place.at])
        may = place.access == "RW" and (place.model, place.plain) not in points.READ_ONLY
        least = SERVICE if (place.model, place.plain) in SERVICES_OWN else CONTROL
        where = f"{place.model}.{place.name}: {code}"
        if may and role >= least:
            assert code in (0, 3), where
            allowed += 1
        else:
            assert code == 1, where
        if code:
            assert list(ems.chain.registers) == before, where
        before = list(ems.chain.registers)
    assert ems.server.count.last_error == ""
    assert (allowed > 0) == (role >= CONTROL)
    assert len(places()) > 500
