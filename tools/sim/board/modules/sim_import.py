"""Imports and open() as the chip has them: a built-in module that files may replace is looked for in flash every time.

The chip's own modules are found without looking there, as they are C on a chip.  Every import and every opened file
that reads flash is told to the supervisor.
"""

import builtins
import sys

import micropython
import sim_flash
import sim_pace
import sim_pool
import simlink

_PATH = ("/chip", ".frozen")
_FILES = {"machine": "machine", "select": "sim_select", "socket": "sim_socket"}  # extensible built-ins, played by these
_FIXED = ("network", "esp32")
_real_import = builtins.__import__
_real_open = builtins.open
_kept: dict = {}
# What only measures, and what is C on a chip, by name: a chip has none of it in sys.modules, whose table it would make larger.
# None: not loaded yet; there from the start, so that they make no table larger later, which would be the firmware's heap
hidden: dict = dict.fromkeys(_FIXED + ("sim_can", "sim_pin", "sim_timer", "sim_uart", "sim_wdt"))
_own = False  # the chip's own code is being loaded
_told = 0  # flash reads that were put down to an inner import already


def _nothing(module: str) -> None:
    pass


_give = _keep = _nothing  # told of each module, before it is loaded and then: with our own image (sim_frozen)


def _load(name: str):
    """One of the chip's own modules."""
    global _own
    found = hidden.get(name)
    if found is not None:
        return found
    _give(name)
    before = sys.path[:]
    _own = True
    sys.path[:] = _PATH
    try:
        return _real_import(name)
    finally:
        _keep(name)
        if name in hidden and name in sys.modules:
            hide(name)
        sys.path[:] = before
        _own = False


def _simulated(name: str):
    """What plays an extensible built-in.  It stays out of sys.modules, where the built-in would not be either."""
    if name not in _kept:
        _kept[name] = _load(_FILES[name])
        sys.modules.pop(name, None)
    return _kept[name]


def _began() -> tuple:
    """What _ended is given: flash reads before, and those that were put down to an inner import already."""
    global _told
    outer = _told
    _told = 0
    return sim_flash.counts[sim_flash.READS], outer


def _ended(kind: int, place: int, name: str, before: int, outer: int) -> None:
    """What was read from flash since is put down to `name` and counted in `place`."""
    global _told
    reads = sim_flash.counts[sim_flash.READS] - before
    own = reads - _told
    _told = outer + reads
    if own:
        if place >= 0:
            sim_flash.counts[place] += 1
        simlink.send_data(0x54, kind, own.to_bytes(4, "little") + name.encode())


@micropython.native  # less stack a call, and imports nest deeply
def _import(*arguments):
    if len(arguments) == 5 and arguments[4]:
        # relative: the interpreter would look at this file's place in the tree.  Only asyncio, which is frozen, does it
        name = "asyncio." + arguments[0] if arguments[0] else "asyncio"
        arguments = (name, None, None, arguments[3] or True, 0)
    name = arguments[0]
    found = hidden.get(name)
    if found is not None:
        return found
    if _own:
        _give(name)
        return _real_import(*arguments)
    sim_pace.off()
    try:
        if name in sys.modules:
            sim_pace.on()
            try:
                return _real_import(*arguments)
            finally:
                sim_pace.off()
        if name in _FIXED or name.startswith("sim_"):
            return _load(name)
        sim_flash.begin(False)
        _begin(name)
        sim_flash.importing += 1
        before, outer = _began()
        sim_pace.on()
        try:  # here and not in a function of its own: imports nest deeply, and each function takes of the stack
            found = _real_import(*arguments)
        finally:
            sim_pace.off()
            _keep(name)
            _ended(0x49, sim_flash.IMPORTS, name, before, outer)
            sim_flash.importing -= 1
            sim_flash.begin(False)
        # no file of that name, and so the interpreter's built-in: what plays it
        return _simulated(name) if name in _FILES and name not in sys.modules else found
    finally:
        sim_pace.on()


def _scrub(depth: int) -> None:
    """Overwrites the stack: what the Unix port leaves unused of an import's 4 KB there is looked through when it collects."""
    a = b = c = d = e = f = g = h = 0
    if depth:
        _scrub(depth - 1 + a + b + c + d + e + f + g + h)


def run(file: str) -> None:
    """boot.py or main.py of our own image, which has them frozen: code and constants stay in flash."""
    name = file[: file.find(".")]
    _give(name)
    _scrub(40)
    try:
        _real_import(name)
    finally:
        _keep(name)
        sys.modules.pop(name, None)


def _begin(name: str) -> None:
    """A module is about to be loaded, and the packages that it is in."""
    at = 0
    while at >= 0:
        at = name.find(".", at + 1)
        part = name if at < 0 else name[:at]
        if part not in sys.modules:
            sim_pool.take_code(part)
            _give(part)


def _open(file, mode="r", *rest, **named):
    sim_pace.off()
    try:
        store = "r" not in mode or "+" in mode
        sim_flash.begin(store)
        name = file if isinstance(file, str) else str(file)
        before, outer = _began()
        sim_pace.on()
        try:
            return _real_open(file, mode, *rest, **named)
        finally:
            sim_pace.off()
            _ended(0x53 if store else 0x4F, -1 if store else sim_flash.OPENS, name, before, outer)
    finally:
        sim_pace.on()


def hide(*names) -> None:
    """Take modules out of sys.modules; whoever imports them finds them here."""
    for name in names:
        hidden[name] = sys.modules.pop(name)


def install(give=_nothing, keep=_nothing) -> None:
    """From now on every import statement and every open() of the firmware comes by here."""
    global _give, _keep
    _give = give
    _keep = keep
    builtins.__import__ = _import
    builtins.open = _open
