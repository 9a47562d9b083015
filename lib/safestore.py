"""One JSON document in a file that no power cut can lose: sealed with a CRC, saved by rename, the version before kept.

A sealed file is JSON that any tool reads; its last member is the CRC-32 of everything before it:

    {"schema": 1, "name": "site",
    "crc": "86b4065f"}

A file without that line was written by a person: it is accepted where the store allows it.  Saving writes NAME.new,
moves NAME to NAME.old, then NAME.new to NAME.  Each step is atomic on LittleFS, so at any moment one whole version is
there, and `load` finds it, however long it is until the next step.  (On FAT a rename does not replace: use LittleFS.)
"""

import json
import os
from binascii import crc32

from micropython import const

_PIECE = const(2048)  # bytes written in one step: fewer than a block of flash has, so that at most one is erased
_SEAL = const(b',\n"crc": "')
_END = const(b'"}\n')
_EDITED = const('%s: its CRC is wrong: it is damaged, or was edited (then delete its "crc")')


class StoreError(Exception):
    """A document that cannot be used; the text names the file and what is wrong with it, and what can be done."""


class Store:
    """One document at `path`, in version `schema` of its layout.

    `migrate(doc, from_schema)` makes a document of an older schema a current one, or raises ValueError.
    `by_hand`: files without a CRC are accepted (a person wrote them).  `wear`: a flashwear.Wear to count in, or None.
    `longest`: bytes, 0 for any; a longer file is refused unread, and never saved.
    After `load`: `origin` says which file was read ("current", "new", "previous" or "" for none), `problem` what was
    wrong with the current one ("" for nothing), `loaded_schema` the schema it was written with.
    """

    def __init__(self, path: str, schema: int = 1, migrate=None, by_hand: bool = False, wear=None, longest: int = 0) -> None:
        self.path = path
        self.schema = schema
        self.origin = ""
        self.problem = ""
        self.loaded_schema = 0
        self._migrate = migrate
        self._by_hand = by_hand
        self._wear = wear
        self._longest = longest
        self._current_is_good = None  # not known yet

    def load(self, fallback: bool = True):
        """The newest whole document, or None where none was ever saved.

        With `fallback` a damaged current version is passed over for the one before (see `problem`); without, StoreError
        is raised, which offers it.  StoreError, too, when there are files and none can be used.
        """
        self.origin = self.problem = ""
        doc = self._try("", "current")
        self._current_is_good = doc is not None
        if doc is None:
            # A whole .new beside a missing current version is a save that was cut between its two renames.
            there = _exists(self.path)
            if fallback or not there:
                doc = self._try(".new", "new")
                if doc is not None:
                    self._finish_save()
            if doc is None and (there or _exists(self.path + ".old")):
                self.problem = self.problem or "%s is missing" % self.path
                if not fallback:
                    raise StoreError(self._with_offer())
                doc = self._try(".old", "previous")
                if doc is None:
                    raise StoreError(self.problem)
        return doc

    def _finish_save(self) -> None:
        """The second rename of the save that was cut."""
        try:
            os.rename(self.path + ".new", self.path)
            self._current_is_good = True
        except OSError:
            pass  # read-only for now; the next save will do it

    def _with_offer(self) -> str:
        try:
            self.previous()
        except StoreError:
            return self.problem
        return self.problem + "; the version before is good: restore_previous() brings it back"

    def _try(self, suffix: str, origin: str):
        """The document of one of the files; None, with the reason added to `problem`, where it cannot be used."""
        try:
            doc = self._read(self.path + suffix)
        except StoreError as error:
            if suffix != ".new":  # a torn .new is what a cut leaves; the version before it is whole
                self.problem = (self.problem + "; " if self.problem else "") + str(error)
            return None
        if doc is not None:
            self.origin = origin
        return doc

    def _read(self, path: str):
        """The document in a file, brought to the current schema; None where there is no file."""
        try:
            size = os.stat(path)[6]
        except OSError:
            return None
        if self._longest and size > self._longest:
            raise StoreError("%s: %d bytes: at most %d are read" % (path, size, self._longest))
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise StoreError("%s: cannot be read (%s)" % (path, error))
        sealed = self._check_seal(path, data)
        try:
            doc = json.loads(data)
        except (ValueError, RuntimeError) as error:  # nested too deeply is a RuntimeError
            why = "it is not in UTF-8" if isinstance(error, UnicodeError) else error
            raise StoreError("%s: is no JSON (%s)" % (path, why))
        if not isinstance(doc, dict):
            raise StoreError("%s: must be an object of keys and values" % path)
        if doc.pop("crc", None) is not None and not sealed:
            raise StoreError(_EDITED % path)
        return self._to_current_schema(path, doc)

    def _check_seal(self, path: str, data: bytes) -> bool:
        """Whether the file is sealed; StoreError where the seal is broken, or missing and needed."""
        at = data.rfind(_SEAL)
        if at >= 0:
            if data[at + len(_SEAL) :] != b"%08x" % crc32(data[:at]) + _END:
                raise StoreError(_EDITED % path if self._by_hand else "%s: its CRC is wrong: it is damaged" % path)
            return True
        if not self._by_hand:
            raise StoreError("%s: has no CRC: it is cut short, or not a file of this firmware" % path)
        if not data.strip():
            raise StoreError("%s: is no JSON (it is empty)" % path)
        if data[:3] == b"\xef\xbb\xbf":
            raise StoreError("%s: is no JSON (it begins with a byte order mark: save it as UTF-8 without one)" % path)
        if b"\x00" in data:
            raise StoreError("%s: is no JSON (it holds NUL bytes)" % path)
        from strictjson import wrong  # a sealed file needs none

        why = wrong(data)
        if why:
            raise StoreError("%s: is no JSON (%s)" % (path, why))
        return False

    def _to_current_schema(self, path: str, doc: dict) -> dict:
        found = doc.get("schema")
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise StoreError("%s: schema = %r: allowed are 1 to %d" % (path, found, self.schema))
        if found > self.schema:
            raise StoreError("%s: schema = %d: written by a newer firmware; allowed are 1 to %d" % (path, found, self.schema))
        self.loaded_schema = found
        if found < self.schema:
            if self._migrate is None:
                raise StoreError("%s: schema = %d: cannot be brought to %d" % (path, found, self.schema))
            try:
                doc = self._migrate(doc, found)
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError("%s: schema = %d: cannot be brought to %d (%s)" % (path, found, self.schema, error))
            doc["schema"] = self.schema
        return doc

    def save(self, doc: dict) -> None:
        """Makes `doc` the current version, and the current one the version before.

        OSError when the disk is full, StoreError for one that is too long.
        """
        for _ in self.steps(doc):
            pass

    def steps(self, doc: dict):
        """save() as a generator that stops before each step; a step erases flash at most once.  One save at a time."""
        yield
        data = _sealed(doc, self.schema)
        if self._longest and len(data) > self._longest:
            raise StoreError("%s: %d bytes: at most %d are read" % (self.path, len(data), self._longest))
        if self._current_is_good is None:
            try:
                self._current_is_good = self._read(self.path) is not None
            except StoreError:
                self._current_is_good = False
        yield
        new = self.path + ".new"
        yield from _write(new, data)
        yield
        if self._current_is_good:  # else the version before is worth more than the current one
            os.rename(self.path, self.path + ".old")
            self._current_is_good = False
            yield
        os.rename(new, self.path)
        self._current_is_good = True
        if self._wear is not None:
            self._wear.wrote(len(data))

    def previous(self) -> dict:
        """The version before.  StoreError where there is none, or none that can be used."""
        doc = self._read(self.path + ".old")
        if doc is None:
            raise StoreError("%s: there is no version before" % self.path)
        return doc

    def restore_previous(self) -> dict:
        """Makes the version before the current one again, and returns it."""
        doc = self.previous()
        for _ in self.restore(doc):
            pass
        return doc

    def restore(self, doc: dict):
        """Makes `doc`, which is previous(), the current version in steps: see `steps`."""
        self._current_is_good = False  # a damaged version must not become the version before
        yield from self.steps(doc)


def in_pieces(file, data: bytes, at: int = 0):
    """Writes data[at:] to an open file: a generator that stops before each step and before the file may be closed."""
    while at < len(data):
        yield
        file.write(data[at : at + _PIECE])
        at += _PIECE
    yield


def _write(path: str, data: bytes):
    """Writes a new file; a generator that stops between two steps."""
    file = open(path, "wb")
    try:
        yield from in_pieces(file, data)
    finally:
        file.close()


def _sealed(doc: dict, schema: int) -> bytes:
    """The bytes of a sealed file."""
    whole = {"schema": schema}
    whole.update(doc)
    whole["schema"] = schema
    body = json.dumps(whole)[:-1].encode()
    return body + _SEAL + b"%08x" % crc32(body) + _END


def _exists(path: str) -> bool:
    try:
        os.stat(path)
        return True
    except OSError:
        return False
