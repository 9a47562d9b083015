"""The CAN controller on SPI: what only it has, and wiring faults that must be named at start."""

from __future__ import annotations

import pytest

from host_tests.unit.can_rigs import EXT, McpRig, burst
from tools.sim.chips import wire
from tools.sim.chips.frame import Frame


def test_a_chip_that_is_not_there_is_an_oserror() -> None:
    rig = McpRig()
    rig.chip.present = False
    with pytest.raises(OSError):
        rig.can.init(500_000)


@pytest.mark.parametrize(
    ("oscillator_hz", "bitrate"),
    [(8_000_000, 125_000), (8_000_000, 500_000), (20_000_000, 1_000_000), (16_000_000, 1_000_000)],
)
def test_each_usual_crystal_makes_its_bit_rates(oscillator_hz: int, bitrate: int) -> None:
    rig = McpRig(oscillator_hz, bitrate)
    assert rig.chip.bitrate == bitrate == rig.can.get_timings()[0]
    rig.can.set_filters(None)
    rig.peer.send(*burst(2))
    rig.run_ms(5)
    assert len(rig.received()) == 2


def test_a_crystal_too_slow_for_the_bit_rate_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="1000000"):
        McpRig(8_000_000, 1_000_000)
    with pytest.raises(ValueError, match="500000"):
        McpRig(3_000_000, 500_000)


def test_without_its_int_pin_it_is_polled() -> None:
    rig = McpRig(irq=False)
    rig.can.set_filters(None)
    rig.peer.send(*burst(2))
    rig.run_ms(3)
    assert len(rig.received()) == 2
    rig.peer.send(*burst(5))
    rig.run_ms(5)
    assert len(rig.received()) == 2
    assert rig.can.get_counters()[7] >= 1


def test_int_does_not_stay_low_after_errors() -> None:
    rig = McpRig()
    rig.can.set_filters(None)
    rig.wire.faults = [wire.IN_DATA] * 10
    rig.peer.send(*burst(1))
    rig.run_ms(20)
    rig.chip.registers[0x2D] |= 0x80
    rig.chip._raise(0x20)
    rig.run_ms(2)
    assert rig.chip.int.value() == 1
    rig.peer.send(*burst(4))
    rig.run_ms(3)
    assert len(rig.received()) == 5


def test_mixed_formats_share_the_two_buffers() -> None:
    rig = McpRig()
    rig.can.set_filters([(0x351, 0x7FF, 0), (0x355, 0x7FF, 0), (0x356, 0x7FF, 0), (0x4200, 0x1FFFFF0F, EXT)])
    wanted = Frame(0x351, b"\xff" * 8), Frame(0x356, b"\0\xff"), Frame(0x4250, b"z", True)
    for frame in (*wanted, Frame(0x352), Frame(0x5200, b"", True)):
        rig.peer.send(frame)
        rig.run_ms(1)
    assert [entry[0] for entry in rig.received()] == [0x351, 0x356, 0x4250]
    rig.sane()


def test_three_frames_leave_in_order_of_their_ids() -> None:
    rig = McpRig()
    rig.peer.present = False
    rig.can.send(0x700, b"1")
    rig.can.send(0x600, b"2")
    rig.can.send(0x650, b"3")
    rig.peer.present = True
    for _ in range(6):
        rig.run_ms(1)
        rig.can.state()
    assert sorted(frame.identifier for frame in rig.peer.heard) == [0x600, 0x650, 0x700]
    rig.sane()


def test_silent_loopback_stays_inside_the_chip() -> None:
    rig = McpRig(mode=4)
    rig.can.set_filters(None)
    rig.can.send(0x123, b"self")
    rig.run_ms(3)
    assert [entry[:2] for entry in rig.received()] == [(0x123, b"self")]
    assert rig.peer.heard == []
