"""Holds the manager's lock from another thread while a cycle wants it: `micropython lock_wait.py ROOT`."""

import _thread
import json
import sys
import time

root = sys.argv[1]
sys.path[:] = [root, root + "/lib", ".frozen"]

from firmware import PowerManager  # noqa: E402

HELD_US = 200000
pm = PowerManager()
held = []


def hold():
    with pm.image.lock:
        held.append(1)
        time.sleep_ms(HELD_US // 1000)


pm.cycle(0)
pm.cycle(50)
undisturbed_us = pm.lock_wait_us
_thread.start_new_thread(hold, ())
while not held:
    time.sleep_ms(1)
pm.cycle(100)
print(json.dumps({"held_us": HELD_US, "undisturbed_us": undisturbed_us, "reported_us": pm.lock_wait_us}))
