"""What both controller drivers must do alike, through an emulated chip and a wire: machine.CAN's interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import canbus
from host_tests.unit.can_rigs import EXT, RTR, McpRig, Rig, TwaiRig, burst
from tools.sim.chips import wire
from tools.sim.chips.frame import Frame

RIGS: dict[str, Callable[..., Rig]] = {
    "esp32": lambda **more: TwaiRig("esp32", **more),
    "esp32s3": lambda **more: TwaiRig("esp32s3", **more),
    "esp32c3": lambda **more: TwaiRig("esp32c3", **more),
    "mcp2515": McpRig,
}

Make = Callable[..., Rig]


@pytest.fixture(params=sorted(RIGS))
def make(request: pytest.FixtureRequest) -> Make:
    """A function that builds a rig of each kind."""
    return RIGS[request.param]


def _frames() -> st.SearchStrategy[Frame]:
    data = st.binary(max_size=8)
    short = st.builds(Frame, st.integers(0, 0x7FF), data, st.just(False), st.booleans())
    long = st.builds(Frame, st.integers(0, 0x1FFFFFFF), data, st.just(True), st.booleans())
    return short | long


def _seen(frame: Frame) -> tuple[int, bytes, int]:
    flags = (EXT if frame.extended else 0) | (RTR if frame.remote else 0)
    return frame.identifier, bytes(frame.dlc) if frame.remote else frame.data, flags


@settings(max_examples=60, deadline=None)
@given(frames=st.lists(_frames(), min_size=1, max_size=6))
@pytest.mark.parametrize("kind", sorted(RIGS))
def test_frames_arrive_and_leave_unchanged(kind: str, frames: list[Frame]) -> None:
    rig = RIGS[kind]()
    rig.can.set_filters(None)
    rig.peer.send(*frames)
    rig.run_ms(20)
    assert [entry[:3] for entry in rig.received()] == [_seen(frame) for frame in frames]
    for frame in frames:
        identifier, data, flags = _seen(frame)
        assert rig.can.send(identifier, data, flags) is not None
        rig.run_ms(2)
        rig.can.state()
    assert rig.peer.heard == frames
    assert rig.can.state() == rig.can.STATE_ACTIVE
    rig.sane()


def test_nothing_is_received_before_filters_are_set(make: Make) -> None:
    rig = make()
    rig.peer.send(*burst(3))
    rig.run_ms(5)
    assert rig.received() == []
    rig.can.set_filters([])
    rig.peer.send(*burst(3))
    rig.run_ms(5)
    assert rig.received() == []
    assert rig.peer.errors.tec == 0, "it must acknowledge what it does not want"
    rig.sane()


@settings(max_examples=40, deadline=None)
@given(
    filters=st.lists(st.tuples(st.integers(0, 0x7FF), st.integers(0, 0x7FF), st.booleans()), max_size=6),
    frames=st.lists(_frames(), min_size=1, max_size=8),
)
@pytest.mark.parametrize("kind", sorted(RIGS))
def test_filters_pass_exactly_what_they_name(
    kind: str, filters: list[tuple[int, int, bool]], frames: list[Frame]
) -> None:
    rig = RIGS[kind]()
    rows = [(i << 18 if ext else i, m << 18 if ext else m, EXT if ext else 0) for i, m, ext in filters]
    # Make a hit likely: frames take the id of a filter with the unmasked bits as they are.
    hits = []
    for n, frame in enumerate(frames):
        if rows and n % 2:
            want, mask, flags = rows[n % len(rows)]
            top = 0x1FFFFFFF if flags else 0x7FF
            near = (frame.identifier & ~mask | want & mask) & top
            frame = Frame(near, frame.data, bool(flags), frame.remote, frame.dlc)
        hits.append(frame)
    rig.can.set_filters(rows)
    got = []
    for frame in hits:
        rig.peer.send(frame)
        rig.run_ms(1)
        got += rig.received()

    def wanted(frame: Frame) -> bool:
        return any(frame.identifier & m == i & m and frame.extended == bool(f) for i, m, f in rows)

    assert [entry[:3] for entry in got] == [_seen(frame) for frame in hits if wanted(frame)]
    rig.sane()


def test_a_filter_for_one_family_keeps_the_others_out_of_the_chip(make: Make) -> None:
    rig = make()
    rig.can.set_filters([(0x4200, 0x1FFFFF0F, EXT)])
    for n in range(40):
        rig.peer.send(Frame(0x100 + n, bytes(8)))
        rig.peer.send(Frame(0x18000000 + n, bytes(8), True))
    rig.peer.send(*burst(4))
    rig.run_ms(60)
    assert len(rig.received()) == 4
    assert rig.can.get_counters()[7] == 0
    if isinstance(rig, McpRig):
        assert rig.chip.overflowed == 0


@pytest.mark.parametrize("bitrate", [125_000, 250_000, 500_000, 1_000_000])
def test_every_usual_bit_rate_is_met(make: Make, bitrate: int) -> None:
    rig = make(bitrate=bitrate)
    assert rig.can.get_timings()[0] == bitrate == rig.chip.bitrate
    rig.can.set_filters(None)
    rig.peer.send(*burst(2))
    assert rig.can.send(0x123, b"abc") is not None
    rig.run_ms(10)
    assert len(rig.received()) == 2
    assert rig.peer.heard == [Frame(0x123, b"abc")]
    sample = 100 * (1 + rig.can.get_timings()[2]) / (1 + rig.can.get_timings()[2] + rig.can.get_timings()[3])
    assert abs(sample - 75) <= 5
    rig.sane()


def test_wrong_arguments_are_refused_by_name(make: Make) -> None:
    rig = make()
    for call, word in (
        (lambda: rig.can.send(0x800, b""), "0x800"),
        (lambda: rig.can.send(0x20000000, b"", EXT), "0x20000000"),
        (lambda: rig.can.set_filters([(0x800, 0x7FF, 0)]), "0x800"),
        (lambda: rig.can.set_filters([(1, 1, 0)] * 17), "17"),
        (lambda: rig.can.init(333_333_333), "333333333"),
        (lambda: rig.can.init(500_000, mode=9), "9"),
        (lambda: rig.can.init(500_000, sjw=5), "sjw 5"),
        (lambda: rig.can.init(500_000, tseg1=13), "tseg1 13"),
        (lambda: rig.can.init(500_000, sample_point=120), "120"),
        (lambda: rig.can.irq(lambda can: None, 0x1000), "0x1000"),
    ):
        with pytest.raises(ValueError, match=word):
            call()
    rig = make()
    with pytest.raises(OverflowError, match="9 bytes"):
        rig.can.send(1, bytes(9))
    with pytest.raises(IndexError, match="99"):
        rig.can.cancel_send(99)


def test_the_lowest_id_leaves_first_and_equal_ids_in_order(make: Make) -> None:
    rig = make()
    rig.wire.silent_ack = True  # holds the first frame on the wire while the others queue up
    rig.can.send(0x7FF, b"0")
    order = [(0x300, b"1"), (0x200, b"2"), (0x300, b"3"), (0x100, b"4"), (0x200, b"5")]
    for identifier, data in order:
        rig.can.send(identifier, data)
    rig.can.send(0x200 << 18, b"6", EXT)
    rig.wire.silent_ack = False
    for _ in range(20):
        rig.run_ms(1)
        rig.can.state()
    sent = [frame.data for frame in rig.peer.heard]
    assert sorted(sent) == [b"0", b"1", b"2", b"3", b"4", b"5", b"6"]
    assert sent.index(b"1") < sent.index(b"3") and sent.index(b"2") < sent.index(b"5"), sent
    assert sent.index(b"4") < sent.index(b"2") or (sent[0] == b"0" and not isinstance(rig, TwaiRig)), sent
    assert sent.index(b"5") < sent.index(b"6"), "an 11-bit frame goes before the 29-bit one of the same base"
    rig.sane()


def test_a_full_queue_takes_nothing_more(make: Make) -> None:
    rig = make()
    rig.peer.present = False
    indices = [rig.can.send(0x10 + n, bytes([n])) for n in range(9)]
    assert sorted(i for i in indices if i is not None) == list(range(8)) and indices[8] is None
    assert rig.can.get_counters()[5] == 8


def test_a_waiting_frame_can_be_taken_back(make: Make) -> None:
    rig = make()
    rig.peer.present = False
    indices = [rig.can.send(0x10 + n, bytes([n])) for n in range(6)]
    rig.run_ms(0.05)
    assert rig.can.cancel_send(indices[5]) is True
    assert rig.can.cancel_send(indices[5]) is False
    rig.peer.present = True
    for _ in range(10):
        rig.run_ms(1)
        rig.can.state()
    assert [frame.data[0] for frame in rig.peer.heard] == [0, 1, 2, 3, 4]


def test_alone_on_the_bus_it_becomes_passive_but_not_bus_off(make: Make) -> None:
    rig = make()
    rig.peer.present = False
    rig.can.send(0x123, b"x")
    rig.run_ms(100)
    assert rig.can.state() == rig.can.STATE_PASSIVE
    counters = rig.can.get_counters()
    assert counters[0] == 128 and counters[2] == 1 and counters[3] == 1 and counters[4] == 0
    rig.peer.present = True
    rig.run_ms(5)
    rig.can.state()
    assert rig.peer.heard == [Frame(0x123, b"x")]


def _go_bus_off(rig: Rig) -> None:
    rig.wire.faults = [wire.IN_DATA] * 40
    rig.can.send(0x123, b"x")
    rig.run_ms(50)
    rig.wire.faults = []


def test_bus_off_is_reported_and_left_after_a_restart(make: Make) -> None:
    rig = make()
    rig.can.set_filters(None)
    _go_bus_off(rig) if not isinstance(rig, McpRig) else _go_bus_off_fast(rig)
    assert rig.can.state() == rig.can.STATE_BUS_OFF
    assert rig.can.get_counters()[4] == 1
    with pytest.raises(OSError):
        rig.can.send(0x1, b"")
    rig.can.restart()
    assert rig.can.state() == rig.can.STATE_BUS_OFF, "128 times 11 recessive bits have not passed yet"
    rig.run_ms(4)
    assert rig.can.state() == rig.can.STATE_ACTIVE
    assert rig.can.send(0x321, b"back") is not None
    rig.run_ms(2)
    rig.can.state()
    assert rig.peer.heard[-1] == Frame(0x321, b"back")
    rig.peer.send(Frame(0x77, b"in"))
    rig.run_ms(2)
    assert rig.received() == [(0x77, b"in", 0, 0)]
    rig.sane()


def _go_bus_off_fast(rig: Rig) -> None:
    """As _go_bus_off, but stops there: the MCP2515 begins to recover by itself."""
    rig.wire.faults = [wire.IN_DATA] * 40
    rig.can.send(0x123, b"x")
    for _ in range(2000):
        rig.run_ms(0.05)
        if rig.chip.errors.off:
            break
    rig.wire.faults = []


def test_recovery_waits_while_the_bus_is_busy(make: Make) -> None:
    rig = make()
    rig.can.set_filters(None)
    _go_bus_off(rig) if not isinstance(rig, McpRig) else _go_bus_off_fast(rig)
    other = type(rig.peer)()
    rig.wire.join(other)
    rig.can.restart()
    rig.peer.send(*burst(60))
    rig.run_ms(8)  # long enough on an idle bus; here some 30 frames pass, one bus-free each
    assert rig.can.state() == rig.can.STATE_BUS_OFF
    rig.run_ms(60)
    assert rig.can.state() == rig.can.STATE_ACTIVE


def test_silent_mode_hears_and_never_drives_the_bus(make: Make) -> None:
    rig = make(mode=3)
    rig.can.set_filters(None)
    rig.peer.send(Frame(0x10, b"lonely"))
    rig.run_ms(50)
    assert rig.received() == [], "nobody acknowledged it"
    assert rig.peer.errors.passive
    other = type(rig.peer)()
    rig.wire.join(other)
    rig.run_ms(5)
    assert [entry[1] for entry in rig.received()] == [b"lonely"]
    rig.wire.faults = [wire.IN_DATA] * 3
    rig.peer.send(*burst(4))
    rig.run_ms(20)
    with pytest.raises(OSError):
        rig.can.send(1, b"")
    assert rig.can.state() == rig.can.STATE_ACTIVE
    assert getattr(rig.chip, "disturbed", 0) == 0
    rig.sane()


def test_a_wrong_bit_rate_shows_in_the_error_counters(make: Make) -> None:
    rig = make(bitrate=250_000)
    rig.wire.bitrate = 500_000
    rig.peer.bitrate = 500_000
    rig.can.set_filters(None)
    for _ in range(4):
        peer = type(rig.peer)()
        rig.wire.join(peer)
        peer.send(*burst(50))
        rig.run_ms(30)
        assert peer.errors.off or peer.heard == []
        peer.present = False
    assert rig.received() == []
    assert rig.can.get_counters()[1] > 90
    assert rig.can.state() in (rig.can.STATE_WARNING, rig.can.STATE_PASSIVE)


def test_twenty_frames_back_to_back_all_arrive(make: Make) -> None:
    rig = make()
    rig.can.set_filters([(0x4200, 0x1FFFFF0F, EXT)])
    rig.peer.send(*burst(20))
    rig.run_ms(10)
    got = rig.received()
    assert [entry[1][0] for entry in got] == list(range(20))
    assert all(entry[3] == 0 for entry in got)
    assert rig.can.get_counters()[7] == 0
    rig.sane()


@pytest.mark.parametrize("late_us", [2500, 4500])
def test_what_a_late_interpreter_loses_is_counted_and_told(make: Make, late_us: float) -> None:
    rig = make()
    rig.can.set_filters(None)
    if isinstance(rig, TwaiRig):
        assert not isinstance(rig.timer, bool)
        rig.timer.late_us = late_us
        rig.run_ms(2)
    else:
        rig.chip.int.latency_us = late_us
    rig.peer.send(*burst(20))
    rig.run_ms(40)
    got = rig.received()
    numbers = [entry[1][0] for entry in got]
    assert numbers == sorted(set(numbers)), "what arrives is whole, once and in order"
    assert all(entry[1] == bytes([entry[1][0]] * 8) for entry in got)
    assert 0 < len(got) < 20
    assert rig.can.get_counters()[7] >= 1
    assert any(entry[3] & rig.can.RECV_ERR_OVERRUN for entry in got) or rig.can.get_counters()[7] > 0
    rig.peer.send(Frame(0x5, b"good"))
    rig.run_ms(20)
    assert rig.received()[-1][:3] == (0x5, b"good", 0), "the next good frame works"
    rig.sane()


def test_a_reader_that_is_away_fills_the_ring_and_is_told(make: Make) -> None:
    rig = make()
    rig.can.set_filters(None)
    rig.peer.send(*burst(40))
    rig.run_ms(40)
    got = rig.received()
    assert len(got) == 31
    assert got[0][3] & rig.can.RECV_ERR_FULL
    assert rig.can.get_counters()[7] == 9
    rig.sane()


def test_events_reach_the_handler(make: Make) -> None:
    rig = make()
    rig.can.set_filters(None)
    seen: list[int] = []

    def handler(can: Any) -> None:
        while flags := can.irq().flags():
            seen.append(flags)

    rig.can.irq(handler, rig.can.IRQ_RX | rig.can.IRQ_TX | rig.can.IRQ_STATE)
    rig.peer.send(Frame(0x12, b"a"))
    rig.run_ms(3)
    assert any(flags & rig.can.IRQ_RX for flags in seen)
    seen.clear()
    index = rig.can.send(0x13, b"b")
    rig.run_ms(3)
    rig.can.state()
    sent = [flags for flags in seen if flags & rig.can.IRQ_TX]
    assert len(sent) == 1
    assert sent[0] >> rig.can.IRQ_TX_IDX_SHIFT & rig.can.IRQ_TX_IDX_MASK == index
    assert not sent[0] & rig.can.IRQ_TX_FAILED
    rig.peer.present = False
    rig.can.send(0x14, b"c")
    rig.run_ms(60)
    rig.can.state()
    assert any(flags & rig.can.IRQ_STATE for flags in seen)


def test_deinit_leaves_the_bus_and_init_comes_back(make: Make) -> None:
    rig = make()
    rig.can.set_filters(None)
    rig.can.deinit()
    assert rig.can.state() == rig.can.STATE_STOPPED
    with pytest.raises(OSError):
        rig.can.recv()
    rig.peer.send(Frame(1, b"x"))
    rig.run_ms(20)
    assert rig.peer.errors.tec >= 128, "nobody there to acknowledge"
    rig.can.init(500_000)
    rig.can.set_filters(None)
    rig.run_ms(5)
    rig.peer.send(Frame(2, b"y"))
    rig.run_ms(5)
    assert [entry[:2] for entry in rig.received()][-1] == (2, b"y")


def test_filters_may_change_while_frames_wait_to_be_sent(make: Make) -> None:
    rig = make()
    rig.peer.present = False
    for n in range(5):
        rig.can.send(0x100 + n, bytes([n]))
    rig.run_ms(1)
    rig.can.set_filters([(0x55, 0x7FF, 0)])
    rig.peer.present = True
    for _ in range(20):
        rig.run_ms(1)
        rig.can.state()
    assert [frame.data[0] for frame in rig.peer.heard] == [0, 1, 2, 3, 4]
    rig.peer.send(Frame(0x55, b"y"))
    rig.run_ms(2)
    assert [entry[:2] for entry in rig.received()] == [(0x55, b"y")]
    rig.sane()


# ---- a controller that resets by itself, or is gone --------------------------------------------------------------------


def _shared(rig: Rig) -> tuple[canbus.Bus, list[bytes]]:
    """A bus with one reader, and what it has read."""
    bus = canbus.Bus(rig.can)
    got: list[bytes] = []
    bus.subscribe(0x351, 0x7FF, False, lambda i, data, flags: got.append(bytes(data)))
    rig.can.set_filters([(0x351, 0x7FF, 0)])
    return bus, got


def _live(rig: Rig, bus: canbus.Bus, now_ms: int, span_ms: int) -> int:
    """As Bus.run does; when it is then."""
    for ms in range(now_ms, now_ms + span_ms, 5):
        if ms % 100 == 0:
            bus.look(ms)
        bus.drain()
        rig.run_ms(5)
    return now_ms + span_ms


def _hit(rig: Rig) -> None:
    """Brown-out or ESD: the chip wakes as it was made."""
    if isinstance(rig, McpRig):
        rig.chip.lose_power()
    else:
        rig.chip.set_reset(True)
        rig.chip.set_reset(False)


@pytest.mark.parametrize("irq", [True, False])
def test_one_that_has_reset_by_itself_is_noticed_and_set_up_anew(make: Make, irq: bool) -> None:
    rig = make(irq=irq) if make is McpRig else make()
    bus, got = _shared(rig)
    rig.peer.send(Frame(0x351, b"before"))
    now = _live(rig, bus, 0, 100)
    rig.peer.present = False
    assert bus.send(0x305, b"unsent")
    rig.run_ms(1)
    _hit(rig)
    assert rig.can.state() == rig.can.STATE_STOPPED
    assert not bus.send(0x306, b"") and bus.send_failed == 1, "nobody takes it for sent"
    rig.peer.present = True
    now = _live(rig, bus, now, 200)
    assert rig.can.state() == rig.can.STATE_ACTIVE
    assert (bus.resets, bus.bus_off) == (1, 0) and "by itself" in bus.counters()["last_error"]
    rig.peer.send(Frame(0x351, b"after"), Frame(0x352, b"no"))
    assert bus.send(0x307, b"mine")
    now = _live(rig, bus, now, 200)
    assert got == [b"before", b"after"] and bus.unclaimed == 0
    assert rig.peer.heard == [Frame(0x307, b"mine")]
    assert rig.can.get_timings()[0] == rig.chip.bitrate == 500_000
    assert not [line for line in rig.chip.misuse if line.startswith("write")]
    for again in range(2, 5):
        _hit(rig)
        now = _live(rig, bus, now, 200)
        assert bus.resets == again


def test_one_that_resets_while_it_is_bus_off_comes_back_too(make: Make) -> None:
    rig = make()
    bus, got = _shared(rig)
    _go_bus_off(rig) if not isinstance(rig, McpRig) else _go_bus_off_fast(rig)
    bus.look(0)
    assert bus.bus_off == 1
    _hit(rig)
    _live(rig, bus, 100, 200)
    rig.peer.send(Frame(0x351, b"in"))
    _live(rig, bus, 300, 100)
    assert got == [b"in"] and bus.resets == 1


@pytest.mark.parametrize("kind", ["esp32", "esp32s3", "esp32c3"])
def test_a_twai_whose_clock_someone_stopped_gets_it_again(kind: str) -> None:
    rig = TwaiRig(kind)
    bus, got = _shared(rig)
    rig.port.power(False)
    now = _live(rig, bus, 0, 200)
    rig.peer.send(Frame(0x351, b"in"))
    _live(rig, bus, now, 200)
    assert got == [b"in"] and bus.resets == 1


@pytest.mark.parametrize("level", [0x00, 0xFF])
def test_an_mcp2515_that_is_gone_costs_next_to_nothing_and_is_asked_for_every_second(level: int) -> None:
    rig = McpRig()
    bus = canbus.Bus(rig.can)
    got: list[int] = []
    bus.subscribe(0, 0, True, lambda i, data, flags: got.append(i))
    bus.subscribe(0, 0, False, lambda i, data, flags: got.append(i))
    rig.can.set_filters(None)
    rig.chip.present, rig.chip.floating = False, level
    begun = rig.wire.now_us
    bus.drain()
    assert rig.wire.now_us - begun < 200, "four looks at most"
    now = _live(rig, bus, 0, 2500)
    counters = bus.counters()
    assert got == [] and bus.overruns == 0
    assert counters["resets"] == 1 and counters["state"] == rig.can.STATE_STOPPED
    assert "no MCP2515 answers" in counters["last_error"]
    assert (counters["tec"], counters["rec"]) == (0, 0)
    rig.chip.present = True
    rig.chip.lose_power()
    now = _live(rig, bus, now, 1100)
    rig.peer.send(Frame(0x351, b"in"))
    _live(rig, bus, now, 100)
    assert got == [0x351] and bus.resets == 1


def test_one_disturbed_look_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = McpRig()
    bus, got = _shared(rig)
    rig.peer.send(Frame(0x351, b"in"))
    rig.chip.int.handler = None
    rig.run_ms(2)
    plain, looks = rig.chip.spi.write_readinto, []

    def disturbed(out: memoryview, into: memoryview) -> None:
        plain(out, into)
        looks.append(out[1])
        if len(looks) == 1:
            into[2] = 0

    monkeypatch.setattr(rig.chip.spi, "write_readinto", disturbed)
    bus.drain()
    assert got == [b"in"] and bus.resets == 0


def test_a_bus_that_stays_shorted_works_when_the_short_is_gone(make: Make) -> None:
    rig = make()
    bus, got = _shared(rig)
    now = 0
    for _ in range(6):
        rig.wire.faults = [wire.IN_DATA] * 500
        bus.send(0x305, bytes(8))
        now = _live(rig, bus, now, 1000)
    assert bus.bus_off and not bus.resets
    rig.wire.faults = []
    now = _live(rig, bus, now, 2000)
    rig.peer.send(Frame(0x351, b"in"))
    assert bus.send(0x307, b"mine")
    _live(rig, bus, now, 200)
    assert got == [b"in"] and Frame(0x307, b"mine") in rig.peer.heard
    assert 0 < rig.can.state() < rig.can.STATE_BUS_OFF
    rig.sane()
