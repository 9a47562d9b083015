"""What a process of this machine has for itself, by a name that ends with it (on Linux; elsewhere nothing is claimed)."""

import contextlib
import hashlib
import os
import socket
import struct
import sys
from pathlib import Path

_BEFORE = "\0power-manager-"


class Taken(OSError):
    """Another process has it."""


def claim(name: str) -> socket.socket | None:
    """Have the name until the socket is closed, or this process ends.  Taken where somebody has it."""
    if sys.platform != "linux":
        return None
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.bind(_BEFORE + name)
        one.listen()
    except OSError:
        one.close()
        raise Taken(name) from None
    return one


def holder(name: str) -> int:
    """The process that has the name, 0 for none; -1 where it does not say, for it was asked very often."""
    if sys.platform != "linux":
        return 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.setblocking(False)
        try:
            one.connect(_BEFORE + name)
        except BlockingIOError:
            return -1
        except OSError:
            return 0
        pid, _, _ = struct.unpack("3i", one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid)


def of_path(path: Path) -> str:
    """The name of a place in the file system, however it is written."""
    place = path.parent.resolve() / path.name
    return "path-" + hashlib.sha256(os.fsencode(place)).hexdigest()[:32]


def named(pid: int) -> str:
    """A process for people: "process 4711 (python -m tools.run --pty /tmp/board)"."""
    if pid < 0:
        return "another process"
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        return f"process {pid} ({' '.join([words[0].rpartition('/')[2], *words[1:]]).strip()})"
    return f"process {pid}"
