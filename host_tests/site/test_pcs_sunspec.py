"""The PCS driver, under both MicroPythons, against a SunSpec server that pymodbus serves."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from firmware import image as im
from host_tests.site.rig import Rig, rig
from tools.interpreters import Interpreter
from tools.sim.devices.pcs_device import models
from tools.sim.devices.sunspec_chain import Chain
from tools.sim.devices.sunspec_server import SunSpecServer
from tools.sim.faults import WireFaults
from tools.sim.physics.plant import Plant


class Peer:
    """A PCS of registers only: what it is told is recorded, what it says is put there by the test."""

    def __init__(self, leave_out: tuple[int, ...] = (), base: int = 40000, **points: dict[str, Any]) -> None:
        chain = [(n, {**values, **points.get(f"m{n}", {})}) for n, values in models(Plant()) if n not in leave_out]
        self.chain = Chain(chain, base)
        self.faults = WireFaults(random.Random(1))
        self.server = SunSpecServer(self.chain, self.faults, lambda: None, self._written)
        self.setpoints: list[float] = []
        self.enabled: list[int] = []
        self.operations: list[int] = []
        self.heartbeats: list[int] = []
        self.resets = 0
        self.reversions: list[tuple[int, float, int]] = []
        at_rest = {"W": 0, "InvSt": 7, "ConnSt": 1, "LLV": 400, "Hz": 50, "Alrm": 0}
        for name, value in at_rest.items():
            self.chain.put("701." + name, value)

    def _written(self, address: int, count: int) -> None:
        chain = self.chain
        if 704 in chain.starts and chain.touches("704.WSet", address, count):
            self.setpoints.append(chain.get("704.WSet"))
            self.enabled.append(chain.raw("704.WSetEna") * 10 + chain.raw("704.WSetMod"))
        if 704 in chain.starts and chain.touches("704.WSetRvrtTms", address, count):
            seconds = chain.raw("704.WSetRvrtTms")
            self.reversions.append((chain.raw("704.WSetEnaRvrt"), chain.get("704.WSetRvrt"), seconds))
        if 715 in chain.starts and chain.touches("715.OpCtl", address, count):
            self.operations.append(chain.raw("715.OpCtl"))
        if 715 in chain.starts and chain.touches("715.AlarmReset", address, count):
            self.resets += 1
        if 715 in chain.starts and chain.touches("715.ControllerHb", address, count):
            self.heartbeats.append(chain.raw("715.ControllerHb"))


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


def test_measurements_reach_the_image_in_its_units_and_signs(mp: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        put = peer.chain.put
        put("701.W", -41230)
        put("701.InvSt", 3)
        put("701.Var", 1500)
        put("701.A", 59.5)
        put("701.LLV", 398.7)
        put("701.Hz", 49.987)
        put("701.TmpCab", 31.5)
        put("701.TmpSnk", 44.2)
        put("714.DCA", -65.4)
        put("714.DCW", -40800)
        put("714.Prt.0.DCV", 624.1)
        put("702.WChaRteMax", 80000)
        put("702.WDisChaRteMax", 90000)
        async with driver(mp, peer) as one:
            await one.until(lambda: one.seq(im.SEQ_PCS) >= 3)
            assert one.has(PCS_STATE=im.PCS_RUNNING, PCS_P=-41230, PCS_Q=1500, PCS_I=595, PCS_V=3987, PCS_HZ=49987)
            assert one.has(PCS_TEMP=442, PCS_DC_I=-654, PCS_DC_P=-40800, PCS_DC_V=6241, PCS_GRID=1, PCS_ALARM=0)
            assert one.has(PCS_P_CHG=80000, PCS_P_DIS=90000)
            put("701.W", 70000)
            put("701.Alrm", 1 << 7)
            put("701.InvSt", 6)
            await one.until(lambda: one.has(PCS_P=70000, PCS_ALARM=128, PCS_STATE=im.PCS_FAULT))
            assert any("SunSpec at 40000" in line and "701 702 703 704" in line for line in one.printed)

    run(story)


def test_points_the_device_leaves_out_have_no_value(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = Peer(leave_out=(714,))
        for name in ("701.LLV", "701.LNV"):
            place = peer.chain.places[name]
            peer.chain.registers[place.address - peer.chain.base] = 0xFFFF
        async with driver(mp64, peer) as one:
            await one.until(lambda: one.seq(im.SEQ_PCS) >= 2)
            assert one.has(PCS_V=im.NO_VALUE, PCS_DC_V=im.NO_VALUE, PCS_P=0)

    run(story)


def test_chain_is_found_at_register_0_and_50000(mp64: Interpreter) -> None:
    async def story() -> None:
        for base in (0, 50000):
            async with driver(mp64, Peer(base=base)) as one:
                await one.until(lambda: one.seq(im.SEQ_PCS) >= 1)
                assert any(f"SunSpec at {base}," in line for line in one.printed)

    run(story)


def test_setpoint_is_written_at_once_enabled_in_watts_and_refreshed(mp: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        async with driver(mp, peer, refresh_ms=500) as one:
            await one.command(-40000)
            await one.until(lambda: -40000.0 in peer.setpoints)
            assert peer.enabled[peer.setpoints.index(-40000.0)] == 11
            assert peer.reversions[-1] == (1, 0, 5)
            await one.until(lambda: one.has(PCS_SETPOINT=-40000))
            await one.command(60000)
            took = await one.until(lambda: peer.setpoints[-1] == 60000.0)
            assert took < 1.0  # loose: a stalled driver, not a slow machine
            before = len(peer.setpoints)
            await one.until(lambda: len(peer.setpoints) >= before + 3, 5)
            assert set(peer.setpoints[before:]) == {60000.0}

    run(story)


def test_setpoint_is_cut_off_towards_zero_at_the_scale_factor(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = Peer(m704={"WSet_SF": 1})
        async with driver(mp64, peer) as one:
            await one.command(40009)
            await one.until(lambda: 40000.0 in peer.setpoints)
            await one.command(-40009)
            await one.until(lambda: -40000.0 in peer.setpoints)
            assert set(peer.setpoints) <= {0.0, 40000.0, -40000.0}

    run(story)


def test_start_stop_and_heartbeat(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        async with driver(mp64, peer) as one:
            await one.command(10000, run=1)
            await one.until(lambda: peer.operations[-1:] == [1] and peer.setpoints[-1:] == [10000.0])
            await one.until(lambda: len(peer.heartbeats) >= 3, 5)
            assert peer.heartbeats == sorted(set(peer.heartbeats)), "the heartbeat counts up"
            await one.command(10000, run=0)
            await one.until(lambda: peer.operations[-1] == 0)
            assert peer.setpoints[-1] == 0.0, "a PCS that may not run is told 0 W, before it is stopped"

    run(story)


def test_latched_alarms_are_reset_while_a_pcs_is_to_run_and_not_else(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        async with driver(mp64, peer) as one:
            await one.command(1000, run=1)
            await one.until(lambda: peer.operations[-1:] == [1])
            peer.chain.put("701.InvSt", 6)
            await one.until(lambda: one.has(PCS_STATE=im.PCS_FAULT))
            await one.command(0, run=0)
            await one.until(lambda: peer.operations[-1] == 0)
            await asyncio.sleep(6)
            assert peer.resets == 0, "not by itself: whether to try again is for the manager to say"
            await one.send({im.ORDER: im.ORDER_START})
            await one.until(lambda: peer.resets == 1)
            assert peer.operations[-1] == 0

    run(story)


def test_driver_falls_silent_when_the_control_cycle_stops(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        async with driver(mp64, peer, control_timeout_ms=400, refresh_ms=200) as one:
            await one.command(20000)
            await one.until(lambda: peer.setpoints[-1:] == [20000.0])
            await one.send({"cycle": 0})
            await asyncio.sleep(0.8)
            writes = peer.server.writes
            heard = one.seq(im.SEQ_PCS)
            await asyncio.sleep(1.5)
            assert peer.server.writes == writes, "no setpoint and no heartbeat: the PCS's own watchdog has to act"
            assert one.seq(im.SEQ_PCS) > heard, "measuring goes on"
            await one.send({"cycle": 1})
            await one.until(lambda: peer.server.writes > writes)

    run(story)


def test_silent_pcs_is_not_heard_and_is_commanded_again_when_it_returns(mp: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        async with driver(mp, peer, timeout_ms=200) as one:
            await one.command(30000)
            await one.until(lambda: peer.setpoints[-1:] == [30000.0])
            peer.faults.silent = True
            await asyncio.sleep(0.3)
            heard = one.seq(im.SEQ_PCS)
            await asyncio.sleep(1.0)
            assert one.seq(im.SEQ_PCS) == heard
            await one.command(-5000)
            peer.faults.silent = False
            await one.until(lambda: peer.setpoints[-1] == -5000.0 and one.seq(im.SEQ_PCS) > heard + 2)
            assert (await one.counters())["timeouts"] > 0

    run(story)


def test_pcs_that_was_restarted_is_told_everything_again(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        async with driver(mp64, peer) as one:
            await one.command(30000)
            await one.until(lambda: peer.setpoints[-1:] == [30000.0])
            port = peer.server.port
            await peer.server.stop()
            await asyncio.sleep(0.5)
            peer.chain.put("704.WSet", 0)
            peer.chain.put("704.WSetEna", 0)
            peer.operations.clear()
            peer.setpoints.clear()
            await peer.server.start(port)
            await one.until(lambda: peer.setpoints[-1:] == [30000.0] and peer.operations[-1:] == [1])
            assert peer.chain.raw("704.WSetEna") == 1

    run(story)


def test_refused_writes_are_counted_and_tried_again(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        async with driver(mp64, peer) as one:
            await one.command(1000)
            await one.until(lambda: peer.setpoints[-1:] == [1000.0])
            peer.faults.refuses = True
            await one.command(2000)
            await one.until(lambda: peer.server.refused > 3)
            peer.faults.refuses = False
            await one.until(lambda: peer.setpoints[-1] == 2000.0)
            counters = await one.counters()
            assert counters["exceptions"] > 3

    run(story)


def test_one_that_refuses_every_setpoint_is_named_with_why_until_it_takes_one(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        async with driver(mp64, peer) as one:
            await one.command(1000)
            await one.until(lambda: peer.setpoints[-1:] == [1000.0])
            peer.faults.refuses = True
            await one.command(2000)
            await one.until(lambda: any("it refuses what is commanded: function" in line for line in one.printed))
            assert "refused, exception 4" in (await one.counters())["note"]
            peer.faults.refuses = False
            await one.until(lambda: peer.setpoints[-1] == 2000.0)
            await asyncio.sleep(0.2)
            assert (await one.counters())["note"] == ""
            assert len([line for line in one.printed if "it refuses" in line]) == 1

    run(story)


def test_spoilt_frames_cost_no_more_than_their_own_measurement(mp: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        async with driver(mp, peer, timeout_ms=200) as one:
            await one.until(lambda: one.seq(im.SEQ_PCS) >= 3)
            for fault in ("bad_header", "bad_length"):
                setattr(peer.faults, fault, True)
                enough = one.seq(im.SEQ_PCS) + 5
                await one.until(lambda enough=enough: one.seq(im.SEQ_PCS) > enough)  # type: ignore[misc]
                setattr(peer.faults, fault, False)
            heard = one.seq(im.SEQ_PCS)
            await one.until(lambda: one.seq(im.SEQ_PCS) > heard + 10, 4)
            assert peer.faults.spoilt > 0

    run(story)


def test_values_that_cannot_be_true_are_refused(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = Peer()
        async with driver(mp64, peer) as one:
            await one.until(lambda: one.seq(im.SEQ_PCS) >= 2)
            peer.chain.put("701.Hz", 400)
            await asyncio.sleep(0.3)
            heard = one.seq(im.SEQ_PCS)
            await asyncio.sleep(0.5)
            assert one.seq(im.SEQ_PCS) == heard
            assert one.has(PCS_HZ=50000)
            assert (await one.counters())["rejected"] > 2
            peer.chain.put("701.Hz", 50.1)
            await one.until(lambda: one.has(PCS_HZ=50100))

    run(story)
