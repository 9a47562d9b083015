"""Rigs of the CAN tests: a driver of ours, the emulated chip it drives, a wire, and a plain station on it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tools.sim.chips.frame import Frame
from tools.sim.chips.mcp2515 import Mcp2515Chip
from tools.sim.chips.station import Station
from tools.sim.chips.twai import Esp32Memory, TwaiChip
from tools.sim.chips.wire import Wire

EXT = 2
RTR = 1


class RecordedPin:
    """machine.Pin that only remembers how each pin was set up."""

    IN, OUT, PULL_UP, PULL_DOWN = 0, 1, 2, 3
    made: dict[int, tuple[Any, ...]] = {}

    def __init__(self, number: int, mode: int = -1, pull: int | None = None, value: int | None = None) -> None:
        RecordedPin.made[number] = (mode, pull, value)


class WireTimer:
    """machine.Timer whose time is the wire's; `late_us` is how late the interpreter runs the callback."""

    PERIODIC = 1

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._running = 0
        self.late_us = 0.0

    def init(self, period: int, mode: int, callback: Callable[[Any], None]) -> None:
        """Call back every `period` ms."""
        self._running += 1
        self._again(self._running, period, callback)

    def _again(self, run: int, period: int, callback: Callable[[Any], None]) -> None:
        def tick() -> None:
            if run == self._running:
                callback(self)
                self._again(run, period, callback)

        self._wire.after_us(period * 1000 + self.late_us, tick)

    def deinit(self) -> None:
        """Stop."""
        self._running += 1


def fake_machine(memory: Any) -> ModuleType:
    """A `machine` module with mem32 and Pin."""
    module = ModuleType("machine")
    module.mem32 = memory  # type: ignore[attr-defined]
    module.Pin = RecordedPin  # type: ignore[attr-defined]
    return module


class Rig:
    """`can` drives `chip`; both `chip` and `peer` are on `wire`."""

    can: Any
    chip: Any

    def __init__(self, bitrate: int = 500_000) -> None:
        self.wire = Wire(bitrate)
        self.peer = Station(bitrate)
        self.wire.join(self.peer)

    def run_ms(self, ms: float) -> None:
        """Let time pass on the wire."""
        self.wire.run_us(ms * 1000)

    def received(self) -> list[tuple[int, bytes, int, int]]:
        """Everything recv() has now, as (id, data, flags, errors)."""
        frames = []
        message: list[Any] = [0, memoryview(bytearray(8)), 0, 0]
        while self.can.recv(message) is not None:
            frames.append((message[0], bytes(message[1]), message[2], message[3]))
        return frames

    def sane(self) -> None:
        """The driver did nothing that the chip would have ignored."""
        assert self.chip.misuse == []


class TwaiRig(Rig):
    """The TWAI driver on its emulated chip."""

    def __init__(self, chip: str = "esp32", bitrate: int = 500_000, mode: int = 0, timer: bool = True, **more: Any):
        super().__init__(bitrate)
        from canbus.esp32 import CHIPS, Esp32Port
        from canbus.twai import TWAI

        row = CHIPS[chip]
        self.chip = TwaiChip(first=chip == "esp32")
        self.wire.join(self.chip)
        self.memory = Esp32Memory(self.chip, row[1], row[2])
        sys.modules["machine"] = fake_machine(self.memory)
        self.port = Esp32Port(chip, self.memory)
        self.port.registers = self.chip
        self.timer = WireTimer(self.wire) if timer else False
        self.can = TWAI(0, bitrate, mode, 5, 4, port=self.port, timer=self.timer, **more)


class McpRig(Rig):
    """The MCP2515 driver on its emulated chip."""

    def __init__(
        self, oscillator_hz: int = 16_000_000, bitrate: int = 500_000, mode: int = 0, irq: bool = True, **more: Any
    ) -> None:
        super().__init__(bitrate)
        from canbus.mcp2515 import MCP2515

        self.chip = Mcp2515Chip(oscillator_hz)
        self.wire.join(self.chip)
        pin = self.chip.int if irq else None
        self.can = MCP2515(
            1, bitrate, mode, oscillator_hz=oscillator_hz, spi=self.chip.spi, cs=self.chip.cs, int=pin, **more
        )


def burst(count: int, extended: bool = True, first: int = 0x4210) -> list[Frame]:
    """Frames with 8 bytes each, their number in the data."""
    return [Frame(first + (i % 8 << 4), bytes([i] * 8), extended) for i in range(count)]
