"""Reads the head of an HTTP/1.1 request: what is well formed and bounded, and of its headers those that anybody asks for."""

from micropython import const

from httpd.answer import Refused

PATH_MAX = const(512)  # bytes, with the query
_KEPT = const(
    " host origin cookie x-csrf content-type content-length if-none-match accept-encoding connection expect transfer-encoding "
)
_SHORTEST = const(4)  # of their names
_LONGEST = const(17)
_LINES_MAX = const(64)  # of a head: a browser sends some twenty
_JOINED_MAX = const(256)  # letters of a header that stands there several times
_METHODS = const(("GET", "HEAD", "POST"))
_ONCE = const(" content-length host transfer-encoding cookie ")


class Request:
    """method, path, query (name -> text), headers (those that are kept, by their name in small letters), body, address."""

    def __init__(self, head: bytes) -> None:
        """head: up to the empty line, without it.  Refused for what is none."""
        self.body = b""
        self.address = ""
        self.length = 0  # of the body that follows
        if head.count(b"\r\n") > _LINES_MAX:
            raise Refused(431, "the head has more than %d lines" % _LINES_MAX)
        lines = head.split(b"\r\n")
        self.method, self.path, self.query, version = _first_line(lines[0])
        self.headers: dict = {}
        for line in lines[1:]:
            self._take(line)
        headers = self.headers
        if "host" not in headers and version:
            raise Refused(400, "the header Host is missing")
        if "transfer-encoding" in headers:
            raise Refused(411, "a body comes with its Content-Length, and not in chunks")
        if "content-length" in headers:
            text = headers["content-length"]
            if not text.isdigit() or len(text) > 7:
                raise Refused(400, "Content-Length = %.20s: must be a whole number" % text)
            self.length = int(text)
        wants = headers.get("connection", "").lower()
        self.is_old = not version  # HTTP/1.0: no chunks
        self.keeps = version and "close" not in wants  # the connection stays for the next one

    def _take(self, line: bytes) -> None:
        at = line.find(b":")
        if at < 1 or b" " in line[:at] or b"\t" in line[:at]:
            raise Refused(400, "a header line has a name, a colon and a value")
        if b"\n" in line or b"\r" in line or b"\0" in line:  # a proxy before us may see another line there
            raise Refused(400, "a header line ends with CR and LF, and has neither in it")
        if not _LONGEST >= at >= _SHORTEST:
            return
        try:
            text = line[:at].decode().lower()
            if " %s " % text not in _KEPT:
                return
            value = line[at + 1 :].decode().strip()
        except UnicodeError:
            raise Refused(400, "a header is no text")
        if text in self.headers:
            if " %s " % text in _ONCE:
                raise Refused(400, "the header %s stands there twice" % text)
            value = "%s; %s" % (self.headers[text], value)
            if len(value) > _JOINED_MAX:
                raise Refused(431, "the header %s has more than %d letters" % (text, _JOINED_MAX))
        self.headers[text] = value


def _first_line(line: bytes) -> tuple:
    """method, path, query, and whether it is HTTP/1.1."""
    parts = line.split(b" ")
    if len(parts) != 3 or parts[2][:7] != b"HTTP/1.":
        raise Refused(400, "a request begins with a method, a path and HTTP/1.1")
    if len(parts[1]) > PATH_MAX:
        raise Refused(414, "the path has %d bytes: allowed are 1 to %d" % (len(parts[1]), PATH_MAX))
    for byte in line:
        if not 32 <= byte <= 126:
            raise Refused(400, "a path is ASCII, the rest of it percent-encoded")
    method = parts[0].decode()
    if method not in _METHODS:
        raise Refused(405, "%.20s: allowed are %s" % (method, ", ".join(_METHODS)), "Allow: %s\r\n" % ", ".join(_METHODS))
    target = parts[1].decode()
    if not target.startswith("/"):
        raise Refused(400, "a path begins with /")
    path, _, query = target.partition("?")
    return method, path, _query(query) if query else {}, parts[2] != b"HTTP/1.0"


def _query(text: str) -> dict:
    found = {}
    for part in text.split("&"):
        name, _, value = part.partition("=")
        found[plain(name)] = plain(value)
    return found


def plain(text: str) -> str:
    """Percent-encoded text as it is meant.  Refused for what is none."""
    text = text.replace("+", " ")
    if "%" not in text:
        return text
    parts = text.split("%")
    made = parts[0].encode()
    try:
        for part in parts[1:]:
            if len(part) < 2:
                raise ValueError
            made += bytes([int(part[:2], 16)]) + part[2:].encode()
        return made.decode()
    except (ValueError, UnicodeError):
        raise Refused(400, "%.40s: is not percent-encoded UTF-8" % text)
