"""A new image in pieces: between two turns of the loop no more than one erase, and the slot that runs is left alone."""

from __future__ import annotations

import asyncio
import binascii
import gc
import hashlib
import importlib
import io
import json
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.build.generation import images, sealed
from tools.sim.board import appimage

BLOCK = 4096
BLOCKS = 12


class Slot:
    """A partition in RAM, as MicroPython's esp32.Partition is used; an erase is needed before a write."""

    def __init__(self, name: str, other: Slot | None = None) -> None:
        self.data = bytearray(b"\xff" * BLOCK * BLOCKS)
        self.name = name
        self.other = other
        self.erased: list[int] = []
        self.writes = 0

    def info(self) -> tuple[int, int, int, int, str, bool]:
        return 0, 0x10, 0x10000, len(self.data), self.name, False

    def get_next_update(self) -> Slot:
        assert self.other is not None
        return self.other

    def readblocks(self, block: int, buffer: bytearray, offset: int) -> None:
        at = block * BLOCK + offset
        buffer[:] = self.data[at : at + len(buffer)]

    def writeblocks(self, block: int, buffer: bytes, offset: int) -> None:
        at = block * BLOCK + offset
        assert self.data[at : at + len(buffer)] == b"\xff" * len(buffer), "flash that was not erased"
        self.data[at : at + len(buffer)] = buffer
        self.writes += 1

    def ioctl(self, request: int, block: int) -> None:
        assert request == 6
        self.data[block * BLOCK : (block + 1) * BLOCK] = b"\xff" * BLOCK
        self.erased.append(block)


class Link:
    """A client that has the image."""

    def __init__(self, content: bytes, size: int) -> None:
        self.buffer = bytearray(size)
        self._content = content
        self._rest = b""
        self._line = ""

    async def tell(self, text: str) -> None:
        word, number, digest = text.split()
        part = self._content[int(number) * BLOCK : (int(number) + 1) * BLOCK]
        assert word == "HAS"
        self._line = "SAME" if digest == hashlib.sha256(part).hexdigest()[:16] else "BLOCK"
        self._rest = part

    async def line(self) -> str:
        return self._line

    async def fill(self, size: int) -> memoryview:
        self.buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return memoryview(self.buffer)[:size]


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slot]:
    """The slot that runs, of a chip with two."""
    young = Slot("ota_1")
    old = Slot("ota_0", young)
    image = appimage.make(b"the old one" * 1000, "esp32")
    old.data[: len(image)] = image
    esp32 = types.ModuleType("esp32")
    esp32.Partition = type("Partition", (), {"RUNNING": 1, "__new__": lambda cls, which: old})  # type: ignore[attr-defined]
    names = ("generations", "slotwriter", "ownimage", "firmware.newimage")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "esp32", esp32)
    monkeypatch.setitem(sys.modules, "machine", types.ModuleType("machine"))
    for name, module in (("ubinascii", binascii), ("uhashlib", hashlib), ("ujson", json), ("uos", os)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(gc, "mem_free", lambda: 100000, raising=False)
    yield old
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("piece", [1024, 4096])
@pytest.mark.parametrize("there", [0, 3])
def test_between_two_turns_there_is_one_erase_at_most(running: Slot, piece: int, there: int) -> None:
    newimage = importlib.import_module("firmware.newimage")
    content = appimage.make(bytes(range(256)) * 100, "esp32")
    young = running.get_next_update()
    young.data[: there * BLOCK] = content[: there * BLOCK]
    before = bytes(running.data)
    erases: list[int] = []

    async def store(step: Callable[..., None], *given: object) -> None:  # as the service does, once in a cycle
        erases.append(len(young.erased))
        step(*given)

    async def steps(given: Iterator[None], link: object) -> None:
        for _ in given:
            raise AssertionError("nothing was there to be withdrawn")

    newimage.ownimage.record = {"next": None}
    taking = newimage.Taking(Link(content, piece), store, steps, len(content))
    asyncio.run(taking.blocks())
    erases.append(len(young.erased))
    assert max(after - earlier for earlier, after in zip(erases, erases[1:], strict=False)) == 1
    assert young.erased == list(range(there, -(-len(content) // BLOCK))), "what stood there was erased, or something is missing"
    assert young.data[: len(content)] == content and running.data == before and not running.erased
    assert len(erases) == 1 + len(young.erased) + young.writes, "something was written past the loop's turns"


def test_nothing_is_taken_while_what_runs_is_on_trial(running: Slot) -> None:
    newimage = importlib.import_module("firmware.newimage")
    for record, generation in (({"next": {"tried": True}}, None), ({"next": None}, {"trial": True})):
        with pytest.raises(newimage.Refused, match="what runs is on trial: wait for the end of its self-test"):
            newimage.check(record, generation)
    newimage.check({"next": {"tried": False}}, {"trial": False})
    newimage.check({"next": None}, None)


def test_where_the_record_is_damaged_nothing_is_taken(running: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newimage = importlib.import_module("firmware.newimage")
    monkeypatch.chdir(tmp_path)
    assert newimage.ready()["highest"] == 0 and newimage.state() == ("flashed", 0, False, "")
    Path("image").write_bytes(b'{"highest": 0}00000000\n')
    with pytest.raises(newimage.Refused, match="image: is damaged, so it is not known which numbers were here: remove it over USB"):
        newimage.ready()


def test_a_record_is_read_with_as_much_room_as_it_has(running: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board makes room for all that it is told to read: 4 KB in one piece are not there on an ESP32 without PSRAM."""
    generations = importlib.import_module("generations")
    monkeypatch.chdir(tmp_path)
    Path("image").write_bytes(sealed(images(77)))
    asked: list[int] = []

    class Opened(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            asked.append(size)
            return super().read(size)

    monkeypatch.setattr(generations, "open", Opened, raising=False)
    assert generations.read("image")["highest"] == 77
    assert asked == [Path("image").stat().st_size]
