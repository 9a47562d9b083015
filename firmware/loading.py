"""Loads modules by name: drivers, services, and what builds a site.  Nothing else in firmware/ or lib/ does so.

Only at boot, in STANDBY or on a person's command, and never under the manager's lock.  What is loaded stays; BUILDERS,
which check and build a site and have no part in running it, leave when control begins: 16 KB of a board that has them
from files.
"""

import os
import sys

import startup
from micropython import const

# what site.json may name: in words, its folder, and what a module there must have
DRIVER = ("driver", "firmware/devices", ("OPTIONS", "Device"))
SERVICE = ("service", "firmware/services", ("OPTIONS", "HEAP_BYTES", "Service"))
BUILDERS = (
    "pinowners safestore strictjson firmware.groups firmware.devices.connection firmware.sitefile firmware.buses "
    "firmware.devices.generic_table firmware.devices.generic_writes"
)
_OF_SOME = const(
    "canbus.backends ipv4 firmware.bankfile firmware.services.sunspec_server firmware.ems.allowing firmware.ems.beside "
    "firmware.ems.filling firmware.parameters"
)


def load(form: tuple, where: str, kind, errors: list):
    """The module of a type that stands at `where`; None, with the reason in `errors`, where there is none, or none that works."""
    what, folder, names = form
    module = "%s.%s" % (folder.replace("/", "."), kind)
    startup.make_room()
    try:
        found = __import__(module, None, None, names)
    except MemoryError:
        raise
    except Exception as error:  # of a driver of one's own too: whatever its lines raise
        if not isinstance(kind, str) or (isinstance(error, ImportError) and "'%s'" % module in str(error)):
            from pinowners import shown  # here: it is one of those that leave

            errors.append("%s.type = %s: there is no such %s in %s" % (where, shown(kind), what, folder))
        else:
            errors.append("%s.type = %r: its %s cannot be loaded: %s: %s" % (where, kind, what, type(error).__name__, error))
        return None
    for name in names:
        if not hasattr(found, name):
            errors.append("%s.type = %r: %s/%s.py is no %s: it has no %s" % (where, kind, folder, kind, what, name))
            return None
    return found


def saving(path: str, content: dict, kept: str):
    """Make a site the one of the next start: a generator that stops before each step, see Store.steps.  ConfigError."""
    try:
        yield from _load_builders()
        yield from sys.modules["firmware.sitefile"].saving(path, content)
    finally:
        let_builders_go(kept)


def checking(content: dict, kept: str):
    """Look at a site as saving() does, and store nothing: a generator that returns everything that is wrong with it."""
    try:
        yield from _load_builders()
        return sys.modules["firmware.sitefile"].refused(content)
    finally:
        let_builders_go(kept)


def restoring(path: str, kept: str):
    """Make the site before the present one that of the next start again, in steps too.  StoreError where there is none."""
    try:
        yield from _load_builders()
        yield from sys.modules["firmware.sitefile"].restoring(path)
    finally:
        let_builders_go(kept)


def exists(path: str) -> bool:
    """Whether there is such a file."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def sealed(path: str):
    """A document of the application's own as a safestore.Store: saved whole or not at all, with a CRC."""
    __import__("safestore")
    return sys.modules["safestore"].Store(path)


def storing(path: str, doc: dict, kept: str):
    """Store such a document: a generator that stops before each step, see Store.steps."""
    try:
        yield
        yield from sealed(path).steps(doc)
    finally:
        let_builders_go(kept)


def _load_builders():
    """One module a step: together they take an ESP32 most of a second."""
    for name in BUILDERS.split(" "):
        yield
        __import__(name)
    yield


def let_builders_go(kept: str) -> None:
    """They leave the heap, but for those in `kept` that a service works with: the one rule by which modules go, see startup."""
    # besides those that are only there where a site with CAN, with several banks or with an EMS was built or saved
    names = BUILDERS + " " + _OF_SOME
    startup.let_go(" ".join([name for name in names.split(" ") if name not in kept.split(" ")]))
