"""Rows of a fixed size in flash, numbered from 0 on: bounded, hardly wearing, and whole after any power cut.

A row is first a tiny file of its own, one of several in turn: LittleFS keeps what is that small inside its directory, and
erases less than a block for ten of them.  When all of these are taken, their rows go together behind the newest file of rows,
NAME.0, NAME.1 ..., and the oldest file goes.  Whatever is cut short leaves either what was or what was to be.

A row's checksum is begun with its number, so a row at another one's place is damaged too: it is left out and counted.
"""

import os
from binascii import crc32

from micropython import const
from safestore import in_pieces

_SEAL = const(4)  # bytes behind each row
_TINY = const("tail")  # the folder of the tiny files: in one with others these would grow its log, two erases in a step
_AT_ONCE = const(16)  # rows read in one go


class RowLog:
    """Rows of `size` bytes as NAME.* in `folder`: `files` files of `per_file` rows each; `tail`: of rows with a file each.

    `begin` it before anything else.  `next`: the number of the next row; `first`: the oldest that is there.
    A row and its checksum are at most 128 bytes, and `tail` is at most `per_file`.
    """

    def __init__(self, folder: str, name: str, size: int, per_file: int, files: int, tail: int, wear=None) -> None:
        self.first = self.next = 0
        self.lost = 0  # rows not taken, because the flash took none for so long
        self.damaged = 0  # rows left out when they were read
        self._path = folder + "/" + name
        self._folder = folder
        self._name = name
        self._row = size + _SEAL
        self._per_file = per_file
        self._files = files
        self._tail = tail
        self._most = 2 * tail
        self._rows = bytearray(self._most * self._row)  # from _stored to next, each at its number modulo _most
        self._stored = 0  # rows up to here are in the files of rows,
        self._kept = 0  # and up to here in tiny ones
        self._wear = wear

    # ---- at start -------------------------------------------------------------------------------------

    def begin(self, least: int = 0) -> None:
        """Look at what is there.  The next row has at least this number."""
        try:
            os.mkdir(self._folder + "/" + _TINY)
        except OSError:
            pass  # it is there
        numbers = []
        begun = self._name + "."
        for name in os.listdir(self._folder):
            if name.startswith(begun) and name[len(begun) :].isdigit():
                numbers.append(int(name[len(begun) :]))
        self.first = self._stored = 0
        if numbers:
            self.first = min(numbers) * self._per_file
            last = max(numbers)
            size = _size(self._file(last))
            self._stored = last * self._per_file + size // self._row
            if size > self._per_file * self._row or (size % self._row and not self._is_begun(size % self._row)):
                self._stored = (last + 1) * self._per_file  # damaged at its end: nothing goes behind it
        self.next = self._stored
        while self.next - self._stored < self._tail and self._read_tiny(self.next):
            self.next += 1
        if self.next < least:  # files were removed, or are damaged
            self._stored = self.next = -(-least // self._per_file) * self._per_file
            if not numbers:
                self.first = self.next
        self._kept = self.next

    def _is_begun(self, rest: int) -> bool:
        """Whether the newest file ends with the begin of the next row, which a write that failed has left: the others follow it."""
        number = self._stored
        if not self._read_tiny(number):
            return False
        at = number % self._most * self._row
        with open(self._file(number // self._per_file), "rb") as file:
            file.seek(number % self._per_file * self._row)
            return file.read(rest) == self._rows[at : at + rest]

    def _read_tiny(self, number: int) -> bool:
        try:
            with open(self._tiny(number), "rb") as file:
                row = file.read(self._row + 1)
        except OSError:
            return False
        if len(row) != self._row or not _is_whole(row, number):
            return False  # an older one, of rows that were stored since
        at = number % self._most * self._row
        self._rows[at : at + self._row] = row
        return True

    # ---- writing --------------------------------------------------------------------------------------

    def append(self, row) -> bool:
        """Take a row, to be kept by the next `steps`.

        False, and it is lost, where the flash has taken none for `tail` rows, or there is no heap for its checksum.
        """
        if self.next - self._stored >= self._most:
            self.lost += 1
            return False
        at = self.next % self._most * self._row
        seal = at + self._row - _SEAL
        try:
            self._rows[seal : seal + _SEAL] = crc32(row, self.next).to_bytes(_SEAL, "little")
        except MemoryError:
            self.lost += 1
            return False
        self._rows[at:seal] = row
        self.next += 1
        return True

    @property
    def waiting(self) -> int:
        """Rows that are not in flash yet."""
        return self.next - self._kept

    @property
    def is_full(self) -> bool:
        """Every tiny file is taken: the next `steps` writes them to the file of rows."""
        return self.next - self._stored >= self._tail

    def steps(self):
        """Keep the rows that wait: a generator that stops before each step, which erases flash once at most.

        OSError leaves them waiting.
        """
        while True:
            if self._kept - self._stored >= self._tail:
                yield
                yield from self._store()
            elif self._kept < self.next:
                yield
                yield from self._keep()
            else:
                return

    def _keep(self):
        """Write the oldest row that waits into a tiny file."""
        at = self._kept % self._most * self._row
        file = open(self._tiny(self._kept), "wb")
        try:
            yield
            file.write(self._rows[at : at + self._row])
            yield
        finally:
            file.close()
        self._kept += 1
        if self._wear is not None:
            self._wear.wrote(self._row)

    def _store(self):
        """Move rows from the tiny files behind the newest file of rows."""
        number = self._stored // self._per_file
        inside = self._stored % self._per_file
        count = min(self._tail, self._per_file - inside)
        size = _size(self._file(number))
        done = size - inside * self._row  # of these rows, by a write that failed half way
        if not 0 <= done <= count * self._row:
            raise OSError("%s: %d bytes: must have %d" % (self._file(number), size, inside * self._row))
        if not inside and number - self.first // self._per_file >= self._files:
            yield from self._drop(number)
        data = self._block(self._stored, count)
        file = open(self._file(number), "ab")
        try:
            yield
            file.write(data[done : done + 1])  # LittleFS copies the file's last block for it: the rest may need another one
            yield from in_pieces(file, data, done + 1)
        finally:
            file.close()
        self._stored += count
        if self._wear is not None:
            self._wear.wrote(len(data) - done, size)

    def _drop(self, number: int):
        """Remove what is too old beside a new file."""
        while number - self.first // self._per_file >= self._files:
            try:
                os.remove(self._file(self.first // self._per_file))
            except OSError:
                pass  # it was not there
            self.first += self._per_file
            yield

    def _file(self, number: int) -> str:
        return "%s.%d" % (self._path, number)

    def _tiny(self, number: int) -> str:
        return "%s/%s/%s.%d" % (self._folder, _TINY, self._name, number % self._tail)

    # ---- reading --------------------------------------------------------------------------------------

    def row(self, number: int):
        """One row; None where it is damaged or not there."""
        found = self._block(number, 1)
        return found[: self._row - _SEAL] if len(found) == self._row and _is_whole(found, number) else None

    def rows(self, number: int = 0):
        """(number, row) of every row from `number` on, oldest first; (number, None) where one is damaged.

        Rows may come and go meanwhile: no file stays open between two of them.
        """
        number = max(number, self.first)
        while number < self.next:
            count = min(_AT_ONCE, self.next - number, self._per_file - number % self._per_file)
            if number < self._stored:
                count = min(count, self._stored - number)
            data = self._block(number, count)
            for i in range(count):
                row = data[i * self._row : (i + 1) * self._row]
                if len(row) == self._row and _is_whole(row, number + i):
                    yield number + i, row[:-_SEAL]
                else:
                    self.damaged += 1
                    yield number + i, None
            number = max(number + count, self.first)

    def _block(self, number: int, count: int) -> bytes:
        """Rows as they are stored; fewer where they are not there."""
        if number >= self._stored:
            count = min(count, self.next - number)
            at = [(number + i) % self._most * self._row for i in range(count)]
            return b"".join([bytes(self._rows[place : place + self._row]) for place in at])
        try:
            with open(self._file(number // self._per_file), "rb") as file:
                file.seek(number % self._per_file * self._row)
                return file.read(count * self._row)
        except OSError:
            return b""


def _is_whole(row, number: int) -> bool:
    return crc32(row[:-_SEAL], number).to_bytes(_SEAL, "little") == row[-_SEAL:]


def _size(path: str) -> int:
    try:
        return os.stat(path)[6]
    except OSError:
        return 0
