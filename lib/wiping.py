"""Erases files for good, step by step: removed, and all that the file system has free overwritten.

A flash file system forgets a file and leaves its bytes where they are: in blocks that are free now, and small files in the
directory's own log.  So after `remove` comes `overwrite`.  Each generator stops before each step; a step erases flash at
most once.
"""

import os

from micropython import const

_DIRECTORY = const(0x4000)  # of os.stat()'s mode
_PIECE = const(2048)  # bytes written in one step: fewer than a block has
_SMALL = const(100)  # bytes of a file that lies in its directory's log
_TURNS = const(90)  # so many of them: the two blocks of that log are each written anew twice and more
_LARGEST = const(0x4000000)  # bytes of a board's flash
_FILLER = const("wiping")


def found(place: str) -> list:
    """(path, is it a directory) of everything in a directory; `place` is "" or ends with /."""
    entries = []
    for name in sorted(os.listdir(place or ".")):
        path = place + name
        entries.append((path, bool(os.stat(path)[0] & _DIRECTORY)))
    return entries


def remove(path: str, is_directory: bool):
    """Remove a file, or a directory with everything in it."""
    if is_directory:
        for inside, deeper in found(path + "/"):
            yield from remove(inside, deeper)
    yield
    (os.rmdir if is_directory else os.remove)(path)


def overwrite(places: list):
    """Overwrite what is free, and the logs of these directories ("" or ending with /), whose files were removed.

    Gives at every step how much of it is done, 0 to 99 %.
    """
    state = os.statvfs(".")
    free = state[0] * state[3]
    if free > _LARGEST:
        return  # the disk of a laptop, on which a board is simulated
    turns = _TURNS * len(places)
    for n in range(turns):
        path = "%s%s%d" % (places[n // _TURNS], _FILLER, n)
        yield n * 9 // turns
        file = open(path, "wb")
        try:
            yield n * 9 // turns
            file.write(bytes([n & 0xFF]) * _SMALL)
            yield n * 9 // turns
        finally:
            file.close()
        yield n * 9 // turns
        os.remove(path)
    yield 9
    piece = b"\xa5" * _PIECE
    written = 0
    file = open(_FILLER, "wb")
    try:
        while True:
            yield min(99, 9 + written // (free // 90 + 1))
            if file.write(piece) != _PIECE:
                break
            written += _PIECE
    except OSError:
        pass  # it is full: that was the aim
    finally:
        try:
            file.close()
        except OSError:
            pass
        os.remove(_FILLER)
