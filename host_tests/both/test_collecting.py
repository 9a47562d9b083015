"""When garbage is collected: as often as half of what is free is used up, and not into a burst of frames."""

import gc
import sys
import time

from firmware import collecting


class Metering:
    free_bytes = -1

    def __init__(self):
        self.lengths = []

    def collected(self, us):
        self.lengths.append(us)


class Bus:
    last_ms = 0


class Heap:
    """Stands for the gc module: so many bytes are free, and `made` of them become garbage each ms."""

    def __init__(self, free, made):
        self.all = free
        self.made = made
        self.used = 0
        self.collections = 0
        self.thresholds = []

    def mem_free(self):
        return self.all - self.used

    def collect(self):
        self.collections += 1
        self.used = 0

    def threshold(self, value):
        self.thresholds.append(value)


def play(free, made, seconds, burst=None, commanded=lambda ms: 0):
    """The collector in a site whose bus has a burst of `burst` ms each second; (heap, ms of the collections).

    made: bytes of garbage in a ms, or a function that gives them; commanded: the watts of the cycle at a ms.
    """
    heap, bus = Heap(free, made), Bus()
    real = collecting.gc
    collecting.gc = heap
    try:
        collector = collecting.Collector(Metering(), [bus] if burst else [])
        start = time.ticks_ms()
        at = []
        for ms in range(0, seconds * 1000, 50):
            now = time.ticks_add(start, ms)
            heap.used += 50 * (made(ms) if callable(made) else made)
            assert heap.used <= free, "the heap was full after %d ms" % ms
            if burst and ms % 1000 < burst:
                bus.last_ms = now
            before = heap.collections
            collector.step(now, commanded(ms))
            if heap.collections > before:
                at.append(ms)
    finally:
        collecting.gc = real
    return heap, at


def test_a_heap_of_which_little_is_free_is_swept_before_it_is_full_and_a_large_one_seldom():
    small, at = play(24000, 30, 30)
    assert small.collections > 50 and max([b - a for a, b in zip(at[1:], at[2:])]) <= 600
    large, _ = play(250000, 30, 60)
    assert 10 <= large.collections <= 40
    idle, _ = play(250000, 0, 60)
    assert idle.collections <= 12


def test_micropythons_own_threshold_is_off_once_it_runs():
    heap, _ = play(100000, 10, 5)
    assert set(heap.thresholds) == {-1}


def test_in_a_small_heap_it_stays_until_the_devices_are_found():
    heap, _ = play(24000, 30, 2)
    assert heap.collections > 3 and heap.thresholds == []
    heap, _ = play(24000, 30, 5)
    assert set(heap.thresholds) == {-1}


def test_before_a_line_a_small_heap_is_swept_and_a_large_one_left_alone():
    for free, collections in ((24000, 1), (200000, 0)):
        heap, real = Heap(free, 0), collecting.gc
        collecting.gc = heap
        try:
            collecting.Collector(Metering(), []).before_a_line()
        finally:
            collecting.gc = real
        assert heap.collections == collections


def test_a_collection_that_the_heap_s_end_has_brought_about_is_seen():
    """Behind a line that held most of the heap what is free looks little; once that is given back, a third is a third again."""
    heap, metering, real = Heap(150000, 0), Metering(), collecting.gc
    collecting.gc = heap
    try:
        collector = collecting.Collector(metering, [])
        start = time.ticks_ms()

        def step(ms, used):
            heap.used = used
            return collector.step(time.ticks_add(start, ms))

        assert step(1000, 10000)
        assert not step(1050, 130000)
        assert metering.free_bytes == 20000
        assert not step(1300, 0)
        assert metering.free_bytes == 150000
        assert not step(1700, 40000)
        assert not step(2100, 60000)
        assert step(2150, 60000)
    finally:
        collecting.gc = real


def test_a_collection_keeps_out_of_the_bursts_where_there_is_time():
    _, at = play(200000, 20, 60, burst=150)
    inside = [ms for ms in at[1:] if ms % 1000 < 150]
    assert at and not inside, inside


def test_a_quiet_minute_says_nothing_of_the_next_one():
    for rate in (30, 60, 90):
        for begins in range(20000, 32000, 1750):
            heap, _ = play(185000, lambda ms, rate=rate, begins=begins: rate if ms >= begins else 1, 40)
            assert heap.collections > (40000 - begins) * rate // 185000


def test_other_watts_go_out_before_anything_is_collected():
    for period in (350, 1000, 1650):
        _, at = play(24000, 30, 60, commanded=lambda ms, period=period: ms // period * 1000)
        late = [ms for ms in at if ms >= period and ms % period < 50]
        assert len(at) > 60 and not late, (period, late)


def test_watts_that_move_in_every_cycle_put_nothing_off_for_long():
    still, _ = play(20000, 30, 60)
    moving, _ = play(20000, 30, 60, commanded=lambda ms: ms)
    assert 2 * moving.collections > still.collections


def test_neither_moving_watts_nor_a_burst_leave_a_heap_that_fills_fast_to_its_end():
    for free, rate in ((145000, 270), (145000, 200), (24000, 45), (24000, 30)):
        for begins in range(20000, 21000, 150):
            for moves in (100, 250, 1000):  # a ramp, then watts that stand
                heap, _ = play(
                    free,
                    lambda ms, rate=rate, begins=begins: rate if begins <= ms < begins + 3000 else 1,
                    25,
                    burst=100,
                    commanded=lambda ms, moves=moves, begins=begins: min(max(ms - begins, 0), moves),
                )
                assert heap.collections > 3000 * rate // free


def test_where_there_is_no_time_it_collects_all_the_same():
    heap, _ = play(20000, 30, 20, burst=900)
    assert heap.collections > 25


def test_the_real_one_collects_and_says_how_long_it_took():
    if sys.implementation.name != "micropython":
        return  # CPython's gc has no mem_free
    metering = Metering()
    collector = collecting.Collector(metering, [])
    collector.collect(time.ticks_ms())
    gc.threshold(8192)  # as it was
    assert len(metering.lengths) == 1 and metering.lengths[0] > 0
