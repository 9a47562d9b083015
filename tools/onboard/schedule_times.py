"""Times the schedule with 16 entries and the clock, on the interpreter that runs this: lines of a name and nanoseconds.

micropython schedule_times.py ROUNDS        (in a staged board directory)
"""

import sys
import time

sys.path[:0] = ["", "lib"]

from posixtz import PosixTZ  # noqa: E402

from firmware.clock import NTP, Clock  # noqa: E402  (needs the path above)
from firmware.modes import Mode  # noqa: E402
from firmware.schedule_entry import ScheduleEntry  # noqa: E402
from firmware.scheduler import Scheduler  # noqa: E402

_ROUNDS = int(sys.argv[1])


def _timed(name, rounds, work):
    started = time.ticks_us()
    for _ in range(rounds):
        work()
    print(name, time.ticks_diff(time.ticks_us(), started) * 1000 // rounds)


def main():
    clock = Clock(PosixTZ("CET-1CEST,M3.5.0,M10.5.0/3"), 0)
    clock.set(NTP, 9822, 43200)
    scheduler = Scheduler()
    for hour in range(16):
        scheduler.add(ScheduleEntry(hour=hour, minute=7, mode=Mode.CHARGE, power_setpoint=-40.0))
    scheduler.tick(clock)
    jumps = [30]

    def idle():
        scheduler.tick(clock)

    def start():  # an entry begins: the clock goes on by an hour
        clock.sec = (clock.sec + 3600) % 86400
        clock.elapsed_s += 3600
        scheduler.tick(clock)
        scheduler.take_events()

    def jump():  # every entry is looked at again: the clock goes to and fro by a month
        jumps[0] = 0 - jumps[0]
        clock.day += jumps[0]
        scheduler.tick(clock)
        scheduler.take_events()

    _timed("idle", _ROUNDS, idle)
    _timed("start", _ROUNDS // 20, start)
    _timed("jump", _ROUNDS // 50, jump)
    _timed("local", _ROUNDS, clock.local)


main()
