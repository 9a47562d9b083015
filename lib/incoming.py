"""A new generation as it arrives: what is there already is taken over, the rest is written, then one step makes it the next start.

`make deploy` and the update service do so in this order: write() and end() for the manifest, as MANIFEST; work() until it is
through; write() and end() for each file of lacking(); finish().  All three are generators that stop between calls of the file
system: from one stop to the next no more than one block of flash is erased.  A power cut anywhere leaves the generation that
runs as it is; begun again, what has arrived stays.  Of hundreds of files the heap holds numbers, never paths: it has to do
beside a site that runs.
"""

import json
import os
import sys
import time
from array import array

import generations
import ubinascii
from micropython import const

MANIFEST = "manifest.new"
_TREES = const(("firmware", "lib"))
_PIECE = const(1024)  # bytes copied in one step
_LINES = const(8)  # of a manifest read in one step
_SPARE = const(8)  # blocks that must stay free
_INLINE = const(512)  # bytes that LittleFS keeps beside a name, at most
_QUIET_MS = const(20000)  # of who writes: then another may begin
_DIRECTORY = const(0x4000)  # of a mode
_OWN = const("_mpy")  # of sys.implementation: what .mpy files this machine takes; the documented name of MicroPython's
_MACHINE = const(0x2F)  # bits of it; 0x10 says that more of it follows
_OTHER = const("another deploy or update is under way: wait for its end")
_MANIFEST_MOST = const(0xFFFF)  # bytes that an array of "H" can point into

_writing = [None, 0]  # whether who writes keeps what is there (it is then the update service, else a deploy), and when he did last


class Refused(Exception):
    """It cannot be taken; the text says why."""


class Incoming:
    """One generation on its way into `place`.

    `running`: the folder of the generation that runs meanwhile, None where none does.  keep: site file and tables are
    taken over from it.
    """

    def __init__(self, running=None, keep: bool = False) -> None:
        if _writing[0] == (not keep) and 0 <= time.ticks_diff(time.ticks_ms(), _writing[1]) < _QUIET_MS:
            raise Refused(_OTHER)
        _writing[0] = keep
        generations.load()
        self.place = generations.target()
        self._missing = array("H")  # of what must be sent: where its line of the manifest begins
        self.kept = 0  # files that were there
        self.copied = 0  # files taken from the generation that runs
        self._piece = bytearray(_PIECE)
        self._file = None
        self._keep = keep
        self._kept_at = 0  # of what is taken over: where its lines of the manifest begin
        if running is not None and running.rstrip("/") == self.place:
            raise Refused("the generation that runs is on trial: wait for the end of its self-test")

        _mkdir(self.place)

    # ---- what arrives ------------------------------------------------------------------------------------

    def write(self, path: str, data: bytes) -> None:
        """The next piece of a file: the first begins it, end() closes it.  Refused where another writes here meanwhile."""
        self._go_on()
        if self._file is None:
            self._file = open("%s/%s" % (self.place, path), "wb")
        self._file.write(data)

    def _go_on(self) -> None:
        if _writing[0] != self._keep:
            raise Refused(_OTHER)
        _writing[1] = time.ticks_ms()

    def end(self) -> None:
        """The file that was written is whole."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def is_for_here(self, path: str) -> bool:
        """A module that has arrived has no machine code, or this machine's: the third byte of a .mpy, as mpy-cross writes it."""
        if not path.endswith(".mpy"):
            return True
        with open("%s/%s" % (self.place, path), "rb") as file:
            head = file.read(3)
        return len(head) == 3 and head[2] >> 2 & _MACHINE in (0, getattr(sys.implementation, _OWN) >> 10 & _MACHINE)

    # ---- what is there -----------------------------------------------------------------------------------

    def work(self):
        """Take over what is there: a generator; then lacking() says what must be written.  Refused where it has no space."""
        self._missing = array("H")
        self.kept = self.copied = 0
        theirs: set = set()
        others: list = []
        yield from self._read_theirs(theirs, others)
        if self._keep:
            yield from self._take_over(theirs, others)
        yield from _clear_old()
        place = self.place
        _remove(place + "/manifest")  # from now on it is not whole
        yield
        yield from self._tidy_all()
        others = yield from self._differing()
        self._missing = array("H")
        for at in others:
            sha, _, path = self._line(at)
            if _mark(path, sha) in theirs:
                yield from self._copy(path)
                if generations.digest(place + "/" + path, self._piece) == sha:
                    self.copied += 1
                    continue
            self._missing.append(at)
            yield
        yield from self._check_kept()

    def _differing(self):
        """Where the lines are of what is not there as it should be.  Refused where the flash has no space for that."""
        others = array("H")
        needed = _SPARE
        for at, sha, size, path in self._lines():
            yield
            there = self.place + "/" + path
            if generations.digest(there, self._piece) == sha:
                self.kept += 1
            else:
                others.append(at)
                needed += _blocks(size)
                size = _size(there)  # what it takes the place of gives its own
                needed -= _blocks(size) if size > _INLINE else 0
        yield
        # it passes over the whole file system, once: as long as a folder that is divided (docs/deploy.md, Gaps)
        free = _free_blocks() if len(others) else None
        if free is not None and needed > free:
            _remove(self.place + "/" + MANIFEST)
            raise Refused("%d KB are needed on the flash, %d KB are free" % (4 * needed, 4 * free))
        yield
        return others

    def give_up(self):
        """Remove what has arrived, as the flash is full: a generator.  A generation that is still whole here stays."""
        try:
            self.end()
        except OSError:
            pass  # what was written last has no space
        _remove(self.place + "/" + MANIFEST)
        yield
        if not _size(self.place + "/manifest"):
            yield from clear(self.place)

    def lacking(self):
        """(path, bytes, SHA-256) of what must be sent."""
        for at in self._missing:
            sha, size, path = self._line(at)
            yield path, size, sha

    def _line(self, at: int) -> tuple:
        with open(self.place + "/" + MANIFEST, "rb") as file:
            file.seek(at)
            return _entry(file.readline())

    def _lines(self, at: int = 0):
        """(where it begins, SHA-256, bytes, path) of every file of the manifest, or of those from one line on."""
        with open(self.place + "/" + MANIFEST, "rb") as file:
            file.seek(at)
            at = at or len(file.readline())
            for line in file:
                sha, size, path = _entry(line)
                self._go_on()
                yield at, sha, size, path
                at += len(line)
                if at > _MANIFEST_MOST:
                    raise Refused("a manifest of more than %d bytes" % _MANIFEST_MOST)

    def _tidy_all(self):
        """Remove what does not belong here, and make the folders that are not there."""
        place = self.place
        wanted: set = set()
        folders: set = set()
        for _, _, _, path in self._lines():
            wanted.add(_mark(path))
            if "/" in path:
                folders.add(path[: path.rfind("/")])
            if len(wanted) % _LINES == 0:
                yield
        yield from self._tidy(place, wanted)
        for folder in sorted(folders):
            made = place
            for part in folder.split("/"):
                made += "/" + part
                if _mkdir(made):
                    yield
            yield

    def _read_theirs(self, found: set, others: list):
        """Of the generation that is kept: marks of its files into found, the paths that are no modules into others."""
        record = generations.record
        self._from = ""
        if record is None:
            return
        self._from = generations.FOLDERS[0] if self.place != generations.FOLDERS[0] else generations.FOLDERS[1]
        try:
            with open(self._from + "/manifest", "rb") as file:
                file.readline()
                for line in file:
                    sha, _, path = _entry(line)
                    found.add(_mark(path, sha))
                    if path.split("/")[0] not in _TREES:
                        others.append(path)
                    if len(found) % _LINES == 0:
                        yield
        except OSError:
            pass  # it is at the top

    def _take_over(self, theirs: set, others: list):
        """Into the manifest what the generation that runs has besides modules, as it is now: people may have changed its site."""
        self._kept_at = _size(self.place + "/" + MANIFEST)
        for path in sorted(others):
            source = "%s/%s" % (self._from, path)
            sha = generations.digest(source, self._piece)
            if not sha:
                raise Refused("%s cannot be read, and belongs to what runs: deploy by wire" % source)
            theirs.add(_mark(path, sha))
            yield
            size = os.stat(source)[6]
            file = open(self.place + "/" + MANIFEST, "ab")
            try:
                yield
                file.write(b"%s %d %s\n" % (sha.encode(), size, path.encode()))
                yield
            finally:
                file.close()
            yield

    def _check_kept(self):
        """Refused where people have changed their site since it was taken over: it would be lost."""
        for _, sha, _, path in self._lines(self._kept_at) if self._keep else ():
            source = "%s/%s" % (self._from, path)
            if generations.digest(source, self._piece) != sha:
                raise Refused("%s was changed meanwhile: send it again" % source)
            yield

    def is_of(self, number: int) -> bool:
        """Whether the manifest that has arrived is of that number."""
        try:
            with open(self.place + "/" + MANIFEST) as file:
                return json.loads(file.readline())["number"] == number
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _copy(self, path: str):
        with open("%s/%s" % (self._from, path), "rb") as source:
            self.write(path, b"")
            yield
            try:
                while True:
                    n = source.readinto(self._piece)
                    if not n:
                        break
                    self._file.write(memoryview(self._piece)[:n])
                    yield
            finally:
                self.end()
        yield

    def _tidy(self, folder: str, wanted: set):
        """Remove what an earlier generation has left."""
        folders = []
        leftover = []
        for number, entry in enumerate(os.ilistdir(folder)):
            path = folder + "/" + entry[0]
            if entry[1] & _DIRECTORY:
                folders.append(path)
            elif _mark(path[len(self.place) + 1 :]) not in wanted and path != self.place + "/" + MANIFEST:
                leftover.append(path)
            if number % _LINES == 0:
                yield
        for path in leftover:
            os.remove(path)
            yield
        for path in folders:
            yield from self._tidy(path, wanted)
            if not _holds(path):
                os.rmdir(path)
            yield

    # ---- the end -----------------------------------------------------------------------------------------

    def finish(self):
        """Check what was missing, and make this generation the next start: a generator.  Refused where a file is damaged."""
        self._go_on()
        self.end()
        place = self.place
        for path, _, sha in self.lacking():
            if generations.digest(place + "/" + path, self._piece) != sha:
                raise Refused("%s: did not arrive as it was sent" % path)
            yield
        yield from self._check_kept()
        os.rename(place + "/" + MANIFEST, place + "/manifest")
        yield
        yield from generations.saving(generations.switched(place))
        _writing[0] = None


def _mark(path: str, sha: str = "") -> int:
    """A number for a path, and for what is in it, that no heap is needed for.  Two with the same one, once in a thousand million
    pairs, cost a file's copying, which its SHA-256 then finds to be another's, or leave one that nobody needs."""
    return ubinascii.crc32((path + sha).encode()) & 0x3FFFFFFF


def _entry(line: bytes) -> tuple:
    """(SHA-256, bytes, path) of a manifest's line.  Refused for a path that would leave the generation's folder."""
    sha, size, path = line.decode().rstrip().split(" ", 2)
    if path[0] == "/" or ".." in path:
        raise Refused("%s: is no path of a generation" % path)
    return sha, int(size), path


def settle() -> None:
    """At boot, where a generation may arrive in operation: LittleFS passes over everything at the first write after a start."""
    with open(MANIFEST, "wb") as file:
        file.write(bytes(_PIECE))  # beyond what it keeps beside the name: it needs a block
    os.remove(MANIFEST)


def _clear_old():
    """Remove what a deploy before there were generations has left at the top, once nothing needs it."""
    record = generations.record
    if record is None or record["trial"] or not record["now"]["folder"]:
        return
    if record["before"] is not None and not record["before"]["folder"]:
        return
    for tree in ("firmware", "lib") if record["now"]["code"] else ():
        yield from clear(tree)


def clear(folder: str, kept: tuple = ()):
    """Remove a folder, but for the files that are to be kept: a generator."""
    try:
        entries = list(os.ilistdir(folder))
    except OSError:
        return
    for entry in entries:
        path = folder + "/" + entry[0]
        if entry[1] & _DIRECTORY:
            yield from clear(path, kept)
        elif path not in kept:
            os.remove(path)
            yield
    if not os.listdir(folder):
        os.rmdir(folder)
        yield


def replace(name: str) -> None:
    """A file at the top that has arrived as name.new takes its place, in one step."""
    os.rename(name + ".new", name)


def _mkdir(path: str) -> bool:
    try:
        os.mkdir(path)
        return True
    except OSError:
        return False  # it is there


def _holds(folder: str) -> bool:
    """There is something in a folder."""
    for _ in os.ilistdir(folder):
        return True
    return False


def _remove(path: str) -> None:
    try:
        os.remove(path)
    except OSError:
        pass  # it is not there


def _blocks(size: int) -> int:
    return (size + 4095) // 4096


def _size(path: str) -> int:
    """Bytes of a file, 0 where there is none."""
    try:
        return os.stat(path)[6]
    except OSError:
        return 0


def _free_blocks():
    try:
        state = os.statvfs(".")
    except (OSError, AttributeError):
        return None
    return state[3] if state[3] <= state[2] else 0  # LittleFS counts some blocks twice: less than none
