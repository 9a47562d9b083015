"""HMAC-SHA256 (RFC 2104): who has the key has made it."""

import hashlib
from binascii import hexlify

from micropython import const

_BLOCK = const(64)


def digest(key: bytes, message: bytes) -> str:
    """The HMAC of a message, in hexadecimal."""
    if len(key) > _BLOCK:
        key = hashlib.sha256(key).digest()
    key = key + bytes(_BLOCK - len(key))
    inner = hashlib.sha256(bytes([byte ^ 0x36 for byte in key]))
    inner.update(message)
    outer = hashlib.sha256(bytes([byte ^ 0x5C for byte in key]))
    outer.update(inner.digest())
    return hexlify(outer.digest()).decode()


def equal(one: str, other: str) -> bool:
    """Whether two digests are the same, in a time that does not tell where they differ."""
    if len(one) != len(other):
        return False
    differ = 0
    for i in range(len(one)):
        differ |= ord(one[i]) ^ ord(other[i])
    return differ == 0
