"""The wire from the simulated chip to its supervisor, which owns what outlives the interpreter.

Watchdog, pins, reset cause, RTC memory and the power switch are outside the interpreter, so a hung program
really is cut off.  Messages in both directions: op, arg, payload length (2 bytes, little-endian), payload.

To the supervisor: F feed; S the board's figures (JSON); T what read flash (arg I import, O file opened, S for a store;
payload: reads as 4 bytes, name); W arm the watchdog (payload: ms); H/L output pin high/low; I/O pin is now an input or an
output; K the character that interrupts the program (255: none); R reset (arg 0 hard, 1 soft, 2 deep sleep); M RTC memory;
D RTC offset; C interrupt the program; P after the next soft reset the prompt (arg 1: the raw one, without main.py).
From the supervisor: B boot facts, first and once; H/L/Z input pin driven high, low, or no longer driven;
X the power goes in a moment; Q send the figures (arg 1: with the heap's).

Feeding and pin writes allocate nothing.
"""

import os
import sys

import micropython
import usocket
from micropython import const
from sim_pace import off, on

_PINS = const(49)  # GPIO 0 to 48: what an ESP32 or ESP32-S3 has at most

level = bytearray(_PINS)  # every pin: 0 or 1; 2 for one that nobody drives and no resistor pulls
pull = bytearray(_PINS)  # the level a pin has while nobody drives it
changed = bytearray(_PINS)  # bit 0: it rose, bit 1: it fell, since a Pin's irq last looked
cause = 1  # machine.PWRON_RESET
rtc_offset_s = 0  # RTC minus the host's clock
rtc_memory = b""
unique_id = b"\x24\x0a\xc4\x00\x00\x01"
armed = False  # the watchdog runs
leaving = False  # the board is being switched off
interfaces: dict = {}  # what network.WLAN knows of each
own: list = []  # file numbers of the sockets that are wires of the simulated chip, and none of the firmware's

_head = bytearray(4)
_rx = bytearray(4)
_rx_have = 0
_sock = None


def address(text: str) -> tuple:
    """The socket address of "host:port".  Raises ValueError for anything else."""
    host, _, port = text.rpartition(":")
    if not host or not port:
        raise ValueError("%r is not host:port" % text)
    return usocket.getaddrinfo(host, int(port))[0][-1]


def wire(where: str):
    """A wire to "host:port" on the host.  Raises OSError where nobody answers."""
    end = usocket.socket()
    try:
        end.connect(address(where))
    except OSError:
        end.close()
        raise
    own.append(end.fileno())
    return end


def cut(end) -> None:
    """Takes a wire away."""
    number = end.fileno()
    if number in own:
        own.remove(number)
    end.close()


def fetch(file: str, name: str, stays: bool = False):
    """What `name` is in a file that leaves the heap again, as on a chip this code is in flash, unless it `stays`."""
    off()
    try:
        found = getattr(__import__(file), name)
        if not stays:
            del sys.modules[file]
        return found
    finally:
        on()


@micropython.native
def send(op: int, arg: int) -> None:
    """One message without payload.  Allocates nothing."""
    if _sock is not None:
        off()
        _head[0] = op
        _head[1] = arg
        try:
            _sock.write(_head)
        except OSError:
            pass  # the supervisor has gone: the power will be cut in a moment
        on()


def send_data(op: int, arg: int, payload: bytes) -> None:
    """One message with its payload.  Raises OSError where there is no supervisor."""
    if _sock is None:
        raise OSError("no supervisor: SIM_BOARD is not set")
    off()
    try:
        _sock.write(bytes((op, arg, len(payload) & 255, len(payload) >> 8)) + payload)
    finally:
        on()


@micropython.native
def pump() -> None:
    """Takes in what the supervisor has said since: input pins.  Allocates nothing."""
    off()
    try:
        _take_in()
    finally:
        on()


def _take_in() -> None:
    global _rx_have, leaving
    while _sock is not None:
        got = _sock.readinto(_rx if _rx_have == 0 else memoryview(_rx)[_rx_have:])
        if not got:
            return
        _rx_have += got
        if _rx_have < 4:
            return
        _rx_have = 0
        if _rx[0] == 0x58:
            leaving = True
            continue
        if _rx[0] == 0x51:
            fetch("sim_stats", "report")(_rx[1])
            continue
        pin = _rx[1]
        high = 1 if _rx[0] == 0x48 else 0 if _rx[0] == 0x4C else pull[pin]
        if level[pin] != high:
            level[pin] = high
            changed[pin] |= 1 if high == 1 else 2


def _open(where: str) -> None:
    global _sock, cause, rtc_offset_s, rtc_memory, unique_id
    _sock = wire(where)
    head = _sock.read(4)  # a blocking socket gives as many as it is asked for
    facts = _sock.read(head[2] | head[3] << 8)
    cause = head[1]
    rtc_offset_s = int.from_bytes(facts[0:8], "little")
    if facts[7] & 0x80:
        rtc_offset_s -= 1 << 64
    unique_id = facts[8:14]
    level[:] = facts[14 : 14 + _PINS]
    rtc_memory = facts[14 + _PINS :]
    _sock.setblocking(False)


if os.getenv("SIM_BOARD"):
    _open(os.getenv("SIM_BOARD"))
del _open  # what is named here stays in the heap for ever
