"""A question over UDP takes the room for its answer once, however long it waits, and reads no more than asked for."""

import asyncio
import gc
import socket

import udp

POLLS_MS = 150
LARGEST = 4096


def _peer():
    """A socket and its port: the first that is free, for MicroPython does not tell which it was given."""
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for port in range(45129, 45329):
        try:
            peer.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
        except OSError:
            continue
        return peer, port
    raise OSError("no free port")


def _ask(port, accept, largest):
    return asyncio.run(udp.ask("127.0.0.1", port, b"?", accept, POLLS_MS, largest))


def test_waiting_for_a_silent_peer_takes_no_room_with_every_look() -> None:
    peer, port = _peer()
    try:
        if not hasattr(gc, "mem_alloc"):  # CPython counts no bytes
            assert _ask(port, lambda data, at_ms: data, LARGEST) is None
            return
        gc.collect()
        gc.disable()
        before = gc.mem_alloc()
        answer = _ask(port, lambda data, at_ms: data, LARGEST)
        taken = gc.mem_alloc() - before
        gc.enable()
        assert answer is None
        assert taken < 3 * LARGEST, taken  # some 30 looks
    finally:
        gc.enable()
        peer.close()


def test_an_answer_is_read_up_to_the_largest() -> None:
    peer, port = _peer()
    found = []

    async def both():
        async def answer():
            await asyncio.sleep(0.03)
            data, asker = peer.recvfrom(64)
            peer.sendto(b"0123456789", asker)
            return data

        task = asyncio.create_task(answer())
        found.append(await udp.ask("127.0.0.1", port, b"?", lambda data, at_ms: data, 1000, 4))
        found.append(await task)

    try:
        asyncio.run(both())
    finally:
        peer.close()
    assert found == [b"0123", b"?"]
