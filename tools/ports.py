"""A port of this machine that is nobody's: for servers whose number must be known before they run.

Asking the system for "any port" and closing it again gives a number that the next socket may get, of another test, or of the
same simulated site: one time in a suite a client then talked to the wrong server.  So these numbers are from below those that
systems give by themselves (32768 and up on Linux, 49152 on others), and what a process was given stays its own until it ends.
"""

import contextlib
import os
import random
import socket
from pathlib import Path

from tools import claims

FIRST, LAST = 20000, 31999
_TRIES = 500
_LISTENS = "0A"  # the state of a socket in /proc/net/tcp
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
    try:
        _mine[port] = claims.claim(f"port-{port}")
    except claims.Taken:
        return False
    return True


def refused(port: int) -> str:
    """Why no server can listen there on 127.0.0.1, and what to do; "" where it can."""
    if not 1 <= port <= 65535:
        return "allowed are 1 to 65535"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: what has ended does not count
        try:
            one.bind(("127.0.0.1", port))
            one.listen()
        except PermissionError:
            return "only an administrator may have that port: give one from 1024 on"
        except OSError:
            return f"{_listener(port) or 'another program'} listens there already: end it, or give another port"
    return ""


def _listener(port: int) -> str:
    """The process that listens on a TCP port, for people; "" where that cannot be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTENS and int(words[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{words[9]}]")
    for process in Path("/proc").glob("[0-9]*") if inodes else ():
        with contextlib.suppress(OSError):
            if any(os.readlink(file) in inodes for file in (process / "fd").iterdir()):
                return claims.named(int(process.name))
    return ""
