"""IPv4 addresses: as numbers, and of who connects."""

import socket


def number(address: str) -> int:
    """The four bytes of a dotted address as one number.  ValueError for anything else."""
    parts = address.split(".")
    value = 0
    for part in parts:
        if not part.isdigit() or len(part) > 3 or int(part) > 255:
            raise ValueError(address)
        value = value << 8 | int(part)
    if len(parts) != 4:
        raise ValueError(address)
    return value


def dotted(peer) -> str:
    """A peer's IPv4 address, of what accept() says: (address, port) on a chip, a packed address on the Unix port."""
    if isinstance(peer, tuple):
        return peer[0]
    return "%d.%d.%d.%d" % tuple(socket.sockaddr(peer)[1])  # type: ignore[attr-defined]  # of the Unix port only
