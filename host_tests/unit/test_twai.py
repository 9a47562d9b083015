"""The ESP32's own CAN controller: its addresses and registers, and the errata that must not reach the caller."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from canbus import esp32, twai
from host_tests.unit.can_rigs import EXT, RecordedPin, TwaiRig, burst
from tools.sim.chips import wire
from tools.sim.chips.frame import Frame

# From the technical reference manuals, not from the driver: TWAI base; clock and reset registers; GPIO matrix
# registers of the input signal and of output pin 5; what is written there for RX on GPIO 4.
GPIO, GPIO_NEW = 0x3FF44000, 0x60004000
MANUAL = {
    "esp32": (0x3FF6B000, 0x3FF000C0, 0x3FF000C4, GPIO + 0x130 + 4 * 94, 0x80 | 4, GPIO + 0x530 + 20, 123),
    "esp32s3": (0x6002B000, 0x600C0018, 0x600C0020, GPIO_NEW + 0x154 + 4 * 116, 0x80 | 4, GPIO_NEW + 0x554 + 20, 116),
    "esp32c3": (0x6002B000, 0x600C0010, 0x600C0018, GPIO_NEW + 0x154 + 4 * 74, 0x40 | 4, GPIO_NEW + 0x554 + 20, 74),
}


@pytest.mark.parametrize("chip", sorted(MANUAL))
def test_clock_reset_and_pins_are_those_of_the_manual(chip: str) -> None:
    base, clock, reset, in_select, in_value, out_select, out_value = MANUAL[chip]
    rig = TwaiRig(chip)
    assert esp32.CHIPS[chip][0] == base
    words = rig.memory.words
    assert words[clock] >> 19 & 1 == 1 and words[reset] >> 19 & 1 == 0
    assert words[clock] & ~(1 << 19) == 0xF9C1E06F & ~(1 << 19), "no other peripheral's clock is touched"
    assert words[in_select] == in_value
    assert words[out_select] == out_value
    assert RecordedPin.made[5] == (RecordedPin.OUT, None, 1), "recessive until the controller drives it"
    assert RecordedPin.made[4][:2] == (RecordedPin.IN, RecordedPin.PULL_UP)
    rig.can.deinit()
    assert words[clock] >> 19 & 1 == 0


def test_the_chip_is_told_from_the_firmwares_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, chip in (
        ("Generic ESP32 module with ESP32", "esp32"),
        ("Generic ESP32 module with SPIRAM with ESP32", "esp32"),
        ("TinyPICO with ESP32-PICO-D4", "esp32"),
        ("Generic ESP32S3 module with Octal-SPIRAM with ESP32S3", "esp32s3"),
        ("ESP32C3 module with ESP32C3", "esp32c3"),
    ):
        monkeypatch.setattr(esp32.os, "uname", lambda machine=machine: SimpleNamespace(machine=machine))
        assert esp32.this_chip() == chip
    for machine in ("ESP32C6 module with ESP32C6", "linux [GCC 8.3] version", "ESP32S2 module with ESP32S2"):
        monkeypatch.setattr(esp32.os, "uname", lambda machine=machine: SimpleNamespace(machine=machine))
        with pytest.raises(ValueError, match="esp32, esp32c3, esp32s3"):
            esp32.this_chip()


def test_pins_are_needed() -> None:
    port = esp32.Esp32Port("esp32", {0x3FF000C0: 0, 0x3FF000C4: 0})
    with pytest.raises(ValueError, match="tx_pin -1"):
        port.route(-1, 4)


def test_500_kbit_s_is_set_as_the_manual_computes_it() -> None:
    # 80 MHz / 8 = 100 ns a quantum, 20 quanta a bit, sampled after 15: BRP 3, SJW 0, TSEG1 13, TSEG2 4.
    rig = TwaiRig("esp32")
    assert rig.chip.registers[6] & 0x3F == 3 and rig.chip.registers[6] >> 6 == 0
    assert rig.chip.registers[7] == 4 << 4 | 13
    rig = TwaiRig("esp32s3", sjw=3)
    assert rig.chip.registers[6] & 0x1FFF == 3 and rig.chip.registers[6] >> 14 == 2
    rig = TwaiRig("esp32", bitrate=125_000, tseg1=15, tseg2=4)
    assert rig.can.get_timings()[:4] == [125_000, 1, 15, 4]


def test_acceptance_registers_hold_the_filter_left_aligned() -> None:
    rig = TwaiRig("esp32")
    rig.can.set_filters([(0x351, 0x7FF, 0)])
    assert rig.chip.filter[:2] == [0x351 >> 3, (0x351 & 7) << 5]
    assert rig.chip.filter[4:] == [0x00, 0x1F, 0xFF, 0xFF]
    rig.can.set_filters([(0x4210, 0x1FFFFFFF, EXT)])
    assert rig.chip.filter[:4] == list((0x4210 << 3).to_bytes(4, "big"))
    assert rig.chip.filter[4:] == [0, 0, 0, 7]


def test_the_error_counters_survive_a_change_of_filters() -> None:
    rig = TwaiRig("esp32")
    rig.peer.present = False
    rig.can.send(1, b"")
    rig.run_ms(1.2)
    tec = rig.can.get_counters()[0]
    assert tec > 0
    rig.can.set_filters(None)
    assert rig.can.get_counters()[0] == tec


@pytest.mark.parametrize("chip", ["esp32", "esp32s3"])
def test_after_an_overrun_what_is_read_is_whole_and_the_rest_is_counted(chip: str) -> None:
    rig = TwaiRig(chip, timer=False)
    rig.can.set_filters(None)
    rig.peer.send(*burst(12))
    rig.run_ms(8)
    got = rig.received()
    assert [entry[1][0] for entry in got] == [0, 1, 2, 3], "64 bytes hold four extended frames"
    assert got[0][3] & rig.can.RECV_ERR_OVERRUN and not got[1][3]
    assert rig.can.get_counters()[7] == 8
    rig.peer.send(*burst(3))
    rig.run_ms(2)
    got = rig.received()
    assert [(entry[1][0], entry[3]) for entry in got] == [(0, 0), (1, 0), (2, 0)]
    rig.sane()


@pytest.mark.parametrize("chip", ["esp32", "esp32s3"])
def test_sixty_four_lost_messages_do_not_lock_up_the_controller(chip: str) -> None:
    rig = TwaiRig(chip, timer=False)
    rig.can.set_filters(None)
    rig.peer.send(*burst(90))
    rig.run_ms(40)
    assert rig.chip.locked_up == (chip == "esp32")
    rig.received()
    rig.peer.send(*burst(3))
    rig.run_ms(2)
    assert [entry[1][0] for entry in rig.received()][-3:] == [0, 1, 2]
    assert rig.can.get_counters()[7] >= 60
    rig.sane()


@pytest.mark.parametrize("segment", [wire.IN_DATA, wire.IN_CRC, wire.IN_ID, wire.IN_EOF])
def test_a_frame_after_a_damaged_one_is_never_delivered_shifted(segment: int) -> None:
    rig = TwaiRig("esp32")
    rig.can.set_filters(None)
    random.seed(segment)
    sent = 0
    received = []
    for _ in range(60):
        if not rig.wire.faults:
            rig.wire.faults = [0] * random.randrange(5, 20) + [segment]
        frames = burst(random.randrange(1, 8))
        sent += len(frames)
        rig.peer.send(*frames)
        rig.run_ms(random.uniform(0.3, 4))
        received += rig.received()
    rig.run_ms(30)
    received += rig.received()
    assert all(entry[1] == bytes([entry[1][0]] * 8) for entry in received), "no shifted data may pass"
    assert len(received) + rig.can.get_counters()[7] + rig.chip.spoilt >= sent - 60
    assert len(received) > sent // 2
    rig.sane()


def test_a_frame_being_sent_survives_the_reset_an_erratum_needs() -> None:
    rig = TwaiRig("esp32")
    rig.can.set_filters(None)
    rig.wire.faults = [wire.IN_DATA]
    rig.peer.send(Frame(0x10, b"1"), Frame(0x11, b"2"))
    rig.can.send(0x7F0, b"mine")
    rig.run_ms(6)
    rig.can.state()
    rig.run_ms(2)
    assert Frame(0x7F0, b"mine") in rig.peer.heard
    rig.sane()


def _off(rig: TwaiRig) -> None:
    rig.wire.faults = [wire.IN_DATA] * 40
    rig.can.send(0x123, b"x")
    rig.run_ms(50)
    rig.wire.faults = []
    assert rig.can.state() == rig.can.STATE_BUS_OFF


def test_recovery_completes_although_errors_were_counted_while_receiving() -> None:
    rig = TwaiRig("esp32")
    rig.can.set_filters(None)
    rig.wire.faults = [wire.IN_ID] * 20
    rig.peer.send(*burst(3))
    rig.run_ms(10)
    _off(rig)
    assert rig.chip.errors.rec > 0, "the erratum is there"
    rig.can.restart()
    rig.run_ms(4)
    assert rig.can.state() == rig.can.STATE_ACTIVE


def test_the_first_frame_after_recovery_is_not_spoilt() -> None:
    rig = TwaiRig("esp32")
    _off(rig)
    rig.can.restart()
    rig.run_ms(4)
    assert rig.can.state() == rig.can.STATE_ACTIVE
    rig.can.send(0x55, b"first")
    rig.run_ms(2)
    assert rig.chip.spoilt == 0
    assert rig.peer.heard[-1] == Frame(0x55, b"first")


def test_bus_off_in_the_middle_of_a_restart_begins_again() -> None:
    rig = TwaiRig("esp32")
    _off(rig)
    for _ in range(5):
        rig.can.restart()
        rig.run_ms(1)
    rig.run_ms(4)
    assert rig.can.state() == rig.can.STATE_ACTIVE
    _off(rig)
    rig.can.restart()
    rig.run_ms(4)
    assert rig.can.state() == rig.can.STATE_ACTIVE
    rig.sane()


@pytest.mark.parametrize("chip", ["esp32", "esp32s3", "esp32c3"])
def test_listening_only_sends_no_dominant_error_flag(chip: str) -> None:
    rig = TwaiRig(chip, mode=3)
    rig.can.set_filters(None)
    other = type(rig.peer)()
    rig.wire.join(other)
    for segment in (wire.IN_DATA, wire.IN_ID, wire.IN_CRC) * 5:
        rig.wire.faults = [segment]
        rig.peer.send(*burst(2))
        rig.run_ms(3)
    rig.peer.bitrate = 250_000  # a frame it cannot understand
    rig.peer.send(*burst(2))
    rig.run_ms(5)
    assert rig.chip.disturbed == 0
    assert rig.chip.errors.rec == 128
    assert rig.can.state() == rig.can.STATE_ACTIVE


def test_loopback_hears_itself_without_anybody_else() -> None:
    rig = TwaiRig("esp32", mode=2)
    rig.peer.present = False
    rig.can.set_filters([(0x100, 0x700, 0)])
    rig.can.send(0x123, b"self")
    rig.run_ms(2)
    assert [entry[:3] for entry in rig.received()] == [(0x123, b"self", 0)]
    assert rig.can.state() == rig.can.STATE_ACTIVE


def test_no_controller_at_the_address_is_an_oserror() -> None:
    rig = TwaiRig("esp32")

    class Nothing:
        def __getitem__(self, at: int) -> int:
            return 0

        def __setitem__(self, at: int, value: int) -> None:
            pass

    rig.port.registers = Nothing()
    with pytest.raises(OSError):
        twai.TWAI(0, 500_000, 0, 5, 4, port=rig.port, timer=False)


@pytest.fixture(autouse=True)
def _no_fake_machine_left() -> Iterator[None]:
    import sys

    before = sys.modules.get("machine")
    yield
    if before is None:
        sys.modules.pop("machine", None)
    else:
        sys.modules["machine"] = before
