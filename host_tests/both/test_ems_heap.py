"""A full heap that the EMS's servers meet and get over is told to who watches over the heap, as that of any service."""

import errno
import random
import select
import socket

from firmware import config
from firmware.ems import access, serving
from firmware.services import sunspec_server
from host_tests.both.plant import Plant
from host_tests.both.virtual import Virtual
from modbus import tcp_server


class Watch:
    """The application's heap watch."""

    def __init__(self):
        self.told = []

    def wanted(self, part):
        self.told.append(part)


class App:
    """As much of the application as the service looks at; it is its own site, metering and loop's time."""

    name = "site"
    take_turn = None

    def __init__(self, pm, watch):
        self.pm = pm
        self.services = {}
        self.names = {}
        self.site = self.metering = self.loop_time = self
        self.cycle_ms = 50
        self.heap_watch = watch


def _full(*_):
    raise MemoryError("memory allocation failed, allocating 90 bytes")


def _service(port=0, watch=None):
    errors = []
    options = config.check(sunspec_server.OPTIONS, {"port": port, "host": "127.0.0.1"}, "ems", errors)
    assert not errors
    return serving.Service("ems", options, Plant().ready().pm, App(Plant().ready().pm, watch))


def test_a_look_without_heap_is_told_as_seldom_as_one_that_is_started_again_and_the_looks_go_on():
    watch = Watch()
    service = _service(watch=watch)
    with Virtual(serving, tcp_server, access) as life:
        life.live(service)
        life.run(5000)
        assert watch.told == []
        step, service.control.step = service.control.step, _full
        life.run(20000)
        assert watch.told == ["ems"] * 4, "after 1, 2, 4 and 8 s"
        service.control.step = step
        life.run(40000)
        assert len(watch.told) == 5, "what came between"
        service.control.step = _full
        life.run(1500)
        service.control.step = step
        life.run(3000)
        assert len(watch.told) in (6, 7), "after quiet at once again"
        assert service.counters()["problem"] == "MemoryError"


def test_a_site_whose_services_all_stay_has_nobody_to_tell():
    service = _service()
    service.control.step = _full
    with Virtual(serving, tcp_server, access) as life:
        life.live(service)
        life.run(3000)


def _asks(port):
    """A client's socket with a request on it."""
    sock = socket.socket()
    sock.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
    sock.send(b"\0\1\0\0\0\6\1\3\x9c\x40\0\2")
    return sock


def test_a_request_without_heap_is_busy_and_told_and_so_is_a_connection_that_ends_by_it():
    if not hasattr(select.poll(), "ipoll"):
        return  # CPython's has none: under both MicroPythons
    watch = Watch()
    port = random.randrange(20000, 30000)
    service = _service(port, watch)
    with Virtual(serving, tcp_server, access) as life:
        life.live(service)
        life.run(100)
        read, service.chain.read = service.chain.read, _full
        one = _asks(port)
        life.run(1500)
        assert one.recv(20)[7:] == b"\x83\x06"
        assert watch.told == ["ems"]
        service.chain.read = read
        asked, service.access.asked = service.access.asked, _full
        other = _asks(port)
        life.run(2500)
        service.access.asked = asked
        assert watch.told == ["ems", "ems"]
        assert service.counters()["ems_tcp"]["no_memory"] == 2
        life.run(3000)
        assert len(watch.told) == 2
        one.close()
        other.close()
        life.run(100)
        service.stop()


def test_a_connection_that_its_peer_resets_is_none_of_the_heap_s():
    count = tcp_server.TcpServer(None, 0).count
    count.failed(OSError(errno.ECONNRESET))
    assert count.no_memory == 0 and "104" in count.last_error
    count.failed(MemoryError("memory allocation failed"))
    assert count.no_memory == 1 and count.last_error == "memory allocation failed"
