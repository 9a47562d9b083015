"""Steps about who is outside, and about the board itself: remote interfaces, a power cut, a reset."""

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from tools.commission import still
from tools.commission.bench import REPORTED_S, Bench
from tools.commission.outcome import DoesNotApply, Failed, NotTested
from tools.commission.wire import Refused, Silent

BASE = 40000
MARK = b"SunS"
BOOT_S = 60.0
FOLLOW_S = 3.0
SETTLED_S = 5.0
LOOK_S = 0.2
ANSWER_S = 2.0  # of a board that may be reset at any moment
# offsets in SunSpec's models 701 and 704, from the model's identifier on (docs/ems-registers.md)
_SET_ENA, _SET_MOD, _SET, _SET_TIME, _SET_SF = 22, 23, 24, 31, 55
_WATTS = 1
_MODEL_SET = 704


async def remote(bench: Bench) -> None:
    """Every SunSpec server that the site file names: it answers, and a small setpoint through it moves the power and ends."""
    found = bench.services("sunspec_server")
    if not found:
        raise DoesNotApply("the site file names no interface on Modbus (services: sunspec_server)")
    serial = [name for name, options in found.items() if not options.get("port", 502)]
    for name, options in found.items():
        if name not in serial:
            await _sunspec(bench, name, options)
    if serial:
        raise NotTested(f"{', '.join(serial)}: on a serial line, to be tried with its own master (docs/ems.md)")


async def _sunspec(bench: Bench, name: str, options: dict[str, Any]) -> None:
    host, _, port = str(bench.agreed.get("ems") or "").partition(":")
    if not host:
        raise NotTested(f"nobody has said at which address the board is reached in the network, for {name}: ARGS=\"--ems HOST\"")
    unit = int(options.get("unit", 1))
    client = AsyncModbusTcpClient(host, port=int(port or options.get("port", 502)), timeout=3)
    try:
        if not await client.connect():
            raise Failed(
                f"{name} does not answer at {host}:{port or options.get('port', 502)}", "the network; rights: docs/access.md"
            )
        chain = await _chain(client, unit)
        bench.note(f"{name}: models", ", ".join(str(model) for model in chain), "", "with 704", _MODEL_SET in chain)
        if _MODEL_SET not in chain:
            raise Failed(f"{name} serves no model 704")
        await _commanded(bench, client, unit, chain[_MODEL_SET], name)
    except (ModbusException, OSError) as error:
        raise Failed(f"{name}: {error}", "docs/ems.md, docs/access.md") from None
    finally:
        client.close()


async def _read(client: AsyncModbusTcpClient, unit: int, address: int, count: int) -> list[int]:
    answer = await client.read_holding_registers(address, count=count, device_id=unit)
    if answer.isError():
        raise Failed(f"reading {count} registers from {address} is refused: {answer}", "docs/access.md")
    return list(answer.registers)


async def _write(client: AsyncModbusTcpClient, unit: int, address: int, values: list[int]) -> None:
    answer = await client.write_registers(address, values, device_id=unit)
    if answer.isError():
        raise NotTested(f'this computer may not command over Modbus ({answer}): "allow" of the service (docs/access.md)')


async def _chain(client: AsyncModbusTcpClient, unit: int) -> dict[int, int]:
    """Where each model begins."""
    if struct.pack(">2H", *await _read(client, unit, BASE, 2)) != MARK:
        raise Failed(f"there is no SunSpec chain at {BASE}")
    found: dict[int, int] = {}
    at = BASE + 2
    while len(found) < 60:
        model, length = await _read(client, unit, at, 2)
        if model == 0xFFFF:
            break
        found[model] = at
        at += 2 + length
    return found


async def _commanded(bench: Bench, client: AsyncModbusTcpClient, unit: int, at: int, name: str) -> None:
    """A setpoint from outside, seen at the inverter, and its end."""
    await bench.start()
    await bench.free()
    factor = (await _read(client, unit, at + _SET_SF, 1))[0]
    power_of_ten = factor - 0x10000 if factor & 0x8000 else factor
    kw = -bench.pulse_kw
    count = round(kw * 1000 / 10**power_of_ten)
    began = time.monotonic()
    await _write(client, unit, at + _SET_TIME, list(struct.unpack(">2H", struct.pack(">i", 30))))
    await _write(client, unit, at + _SET_MOD, [_WATTS, *struct.unpack(">2H", struct.pack(">i", count))])
    await _write(client, unit, at + _SET_ENA, [1])
    try:
        sample = await bench.until(lambda s: abs((s.get("p") or 0) - kw) < 0.3 * bench.pulse_kw, FOLLOW_S + 2,
                                   f"{name} commands {kw:g} kW over Modbus")  # fmt: skip
        bench.at_most(f"{name}: the power is there after", sample.at - began, FOLLOW_S, "s")
        if bench.banks:
            await asyncio.sleep(REPORTED_S)
            await bench.do_their_part()
        bench.note(f"{name}: who asks for the power", str(sample.state.get("by")), "", "remote", sample.state.get("by") == "remote")
    finally:
        await _write(client, unit, at + _SET_ENA, [0])
    await bench.until(lambda s: abs(s.get("p") or 0) < 0.3 * bench.pulse_kw, FOLLOW_S + 2, f"{name} has ended its setpoint")
    bench.plot(f"{name} commands", began, {"req": "request", "cmd": "command", "p": "inverter"})


# ---- the board itself --------------------------------------------------------------------------------------
async def power_cut(bench: Bench) -> None:
    """The board's supply fails under a small power: afterwards nothing flows that nobody has asked for."""
    await bench.start()
    await bench.hold(bench.pulse_kw, 0.5)
    before = (await bench.state()).get("t", 0.0)
    began = time.monotonic()
    await bench.ask_for("cut")
    await _up_again(bench, float(before), began, "the power cut")
    state = await bench.state()
    zero = abs(state.get("cmd") or 0.0) < 0.01
    resumes = bool(bench.power("resume_manual", 0))
    bench.note("mode afterwards", str(state.get("mode")))
    bench.note("commanded afterwards", float(state.get("cmd") or 0.0), "kW", "0 kW" if not resumes else "", zero or resumes)
    if not zero and not resumes:
        raise Failed(f"after the power cut {state['cmd']:g} kW are commanded: {await bench.why()}", "resume_manual in site.json")


async def reset(bench: Bench) -> None:
    """An emergency outlives a reset, and ends when a person says so."""
    ours = await bench.emergencies() + 1
    if await bench.console.ask("pm.emergency_shutdown()") is not True:
        raise Failed(
            "the emergency could not be stored: it would not outlive a reset", "services() at the console: emergency_memory"
        )
    before = (await bench.state()).get("t", 0.0)
    began = time.monotonic()
    async with _counting(bench) as known:
        await bench.ask_for("reset")
    if max(known, default=0) > ours:
        raise Failed("somebody has given an emergency before the reset, on top of this one: it stands",
                     "find out who and why, then pm.reset_emergency(), and the step again")  # fmt: skip
    await _up_again(bench, float(before), began, "the reset")
    state = await bench.state()
    bench.note("mode afterwards", str(state.get("mode")), "", "EMERGENCY", state.get("mode") == "EMERGENCY")
    if state.get("mode") != "EMERGENCY":
        raise Failed("an emergency does not outlive a reset", "services() at the console: emergency_memory")
    bench.note("its reason", str(await bench.console.ask("pm.emergency_reason")))
    await bench.reset_emergency(0)  # the board counts anew, and what it has restored nobody has commanded since
    await bench.mode("STANDBY", seconds=5)


@contextlib.asynccontextmanager
async def _counting(bench: Bench) -> AsyncIterator[list[int]]:
    """How many emergencies have been commanded, again and again until the board is reset: it forgets that."""
    known = [await bench.emergencies()]
    ended = asyncio.Event()

    async def look() -> None:
        with contextlib.suppress(Refused, Silent, ValueError):  # the last is half an answer
            while not ended.is_set():
                known.append(int(await bench.console.ask("pm.emergencies", ANSWER_S)))
                await asyncio.sleep(LOOK_S)

    task = asyncio.create_task(look())
    try:
        yield known
    finally:
        ended.set()
        await task


async def _up_again(bench: Bench, before_t: float, began: float, what: str) -> None:
    """Until it has started again and controls."""
    give_up = time.monotonic() + BOOT_S
    await bench.console.wait_up(BOOT_S)
    await still.helpers(bench.console)
    while (up := float((await bench.state()).get("t", 0.0))) >= before_t + (time.monotonic() - began) - 2.0:
        if time.monotonic() > give_up:
            raise Failed(
                f"{what}: the board has not started again: it counts {up:.0f} s since its start", "was its supply really away?"
            )
        await asyncio.sleep(0.5)
    bench.note("console and control are back after", time.monotonic() - began, "s")
    await asyncio.sleep(SETTLED_S)  # what it would do by itself it has begun by then
    bench.note("what it says", await bench.why())
