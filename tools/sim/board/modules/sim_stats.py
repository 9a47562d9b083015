"""The board's figures, for the supervisor: sent when it asks, and none of the chip's work."""

import gc
import json
import sys

import micropython
import sim_pace
import simlink


def report(with_heap: int) -> None:
    """Sends them.  `with_heap`: after a collection, with the map of the heap printed for the host to read."""
    sim_pace.off()
    try:
        figures = {}
        there = sys.modules  # a fast board has none of them, and a full heap no room to look for them
        if "sim_import" in there:
            there = there["sim_import"].hidden
        if "sim_flash" in there:
            figures["flash"] = list(there["sim_flash"].counts)
        if "sim_pool" in there:
            pool = there["sim_pool"]
            figures["pool"] = [pool.size, pool.code, pool.wifi, pool.third, pool.free()]
        if "sim_frozen" in there:
            figures["constants"] = there["sim_frozen"].constants
            figures["loaded"] = there["sim_frozen"].loaded
        if "sim_watch" in there:
            figures["watch"] = there["sim_watch"].report()
        if with_heap:
            gc.collect()
            if "sim_watch" in there:
                there["sim_watch"].pass_over_one()
            figures["live"] = gc.mem_alloc() - (there["sim_frozen"].owed if "sim_frozen" in there else 0)
            micropython.mem_info()
            micropython.qstr_info()
        simlink.send_data(0x53, 0, json.dumps(figures).encode())
    finally:
        sim_pace.on()
