"""The meter driver, under both MicroPythons, against a SunSpec server that pymodbus serves."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from firmware import image as im
from host_tests.site.rig import Rig, rig
from tools.interpreters import Interpreter
from tools.sim.devices.sunspec_chain import Chain
from tools.sim.devices.sunspec_server import SunSpecServer
from tools.sim.faults import WireFaults

COMMON = (1, {"Mn": "Peer", "Md": "METER", "Opt": "", "Vr": "2", "SN": "7", "DA": 1})
SCALES = {"A_SF": -1, "V_SF": -1, "Hz_SF": -2, "W_SF": 1, "VA_SF": 1, "VAR_SF": 1, "PF_SF": -2, "TotWh_SF": 0, "Evt": 0}
SCALES |= {"TotVAh_SF": 0, "TotVArh_SF": 0}


@contextlib.asynccontextmanager
async def meter(mp: Interpreter, chain: Chain, **options: Any) -> AsyncIterator[tuple[Rig, SunSpecServer]]:
    server = SunSpecServer(chain, WireFaults(random.Random(1)), lambda: None)
    port = await server.start()
    try:
        async with rig(mp.command, "meter_sunspec", {"host": "127.0.0.1", "port": port, **options}) as one:
            yield one, server
    finally:
        await server.stop()


def chain_of(model: int, **points: float) -> Chain:
    chain = Chain([COMMON, (model, SCALES if model < 210 else {"Evt": 0})])
    for name, value in points.items():
        chain.put(f"{model}.{name}", value)
    return chain


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 150))


@pytest.mark.parametrize("model", [201, 202, 203, 204, 211, 212, 213, 214])
def test_every_meter_model_reaches_the_image(mp64: Interpreter, model: int) -> None:
    async def story() -> None:
        chain = chain_of(model, W=-73210, A=105.7, PPV=401.2, PhV=231.6, Hz=50.02)
        async with meter(mp64, chain) as (one, _):
            await one.until(lambda: one.seq(im.SEQ_METER) >= 1)
            assert one.has(METER_P=-73210, METER_I=1057, METER_V=4012, METER_HZ=50020)

    run(story)


def test_floats_are_the_same_on_the_32_bit_interpreter(mp32: Interpreter) -> None:
    async def story() -> None:
        chain = chain_of(213, W=123456, A=178.2, PPV=400.4, Hz=49.98)
        async with meter(mp32, chain) as (one, _):
            await one.until(lambda: one.seq(im.SEQ_METER) >= 1)
            assert one.has(METER_P=123456, METER_I=1782, METER_V=4004, METER_HZ=49980)

    run(story)


def test_reversed_transformers_turn_the_sign_of_power(mp64: Interpreter) -> None:
    async def story() -> None:
        async with meter(mp64, chain_of(203, W=5000), reversed=True) as (one, _):
            await one.until(lambda: one.has(METER_P=-5000))

    run(story)


def test_line_voltage_is_made_from_phase_voltage_where_the_meter_has_only_that(mp64: Interpreter) -> None:
    async def story() -> None:
        for model, expected in ((203, 4000), (201, 2310)):
            chain = chain_of(model, W=100, PhV=231.0)
            place = chain.places[f"{model}.PPV"]
            chain.registers[place.address - chain.base] = 0x8000
            async with meter(mp64, chain) as (one, _):
                await one.until(lambda: one.seq(im.SEQ_METER) >= 1)
                assert one.has(METER_V=expected)

    run(story)


def test_meter_that_moves_its_map_is_discovered_again(mp64: Interpreter) -> None:
    async def story() -> None:
        chain = chain_of(203, W=1000)
        async with meter(mp64, chain) as (one, server):
            await one.until(lambda: one.has(METER_P=1000))
            port = server.port
            await server.stop()
            other = SunSpecServer(chain_of(213, W=2000), WireFaults(random.Random(2)), lambda: None)
            await other.start(port)
            try:
                await one.until(lambda: one.has(METER_P=2000))
                assert any("models 1 213" in line for line in one.printed)
            finally:
                await other.stop()

    run(story)


def test_meter_without_power_is_not_heard(mp64: Interpreter) -> None:
    async def story() -> None:
        chain = chain_of(203, Hz=50)
        place = chain.places["203.W"]
        chain.registers[place.address - chain.base] = 0x8000
        async with meter(mp64, chain) as (one, server):
            await one.until(lambda: server.reads > 20)
            assert one.seq(im.SEQ_METER) == 0
            assert (await one.counters())["rejected"] > 0

    run(story)
