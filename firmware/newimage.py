"""A new image of our own from a client of the update service, into the slot that does not run; control goes on.

A block of flash at a time: the board tells what stands there, the client sends what differs.  So what was cut off goes on where
it was, and what both images have is not written again.  The hash that was signed covers all of it, read back from flash.
"""

import asyncio
import gc
import time

import ownimage
import slotwriter
from micropython import const
from slotwriter import BLOCK, Refused

from firmware import reasons

_ROOMY = const(65536)  # bytes of heap that are free: a buffer for a whole block is nothing then
_PIECE = const(1024)
_TOLD_MS = const(2000)


def piece_bytes() -> int:
    """So many bytes a client's connection keeps room for."""
    return BLOCK if gc.mem_free() > _ROOMY else _PIECE


def ready() -> dict:
    """The record of images, where one may arrive.  Refused where not."""
    try:
        ownimage.load()
    except ValueError as error:
        raise Refused("%s, so it is not known which numbers were here: remove it over USB" % error)
    except OSError as error:
        raise Refused("this board has no slots for images (%s), no generations of firmware in files: make deploy, over USB" % error)
    return ownimage.record


def state() -> tuple:
    """What STATE answers; see ready()."""
    return ownimage.state()


def news() -> str:
    """Why the last image was given up, or that it is not known; "" for nothing."""
    try:
        return ready()["news"]
    except Refused as error:
        return str(error)


def check(record: dict, generation) -> None:
    """Refused while anything that runs is on trial: it may have to go back.  generation: the record of generations, or None."""
    coming = record["next"]
    if (coming is not None and coming["tried"]) or (generation is not None and generation["trial"]):
        raise Refused("what runs is on trial: wait for the end of its self-test")


class Taking:
    """One image on its way."""

    def __init__(self, link, store, steps, size: int) -> None:
        """Refused where it does not fit.

        link: the client's.  store(function, ...), steps(generator, link): coroutines of the service that do it, or each of its
        steps, where nothing else is long before the next cycle.
        """
        self._link = link
        self._store = store
        self._steps = steps
        self._size = size
        self._writer = slotwriter.SlotWriter(link.buffer)
        self._writer.check_size(size)
        self.name = self._writer.name

    async def blocks(self) -> None:
        """All of it, but for what stands there.  Refused where it begins as no image for this board does."""
        await self._steps(ownimage.withdrawn(), self._link)
        for block in range((self._size + BLOCK - 1) // BLOCK):
            size = min(BLOCK, self._size - block * BLOCK)
            await self._link.tell("HAS %d %s" % (block, self._writer.digest(block, size)))
            answer = await self._link.line()
            if answer == "BLOCK":
                await self._block(block, size)
            elif answer != "SAME":
                raise Refused("BLOCK or SAME is what is understood here, not %r" % answer[:20])

    async def _block(self, block: int, size: int) -> None:
        at = 0
        while at < size:
            piece = await self._link.fill(min(len(self._link.buffer), size - at))
            if at == 0:
                if block == 0:
                    self._writer.check_head(piece)
                await self._store(self._writer.erase, block)
            await self._store(self._writer.write, block, at, piece)
            at += len(piece)

    async def finish(self, number: int, sha: str, app) -> None:
        """Reads it back, and makes it the next start.  Refused where it is not what was signed."""
        self._writer.check_head(self._writer.read_head())
        found: list = []
        told = time.ticks_ms()
        for _ in self._writer.digests(self._size, found):
            if time.ticks_diff(time.ticks_ms(), told) > _TOLD_MS:
                told = time.ticks_ms()
                await self._link.tell(".")
            await asyncio.sleep_ms(0)
        if found[0] != sha:
            raise Refused("the image did not arrive as it was sent")
        silent = reasons.silent(app.pm.instant())
        seen = [name for name in app.site.devices if name not in silent]
        await self._steps(ownimage.arrived(number, self.name, sha, seen), self._link)
