"""A name to an IPv4 address without blocking: the socket module's own look-up stops the event loop for seconds.

Asks a recursive server over UDP (RFC 1035) for A records and follows the aliases (CNAME) inside the answer.
"""

import os

import udp
from micropython import const

_PORT = const(53)
_A = const(1)
_IN = const(1)


def is_address(name: str) -> bool:
    """Whether this is a dotted IPv4 address already."""
    parts = name.split(".")
    return len(parts) == 4 and all(part.isdigit() and len(part) <= 3 and int(part) < 256 for part in parts)


async def resolve(name: str, server: str, timeout_ms: int = 2000, port: int = _PORT) -> str:
    """The first IPv4 address of `name` from the name server `server`; a dotted address comes back as it is.

    Asks twice before giving up.  Raises OSError where there is no answer, ValueError for a name that does not exist
    or is malformed.
    """
    if is_address(name):
        return name
    for _ in range(2):
        query = _query(name, os.urandom(2))
        found = await udp.ask(server, port, query, lambda data, _, query=query: _answer(data, query, name), timeout_ms)
        if found:
            return found
    raise OSError("no answer from name server %s for %s" % (server, name))


def _query(name: str, ident: bytes) -> bytes:
    question = b""
    for label in name.rstrip(".").split("."):
        if not 0 < len(label) < 64:
            raise ValueError("host name '%s': labels have 1 to 63 characters" % name)
        question += bytes([len(label)]) + label.encode()
    return ident + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question + b"\x00\x00\x01\x00\x01"


def _answer(data: bytes, query: bytes, name: str):
    """The first address in a reply to this query; None for something else; ValueError for an error reply."""
    if len(data) < 12 or data[:2] != query[:2] or not data[2] & 0x80:
        return None
    if data[3] & 15:
        raise ValueError("name server: %s does not exist or cannot be looked up (code %d)" % (name, data[3] & 15))
    try:
        at = 12
        for _ in range(data[4] << 8 | data[5]):
            at = _skip_name(data, at) + 4
        for _ in range(data[6] << 8 | data[7]):
            at = _skip_name(data, at)
            kind = data[at] << 8 | data[at + 1]
            group = data[at + 2] << 8 | data[at + 3]
            length = data[at + 8] << 8 | data[at + 9]
            at += 10
            if kind == _A and group == _IN and length == 4:
                return "%d.%d.%d.%d" % (data[at], data[at + 1], data[at + 2], data[at + 3])
            at += length
    except IndexError:
        raise ValueError("name server: a broken reply for %s" % name)
    raise ValueError("name server: %s has no IPv4 address" % name)


def _skip_name(data: bytes, at: int) -> int:
    """The place behind a name, whose end may be a pointer to an earlier one."""
    while True:
        length = data[at]
        if length >= 0xC0:
            return at + 2
        at += length + 1
        if not length:
            return at
