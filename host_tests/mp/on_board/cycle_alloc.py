"""Runs control cycles with the heap locked, so that one allocated byte is a MemoryError: run under MicroPython.

    micropython cycle_alloc.py ROOT CYCLES [leak]

With "leak" one list is made on purpose, to show that it would be noticed.
The battery answers, charges, discharges, goes silent and comes back meanwhile; ticks cross their wrap.
"""

import gc
import sys
import time

import micropython

root, cycles, leak = sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["leak"]
sys.path[:] = [root, root + "/lib", ".frozen"]

from firmware import image as im  # noqa: E402
from firmware.config import PowerConfig  # noqa: E402
from firmware.manager import PowerManager  # noqa: E402
from firmware.modes import Mode  # noqa: E402
from tools.healthy import healthy  # noqa: E402

STEP_MS = 50
START_MS = (1 << 30) - 200 * STEP_MS  # the clock wraps in the 200th cycle, with an operation going on

pm = PowerManager(PowerConfig(), has=im.HAS_BMS | im.HAS_PCS | im.HAS_METER)
inp = pm.image.inp
for slot, value, _ in healthy():
    inp[slot] = value
inp[im.PCS_STATE] = im.PCS_RUNNING
FAST = (im.SEQ_PCS, im.SEQ_METER)
SLOW = (im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS, im.SEQ_BMS_FLAGS)
seen = [0, 0, 0, START_MS]  # least command, greatest command, cycles with a fault, the time


def world(cycle: int) -> None:
    """What the devices would write: the PCS follows, the battery's voltage moves, the BMS is silent now and then."""
    power = pm.image.now[im.CMD_P]
    inp[im.PCS_P] = power
    inp[im.PCS_DC_V] = 6240 + cycle % 7
    inp[im.PCS_DC_I] = power // 62
    inp[im.METER_P] = 20000 - power
    inp[im.BMS_V] = 6240 + cycle % 5
    inp[im.BMS_I] = power // 62
    for seq in FAST:
        pm.image.heard(seq)
    if cycle % 2000 < 1900:
        for seq in SLOW:
            pm.image.heard(seq)


def live(count: int, first: int) -> None:
    """Cycles `first` and the count - 1 after it; what they did goes into `seen`."""
    now = pm.image.now
    for cycle in range(first, first + count):
        world(cycle)
        seen[3] = time.ticks_add(seen[3], STEP_MS)
        pm.cycle(seen[3])
        if leak:
            seen.append(0)
        power = now[im.CMD_P]
        if power < seen[0]:
            seen[0] = power
        if power > seen[1]:
            seen[1] = power
        if now[im.FAULTS]:
            seen[2] += 1


ORDERS = (
    lambda: pm.start_charging(80.0),
    lambda: pm.set_constant_power(60.0, 0),
    lambda: pm.start_discharging(40.0, 1),
    lambda: pm.set_constant_power(-30.0, 1),
)
done = 0
expected_s = 100 * STEP_MS // 1000
live(40, 0)
pm.start()
live(60, 40)
assert pm.mode != Mode.STANDBY, "start() did not take: mode %d" % pm.mode
first = 100
while done < cycles:
    for command in ORDERS:
        try:
            command()  # API calls may allocate; cycles may not
        except Exception as error:
            print("refused:", error)  # while a silent BMS has stopped everything
        count = min(700, cycles)
        gc.collect()
        expected_s += count * STEP_MS // 1000
        micropython.heap_lock()
        live(count, first)
        micropython.heap_unlock()
        first += count
        done += count
        pm.start()
uptime_s = pm.image.now[im.UPTIME_S]
assert abs(uptime_s - expected_s) <= 1, "uptime %d s instead of %d: the wrap broke it" % (uptime_s, expected_s)
print("cycles", done, "low", seen[0], "high", seen[1], "faulty", seen[2], "worst", pm.image.now[im.WORST_P])
