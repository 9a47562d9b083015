"""One connection of the HTTP server: takes a request in pieces, gives its answer in pieces, each as long as others can wait.

`step` does one piece of work and says whether there was any; none of it waits for the peer.
"""

import time

from micropython import const

from httpd.answer import Answer, Refused, status_line
from httpd.request import PATH_MAX, Request

HEAD_MAX = const(4096)  # bytes of a request without its body
_SHORT = const(1024)  # the same of most
_CHUNK = const(512)  # bytes of an answer that are sent together
_SLICE_US = const(4000)  # of making them
_FIRST_MS = const(5000)  # a new connection says something
_IDLE_MS = const(15000)  # and one that was answered says something more
_HEAD_MS = const(5000)  # a request is there whole, from its first byte on
_BODY_MS = const(10000)
_STUCK_MS = const(5000)  # an answer is taken on
_STREAM_STUCK_MS = const(10000)
_LONGEST_MS = const(60000)  # an answer is gone
_DRAIN_MS = const(500)  # what still comes behind a refusal is read away: a reset would take the answer with it
_LATER_MS = const(50)  # an answer that is not ready is asked for again
_STREAM_MS = const(100)
# garbage, as it was counted: of a request, and of each byte of an answer that is made in pieces
_REQUEST_BYTES = const(6000)
_TIMES = const(6)

# states
HEAD = const(0)
BODY = const(1)
WAITS = const(2)  # its client asks too often
WORKS = const(3)  # the answer is being made
SENDS = const(4)
DRAINS = const(5)
_LIMITS = (_HEAD_MS, _BODY_MS, _LONGEST_MS, _LONGEST_MS, _LONGEST_MS, _DRAIN_MS)


class Connection:
    """One peer; sock is None once it is gone."""

    def __init__(self, server, sock, address: str, now: int) -> None:
        """server: see server.Server."""
        self.sock = sock
        self.below = sock  # the plain one, where TLS is before it: a handshake that fails leaves it open
        self.address = address
        self.ready = False  # the poller has found something
        self.known = False  # somebody who has shown who he is
        self.stream = False  # it gets a stream
        self.blocked = False  # what it is sent has to wait for the peer
        self.state = HEAD
        self.since_ms = now  # the state's first moment; in HEAD of the first byte, or of nothing yet
        self._server = server
        self._fresh = True  # nothing was ever asked
        self._have = bytearray()  # of a head, or what came behind a request ...
        self._unseen = False  # ... and was not looked at yet
        self._may_be_long = False  # it may have more than most
        self._body = bytearray()
        self._got = 0
        self._request = None
        self._work = None  # the generator that makes the answer
        self._pieces = None  # the generator of its body
        self._chunked = False
        self._out = b""  # what is to be sent, from _sent on
        self._sent = 0
        self._moved_ms = now
        self._due_ms = now  # not looked at again before
        self._keeps = False

    def waits_ms(self, now: int) -> int:
        """For how long it has been its peer's turn: to ask, to say the rest, to take what it is sent; -1: it is ours."""
        state = self.state
        if state == WAITS or state == WORKS or (state == SENDS and not self.blocked):
            return -1
        return time.ticks_diff(now, self._moved_ms if state == SENDS else self.since_ms)

    def is_over(self, now: int) -> bool:
        """It has taken too long over whatever it does."""
        state = self.state
        passed = time.ticks_diff(now, self.since_ms)
        if state == SENDS:
            stuck = time.ticks_diff(now, self._moved_ms) if self.blocked else 0
            if self.stream:
                return stuck > _STREAM_STUCK_MS
            return stuck > _STUCK_MS or passed > _LONGEST_MS
        if state == HEAD and not self._have:
            return passed > (_FIRST_MS if self._fresh else _IDLE_MS)
        return passed > _LIMITS[state]

    def is_long(self) -> bool:
        """It keeps more of the heap for what it says than most."""
        return self._may_be_long and len(self._have) >= _SHORT

    def _reads_on(self) -> bool:
        """What comes may be kept: a long head waits for its turn where it is, not in the heap."""
        if len(self._have) >= _SHORT:
            self._may_be_long = self.is_long() or self._server.has_place_for_long()
            return self._may_be_long
        return True

    def end(self) -> None:
        """Let go of what it holds; the socket is the server's to close."""
        for made in (self._work, self._pieces):
            if made is not None:
                made.close()
        if self.state == WAITS:
            self._server.forget_request(self)
        self._work = self._pieces = self._request = None

    def step(self, now: int) -> bool:
        """One piece of work, False: there was none.  OSError where the peer is gone; EOFError: it is to be closed."""
        state = self.state
        if state == SENDS:
            return self._go_on(now)
        if state == WORKS or state == WAITS:
            if self.ready and not self.blocked:
                self._look_behind()
            if time.ticks_diff(now, self._due_ms) < 0:
                return False
            if state == WAITS:
                if not self._server.has_space():
                    self._due_ms = time.ticks_add(now, _LATER_MS)
                    return False
                self._begin(now)
            else:
                self._work_on(now)
            return True
        if self._unseen and state == HEAD:  # the next request had come with the one before
            self._unseen = False
            self._feed(b"", now)
            return True
        if not self.ready or (state == HEAD and not self._reads_on()):
            return False
        self.ready = False
        chunk = self._server.chunk
        got = self.sock.readinto(chunk)
        if got is None:
            return False
        if not got:
            raise EOFError
        if state == DRAINS:
            return True
        if state == BODY:
            self._fill(bytes(chunk[:got]), now)
        else:
            self._feed(memoryview(chunk)[:got], now)
        return True

    def _look_behind(self) -> None:
        """What comes while an answer is made: that the peer has gone, or its next request."""
        if not self._reads_on():
            return
        self.ready = False
        chunk = self._server.chunk
        got = self.sock.readinto(chunk)
        if got is None:
            return
        if not got or len(self._have) + got > HEAD_MAX:
            raise EOFError
        if not self.stream:
            self._have.extend(memoryview(chunk)[:got])

    # ---- a request ------------------------------------------------------------------------------------------

    def _feed(self, data, now: int) -> None:
        """More of a head, or the last of it.  What is there grows in place: who says it byte by byte makes no garbage."""
        have = self._have
        begun = len(have) > 0
        have.extend(data)
        if have[:2] == b"\r\n":  # some send one empty line behind a body: it begins nothing
            have = have[2:]
        self._have = have
        if have and not begun:
            self.since_ms = now
        end = have.find(b"\r\n\r\n")
        if end < 0 or end > HEAD_MAX:
            if len(have) > HEAD_MAX:
                self._refuse(Refused(431, "the headers have more than %d bytes" % HEAD_MAX), now)
            elif have and not 65 <= have[0] <= 90 and have != b"\r":
                self._refuse(Refused(400, "a request begins with its method"), now)
            elif len(have) > PATH_MAX + 16 and b"\r\n" not in have:
                self._refuse(Refused(414, "the path has more than %d bytes" % PATH_MAX), now)
            return
        self._have = have[end + 4 :]
        try:
            request = self._request = Request(bytes(have[:end]))
            request.address = self.address
            if request.length:
                most = self._server.handler.longest(request)
                if request.length > most:
                    raise Refused(413, "the body has %d bytes: allowed are 0 to %d" % (request.length, most))
                self._body = bytearray(request.length)
        except Refused as error:
            self._refuse(error, now)
            return
        except MemoryError:
            self._refuse(Refused(503, "no memory for that at present", "Retry-After: 1\r\n"), now)
            return
        self._fresh = False
        if not request.length:
            self._come(now)
            return
        self._got = 0
        self.state = BODY
        self.since_ms = now
        if request.headers.get("expect") and not self._have:
            self.sock.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        rest = self._have
        self._have = bytearray()
        if rest:
            self._fill(rest, now)

    def _fill(self, data, now: int) -> None:
        body = self._body
        size = min(len(data), len(body) - self._got)
        body[self._got : self._got + size] = data[:size]
        self._got += size
        if self._got == len(body):
            self._request.body = bytes(body)
            self._body = bytearray()
            self._have = bytearray(data[size:])
            self._come(now)

    def _come(self, now: int) -> None:
        """The request is there."""
        wait_ms = self._server.rest_ms(self, now)
        self.state = WAITS
        self.since_ms = now
        self._due_ms = time.ticks_add(now, wait_ms)
        if not wait_ms and self._server.has_space():
            self._begin(now)

    def _begin(self, now: int) -> None:
        """Have it answered."""
        self.state = WORKS
        self.since_ms = self._due_ms = now
        self._server.count_request(_REQUEST_BYTES)
        try:
            answer = self._server.handler.answer(self._request)
        except Exception as error:
            self._fail(error, now)
            return
        if isinstance(answer, Answer):
            self._start(answer, now)
        else:
            self._work = answer

    def _work_on(self, now: int) -> None:
        """A piece of making the answer: the generator returns it at its end."""
        try:
            next(self._work)
            self._due_ms = time.ticks_add(now, _LATER_MS)
        except StopIteration as end:
            self._work = None
            self._start(end.value, now)
        except Exception as error:
            self._work = None
            self._fail(error, now)

    def _fail(self, error, now: int) -> None:
        if isinstance(error, MemoryError):
            error = Refused(503, "no memory for that at present", "Retry-After: 1\r\n")
        elif not isinstance(error, Refused):
            self._server.failed(error)
            error = Refused(500, "%s: %s" % (type(error).__name__, error))
        self._start(self._server.handler.refusal(error), now)

    def _refuse(self, error: Refused, now: int) -> None:
        """What is no request ends the connection."""
        self._request = None
        self._start(self._server.handler.refusal(error), now)

    # ---- its answer -----------------------------------------------------------------------------------------

    def _start(self, answer: Answer, now: int) -> None:
        request = self._request
        body = answer.body
        made = not isinstance(body, (bytes, str))
        if isinstance(body, str):
            body = body.encode()
        length = answer.length if made else len(body)
        old = request is not None and request.is_old
        self._keeps = request is not None and request.keeps and (length >= 0 or not old) and not self._server.is_crowded()
        self._chunked = made and length < 0 and not old
        self.known = self.known or answer.known
        self.stream = answer.stream
        head = "%s%s%sContent-Type: %s\r\n" % (status_line(answer.status), self._server.headers, answer.more, answer.kind)
        if answer.status == 304:
            made = False
            body = b""
        elif self._chunked:
            head += "Transfer-Encoding: chunked\r\n"
        elif length >= 0:
            head += "Content-Length: %d\r\n" % length
        if not self._keeps:
            head += "Connection: close\r\n"
        if request is not None and request.method == "HEAD":
            if made:
                answer.body.close()
            made = False
            body = b""
        self._pieces = answer.body if made else None
        self._out = b"%s\r\n%s" % (head.encode(), b"" if made else body)
        self._sent = 0
        self._request = None
        self.state = SENDS
        self.since_ms = self._moved_ms = self._due_ms = now
        self._send(now)

    def _go_on(self, now: int) -> bool:
        """Send what there is, make more, or be done."""
        if self._out:
            if self.blocked and not self.ready:
                return False
            self.ready = False
            return self._send(now)
        if self.ready:
            self._look_behind()
        if time.ticks_diff(now, self._due_ms) < 0:
            return False
        if self._pieces is None:
            self._done(now)
            return True
        if not self.stream and not self._server.has_space():
            self._due_ms = time.ticks_add(now, _LATER_MS)
            return False
        return self._make(now)

    def _send(self, now: int) -> bool:
        out = self._out
        sent = self.sock.write(memoryview(out)[self._sent :] if self._sent else out)
        if sent:
            self._moved_ms = now
            self._sent += sent
        if self._sent < len(out):
            self._block(True)
            return bool(sent)
        self._out = b""
        self._sent = 0
        self._block(False)
        return True

    def _block(self, on: bool) -> None:
        if on != self.blocked:
            self.blocked = on
            self._server.look_for(self, on)

    def _make(self, now: int) -> bool:
        """The next pieces of the body, as many as may be sent or made at once."""
        made = []
        size = 0
        begun = time.ticks_us()
        while size < _CHUNK:
            try:
                piece = next(self._pieces)
            except StopIteration:
                self._pieces = None
                break
            if piece is None:
                self._due_ms = time.ticks_add(now, _STREAM_MS if self.stream else _LATER_MS)
                break
            made.append(piece.encode() if isinstance(piece, str) else piece)
            size += len(made[-1])
            if time.ticks_diff(time.ticks_us(), begun) >= _SLICE_US:
                break
        if self._chunked:
            if size:
                made.insert(0, b"%x\r\n" % size)
                made.append(b"\r\n")
            if self._pieces is None:
                made.append(b"0\r\n\r\n")
        if not made:
            return self._pieces is None
        self._server.made += _TIMES * size
        self._out = b"".join(made)
        self._moved_ms = now
        return self._send(now)

    def _done(self, now: int) -> None:
        self.stream = False
        self.since_ms = now
        if self._keeps:
            self.state = HEAD
            self._unseen = len(self._have) > 0
        else:
            self.state = DRAINS
            self._have = bytearray()
