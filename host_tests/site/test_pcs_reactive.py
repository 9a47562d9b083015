"""Reactive power in the PCS driver: handed on where the inverter has a point for it, never touched while nobody asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from firmware import image as im
from host_tests.site import test_pcs_inverter as older
from host_tests.site import test_pcs_sunspec as newer
from host_tests.site.rig import Rig
from tools.interpreters import Interpreter
from tools.sim.devices.sunspec_chain import Chain

AT_REST = {"VarSetEna": 0, "VarSetMod": 2, "VarSet": 0, "VarSetRvrt": 0, "VarSetEnaRvrt": 0, "VarSetRvrtTms": 0}
OLD_REST = {"VArPct_Ena": 0, "VArPct_Mod": 0, "VArWMaxPct": 0, "VArPct_RvrtTms": 0, "VArPct_SF": -1}
MODE = ("VarSetEna", "VarSetMod")
PEERS = Any


def _newer(**given: int) -> newer.Peer:
    return newer.Peer(m704={**AT_REST, **given})


class OlderPeer(older.Peer):
    """An older inverter whose model 123 has reactive points."""

    def __init__(self, **given: int) -> None:
        super().__init__()
        rating = {**older.RATING, "VARtg": 6000, "VArRtgQ1": 2000}
        setting = {**older.SETTING, "VAMax": 5500, "VAMax_SF": 1}
        controls = {**older.CONTROLS, **OLD_REST, **given}
        controls = {name: value for name, value in controls.items() if value is not None}
        chain = Chain([older.COMMON, (103, older.INVERTER), (120, rating), (121, setting), (123, controls), (124, older.STORAGE)])
        for name, value in {"W": 0, "St": 8, "PPVphAB": 400, "Hz": 50, "Evt1": 0, "DCW": 0, "DCA": 0, "DCV": 620}.items():
            chain.put("103." + name, value)
        self.chain = self.server.chain = chain


def _watch(peer: PEERS, model: int, first: str, last: str) -> list[int]:
    """The register, counted from `first`, of every write from `first` to `last`, from now on."""
    seen: list[int] = []
    low, high = peer.chain.places[f"{model}.{first}"].address, peer.chain.places[f"{model}.{last}"].address + 1

    async def intercept(address: int, is_write: bool) -> None:
        if is_write and low <= address <= high:
            seen.append(address - low)

    peer.server.intercept = intercept
    return seen


@contextlib.asynccontextmanager
async def at_work(mp: Interpreter, peer: PEERS, **options: Any) -> AsyncIterator[Rig]:
    async with newer.driver(mp, peer, refresh_ms=300, **options) as one:
        await one.command(5000)
        await one.until(lambda: one.seq(im.SEQ_PCS) >= 3)
        yield one


def test_an_inverter_is_left_as_its_owner_set_it_while_nobody_asks(mp64: Interpreter) -> None:
    async def story() -> None:
        for peer, model, points in (
            (_newer(VarSetEna=1, VarSetMod=4, VarSet=1500), 704, ("VarSetEna", "VarSetRvrtTms")),
            (OlderPeer(VArPct_Ena=1, VArPct_Mod=1, VArWMaxPct=10), 123, ("OutPFSet", "VArPct_Ena")),
        ):
            seen = _watch(peer, model, *points)
            async with at_work(mp64, peer, reactive=True) as one:
                for run in (1, 0, 1):  # started, stopped, refreshed
                    await one.command(4000, run)
                    await asyncio.sleep(0.7)
                assert seen == [], model

    newer.run(story)


def test_a_site_that_does_not_say_so_gives_no_reactive_power(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = _newer()
        seen = _watch(peer, 704, "VarSetEna", "VarSetRvrtTms")
        async with at_work(mp64, peer) as one:
            await one.reactive(20000)
            await asyncio.sleep(1)
            assert seen == [] and peer.chain.get("704.WSet") == 5000

    newer.run(story)


@pytest.mark.parametrize("own", [{}, {"VarSetEna": 1, "VarSetMod": 4, "VarSet": 150}])
def test_a_reactive_setpoint_reaches_model_704_and_what_was_there_comes_back(mp: Interpreter, own: dict[str, int]) -> None:
    async def story() -> None:
        peer = _newer(**own)
        chain = peer.chain
        async with at_work(mp, peer, reactive=True) as one:
            await one.reactive(-20000)
            await one.until(lambda: chain.get("704.VarSet") == -20000 and chain.raw("704.VarSetEna") == 1)
            assert chain.raw("704.VarSetMod") == 4
            assert chain.raw("704.VarSetRvrtTms") == 5 and chain.raw("704.VarSetEnaRvrt") == own.get("VarSetEna", 0)
            assert chain.get("704.VarSetRvrt") == 10 * own.get("VarSet", 0), "it goes back to its own by itself"
            await one.reactive(12345)
            await one.until(lambda: chain.get("704.VarSet") == 12340)  # cut to its scale
            chain.put("704.VarSet", 0)
            await one.until(lambda: chain.get("704.VarSet") == 12340)  # the refresh puts it right
            assert chain.get("704.WSet") == 5000
            await one.reactive(0)
            rest = {**AT_REST, **own}
            await one.until(lambda: chain.get("704.VarSet") == 10 * rest["VarSet"])
            await one.until(lambda: [chain.raw(f"704.{name}") for name in MODE] == [rest[name] for name in MODE])
            await asyncio.sleep(0.5)  # what it writes last may be on its way
            seen = _watch(peer, 704, "VarSetEna", "VarSetRvrtTms")
            await asyncio.sleep(0.8)
            assert seen == [], "and is left alone again"

    newer.run(story)


def test_it_gives_none_while_it_may_not_switch_nor_when_the_cycle_has_stopped(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = _newer()
        chain = peer.chain
        async with at_work(mp64, peer, reactive=True) as one:
            await one.reactive(10000)
            await one.until(lambda: chain.raw("704.VarSetEna") == 1)
            await one.command(5000, run=0)
            await one.until(lambda: chain.raw("704.VarSetEna") == 0 and chain.get("704.VarSet") == 0)
            await one.command(5000)
            await one.until(lambda: chain.raw("704.VarSetEna") == 1 and chain.get("704.VarSet") == 10000)
            await one.send({"cycle": 0})
            await asyncio.sleep(2)
            seen = _watch(peer, 704, "VarSetEna", "VarSetRvrtTms")
            await one.reactive(20000)
            await asyncio.sleep(0.8)
            assert seen == [] and chain.get("704.VarSet") == 10000, "its own timer acts"

    newer.run(story)


@pytest.mark.parametrize("missing", ["VarSet", "VarSetEna"])
def test_one_without_the_point_is_given_its_power_all_the_same(mp64: Interpreter, missing: str) -> None:
    async def story() -> None:
        peer = newer.Peer(m704={name: value for name, value in AT_REST.items() if name != missing})
        seen = _watch(peer, 704, "VarSetEna", "VarSetRvrtTms")
        async with at_work(mp64, peer, reactive=True) as one:
            await one.reactive(10000)
            await one.command(7000)
            await one.until(lambda: peer.chain.get("704.WSet") == 7000)
            await one.until(lambda: any("reactive setpoint is not implemented" in line for line in one.printed))
            assert seen == [] and "reactive" in (await one.counters())["note"]

    newer.run(story)


@pytest.mark.parametrize(
    "given, point, mode, percent",
    [
        ({}, "VArWMaxPct", 1, 20.4),  # 10000 of 121 WMax 49000 W
        ({"VArWMaxPct": None, "VArMaxPct": 0}, "VArMaxPct", 2, 50.0),  # of 120 VArRtgQ1 20000 var
    ],
)
def test_an_older_inverter_gets_percent_of_its_watts_or_of_its_vars(
    mp: Interpreter, given: dict[str, Any], point: str, mode: int, percent: float
) -> None:
    async def story() -> None:
        peer = OlderPeer(**given)
        chain = peer.chain

        def given_percent() -> float:
            return round(chain.get("123." + point), 3)

        async with at_work(mp, peer, reactive=True) as one:
            assert one.has(PCS_S_MAX=55000), "121 VAMax derates 120 VARtg"
            for sign in (1, -1):
                await one.reactive(10000 * sign)
                await one.until(partial(lambda wanted: given_percent() == wanted, sign * percent))
                await one.until(lambda: [chain.raw("123.VArPct_Ena"), chain.raw("123.VArPct_Mod")] == [1, mode])  # the next request
            assert chain.raw("123.VArPct_RvrtTms") == 5
            await one.reactive(0)
            await one.until(lambda: chain.raw("123.VArPct_Ena") == 0 and chain.get("123." + point) == 0)

    newer.run(story)


def test_the_apparent_power_is_the_rating_or_what_derates_it(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = _newer()
        async with at_work(mp64, peer) as one:
            peer.chain.put("702.VAMaxRtg", 110000)
            await one.until(lambda: one.has(PCS_S_MAX=110000))
            peer.chain.put("702.VAMax", 90000)
            await one.until(lambda: one.has(PCS_S_MAX=90000))
        old = older.Peer()  # which does not say
        async with at_work(mp64, old) as one:
            assert one.has(PCS_S_MAX=im.NO_VALUE)

    newer.run(story)
