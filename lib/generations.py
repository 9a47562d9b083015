"""Which generation of firmware and site starts: the record of it, the check of its files, and the way back to the one before.

A generation is a folder, a or b, with firmware/, lib/, site.json and `manifest`: a line of JSON (`number`, `stamp`, `code`), then
"SHA-256 bytes path" of every file.  The file `switch` says which one starts; one rename changes it.  A new one is on trial
until it has passed its self-test: its files are checked before its first start, and it has STARTS starts.  After a reset by the
watchdog one that has passed is looked at in the same way.  A board without `switch` has firmware/ and lib/ at the top.

boot.py takes this module from the top of the file system, where deploy puts it: it belongs to no generation, and those that
come and those that were must get on with it.
"""

import sys

import machine
import ubinascii
import uhashlib
import ujson
import uos
from micropython import const

STARTS = const(3)  # of one on trial without a passed self-test
FOLDERS = ("a", "b")
_SWITCH = const("switch")
_MANIFEST = const("/manifest")
_FED_MS = const(60000)  # nothing else feeds the watchdog while files are checked
_SITE = const(("site.json",))  # what people change in a generation that runs: not checked after its first start
_LONGEST = const(4096)  # bytes of a record
_NOT_THERE = const(2)  # ENOENT

record = None  # of the generation that runs: see _record
folder = ""  # where it is, with its /
news = ""  # what people must know, until it is said
problem = ""  # why none can be started


def _record(now: dict, before, trial: bool, highest: int, text: str) -> dict:
    """now, before: {"folder", "number", "stamp", "manifest" (its SHA-256), "code", "seen" (devices)}; before may be None.

    starts: without a passed self-test.  highest: number that was ever here.  news: why the last one was given up.
    """
    return {"now": now, "before": before, "trial": trial, "starts": 0, "highest": highest, "news": text}


# ---- the record --------------------------------------------------------------------------------------------


def read(path: str = _SWITCH):
    """The record; None where there is none.  ValueError for one that is damaged."""
    try:
        with open(path, "rb") as file:
            data = file.read(min(_LONGEST, uos.stat(path)[6]))  # it makes room for as much as it is told
    except OSError as error:
        if error.errno == _NOT_THERE:
            return None
        raise ValueError("%s: cannot be read (%s)" % (path, error))
    body = data[:-9]
    if data[-9:] != b"%08x\n" % ubinascii.crc32(body):
        raise ValueError(path + ": is damaged")
    return ujson.loads(body)


def saving(content: dict, path: str = _SWITCH):
    """Make this the record: a generator that stops before each step, of which none erases flash twice."""
    body = ujson.dumps(content).encode()
    yield
    file = open(path + ".new", "wb")
    try:
        file.write(body)
        file.write(b"%08x\n" % ubinascii.crc32(body))
        yield
    finally:
        file.close()
    yield
    uos.rename(path + ".new", path)  # the switch


def _save(content: dict) -> None:
    for _ in saving(content):
        pass


# ---- what is whole -----------------------------------------------------------------------------------------


def digest(path: str, piece: bytearray) -> str:
    """The SHA-256 of a file, in hexadecimal; "" where it cannot be read."""
    total = uhashlib.sha256()
    try:
        with open(path, "rb") as file:
            while True:
                n = file.readinto(piece)
                if not n:
                    return ubinascii.hexlify(total.digest()).decode()
                total.update(memoryview(piece)[:n])
    except OSError:
        return ""


def head(place: str):
    """The first line of a generation's manifest; None where it has none that can be read."""
    try:
        with open(place + _MANIFEST) as file:
            return ujson.loads(file.readline())
    except (OSError, ValueError):
        return None


def broken(one: dict, changed: tuple = ()) -> str:
    """What is wrong with the files of a generation, in words; "" for nothing.  `changed`: names that are not looked at."""
    place = one["folder"]
    if not place:
        return "" if _is_there("firmware") or not one["code"] else "firmware/ is not there"
    piece = bytearray(1024)
    if digest(place + _MANIFEST, piece) != one["manifest"]:
        return "%s%s is damaged" % (place, _MANIFEST)
    with open(place + _MANIFEST) as file:
        file.readline()
        for line in file:
            wanted, _, path = line.rstrip().split(" ", 2)
            _feed()
            if path not in changed and digest(place + "/" + path, piece) != wanted:
                return "%s/%s is %s" % (place, path, "damaged" if _is_there(place + "/" + path) else "not there")
    return ""


def _is_there(path: str) -> bool:
    try:
        uos.stat(path)
        return True
    except OSError:
        return False


def _feed() -> None:
    machine.WDT(timeout=_FED_MS)


# ---- choosing ----------------------------------------------------------------------------------------------


def in_files() -> bool:
    """The firmware is in files, not in the image."""
    return __file__.endswith(".mpy") and not __file__.startswith("/rom")


def choose() -> None:
    """At power-on: take the generation that starts, or the one before, and have modules come from there."""
    global record, problem, news
    try:
        record = read()
    except ValueError as error:
        record = _found(str(error))
        if record is None:
            problem = "switch is damaged, and neither a nor b is whole"
    if record is None and not _is_there("site.json"):
        record = _found("the record of which generation starts was not there")
    if record is None:
        return
    news = record["news"]
    try:
        if record["trial"] or machine.reset_cause() == machine.WDT_RESET:
            _look()
    finally:  # also where the flash cannot be written
        _enter()


def _look() -> None:
    """Count a start, and give up what is damaged or does not come to its self-test."""
    global problem
    now = record["now"]
    trial = record["trial"]
    record["starts"] += 1
    why = ""
    if not trial:
        why = broken(now, _SITE)
    elif record["starts"] == 1 or machine.reset_cause() == machine.WDT_RESET:
        why = broken(now, () if record["starts"] == 1 else _SITE)
    damaged = why
    if not why and record["starts"] > STARTS:
        text = "it was started %d times and never passed its self-test" if trial else "the watchdog ended it %d times"
        why = text % STARTS
    if not why:
        _save(record)
    elif not give_up(why) and damaged:
        problem = "generation %s cannot be started: %s" % (name(now), damaged)


def _found(why: str):
    """After damage to the record: one of what is whole in the folders, on trial; None where nothing is."""
    there = []
    for place in FOLDERS:
        first = head(place)
        if first is not None:
            one = _one(place, first)
            if not broken(one, _SITE):
                there.append(one)
    if not there:
        return None
    there.sort(key=lambda one: -one["number"])
    before = there[1] if len(there) > 1 else None
    return _record(there[0], before, True, there[0]["number"], why)


def _one(place: str, first: dict, seen=()) -> dict:
    return {
        "folder": place,
        "number": first["number"],
        "stamp": first["stamp"],
        "manifest": digest(place + _MANIFEST, bytearray(512)),
        "code": first["code"],
        "seen": list(seen),
    }


def _enter() -> None:
    """Modules come from the generation that runs; the names of an image of our own stay as they are."""
    global folder
    place = record["now"]["folder"]
    if not place:
        return
    folder = place + "/"
    if record["now"]["code"]:
        for i, path in enumerate(sys.path):
            if path == "":
                sys.path[i] = place
            elif path in ("lib", "/lib"):
                sys.path[i] = folder + "lib"


def name(one: dict) -> str:
    """A generation for people."""
    return "%s (%s)" % (one["stamp"], one["folder"] or "at the top")


def describe(stamp: str) -> str:
    """What starts, for people; stamp: that of firmware/ and lib/."""
    if record is None or not folder:
        return stamp
    text = "%s in %s, number %d" % (stamp, record["now"]["folder"], record["now"]["number"])
    return text + (", on trial, start %d of %d" % (record["starts"], STARTS) if record["trial"] else "")


def is_watched() -> bool:
    """What starts is to pass a self-test: it is on trial, or the watchdog has ended it."""
    return record is not None and (record["trial"] or record["starts"] > 0)


# ---- on and back -------------------------------------------------------------------------------------------


def give_up(why: str) -> bool:
    """From now on the generation before starts, if there is one and it is whole; the caller resets.  Takes seconds.

    Where there is none, the one that runs stays, and is on trial no more.
    """
    global record, news
    if record is None:
        return False
    now = record["now"]
    before = record["before"]
    lost = "there is none to go back to" if before is None else broken(before, _SITE)
    if lost:
        _save(stays("%s; %s" % (why, lost)))
        return False
    news = "generation %s was given up: %s; %s runs again" % (name(now), why, name(before))
    record = _record(before, None, False, record["highest"], news)
    _save(record)
    return True


def stays(why: str) -> dict:
    """The record of a generation that has not passed, and that has none to go back to."""
    global news
    news = "generation %s stays: %s" % (name(record["now"]), why)
    record["before"] = None
    record["trial"] = False
    record["starts"] = 0
    record["news"] = news
    return record


def failed(error: Exception) -> bool:
    """The generation cannot be loaded or built: True where the one before starts from now on, and the caller resets."""
    if record is None:
        return False
    why = "%s: %s" % (type(error).__name__, error)
    if not record["trial"]:
        why = broken(record["now"], _SITE)  # what is whole and has worked is not given up for an error: the watchdog counts
    return bool(why) and give_up(why)


def passed(seen: list) -> dict:
    """The record of a generation that has passed its self-test, in which these devices were seen."""
    record["now"]["seen"] = seen
    record["trial"] = False
    record["starts"] = 0
    return record


def load() -> None:
    """Take the record as it is now, for who writes a generation."""
    global record
    try:
        record = read()
    except ValueError as error:
        record = _found(str(error))


def target() -> str:
    """The folder that a new generation may be written to: that of neither the last good one nor the one that runs."""
    if record is None:
        return FOLDERS[0]
    kept = record["before"] if record["trial"] and record["before"] else record["now"]
    return FOLDERS[0] if kept["folder"] != FOLDERS[0] else FOLDERS[1]


def switched(place: str) -> dict:
    """The record with which the generation in this folder starts, on trial; the last good one is the one before."""
    first = head(place)
    if record is None:
        kept = {"folder": "", "number": 0, "stamp": "as it was", "manifest": "", "code": first["code"], "seen": []}
        if not _is_there("firmware") and not _is_there("site.json"):
            kept = None
        return _record(_one(place, first), kept, True, first["number"], "")
    kept = record["before"] if record["trial"] and record["before"] else record["now"]
    return _record(_one(place, first, ()), kept, True, max(record["highest"], first["number"]), "")
