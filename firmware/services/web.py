"""The board's web server: the operator's page, its API and live streams.  docs/web.md; what it is made of is in firmware/web/."""

import asyncio
import io
import sys
import time

from micropython import const
from notice import say

from firmware.errors import ConfigError

OPTIONS = (
    ("port", "int", 80, 1, 65535, "TCP port"),
    ("host", "str", "0.0.0.0", 7, 15, "address to listen on"),
    ("public", ("none", "view"), "none", 0, 0, "what is shown without a login"),
    ("names", "str", "", 0, 128, "domain names of the board, with spaces between; addresses and local names need none"),
    ("clients", "int", 10, 4, 16, "connections at a time"),
    ("streams", "int", 4, 1, 8, "of them live streams, one for each open page"),
    ("session_min", "int", 30, 1, 720, "min without a request after which a login is over"),
    ("commands_per_min", "int", 30, 1, 600, "of one login; more are refused"),
    ("metrics", "bool", False, 0, 0, "/metrics is served, to who may see"),
    ("tls", "bool", False, 0, 0, "HTTPS"),
    ("tls_folder", "str", "keys", 1, 64, "directory on the flash with server.der and server_key.der (tools/pki)"),
)
HEAP_BYTES = 64300  # with four pages and four connections that say nothing
OWN_HEAP_BYTES = 18200  # the same in an image of our own
_REQUESTS = const(24)  # of one address at once
_SECOND_MS = const(1000)


def check_options(where: str, options: dict, errors: list) -> None:
    """Add to `errors` where streams leave no place for anything else."""
    if "clients" in options and options.get("streams", 4) > options["clients"] - 2:
        errors.append("%s.streams = %d: at most clients - 2 = %d" % (where, options["streams"], options["clients"] - 2))


def check_beside(where: str, options: dict, found) -> None:
    """Add to found.errors (sitefile.Checked) where its port is another service's."""
    for name, _, its, _ in found.services:
        for key in ("port", "tls_port"):
            if its and where != "services." + name and its.get(key) == options.get("port"):
                found.errors.append("%s.port = %s: services.%s.%s has it already" % (where, options["port"], name, key))


class Service:
    """The server, and what happens once a second beside it.  People know it as `web`."""

    def __init__(self, name: str, options: dict, pm, app) -> None:
        self._name = name
        self._app = app
        self._options = options  # until begin
        self.pages = None
        self.server = None
        self._collections = 0  # as they were counted last
        self.stores = 0  # steps of saves: each may erase flash
        self.names = {"web": self}
        app.names["local"] = pm.remote.local
        self.parts: dict = {}

    def begin(self) -> None:
        """Load what it is made of, and open what only a board has: the keys of TLS.  ConfigError where one is missing or is none.

        One after the other: who checks a site needs none of them, and an import within another takes of a chip's stack.
        """
        from firmware.web import state  # noqa: F401, I001  loaded before those that use it
        from firmware.web import commanding, live  # noqa: F401  the same
        from firmware.web.pages import Pages
        from httpd.server import Server

        options = self._options
        self._options = {}
        context = None
        if options["tls"]:
            from httpd import secure  # a site without it does not load TLS

            context = _context(secure, options["tls_folder"])
        given = {"tls": context, "failed": self._failed, "space": self._has_space}
        if context is not None:
            given["after_step"] = self._app.metering.loop_time.take_turn
        pages = self.pages = Pages(self._app, options)
        self.server = pages.server = Server(
            pages, options["port"], options["host"], options["clients"], pages.HEADERS, _REQUESTS, **given
        )
        self.parts = {self._name + "_server": self.server}

    def _has_space(self, server) -> bool:
        """Of what is free a third is used between two collections: who made more would have one come in the middle of anything."""
        metering = self._app.metering
        if metering.collections != self._collections:
            self._collections = metering.collections
            server.made = 0
        return metering.free_bytes < 0 or server.made <= metering.free_bytes // 3

    def _failed(self, error) -> None:
        """A fault of ours, answered with 500: said where people and the log see it."""
        trace = io.StringIO()
        sys.print_exception(error, trace)
        for line in trace.getvalue().rstrip().split("\n"):
            say("web: " + line, True)

    async def run(self) -> None:
        """For ever: the state for the streams, the journal, what has an end, what is stored."""
        pages = self.pages
        turn = self._app.metering.loop_time.turn
        while True:
            begun = time.ticks_ms()
            records = self._app.services.get("records")
            pages.commanding.seat.commands.tell(None if records is None else records.records)
            pages.commanding.step(begun)
            pages.logins.sweep(begun)
            if self.server.streams():
                await asyncio.sleep_ms(0)
                for _ in pages.live.making():
                    await asyncio.sleep_ms(0)
            while True:
                siting = pages.job()
                if siting is not None:
                    await turn()
                    siting.step()
                    self.stores += 1
                left = _SECOND_MS - time.ticks_diff(time.ticks_ms(), begun)
                if left <= 0:
                    break
                await asyncio.sleep_ms(min(left, 100 if siting is None else 10))

    def stop(self) -> None:
        """Close what is served; what was commanded for a time runs on to its end, local control does not."""
        if self.pages is not None:
            self.pages.commanding.leave("web: stopped")
        if self.server is not None:
            self.server.stop()

    def counters(self) -> dict:
        """Connections, requests and refusals; logins."""
        found = self.server.counters()
        found["logins"] = self.pages.logins.count()
        return found


def _context(secure, folder: str):
    parts = []
    for name in ("server.der", "server_key.der"):
        path = "%s/%s" % (folder, name)
        try:
            with open(path, "rb") as file:
                parts.append(file.read())
        except OSError:
            raise ConfigError(["%s: cannot be read; python -m tools.pki makes a site's keys" % path])
    try:
        return secure.context(parts[0], parts[1])
    except ValueError as error:
        raise ConfigError(["%s: %s" % (folder, error)])
