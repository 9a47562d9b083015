"""Says over MQTT what the site does and why, takes commands with a lifetime, and shows the site to Home Assistant by itself.

Topics and commands: docs/mqtt.md.  lib/mqtt.py speaks to the broker, firmware/mqtt/ knows what is said: discovery.py what Home
Assistant shows, orders.py what is commanded, energy.py what has flowed.  State is retained and of QoS 0: what is not sent now is
old a moment later.  Events and answers are promised: QoS 1, kept in a short queue until the broker has them.  While there is no
broker nothing is made: events wait in the ring that they are in anyway, and a try to connect is made more and more seldom.
"""

import asyncio
import json
import time

from micropython import const
from mqtt import Client
from notice import say

from firmware import image as im
from firmware import reasons
from firmware.event_codes import Event
from firmware.events import Cursor
from firmware.modes import Mode
from firmware.mqtt import discovery
from firmware.mqtt.energy import Energy
from firmware.mqtt.orders import Orders, answer
from modbus.tcp_connect import connect

OPTIONS = (
    ("host", "str", "REQUIRED", 1, 64, "the broker: an address or a name"),
    ("port", "int", 0, 0, 65535, "its TCP port; 0: 1883, over TLS 8883"),
    ("user", "str", "", 0, 64, "none: without"),
    ("password", "str", "", 0, 64, "of the user"),
    ("topic", "str", "", 0, 64, "beginning of every topic; none: bess/ and the name of the site"),
    ("access", ("off", "read", "control"), "read", 0, 0, "off: not connected; read: commands are refused; control: carried out"),
    ("interval_s", "int", 5, 1, 3600, "s between two states; what changes the mode or is commanded is said at once"),
    ("lifetime_min", "int", 15, 1, 1440, "min for which a setpoint or limit holds that says no time of its own"),
    ("discovery", "bool", True, 0, 0, "Home Assistant finds the site by itself"),
    ("discovery_prefix", "str", "homeassistant", 1, 32, "its topics' beginning"),
    ("keepalive_s", "int", 30, 5, 600, "s of silence after which a broker counts as gone, and the site for it"),
    ("name_server", "str", "", 0, 15, "IPv4 address of who knows the broker's name; none: the network's"),
    ("tls", "bool", False, 0, 0, "over TLS, on a board with PSRAM"),
    ("tls_folder", "str", "keys", 1, 64, "directory on the flash with mqtt_authority.der, who signs the broker's certificate"),
)
HEAP_BYTES = 38300
OWN_HEAP_BYTES = 9500
_NAP_MS = const(50)
_CONNECT_MS = const(5000)
_FIRST_MS = const(1000)  # after a connection that was lost or not made, and twice as long after each that follows
_LAST_MS = const(60000)
_STOOD_MS = const(10000)  # a connection that lasted so long was one
_FLAPS_MS = const(8000)  # at most between two that did not
_MINUTE_MS = const(60000)
_LINES = const(4)  # said in it
_SOON_MS = const(300)  # a command, or a change of the mode, is in the state after so long
_GAP_MS = const(1000)  # and that is so far from the state before
_TELL_MS = const(5000)  # between two announcements, however often Home Assistant says that it is there
_WAITING = const(4)  # events in the queue: it has places left for answers
_LARGEST = const(320)  # bytes of a packet: commands are shorter
_CHUNK = const(200)  # bytes of a state that are made in one go
_LEFT = const("offline")
_FORBIDDEN = const(' +#"\\')


class Service:
    """One broker.  People know it as `mqtt`."""

    def __init__(self, name: str, options: dict, pm, app) -> None:
        self.names = {"mqtt": self}
        self._given: dict = options  # until begin
        self._minute_ms = 0
        self._lines = 0  # said in it
        self._pm = pm
        self._allowed = options["access"]
        self._discovers = options["discovery"]
        self._interval_ms = 1000 * options["interval_s"]
        self._name_server = app.site.name_server
        self._site = app.site.name
        self._turn = app.metering.loop_time.turn
        self._take_turn = app.metering.loop_time.take_turn
        if options["password"]:
            app.site.secrets = tuple(app.site.secrets) + (options["password"],)
        records = app.services.get("records")
        records = None if records is None else records.records
        serial = _serial()
        topic = options["topic"] or "bess/" + _slug(self._site)
        self._topics = discovery.Topics(topic, options["discovery_prefix"], "bess_" + (serial or _slug(self._site)))
        will = (self._topics.below("status"), _LEFT)
        name = "bess-" + (serial or _slug(self._site))
        self.client = Client(
            name[:23], self._on_message, will, options["user"], options["password"], options["keepalive_s"], largest=_LARGEST
        )
        self._orders = Orders(pm, options["access"] == "control", options["lifetime_min"], records)
        app.names["local"] = pm.remote.local
        self._energy = Energy(pm.image, app.services, records)
        self._host = options["host"]
        self._resolve = None  # function: a name's address
        self._wrap = None  # function: the socket behind TLS
        self._port = options["port"] or (8883 if options["tls"] else 1883)
        self._groups = options.get("groups", -1)
        self._cursor = Cursor(0)
        self.problem = ""  # why there is no connection
        self.connections = 0
        self.tries = 0  # in vain, since the last connection
        self.states = 0  # published
        self._state_ms = 0  # ticks at which the next state is due
        self._stated_ms = time.ticks_ms()  # and of the last one
        self._second_ms = time.ticks_ms()
        self._announced = False  # discovery is out
        self._told_ms = 0  # from when on it may be told again
        self._clears = False  # a retained command is to be taken off the broker
        self._long = 0  # packets that were too long, and refused
        self._modes = 0  # bits of the mode and the faults that the last state had

    def begin(self) -> None:
        """Load what a name, or TLS, needs.  ConfigError where the authority's certificate is missing."""
        given = self._given
        self._given = {}
        if not self._host.replace(".", "").isdigit():
            from dns import resolve  # a site that has its address does not load it

            self._resolve = resolve
            if given["name_server"]:
                self._name_server = lambda: given["name_server"]
        if given["tls"] and self._allowed != "off":
            from firmware.mqtt import secure  # a site without it does not load TLS

            self._wrap = secure.wrapping(given["tls_folder"], self._host)
            self.client.after_step = self._take_turn

    # ---- the task -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """For ever; a connection that is lost, or not made, is tried again more and more seldom."""
        if self._allowed == "off":
            return
        pause_ms = _FIRST_MS
        while True:
            made = self.connections
            begun = time.ticks_ms()
            try:
                await self._session()
            except (OSError, ValueError) as error:
                self._lost(error, self.connections > made)
            self.client.close()
            if self.connections > made:
                stood = not 0 <= time.ticks_diff(time.ticks_ms(), begun) < _STOOD_MS
                pause_ms = _FIRST_MS if stood else min(pause_ms, _FLAPS_MS)  # each connection wants everything told anew
            until = time.ticks_add(time.ticks_ms(), pause_ms + time.ticks_ms() % 500)  # not all boards at once
            pause_ms = min(2 * pause_ms, _LAST_MS)
            while time.ticks_diff(until, time.ticks_ms()) > 0:
                self._look(time.ticks_ms())
                await asyncio.sleep_ms(500)

    def _lost(self, error: Exception, stood: bool) -> None:
        """Said when it is lost, and when it is lost for another reason: never every time."""
        why = str(error)
        if stood:
            self.tries = 0
        self.tries += 1
        if stood or why != self.problem:
            self._say("mqtt: no connection to %s: %s" % (self._host, why))
        self.problem = why

    def _say(self, text: str) -> None:
        """A line for people, a few in a minute: a broker that comes and goes does not fill the log."""
        now = time.ticks_ms()
        if not 0 <= time.ticks_diff(now, self._minute_ms) < _MINUTE_MS:
            self._minute_ms = now
            self._lines = 0
        self._lines += 1
        if self._lines <= _LINES:
            say(text if self._lines < _LINES else text + " (and so on: what follows within a minute is not said)")

    async def _session(self) -> None:
        """Connect, and go on until it is over."""
        client = self.client
        await client.connect(await self._socket())
        await client.subscribe(self._topics.below("command"))
        if self._discovers:
            await client.subscribe(self._topics.birth())
        await client.publish(self._topics.below("status"), b"online", True)
        self.connections += 1
        after = " after %d tries" % self.tries if self.tries > 1 else ""
        self._say("mqtt: connected to %s%s" % (self._host, after))
        self.problem = ""
        self.tries = 0
        self._announced = False
        self._told_ms = self._state_ms = time.ticks_ms()
        while True:
            now = time.ticks_ms()
            client.look(now)
            self._look_at_long(now)
            self._look(now)
            self._promise_events(now)
            if client.is_due(now):
                await client.flush()
            if self._clears:
                self._clears = False
                await client.publish(self._topics.below("command"), b"", True)
            if not self._announced and time.ticks_diff(now, self._told_ms) >= 0:
                self._announced = True
                self._told_ms = time.ticks_add(now, _TELL_MS)
                await self._announce()
                self._state_ms = now
            elif time.ticks_diff(now, self._state_ms) >= 0:
                self._state_ms = time.ticks_add(now, self._interval_ms)
                self._stated_ms = now
                await self._publish_state()
            await asyncio.sleep_ms(_NAP_MS)

    async def _socket(self):
        """A socket to the broker, not blocking."""
        address = self._host
        if self._resolve is not None:
            server = self._name_server() if self._name_server else ""
            if not server:
                raise OSError("no name server to ask for " + address)
            address = await self._resolve(address, server)
        sock = await connect(address, self._port, time.ticks_add(time.ticks_ms(), _CONNECT_MS))
        return sock if self._wrap is None else self._wrap(sock)

    def _look(self, now: int) -> None:
        """Once a second what goes on without a broker too."""
        passed = time.ticks_diff(now, self._second_ms)
        if 0 <= passed < 1000:
            return
        self._second_ms = now
        self._energy.count(passed)
        orders = self._orders
        orders.look(now)
        while orders.ended:  # while the broker is away too: nobody commands anything then, so these are few
            self.client.promise(self._topics.below("answer"), answer("ended", None, True, orders.ended[0]))
            orders.ended.pop(0)
            self._soon(now)
        bits = self._pm.image.now[im.FAULTS] * 8 + self._pm.image.now[im.MODE]
        if bits != self._modes:
            self._modes = bits
            self._soon(now)

    def _soon(self, now: int) -> None:
        """The next state comes earlier, never later: whoever commands all the time keeps nobody from seeing it."""
        early = time.ticks_add(now, _SOON_MS)
        gap = time.ticks_add(self._stated_ms, _GAP_MS)
        if time.ticks_diff(gap, early) > 0:
            early = gap
        if time.ticks_diff(self._state_ms, early) > 0:
            self._state_ms = early

    # ---- what comes ---------------------------------------------------------------------------------------

    def _on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        now = time.ticks_ms()
        if topic == self._topics.birth():
            if payload == b"online" and not retained:
                self._announced = False
        elif payload and topic == self._topics.below("command"):
            says = self._orders.take(payload, retained, now)
            if retained:
                self._clears = True
            if says is not None:
                self.client.promise(self._topics.below("answer"), says)
            self._soon(now)

    def _look_at_long(self, now: int) -> None:
        """Packets that were too long are refused as commands: nothing else so long is sent to us."""
        while self._long != self.client.too_long:
            self._long += 1
            says = self._orders.refuse_long(_LARGEST, now)
            if says is not None:
                self.client.promise(self._topics.below("answer"), says)

    # ---- what goes ----------------------------------------------------------------------------------------

    def _promise_events(self, now: int) -> None:
        """The next event, while the broker keeps up."""
        events = self._pm.events
        if self._cursor.at != events.total and len(self.client.waiting) < _WAITING and events.next(self._cursor):
            cursor = self._cursor
            try:
                self.client.promise(self._topics.below("event"), self._event(cursor))
            except MemoryError:
                cursor.at = (cursor.at - 1) & 0x3FFFFFFF  # promised it is not yet
                raise

    def _event(self, cursor: Cursor) -> bytes:
        ago = max(0, self._pm.image.now[im.UPTIME_S] - cursor.at_s)
        clock = self._pm.clock
        at = clock.text_ago(ago) if clock is not None and clock.is_set else None
        data = reasons.event_data(cursor.event, cursor.data, self._pm.image.banks)
        said = {"event_type": Event.name(cursor.event), "data": data}
        said.update({"n": cursor.at, "uptime_s": cursor.at_s, "time": at, "lost": cursor.lost})
        return json.dumps(said).encode()

    async def _publish_state(self) -> None:
        """One instant, in pieces."""
        await self._turn()  # the longest step: some 30 ms
        figures = self._pm.stats()
        await asyncio.sleep_ms(0)
        figures["fault"] = bool(figures["faults"])
        figures["emergency_state"] = self._pm.mode == Mode.EMERGENCY
        for more in (self._orders.figures(), self._energy.figures()):
            for key, value in more:
                figures[key] = value
        figures["dropped"] = self._cursor.lost + self.client.dropped
        chunks = []
        for chunk in _chunks(figures):
            chunks.append(chunk)
            await asyncio.sleep_ms(0)
        await self.client.publish_pieces(self._topics.below("state"), lambda: chunks, True)
        self.states += 1

    async def _announce(self) -> None:
        """What Home Assistant shows; where it is not wanted, what an earlier site file had told it is taken back."""
        if not self._discovers:
            await self.client.publish(self._topics.config(), b"", True)
            return
        par = self._pm.image.par[:]
        control = self._allowed == "control"
        banks = [bank["name"] for bank in self._pm.banks()]

        def pieces():
            return discovery.pieces(self._topics, self._site, par, self._groups, control, banks)

        await self.client.publish_pieces(self._topics.config(), pieces, True)

    # ---- for people ---------------------------------------------------------------------------------------

    def stop(self) -> None:
        """The connection ends, which the broker says; what was commanded is over."""
        self._orders.end()
        self.client.close()

    def counters(self) -> dict:
        """The connection and why there is none, states published, promises that wait, were repeated or dropped, commands."""
        client = self.client
        return {
            "connected": client.connected,
            "problem": self.problem,
            "connections": self.connections,
            "tries": self.tries,
            "states": self.states,
            "waiting": len(client.waiting),
            "repeated": client.repeated,
            "dropped": client.dropped,
            "events_lost": self._cursor.lost,
            "too_long": client.too_long,
            "accepted": self._orders.accepted,
            "refused": self._orders.refused,
        }


def _chunks(figures: dict):
    """A JSON object in a few pieces: a heap in small ones has no place for all of it."""
    parts = []
    size = 0
    between = "{"
    for key in figures:
        parts.append('%s"%s":%s' % (between, key, json.dumps(figures[key])))
        between = ","
        size += len(parts[-1])
        if size >= _CHUNK:
            yield "".join(parts).encode()
            parts.clear()
            size = 0
    parts.append("}")
    yield "".join(parts).encode()


def _slug(text: str) -> str:
    """As a part of a topic: small letters, digits, _."""
    return "".join([c if "a" <= c <= "z" or "0" <= c <= "9" else "_" for c in text.lower()]) or "site"


def _serial() -> str:
    """The chip's own number; "" where it has none."""
    try:
        from machine import unique_id

        return "".join(["%02x" % byte for byte in unique_id()])
    except (ImportError, AttributeError):
        return ""


# ---- the site file ------------------------------------------------------------------------------------------


def check_options(where: str, options: dict, errors: list) -> None:
    """What a row cannot say."""
    for key in ("topic", "discovery_prefix"):
        text = options.get(key, "")
        wrong = [c for c in text if not " " < c <= "~" or c in _FORBIDDEN]
        if wrong or text[:1] in ("/", "$") or text[-1:] == "/":
            form = "%s.%s = %r: must be ASCII without spaces, quotes, + and #, and neither begin with / or $ nor end with /"
            errors.append(form % (where, key, text))
    if options.get("password") and not options.get("user"):
        errors.append("%s.password: needs a user; MQTT knows none without" % where)


def check_beside(where: str, options: dict, found) -> None:
    """Which groups of values the site's devices fill: Home Assistant shows no others."""
    groups = 0x3F if found.banks is not None else 0  # each bank has a battery and an inverter
    for bit in found.owners:
        groups |= 1 << bit
    options["groups"] = groups
