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
        try:
            import sim_flash
            import sim_pool

            figures["flash"] = list(sim_flash.counts)
            figures["pool"] = [sim_pool.size, sim_pool.code, sim_pool.wifi, sim_pool.third, sim_pool.free()]
            if "sim_frozen" in sys.modules:
                figures["constants"] = sys.modules["sim_frozen"].constants
                figures["loaded"] = sys.modules["sim_frozen"].loaded
        except ImportError:
            pass  # a fast board has neither
        if "sim_watch" in sys.modules:
            figures["watch"] = sys.modules["sim_watch"].report()
        if with_heap:
            gc.collect()
            figures["live"] = gc.mem_alloc()
            micropython.mem_info()
            micropython.qstr_info()
        simlink.send_data(0x53, 0, json.dumps(figures).encode())
    finally:
        sim_pace.on()
