"""The MCP2515 driver does byte for byte the same under CPython, beside the emulated chip, and under both MicroPythons."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from host_tests.both.mcp_story import story
from host_tests.unit.can_rigs import McpRig, burst
from tools.interpreters import Interpreter
from tools.sim.chips import wire
from tools.sim.chips.frame import Frame
from tools.sim.chips.mcp2515 import Mcp2515Chip, Spi


class RecordingSpi(Spi):
    """The chip's SPI bus, writing down every transfer."""

    def __init__(self, chip: Mcp2515Chip) -> None:
        super().__init__(chip)
        self.record: list[tuple[str, str]] = []

    def write_readinto(self, out: memoryview, into: memoryview) -> None:
        sent = bytes(out)
        super().write_readinto(out, into)
        self.record.append((sent.hex(), bytes(into).hex()))


def _told_by_the_chip() -> tuple[list[Any], list[tuple[str, str]]]:
    from canbus.mcp2515 import MCP2515

    rig = McpRig(irq=False)
    spi = RecordingSpi(rig.chip)

    def world(n: int) -> None:
        if n == 0:
            rig.peer.send(Frame(0x123, b"abc"), Frame(0x1ABCDEF0, b"12345678", True))
        elif n == 1:
            rig.peer.send(Frame(0x351, b"x" * 8), Frame(0x352, b"no"), Frame(0x4250, b"yes", True))
        elif n == 3:
            rig.peer.send(*burst(6))
        elif n == 4:
            rig.wire.faults = [wire.IN_DATA] * 20
            rig.peer.send(Frame(0x351, b"hurt"))
        elif n == 6:
            rig.wire.faults = []
        rig.run_ms(4)

    return story(MCP2515(1, 500_000, spi=spi, cs=rig.chip.cs), world), spi.record


def test_the_same_transfers_and_the_same_results(mp: Interpreter, root: Path, tmp_path: Path) -> None:
    seen, record = _told_by_the_chip()
    path = tmp_path / "spi.json"
    path.write_text(json.dumps(record))
    command = [*mp.command, str(root / "host_tests" / "both" / "mcp_replay.py"), str(root), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["transfers"] == len(record) > 150
    assert told["seen"] == json.loads(json.dumps(seen))


def test_the_story_is_worth_telling() -> None:
    seen, _ = _told_by_the_chip()
    frames = [entry for entry in seen if isinstance(entry, tuple)]
    assert [frame[0] for frame in frames[:4]] == [0x123, 0x1ABCDEF0, 0x351, 0x4250]
    counters = [entry for entry in seen if isinstance(entry, list) and len(entry) == 8]
    assert counters[0][7] >= 1, "the burst was too much for two polled buffers, and that was counted"
    assert any(entry[1] > 0 for entry in counters), "errors were seen"
    assert seen[-1][0] == 250_000
