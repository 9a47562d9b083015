"""Known work for the chip's clock: run at a chip's speed, with the folder of the simulated chip's modules.

    micropython -X heapsize=112000 chip_times.py MODULES

Prints a line for each: name, turns, instructions, microseconds by time.ticks_us, microseconds by the chip's clock.
"""

import gc
import sys
import time
from array import array

import micropython

sys.path.insert(0, sys.argv[1])

import sim_pace
from sim_pace import chip_us, count

LIVE_KB = 93


def loop_turn(turns):
    i = 0
    while i < turns:
        i += 1


def add(a, b, c):
    return a + b + c


def call_3_arguments(turns):
    for i in range(turns):
        add(i, i, i)


@micropython.viper
def first(numbers: ptr32, n: int) -> int:
    return numbers[0] + n


numbers = array("i", [1, 2])


def viper_call(turns):
    for i in range(turns):
        first(numbers, i)


def ticks_us(turns):
    for _ in range(turns):
        time.ticks_us()


def off_and_on(turns):
    for _ in range(turns):
        sim_pace.off()
        sim_pace.on()


def collection(turns):
    for _ in range(turns):
        gc.collect()


def measure(work, turns):
    work(1)
    count(), chip_us()
    time.sleep_ms(5)  # whatever the clock was late by is forgotten
    instructions, chip, host = count(), chip_us(), time.ticks_us()
    work(turns)
    host = time.ticks_diff(time.ticks_us(), host)
    chip = time.ticks_diff(chip_us(), chip)
    instructions = time.ticks_diff(count(), instructions)
    print(work.__name__, turns, instructions, host, chip)


if not sim_pace.paced:
    print("this interpreter does not run at a chip's speed")
    sys.exit(1)
for work, turns in ((loop_turn, 20000), (call_3_arguments, 5000), (viper_call, 5000), (ticks_us, 2000), (off_and_on, 5000)):
    measure(work, turns)
gc.collect()
each = 16 + 96 + 4  # object, data, place in the list
ballast = [None] * ((LIVE_KB * 1024 - gc.mem_alloc()) // each)
for place in range(len(ballast)):
    ballast[place] = bytearray(96)
measure(collection, 5)
