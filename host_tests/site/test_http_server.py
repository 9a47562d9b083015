"""The HTTP server of lib/httpd under MicroPython, asked by Python's own client and by raw sockets that are not so polite."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from host_tests.site.board_process import BoardProcess, board_process
from tools import pki
from tools.interpreters import Interpreter
from tools.ports import free_port

PAGE = b"<!doctype html><title>a page</title>" + b"x" * 3000


class Served:
    """A running server, for blocking clients."""

    def __init__(self, port: int, ask: Callable[[str], Any]) -> None:
        self.port = port
        self.ask = ask

    def client(self) -> http.client.HTTPConnection:
        """A connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def get(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        client = self.client()
        client.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = client.getresponse()
        found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        client.close()
        return found

    def raw(self, data: bytes, more: bytes = b"", pause_s: float = 0.0) -> bytes:
        """All that is answered to these bytes until the server closes, or says nothing for two seconds."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as sock:
            sock.sendall(data)
            if more:
                time.sleep(pause_s)
                sock.sendall(more)
            found = b""
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                while not _is_last(found) and (piece := sock.recv(4096)):
                    found += piece
            return found


def _is_last(found: bytes) -> bool:
    """Behind these answers none follows, and they are whole."""
    at = found.find(b"Connection: close\r\n")
    _, _, body = found[at:].partition(b"\r\n\r\n")
    length = re.findall(rb"Content-Length: (\d+)\r\n", found[found.rfind(b"HTTP/1.1", 0, at) :])
    return at >= 0 and bool(length) and len(body) >= int(length[0])


@contextlib.contextmanager
def serving(mp: Interpreter, **setup: Any) -> Iterator[Served]:
    """A server in a process of its own, until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port = free_port()

    @contextlib.asynccontextmanager
    async def board() -> AsyncIterator[BoardProcess]:
        async with board_process(mp, "http_board.py", {"port": port, **setup}) as process:
            yield process

    def call(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    context = board()
    process = call(context.__aenter__())
    try:
        yield Served(port, lambda line: call(process.ask(line)))
    finally:
        call(context.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("www")
    (folder / "index.html.gz").write_bytes(gzip.compress(PAGE))
    (folder / "app.js.gz").write_bytes(gzip.compress(b"let a = 1"))
    (folder / "secret.py").write_bytes(b"no page")
    return folder


@pytest.fixture(scope="module")
def server(mp64: Interpreter, www: Path) -> Iterator[Served]:
    with serving(mp64, www=str(www), options={"places": 6, "requests": 1000}) as served:
        yield served


def test_it_answers_what_a_client_asks(mp32: Interpreter, www: Path) -> None:
    with serving(mp32, www=str(www)) as served:
        status, headers, body = served.get("/echo?a=1&b=x%20y%C3%A4", "POST", b"hello")
        assert (status, json.loads(body)) == (200, {"method": "POST", "query": {"a": "1", "b": "x y\u00e4"}, "body": "hello"})
        assert headers["content-type"] == "application/json"
        status, headers, body = served.get("/numbers?count=3000")
        assert body.decode() == "".join(f"{i}\n" for i in range(3000))
        assert headers["transfer-encoding"] == "chunked"
        assert served.get("/later")[2] == b"later"
        assert (served.get("/later?how=refused")[0], served.get("/nothing")[0]) == (409, 404)
        assert served.get("/numbers", "HEAD")[2] == b""


def test_one_connection_serves_one_request_after_another(server: Served) -> None:
    client = server.client()
    for _ in range(5):
        for path in ("/echo", "/numbers?count=10", "/nothing", "/later"):
            client.request("GET", path)
            client.getresponse().read()
    client.close()
    assert b"Connection: close" in server.raw(b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = server.raw(b"GET /numbers?count=2 HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n0\n1\n"), "HTTP/1.0 knows no chunks"


def test_a_page_is_sent_gzipped_and_only_once(server: Served) -> None:
    status, headers, body = server.get("/", accept_encoding="gzip")
    assert (status, gzip.decompress(body), headers["content-encoding"]) == (200, PAGE, "gzip")
    assert headers["content-type"] == "text/html; charset=utf-8"
    again = server.get("/index.html", accept_encoding="gzip", if_none_match=headers["etag"])
    assert (again[0], again[2]) == (304, b"")
    assert server.get("/app.js", accept_encoding="gzip, br")[1]["content-type"].startswith("text/javascript")
    assert server.get("/app.js", accept_encoding="identity")[0] == 406
    outside = ("/../boot.py", "/..%2fboot.py", "/secret.py", "/.html", "/a/b.html", "/%00.html", "//etc/passwd", "/INDEX.html")
    for path in (*outside, "/x" * 100):
        assert server.get(path, accept_encoding="gzip")[0] == 404, path


HOSTILE = [
    (b"GET /echo HTTP/1.1\r\n\r\n", 400),  # no Host
    (b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET /echo\r\n\r\n", 400),
    (b"get /echo HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    (b"GET  /echo HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", 400),  # no path
    (b"GET http://a/echo HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /echo HTTP/2.0\r\nHost: a\r\n\r\n", 400),
    (b"DELETE /echo HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    (b"GET /ec\xffho HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /echo?a=%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /echo?a=%ff%fe HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"GET /" + b"a" * 600 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET /" + b"a" * 9000, 414),
    (b"GET /echo HTTP/1.1\r\nHost: a\r\n" + b"X-Long: " + b"a" * 5000 + b"\r\n\r\n", 431),
    (b"GET /echo HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 2000, 431),
    (b"GET /echo HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 64 + b"\r\n", 431),  # short, and too many of them
    (b"GET /echo HTTP/1.1\r\nHost: a\r\n" + b"Accept-Encoding: gzip;q=0.5\r\n" * 30 + b"\r\n", 431),
    (b"GET /echo HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n", 400),
    (b"\r\n" * 200, 400),
    (b"GET /echo HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n", 400),
    (b"GET /echo HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    (b"GET /echo HTTP/1.1\r\nnothing\r\n\r\n", 400),
    (b"POST /echo HTTP/1.1\r\nHost: a\nContent-Length: 5\r\n\r\nhello", 400),  # others end a line there
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nX-Any: b\rContent-Length: 5\r\n\r\nhello", 400),
    (b"GET /echo HTTP/1.1\r\nHost: a\0b\r\n\r\n", 400),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5x\r\n\r\nhello", 400),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\nhello", 413),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\nhello", 400),
    (b"POST /numbers HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 413),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 411),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400),  # somebody speaks TLS
    (b"GET /raises HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 500),
    (b"GET /hungry HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 503),
]


def test_what_is_no_request_is_refused_in_words_and_hurts_nobody(server: Served) -> None:
    for data, status in HOSTILE:
        answer = server.raw(data)
        assert answer.startswith(b"HTTP/1.1 %d " % status), (data[:60], answer[:200])
        assert b'{"error": "' in answer, data[:60]
    assert server.get("/echo")[0] == 200
    assert server.ask("counters")["faults"] == 1, "one that a handler raised"


def test_requests_come_in_pieces_and_several_at_once(server: Served) -> None:
    one = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world"
    last = b"GET /echo?last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    for cut in (1, 20, len(one) - 12, len(one) - 3):
        assert b"hello world" in server.raw(one[:cut], one[cut:] + last, 0.05)
    answer = server.raw(one * 3 + b"\r\nGET /numbers?count=50 HTTP/1.1\r\nHost: a\r\n\r\n" + one + last)
    assert (answer.count(b"HTTP/1.1 200"), answer.count(b"hello world")) == (6, 4)
    assert answer.index(b"49\n") < answer.rindex(b"hello world") < answer.rindex(b"last"), "in their order"
    assert b"100 Continue" in server.raw(one.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue")[:-11], one[-11:], 0.05)


def test_an_answer_that_breaks_ends_its_connection_and_no_other(server: Served) -> None:
    client = server.client()
    client.request("GET", "/breaks")
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        client.getresponse().read()
    assert server.get("/echo")[0] == 200


def test_places_run_out_and_come_back(server: Served) -> None:
    streams = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
    for stream in streams:
        stream.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        assert stream.recv(100).startswith(b"HTTP/1.1 200")
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
    time.sleep(0.1)
    assert server.raw(b"").startswith(b"HTTP/1.1 503"), "at once"
    tries = [server.raw(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")[:12] for _ in range(3)]
    assert tries == [b"HTTP/1.1 503"] * 3 or b"" in tries, tries
    time.sleep(1.2)
    assert server.get("/echo")[0] == 200, "one that has said nothing for a second makes room"
    for sock in streams + silent:
        sock.close()
    time.sleep(0.3)
    counters = server.ask("counters")
    assert counters["streams"] == 0, counters
    assert counters["clients"] <= 1, counters


def test_who_is_slow_is_cut_and_who_goes_on_is_not(server: Served) -> None:
    before = server.ask("counters")["cut"]
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
    begun = time.monotonic()
    slow[1].sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\n")
    slow[2].sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n")
    slow[3].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    slow[3].sendall(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")  # and takes nothing of it
    ended: dict[int, float] = {}
    while time.monotonic() - begun < 9 and len(ended) < 3:
        time.sleep(0.5)
        with contextlib.suppress(OSError):
            slow[2].sendall(b"X: y\r\n")  # a byte now and then
        for i in (0, 1, 2):
            slow[i].settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                try:
                    if not slow[i].recv(1000):
                        ended.setdefault(i, time.monotonic() - begun)
                except ConnectionResetError:
                    ended.setdefault(i, time.monotonic() - begun)
    assert sorted(ended) == [0, 1, 2], "silent, half a request, a trickle"
    time.sleep(1.0)
    counters = server.ask("counters")
    assert (counters["cut"] - before, counters["clients"]) == (4, 0), counters
    for sock in slow:
        sock.close()


def test_behind_tls_it_does_the_same_and_who_does_not_speak_it_hurts_nobody(mp: Interpreter, www: Path, tmp_path: Path) -> None:
    pki.make(tmp_path / "pki", ["127.0.0.1"])
    trusting = ssl.create_default_context(cafile=str(tmp_path / "pki" / "authority.pem"))
    with serving(mp, www=str(www), keys=str(tmp_path / "pki" / pki.BOARD)) as served:
        with socket.create_connection(("127.0.0.1", served.port)) as plain:
            plain.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
            client = http.client.HTTPSConnection("127.0.0.1", served.port, timeout=15, context=trusting)
            for path, size in (("/echo", 10), ("/numbers?count=20000", 100000), ("/later", 5)):
                client.request("GET", path)
                answer = client.getresponse()
                assert (answer.status, len(answer.read()) >= size) == (200, True)
            client.close()
        with pytest.raises(ssl.SSLError):
            http.client.HTTPSConnection("127.0.0.1", served.port, timeout=15, context=ssl.create_default_context()).connect()
        assert served.ask("counters")["faults"] == 0


def test_behind_tls_who_does_not_get_through_the_handshake_is_let_go_at_once(mp: Interpreter, tmp_path: Path) -> None:
    """A chip has 16 sockets, its inverters' among them: a browser that does not trust a certificate comes again and again."""
    pki.make(tmp_path / "pki", ["127.0.0.1"])
    with serving(mp, keys=str(tmp_path / "pki" / pki.BOARD)) as served:
        with socket.create_connection(("127.0.0.1", served.port), timeout=5) as plain:
            plain.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                while plain.recv(100):  # what TLS has to say of it, then the end
                    pass
        assert served.ask("counters")["clients"] == 0


def test_who_asks_too_often_waits(mp64: Interpreter) -> None:
    with serving(mp64, options={"requests": 6}) as served:
        client = served.client()
        begun = time.monotonic()
        for _ in range(9):
            client.request("GET", "/echo")
            assert client.getresponse().read()
        assert time.monotonic() - begun > 1.0, "six at once, then two a second"


def test_who_asks_and_goes_has_nobody_else_wait(mp64: Interpreter) -> None:
    with serving(mp64, options={"requests": 6}) as served:
        for _ in range(100):
            with socket.create_connection(("127.0.0.1", served.port), source_address=("127.0.0.2", 0)) as sock:
                sock.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        client = http.client.HTTPConnection("127.0.0.1", served.port, timeout=3)
        client.request("GET", "/echo")
        assert client.getresponse().status == 200


def test_what_is_said_byte_by_byte_makes_no_garbage(mp32: Interpreter) -> None:
    with serving(mp32, options={"requests": 100000}) as served, socket.create_connection(("127.0.0.1", served.port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 3500)
        time.sleep(0.1)
        served.ask("keep")
        for _ in range(120):
            sock.sendall(b"x")
            time.sleep(0.005)
        assert int(served.ask("used")) < 200_000, "each byte had all before it copied"
        sock.sendall(b"\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")


def test_what_strangers_say_together_keeps_little_of_the_heap(mp32: Interpreter) -> None:
    """Ten that each begin a long head had 45 KB of it, for as long as they came again: a small board has 27 KB free."""
    begun = b"GET /echo HTTP/1.1\r\nHost: a\r\nX-Long: "
    with serving(mp32) as served, contextlib.ExitStack() as crowd:
        served.get("/echo")
        before = int(served.ask("heap"))
        some = [crowd.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=5)) for _ in range(10)]
        for sock in some:
            sock.sendall(begun + b"x" * 3900)
        time.sleep(0.5)
        assert int(served.ask("heap")) - before < 24_000
        for sock in some:  # each in its turn
            sock.sendall(b"\r\n\r\n")
        assert [sock.recv(100)[:12] for sock in some] == [b"HTTP/1.1 200"] * 10


def test_lines_that_say_nothing_make_no_garbage(mp32: Interpreter) -> None:
    """More than one request makes: as each was copied for the next, 4 KB of them made 4 MB."""
    asked = b"GET /echo HTTP/1.1\r\nHost: a\r\n"
    for said in (
        asked + b"\r\n" + b"\r\n" * 1900, asked + b"cookie:\r\n" * 440 + b"\r\n",
        asked + b"connection: a\r\n" * 200 + b"\r\n",
    ):  # fmt: skip
        with serving(mp32, options={"requests": 100000}) as served:
            served.ask("keep")
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(said)
                assert sock.recv(100).startswith(b"HTTP/1.1 ")
                time.sleep(0.3)
            assert int(served.ask("used")) < 60_000, said[:60]


def test_one_address_cannot_keep_all_others_out(mp64: Interpreter) -> None:
    half = b"GET /echo HTTP/1.1\r\nHost: a\r\n"
    for said, again_s in ((b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n", 0.0), (half, 1.2), (b"\r\n", 0.0)):
        with serving(mp64, options={"places": 6}) as served, contextlib.ExitStack() as crowd:
            for _ in range(6):
                sock = socket.create_connection(("127.0.0.1", served.port), source_address=("127.0.0.2", 0))
                crowd.enter_context(sock)
                sock.sendall(said)
            time.sleep(0.1 + again_s)
            assert served.get("/echo")[0] == 200, said


def test_empty_lines_keep_no_place(server: Served) -> None:
    before = server.ask("counters")["cut"]
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        for _ in range(16):
            with contextlib.suppress(OSError):
                sock.sendall(b"\r\n")
            time.sleep(0.4)
    assert server.ask("counters")["cut"] == before + 1


def test_it_keeps_nothing_of_those_who_are_gone(mp32: Interpreter) -> None:
    with serving(mp32, options={"requests": 100000}) as served:

        def crowd() -> int:
            for data, _ in HOSTILE[:3]:
                served.raw(data + b"x")
            for _ in range(10):
                with socket.create_connection(("127.0.0.1", served.port)) as sock:
                    sock.sendall(b"GET /numbers HTTP/1.1\r\nHost: a\r\n\r\nGET")
                    sock.recv(10)
                served.get("/later")
            time.sleep(0.8)
            return int(served.ask("heap"))

        crowd()
        first = crowd()
        assert crowd() - first < 300, "it has grown"
