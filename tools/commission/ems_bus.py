"""The step about an EMS on CAN: this computer is one for a moment, by the DBC file that EMS makers get."""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import can
import cantools
from cantools.database.can import Database, Message
from crccheck.crc import Crc8Base

from tools.commission.bench import REPORTED_S, Bench
from tools.commission.outcome import DoesNotApply, Failed, NotTested

ROOT = Path(__file__).resolve().parents[2]
DBC = ROOT / "docs" / "dbc" / "ems.dbc"
DBC_BASE = 0x600  # of the ids in that file
EVERY_S = 0.2
LISTEN_S = 6.0  # the slow frames come every five periods
FOLLOW_S = 3.0
END_S = 2.0  # beyond the lifetime
WAITED_S = 30.0  # a lifetime that is longer is not waited for


class E2E(Crc8Base):
    """AUTOSAR E2E profile 1."""

    _poly, _initvalue, _xor_output = 0x1D, 0, 0


class Master:
    """An EMS on the bus.  Blocking: whoever calls it does so in a thread."""

    def __init__(self, bus: can.BusABC, base: int, extended: bool) -> None:
        database = cantools.database.load_file(DBC)
        assert isinstance(database, Database)
        self._rows: dict[int, Message] = {row.frame_id - DBC_BASE: row for row in database.messages}
        self._setpoint = database.get_message_by_name("SETPOINT")
        self._bus = bus
        self._base = base
        self._extended = extended
        self._counter = 0
        self.received: dict[str, dict[str, Any]] = {}

    def send(self, kw: float, enable: int = 1) -> None:
        """The next SETPOINT."""
        self._counter = (self._counter + 1) % 15
        values = {"CRC": 0, "COUNTER": self._counter, "ENABLE": enable, "SETPOINT_P": kw}
        data = bytearray(self._setpoint.encode(values))
        at = self._base + self._setpoint.frame_id - DBC_BASE
        data[0] = E2E.calc((at & 0xFFFF).to_bytes(2, "little") + data[1:])
        self._bus.send(can.Message(arbitration_id=at, data=data, is_extended_id=self._extended), timeout=0.5)

    def listen(self, seconds: float) -> None:
        """What the battery storage sends meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            message = self._bus.recv(left)
            if message is None or bool(message.is_extended_id) != self._extended or message.is_error_frame:
                continue
            row = self._rows.get(message.arbitration_id - self._base)
            if row is not None and row is not self._setpoint:
                with contextlib.suppress(ValueError):  # a frame of somebody else that is shorter
                    self.received[row.name] = dict(row.decode(bytes(message.data)))  # type: ignore[arg-type]  # no containers here

    def says(self, frame: str, signal: str) -> str:
        """A signal of what came last; "" of a frame that has not come."""
        return str(self.received.get(frame, {}).get(signal, ""))


async def ems_can(bench: Bench) -> None:
    """Every EMS on CAN that the site file names: status comes, a setpoint moves the power, and silence ends it."""
    found = bench.services("ems_can")
    if not found:
        raise DoesNotApply("the site file names no EMS on CAN (services: ems_can)")
    adapter = str(bench.agreed.get("ems_can") or "")
    if not adapter:
        raise NotTested("nobody has said which CAN adapter of this computer is on the EMS's bus: ARGS=\"--ems-can socketcan:can0\"")
    interface, _, channel = adapter.partition(":")
    for name, options in found.items():
        bitrate = int(bench.site["buses"][options["bus"]].get("bitrate", 500000))
        try:
            bus = await asyncio.to_thread(_open, interface, channel, bitrate)
        except (can.CanError, OSError, ValueError, ImportError) as error:
            raise NotTested(f"the CAN adapter {adapter} cannot be opened: {error}") from None
        try:
            base, extended = int(options.get("base_id", DBC_BASE)), bool(options.get("extended", False))
            await _one(bench, name, options, Master(bus, base, extended))
        except can.CanError as error:
            raise Failed(f"{name}: the CAN bus cannot be written to: {error}", "bit rate, termination: docs/can.md") from None
        finally:
            await asyncio.to_thread(bus.shutdown)


def _open(interface: str, channel: str, bitrate: int) -> can.BusABC:
    more = {"sleep_after_open": 0} if interface == "slcan" else {}
    return can.Bus(interface=interface, channel=channel, bitrate=bitrate, **more)  # type: ignore[arg-type]  # options of the interface


async def _one(bench: Bench, name: str, options: dict[str, Any], master: Master) -> None:
    await asyncio.to_thread(master.listen, max(LISTEN_S, 6 * float(options.get("period_ms", 500)) / 1000))
    bench.note(f"{name}: kinds of status frames", len(master.received), "", "some", bool(master.received))
    if not master.received:
        raise Failed(f"{name}: no status frame comes from {options.get('base_id', DBC_BASE):#x} on",
                     "the wires, bit rate and termination of its bus; base_id and extended: docs/can.md")  # fmt: skip
    await bench.start()
    await bench.free()
    kw = -bench.pulse_kw
    began = time.monotonic()
    if not options.get("control", False):
        await _refused(bench, name, master, kw)
        return
    try:
        after = await _followed(bench, master, kw, began)
        if after is None:
            result = master.says("ANSWER", "SETPOINT_RESULT") or "no answer"
            raise Failed(f"{name}: {kw:g} kW over CAN move nothing: {result}; {await bench.why()}", "docs/can.md, docs/access.md")
        bench.at_most(f"{name}: the power is there after", after, FOLLOW_S, "s")
        await bench.do_their_part()
        by = str((await bench.state()).get("by"))
        bench.note(f"{name}: who asks for the power", by, "", "remote", by == "remote")
        told = master.says("POWER", "PCS_P")
        bench.note(f"{name}: the power that it is told", told, "kW", f"about {kw:g} kW", _near(told, kw, bench.pulse_kw))
        await _silent(bench, name, options, master)
    finally:
        await asyncio.to_thread(master.send, 0.0, 0)  # given back, whatever became of it
    bench.plot(f"{name} commands", began, {"req": "request", "cmd": "command", "p": "inverter"})


def _near(text: str, kw: float, pulse_kw: float) -> bool:
    return bool(text) and abs(float(text) - kw) < 0.3 * pulse_kw


async def _followed(bench: Bench, master: Master, kw: float, began: float) -> float | None:
    """s until the inverter shows it; None: not in time.  Then it goes on, so that status frames and batteries show it too."""
    after = None
    more = REPORTED_S if bench.banks else 1.0
    while (passed := time.monotonic() - began) < (FOLLOW_S + 2 if after is None else after + more):
        await asyncio.to_thread(master.send, kw)
        await asyncio.to_thread(master.listen, EVERY_S)
        newest = bench.console.since(time.monotonic() - 0.5)
        if after is None and newest and abs((newest[-1].state.get("p") or 0.0) - kw) < 0.3 * bench.pulse_kw:
            after = passed
    return after


async def _silent(bench: Bench, name: str, options: dict[str, Any], master: Master) -> None:
    """An EMS that says nothing any more: what it has asked for ends with its lifetime."""
    lifetime = float(options.get("lifetime_ms", 5000)) / 1000
    if lifetime > WAITED_S:
        bench.note(f"{name}: what an EMS that falls silent leaves", f"ends after {lifetime:g} s: not waited for")
        return
    silent = time.monotonic()
    sample = await bench.until(lambda s: abs(s.get("p") or 0.0) < 0.3 * bench.pulse_kw, lifetime + END_S + 2,
                               f"the EMS ({name}) is silent, and its setpoint is to end")  # fmt: skip
    bench.at_most(f"{name}: 0 W after it has fallen silent", sample.at - silent, lifetime + END_S, "s")


async def _refused(bench: Bench, name: str, master: Master, kw: float) -> None:
    """One that may not command: its setpoint moves nothing, and it is told so."""
    for _ in range(5):
        await asyncio.to_thread(master.send, kw)
        await asyncio.to_thread(master.listen, EVERY_S)
    told = master.says("ANSWER", "SETPOINT_RESULT")
    moved = abs((await bench.state()).get("cmd") or 0.0)
    bench.note(f"{name}: a setpoint of one that may not command", told or "no answer", "", "NO_CONTROL", told == "NO_CONTROL")
    bench.at_most(f"{name}: what it moves", moved, 0.01, "kW")
