# Runs on a board in its raw REPL, for make deploy: does the generation that is to go there run already?  Control goes on.
import json
import time


def place():
    """The folder of the generation that starts, with its number; "" where it is on trial, or there is none."""
    try:
        with open("switch", "rb") as file:
            record = json.loads(file.read()[:-9])
        now = record["now"]
        return "" if record["trial"] else "%s %d" % (now["folder"], now["number"])
    except (OSError, ValueError, KeyError):
        return ""


def differing(folder, files, top):
    """Of what is to be there: the first that is not, or is another; a generator that stops behind each piece of work.

    files: the SHA-256 of all lines of its manifest but the first, which has the number.  top: {name: SHA-256}.
    """
    total = hashlib.sha256()  # noqa: F821  (of top.py, as are hexlify and digest)
    with open(folder + "/manifest", "rb") as file:
        file.readline()
        while True:
            piece = file.read(512)
            if not piece:
                break
            total.update(piece)
            yield ""
    if hexlify(total.digest()).decode() != files:  # noqa: F821
        yield folder + "/manifest"
        return
    for name in top:
        yield name if digest(name) != top[name] else ""  # noqa: F821
    with open(folder + "/manifest") as file:
        file.readline()
        for line in file:
            sha, _, path = line.rstrip().split(" ", 2)
            path = folder + "/" + path
            yield path if digest(path) != sha else ""  # noqa: F821


def look(ms):
    """Some of it: prints what differs, whether there is more to look at, or that all is the same."""
    began = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), began) < ms:
        path = next(looking, None)  # noqa: F821  (deploy's)
        if path is None:
            print("same")
            return
        if path:
            print(path)
            return
    print("more")


def cycles():
    """How many cycles of control there were; -1 where it does not run."""
    try:
        return app.metering.cycles
    except (NameError, AttributeError):
        return -1
