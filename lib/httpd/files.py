"""Gives a browser the files of a folder, which are kept gzipped: read in pieces, and only where the browser has them not yet."""

import os

from micropython import const

from httpd.answer import Answer, Refused

_PIECE = const(512)
_LONGEST = const(40)  # characters of a name
_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "webmanifest": "application/manifest+json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "txt": "text/plain; charset=utf-8",
    "woff2": "font/woff2",
}


class Files:
    """The files NAME.gz of a folder, without folders in it; stamp: what changes whenever they may have changed."""

    def __init__(self, folder: str, stamp: str) -> None:
        self._folder = folder
        self._stamp = stamp

    def answer(self, request) -> Answer:
        """To a GET of "/" (index.html) or "/NAME".  Refused where there is none."""
        name = request.path[1:] or "index.html"
        kind = _KINDS.get(name[name.rfind(".") + 1 :])
        path = "%s/%s.gz" % (self._folder, name)
        if kind is None or not _is_name(name):
            raise Refused(404, "there is no such path")
        try:
            found = os.stat(path)
        except OSError:
            raise Refused(404, "there is no such file")
        tag = '"%s-%x-%x"' % (self._stamp, found[6], found[8])
        more = "ETag: %s\r\nCache-Control: no-cache\r\nVary: Accept-Encoding\r\n" % tag
        headers = request.headers
        if tag in headers.get("if-none-match", ""):
            return Answer(b"", 304, kind, more)
        accepts = headers.get("accept-encoding")
        if accepts is not None and "gzip" not in accepts and "*" not in accepts:
            raise Refused(406, "the files of the page are gzipped: Accept-Encoding must have gzip")
        return Answer(_pieces(path), 200, kind, more + "Content-Encoding: gzip\r\n", found[6])


def _is_name(name: str) -> bool:
    if len(name) > _LONGEST or name.startswith("."):
        return False
    for byte in name.encode():  # a letter of a stranger's that is a text of its own stays for good: notice.readable
        if not (97 <= byte <= 122 or 48 <= byte <= 57 or byte in b"._-"):
            return False
    return True


def _pieces(path: str):
    file = open(path, "rb")
    try:
        while True:
            piece = file.read(_PIECE)
            if not piece:
                return
            yield piece
    finally:
        file.close()
