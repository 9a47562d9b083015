"""Runs under MicroPython: a board's LittleFS in a file, power that goes at a chosen flash operation, and a prompt or a start on it.

micropython -i flash_board.py prompt IMAGE CUT TORN COUNT   the ordinary prompt, for a deploy
micropython flash_board.py boot IMAGE CUT TORN COUNT CAUSE  boot.py, main.py after a reset of that cause; exit 5: machine.reset()

CUT: number of the program or erase in which power goes, 0 never; TORN: share of it in per cent that is done by then.  COUNT: a file
that is told how many there were.  Power that goes ends the process, as kill -9 does.
"""

import os
import sys

import vfs

BLOCK = 4096
RESET = 5  # exit code


class Flash:
    """The partition of the file system, as NOR flash is: an erase makes a block 0xFF, programming only clears bits."""

    def __init__(self, path, cut, torn, count):
        self._file = open(path, "r+b")
        self._blocks = self._file.seek(0, 2) // BLOCK
        self._cut = cut
        self._torn = torn
        self._count = count
        self.operations = 0

    def readblocks(self, block, buffer, offset=0):
        self._file.seek(block * BLOCK + offset)
        self._file.readinto(buffer)

    def writeblocks(self, block, buffer, offset=0):
        part = self._power(len(buffer))
        self._file.seek(block * BLOCK + offset)
        there = self._file.read(part)
        self._file.seek(block * BLOCK + offset)
        self._file.write(bytes([there[i] & buffer[i] for i in range(part)]))
        self._after()

    def ioctl(self, request, argument):
        if request == 4:
            return self._blocks
        if request == 5:
            return BLOCK
        if request == 6:
            part = self._power(BLOCK)
            self._file.seek(argument * BLOCK)
            self._file.write(b"\xff" * part)
            self._after()
        return 0

    def _power(self, size):
        self.operations += 1
        return size * self._torn // 100 if self.operations == self._cut else size

    def _after(self):
        if self.operations == self._cut:
            self._file.flush()
            os.system("kill -9 $PPID")

    def close(self):
        """Tell how many there were."""
        self._file.flush()
        with vfs_of_host.open(self._count, "w") as file:
            file.write("%d" % self.operations)


def start_as(cause):
    """What a chip has, as far as a start goes."""

    class Machine:
        WDT_RESET = 3
        PWRON_RESET = 1

        class WDT:
            def __init__(self, id=0, timeout=0):
                pass

            def feed(self):
                pass

        class Pin:
            IN = OUT = 0

            def __init__(self, *given, **more):
                pass

        @staticmethod
        def reset_cause():
            return cause

        @staticmethod
        def reset():
            flash.close()
            sys.exit(RESET)

    class Esp32:
        class Partition:
            TYPE_DATA = 1

            @staticmethod
            def find(*given, **more):
                return []

    sys.modules["machine"] = Machine
    sys.modules["esp32"] = Esp32


mode, image, cut, torn, count = sys.argv[1:6]
vfs_of_host = vfs.VfsPosix("/")
flash = Flash(image, int(cut), int(torn), count)
vfs.umount("/")
vfs.mount(vfs.VfsLfs2(flash, readsize=512), "/")
os.chdir("/")
sys.path[:] = ["", ".frozen", "/lib"]
start_as(1 if mode == "prompt" else int(sys.argv[6]))
if mode == "boot":
    try:
        for name in ("boot.py", "main.py"):
            with open(name) as file:
                exec(compile(file.read(), name, "exec"), globals())
    finally:
        flash.close()
