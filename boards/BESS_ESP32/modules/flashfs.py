"""The board's file system: mounted at boot, made where the flash never held one, left for a person where it is damaged."""

import os

import vfs

_BLOCK_BYTES = 5  # question to a block device: bytes of a block
_BLOCKS = 4  # how many there are
_SUPERBLOCKS = 2  # of LittleFS, at the start: nothing else is written when a file system is made


def mount(device) -> str:
    """The file system of a block device at "/"; "" when it is there, else why it is not.  Nothing is raised or tried again.

    One that cannot be mounted is made anew only where nothing was ever stored: a flash that is erased, or one on which
    making it was cut short.
    """
    if device is None:
        return "there is no partition for a file system"
    try:
        vfs.mount(vfs.VfsLfs2(device), "/")
        return ""
    except OSError as error:
        problem = "the file system is damaged (%s)" % error
    try:
        if _is_unused(device):
            make(device)
            return ""
    except OSError as error:
        problem = "the flash cannot be read or written (%s)" % error
    return problem


def make(device) -> None:
    """An empty file system, mounted at "/"; all that was stored is lost.  OSError where the flash cannot be written."""
    try:
        vfs.umount("/")
    except OSError:
        pass  # none was mounted
    vfs.VfsLfs2.mkfs(device)
    vfs.mount(vfs.VfsLfs2(device), "/")
    os.chdir("/")


def _is_unused(device) -> bool:
    """True where no block beyond the superblocks was ever written."""
    block = bytearray(device.ioctl(_BLOCK_BYTES, 0))
    erased = b"\xff" * len(block)
    for number in range(_SUPERBLOCKS, device.ioctl(_BLOCKS, 0)):
        device.readblocks(number, block)
        if block != erased:
            return False
    return True
