"""Chains of models as real devices have them: several of one kind, no end marker, another base, parts missing, busy.

The cases by their ids: two-meters-behind-one-inverter, no-end-marker, silent-at-40000, 701-without-704,
one-absurd-temperature, busy-now-and-then; and their neighbours.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from pymodbus.constants import ExcCodes

from firmware import image as im
from host_tests.site import test_pcs_inverter as older
from host_tests.site import test_pcs_sunspec as newer
from host_tests.site.rig import Rig, rig
from host_tests.site.test_meter_sunspec import SCALES, chain_of, meter
from tools.interpreters import Interpreter
from tools.sim.devices import sunspec_server
from tools.sim.devices.pcs_device import models
from tools.sim.devices.sunspec_chain import Chain
from tools.sim.devices.sunspec_server import SunSpecServer
from tools.sim.faults import WireFaults
from tools.sim.physics.plant import Plant

METER_MODELS = (201, 202, 203, 204)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 150))


def common(name: str, serial: str, option: str = "") -> tuple[int, dict[str, Any]]:
    return 1, {"Mn": "Acme", "Md": name, "Opt": option, "Vr": "2", "SN": serial, "DA": 1}


class Chains:
    """Chains in a row as one: each part keeps its own points, all are served together."""

    def __init__(self, *parts: list[tuple[int, dict[str, Any]]]) -> None:
        self.parts = [Chain(part) for part in parts]
        self.whole = Whole(self.parts)


class Whole(Chain):
    """What is served: the marker, the models of every part, the end."""

    def __init__(self, parts: list[Chain]) -> None:
        super().__init__([])
        self.pieces = parts
        for part in parts:
            shift = self.end - 2 - (part.base + 2)
            self.edges.update(edge + shift for edge in part.edges)
            self.writable.update(at + shift for at in part.writable)
            part.base += shift
            for place in part.places.values():
                place.address += shift
            self.registers[-2:] = [*part.registers[2:-2], 0xFFFF, 0]
            self.edges.update((self.end - 2, self.end - 1, self.end))

    def refresh(self) -> None:
        """The parts' values into what is served."""
        for part in self.pieces:
            first = part.base + 2 - self.base
            body = part.registers[2:-2]
            self.registers[first : first + len(body)] = body


@contextlib.asynccontextmanager
async def serve(mp: Interpreter, module: str, chains: Chains, **options: Any) -> AsyncIterator[tuple[Rig, SunSpecServer]]:
    server = SunSpecServer(chains.whole, WireFaults(random.Random(1)), chains.whole.refresh)
    port = await server.start()
    try:
        async with rig(mp.command, module, {"host": "127.0.0.1", "port": port, **options}) as one:
            yield one, server
    finally:
        await server.stop()


def two_meters(first: int = 203, second: int = 203) -> Chains:
    """A production meter at +30 kW, the grid meter at -4.5 kW, each with its common model, behind an inverter."""
    chains = Chains(
        [common("INV", "1")],
        [common("METER", "77", "Production"), (first, SCALES if first in METER_MODELS else {"Evt": 0})],
        [common("METER", "88", "Export+Import"), (second, SCALES if second in METER_MODELS else {"Evt": 0})],
    )
    chains.parts[1].put(f"{first}.W", 30000)
    chains.parts[2].put(f"{second}.W", -4500)
    return chains


@pytest.mark.parametrize("pair", [(203, 203), (201, 203), (213, 203)])
def test_two_meters_behind_one_inverter_are_refused_until_one_is_named(mp: Interpreter, pair: tuple[int, int]) -> None:
    """two-meters-behind-one-inverter: both are listed, nothing is measured."""

    async def story() -> None:
        async with serve(mp, "meter_sunspec", two_meters(*pair)) as (one, _):
            await one.until(lambda: any("1: model" in line for line in one.printed))
            said = next(line for line in one.printed if "1: model" in line)
            assert f"1: model {pair[0]} at 40" in said and f"2: model {pair[1]} at 40" in said
            assert "Production" in said and "Export+Import" in said and "77" in said and "which" in said
            await asyncio.sleep(0.5)
            assert one.seq(im.SEQ_METER) == 0
            assert "1: model" in (await one.counters())["note"]
            assert sum("1: model" in line for line in one.printed) == 1, "once"

    run(story)


@pytest.mark.parametrize(("which", "watts"), [("1", 30000), ("2", -4500), ("export+", -4500), ("88", -4500), ("Production", 30000)])
def test_two_meters_behind_one_inverter_the_named_one_is_read(mp64: Interpreter, which: str, watts: int) -> None:
    """two-meters-behind-one-inverter: by order or by name."""

    async def story() -> None:
        async with serve(mp64, "meter_sunspec", two_meters(), which=which) as (one, _):
            await one.until(lambda: one.seq(im.SEQ_METER) >= 2)
            assert one.has(METER_P=watts)

    run(story)


@pytest.mark.parametrize("which", ["3", "0", "METER", "Sungrow"])
def test_two_meters_behind_one_inverter_a_name_that_fits_none_or_both_is_refused(mp64: Interpreter, which: str) -> None:
    """two-meters-behind-one-inverter: the list comes again, with what was given."""

    async def story() -> None:
        async with serve(mp64, "meter_sunspec", two_meters(), which=which) as (one, _):
            await one.until(lambda: any(f"'{which}'" in line and "2: model" in line for line in one.printed))
            assert one.seq(im.SEQ_METER) == 0

    run(story)


def test_two_meters_with_one_name_are_told_apart_by_order(mp64: Interpreter) -> None:
    """two-meters-behind-one-inverter: two 203 after one common model."""

    async def story() -> None:
        for which, watts in (("1", 30000), ("2", -4500)):
            chains = Chains([common("INV", "1")], [(203, SCALES)], [(203, SCALES)])
            chains.parts[1].put("203.W", 30000)
            chains.parts[2].put("203.W", -4500)
            async with serve(mp64, "meter_sunspec", chains, which=which) as (one, _):
                await one.until(lambda watts=watts: one.has(METER_P=watts))  # type: ignore[misc]

    run(story)


def noting(written: list[int]) -> Callable[[int, int], None]:
    """What a server calls for every write it takes: its address goes into the list."""

    def note(address: int, _count: int) -> None:
        written.append(address)

    return note


def newer_part(serial: str) -> list[tuple[int, dict[str, Any]]]:
    return [common("PCS", serial), *models(Plant())[1:]]


def test_two_inverters_in_one_chain_are_refused_until_one_is_named(mp64: Interpreter) -> None:
    """two-meters-behind-one-inverter, the other kind: measured and commanded is the named one, as a whole."""

    async def story() -> None:
        chains = Chains(newer_part("A1"), newer_part("B2"))
        for part, watts in zip(chains.parts, (11000, 22000), strict=True):
            part.put("701.W", watts)
            part.put("714.DCW", watts)
        async with serve(mp64, "pcs_sunspec", chains) as (one, server):
            await one.command(5000)
            await one.until(lambda: any("1: model 701" in line and "2: model 701" in line for line in one.printed))
            assert server.writes == 0 and one.seq(im.SEQ_PCS) == 0
        for which, watts in (("1", 11000), ("B2", 22000)):
            chains = Chains(newer_part("A1"), newer_part("B2"))
            for part, power in zip(chains.parts, (11000, 22000), strict=True):
                part.put("701.W", power)
                part.put("714.DCW", power)
            written: list[int] = []
            async with serve(mp64, "pcs_sunspec", chains, which=which) as (one, server):
                server.written = noting(written)
                await one.command(5000)
                await one.until(lambda w=watts, a=written: one.has(PCS_P=w, PCS_DC_P=w) and len(a) > 3)  # type: ignore[misc]
                part = chains.parts[0 if which == "1" else 1]
                assert all(part.base <= address < part.end for address in written)

    run(story)


def test_two_storage_models_are_refused_until_one_is_named(mp64: Interpreter) -> None:
    """two-meters-behind-one-inverter, the other kind: two 124 behind one 103."""

    async def story() -> None:
        front = [older.COMMON, (103, older.INVERTER), (120, older.RATING)]
        for which in ("", "2"):
            chains = Chains(front, [(124, older.STORAGE)], [(124, {**older.STORAGE, "WChaMax": 1000})])
            chains.parts[0].put("103.W", 0)
            written: list[int] = []
            async with serve(mp64, "pcs_sunspec", chains, which=which) as (one, server):
                server.written = noting(written)
                await one.command(5000)
                if which:
                    await one.until(lambda written=written: len(written) > 2)  # type: ignore[misc]
                    assert all(chains.parts[2].base <= address for address in written)
                else:
                    await one.until(lambda: any("2 models 124" in line and "which" in line for line in one.printed))
                    assert not written

    run(story)


@pytest.mark.parametrize("end", [[], [0], [0xFFFF], [0] * 60])
def test_no_end_marker(mp: Interpreter, end: list[int]) -> None:
    """no-end-marker: older, then nothing, one register 0, 0xFFFF alone, or sixty zeros."""

    async def story() -> None:
        peer = older.Peer()
        chain = peer.chain
        del chain.registers[-2:]
        chain.edges -= {chain.end + 1, chain.end + 2}
        chain.edges.update(range(chain.end + 1, chain.end + 1 + len(end)))
        chain.registers += end
        async with older.driver(mp, peer) as one:
            await one.command(5000)
            await one.until(lambda: one.seq(im.SEQ_PCS) >= 2 and (10.0, -10.0) in peer.rates)

    run(story)


def test_silent_at_40000(mp64: Interpreter, monkeypatch: pytest.MonkeyPatch) -> None:
    """silent-at-40000: map at 0, no answer at all elsewhere."""
    monkeypatch.setattr(sunspec_server, "_SPARE", 50100)  # pymodbus itself answers where it has no registers

    async def story() -> None:
        chain = Chain([common("METER", "1"), (203, SCALES)], 0)
        chain.put("203.W", 1230)
        server = SunSpecServer(chain, WireFaults(random.Random(1)), lambda: None)

        async def mute(address: int, _is_write: bool) -> None:
            if address >= 10000:
                await asyncio.sleep(3600)

        server.intercept = mute
        port = await server.start()
        options = {"host": "127.0.0.1", "port": port, "timeout_ms": 150}
        async with rig(mp64.command, "meter_sunspec", options) as one:
            await one.until(lambda: one.has(METER_P=1230), 20)
        await server.stop()

    run(story)


def test_701_without_704_is_measured_and_said_once(mp: Interpreter) -> None:
    """701-without-704: 'can be measured, not commanded', once, and in devices()."""

    async def story() -> None:
        peer = newer.Peer(leave_out=(704,))
        peer.chain.put("701.W", 4000)
        async with newer.driver(mp, peer) as one:
            await one.command(1000)
            await one.until(lambda: one.has(PCS_P=4000))
            await asyncio.sleep(1.5)
            assert sum("can be measured, not commanded" in line for line in one.printed) == 1
            assert "not commanded" in (await one.counters())["note"]

    run(story)


def test_704_whose_wset_is_not_implemented_is_said_once(mp64: Interpreter) -> None:
    """701-without-704: 704 whose WSet, or its scale factor, is not implemented."""

    async def story() -> None:
        for name, raw in (("704.WSet", [0x8000, 0]), ("704.WSet_SF", [0x8000])):
            peer = newer.Peer()
            at = peer.chain.places[name].address - peer.chain.base
            peer.chain.registers[at : at + len(raw)] = raw
            peer.chain.put("701.W", 4000)
            async with newer.driver(mp64, peer) as one:
                await one.command(1000)
                await one.until(lambda: one.has(PCS_P=4000))
                await asyncio.sleep(1.5)
                assert sum("measured, not commanded" in line for line in one.printed) == 1
                assert "not commanded" in (await one.counters())["note"]
                assert peer.setpoints == []

    run(story)


def test_701_beside_103_and_124_is_commanded_through_124(mp64: Interpreter) -> None:
    """701-without-704: 701 beside 103 and 124 without 704."""

    async def story() -> None:
        chosen = [(n, v) for n, v in models(Plant()) if n in (1, 701, 702, 714)]
        chosen += [(103, older.INVERTER), (120, older.RATING), (124, older.STORAGE)]
        peer = older.Peer()
        peer.chain = peer.server.chain = Chain(chosen)
        peer.chain.put("103.W", 7000)
        peer.chain.put("103.St", 4)
        async with older.driver(mp64, peer) as one:
            await one.command(10000)
            await one.until(lambda: (20.0, -20.0) in peer.rates and one.has(PCS_P=7000))

    run(story)


def test_one_absurd_temperature_costs_itself(mp: Interpreter) -> None:
    """one-absurd-temperature: 4018 degC in 103; and in 701."""

    async def story() -> None:
        peer = older.Peer()
        peer.chain.rescale("103.Tmp_SF", 0)
        peer.chain.put("103.TmpCab", 4018)
        peer.chain.put("103.W", 5000)
        async with older.driver(mp, peer) as one:
            await one.until(lambda: one.seq(im.SEQ_PCS) >= 3 and one.has(PCS_P=5000, PCS_TEMP=im.NO_VALUE))
            place = peer.chain.places["103.TmpCab"].address
            assert f"register {place}: gives 40180" in (await one.counters())["last_error"]
            peer.chain.put("103.W", 6000)
            await one.until(lambda: one.has(PCS_P=6000))
        other = newer.Peer()
        other.chain.rescale("701.Tmp_SF", 0)
        other.chain.put("701.TmpSnk", 4018)
        other.chain.put("701.TmpCab", 30)
        async with newer.driver(mp, other) as one:
            await one.until(lambda: one.seq(im.SEQ_PCS) >= 3 and one.has(PCS_TEMP=300))

    run(story)


@pytest.mark.parametrize("code", [ExcCodes.DEVICE_BUSY, ExcCodes.GATEWAY_NO_RESPONSE])
@pytest.mark.parametrize("share", [0.05, 0.1])
def test_busy_now_and_then(mp64: Interpreter, code: ExcCodes, share: float) -> None:
    """busy-now-and-then: answers at random are exception 6 or 0x0B; no rediscovery, no gap, nothing lost."""

    async def story() -> None:
        peer = newer.Peer()
        chance = random.Random(5)

        async def busy(_address: int, _is_write: bool) -> ExcCodes | None:
            await asyncio.sleep(0.01)
            return code if chance.random() < share else None

        peer.server.intercept = busy
        async with newer.driver(mp64, peer) as one:
            for watts in range(1000, 16000, 500):
                await one.command(watts)
                before = one.seq(im.SEQ_PCS)
                await one.until(lambda watts=watts: peer.setpoints[-1:] == [float(watts)])  # type: ignore[misc]
                await one.until(lambda before=before: one.seq(im.SEQ_PCS) > before)  # type: ignore[misc]
            assert len(one.printed) == 1, "found once"
            counters = await one.counters()
            assert counters["exceptions"] > 5

    run(story)


def test_meter_is_found_through_a_busy_gateway(mp64: Interpreter) -> None:
    """busy-now-and-then: during discovery too."""

    async def story() -> None:
        chain = chain_of(203, W=100)
        async with meter(mp64, chain) as (one, server):
            chance = random.Random(6)

            async def busy(_address: int, _is_write: bool) -> ExcCodes | None:
                return ExcCodes.GATEWAY_NO_RESPONSE if chance.random() < 0.3 else None

            server.intercept = busy
            await one.until(lambda: one.has(METER_P=100))

    run(story)
