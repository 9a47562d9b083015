"""A broker of lists for the client of lib/mqtt.py: what it writes is taken apart, what it reads is what a test puts there."""

import asyncio

from mqtt import Client


def packet(kind, body=b""):
    """A packet of MQTT as a broker makes it."""
    size = len(body)
    head = bytes((kind,))
    while True:
        head += bytes((size & 127 | (128 if size > 127 else 0),))
        size >>= 7
        if not size:
            return head + body


def text(words):
    data = words.encode()
    return bytes((len(data) >> 8, len(data) & 255)) + data


def message(topic, payload, qos=0, packet_id=7, retain=False):
    """A PUBLISH."""
    ident = bytes((packet_id >> 8, packet_id & 255)) if qos else b""
    return packet(0x30 | qos << 1 | retain, text(topic) + ident + payload)


class Socket:
    """`incoming` is read, `most` bytes at once; `outgoing` was written; `deaf`: nothing is taken."""

    def __init__(self, most=4096):
        self.incoming = b""
        self.outgoing = b""
        self.most = most
        self.gone = self.closed = self.deaf = False
        self.acks = True
        self.answers = {0x10: packet(0x20, b"\x00\x00")}

    def readinto(self, buffer):
        if not self.incoming:
            return 0 if self.gone else None
        got = min(len(buffer), len(self.incoming), self.most)
        buffer[:got] = self.incoming[:got]
        self.incoming = self.incoming[got:]
        return got

    def write(self, data):
        if self.deaf:
            return None
        if self.gone:
            raise OSError("reset")
        taken = bytes(data[: self.most])
        self.outgoing += taken
        self._answer(taken)
        return len(taken)

    def _answer(self, taken):
        kind = taken[0]
        if kind in self.answers:
            self.incoming += self.answers.pop(kind)
        elif kind == 0x82:
            self.incoming += packet(0x90, taken[2:4] + b"\x01")

    def close(self):
        self.closed = True

    def packets(self):
        """(first byte, body) of all that was written since the last call."""
        found = []
        data, self.outgoing = self.outgoing, b""
        while data:
            size = shift = 0
            at = 1
            while True:
                size |= (data[at] & 127) << shift
                shift += 7
                at += 1
                if not data[at - 1] & 128:
                    break
            found.append((data[0], data[at : at + size]))
            data = data[at + size :]
        return found


class Rig:
    """A client that is connected; `came` is what it has taken."""

    def __init__(self, connected=True, **given):
        self.came = []
        self.client = Client("bess-1", lambda *what: self.came.append(what), ("bess/status", "offline"), "me", "secret", **given)
        self.sock = Socket()
        if connected:
            self.do(self.client.connect(self.sock))
            self.sock.packets()

    def do(self, coroutine):
        return asyncio.run(coroutine)

    def receive(self, data, looks=200):
        """What the broker sends, looked at until nothing of it is left."""
        self.sock.incoming += data
        for i in range(looks):
            self.client.look(i)
            if not self.sock.incoming:
                break
