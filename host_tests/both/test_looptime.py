"""looptime: whose step was the longest; metering: who held control up, told apart from collections and stores to flash."""

import asyncio
import sys
import time

import micropython
from looptime import LoopTime, start

from firmware.metering import Metering

_MICROPYTHON = sys.implementation.name == "micropython"


def busy(ms):
    begun = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), begun) < ms:
        pass


def test_the_task_with_the_longest_step_is_named_and_its_errors_pass_through():
    loop_time = LoopTime()
    ended = []

    async def slow():
        for _ in range(3):
            await asyncio.sleep(0)
            busy(20)

    async def quick():
        for _ in range(9):
            await asyncio.sleep(0)
        raise ValueError("as it should")

    async def main():
        tasks = [asyncio.create_task(loop_time.watched(name, work())) for name, work in (("slow", slow), ("quick", quick))]
        for task in tasks:
            try:
                await task
            except ValueError as error:
                ended.append(str(error))

    asyncio.run(main())
    assert ended == ["as it should"]
    assert loop_time.longest() == "slow"
    report = loop_time.report()
    assert report["slow"] >= 18 > report["quick"]
    loop_time.forget()
    assert loop_time.longest() == ""


def test_an_interrupt_before_a_step_costs_the_program_and_not_the_task():
    if not _MICROPYTHON:
        return  # CPython ends every task with the loop: there is no way that goes on in it
    loop_time = LoopTime()
    steps = []

    async def main():
        async def work():
            for step in range(3):
                steps.append(step)
                await asyncio.sleep(0.001)

        tasks.append(asyncio.get_event_loop().create_task(loop_time.watched("work", work())))
        await asyncio.sleep(1)

    async def later():
        await asyncio.sleep(0.05)

    def interrupted():
        if len(steps) == 1 and not interrupts:
            interrupts.append(len(steps))
            raise KeyboardInterrupt
        return 0

    interrupts = []
    tasks = []
    loop_time.goes_first = interrupted
    ended = ""
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        ended = "interrupted"
    asyncio.run(later())
    assert ended == "interrupted" and interrupts == [1] and steps == [0, 1, 2]


def test_a_task_that_is_cancelled_ends_inside_its_wrapper():
    loop_time = LoopTime()
    seen = []

    async def endless():
        try:
            while True:
                await asyncio.sleep(1)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main():
        task = asyncio.create_task(loop_time.watched("endless", endless()))
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            seen.append("awaited")

    asyncio.run(main())
    assert seen == ["cancelled", "awaited"]


def test_more_tasks_than_there_is_space_for_are_refused_by_number():
    loop_time = LoopTime(2)
    loop_time.watched("a", None)
    loop_time.watched("b", None)
    loop_time.watched("a", None)
    try:
        loop_time.watched("c", None)
    except ValueError as error:
        assert "0 to 2" in str(error) or "allowed are 2" in str(error)
    else:
        raise AssertionError("accepted")


def metering():
    loop_time = LoopTime()
    loop_time.watched("console", None)
    loop_time.watched("pcs", None)
    return Metering(50, loop_time), loop_time


def test_a_late_cycle_is_counted_against_the_task_that_held_the_loop():
    timing, loop_time = metering()
    timing.add(50000, 500)
    loop_time.took(0, 3000)
    loop_time.took(1, 81000)
    timing.add(131000, 500)
    assert timing.causes() == {"pcs": [1, 131.0]}
    assert timing.report()["gap_ms_max"] == 131.0


def test_a_collection_and_a_store_to_flash_are_causes_of_their_own():
    timing, loop_time = metering()
    loop_time.took(1, 5000)
    timing.collected(30000)
    timing.add(85000, 500)
    loop_time.took(1, 5000)
    timing.stores += 1
    timing.add(140000, 500)
    loop_time.took(0, 90000)
    timing.add(140000, 500)
    assert timing.causes() == {"collection": [1, 85.0], "flash": [1, 140.0], "console": [1, 140.0]}
    report = timing.report()
    assert (report["gap_ms_flash"], report["gap_ms_max"], report["collection_ms_max"]) == (140.0, 140.0, 30.0)


def test_a_cycle_in_time_blames_nobody():
    timing, loop_time = metering()
    for _ in range(100):
        loop_time.took(0, 9000)
        timing.add(60000, 500)
    assert timing.causes() == {}
    assert timing.report()["gap_ms_p999"] <= 61


def test_cycles_are_counted_without_heap_for_all_the_years():
    """What the control task counts with, and control ends where it cannot: at 20 cycles a second 2**30 are there in 1.7 years."""
    timing, _ = metering()
    timing.cycles = timing.good = 0x3FFFFFFE
    for _ in range(3):
        timing.add(50000, 500)
    micropython.heap_lock()
    try:
        timing.add(50000, 500)
    finally:
        micropython.heap_unlock()
    assert timing.report()["period_ok"] == 1.0 and timing.cycles > 1000


def _order(beats):
    """Who runs in which order when control and three tasks have come due while something long ran, thrice."""
    loop_time = LoopTime()
    order = []
    state = {"due": 0}

    async def task(name):
        for _ in range(3):
            await asyncio.sleep_ms(5)
            order.append(name)

    async def control():
        for n in range(1, 4):
            await asyncio.sleep_ms(8 if n == 1 else 0)  # from then on it is late, as Beat.next() is
            order.append("control")
            state["due"] = 0
            busy(30)  # after its step, as a collection is
            state["due"] = n + 1

    async def main():
        if beats:
            loop_time.goes_first = lambda: state["due"]
        tasks = [asyncio.create_task(loop_time.watched(name, task(name))) for name in "abc"]
        tasks.append(asyncio.create_task(control()))
        await asyncio.sleep_ms(0)
        state["due"] = 1
        busy(30)
        for each in tasks:
            await each

    asyncio.run(main())
    assert len(order) == 12
    return order


def test_what_goes_first_comes_before_all_that_came_due_earlier():
    if not _MICROPYTHON:
        return  # asyncio's own tasks are another matter there
    assert _order(beats=False)[:3] == ["a", "b", "c"], "asyncio's own order"
    order = _order(beats=True)
    assert [n for n, name in enumerate(order) if name == "control"] == [0, 1, 2], order


def test_a_task_gives_way_to_a_beat_once_and_not_for_ever_to_one_that_nobody_serves():
    if not _MICROPYTHON:
        return
    loop_time = LoopTime()
    loop_time.goes_first = lambda: 7
    done = []

    async def work():
        for n in range(5):
            await asyncio.sleep_ms(0)
            done.append(n)
        raise ValueError("as it should")

    async def main():
        try:
            await asyncio.create_task(loop_time.watched("work", work()))
        except ValueError:
            done.append("raised")

    asyncio.run(main())
    assert done == [0, 1, 2, 3, 4, "raised"]


def test_a_task_that_is_put_off_can_be_cancelled():
    if not _MICROPYTHON:
        return
    loop_time = LoopTime()
    seen = []
    state = {"beat": 0}
    loop_time.goes_first = lambda: state["beat"]

    async def endless():
        try:
            while True:
                await asyncio.sleep_ms(1)
                state["beat"] += 1  # always a new one is due
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main():
        task = asyncio.create_task(loop_time.watched("endless", endless()))
        await asyncio.sleep_ms(20)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            seen.append("awaited")

    asyncio.run(main())
    assert seen == ["cancelled", "awaited"] and state["beat"] > 1


def test_long_work_of_several_tasks_does_not_meet_between_two_beats():
    loop_time = LoopTime()
    beats = [0]
    done = []

    async def worker(name):
        for _ in range(3):
            await loop_time.turn()
            done.append((beats[0], name))

    async def main():
        tasks = [asyncio.create_task(worker(name)) for name in "ab"]
        while len(done) < 6:
            await asyncio.sleep(0.001)
            beats[0] += 1
            loop_time.forget()
        for task in tasks:
            await task

    asyncio.run(main())
    assert len({beat for beat, _ in done}) == 6, done
    assert loop_time.take_turn() and not loop_time.take_turn()
    loop_time.forget()
    assert loop_time.take_turn()


def test_who_waits_for_a_turn_gets_it_though_no_beat_comes_any_more():
    loop_time = LoopTime()
    assert loop_time.take_turn()
    asyncio.run(loop_time.turn())


def test_a_task_that_another_one_starts_is_watched_too_while_there_is_space():
    loop_time = LoopTime(2)
    loop_time.watch_all()
    done = []

    async def child(name):
        done.append(name)

    async def main():
        for name in ("one", "two", "two", "three"):
            start(name, child(name))
        await asyncio.sleep(0.01)

    try:
        asyncio.run(main())
    finally:
        LoopTime.watch_all(None)
    assert done == ["one", "two", "two", "three"] and loop_time.names == ["one", "two"]


def test_a_beat_is_due_until_it_is_waited_for_again_and_has_a_number_of_its_own():
    if not _MICROPYTHON:
        return  # its flag is MicroPython's
    from firmware.beat import Beat

    numbers = []

    async def main():
        beat = Beat(10)
        for _ in range(4):
            await beat.next()
            busy(2)
            numbers.append(beat.due())
            numbers.append(beat.due())
        beat.stop()

    asyncio.run(main())
    assert 0 not in numbers and numbers[::2] == numbers[1::2] and len(set(numbers)) == 4
