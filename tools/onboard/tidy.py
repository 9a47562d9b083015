# Runs on a board in its raw REPL, after WANTED = {...} has been defined: removes what an earlier deploy left in
# firmware/ and lib/ (a stale .py would win over a new .mpy), and prints the SHA-256 of every file that is there.
import binascii
import hashlib
import os

_piece = bytearray(512)


def digest(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            n = file.readinto(_piece)
            if not n:
                return binascii.hexlify(total.digest()).decode()
            total.update(memoryview(_piece)[:n])


def tidy(folder):
    try:
        entries = os.listdir(folder)
    except OSError:
        return
    for entry in entries:
        path = folder + "/" + entry
        if os.stat(path)[0] & 0x4000:
            tidy(path)
            if not os.listdir(path):
                os.rmdir(path)
        elif path not in WANTED:  # noqa: F821
            os.remove(path)
            print("removed", path)
        else:
            print("file", path, digest(path))


for folder in ("firmware", "lib"):
    tidy(folder)
    try:
        if not os.listdir(folder):
            os.rmdir(folder)  # an empty one would still be taken instead of what an image has inside
    except OSError:
        pass
