"""Times control cycles and kernels: run under MicroPython in a staged flash directory.

    micropython cycle_times.py CYCLES [BANKS [MODULES]]

BANKS: how many banks of a battery and an inverter each.  MODULES: the folder of the simulated chip's modules; what is counted
then are instructions, which no other work of the host changes.
Prints: cycle_us, then each cycle's microseconds (or instructions); or `kernel NAME ns` for one call of each kernel.
"""

import gc
import sys
import time
from array import array

cycles = int(sys.argv[1])
several = int(sys.argv[2]) if len(sys.argv) > 2 else 1
look = time.ticks_us
if len(sys.argv) > 3:
    sys.path[:] = [sys.argv[3]]
    from sim_pace import count as look  # type: ignore[assignment,no-redef]
sys.path[:] = ["", "lib", ".frozen"]

from firmware import image as im  # noqa: E402
from firmware.config import PowerConfig  # noqa: E402
from firmware.faults import debounce_rows  # noqa: E402
from firmware.manager import PowerManager  # noqa: E402

image = im.Image()
if several > 1:
    from firmware.banks import divide

    divide(image, [("abcd"[i], PowerConfig(), 1, 1, 0) for i in range(several)])
pm = PowerManager(PowerConfig(), image, im.HAS_BMS | im.HAS_PCS | im.HAS_METER)
inp = image.inp
VALUES = {
    im.BMS_SOC: 5000, im.BMS_TEMP: 250, im.BMS_V: 6240, im.BMS_I: 0, im.BMS_V_MAX: 7000, im.BMS_V_MIN: 5500,
    im.BMS_I_CHG: 1600, im.BMS_I_DIS: 1600, im.CELL_V_MAX: 3310, im.CELL_V_MIN: 3290, im.CELL_T_MAX: 260,
    im.CELL_T_MIN: 240, im.BMS_STATUS: 3, im.BMS_REQUESTS: 0, im.BMS_PROTECT: 0, im.BMS_ALARM: 0,
    im.PCS_STATE: im.PCS_RUNNING, im.PCS_P: 0, im.PCS_DC_V: 6240, im.PCS_DC_I: 0, im.PCS_P_CHG: 100000,
    im.PCS_P_DIS: 100000, im.PCS_GRID: 1, im.METER_P: 20000, im.METER_V: 4000, im.METER_HZ: 50000,
}  # fmt: skip
for one in image.every():
    for slot in VALUES:
        one.inp[slot] = VALUES[slot]


def world(cycle: int) -> None:
    for bank in image.banks:
        bank.inp[im.BMS_V] = 6240 + cycle % 5
        bank.inp[im.PCS_P] = bank.now[im.CMD_P]
        for seq in range(6):
            bank.heard(seq)
    inp[im.METER_P] = 20000 - image.now[im.CMD_P] + cycle % 100
    image.heard(im.SEQ_METER)


at = 0
for cycle in range(60):
    world(cycle)
    at += 50
    pm.cycle(at)
    if cycle == 20:
        pm.start()
pm.set_constant_power(60.0, 0)
times = array("i", [0] * cycles)
gc.collect()
for cycle in range(cycles):
    world(cycle)
    at = time.ticks_add(at, 50)
    start = look()
    pm.cycle(at)
    times[cycle] = time.ticks_diff(look(), start)
print("cycle_us", *times)

if several > 1 or look is not time.ticks_us:
    sys.exit()
now, par = pm.image.now, pm.image.par
rows = debounce_rows()
OTHERS = {
    "freeze": (inp, now, 50), "debounce": (now, rows, array("H", [0] * len(rows)), len(rows) // 3), "bms_ends": (now, par),
    "age_claims": (pm.arbiter.claims.table, 16, 50), "least": (pm.arbiter.curtailments.table, now, par, 8, 50),
}  # fmt: skip
MODULES = (
    "inputs", "soc", "site_power", "diagnosis", "requests", "battery_limits", "site_limits", "ramp", "invariants", "flow",
)  # fmt: skip
for module in MODULES:
    kernels = getattr(__import__("firmware.kernel." + module).kernel, module)
    for name in dir(kernels):
        call = getattr(kernels, name)
        if name.startswith("_") or not callable(call):
            continue
        arguments = OTHERS.get(name, (now, par))
        start = time.ticks_us()
        for _ in range(2000):
            call(*arguments)
        print("kernel", name, time.ticks_diff(time.ticks_us(), start) * 1000 // 2000)
