"""Before boot.py: the file system, and frozen modules first.  It never waits: whatever is wrong, control code starts.

Without a file system there is no site file, and the firmware stays in STANDBY at 0 W with its console open.
"""

import gc
import sys

import flashfs
from flashbdev import bdev

# what is frozen is found without a look at the flash, and no file left there can take a module's place
sys.path[:] = [".frozen", "", "/lib"]

problem = flashfs.mount(bdev)
if problem:
    print("flash: %s; nothing was changed" % problem)
if problem and bdev:
    print("flash: to make an empty one: import flashfs, flashbdev; flashfs.make(flashbdev.bdev)")
gc.collect()
