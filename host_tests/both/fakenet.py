"""A network of lists: what the modules `socket` and `select` are to a server, and the connections that a test makes to it."""


class Socket:
    """One end of a connection, the test has the other: `incoming` is what it has sent, `outgoing` what it got last."""

    def __init__(self):
        self.incoming = b""
        self.outgoing = b""
        self.gone = False
        self.closed = False

    def hang_up(self):
        """The test's end is closed; what it has sent is still there to be read."""
        self.gone = True

    def setblocking(self, _flag):
        pass

    def piece(self, most):
        """How many bytes are handed over at once, of so many."""
        return most

    def readinto(self, buffer, size=-1):
        if not self.incoming:
            return 0 if self.gone else None
        got = self.piece(min(len(buffer) if size < 0 else size, len(self.incoming)))
        buffer[:got] = self.incoming[:got]
        self.incoming = self.incoming[got:]
        return got

    def write(self, buffer, *place):
        """As a board's: (buffer, size) or (buffer, start, size)."""
        start, size = place if len(place) == 2 else (0, place[0])
        self.outgoing = bytes(buffer[start : start + size])
        return size

    def close(self):
        self.closed = True


class Net(Socket):
    """Stands for both modules and is the one that listens: `call` connects to it."""

    SOL_SOCKET = SO_REUSEADDR = SOCK_STREAM = POLLIN = 1
    POLLOUT = 4

    def __init__(self):
        super().__init__()
        self.watched = []
        self.calling = []

    def call(self, sock=None):
        """A connection that waits to be accepted."""
        sock = sock or Socket()
        self.calling.append(sock)
        return sock

    # ---- as socket -------------------------------------------------------------------------------------
    def socket(self, *_kind):
        return self

    def getaddrinfo(self, host, port, *_kind):
        return [(0, 0, 0, "", (host, port))]

    def setsockopt(self, *_option):
        pass

    def bind(self, _address):
        pass

    def listen(self, _most):
        pass

    def accept(self):
        return self.calling.pop(0), ("10.0.0.9", 50000)

    # ---- as select -------------------------------------------------------------------------------------
    def poll(self):
        return self

    def register(self, sock, _events):
        self.watched.append(sock)

    def modify(self, sock, _events):
        pass

    def unregister(self, sock):
        self.watched.remove(sock)

    def ipoll(self, _timeout):
        return [(sock, self.POLLIN) for sock in self.watched if (self.calling if sock is self else sock.incoming or sock.gone)]
