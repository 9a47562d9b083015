"""An HTTP server with a few paths, run under MicroPython as the peer of other people's clients.

argv: JSON {"port": n, "options": {...}, "www": folder}.  A line on stdin is answered with the counters as JSON; "heap" with what
lives after a collection; "keep" too, and no more are made: "used" then says what has been taken since, garbage and all.
"""

import asyncio
import gc
import json
import select
import sys
import time

from httpd.answer import Answer, Refused
from httpd.files import Files
from httpd.server import Server

setup = json.loads(sys.argv[1])
faults = []
kept = 0


def numbers(count):
    for i in range(count):
        yield "%d\n" % i


def ticking():
    yield "begin\n\n"
    for i in range(1000):
        due = time.ticks_add(time.ticks_ms(), 100)
        while time.ticks_diff(time.ticks_ms(), due) < 0:
            yield None
        yield "data: %d\n\n" % i


def later(request):
    for _ in range(3):
        yield None
    if request.query.get("how") == "refused":
        raise Refused(409, "not now")
    return Answer("later", kind="text/plain")


def broken():
    yield "one piece, "
    raise ValueError("and no more")


class Handler:
    files = Files(setup.get("www", "/nowhere"), "stamp")

    def longest(self, request):
        return 2000 if request.path == "/echo" else 0

    def answer(self, request):
        path = request.path
        if path == "/echo":
            return Answer(json.dumps({"method": request.method, "query": request.query, "body": request.body.decode()}))
        if path == "/numbers":
            return Answer(numbers(int(request.query.get("count", "1000"))), kind="text/plain")
        if path == "/flood":
            return Answer((b"x" * 16000 for _ in range(2000)), kind="text/plain")
        if path == "/stream":
            return Answer(ticking(), kind="text/event-stream", stream=True)
        if path == "/later":
            return later(request)
        if path == "/raises":
            raise ZeroDivisionError("by us")
        if path == "/breaks":
            return Answer(broken(), kind="text/plain")
        if path == "/hungry":
            raise MemoryError
        return self.files.answer(request)

    def refusal(self, error):
        return Answer(json.dumps({"error": error.words}), error.status, more=error.more)


def context():
    """TLS with the keys of a folder, where one is given."""
    if "keys" not in setup:
        return None
    from httpd import secure

    parts = []
    for name in ("server.der", "server_key.der"):
        with open(setup["keys"] + "/" + name, "rb") as file:
            parts.append(file.read())
    return secure.context(parts[0], parts[1])


async def main():
    global kept
    server = Server(Handler(), setup["port"], "127.0.0.1", failed=faults.append, tls=context(), **setup.get("options", {}))
    task = asyncio.create_task(server.run())
    await asyncio.sleep_ms(20)
    print(json.dumps({"ready": 1}))
    poller = select.poll()
    poller.register(sys.stdin, select.POLLIN)
    while not task.done():
        for _ in poller.ipoll(0):
            line = sys.stdin.readline().strip()
            if line in ("heap", "keep"):
                gc.collect()
                kept = gc.mem_alloc()
                if line == "keep":
                    gc.disable()
                print(json.dumps(kept))
            elif line == "used":
                print(json.dumps(gc.mem_alloc() - kept))
                gc.enable()
            else:
                counters = server.counters()
                counters["faults"] = len(faults)
                print(json.dumps(counters))
        await asyncio.sleep_ms(5)
    await task


asyncio.run(main())
