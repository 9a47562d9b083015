"""Four threads call every API function at random while the cycle runs: run under MicroPython, best one without a GIL.

    micropython threads.py ROOT SEED CYCLES

Ends with one JSON line: what was called, errors that are not the API's own, torn reads, events heard and posted.
"""

import _thread
import gc
import json
import sys
import time

root, seed, cycles = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.path[:] = [root, root + "/lib", ".frozen"]

from posixtz import PosixTZ  # noqa: E402

from firmware import ChargeParams, DischargeParams, Event, PowerConfig, PowerError, PowerManager  # noqa: E402
from firmware import image as im  # noqa: E402
from firmware.callbacks import Worker  # noqa: E402
from firmware.clock import CONSOLE, Clock  # noqa: E402
from firmware.schedule_entry import ScheduleEntry  # noqa: E402
from host_tests.mp.on_board import thread_calls as calls  # noqa: E402

THREADS = 4
DAY = 9822  # 2026-11-22
HAS = im.HAS_BMS | im.HAS_PCS | im.HAS_METER | im.HAS_PV | im.HAS_IO


class Heard:
    """Counts the events it is handed, and calls the API back now and then; only the dispatcher's thread writes it."""

    def __init__(self):
        self.counts = [0] * 32

    def __call__(self, event, data, pm):
        self.counts[event] += 1
        if pm is not None and sum(self.counts) % 64 == 0:
            pm.stats()
            pm.claims()
            pm.upcoming(2)


def feed(inp, heard, now, k):
    """One instant of the site, every figure a function of k, so that a torn read shows."""
    mark = k % 900
    inp[im.BMS_SOC] = 5000
    inp[im.BMS_SOH] = 9900
    inp[im.BMS_V] = 6000 + mark
    inp[im.BMS_I] = 0
    inp[im.BMS_TEMP] = 250
    inp[im.BMS_V_MAX] = 7020
    inp[im.BMS_V_MIN] = 5460
    inp[im.BMS_I_CHG] = 1500
    inp[im.BMS_I_DIS] = 1500
    inp[im.CELL_V_MAX] = 3300
    inp[im.CELL_V_MIN] = 3290
    inp[im.CELL_T_MAX] = 260
    inp[im.CELL_T_MIN] = 240
    inp[im.BMS_REQUESTS] = 0
    inp[im.BMS_PROTECT] = 0
    inp[im.BMS_ALARM] = 0
    inp[im.PCS_STATE] = im.PCS_STANDBY
    inp[im.PCS_P] = now[im.CMD_P]
    inp[im.PCS_DC_V] = 6000 + mark
    inp[im.PCS_DC_I] = 0
    inp[im.PCS_P_CHG] = 100000
    inp[im.PCS_P_DIS] = 100000
    inp[im.PCS_GRID] = 1
    inp[im.METER_P] = 20000
    inp[im.METER_V] = 4000
    inp[im.METER_HZ] = 50000
    inp[im.METER_I] = mark
    inp[im.PV_P] = mark
    inp[im.IO_ESTOP] = 0
    inp[im.IO_CONTACTOR] = now[im.CMD_CONTACTOR]
    for group in range(9):
        heard(group)


def main():
    pm = PowerManager(PowerConfig(), has=HAS)
    pm.events.report = lambda callback, error: problems.append("callback: %r" % error)
    problems = []
    pm.clock = Clock(PosixTZ("UTC0"), 0)
    pm.clock.set(CONSOLE, DAY, 0)
    everything = Heard()
    moves = Heard()
    pm.register_callback(Event.ALL, everything, pm)
    pm.register_callback(Event.MODE_CHANGE, moves)
    worker = Worker(pm.events)
    callers = [calls.Caller(pm, seed * 10 + i, (ChargeParams, DischargeParams, ScheduleEntry, PowerError)) for i in range(THREADS)]
    feed(pm.image.inp, pm.image.heard, pm.image.now, 0)
    pm.cycle(0)
    worker.step()
    _thread.stack_size(256 * 1024)  # after the worker, which sets its own
    for caller in callers:
        _thread.start_new_thread(caller.run, ())
    now = pm.image.now
    modes = [0] * 6
    for k in range(1, cycles):
        feed(pm.image.inp, pm.image.heard, now, k)
        pm.cycle(k * 50)
        if k % 20 == 0:  # as the application does, once a second; the days pass fast here
            pm.clock.set(CONSOLE, DAY + k // 500, k * 60 % 86400)
            pm.clock.tick(k * 50)
            pm.run_schedule()
        with pm.image.lock:
            modes[now[im.MODE]] += 1
            if now[im.CMD_P] > now[im.LIMIT_DIS] or now[im.CMD_P] < -now[im.LIMIT_CHG]:
                if now[im.CMD_P]:
                    problems.append("command %d outside %d, %d" % (now[im.CMD_P], now[im.LIMIT_CHG], now[im.LIMIT_DIS]))
        time.sleep_ms(1)
    for caller in callers:
        caller.stop = True
    for _ in range(2000):
        if sum([caller.ended for caller in callers]) == THREADS:
            break
        time.sleep_ms(5)
    for _ in range(2000):  # the dispatcher finishes
        if pm.events.cursor.at == pm.events.total and pm.events.running is None:
            break
        time.sleep_ms(5)
    time.sleep_ms(50)
    worker.stop()
    gc.collect()
    result = {
        "cycles": cycles,
        "ended": sum([caller.ended for caller in callers]),
        "calls": calls.total([caller.done for caller in callers]),
        "refused": sum([caller.refused for caller in callers]),
        "grids_set": sum([caller.grids_set for caller in callers]),
        "reads": sum([caller.reads for caller in callers]),
        "problems": problems + [problem for caller in callers for problem in caller.problems],
        "posted": list(pm.events.counts),
        "heard": everything.counts[: len(pm.events.counts)],
        "mode_changes_heard": moves.counts[0],
        "overflows": pm.events.overflows,
        "modes": modes,
        "worst": now[im.WORST_P],
        "lock_wait_us": pm.lock_wait_us,
        "abandoned": worker.abandoned,
    }
    print(json.dumps(result))


main()
