"""What a request is answered with."""

from micropython import const

_WORDS = const(
    " 200 OK 204 No Content 304 Not Modified 400 Bad Request 401 Unauthorized 403 Forbidden 404 Not Found 405 Method Not Allowed"
    " 406 Not Acceptable 408 Request Timeout 409 Conflict 411 Length Required 413 Content Too Large 414 URI Too Long"
    " 415 Unsupported Media Type 429 Too Many Requests 431 Request Header Fields Too Large 500 Internal Server Error"
    " 501 Not Implemented 503 Service Unavailable 505 HTTP Version Not Supported 9"
)


class Refused(Exception):
    """A request that is not done: status, words for people, further header lines."""

    def __init__(self, status: int, words: str, more: str = "") -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.more = more


class Answer:
    """status; kind: its Content-Type; body: bytes, or a generator of pieces of text or bytes, of which None means "not now".

    more: further header lines, each with its end; length: of what a generator gives, -1: not known; stream: it goes on for as
    long as both sides want it; known: whoever asked may keep the connection before strangers.
    """

    def __init__(
        self, body=b"", status: int = 200, kind: str = "application/json", more: str = "", length: int = -1,
        stream: bool = False, known: bool = False,
    ) -> None:  # fmt: skip
        self.status = status
        self.kind = kind
        self.body = body
        self.more = more
        self.length = length
        self.stream = stream
        self.known = known


def status_line(status: int) -> str:
    """Of an answer, with its end."""
    at = _WORDS.find(" %d " % status)
    words = ""
    if at >= 0:
        end = at + 5
        while not ("0" <= _WORDS[end] <= "9"):
            end += 1
        words = _WORDS[at + 5 : end - 1]
    return "HTTP/1.1 %d %s\r\n" % (status, words)
