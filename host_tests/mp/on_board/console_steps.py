"""How many instructions the longest turn of the console takes for every kind of line: run at a chip's speed.

    micropython -X heapsize=500000 console_steps.py ROOT

Prints JSON: {line: instructions}; "(events)" and "(monitor)" are those printed by themselves.  Collections are left out: the
application chooses their moment.
"""

import gc
import json
import sys
import time

root = sys.argv[1]
sys.path[:] = [root, root + "/lib", root + "/host_tests/both", root + "/tools/sim/board/modules", ".frozen"]

from sim_pace import chip_us, count  # noqa: E402, I001 (desk first: its table of points is compiled in one large piece)

from host_tests.both.desk import Desk  # noqa: E402
from firmware import image as im  # noqa: E402
from firmware import zones  # noqa: E402
from firmware.clock import Clock  # noqa: E402
from firmware.modes import Mode  # noqa: E402
from firmware.schedule_entry import ScheduleEntry  # noqa: E402
from firmware.services import console  # noqa: E402

LINES = (
    "1 + 1", "pm.stats()", "limits()", "devices()", "pm.claims()", "pm.faults()", "pm.events.history()", "pm.schedules()",
    "pm.upcoming(5)", "pm.set_charge_params(ChargeParams(target_soc=80, charge_current_max=100))", "nonsense", "1 +",
    "disharge 5kW", "ChargeParams(target_soc=500)", "pm.set_constant_power(20)", "'x' * 5000", "bytes(5000)", "list(range(2000))",
    "help()", "pm.emergency_shutdown()",
)  # fmt: skip


class ChipTime:
    """The console's slices end by the chip's clock: on a host that is late the system's runs ahead of what was executed."""

    ticks_us = staticmethod(chip_us)
    ticks_ms = staticmethod(time.ticks_ms)
    ticks_diff = staticmethod(time.ticks_diff)
    ticks_add = staticmethod(time.ticks_add)


console.time = ChipTime
gc.collect()  # what compiling has left is no heap that runs short
desk = Desk()
pm = desk.plant.pm
pm.clock = Clock(zones.zone("Europe/Berlin"), 0)
pm.clock.set_text("2026-11-22 09:56:17")
for hour in range(16):
    entry = ScheduleEntry(hour=hour, mode=Mode.CHARGE, power_setpoint=-40, duration_minutes=40, days=5 * (hour % 2))
    pm.add_schedule(entry)
longest = {}


def turns(name, n):
    """So many turns of the loop, each measured, and no collection in any of them."""
    longest[name] = 0
    gc.collect()
    gc.disable()
    for _ in range(n):
        before = count()
        desk.turn()
        longest[name] = max(longest[name], time.ticks_diff(count(), before))
    gc.enable()


def fill():
    """Every fault and event there is."""
    for i in range(70):
        pm.events.post(i % 19, i, 3)


EXPLAINED = ("why()", "status()", "pm.start()", "pm.stats()", "pm.faults()")


def everything_is_wrong():
    """Nothing is received any more, an emergency is latched, and many ask for power nevertheless."""
    desk.plant.force = {im.CELL_T_MAX: 800}
    desk.plant.run(4)
    desk.plant.silent = set(range(9))
    desk.plant.run(5)
    for source in ("remote", "schedule", "optimiser"):
        pm.claim(source, -20, 600, "somebody")
    pm.stop_operation(5)


desk.ask("mistyped")
turns("(start)", 5)
fill()
turns("(events)", 40)
for line in LINES:
    desk.type(line + "\n")
    turns(line, 60)
    desk.port.out = []
pm.reset_emergency()
pm.start()
for state in ("", " when everything is wrong"):
    if state:
        everything_is_wrong()
    for line in EXPLAINED:
        desk.type(line + "\n")
        turns(line + state, 100)
        desk.port.out = []
desk.console.monitor(100)
turns("(monitor)", 120)
assert desk.printed('"soc"')
print(json.dumps(longest))
