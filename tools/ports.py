"""A port of this machine that is nobody's: for servers whose number must be known before they run.

Asking the system for "any port" and closing it again gives a number that the next socket may get, of another test, or of the
same simulated site: one time in a suite a client then talked to the wrong server.  So these numbers are from below those that
systems give by themselves (32768 and up on Linux, 49152 on others), and what a process was given stays its own until it ends.
"""

import os
import random
import socket
import sys

FIRST, LAST = 20000, 31999
_TRIES = 500
_mine: dict[int, socket.socket | None] = {}
_random = random.Random(os.urandom(8))


def free_port() -> int:
    """A number for a TCP or UDP server on 127.0.0.1; OSError where none is free."""
    for _ in range(_TRIES):
        port = _random.randint(FIRST, LAST)
        if port not in _mine and _unused(port) and _claim(port):
            return port
    raise OSError(f"no free port among {_TRIES} tried from {FIRST} to {LAST}")


def _unused(port: int) -> bool:
    """Whether no socket has it at present."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as one:
            try:
                one.bind(("", port))
            except OSError:
                return False
    return True


def _claim(port: int) -> bool:
    """Whether it is this process's now; others see that by a name that ends with the process (Linux only)."""
    claim = None
    if sys.platform == "linux":
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0power-manager-port-{port}")
        except OSError:
            claim.close()
            return False
    _mine[port] = claim
    return True
