# Runs on a board in its raw REPL, for make deploy: the site file that the board starts with, and what it was when it was deployed.
import json


def place():
    """The path of the site file, and its SHA-256 in the manifest of its generation: "" where there is none."""
    folder = ""
    try:
        with open("switch", "rb") as file:
            folder = json.loads(file.read()[:-9])["now"]["folder"]
        with open(folder + "/manifest") as file:
            file.readline()
            for line in file:
                sha, _, path = line.rstrip().split(" ", 2)
                if path == "site.json":
                    return folder + "/" + path, sha
    except (OSError, ValueError, KeyError):
        pass
    return (folder + "/" if folder else "") + "site.json", ""


def part(n):
    """The next bytes of the file that is read."""
    print(hexlify(reading.read(n)).decode())  # noqa: F821  (of top.py, and deploy's)
