"""Back to how the board came: settings and secrets erased, for good; the firmware stays.  Loaded when a person asks for it.

What stays is a list, everything else goes: so a file that nobody thought of here goes too.
"""

import asyncio

import machine
import wiping
from micropython import const
from notice import say

from firmware import image as im
from firmware import requests as rq
from firmware.errors import PowerError
from firmware.modes import Mode

SETTINGS = "ERASE"
EVERYTHING = "ERASE ALL"
# at the top of the flash; in a generation's folder what its manifest names, since what lacks a part of that does not start
_KEPT = const("boot.py main.py firmware lib www rom generations.mpy incoming.mpy switch image")
_GENERATIONS = const("a b")
_MANIFEST = const("manifest")
_SITE = const("site.json")
_RECORDS = const("energy events faults history")  # without what stands behind the first dot; the schedule is a setting
_SAID_MS = const(300)
_TOLD_PERCENT = const(20)
_HELP = (
    'factory_reset("%s") takes this board back to how it came.  It can not be undone.' % SETTINGS,
    "  erased: the site with its Wi-Fi password, keys and certificates, PINs, schedules, all that is not named below;",
    "          what they leave on the flash is overwritten, which takes minutes; then the board starts again, without a site",
    "  kept:   the firmware and what was deployed with it; the log, the history and the counters of energy and faults",
    'factory_reset("%s"): log, history and counters are erased too' % EVERYTHING,
    "  only in STANDBY (pm.stop()); a latched emergency stays",
)  # fmt: skip


def told():
    """What it would do, line by line."""
    return (line for line in _HELP)


def check(app, word: str) -> None:
    """PowerError where it may not be done now; ValueError for another word."""
    if word not in (SETTINGS, EVERYTHING):
        raise ValueError("word = %r: allowed are %r and %r; factory_reset() says what they do" % (word, SETTINGS, EVERYTHING))
    now = app.pm.image.now
    if now[im.MODE] != Mode.STANDBY or now[im.ORDER] == im.ORDER_START:
        text = "factory_reset: only in STANDBY, with nothing ordered: pm.stop() first; the mode is %s"
        raise PowerError(text % Mode.name(now[im.MODE]))


async def run(app, word: str) -> None:
    """Do what was checked: one step in each turn for long work, nothing started meanwhile; then the chip starts again."""
    kept = ""
    turn = app.metering.loop_time.turn
    app.pm.held = 0  # it is kept over a reset, and nobody would know of it
    app.pm.limit(rq.PERSON)  # nor of this
    if "records" in app.services:
        records = app.services["records"].records
        kept = "" if word == EVERYTHING else records.place
        records.log(app.pm.clock, "FACTORY_RESET", word, True)
        for _ in records.events.steps():
            await turn()
        records.quiet = True  # it would find its directory gone, or the flash full
    try:
        for percent in erasing(kept):
            app.pm.halt()  # whoever asks for power meanwhile gets none
            if percent >= 0 and percent % _TOLD_PERCENT == 0:
                say("factory_reset: %d %% overwritten" % percent)
            await turn()
        say("factory_reset: done; the board starts again")
    except OSError as error:
        say("factory_reset: broken off, NOT everything is erased: %s" % error, True)
    await asyncio.sleep_ms(_SAID_MS)
    machine.reset()  # in order: shutdown.Machine stands for it while the program runs


def erasing(records: str):
    """The steps; each gives a percentage of the overwriting once it is reached, else -1.

    records: their directory, whose log, history and counters are kept; "" to erase them too.
    """
    places = [""]
    for path, is_directory in wiping.found(""):
        if path in _GENERATIONS.split():
            places.append(path + "/")
            parts = _deployed(path + "/")
            for inside, deeper in wiping.found(path + "/"):
                if inside[len(path) + 1 :] not in parts:
                    yield from _removing(inside, deeper, "")
        elif path not in _KEPT.split():
            yield from _removing(path, is_directory, records)
    if records:
        places.append(records + "/")
    last = -1
    for percent in wiping.overwrite(places):
        yield percent if percent != last else -1
        last = percent


def _deployed(place: str) -> list:
    """The first names of what belongs to a generation, its site apart: lines of its manifest are "hash bytes path"."""
    parts = [_MANIFEST, "firmware", "lib"]
    try:
        with open(place + _MANIFEST) as file:
            for line in file:
                name = line.rstrip().split(" ", 2)[-1].split("/")[0]
                if name not in parts and name != _SITE:
                    parts.append(name)
    except OSError:
        pass  # it is not whole anyway
    return parts


def _removing(path: str, is_directory: bool, records: str):
    if is_directory and records and (records + "/").startswith(path + "/"):
        for inside, deeper in wiping.found(path + "/"):
            if path != records or inside[len(path) + 1 :].split(".")[0] not in _RECORDS.split():
                yield from _removing(inside, deeper, records)
        return
    for _ in wiping.remove(path, is_directory):
        yield -1
