"""One CAN controller shared by several readers: who gets what, what is counted, and what it costs."""

import asyncio
import random
import time

import canbus
from canbus.filters import fit, merge
from host_tests.both.fakecan import FakeCAN


def _raises(function, *arguments):
    try:
        function(*arguments)
    except ValueError as err:
        return str(err)
    raise AssertionError("no ValueError")


def _open(filters=None):
    can = FakeCAN()
    bus = canbus.Bus(can, "can0")
    can.set_filters(filters)
    return can, bus


def test_a_frame_reaches_every_reader_that_asked_for_it():
    can, bus = _open()
    got = []
    bus.subscribe(0x4210, 0x1FFFFF0F, True, lambda i, d, f: got.append(("exact", i, bytes(d))))
    bus.subscribe(0x4200, 0x1FFF0000, True, lambda i, d, f: got.append(("all", i, bytes(d))))
    bus.subscribe(0x351, 0x7FF, False, lambda i, d, f: got.append(("std", i, bytes(d))))
    can.arrive(0x4210, b"\x01\x02")
    can.arrive(0x351, b"\x03", extended=False)
    can.arrive(0x351, b"\x04", extended=True)
    can.arrive(0x9999, b"\x05")
    assert bus.drain() == 4
    assert got == [
        ("exact", 0x4210, b"\x01\x02"),
        ("all", 0x4210, b"\x01\x02"),
        ("std", 0x351, b"\x03"),
        ("all", 0x351, b"\x04"),
        ("all", 0x9999, b"\x05"),
    ]
    assert bus.frames == 4 and bus.unclaimed == 0


def test_a_frame_nobody_asked_for_and_a_remote_request_are_counted():
    can, bus = _open()
    bus.subscribe(0x351, 0x7FF, False, lambda i, d, f: None)
    can.arrive(0x352, b"", extended=False)
    can.arrive(0x351, b"\0\0", extended=False, rtr=True)
    bus.drain()
    assert (bus.frames, bus.unclaimed, bus.remote) == (0, 1, 1)


def test_a_reader_that_raises_costs_the_others_nothing():
    can, bus = _open()
    got = []

    def broken(can_id, data, flags):
        raise KeyError("oops")

    bus.subscribe(1, 0x7FF, False, broken)
    bus.subscribe(1, 0x7FF, False, lambda i, d, f: got.append(i))
    can.arrive(1, b"", extended=False)
    can.arrive(1, b"", extended=False)
    bus.drain()
    assert got == [1, 1]
    assert bus.handler_errors == 2
    assert "0x1" in bus.last_error and "oops" in bus.last_error


def test_ids_out_of_range_are_refused_by_name():
    _, bus = _open()
    assert "0x800" in _raises(bus.subscribe, 0x800, 0x7FF, False, None)
    assert "0x20000000" in _raises(bus.subscribe, 0, 0x20000000, True, None)


def test_send_counts_a_full_queue_and_a_dead_controller():
    can, bus = _open()
    can.room = 1
    assert bus.send(0x4200, b"\0" * 8, True)
    assert not bus.send(0x4200, b"\0" * 8, True)
    can.room = 5
    can.fall_off()
    assert not bus.send(0x4200, b"\0" * 8, True)
    assert (bus.sent, bus.send_full, bus.send_failed) == (1, 1, 1)
    assert can.sent == [(0x4200, b"\0" * 8, can.FLAG_EXT_ID)]


def test_bus_off_is_counted_once_and_the_controller_restarted_after_a_second():
    can, bus = _open()
    start = time.ticks_add(0, -500)  # the ticks wrap while the controller is off
    can.fall_off()
    for ms in range(0, 1000, 100):
        bus.look(time.ticks_add(start, ms))
    assert (bus.bus_off, can.restarts) == (1, 0)
    bus.look(time.ticks_add(start, 1000))
    assert can.restarts == 1
    bus.look(time.ticks_add(start, 1100))
    can.fall_off()
    bus.look(time.ticks_add(start, 1200))
    assert bus.bus_off == 2


def test_a_stopped_controller_is_counted_once_and_restarted_at_once_then_every_second():
    can, bus = _open()
    start = time.ticks_add(0, -500)
    can.refuses = 2
    can.halt()
    for ms in range(0, 1000, 100):
        bus.look(time.ticks_add(start, ms))
    assert (bus.resets, can.restarts) == (1, 1)
    assert "by itself" in bus.last_error and "nobody answers" in bus.last_error
    bus.look(time.ticks_add(start, 1000))
    bus.look(time.ticks_add(start, 2000))
    assert can.restarts == 3 and can.state() == can.STATE_ACTIVE
    bus.look(time.ticks_add(start, 2100))
    can.halt()
    bus.look(time.ticks_add(start, 2200))
    assert (bus.resets, bus.bus_off, can.restarts) == (2, 0, 4)
    assert bus.counters()["resets"] == 2


def test_a_controller_that_went_bus_off_and_stops_then_does_not_wait_for_its_second():
    can, bus = _open()
    can.fall_off()
    bus.look(0)
    can.halt()
    bus.look(100)
    assert (bus.bus_off, bus.resets, can.restarts) == (1, 1, 1)


def test_the_task_restarts_a_controller_that_refuses_to_receive():
    can = FakeCAN()
    bus = canbus.Bus(can)
    got = []
    bus.subscribe(0x4210, 0x1FFFFFFF, True, lambda i, d, f: got.append(i))

    async def run():
        task = asyncio.create_task(bus.run())
        await asyncio.sleep_ms(20)
        can.halt()
        for _ in range(200):
            if can.restarts:
                break
            await asyncio.sleep_ms(10)
        can.arrive(0x4210, b"12345678")
        await asyncio.sleep_ms(30)
        task.cancel()

    asyncio.run(run())
    assert got == [0x4210] and bus.resets == 1


def test_lost_frames_are_counted():
    can, bus = _open()
    bus.subscribe(7, 0x7FF, False, lambda i, d, f: None)
    for _ in range(40):
        can.arrive(7, b"", extended=False)
    bus.drain()
    assert bus.frames == 32
    assert bus.counters()["overruns"] == 8


def test_the_task_sets_the_filters_before_it_receives():
    can = FakeCAN()
    bus = canbus.Bus(can)
    got = []
    bus.subscribe(0x4210, 0x1FFFFFFF, True, lambda i, d, f: got.append(i))

    async def run():
        task = asyncio.create_task(bus.run())
        await asyncio.sleep_ms(20)
        assert can.arrive(0x4210, b"12345678")
        assert not can.arrive(0x4220, b"12345678")
        bus.subscribe(0x4220, 0x1FFFFFFF, True, lambda i, d, f: got.append(i))
        assert can.arrive(0x4220, b"12345678")
        await asyncio.sleep_ms(30)
        task.cancel()

    asyncio.run(run())
    assert got == [0x4210, 0x4220]


def test_unknown_back_ends_and_modes_are_refused_by_name():
    assert "machine, twai, mcp2515" in _raises(canbus.open, "vcan", 0, 500000)


def _passes(filters, can_id, flags):
    if filters is None:
        return True
    return any(flags == f and can_id & m == i & m for i, m, f in filters)


def test_fitted_filters_pass_every_frame_that_the_wanted_ones_passed():
    random.seed(11)
    for _ in range(300):
        wanted = []
        for _ in range(random.randrange(0, 9)):
            flags = random.choice((0, 2))
            top = 0x1FFFFFFF if flags else 0x7FF
            wanted.append((random.randrange(top + 1), top & ~(1 << random.randrange(11)), flags))
        most = random.randrange(1, 5)
        fitted = fit(wanted, most)
        assert fitted is None or len(fitted) <= most
        for can_id, mask, flags in wanted:
            top = 0x1FFFFFFF if flags else 0x7FF
            for noise in (0, top & ~mask):
                assert _passes(fitted, can_id ^ noise, flags)


def test_filters_that_fit_are_not_widened():
    wanted = [(0x4210, 0x1FFFFFFF, 2), (0x351, 0x7FF, 0)]
    assert fit(wanted, 2) == wanted
    assert fit(wanted + wanted, 2) == wanted
    assert fit(wanted, 1) is None
    assert fit([], 1) == []
    assert merge((0x4210, 0x1FFFFFFF, 2), (0x4230, 0x1FFFFFFF, 2)) == (0x4210, 0x1FFFFFDF, 2)
