"""The emulated wire and chips are themselves right: bits, stuffing, CRC, arbitration, fault confinement, registers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.sim.chips import frame as bits
from tools.sim.chips import wire
from tools.sim.chips.errors import ErrorCounters
from tools.sim.chips.frame import Frame
from tools.sim.chips.mcp2515 import Mcp2515Chip
from tools.sim.chips.station import Station
from tools.sim.chips.twai import BTR0, BTR1, BUFFER, CDR, CMR, MOD, RMC, SR, TwaiChip
from tools.sim.chips.wire import Wire

DATA = st.binary(max_size=8)
FRAMES = st.builds(Frame, st.integers(0, 0x7FF), DATA) | st.builds(Frame, st.integers(0, 0x1FFFFFFF), DATA, st.just(True))


def test_the_crc_is_can_s() -> None:
    # The check value of CRC-15/CAN over "123456789" in the catalogue of parametrised CRC algorithms.
    message = [int(bit) for byte in b"123456789" for bit in f"{byte:08b}"]
    assert bits._crc15(message) == 0x059E


@given(FRAMES)
def test_a_frame_is_as_long_as_the_standard_says(frame: Frame) -> None:
    plain = (67 if frame.extended else 47) - 3 + 8 * len(frame.data)  # without the intermission
    assert len(frame.body) + 10 == plain
    # At most one stuff bit for every four bits after the first, from start of frame to the CRC.
    assert plain <= frame.length_bits <= plain + (len(frame.body) - 1) // 4


@given(st.lists(st.integers(0, 1), max_size=120))
def test_stuffing_leaves_no_six_equal_bits_and_can_be_undone(message: list[int]) -> None:
    line = bits.stuffed(message)
    assert not any(len(set(line[i : i + 6])) == 1 for i in range(len(line) - 5))
    back: list[int] = []
    run, last, skip = 0, -1, False
    for bit in line:
        if skip:
            assert bit != last
            run, last, skip = 1, bit, False
            continue
        run = run + 1 if bit == last else 1
        last = bit
        back.append(bit)
        skip = run == 5
    assert back == message


def _stations(count: int) -> tuple[Wire, list[Station]]:
    line = Wire()
    nodes = [Station() for _ in range(count)]
    for node in nodes:
        line.join(node)
    return line, nodes


@given(st.lists(FRAMES, min_size=2, max_size=5, unique_by=lambda f: (f.identifier, f.extended)))
def test_arbitration_lets_the_most_dominant_identifier_go_first(frames: list[Frame]) -> None:
    line, nodes = _stations(len(frames) + 1)
    for node, frame in zip(nodes, frames, strict=False):
        node.send(frame)
    line.run_us(5000)
    assert nodes[-1].heard == sorted(frames, key=lambda f: f.arbitration)
    assert line.errors == 0


def test_an_11_bit_frame_beats_the_29_bit_one_of_the_same_base() -> None:
    assert Frame(0x123).arbitration < Frame(0x123 << 18, extended=True).arbitration
    assert Frame(0x123).arbitration < Frame(0x123, remote=True).arbitration


def test_a_frame_takes_its_bit_times() -> None:
    line, (sender, listener) = _stations(2)
    frame = Frame(0x4210, bytes(range(8)), True)
    sender.send(frame, frame)
    line.run_us(2000)
    assert listener.arrived_us[0] == pytest.approx((frame.length_bits + 3) * 2)
    assert listener.arrived_us[1] - listener.arrived_us[0] == pytest.approx((frame.length_bits + 3) * 2)


def test_two_nodes_with_one_identifier_destroy_each_other_s_frames() -> None:
    line, (a, b, listener) = _stations(3)
    a.send(Frame(0x10, b"a"))
    b.send(Frame(0x10, b"b"))
    line.run_us(900)
    assert line.errors > 0 and a.errors.tec > 0 and b.errors.tec > 0
    assert listener.errors.rec > 0


def test_fault_confinement_follows_the_standard() -> None:
    errors = ErrorCounters()
    for _ in range(16):
        errors.send_failed(unacknowledged=True)
    assert errors.tec == 128 and errors.passive and not errors.off
    errors.send_failed(unacknowledged=True)
    assert errors.tec == 128, "passive and alone on the bus: not counted"
    for _ in range(16):
        errors.send_failed(unacknowledged=False)
    assert errors.off
    errors = ErrorCounters()
    for _ in range(200):
        errors.hear_failed()
    assert errors.passive and errors.rec == 200
    errors.heard()
    assert errors.rec == 119


def _twai(first: bool = True) -> tuple[Wire, TwaiChip, Station]:
    line = Wire()
    chip, peer = TwaiChip(first), Station()
    line.join(chip)
    line.join(peer)
    chip.clocked = True
    chip.set_reset(False)
    if first:
        chip[CDR] = 0x80
    chip[BTR0], chip[BTR1] = 3, 4 << 4 | 13
    for i in range(8):
        chip[BUFFER + i] = 0xFF
    chip[MOD] = 8
    return line, chip, peer


def test_the_twai_s_fifo_holds_64_bytes_and_counts_what_did_not_fit() -> None:
    line, chip, peer = _twai(first=False)
    peer.send(*[Frame(0x700 + n, b"") for n in range(30)])  # 3 bytes each: 21 fit
    line.run_us(5000)
    assert chip[RMC] == 30 and chip[SR] & 3 == 3
    whole = 0
    while chip[SR] & 1:
        whole += not chip[SR] & 0x100
        chip[CMR] = 4
    assert whole == 21 and chip[RMC] == 0


def test_the_twai_refuses_what_the_chip_would_ignore() -> None:
    _, chip, _ = _twai()
    chip[BTR0] = 9
    chip[RMC] = 1
    assert chip.registers[BTR0] == 3
    assert len(chip.misuse) == 2
    chip.clocked = False
    assert chip[SR] == 0 and len(chip.misuse) == 3
    fresh = TwaiChip()
    fresh.clocked = True
    fresh.set_reset(False)
    assert fresh[SR] & 4 and "basic layout" in fresh.misuse[0]


def test_bus_off_lasts_128_times_eleven_recessive_bits() -> None:
    line, chip, peer = _twai(first=False)
    line.faults = [wire.IN_DATA] * 40
    chip[BUFFER], chip[BUFFER + 1], chip[BUFFER + 2] = 0, 0x20, 0
    chip[CMR] = 1
    line.run_us(20_000)
    line.faults = []
    assert chip[SR] & 0x80 and chip[MOD] & 1
    begun = line.now_us
    chip[MOD] = 8
    while chip[SR] & 0x80 and line.now_us < begun + 10_000:
        line.run_us(10)
    assert line.now_us - begun == pytest.approx(128 * 11 * 2, abs=40)


@given(FRAMES, st.integers(0, 0x1FFFFFFF), st.integers(0, 0x1FFFFFFF))
def test_the_twai_s_filter_compares_what_the_manual_says(frame: Frame, code: int, care: int) -> None:
    line, chip, peer = _twai()
    shift = 3 if frame.extended else 21
    code &= 0x1FFFFFFF if frame.extended else 0x7FF
    care &= 0x1FFFFFFF if frame.extended else 0x7FF
    chip[MOD] = 9
    for i in range(4):
        chip[BUFFER + i] = code << shift >> (24 - 8 * i) & 0xFF
        chip[BUFFER + 4 + i] = ~(care << shift) >> (24 - 8 * i) & 0xFF
    chip[MOD] = 8
    peer.send(frame)
    line.run_us(1000)
    assert chip[RMC] == int((frame.identifier ^ code) & care == 0)


def test_two_short_filters_of_the_twai_pass_what_either_passes() -> None:
    line, chip, peer = _twai()
    chip[MOD] = 1
    for i, value in enumerate([0x351 >> 3, (0x351 & 7) << 5, 0x355 >> 3, (0x355 & 7) << 5, 0, 0x1F, 0, 0x1F]):
        chip[BUFFER + i] = value
    chip[MOD] = 0
    peer.send(*[Frame(identifier, b"x") for identifier in (0x350, 0x351, 0x352, 0x355, 0x356)])
    line.run_us(2000)
    assert chip[RMC] == 2


def test_the_mcp2515_keeps_its_configuration_to_configuration_mode() -> None:
    line = Wire()
    chip = Mcp2515Chip()
    line.join(chip)

    def transfer(*out: int) -> bytes:
        into = bytearray(len(out))
        chip.cs.value(0)
        chip.spi.write_readinto(memoryview(bytes(out)), memoryview(into))
        chip.cs.value(1)
        return bytes(into)

    assert transfer(0x03, 0x0E, 0)[2] == 0x80, "it starts in configuration mode"
    transfer(0x02, 0x2A, 0x00)
    transfer(0x05, 0x0F, 0xE0, 0x00)
    assert transfer(0x03, 0x0E, 0)[2] == 0x00
    transfer(0x02, 0x2A, 0x3F)
    transfer(0x05, 0x00, 0xFF, 0x55)
    assert transfer(0x03, 0x2A, 0)[2] == 0x00
    assert any("outside configuration mode" in line for line in chip.misuse)
    assert any("bit modify" in line for line in chip.misuse)
    transfer(0xC0)
    assert transfer(0x03, 0x0E, 0)[2] == 0x80
