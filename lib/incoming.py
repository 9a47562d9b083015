"""A new generation as it arrives: what is there already is taken over, the rest is written, then one step makes it the next start.

`make deploy` and the update service do so in this order: write() and end() for the manifest, as MANIFEST; work() until it is
through; write() and end() for each file that it has found `missing`; finish().  work() and finish() are generators that stop
between calls of the file system: from one stop to the next no more than one block of flash is erased.  A power cut anywhere
leaves the generation that runs as it is; begun again, what has arrived stays.
"""

import json
import os

import generations

MANIFEST = "manifest.new"
_TREES = ("firmware", "lib")
_PIECE = 1024  # bytes copied in one step
_LINES = 8  # of a manifest read in one step
_SPARE = 8  # blocks that must stay free
_DIRECTORY = 0x4000  # of a mode


class Refused(Exception):
    """It cannot be taken; the text says why."""


class Incoming:
    """One generation on its way into `place`.

    `running`: the folder of the generation that runs meanwhile, None where none does.  keep: site file and tables are
    taken over from it.
    """

    def __init__(self, running=None, keep: bool = False) -> None:
        generations.load()
        self.place = generations.target()
        self.missing: list = []  # [path, bytes, SHA-256] of what must be sent
        self.kept = 0  # files that were there
        self.copied = 0  # files taken from the generation that runs
        self._piece = bytearray(_PIECE)
        self._file = None
        self._keep = keep
        self._stands = running is None
        if running is not None and running.rstrip("/") == self.place:
            raise Refused("the generation that runs is on trial: wait for the end of its self-test")

        _mkdir(self.place)

    # ---- what arrives ------------------------------------------------------------------------------------

    def write(self, path: str, data: bytes) -> None:
        """The next piece of a file: the first begins it, end() closes it."""
        if self._file is None:
            self._file = open("%s/%s" % (self.place, path), "wb")
        self._file.write(data)

    def end(self) -> None:
        """The file that was written is whole."""
        if self._file is not None:
            self._file.close()
            self._file = None

    # ---- what is there -----------------------------------------------------------------------------------

    def work(self):
        """Take over what is there: a generator; then `missing` says what must be written.  Refused where it has no space."""
        self.missing = []
        self.kept = self.copied = 0
        theirs: dict = {}
        yield from self._read_theirs(theirs)
        if self._keep:
            yield from self._take_over(theirs)
        yield from _clear_old()
        place = self.place
        _remove(place + "/manifest")  # from now on it is not whole
        yield
        wanted = set()
        for _, _, path in self._lines():
            wanted.add(path)
            if len(wanted) % _LINES == 0:
                yield
        yield from self._tidy(place, wanted)
        folders = sorted({path[: path.rfind("/")] for path in wanted if "/" in path})
        for folder in folders:
            made = place
            for part in folder.split("/"):
                made += "/" + part
                if _mkdir(made):
                    yield
            yield
        lacking = 0
        for sha, size, path in self._lines():
            yield
            if generations.digest(place + "/" + path, self._piece) == sha:
                self.kept += 1
                continue
            if theirs.get(path) == sha[:16]:
                yield from self._copy(path)
                if generations.digest(place + "/" + path, self._piece) == sha:
                    self.copied += 1
                    continue
            self.missing.append([path, size, sha])
            lacking += (size + 4095) // 4096
        # in operation nobody asks: it passes over everything; where there is no space, writing says so
        free = _free_blocks() if self._stands else None
        if free is not None and lacking + _SPARE > free:
            raise Refused("%d KB are needed on the flash, %d KB are free" % (4 * (lacking + _SPARE), 4 * free))

    def _lines(self):
        """[SHA-256, bytes, path] of every file of the manifest."""
        with open(self.place + "/" + MANIFEST) as file:
            file.readline()
            for line in file:
                sha, size, path = line.rstrip().split(" ", 2)
                if path[0] == "/" or ".." in path:
                    raise Refused("%s: is no path of a generation" % path)
                yield sha, int(size), path

    def _read_theirs(self, found: dict):
        """Into found: {path: the beginning of its SHA-256} of the generation that is kept."""
        record = generations.record
        self._from = ""
        if record is None:
            return
        self._from = generations.FOLDERS[0] if self.place != generations.FOLDERS[0] else generations.FOLDERS[1]
        try:
            with open(self._from + "/manifest") as file:
                file.readline()
                for line in file:
                    sha, _, path = line.rstrip().split(" ", 2)
                    found[path] = sha[:16]
                    if len(found) % _LINES == 0:
                        yield
        except OSError:
            pass  # it is at the top

    def _take_over(self, theirs: dict):
        """Into the manifest what the generation that runs has besides modules, as it is now: people may have changed its site."""
        for path in sorted(theirs):
            if path.split("/")[0] in _TREES:
                continue
            source = "%s/%s" % (self._from, path)
            sha = generations.digest(source, self._piece)
            theirs[path] = sha[:16]
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
            elif path[len(self.place) + 1 :] not in wanted and path != self.place + "/" + MANIFEST:
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
        self.end()
        place = self.place
        for path, _, sha in self.missing:
            if generations.digest(place + "/" + path, self._piece) != sha:
                raise Refused("%s: did not arrive as it was sent" % path)
            yield
        os.rename(place + "/" + MANIFEST, place + "/manifest")
        yield
        yield from generations.saving(generations.switched(place))


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


def _free_blocks():
    try:
        return os.statvfs("/")[3]
    except (OSError, AttributeError):
        return None
