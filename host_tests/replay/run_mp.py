"""Plays one of the recorded days under MicroPython: `micropython run_mp.py ROOT TREE [DAY [field=value ...]]`; prints its lines.

Without a day it prints their names.

TREE is the root that firmware/ and lib/ are taken from: ROOT itself, or a staged one.
"""

import sys

root, tree = sys.argv[1:3]
sys.path[:] = [tree, tree + "/lib", root, ".frozen"]

from host_tests.replay.days import DAYS
from host_tests.replay.record import Day


def main(name: str, given: list) -> None:
    changed = {}
    for text in given:
        field, _, value = text.partition("=")
        changed[field] = float(value)
    Day(name, print, **changed).play()


if len(sys.argv) > 3:
    main(sys.argv[3], sys.argv[4:])
else:
    for name in DAYS:
        print(name)
