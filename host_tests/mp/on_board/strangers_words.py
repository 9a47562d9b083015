"""What devices and servers say of themselves, read under MicroPython: `strangers_words.py`.

Everybody says every byte once.  The interpreter's table of names is printed before and after, with a line between.
"""

import asyncio

import micropython
from httpd.answer import Refused
from httpd.files import Files
from httpd.request import Request
from ntp import parse

from firmware.devices import pylontech_hv, pylontech_lv
from firmware.devices.sunspec import SunSpec
from firmware.services.keys import Editor
from firmware.services.terminal import Terminal
from firmware.web.logins import Logins
from modbus import rarer
from modbus.client import PDU


class Named:
    """A SunSpec device whose common model has the given bytes; it answers function 43/14 with the same."""

    connections = 0
    registers = 125

    def __init__(self, said):
        self.frame = bytearray(260)
        self._said = said
        named = [said[i % len(said)] << 8 | said[(i + 1) % len(said)] for i in range(66)]
        self._map = [0x5375, 0x6E53, 1, 66] + named + [0xFFFF, 0]

    async def read_registers(self, unit, address, count, out, function=3, to_write=False):
        for i in range(count):
            out[i] = self._map[address - 40000 + i]

    def free_slot(self):
        return self

    def release(self, slot):
        pass

    def refuse(self, why):
        raise ValueError(why)

    async def transact(self, slot, unit, length):
        said = self._said[: min(len(self._said), 200)]
        head = bytes((43, 14, 1, 1, 0, 0, 1, 0, len(said)))
        self.frame[PDU : PDU + len(head) + len(said)] = head + said
        return len(head) + len(said)


class Roles:
    """As much of the console's roles as a login looks at: every PIN is right."""

    problem = ""
    pins = {"view": "salt:hash"}

    def known(self):
        return self

    def is_pin(self, name, pin):
        return True
        yield


def logged_in():
    """Logins, and the one that there is."""
    logins = Logins(Roles(), 30, lambda who, accepted: None)
    try:
        work = logins.login("10.0.0.1", "view", "1234", 0)
        while True:
            next(work)
    except StopIteration as end:
        return logins, end.value


class Nobody:
    """A console whose keys' work is not looked at: it has a history without a line."""

    history = ()

    def screen(self):
        return self

    def known_commands(self):
        return self

    def complete(self, text):
        return "", []


def parts(said, size):
    return [said[at : at + size] for at in range(0, len(said), size)]


def listen(said):
    """Everything that takes a name or a word from somebody else."""
    for some in parts(said, 60):
        device = Named(some)
        sun = SunSpec(device, 1, (), (), 70, 125, 0)
        asyncio.run(sun.discover())
        asyncio.run(rarer.identify(device, 1))
    for some in parts(said, 8):
        pylontech_hv.equipment((None, None, some, some), "little")
        pylontech_lv.equipment((some, None, None), "little")
    for some in parts(said, 4):
        reply = bytearray(48)
        reply[0] = 0x24
        reply[24:32] = bytes(range(8))
        reply[12 : 12 + len(some)] = some
        try:
            parse(bytes(reply), bytes(40) + bytes(range(8)), 0, 1)
        except ValueError:
            pass


    listen_to_a_browser(said)
    listen_to_keys(said)


def listen_to_a_browser(said):
    """What it asks for, and its cookies: of other servers of this host too, which may be any text."""
    for byte in said:
        for path in (b"/%c.html" % byte, b"/a%c.html" % byte, b"%c" % byte):
            try:
                Files("www", "stamp").answer(Request(b"GET " + path + b" HTTP/1.1\r\nHost: a"))
            except Refused:
                pass
        letter = bytes((byte,)) if byte < 128 else bytes((0xC0 | byte >> 6, 0x80 | byte & 63))  # as UTF-8
        head = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + letter + b"session=" + SESSION.token.encode() + letter
        try:
            LOGINS.of(Request(head), 0)
        except Refused:
            pass


def listen_to_keys(said):
    """Noise on a line whose other end is open, among it the beginnings of sequences."""
    terminal = Terminal(None)
    editor = Editor(Nobody())
    for byte in said:
        if byte >= 32:  # of the others the terminal passes on those that edit
            for code in (byte, 27, byte, 27, 91, byte):
                editor.press(terminal, code)


LOGINS, SESSION = logged_in()
ALL = bytes(range(256))
listen(b"Maker")
micropython.qstr_info(True)
listen(ALL)
print("----")
micropython.qstr_info(True)
