"""Which image of our own starts, where the firmware is in the image: the trial of a new one, and why one was given up.

Two slots hold an image each.  The chip's boot loader starts a new one once: one that has not said by its next start that it is
good goes, and the one before comes back.  The file `image` says what the boot loader cannot: which image is where, which numbers
were here, and how a trial has ended.  It has a check sum, and changes by one rename.

A new image waits in its slot until the next start, whose boot.py has it take its turn before anything moves.
"""

import esp32
import generations
import machine
from micropython import const

_FILE = const("image")
_FED_MS = const(60000)  # the chip looks through all of an image before it takes it

record = None  # see _first
news = ""  # what people must know
_on_trial = False


def _first() -> dict:
    """The record of a board that was never updated.

    now: {"number", "slot", "sha" (its beginning)} of the image that is known to be good.  next: None, or the same of a new
    one, with "seen" (devices that the one before heard), "tried", "starts" and "why" it does not pass.  highest: number that
    was ever here.  news: why the last one was given up.
    """
    return {"now": {"number": 0, "slot": slot(), "sha": ""}, "next": None, "highest": 0, "news": ""}


def slot() -> str:
    """Name of the slot that runs.  OSError on a chip without slots."""
    return _running().info()[4]


def _running() -> esp32.Partition:
    return esp32.Partition(esp32.Partition.RUNNING)  # type: ignore[arg-type]  # the stubs want a label


def load() -> None:
    """Take the record as it is now.

    ValueError for one that is damaged: then nobody knows which numbers were here.  OSError on a chip without slots.
    """
    global record
    record = generations.read(_FILE) or _first()


def _save() -> None:
    for _ in generations.saving(record, _FILE):
        pass


# ---- at power-on -------------------------------------------------------------------------------------------


def choose() -> None:
    """A new image that waits takes its turn (a reset); one that is on trial, or has come back from one, is known as such."""
    global record, news, _on_trial
    try:
        record = generations.read(_FILE)
    except ValueError as error:
        news = "%s, so it is not known which image was here before" % error
    if record is None:
        return
    news = record["news"]
    coming = record["next"]
    here = slot()
    if coming is None or (coming["slot"] == here and not coming["tried"]):
        if record["now"]["slot"] != here or coming is not None:
            _was_flashed(here)
    elif coming["slot"] != here:
        if coming["tried"]:
            _give_up(_why(coming))
        else:
            _try(coming)
    elif coming["starts"] and machine.reset_cause() != machine.SOFT_RESET:
        # started a second time: it was good, and power went before that was written here; or the other one does not start
        try:
            esp32.Partition.mark_app_valid_cancel_rollback()
        except OSError:
            pass  # the boot loader knows of none that is good: it stays as it is
        for _ in _noted():
            pass
    else:
        _on_trial = True
        if not coming["starts"]:
            coming["starts"] = 1
            _save()


def _was_flashed(here: str) -> None:
    """Another one runs than was known: it came by wire, or the boot loader found the other one damaged.  The numbers stay."""
    global news
    was = name(record["now"])
    record["now"] = {"number": 0, "slot": here, "sha": ""}
    record["next"] = None
    record["news"] = news = "not %s runs, but what is in %s: flashed over USB, or the other one is damaged" % (was, here)
    _save()


def _try(coming: dict) -> None:
    machine.WDT(timeout=_FED_MS)
    coming["tried"] = True  # first: what fails on the way is not tried for ever
    _save()
    try:
        _running().get_next_update().set_boot()
    except OSError as error:
        _give_up("the chip does not take it (%s)" % error)
        return
    machine.reset()


def _why(coming: dict) -> str:
    if coming["why"]:
        return coming["why"]
    cause = machine.reset_cause()
    if cause == machine.WDT_RESET:
        what = "the watchdog ended it"
    else:
        what = "the power was cut" if cause == machine.PWRON_RESET else "it was reset"
    return what + (" before it had passed its self-test" if coming["starts"] else " before its first line")


def _give_up(why: str) -> None:
    global news
    coming, record["next"] = record["next"], None
    news = "image %s was given up: %s; %s runs again" % (name(coming), why, name(record["now"]))
    record["news"] = news
    _save()


# ---- for people --------------------------------------------------------------------------------------------


def name(one: dict) -> str:
    """An image for people."""
    return "%s (%s)" % (one["sha"] or "as it was flashed", one["slot"])


def describe() -> str:
    """What runs, for people; "" on a board that was never updated."""
    if record is None:
        return ""
    if _on_trial:
        return "image %s, number %d, on trial" % (name(record["next"]), record["next"]["number"])
    return "image %s, number %d" % (name(record["now"]), record["now"]["number"])


def state() -> tuple:
    """(name, number, whether it is on trial or waits for it, news) of the newest image; see load()."""
    one = record["next"] or record["now"]
    return one["sha"] or "flashed", one["number"], record["next"] is not None, record["news"]


# ---- a trial -----------------------------------------------------------------------------------------------


def is_trial() -> bool:
    """What runs has to pass its self-test, or goes at the next reset."""
    return _on_trial


def coming() -> dict:
    """The image on trial, see _first."""
    return record["next"]


def passed():
    """It is good: a generator that stops before each step, of which none erases flash twice."""
    yield
    esp32.Partition.mark_app_valid_cancel_rollback()
    yield
    yield from _noted()


def _noted():
    global _on_trial
    one = record["next"]
    record["now"] = {"number": one["number"], "slot": one["slot"], "sha": one["sha"]}
    record["next"] = None
    record["news"] = ""
    _on_trial = False
    yield from generations.saving(record, _FILE)


def fails(why: str) -> bool:
    """Where an image is on trial, the one before starts from the next reset on, which is the caller's, and says why."""
    if not _on_trial:
        return False
    record["next"]["why"] = why
    _save()
    return True


def withdrawn():
    """Another one is written over an image that waits for the next start: a generator like passed(); see load()."""
    if record["next"] is not None:
        record["next"] = None
        yield from generations.saving(record, _FILE)


def arrived(number: int, where: str, sha: str, seen: list):
    """A new image is whole in its slot, and waits for the next start: a generator like passed(); see load()."""
    record["next"] = {"number": number, "slot": where, "sha": sha[:8], "seen": seen, "tried": False, "starts": 0, "why": ""}
    record["highest"] = number
    record["news"] = ""
    yield from generations.saving(record, _FILE)
