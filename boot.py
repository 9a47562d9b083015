"""Power-on only: the generation chosen, outputs safe, watchdog armed, reset cause noted.  Everything else is main.py's."""

import gc

# Before anything is loaded: what boot strews over the heap stays in crumbs between what lives.  With PSRAM (that much is free
# nowhere else) there is room for larger crumbs, and collections are slow: one every 8 KB was half of its boot, one every
# 32 KB a quarter of it, with 80 instead of 64 KB it is 0.35 s shorter.  (With 96 KB 18 KB of boot stayed alive in some sites.)
_roomy = gc.mem_free() >= 300000
gc.threshold(81920 if _roomy else 8192)
# And before what lives, with PSRAM, where it is not missed: startup.py says why
_low = bytearray(gc.mem_free() // 8) if _roomy else None

import sys

import machine

sys.modules["machine"] = machine  # else generations.py searches all of the flash for it again, see _find_builtins

WATCHDOG_MS = 8000  # longer than loading the firmware takes, shorter than a person's patience

machine.WDT(timeout=WATCHDOG_MS)

import esp32
import vfs


def _mount_with_larger_reads() -> None:
    """LittleFS reads a folder to its end for every name it looks up: in pieces of 2 KB that is a twelfth of the reads.

    Where the firmware is in the image only a handful of files are looked up: without PSRAM 512 bytes, which leaves the heap
    3 KB; with it records are renamed beside the rest, each in one call, and these were a thousand reads.  Never less: LittleFS
    keeps files of up to 512 bytes beside their names, and some of them it cannot read through a smaller cache ("corrupt").
    It passes over everything in it to find free blocks: with a bit for every block once, and not at every 256th.
    """
    readsize = 512
    if not _roomy:  # else it is read behind this, in larger pieces
        from generations import in_files

        readsize = 512 if in_files() else 128
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="vfs")
    if found:
        vfs.umount("/")
        try:
            bits = (found[0].ioctl(4, 0) + 63) // 64 * 8  # in bytes, a whole number of eights; 4: how many blocks are there
            vfs.mount(vfs.VfsLfs2(found[0], readsize=readsize, lookahead=bits), "/")  # type: ignore[abstract]  # the stubs have it so
        except OSError:
            vfs.mount(found[0], "/")  # as MicroPython itself had it: another file system


try:
    _mount_with_larger_reads()
except Exception as error:
    print("boot: the flash stays mounted as it was (%s: %s)" % (type(error).__name__, error))

import generations

try:
    generations.choose()
except Exception as error:  # a flash that cannot be written: what is there starts
    print("boot: generations: %s: %s" % (type(error).__name__, error))
try:
    if not generations.in_files():
        import ownimage

        ownimage.choose()
except Exception as error:
    print("boot: image: %s: %s" % (type(error).__name__, error))


def _find_builtins() -> None:
    """Enter the built-in modules in sys.modules, so that importing them never searches the flash again.

    Those that a file may replace ("extensible") never get there by themselves: each `import time` searches the whole flash
    first, 20 ms a time.  Under their other name, with a u in front, they are found at once; those that a board's own file may
    well replace are searched for, once.
    """
    import select
    import socket

    import machine
    import uarray
    import ubinascii
    import ucollections
    import uerrno
    import uio
    import ujson
    import uos
    import urandom
    import ustruct
    import utime

    names = "array binascii collections errno io json os random struct time machine select socket"
    found = (uarray, ubinascii, ucollections, uerrno, uio, ujson, uos, urandom, ustruct, utime, machine, select, socket)
    for name, module in zip(names.split(" "), found):
        sys.modules[name] = module


def _safe_outputs() -> None:
    """Contactors open, before anything else can want them closed; supplies and enables of the board's own parts."""
    import pinowners  # here: it goes again with what builds the site

    outputs, doubtful, problems = pinowners.look(pinowners.load(generations.folder + "site.json"))
    for problem in problems:
        print("boot: %s; its pin stays an input" % problem)
    for pin in doubtful:
        outputs.append((pin, None))  # also where it was an output before a soft reset
    for pin, level in outputs:
        try:
            machine.Pin(pin, machine.Pin.IN) if level is None else machine.Pin(pin, machine.Pin.OUT, value=level)
        except ValueError as error:
            print("boot: pin %d: %s; it stays an input" % (pin, error))


try:
    import startup
    import watchdog

    watchdog.arm(WATCHDOG_MS)
    startup.folder = generations.folder
    startup.low = _low
    _find_builtins()
except Exception as error:  # files that are damaged: main.py will find the same, and knows what to do
    print("boot: %s: %s" % (type(error).__name__, error))
try:
    _safe_outputs()
except Exception as error:  # a file may hold anything, and be too long for the heap
    print("boot: site.json is not readable (%s: %s); outputs stay as the chip leaves them: inputs" % (type(error).__name__, error))
del _find_builtins, _safe_outputs, _mount_with_larger_reads  # what is named here stays in the heap for ever
globals().pop("generations")  # main.py lets go of it
globals().pop("ownimage", None)
_cause = machine.reset_cause()
_words = ("unknown", "power on", "reset", "watchdog", "deep sleep", "soft reset")
print("boot: reset cause %d, %s" % (_cause, _words[_cause] if 0 < _cause < len(_words) else _words[0]))
del _cause, _words, _low  # startup has it, or nobody
