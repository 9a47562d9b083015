"""Cuts the power again and again while a site's history is written, on LittleFS2, and looks at what the next boot knows.

    micropython history_power_cut.py ROOT CUTS SEED

The firmware's own services run in virtual time, discharging 12 kW; power goes at a random flash operation, torn or before it
begins.  Prints one JSON object.
"""

import json
import os
import random
import sys

root = sys.argv[1]
sys.path[:] = [root, root + "/lib", root + "/host_tests/mp/on_board", ".frozen"]

from flash import BLOCK, Flash  # noqa: E402  (needs the path above)
from vfs import VfsLfs2, mount, umount  # noqa: E402

from host_tests.both.historyrig import Rig  # noqa: E402

_BLOCKS = 400
_WATTS = 12000
_STEP_S = 25
_FIRST = (9860, 80000)  # an hour before the last day of a year begins in Berlin


def _known(rig, every_row):
    """Wh that the history knows, and whatever does not agree with it; every_row: with what every single row says."""
    history = rig.history
    known = history.totals()["discharged"] or 0
    wrong = list(history.problems)
    fives = 0
    for row in rig.each("five") if every_row else ():
        fives += row["discharged_wh"]
    if every_row and not history.fives.first and fives != known:
        wrong.append("the rows of five minutes say %d, the total is %d" % (fives, known))
    for kind in ("day", "month", "year"):
        said = {}
        for row in rig.each(kind):
            if row["period"] in said:
                wrong.append("%s %s is there twice" % (kind, row["period"]))
            said[row["period"]] = row["discharged_wh"] or 0
        if sum(said.values()) != known:
            wrong.append("%s: %r, the total is %d" % (kind, said, known))
    if history.counters()["damaged"]:
        wrong.append("a damaged row")
    return known, wrong


def main(wanted, seed):
    random.seed(seed)
    image = bytearray(b"\xff" * (_BLOCKS * BLOCK))
    VfsLfs2.mkfs(Flash(image))
    result = {"cuts": 0, "failures": [], "lost_s_max": 0, "step_s": _STEP_S, "stores": 0}
    day, sec = _FIRST
    true_wh, before = 0, 0
    while result["cuts"] < wanted:
        flash = Flash(image, random.randrange(4, 160), random.choice((0, random.randrange(1, 1000))))
        mount(VfsLfs2(flash), "/flash")
        rig = Rig("/flash/data", day, sec, minutes=0)
        known, wrong = _known(rig, result["cuts"] % 8 == 0 or result["cuts"] == wanted - 1)
        lost_s = (true_wh - known) * 3600 // _WATTS
        if not 0 <= lost_s <= 300 + _STEP_S + 5:
            wrong.append("%d s are lost" % lost_s)
        result["failures"] += ["cut %d: %s" % (result["cuts"], text) for text in wrong][:3]
        result["lost_s_max"] = max(result["lost_s_max"], lost_s)
        result["stores"] += "five.%d" % before in os.listdir("/flash/data/history")
        rig.set(battery=_WATTS).run(5, 5)
        ran = 5
        while not flash.is_dead and ran < 20000:
            rig.run(_STEP_S, _STEP_S)
            rig.run(5, 5)  # beyond that a step is no measurement of the time between
            ran += _STEP_S + 5
        umount("/flash")
        if not flash.is_dead:
            result["failures"].append("no cut in %d s" % ran)
            break
        result["cuts"] += 1
        true_wh = known + ran * _WATTS // 3600
        before = rig.history.fives.next // 288
        sec += ran
        day, sec = day + sec // 86400, sec % 86400
    result["days"] = day - _FIRST[0]
    result["rows"] = rig.history.fives.next
    print(json.dumps(result))


main(int(sys.argv[2]), int(sys.argv[3]))
