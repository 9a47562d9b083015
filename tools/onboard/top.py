# Runs on a board in its raw REPL, for make deploy: files at the top, outside all generations.
import os
from binascii import a2b_base64, hexlify  # noqa: F401  (deploy's lines use the first)

try:
    import hashlib
except ImportError:
    import uhashlib as hashlib

if not LIVE:  # noqa: F821
    # boot.py has armed the watchdog, which cannot be stopped; copying takes longer than it waits
    try:
        import machine

        machine.WDT(timeout=600000)
    except (AttributeError, ImportError, OSError, ValueError):
        pass  # no watchdog here: a port without one


def digest(path):
    total = hashlib.sha256()
    piece = bytearray(512)
    try:
        with open(path, "rb") as file:
            while True:
                n = file.readinto(piece)
                if not n:
                    return hexlify(total.digest()).decode()
                total.update(memoryview(piece)[:n])
    except OSError:
        return ""


def begin(path):
    """A file of the top on its way, as path.new; its folder is made."""
    folder = path[: max(0, path.rfind("/"))]
    if folder:
        try:
            os.mkdir(folder)
        except OSError:
            pass  # it is there
    global arriving
    arriving = open(path + ".new", "wb")


def end(path, wanted):
    """In one step it takes its place, if it has arrived as it was sent."""
    arriving.close()
    if digest(path + ".new") == wanted:
        os.rename(path + ".new", path)
        print("good")
