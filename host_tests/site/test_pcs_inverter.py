"""The PCS driver's older dialect (models 103, 120, 121, 123, 124), over TCP and on a shared RS485 line."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

import pytest
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from firmware import image as im
from firmware.flows import Grid
from host_tests.site.rig import Rig, rig
from host_tests.site.serial_wire import wire
from tools.interpreters import Interpreter
from tools.sim.devices.sunspec_chain import Chain
from tools.sim.devices.sunspec_server import SunSpecServer
from tools.sim.faults import WireFaults

COMMON: tuple[int, dict[str, Any]] = (1, {"Mn": "Older", "Md": "INV", "Opt": "", "Vr": "1", "SN": "5", "DA": 1})
FACTORS = ("A", "V", "W", "Hz", "VA", "VAr", "PF", "WH", "DCA", "DCV", "DCW", "Tmp")
INVERTER = {f"{name}_SF": power for name, power in zip(FACTORS, (-1, -1, 1, -2, 1, 1, -3, 0, -1, -1, 1, -1), strict=True)}
RATING = {"DERTyp": 82, "WRtg": 5000, "MaxChaRte": 4500, "MaxDisChaRte": 4800}
RATING |= {f"{name}_SF": 1 for name in ("WRtg", "VARtg", "VArRtg", "MaxChaRte", "MaxDisChaRte")}
RATING |= {"ARtg_SF": 0, "PFRtg_SF": 0}
SETTING = {"WMax": 4900, "VRef": 400, "VRefOfs": 0, "WMax_SF": 1, "VRef_SF": 0, "VRefOfs_SF": 0}
CONTROLS = {"Conn": 0, "WMaxLimPct_SF": -1, "OutPFSet_SF": -2}
STORAGE = {"WChaMax": 5000, "WChaMax_SF": 1, "WChaDisChaGra_SF": 0, "InOutWRte_SF": -2, "StorCtl_Mod": 0}
STORAGE |= {"OutWRte": 0, "InWRte": 0, "InOutWRte_RvrtTms": 0}


class Peer:
    """An older inverter of registers only."""

    def __init__(self, **storage: int) -> None:
        models: list[tuple[int, dict[str, Any]]] = [COMMON, (103, INVERTER), (120, RATING), (121, SETTING)]
        models += [(123, CONTROLS), (124, {**STORAGE, **storage})]
        self.chain = Chain(models)
        self.server = SunSpecServer(self.chain, WireFaults(random.Random(1)), lambda: None, self._written)
        self.rates: list[tuple[float, float]] = []
        at_rest = {"W": 0, "St": 8, "PPVphAB": 400, "Hz": 50, "Evt1": 0, "DCW": 0, "DCA": 0, "DCV": 620, "TmpCab": 30}
        for name, value in at_rest.items():
            self.chain.put("103." + name, value)

    def _written(self, address: int, count: int) -> None:
        if self.chain.touches("124.OutWRte", address, count):
            self.rates.append((self.chain.get("124.OutWRte"), self.chain.get("124.InWRte")))


@contextlib.asynccontextmanager
async def driver(mp: Interpreter, peer: Peer, **options: Any) -> AsyncIterator[Rig]:
    port = await peer.server.start()
    try:
        async with rig(mp.command, "pcs_sunspec", {"host": "127.0.0.1", "port": port, **options}) as one:
            yield one
    finally:
        await peer.server.stop()


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 150))


@pytest.mark.parametrize("watts, amps", [(20000, 333), (-20000, -333)])
def test_the_dc_current_of_one_that_does_not_measure_dc_power_has_the_sign_of_its_ac_power(
    mp64: Interpreter, watts: int, amps: int
) -> None:
    async def story() -> None:
        peer = Peer()
        peer.chain = peer.server.chain = Chain([COMMON, (103, INVERTER), (120, RATING), (124, STORAGE)])
        for name, value in {"W": watts, "PPVphAB": 400, "DCA": 33.3, "St": 4, "Hz": 50, "Evt1": 0}.items():
            peer.chain.put("103." + name, value)
        async with driver(mp64, peer) as one:
            await one.until(lambda: one.seq(im.SEQ_PCS) >= 2)
            assert one.has(PCS_P=watts, PCS_DC_I=amps, PCS_DC_P=im.NO_VALUE)

    run(story)


def test_a_single_phase_inverter_has_no_voltage_from_line_to_line(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        peer.chain = peer.server.chain = Chain([COMMON, (101, INVERTER), (120, RATING), (124, STORAGE)])
        for name, value in {"W": 0, "St": 4, "PhVphA": 230, "Hz": 50, "Evt1": 0, "DCA": 0}.items():
            peer.chain.put("101." + name, value)
        async with driver(mp64, peer) as one:
            await one.until(lambda: one.seq(im.SEQ_PCS) >= 2)
            assert one.has(PCS_V=2300)

    run(story)


def test_older_inverter_is_measured_in_the_image_s_units(mp: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        put = peer.chain.put
        for name, value in {"W": -20450, "A": 30.1, "DCA": 33.3, "DCW": -20600, "St": 4, "Hz": 50.03, "TmpCab": 41}.items():
            put("103." + name, value)
        async with driver(mp, peer) as one:
            await one.until(lambda: one.seq(im.SEQ_PCS) >= 2)
            assert one.has(PCS_P=-20450, PCS_I=301, PCS_V=4000, PCS_HZ=50030, PCS_STATE=im.PCS_RUNNING, PCS_GRID=1)
            assert one.has(PCS_DC_I=-333, PCS_DC_P=-20600, PCS_DC_V=6200, PCS_TEMP=410, PCS_ALARM=0)
            assert one.has(PCS_P_CHG=45000, PCS_P_DIS=48000)

    run(story)


def test_a_frequency_is_the_grids_only_where_it_cannot_be_that_of_an_island_of_ones_own(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        peer.chain.put("103.St", 4)
        async with driver(mp64, peer) as one:
            for kind, said in ((Grid.INTERACTIVE, 1), (Grid.ISOLATED, im.NO_VALUE), (Grid.EXPORT, 1), (Grid.BACKUP, im.NO_VALUE)):
                await one.send({"grid": kind})
                await one.until(partial(one.has, PCS_HZ=50000, PCS_GRID=said))
            peer.chain.put("103.Hz", 0)  # nothing at its terminals: that is no grid
            await one.until(lambda: one.has(PCS_HZ=0, PCS_GRID=0))
            peer.chain.put("103.Hz", 50)
            await one.until(lambda: one.has(PCS_HZ=50000, PCS_GRID=im.NO_VALUE))
            peer.chain.put("103.St", 1)  # off: its relay is open
            await one.until(lambda: one.has(PCS_STATE=im.PCS_OFF, PCS_GRID=0))

    run(story)


@pytest.mark.parametrize("model", [111, 112, 113])
def test_float_inverter_is_measured_and_commanded_through_124(mp64: Interpreter, model: int) -> None:
    async def story() -> None:
        peer = Peer()
        peer.chain = peer.server.chain = Chain([COMMON, (model, {}), (120, RATING), (124, STORAGE)])
        values = {"W": -20450.0, "Hz": 50.03, "St": 4, "DCV": 620.5, "PPVphAB": 399.9, "TmpCab": 41.2, "DCW": 1e3}
        for name, value in values.items():
            peer.chain.put(f"{model}.{name}", value)
        async with driver(mp64, peer) as one:
            await one.command(-20000)
            await one.until(lambda: (-40.0, 40.0) in peer.rates)
            wanted = {"PCS_P": -20450, "PCS_HZ": 50030, "PCS_DC_V": 6205, "PCS_V": 3999, "PCS_TEMP": 412}
            await one.until(lambda: one.has(**wanted, PCS_STATE=im.PCS_RUNNING))

    run(story)


def test_power_is_commanded_by_two_limits_that_leave_only_one_value(mp: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        async with driver(mp, peer) as one:
            await one.command(-20000)
            await one.until(lambda: (-40.0, 40.0) in peer.rates and peer.chain.raw("124.StorCtl_Mod") == 3)
            assert peer.chain.raw("124.InOutWRte_RvrtTms") == 5
            await one.until(lambda: peer.chain.raw("123.Conn") == 1)
            await one.until(lambda: one.has(PCS_SETPOINT=-20000))
            await one.command(12345)
            await one.until(lambda: peer.rates[-1] == (24.69, -24.69))
            await one.command(5000, run=0)
            await one.until(lambda: peer.chain.raw("123.Conn") == 0)
            assert peer.rates[-1] == (0.0, 0.0)

    run(story)


def test_setpoint_between_two_steps_is_cut_off_towards_zero(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = Peer(InOutWRte_SF=0)
        async with driver(mp64, peer) as one:
            await one.command(12345)
            await one.until(lambda: (24.0, -24.0) in peer.rates)
            await one.command(-12345)
            await one.until(lambda: (-24.0, 24.0) in peer.rates)

    run(story)


def test_inverter_without_storage_model_is_not_taken_for_a_pcs(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        peer.chain = Chain([COMMON, (103, INVERTER), (123, CONTROLS)])
        peer.server.chain = peer.chain
        async with driver(mp64, peer) as one:
            await one.command(1000)
            await one.until(lambda: any("models 1 103 123" in line for line in one.printed))
            assert "103 and 124" in (await one.counters())["last_error"]
            assert peer.server.writes == 0

    run(story)


def test_pcs_on_a_shared_rs485_line_is_measured_and_commanded(mp: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        registers = SimData(40000, values=list(peer.chain.registers), datatype=DataType.REGISTERS)
        async with wire() as line:
            server = ModbusSerialServer(
                SimDevice(7, [registers], action=peer.server._access), port=line.add(), baudrate=115200
            )
            task = asyncio.create_task(server.serve_forever())
            await asyncio.sleep(0.1)
            buses = {"line": {"type": "modbus_rtu", "id": 1, "baudrate": 115200, "de_pin": 4}}
            env = {"SIM_UART1": line.add()}
            async with rig(mp.command, "pcs_sunspec", {"bus": "line", "unit": 7}, env=env, buses=buses) as one:
                await one.command(25000)
                await one.until(lambda: one.seq(im.SEQ_PCS) >= 3 and (50.0, -50.0) in peer.rates, 15)
                assert one.has(PCS_V=4000, PCS_DC_V=6200)
            await server.shutdown()
            task.cancel()

    run(story)
