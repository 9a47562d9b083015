"""A name below /tmp that no other process has: the same test runs on several interpreters at a time."""

import os
from binascii import hexlify


def place(name: str) -> str:
    """The path of a file or folder that is not there yet."""
    return "/tmp/%s-%s" % (name, hexlify(os.urandom(6)).decode())
