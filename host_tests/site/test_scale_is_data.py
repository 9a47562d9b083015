"""Scale factors, references and lengths that change while the device is served: nothing is computed with an old one.

The cases of this kind by their ids: meter-scale-changes, inverter-scale-changes, reference-changes, model-grows,
discovered-asleep; and their neighbours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from firmware import image as im
from host_tests.site import test_pcs_inverter as older
from host_tests.site import test_pcs_sunspec as newer
from host_tests.site.rig import Rig
from host_tests.site.test_meter_sunspec import COMMON, SCALES, chain_of, meter
from tools.interpreters import Interpreter
from tools.sim.devices.pcs_device import models
from tools.sim.devices.sunspec_chain import Chain
from tools.sim.devices.sunspec_server import SunSpecServer
from tools.sim.physics.plant import Plant


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 150))


class Watch:
    """Every value that a slot ever had while the test looked."""

    def __init__(self, one: Rig, slot: int) -> None:
        self._one = one
        self._slot = slot
        self.seen: set[int] = set()
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            if self._one.inp:
                self.seen.add(self._one.inp[self._slot])
            await asyncio.sleep(0.005)

    def end(self) -> set[int]:
        self._task.cancel()
        return self.seen - {im.NO_VALUE}


def read_by(server: SunSpecServer, act: Callable[[int], None]) -> None:
    """Call act(n) before the n-th read from now on, so that what it changes lies between two requests."""
    reads = 0

    async def count(_address: int, is_write: bool) -> None:
        nonlocal reads
        if not is_write:
            reads += 1
            act(reads)

    server.intercept = count


def test_meter_scale_changes(mp: Interpreter) -> None:
    """meter-scale-changes: W=500, W_SF=1, then W=-12345, W_SF=0, and back."""

    async def story() -> None:
        chain = chain_of(203, W=5000)
        async with meter(mp, chain, period_ms=20) as (one, _):
            await one.until(lambda: one.has(METER_P=5000))
            watch = Watch(one, im.METER_P)
            for power, watts in ((0, -12345), (1, 5000), (-1, 1234), (2, -300000), (0, 7)):
                chain.rescale("203.W_SF", power)
                chain.put("203.W", watts)
                await one.until(lambda watts=watts: one.has(METER_P=watts))  # type: ignore[misc]
            assert watch.end() <= {5000, -12345, 1234, -300000, 7}

    run(story)


@pytest.mark.parametrize("longest", [2, 5, 11, 125])
def test_meter_scale_changes_between_two_requests_of_one_measurement(mp64: Interpreter, longest: int) -> None:
    """meter-scale-changes, few-registers-and-holes: 2, 5 or 11 registers at most, and rescaled at any moment."""

    async def story() -> None:
        chain = chain_of(203, W=12340, Hz=50.01)
        async with meter(mp64, chain, period_ms=20, longest_read=longest) as (one, server):
            await one.until(lambda: one.has(METER_P=12340))
            watch = Watch(one, im.METER_P)
            read_by(server, lambda n: chain.rescale("203.W_SF", n // 17 % 2))
            before = one.seq(im.SEQ_METER)
            await one.until(lambda: one.seq(im.SEQ_METER) > before + 20, 20)
            assert watch.end() == {12340}
            assert one.has(METER_HZ=50010)

    run(story)


@pytest.mark.parametrize("scale", [0x8000, 11, 0xFF00])
def test_scale_factor_that_is_none_costs_its_value_and_is_named(mp64: Interpreter, scale: int) -> None:
    """meter-scale-changes: not implemented at boot, later too; beyond -10 to 10."""

    async def story() -> None:
        chain = chain_of(203, W=4000)
        place = chain.places["203.W_SF"].address - chain.base
        chain.registers[place] = scale
        async with meter(mp64, chain) as (one, server):
            await one.until(lambda: server.reads > 30)
            assert one.seq(im.SEQ_METER) == 0
            assert "model 203, register" in (await one.counters())["last_error"]
            chain.registers[place] = 1
            await one.until(lambda: one.has(METER_P=4000))
            chain.registers[place] = scale
            await asyncio.sleep(0.3)
            seen = one.seq(im.SEQ_METER)
            await asyncio.sleep(0.3)
            assert one.seq(im.SEQ_METER) == seen

    run(story)


def test_inverter_scale_changes_older(mp: Interpreter) -> None:
    """inverter-scale-changes: 103 W=2000, W_SF=1, then W=20010, W_SF=0."""

    async def story() -> None:
        peer = older.Peer()
        peer.chain.put("103.W", 20000)
        async with older.driver(mp, peer, period_ms=20) as one:
            await one.until(lambda: one.has(PCS_P=20000))
            watch = Watch(one, im.PCS_P)
            for power, watts in ((0, 20010), (1, -20000), (0, -20010)):
                peer.chain.rescale("103.W_SF", power)
                peer.chain.put("103.W", watts)
                await one.until(lambda watts=watts: one.has(PCS_P=watts))  # type: ignore[misc]
            assert watch.end() <= {20000, 20010, -20000, -20010}

    run(story)


@pytest.mark.parametrize("longest", [10, 60, 125])
def test_inverter_scale_changes_newer(mp64: Interpreter, longest: int) -> None:
    """inverter-scale-changes: 701 W_SF 1 -> 0 at 30 kW, at any moment between the requests of a cycle."""

    async def story() -> None:
        peer = newer.Peer()
        peer.chain.put("701.W", 30000)
        peer.chain.put("714.DCW", 31000)
        async with newer.driver(mp64, peer, period_ms=20, longest_read=longest) as one:
            await one.until(lambda: one.has(PCS_P=30000, PCS_DC_P=31000))
            watch, direct = Watch(one, im.PCS_P), Watch(one, im.PCS_DC_P)

            def act(n: int) -> None:
                peer.chain.rescale("701.W_SF", n // 13 % 2)
                peer.chain.rescale("714.DCW_SF", n // 7 % 2)

            read_by(peer.server, act)
            before = one.seq(im.SEQ_PCS)
            await one.until(lambda: one.seq(im.SEQ_PCS) > before + 30, 20)
            assert watch.end() == {30000}
            assert direct.end() == {31000}

    run(story)


def test_setpoint_is_never_written_at_an_old_scale_factor(mp: Interpreter) -> None:
    """inverter-scale-changes, reference-changes: WSet_SF changes with nobody commanding, and with a command at once after it."""

    async def story() -> None:
        peer = newer.Peer()
        async with newer.driver(mp, peer, refresh_ms=30000) as one:
            await one.command(20000)
            await one.until(lambda: peer.setpoints[-1:] == [20000.0])
            place = peer.chain.places["704.WSet_SF"].address - peer.chain.base
            for power, watts in ((1, 20100), (0, -30000), (2, -29900)):
                peer.chain.registers[place] = power
                for name in ("704.WSet", "704.WSetRvrt"):
                    peer.chain.places[name].scale = power
                peer.setpoints.clear()
                await one.command(watts)
                await one.until(lambda: bool(peer.setpoints))
                assert peer.setpoints[0] == watts
            peer.setpoints.clear()
            peer.chain.registers[place] = 0
            for name in ("704.WSet", "704.WSetRvrt"):
                peer.chain.places[name].scale = 0
            await one.until(lambda: peer.setpoints[-1:] == [-29900.0], 3)

    run(story)


def test_reference_changes(mp: Interpreter) -> None:
    """reference-changes: 20 kW of 50 kW, then WChaMax 100 kW and 20.1 kW: 20.1 %, not 40.2 %."""

    async def story() -> None:
        peer = older.Peer()
        async with older.driver(mp, peer, refresh_ms=30000) as one:
            await one.command(20000)
            await one.until(lambda: peer.rates[-1:] == [(40.0, -40.0)])
            peer.rates.clear()
            peer.chain.put("124.WChaMax", 100000)
            await one.command(20100)
            await one.until(lambda: peer.rates[-1:] == [(20.1, -20.1)])
            assert set(peer.rates) <= {(20.0, -20.0), (20.1, -20.1)}
            peer.rates.clear()
            peer.chain.put("124.WChaMax", 50000)
            await one.command(-20100)
            await one.until(lambda: peer.rates[-1:] == [(-40.2, 40.2)])
            assert set(peer.rates) <= {(40.2, -40.2), (-40.2, 40.2)}

    run(story)


def test_reference_that_changes_by_itself_is_noticed_before_the_next_refresh(mp64: Interpreter) -> None:
    """reference-changes: nobody commands anything new; the scale factors of reference and rate change too."""

    async def story() -> None:
        peer = older.Peer()
        async with older.driver(mp64, peer, refresh_ms=30000) as one:
            await one.command(20000)
            await one.until(lambda: peer.rates[-1:] == [(40.0, -40.0)])
            peer.chain.put("124.WChaMax", 100000)
            await one.until(lambda: peer.rates[-1] == (20.0, -20.0), 2)
            peer.chain.rescale("124.WChaMax_SF", 2)
            peer.chain.rescale("124.InOutWRte_SF", -1)
            peer.chain.put("124.WChaMax", 40000)
            await one.until(lambda: peer.rates[-1] == (50.0, -50.0), 2)

    run(story)


@pytest.mark.parametrize("raw", [0, 0xFFFF])
def test_without_a_reference_nothing_is_commanded_and_it_is_said(mp64: Interpreter, raw: int) -> None:
    """reference-changes: a reference that is 0, or is not implemented and has no rating to stand for it."""

    async def story() -> None:
        peer = older.Peer()
        async with older.driver(mp64, peer) as one:
            await one.command(20000)
            await one.until(lambda: peer.rates[-1:] == [(40.0, -40.0)])
            chain = peer.chain
            for name in ("124.WChaMax", "120.WRtg"):
                chain.registers[chain.places[name].address - chain.base] = raw
            await asyncio.sleep(0.5)
            number = len(peer.rates)
            await one.command(10000)
            await asyncio.sleep(0.5)
            assert len(peer.rates) == number
            await one.until_error("WChaMax")  # in turn with what is said of the rating, which is not given either
            chain.put("124.WChaMax", 50000)
            await one.until(lambda: peer.rates[-1] == (20.0, -20.0))

    run(story)


def test_command_beyond_the_reference_is_all_of_it(mp64: Interpreter) -> None:
    """never wrap: 100 % is the most that is written, whatever the scale factor."""

    async def story() -> None:
        peer = older.Peer(InOutWRte_SF=-1)
        async with older.driver(mp64, peer) as one:
            await one.command(400000)
            await one.until(lambda: (100.0, -100.0) in peer.rates)
            await one.command(-400000)
            await one.until(lambda: (-100.0, 100.0) in peer.rates)

    run(story)


def test_setpoint_that_does_not_fit_saturates(mp: Interpreter) -> None:
    """never wrap: 704 WSet at a scale factor of -5 holds 21474 W."""

    async def story() -> None:
        peer = newer.Peer(m704={"WSet_SF": -5})
        async with newer.driver(mp, peer) as one:
            await one.command(40000)
            await one.until(lambda: bool(peer.setpoints) and 21474 <= peer.setpoints[-1] <= 21475)
            await one.command(-40000)
            await one.until(lambda: -21475 <= peer.setpoints[-1] <= -21474)

    run(story)


def grown(chain: Chain, ports: int) -> Chain:
    """The newer chain with this many ports in 714, the values of the other one, and all that lies behind moved."""
    chosen = []
    for model, values in models(Plant()):
        if model == 714:
            one = values["Prt"][0]
            values = {**values, "NPrt": ports, "Prt": [dict(one, ID=n + 1) for n in range(ports)]}
        chosen.append((model, values))
    new = Chain(chosen, chain.base)
    for name, place in chain.places.items():
        if name in new.places and name.rsplit(".", 1)[-1] not in ("L", "ID", "NPrt"):
            first, at = new.places[name].address - new.base, place.address - chain.base
            new.registers[first : first + place.length] = chain.registers[at : at + place.length]
    return new


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (1, 0)])
def test_model_grows(mp: Interpreter, before: int, after: int) -> None:
    """model-grows: 714 goes from 1 to 3 ports, 715 moves by 50, back, and to none; no write lands in a wrong model."""

    async def story() -> None:
        peer = newer.Peer()
        peer.chain = peer.server.chain = grown(peer.chain, before)
        peer.chain.put("714.Prt.0.DCV", 600)
        async with newer.driver(mp, peer, refresh_ms=300) as one:
            await one.command(10000)
            await one.until(lambda: len(peer.heartbeats) >= 2 and peer.setpoints[-1:] == [10000.0] and one.has(PCS_DC_V=6000))
            peer.heartbeats.clear()
            peer.chain = peer.server.chain = grown(peer.chain, after)
            await one.until(lambda: len(peer.heartbeats) >= 3, 10)
            assert peer.server.refused == 0, "nothing was written where 715 was"
            assert peer.operations[-1] == 1
            await one.command(-7000)
            await one.until(lambda: peer.setpoints[-1] == -7000.0)
            assert any("is not at register" in line for line in one.printed)
            await one.until(lambda: one.has(PCS_DC_V=6000 if after else im.NO_VALUE))

    run(story)


def test_inverter_that_is_discovered_asleep_is_measured_when_it_wakes(mp: Interpreter) -> None:
    """discovered-asleep: 103 all 0x8000 and St=2 during discovery, well afterwards; 12 s away, asleep for 1 s, well."""

    async def story() -> None:
        peer = older.Peer()
        chain = peer.chain
        first = chain.starts[103] - chain.base
        awake = list(chain.registers[first : first + 52])

        def sleep() -> None:
            chain.registers[first + 2 : first + 52] = [0x8000] * 50
            chain.put("103.St", 2)

        def wake() -> None:
            chain.registers[first : first + 52] = awake
            chain.put("103.St", 4)
            chain.put("103.W", 4210)

        sleep()
        async with older.driver(mp, peer, timeout_ms=200) as one:
            await one.until(lambda: one.has(PCS_STATE=im.PCS_OFF))
            assert one.has(PCS_P=im.NO_VALUE, PCS_HZ=im.NO_VALUE)
            wake()
            await one.until(lambda: one.has(PCS_P=4210, PCS_HZ=50000, PCS_DC_V=6200, PCS_TEMP=300, PCS_P_CHG=45000), 3)
            faults = peer.server.faults
            faults.silent = True
            await asyncio.sleep(12)
            sleep()
            faults.silent = False
            await asyncio.sleep(1)
            wake()
            await one.until(lambda: one.has(PCS_P=4210, PCS_HZ=50000, PCS_DC_V=6200, PCS_TEMP=300, PCS_P_CHG=45000), 5)

    run(story)


def test_meter_that_is_discovered_asleep_is_measured_when_it_wakes(mp64: Interpreter) -> None:
    """discovered-asleep: 203 all 0x8000 during discovery."""

    async def story() -> None:
        chain = Chain([COMMON, (203, SCALES)])
        first = chain.starts[203] - chain.base
        awake = list(chain.registers)
        chain.registers[first + 2 : first + 107] = [0x8000] * 105
        async with meter(mp64, chain) as (one, server):
            await one.until(lambda: server.reads > 20)
            assert one.seq(im.SEQ_METER) == 0
            assert "power is not implemented" in (await one.counters())["last_error"]
            chain.registers[:] = awake
            chain.put("203.W", -5670)
            await one.until(lambda: one.has(METER_P=-5670), 3)

    run(story)


def factor_lost(chain: Chain, name: str, raw: int) -> Callable[[], None]:
    """Make a scale factor none; what is given back brings it back."""
    place = chain.places[name].address - chain.base
    before, chain.registers[place] = chain.registers[place], raw

    def back() -> None:
        chain.registers[place] = before

    return back


@pytest.mark.parametrize("scale", [0x8000, 11])
def test_rating_that_is_not_given_any_more_stays_as_it_was(mp: Interpreter, scale: int) -> None:
    """inverter-scale-changes: 702 derated to 30 kW loses its scale factor while it runs; that widens nothing."""

    async def story() -> None:
        peer = newer.Peer()
        peer.chain.put("702.WMax", 30000)
        peer.chain.put("702.WChaRteMax", 25000)
        async with newer.driver(mp, peer, period_ms=20) as one:
            await one.until(lambda: one.has(PCS_P_DIS=30000, PCS_P_CHG=25000))
            watch = Watch(one, im.PCS_P_DIS)
            back = factor_lost(peer.chain, "702.W_SF", scale)
            await asyncio.sleep(2.5)
            assert one.has(PCS_P_DIS=30000, PCS_P_CHG=25000) and watch.end() == {30000}
            assert "rating" in (await one.counters())["last_error"]
            back()
            peer.chain.put("702.WMax", 40000)
            await one.until(lambda: one.has(PCS_P_DIS=40000, PCS_P_CHG=25000))

    run(story)


def test_derating_alone_that_is_not_given_any_more_does_not_give_the_rating_back(mp64: Interpreter) -> None:
    """inverter-scale-changes: 121 WMax_SF while 120 WRtg stays; what still comes narrows it further."""

    async def story() -> None:
        peer = older.Peer()
        peer.chain.put("121.WMax", 30000)
        async with older.driver(mp64, peer, period_ms=20) as one:
            await one.until(lambda: one.has(PCS_P_DIS=30000, PCS_P_CHG=30000))
            back = factor_lost(peer.chain, "121.WMax_SF", 0x8000)
            await asyncio.sleep(2.5)
            assert one.has(PCS_P_DIS=30000, PCS_P_CHG=30000)
            peer.chain.put("120.MaxChaRte", 20000)
            await one.until(lambda: one.has(PCS_P_DIS=30000, PCS_P_CHG=20000))
            back()
            peer.chain.put("120.MaxChaRte", 45000)
            await one.until(lambda: one.has(PCS_P_DIS=30000, PCS_P_CHG=30000))

    run(story)


def test_inverter_that_never_had_a_rating_is_bounded_by_the_configuration(mp64: Interpreter) -> None:
    """inverter-scale-changes: all of 702 without a scale factor from the first reading on, until it has one."""

    async def story() -> None:
        peer = newer.Peer()
        back = factor_lost(peer.chain, "702.W_SF", 0x8000)
        async with newer.driver(mp64, peer, period_ms=20) as one:
            await one.until(lambda: one.seq(im.SEQ_PCS) > 10)
            assert one.has(PCS_P_DIS=im.NO_VALUE, PCS_P_CHG=im.NO_VALUE)
            await one.command(20000)
            await one.until(lambda: peer.setpoints[-1:] == [20000.0])
            back()
            await one.until(lambda: one.has(PCS_P_DIS=100000, PCS_P_CHG=100000))

    run(story)


@pytest.mark.parametrize("factor", ["124.WChaMax_SF", "124.InOutWRte_SF"])
def test_reference_that_is_not_given_any_more_is_not_replaced_by_another(mp64: Interpreter, factor: str) -> None:
    """reference-changes: percents of WChaMax 20 kW are none of WRtg 50 kW; nothing is commanded until it is known again."""

    async def story() -> None:
        peer = older.Peer()
        peer.chain.put("124.WChaMax", 20000)
        async with older.driver(mp64, peer, refresh_ms=300) as one:
            await one.command(10000)
            await one.until(lambda: peer.rates[-1:] == [(50.0, -50.0)])
            back = factor_lost(peer.chain, factor, 0x8000)
            await asyncio.sleep(0.3)
            number = len(peer.rates)
            await one.command(8000)
            await asyncio.sleep(0.6)
            assert len(peer.rates) == number, peer.rates
            await one.until_error("not commanded")
            back()
            await one.until(lambda: peer.rates[-1] == (40.0, -40.0))

    run(story)
