"""Runs control cycles with the heap locked, so that one allocated byte is a MemoryError: run under MicroPython.

    micropython cycle_alloc.py ROOT CYCLES [leak | several | island]

With "leak" one list is made on purpose, to show that it would be noticed; with "several" there are two banks, of one battery and
one inverter, and of two each in parallel; with "island" the inverter carries 20 kW while it runs, and the battery gives nothing at
times.
The battery answers, charges, discharges, wants to be charged, goes silent and comes back meanwhile; ticks cross their wrap.
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

image = im.Image()
if sys.argv[3:] == ["several"]:
    from firmware.banks import divide

    divide(image, [("a", PowerConfig(), 1, 1, 0), ("b", PowerConfig(), 2, 2, 0)])
island = sys.argv[3:] == ["island"]
pm = PowerManager(PowerConfig(grid_connection=0 if island else 2), image, im.HAS_BMS | im.HAS_PCS | im.HAS_METER)
for one in image.every():
    for slot, value, _ in healthy():
        one.inp[slot] = value
    one.inp[im.PCS_STATE] = im.PCS_RUNNING
CELL_V_MAX = image.every()[0].inp[im.CELL_V_MAX]
SLOW = (im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS, im.SEQ_BMS_FLAGS)
seen = [0, 0, 0, START_MS, 0]  # least command, greatest command, cycles with a fault, the time, 1 was dark, 2 came back


def amps(images: list, others: list) -> int:
    """0.1 A of each of the devices, for the power that the inverters of their bank move."""
    power = 0
    for inverter in images:
        power += inverter.now[im.CMD_P]
    return power // 62 // len(others)


def world(cycle: int) -> None:
    """What the devices would write: the PCS follows, the battery's voltage moves, the BMS is silent now and then."""
    for bank in image.banks:
        for one in bank.inverters:
            power = one.now[im.CMD_P]
            if island:
                power = 20000 if one.now[im.CMD_RUN] else 0
                one.inp[im.PCS_GRID] = 0
            one.inp[im.PCS_P] = power
            one.inp[im.PCS_DC_V] = 6240 + cycle % 7
            one.inp[im.PCS_DC_I] = power // 62
            if one is bank or one is not bank.inverters[1] or cycle % 1500 < 1000 or cycle % 1500 > 1300:
                one.heard(im.SEQ_PCS)  # but one of two in parallel is silent now and then
        for one in bank.batteries:
            one.inp[im.BMS_V] = im.NO_VALUE if cycle % 500 == 499 else 6240 + cycle % 5
            one.inp[im.CELL_V_MAX] = im.NO_VALUE if cycle % 1000 > 900 else CELL_V_MAX
            one.inp[im.BMS_I] = amps(bank.inverters, bank.batteries)
            if island:
                one.inp[im.BMS_I] = one.inp[im.PCS_DC_I]
                one.inp[im.BMS_I_DIS] = 0 if 1000 <= cycle % 4000 < 2000 else 1600
            one.inp[im.BMS_REQUESTS] = im.BMS_REQ_FORCE_CHARGE if cycle % 2000 > 1700 else 0
            if cycle % 2000 < 1900:
                for seq in SLOW:
                    one.heard(seq)
    image.inp[im.METER_P] = 0 if island else 20000 - image.now[im.CMD_P]
    image.heard(im.SEQ_METER)


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
        if now[im.FAULTS] or image.banks[0].now[im.FAULTS]:
            seen[2] += 1
        seen[4] |= 1 if now[im.DARK_P] else 2 if seen[4] and now[im.MODE] else 0


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
        if not island:
            pm.start()
uptime_s = pm.image.now[im.UPTIME_S]
assert abs(uptime_s - expected_s) <= 1, "uptime %d s instead of %d: the wrap broke it" % (uptime_s, expected_s)
print("cycles", done, "low", seen[0], "high", seen[1], "faulty", seen[2], "worst", pm.image.now[im.WORST_P], "dark", seen[4])
