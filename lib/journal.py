"""A log of text lines in flash: bounded, rotated, appended to in batches, and whole after any power cut.

Every call of the file system may erase a block of flash, which stops a chip for up to 80 ms: `steps` gives them one by one.
Lines wait in RAM until `flush`, since every append costs an erase of flash.  NAME is filled up to its limit, then
becomes NAME.1 (the one before it NAME.2 ...), and the oldest goes.  Every line carries a checksum, so that a damaged
one is left out and counted, and the others stay readable.
"""

import os
from binascii import crc32

from safestore import in_pieces


class Journal:
    """Lines in at most `files` files of about `limit` bytes each; `waiting` bounds the lines kept in RAM."""

    def __init__(self, path: str, limit: int = 8192, files: int = 2, waiting: int = 64, wear=None) -> None:
        self.path = path
        self.lost = 0  # lines dropped because too many waited
        self.damaged = 0  # lines left out at the last reading
        self._limit = limit
        self._files = files
        self._waiting: list = []
        self._writing = 0  # how many of them the flush under way writes
        self._is_whole = False  # it is known that the file ends with a line's end
        self._most_waiting = waiting
        self._wear = wear

    def append(self, line: str) -> None:
        """Takes a line (without line breaks) to be written at the next flush."""
        if "\n" in line or "\r" in line:
            raise ValueError("a line of a journal cannot hold line breaks")
        if len(self._waiting) - self._writing >= self._most_waiting:
            self._waiting.pop(self._writing)
            self.lost += 1
        self._waiting.append(line)

    @property
    def waiting(self) -> int:
        """Lines not yet in flash."""
        return len(self._waiting)

    def flush(self) -> None:
        """Writes the waiting lines, all of them or (after a power cut) none.  OSError or MemoryError leaves them waiting."""
        for _ in self.steps():
            pass

    def steps(self):
        """flush() as a generator that stops before each step; a step erases flash at most once.

        Lines that come meanwhile wait for the next flush; while one is under way another does nothing.  Where the heap has no
        piece for all of them, a part goes after the other: what waits for such a piece may wait for ever.
        """
        if self._writing:
            return
        left = most = len(self._waiting)
        while left > 0 and self._waiting:
            count = min(left, most, len(self._waiting))
            try:
                yield from self._batch(count)
                left -= count
            except MemoryError:
                most = count // 4
                if not most:
                    raise

    def _batch(self, count: int):
        """Writes so many of them, or (after a power cut) none."""
        self._writing = count
        sealed: list = []
        size = torn = 0
        try:
            yield
            sealed = [_sealed(self._waiting[i]) for i in range(self._writing)]
            data = b"".join(sealed)
            size = _size(self.path)
            if size and size + len(data) > self._limit:
                yield from self._rotation()
                size = 0
                yield
            if size and not self._is_whole and _last(self.path, size) != b"\n":
                torn = 1  # what a write that failed has left: nothing stands behind it in one line
                data = b"\n" + data
            self._is_whole = False
            yield from _append(self.path, data)
            self._is_whole = True
        finally:
            self._written(sealed, size + torn)
        if self._wear is not None:
            self._wear.wrote(len(data), size)

    def _written(self, sealed: list, size: int) -> None:
        """The flush is over: what is whole in the file, which had so many bytes before, waits no more, even if it failed."""
        self._writing = 0
        reached = _size(self.path) - size
        for line in sealed:
            reached -= len(line)
            if reached >= 0:
                self._waiting.pop(0)
        while len(self._waiting) > self._most_waiting:
            self._waiting.pop(0)
            self.lost += 1

    def _rotation(self):
        """Moves every file one on; the oldest is replaced by the one before it."""
        first = True
        for n in range(self._files - 1, 0, -1):
            younger = self._name(n - 1)
            if _size(younger):
                if not first:
                    yield
                first = False
                os.rename(younger, self._name(n))

    def _name(self, n: int) -> str:
        return "%s.%d" % (self.path, n) if n else self.path

    def files(self) -> list:
        """(path, bytes) of every file there is, oldest first."""
        found = []
        for n in range(self._files - 1, -1, -1):
            size = _size(self._name(n))
            if size:
                found.append((self._name(n), size))
        return found

    def lines(self):
        """Every line, oldest first; those still waiting come last.  Reads as it goes and holds one line at a time."""
        self.damaged = 0
        for n in range(self._files - 1, -1, -1):
            try:
                file = open(self._name(n), "rb")
            except OSError:
                continue
            try:
                for raw in file:
                    line = _unsealed(raw)
                    if line is None:
                        self.damaged += 1
                    else:
                        yield line
            finally:
                file.close()
        for line in self._waiting[:]:
            yield line


def _append(path: str, data: bytes):
    """Writes behind a file's end; a generator that stops between two steps."""
    file = open(path, "ab")
    try:
        yield
        file.write(data[:1])  # LittleFS copies the file's last block for it: the rest may need another one
        yield from in_pieces(file, data, 1)
    finally:
        file.close()


def _last(path: str, size: int) -> bytes:
    """A file's last byte."""
    with open(path, "rb") as file:
        file.seek(size - 1)
        return file.read(1)


def _sealed(line: str) -> bytes:
    data = line.encode()
    return b"%08x %s\n" % (crc32(data), data)


def _unsealed(raw: bytes):
    """The text of a stored line; None where it is damaged."""
    if raw[8:9] != b" " or raw[-1:] != b"\n" or b"%08x" % crc32(raw[9:-1]) != raw[:8]:
        return None
    try:
        return raw[9:-1].decode()
    except (UnicodeError, ValueError):
        return None


def _size(path: str) -> int:
    try:
        return os.stat(path)[6]
    except OSError:
        return 0
