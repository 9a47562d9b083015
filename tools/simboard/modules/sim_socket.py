"""`socket` of the simulated chip: the host's, as long as ESP-IDF has memory left for another one."""

import sim_pace
import sim_pool
import usocket
from usocket import *  # noqa: F403


def socket(*arguments):
    """A socket.  Raises OSError ENOMEM, or ENFILE with too many open."""
    sim_pace.off()
    try:
        sim_pool.take_socket()
    finally:
        sim_pace.on()
    return usocket.socket(*arguments)
