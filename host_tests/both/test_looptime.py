"""looptime: whose step was the longest; metering: who held control up, told apart from collections and stores to flash."""

import asyncio
import time

from looptime import LoopTime

from firmware.metering import Metering


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
