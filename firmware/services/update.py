"""A new generation of the firmware over the network, while control runs: signed with the site's key, resumable, never older.

One connection at a time, lines of text (docs/deploy.md).  What arrives is written between two cycles, a piece at a time, into
the folder that does not run; site file and tables are taken over.  The board starts it when all of it is there and whole.
On an image of our own it is another image, for the slot that does not run (firmware/newimage.py).
"""

import asyncio
import socket
import time

import keyedhash
import machine
import startup
from ipv4 import dotted
from ipv4 import number as address_number
from micropython import const
from notice import say

OPTIONS = (
    ("port", "int", 8266, 1, 65535, "TCP port"),
    ("host", "str", "0.0.0.0", 7, 15, "address to listen on"),
    ("key", "str", "keys/update.key", 1, 64, "file on the flash with the site's key, 32 bytes (tools/update)"),
    ("allow", "any", {}, 0, 0, "rights by address or network: those with service may update"),
)
HEAP_BYTES = 15900
OWN_HEAP_BYTES = 13000  # the same in an image of our own, a connection with it
KEY_BYTES = const(32)
_SERVICE = const(3)  # of allowing.RIGHTS
_PIECE = const(512)  # bytes written between two cycles
_LINE = const(200)  # characters
_LARGEST = const(65536)  # bytes of a manifest
_MANIFEST = const("UPDATE")  # the first words of what is signed
_IMAGE = const("IMAGE")
_NOTHING = const("nothing arrives")
_NO_KEY = const("%s: is not there, or has not 32 bytes, so nobody can update: tools.update --put-key brings one")
_FULL = const(
    "the flash is full: what had arrived is removed again, what runs stays; make room (records, history), then send it again"
)
_NO_SPACE = const(28)  # ENOSPC
_NO_GENERATION = const("this board has no generations of firmware in files: make deploy, over USB")
_NAP_MS = const(10)
_ACCEPT_MS = const(200)
_SILENT_MS = const(20000)  # after which a connection is closed
_AGAIN = const((11, 35, 115, 116))  # EAGAIN and what else says: not yet


class Refused(Exception):
    """What a client asks for is not done; it is told why."""


def check_options(where: str, options: dict, errors: list) -> None:
    """Add to `errors` what is wrong with who may update."""
    from firmware.ems import allowing  # it leaves with those that build a site

    allowing.check(where, options, errors)


class Service:
    """Listens, and takes what is signed."""

    def __init__(self, name: str, options: dict, pm, app) -> None:
        from firmware.ems import allowing  # it leaves with those that build a site

        self._name = name
        self._options = options
        self._app = app
        self._rules = allowing.rules(options["allow"])
        self._turn = app.metering.loop_time.turn
        self._key = b""
        self._generations = self._writes = None
        self._incoming = None  # what takes a generation of files, or
        self._newimage = None  # an image of our own
        self._listener = None
        self._taking = None  # what arrives
        self.stores = 0  # steps that may have erased flash
        self.refused = 0
        self.state = _NOTHING

    def begin(self) -> None:
        """Read the key, and what writes what arrives."""
        import generations  # a board only: it is about the board's own flash

        self._generations = generations
        if not self._has_key():
            self.state = _NO_KEY % self._options["key"]
            say("%s: %s" % (self._name, self.state))
        if generations.in_files():
            import incoming

            self._incoming = self._writes = incoming
            incoming.settle()
        else:
            from firmware import newimage

            self._newimage = self._writes = newimage

    def _has_key(self) -> bool:
        """There is one: read whenever it is asked for, as one that is brought or replaced counts at once."""
        try:
            with open(self._options["key"], "rb") as file:
                key = file.read(KEY_BYTES + 1)
        except OSError:
            key = b""
        if len(key) != KEY_BYTES:
            key = b""
        elif not self._key:
            self.state = _NOTHING
        self._key = key
        return bool(key)

    async def run(self) -> None:
        """For ever: one client after the other."""
        self._listen()
        if self._newimage is not None:
            self._log(self._newimage.news())
        try:
            while True:
                try:
                    sock, there = self._listener.accept()
                except OSError as error:
                    if error.errno not in _AGAIN:
                        raise
                    await asyncio.sleep_ms(_ACCEPT_MS)
                    continue
                most = _PIECE if self._newimage is None else self._newimage.piece_bytes()
                await self._serve(_Link(sock, most), dotted(there))
        finally:
            self.stop()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        options = self._options
        listener.bind(socket.getaddrinfo(options["host"], options["port"], 0, socket.SOCK_STREAM)[0][-1])
        listener.listen(1)
        listener.setblocking(False)
        self._listener = listener

    def stop(self) -> None:
        """Listen no more."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def counters(self) -> dict:
        """What arrives, and how many were refused; whether there is a key is looked for: it counts as soon as it is there."""
        if not self._has_key() and self._taking is None:
            self.state = _NO_KEY % self._options["key"]
        return {"state": self.state, "refused": self.refused}

    # ---- one client --------------------------------------------------------------------------------------

    async def _serve(self, link, who: str) -> None:
        try:
            if self._may(who):
                await self._answer(link, who)
            else:
                self._refuse(who, "it may not")
        except (Refused, self._writes.Refused) as error:
            self._refuse(who, str(error))
            await self._tell_no(link, error)
        except OSError as error:  # it is gone, or said nothing for too long; or the flash is full
            if error.errno == _NO_SPACE and self._taking is not None:
                await self._give_up(link, who)
            else:
                self.state = "broke off: %s" % error
        except ValueError as error:  # numbers and names that are none
            self._refuse(who, str(error))
        finally:
            link.close()
            if self._taking is not None:
                self._end_taking()

    async def _tell_no(self, link, why) -> None:
        """To a client that may not want to hear it."""
        try:
            await link.tell("NO %s" % why)
        except OSError:
            pass  # it is gone, and the service is there for the next one

    def _end_taking(self) -> None:
        """A file that is collected later would be closed over the next one."""
        taking, self._taking = self._taking, None
        try:
            taking.end()
        except OSError:
            pass  # the rest of it has no space; it is not whole, and its hash says so

    async def _give_up(self, link, who: str) -> None:
        """What has arrived goes: a site whose flash is full keeps neither schedules nor records."""
        self._refuse(who, _FULL)
        for _ in self._taking.give_up():
            self.stores += 1
            await self._turn()
        await self._tell_no(link, _FULL)

    def _may(self, who: str) -> bool:
        there = address_number(who)
        for bits, network, rights in self._rules:
            if there >> (32 - bits) == network:
                return rights >= _SERVICE
        return False

    def _refuse(self, who: str, why: str) -> None:
        self.refused += 1
        self.state = "refused %s: %s" % (who, why)

    async def _answer(self, link, who: str) -> None:
        words = (await link.line()).split(" ")
        self._generations.load()
        if self._newimage is not None:
            await self._answer_image(link, who, words)
            return
        record = self._generations.record
        if record is None or not record["now"]["code"]:
            raise Refused(_NO_GENERATION)
        if words == ["STATE"]:
            now = record["now"]
            await link.tell("IS %s %d %d %s" % (now["stamp"], now["number"], record["trial"], record["news"]))
            return
        if not record["now"]["folder"]:
            raise Refused(_NO_GENERATION)  # at the top there is no list of what the site has besides modules
        number, size, sha, restart = self._signed(words, _MANIFEST, record["highest"])
        if not 0 < size <= _LARGEST:
            raise Refused("a manifest of %d bytes: at most %d are taken" % (size, _LARGEST))
        taking = self._taking = self._incoming.Incoming(startup.folder, True)
        await self._begin(link, who, number)
        await self._take(link, taking, self._incoming.MANIFEST, size)
        digest = self._generations.digest
        if digest(taking.place + "/" + self._incoming.MANIFEST, bytearray(_PIECE)) != sha:
            raise Refused("the manifest did not arrive as it was sent")
        if not taking.is_of(number):
            raise Refused("the manifest has another number")
        await self._steps(taking.work(), link)
        for path, size, sha in taking.lacking():
            await link.tell("WANT %d %s" % (size, path))
            await self._take(link, taking, path, size)
            if digest(taking.place + "/" + path, bytearray(_PIECE)) != sha:
                raise Refused("%s: did not arrive as it was sent" % path)
            if not taking.is_for_here(path):
                raise Refused("%s has another machine's code than this board: tools.update --board NAME or --march" % path)
        await self._steps(taking.finish(), link)
        await self._done(link, who, number, restart)

    async def _answer_image(self, link, who: str, words: list) -> None:
        record = self._newimage.ready()
        if words == ["STATE"]:
            await link.tell("IS %s %d %d %s" % self._newimage.state())
            return
        number, size, sha, restart = self._signed(words, _IMAGE, record["highest"])
        self._newimage.check(record, self._generations.record)
        taking = self._newimage.Taking(link, self._store, self._steps, size)
        await self._begin(link, who, number)
        await taking.blocks()
        await taking.finish(number, sha, self._app)
        await self._done(link, who, number, restart)

    def _signed(self, words: list, what: str, highest: int) -> tuple:
        """(number, bytes, SHA-256, whether to restart) of a first line, if who has the key wrote it; never as old as `highest`."""
        if words[0] == _IMAGE and what == _MANIFEST:
            raise Refused("this board has its firmware in files: tools.update without --image")
        if words[0] == _MANIFEST and what == _IMAGE:
            raise Refused("this board has its firmware in its image: tools.update --image FILE")
        if len(words) != 6 or words[0] != what:
            raise Refused("%s number bytes SHA-256 restart HMAC, or STATE, is what is understood here" % what)
        if not self._has_key():
            raise Refused(_NO_KEY % self._options["key"])
        mac = keyedhash.digest(self._key, " ".join(words[:5]).encode())
        if not keyedhash.equal(mac, words[5]):
            raise Refused("it is not signed with this site's key")
        number = int(words[1])
        if number <= highest:
            raise Refused("number %d: number %d was here; only newer ones are taken" % (number, highest))
        return number, int(words[2]), words[3], words[4] == "1"

    async def _begin(self, link, who: str, number: int) -> None:
        self.state = "%s sends number %d" % (who, number)
        say("%s: %s" % (self._name, self.state))
        await link.tell("GO")

    async def _take(self, link, taking, path: str, size: int) -> None:
        """So many bytes from the client into a file, a piece between two cycles."""
        await self._store(taking.write, path, b"")
        left = size
        while left:
            piece = await link.piece(min(_PIECE, left))
            await self._store(taking.write, path, piece)
            left -= len(piece)
        await self._store(taking.end)

    async def _store(self, step, *given) -> None:
        """One call of the file system, where nothing else is long before the next cycle."""
        await self._turn()
        self.stores += 1
        step(*given)

    async def _steps(self, steps, link) -> None:
        told = time.ticks_ms()
        for _ in steps:
            self.stores += 1
            await self._turn()
            if time.ticks_diff(time.ticks_ms(), told) > 2000:
                told = time.ticks_ms()
                await link.tell(".")

    async def _done(self, link, who: str, number: int, restart: bool) -> None:
        self.state = "number %d of %s is the next start" % (number, who)
        say("%s: %s" % (self._name, self.state))
        self._log(self.state)
        await link.tell("DONE %d" % number)
        if restart:
            self._app.ending.ask("update to number %d" % number, machine.reset)

    def _log(self, text: str) -> None:
        records = self._app.services.get("records")
        if text and records is not None:
            records.records.log(self._app.pm.clock, "GENERATION " + text, 0, True)


class _Link:
    """One client's connection; nothing of it waits but by sleeping.  OSError when it is gone or silent for too long."""

    def __init__(self, sock, most: int) -> None:
        sock.setblocking(False)
        self._sock = sock
        self.buffer = bytearray(most)  # of pieces
        self._byte = bytearray(1)

    async def _read(self, buffer) -> int:
        since = time.ticks_ms()
        while True:
            try:
                n = self._sock.readinto(buffer)
            except OSError as error:
                if error.errno not in _AGAIN:
                    raise
                n = None
            if n:
                return n
            if n == 0:
                raise OSError("the client is gone")
            if time.ticks_diff(time.ticks_ms(), since) > _SILENT_MS:
                raise OSError("the client is silent")
            await asyncio.sleep_ms(_NAP_MS)

    async def line(self) -> str:
        """A line."""
        found = b""
        while len(found) < _LINE:
            await self._read(self._byte)
            if self._byte == b"\n":
                return found.decode()
            found += self._byte
        raise Refused("a line of more than %d characters" % _LINE)

    async def piece(self, most: int):
        """Some bytes, `most` at most."""
        n = await self._read(memoryview(self.buffer)[:most])
        return memoryview(self.buffer)[:n]

    async def fill(self, size: int):
        """So many bytes, which the buffer holds."""
        whole = memoryview(self.buffer)[:size]
        n = 0
        while n < size:
            n += await self._read(whole[n:])
        return whole

    async def tell(self, text: str) -> None:
        """A line for the client."""
        data = text.encode() + b"\n"
        since = time.ticks_ms()
        while data:
            try:
                data = data[self._sock.write(data) or 0 :]
            except OSError as error:
                if error.errno not in _AGAIN:
                    raise
            if data:
                if time.ticks_diff(time.ticks_ms(), since) > _SILENT_MS:
                    raise OSError("the client reads nothing")
                await asyncio.sleep_ms(_NAP_MS)

    def close(self) -> None:
        """It is over."""
        self._sock.close()
