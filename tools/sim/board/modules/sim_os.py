"""os as on a board whose flash is LittleFS: `ilistdir` tells sizes, which the Unix port's own does not."""

import uos
from uos import *  # noqa: F403

_FOLDER = 0x4000


def ilistdir(path: str = "."):
    """(name, type, inode, size) of everything in a folder; a folder's size is 0."""
    before = path if path[-1:] == "/" else path + "/"
    for entry in uos.ilistdir(path or "."):
        name = entry[0]
        yield name, entry[1], 0, 0 if entry[1] == _FOLDER else uos.stat(before + name if path else name)[6]


def listdir(path: str = ".") -> list:
    """The names in a folder."""
    return [entry[0] for entry in uos.ilistdir(path)]
