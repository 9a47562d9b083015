"""Runs under MicroPython at full speed, on the host's behalf: formats, fills or empties the simulated chip's flash.

    micropython copy_flash.py TASK.json
"""

import json
import os
import sys

import vfs
from sim_flash import Flash

_READSIZE = 128  # with less LittleFS cannot read all that boot.py's mount has written (host_tests/mp/test_small_files.py)
_CHUNK = 256  # bytes that mpremote writes at a time: where LittleFS puts them follows from it


def _equal(one: str, other: str) -> bool:
    try:
        if os.stat(one)[6] != os.stat(other)[6]:
            return False
    except OSError:
        return False
    with open(one, "rb") as first, open(other, "rb") as second:
        while True:
            part = first.read(4096)
            if part != second.read(4096):
                return False
            if not part:
                return True


def _copy(source: str, target: str) -> None:
    with open(source, "rb") as read, open(target, "wb") as written:
        while True:
            part = read.read(_CHUNK)
            if not part:
                return
            written.write(part)


def _tidy(folder: str, wanted: set) -> None:
    for entry in list(os.ilistdir(folder)):
        path = folder + "/" + entry[0]
        if entry[1] & 0x4000:
            _tidy(path, wanted)
            if not os.listdir(path):
                os.rmdir(path)
        elif path not in wanted:
            os.remove(path)


def _deploy(task: dict) -> None:
    for folder in task["folders"]:
        path = "/flash"
        for part in folder.split("/"):
            path += "/" + part
            try:
                os.mkdir(path)
            except OSError:
                pass  # it is there
    for name in task["files"]:
        if not _equal(task["tree"] + "/" + name, "/flash/" + name):
            _copy(task["tree"] + "/" + name, "/flash/" + name)
    wanted = {"/flash/" + name for name in task["files"]}
    for tree in task["trees"]:
        try:
            os.stat("/flash/" + tree)
        except OSError:
            continue
        _tidy("/flash/" + tree, wanted)
    for name in task["tops"]:
        if not _equal(task["tree"] + "/" + name, "/flash/" + name):
            _copy(task["tree"] + "/" + name, "/flash/" + name)


def _unpack(folder: str, into: str) -> None:
    for entry in os.ilistdir(folder):
        path, target = folder + "/" + entry[0], into + "/" + entry[0]
        if entry[1] & 0x4000:
            try:
                os.mkdir(target)
            except OSError:
                pass  # it is there
            _unpack(path, target)
        else:
            _copy(path, target)


def _main() -> None:
    with open(sys.argv[1]) as file:
        task = json.load(file)
    flash = Flash(task["image"])
    if task["do"] == "format":
        vfs.VfsLfs2.mkfs(flash)
        return
    vfs.mount(vfs.VfsLfs2(flash, readsize=_READSIZE), "/flash")
    if task["do"] == "deploy":
        _deploy(task)
    else:
        _unpack("/flash", task["into"])
    vfs.umount("/flash")


_main()
