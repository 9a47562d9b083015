"""CAN buses as a site file describes them: options reach the controller, and what is wrong is named."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from canbus import esp32
from firmware import buses, config
from host_tests.unit.can_rigs import RecordedPin, WireTimer, fake_machine
from tools.sim.chips.mcp2515 import Mcp2515Chip
from tools.sim.chips.station import Station
from tools.sim.chips.twai import Esp32Memory, TwaiChip
from tools.sim.chips.wire import Wire


class Hardware:
    """An ESP32's surroundings: its own controller and an MCP2515, each on a wire with a listener."""

    def __init__(self) -> None:
        self.twai_wire, self.mcp_wire = Wire(), Wire()
        self.twai, self.mcp = TwaiChip(first=True), Mcp2515Chip()
        self.twai_wire.join(self.twai)
        self.mcp_wire.join(self.mcp)
        row = esp32.CHIPS["esp32"]
        self.memory = Esp32Memory(self.twai, row[1], row[2])
        self.spi_made: list[tuple[Any, dict[str, Any]]] = []
        self.machine = fake_machine(self.memory)
        chip, made = self.mcp, self.spi_made

        class Pin(RecordedPin):
            """Chip select on 10, INT on 8."""

            IRQ_FALLING = 2

            def value(self, level: int | None = None) -> int:
                if self.number == 10 and level is not None:
                    chip.cs.value(level)
                return chip.int.value()

            def irq(self, handler: Any = None, trigger: int = 0) -> None:
                chip.int.irq(handler, trigger)

            def __init__(self, number: int, *args: Any, **kwargs: Any) -> None:
                super().__init__(number, *args, **kwargs)
                self.number = number

        def spi(bus: int, **options: Any) -> Any:
            made.append((bus, options))
            return chip.spi

        self.machine.Pin = Pin  # type: ignore[attr-defined]
        self.machine.SPI = spi  # type: ignore[attr-defined]
        self.machine.Timer = lambda number: WireTimer(self.twai_wire)  # type: ignore[attr-defined]


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hardware]:
    """A machine module for this hardware, and register access that reaches the emulated chip."""
    hw = Hardware()
    monkeypatch.setitem(sys.modules, "machine", hw.machine)
    monkeypatch.setattr(esp32, "this_chip", lambda: "esp32")
    monkeypatch.setitem(esp32.CHIPS, "esp32", (hw.twai, *esp32.CHIPS["esp32"][1:]))
    RecordedPin.made.clear()
    yield hw


def _build(section: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    errors: list[str] = []
    return buses.build(section, errors), errors


def test_a_twai_bus_is_opened_on_its_pins(hardware: Hardware) -> None:
    built, errors = _build(
        {"can0": {"type": "can", "backend": "twai", "tx_pin": 27, "rx_pin": 26, "standby_pin": 23, "bitrate": 250000}}
    )
    assert errors == []
    assert built["can0"].name == "can0"
    assert built["can0"].can.get_timings()[0] == 250000 == hardware.twai.bitrate
    assert RecordedPin.made[23] == (RecordedPin.OUT, None, 0), "the transceiver is awake"
    assert hardware.memory.words[0x3FF44530 + 4 * 27] == 123
    assert hardware.twai.misuse == []


def test_a_silent_bus_only_listens(hardware: Hardware) -> None:
    built, errors = _build({"can0": {"type": "can", "backend": "twai", "tx_pin": 27, "rx_pin": 26, "silent": True}})
    assert errors == []
    peer = Station()
    hardware.twai_wire.join(peer)
    assert not built["can0"].send(1, b"") and built["can0"].send_failed == 1
    assert not hardware.twai.acknowledges()


def test_an_mcp2515_bus_is_opened_on_its_spi(hardware: Hardware) -> None:
    built, errors = _build(
        {
            "can1": {
                "type": "can", "backend": "mcp2515", "id": 1, "sck_pin": 12, "mosi_pin": 11, "miso_pin": 13,
                "cs_pin": 10, "int_pin": 8, "reset_pin": 9, "oscillator_hz": 16000000, "bitrate": 500000,
            }
        }
    )  # fmt: skip
    assert errors == []
    bus, options = hardware.spi_made[0]
    assert bus == 1 and options["baudrate"] == 10_000_000 and options["polarity"] == options["phase"] == 0
    assert hardware.mcp.bitrate == 500_000
    assert hardware.mcp.int.handler is not None
    assert built["can1"].counters()["state"] == 1


def test_what_is_wrong_is_named_and_the_other_buses_still_open(hardware: Hardware) -> None:
    hardware.mcp.present = False
    built, errors = _build(
        {
            "a": {"type": "cam"},
            "b": {"type": "can", "backend": "twai"},
            "c": {"type": "can", "backend": "vcan"},
            "d": {"type": "can", "backend": "twai", "tx_pin": 27, "rx_pin": 26, "bitrate": 5},
            "e": {"type": "can", "backend": "mcp2515", "cs_pin": 10},
            "f": {"type": "can", "backend": "twai", "tx_pin": 27, "rx_pin": 26},
            "g": {"type": "can", "backend": "machine"},
            "h": {"type": "can", "backend": "twai", "tx_pni": 27},
        }
    )
    assert sorted(built) == ["f"]
    text = "\n".join(errors)
    for part in ("buses.a.type = 'cam'", "buses.b: tx_pin -1", "buses.c.backend", "'vcan'", "buses.d.bitrate", "10000",
                 "buses.e: ", "MCP2515", "buses.g: ", "no machine.CAN", "buses.h.tx_pni", "tx_pin"):  # fmt: skip
        assert part in text, (part, text)


def test_every_board_s_can_buses_are_accepted(root: Path) -> None:
    seen = 0
    for path in sorted((root / "boards").glob("*.json")):
        board = json.loads(path.read_text())
        if path.name == "schema.json":
            continue
        section = {name: bus for name, bus in board["buses"].items() if bus["type"] == "can"}
        for name, bus in section.items():
            errors: list[str] = []
            given = {key: value for key, value in bus.items() if key != "type"}
            config.check(buses.TYPES["can"][0], given, name, errors)
            assert errors == [], (path.name, errors)
            seen += 1
    assert seen >= 5
