"""`socket` of the simulated chip: the host's, as long as ESP-IDF has memory left for another one."""

import sim_pace
import sim_pool
import usocket
from usocket import *  # noqa: F403

_LOOK_UP_US = 300  # lwIP's, for an address in digits: the host's own look-up loads whole libraries the first time


def socket(*arguments):
    """A socket.  Raises OSError ENOMEM, or ENFILE with too many open."""
    sim_pace.off()
    try:
        sim_pool.take_socket()
    finally:
        sim_pace.on()
    return usocket.socket(*arguments)


def getaddrinfo(*arguments):
    """As the host has it."""
    sim_pace.off()
    try:
        return usocket.getaddrinfo(*arguments)
    finally:
        sim_pace.on_after_us(_LOOK_UP_US)
