"""NTP and DNS over real sockets: good servers, hostile ones, third-party ones (chronyd, dnslib), and the timekeeper."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import dns
import ntp
import pytest
import udp
from civil import DAY_S
from dnslib import RR  # type: ignore[import-untyped]
from dnslib.server import BaseResolver, DNSRecord, DNSServer  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from posixtz import PosixTZ

from firmware.clock import HELD, NTP, REFUSED, STEPPED, SYNCED, Clock
from firmware.timekeeper import OPTIONS, Timekeeper
from tools.interpreters import Interpreter
from tools.ports import free_port

_NTP_1900 = 2208988800  # seconds from 1900 to 1970
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def _stamp(unix: float) -> bytes:
    return struct.pack(">II", int(unix + _NTP_1900) & 0xFFFFFFFF, int(unix % 1 * (1 << 32)) & 0xFFFFFFFF)


def _reply(request: bytes, unix: float, **changes: bytes | int) -> bytes:
    """A server's answer (RFC 5905, figure 8); `changes` spoils it by the name of a field."""
    head = bytearray(struct.pack(">BBbb", 0x24, 2, 6, -20)) + bytearray(4) + bytearray(4) + b"GPS\0"
    head[0] = int(changes.get("first", head[0]))
    head[1] = int(changes.get("stratum", head[1]))
    head[8:12] = changes.get("dispersion", b"\0\0\0\1")  # type: ignore[assignment]
    head[12:16] = changes.get("reference", b"GPS\0")  # type: ignore[assignment]
    origin = changes.get("origin", request[40:48])
    received = changes.get("received", _stamp(unix))
    sent = changes.get("sent", _stamp(unix))
    return bytes(head) + _stamp(unix - 10) + bytes(origin) + bytes(received) + bytes(sent)


class _Server(threading.Thread):
    """An NTP server on a loopback address; `answer(request)` makes the reply, None is silence."""

    def __init__(self, host: str, port: int, answer: Callable[[bytes], bytes | None]) -> None:
        super().__init__(daemon=True)
        self.answer = answer
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, port))
        self.port = self.sock.getsockname()[1]
        self.start()

    def run(self) -> None:
        while True:
            try:
                request, peer = self.sock.recvfrom(512)
            except OSError:
                return
            reply = self.answer(request)
            if reply is not None:
                self.sock.sendto(reply, peer)

    def stop(self) -> None:
        self.sock.close()


def _off_by(seconds: float) -> Callable[[bytes], bytes | None]:
    return lambda request: _reply(request, time.time() + seconds)


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """serve(answer, answer, ...) starts servers on 127.0.0.1, 127.0.0.2, ... and returns their port."""
    servers: list[_Server] = []

    def start(*answers: Callable[[bytes], bytes | None]) -> int:
        port = 0
        for n, answer in enumerate(answers):
            servers.append(_Server(f"127.0.0.{n + 1}", port, answer))
            port = servers[0].port
        return port

    yield start
    for server in servers:
        server.stop()


def _sample(port: int, timeout_ms: int = 300) -> tuple[int, int, int, int, int] | None:
    return asyncio.run(ntp.sample("127.0.0.1", timeout_ms, port))


def _unix(sample: tuple[int, ...]) -> float:
    """What a sample says of the time now, as a Unix timestamp."""
    late = time.ticks_diff(time.ticks_ms(), sample[3]) / 1000  # type: ignore[attr-defined]
    moment = _EPOCH + timedelta(days=sample[0], seconds=sample[1], milliseconds=sample[2])
    return moment.timestamp() + late


@pytest.mark.parametrize("off_s", [0, 86400 * 365, 86400 * 365 * 20])  # the last is in the era after 2036
def test_the_time_of_a_server_is_read_to_some_milliseconds(serve: Callable[..., int], off_s: int) -> None:
    found = _sample(serve(_off_by(off_s)))
    assert found is not None
    assert abs(_unix(found) - time.time() - off_s) * 1000 <= found[4] + 2
    assert found[4] < 200


@given(unix=st.integers(1577836800, 1577836800 + 2**32 - 1), fraction=st.integers(0, 65535))
def test_time_stamps_of_both_eras_are_read(unix: int, fraction: int) -> None:
    stamp = _stamp(unix)[:4] + struct.pack(">HH", fraction, 0)
    day, sec, ms = ntp._stamp(stamp, 0)
    assert (day * DAY_S + sec, ms) == (unix - 946684800, fraction * 1000 >> 16)


_WRONG: list[tuple[dict[str, bytes | int], str]] = [
    ({"first": 0xE4}, "not synchronised"),
    ({"first": 0x23}, "not NTP"),
    ({"first": 0x14}, "not NTP"),
    ({"stratum": 16}, "not synchronised"),
    ({"stratum": 0, "reference": b"DENY"}, "refuses: DENY"),
    ({"stratum": 0, "first": 0xE4, "reference": b"INIT"}, "not synchronised itself: INIT"),
    ({"stratum": 0, "first": 0xE4, "reference": bytes(4)}, "not synchronised"),
    ({"sent": bytes(8)}, "no transmit time"),
    ({"received": _stamp(1.8e9)}, "do not fit"),
    ({"dispersion": b"\0\2\0\0"}, "away from true time"),
]


@pytest.mark.parametrize(("changes", "said"), _WRONG)
def test_answers_not_to_believe_are_refused(serve: Callable[..., int], changes: dict[str, bytes | int], said: str) -> None:
    port = serve(lambda request: _reply(request, time.time(), **changes))
    with pytest.raises(ValueError, match=said):
        _sample(port)


def test_an_answer_to_somebody_elses_question_is_ignored(serve: Callable[..., int]) -> None:
    assert _sample(serve(lambda request: _reply(request, time.time(), origin=b"12345678"))) is None


def test_short_datagrams_are_ignored(serve: Callable[..., int]) -> None:
    assert _sample(serve(lambda request: b"\x24" * 47)) is None


def test_silence_is_none_and_leaves_the_loop_running(serve: Callable[..., int]) -> None:
    async def both() -> tuple[object, int]:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.01)

        counter = asyncio.create_task(count())
        found = await ntp.sample("127.0.0.1", 300, port)
        counter.cancel()
        return found, turns

    port = serve(lambda request: None)
    found, turns = asyncio.run(both())
    assert found is None and turns > 10


def _made_up(offsets_ms: list[int], errors_ms: list[int]) -> list[tuple[int, int, int, int, int]]:
    samples = []
    for n, (off, error) in enumerate(zip(offsets_ms, errors_ms, strict=True)):
        total = 43_200_000 + off + n * 100
        samples.append((9822 + total // 86_400_000, total // 1000 % DAY_S, total % 1000, 1000 + n * 100, error))
    return samples


def test_of_two_that_disagree_neither_is_believed() -> None:
    assert ntp.best(_made_up([0, 5000], [50, 50])) is None


def test_the_majority_outvotes_a_falseticker() -> None:
    samples = _made_up([0, 86_000_000, 30], [50, 5, 40])
    assert ntp.best(samples) == samples[2]


@given(
    true=st.lists(st.tuples(st.integers(-1, 1), st.integers(1, 400)), min_size=1, max_size=5),
    false=st.lists(st.tuples(st.integers(2000, 10**6), st.integers(1, 400)), max_size=4),
    seed=st.integers(0, 1000),
)
def test_a_majority_of_honest_servers_always_wins(true: list[tuple[int, int]], false: list[tuple[int, int]], seed: int) -> None:
    """Honest: the true time is inside its error.  Liars may even agree among themselves."""
    false = false[: len(true) - 1]
    rows = [(side * error, error) for side, error in true] + [(off, error) for off, error in false]
    random.Random(seed).shuffle(rows)
    chosen = ntp.best(_made_up([off for off, _ in rows], [error for _, error in rows]))
    assert chosen is not None
    off = chosen[1] * 1000 + chosen[2] - 43_200_000 - (chosen[3] - 1000)
    assert abs(off) <= 400


# ---- the timekeeper, whole rounds ------------------------------------------------------------------------


def _options(**given: object) -> dict[str, object]:
    options = {row[0]: row[2] for row in OPTIONS}
    return {**options, "ntp": "127.0.0.1 127.0.0.2 127.0.0.3", **given}


def _keeper(port: int, **more: object) -> tuple[Clock, Timekeeper]:
    clock = Clock(PosixTZ("UTC0"), time.ticks_ms())  # type: ignore[attr-defined]
    return clock, Timekeeper(clock, _options(ntp_port=port, **more))


def _round(clock: Clock, keeper: Timekeeper) -> int:
    clock.tick(time.ticks_ms())  # type: ignore[attr-defined]
    return asyncio.run(keeper.ask_servers())


def test_three_servers_set_the_clock_although_one_lies(serve: Callable[..., int]) -> None:
    clock, keeper = _keeper(serve(_off_by(0.02), _off_by(3600), _off_by(-0.02)))
    assert _round(clock, keeper) == STEPPED
    assert clock.state == SYNCED and clock.source == NTP
    said = (_EPOCH + timedelta(days=clock.day, seconds=clock.sec, milliseconds=clock.ms)).timestamp()
    assert abs(said - time.time()) < 1
    assert keeper.counters()["answers"] == 3


def test_servers_that_contradict_each_other_set_nothing(serve: Callable[..., int]) -> None:
    clock, keeper = _keeper(serve(_off_by(0), _off_by(3600), lambda _: None))
    assert _round(clock, keeper) == REFUSED
    assert not clock.is_set
    assert keeper.counters()["contradictions"] == 1 and keeper.counters()["timeouts"] == 1


def test_a_server_that_says_deny_is_not_asked_again(serve: Callable[..., int]) -> None:
    deny = lambda request: _reply(request, time.time(), stratum=0, reference=b"DENY")  # noqa: E731
    clock, keeper = _keeper(serve(deny, _off_by(0), _off_by(0)))
    assert _round(clock, keeper) == STEPPED
    _round(clock, keeper)
    assert keeper.counters()["rejected"] == 1 and keeper.counters()["answers"] == 4


def test_a_server_that_says_deny_is_asked_again_a_day_later(serve: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """A name may be another host by then: one host of a pool must not end the whole pool."""
    said: list[dict[str, bytes | int]] = [{"stratum": 0, "reference": b"DENY"}]
    answer = lambda request: _reply(request, time.time(), **said[0])  # noqa: E731
    clock, keeper = _keeper(serve(answer), ntp="127.0.0.1")
    for _ in range(3):
        assert _round(clock, keeper) == REFUSED
    assert keeper.counters()["rejected"] == 1
    assert "127.0.0.1: server refuses: DENY; it is asked again in a day" in keeper.counters()["last_error"]
    assert capsys.readouterr().out.count("DENY") == 1, "a person is told once"
    said[0] = {}
    assert _round(clock, keeper) == REFUSED and not clock.is_set
    clock.elapsed_s += 86400
    assert _round(clock, keeper) == STEPPED


@pytest.mark.parametrize("code", [b"INIT", b"STEP", bytes(4), b"XABC", b"DROP"])
def test_a_server_that_is_not_synchronised_yet_is_asked_again(serve: Callable[..., int], code: bytes) -> None:
    """A router that came back with the site's power: stratum 0 and a reference that is no kiss-o'-death."""
    ready = [False]
    spoilt: dict[str, bytes | int] = {"first": 0xE4, "stratum": 0, "reference": code, "sent": bytes(8), "received": bytes(8)}
    answer = lambda request: _reply(request, time.time(), **({} if ready[0] else spoilt))  # noqa: E731
    clock, keeper = _keeper(serve(answer), ntp="127.0.0.1")
    for _ in range(3):
        assert _round(clock, keeper) == REFUSED
    ready[0] = True
    assert _round(clock, keeper) == STEPPED and clock.state == SYNCED


def test_a_server_that_is_asked_too_often_is_asked_less_until_it_answers_again(serve: Callable[..., int]) -> None:
    said: list[dict[str, bytes | int]] = [{"stratum": 0, "reference": b"RATE"}]
    rate = lambda request: _reply(request, time.time(), **said[0])  # noqa: E731
    clock, keeper = _keeper(serve(rate, _off_by(0), _off_by(0)))
    for _ in range(9):
        _round(clock, keeper)
    assert keeper.poll_s == 86400
    said[0] = {}
    seen = []
    for _ in range(8):
        _round(clock, keeper)
        seen.append(keeper.poll_s)
    assert seen == sorted(seen, reverse=True) and seen[-1] == 1024


def test_one_of_several_servers_is_not_believed_alone_while_the_others_are_silent(serve: Callable[..., int]) -> None:
    lost = [True]
    flaky = lambda request: None if lost[0] else _reply(request, time.time())  # noqa: E731
    names = "127.0.0.1 127.0.0.2 127.0.0.3"
    clock, keeper = _keeper(serve(_off_by(3 * 3600), flaky, flaky), ntp=names)
    assert _round(clock, keeper) == REFUSED and not clock.is_set
    assert "1 of 3 NTP servers" in keeper.counters()["last_error"] and keeper.counters()["held"] == 1
    lost[0] = False
    assert _round(clock, keeper) == STEPPED
    said = (_EPOCH + timedelta(days=clock.day, seconds=clock.sec)).timestamp()
    assert abs(said - time.time()) < 2
    lost[0] = True
    for _ in range(3):
        assert _round(clock, keeper) == REFUSED, "nor does it move a clock that is set"


def test_a_site_whose_other_servers_never_answer_gets_its_clock_all_the_same(serve: Callable[..., int]) -> None:
    clock, keeper = _keeper(serve(_off_by(0)), ntp="127.0.0.1 127.0.0.9 127.0.0.8")
    done = [_round(clock, keeper) for _ in range(9)]
    assert done[:7] == [REFUSED] * 7 and done[7] == STEPPED and done[8] > HELD


def test_times_before_this_firmware_are_refused(serve: Callable[..., int]) -> None:
    clock, keeper = _keeper(serve(_off_by(1.76e9 - time.time())), ntp="127.0.0.1")
    assert _round(clock, keeper) == REFUSED
    assert not clock.is_set and "2026-01-01" in keeper.counters()["last_error"]


def test_a_big_jump_of_all_servers_needs_a_second_round(serve: Callable[..., int]) -> None:
    shift = [0.0]
    moved = lambda request: _reply(request, time.time() + shift[0])  # noqa: E731
    clock, keeper = _keeper(serve(moved, moved, moved))
    assert _round(clock, keeper) == STEPPED
    shift[0] = 7200
    assert _round(clock, keeper) == HELD
    assert _round(clock, keeper) == STEPPED
    assert 7199 <= clock.step_s <= 7202  # the second turns between two looks at it


@pytest.mark.parametrize("names", ["127.0.0.1", "127.0.0.1 127.0.0.1 127.0.0.1", "127.0.0.1 127.0.0.9"])
def test_ntp_one_server_that_jumps_ten_years_is_not_believed_however_often_it_says_so(
    serve: Callable[..., int], names: str
) -> None:
    """One server, one under several names, and the only one that answers."""
    shift = [0.0]
    clock, keeper = _keeper(serve(lambda request: _reply(request, time.time() + shift[0])), ntp=names)
    for _ in range(8):  # at once, or in the round in which one is enough that no other contradicts
        if not clock.is_set:
            assert _round(clock, keeper) in (STEPPED, REFUSED)
    day, held = clock.day, int(str(keeper.counters()["held"]))
    shift[0] = 3653 * 86400
    for _ in range(4):
        assert _round(clock, keeper) == HELD
    assert clock.day == day and clock.steps == 1
    assert keeper.counters()["held"] == held + 4
    shift[0] = 0
    assert _round(clock, keeper) > HELD


# ---- DNS, answered by dnslib -----------------------------------------------------------------------------


class _Zone(BaseResolver):
    """Two names, one of them an alias; everything else does not exist."""

    def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:
        reply = request.reply()
        name = str(request.q.qname)
        if name == "alias.test.":
            reply.add_answer(*RR.fromZone("alias.test. 60 CNAME time.test.\ntime.test. 60 A 192.0.2.7"))
        elif name == "time.test.":
            reply.add_answer(*RR.fromZone("time.test. 60 A 192.0.2.7\ntime.test. 60 A 192.0.2.8"))
        elif name != "six.test.":
            reply.header.rcode = 3
        return reply


@pytest.fixture
def name_server() -> Iterator[int]:
    server = DNSServer(_Zone(), address="127.0.0.1", port=0)
    server.start_thread()
    yield server.server.server_address[1]
    server.stop()
    server.server.server_close()


def _resolve(name: str, port: int) -> str:
    return asyncio.run(dns.resolve(name, "127.0.0.1", 500, port))


def test_names_and_aliases_are_resolved(name_server: int) -> None:
    assert _resolve("time.test", name_server) == "192.0.2.7"
    assert _resolve("alias.test.", name_server) == "192.0.2.7"
    assert _resolve("192.0.2.200", name_server) == "192.0.2.200"


def test_names_that_do_not_exist_or_have_no_address_are_refused(name_server: int) -> None:
    for name, said in (("nobody.test", "does not exist"), ("six.test", "no IPv4"), ("a..test", "1 to 63")):
        with pytest.raises(ValueError, match=said):
            _resolve(name, name_server)


@given(data=st.binary(max_size=80))
def test_no_reply_makes_the_reader_fail_otherwise_than_it_says(data: bytes) -> None:
    async def ask(_server: str, _port: int, query: bytes, read: Callable[[bytes, object], object], _timeout_ms: int) -> object:
        understood.append(read(query[:2] + b"\x81\x80" + data, None))
        return understood[-1]

    understood: list[object] = []
    with mock.patch.object(udp, "ask", ask):
        try:
            found = _resolve("time.test", 53)
        except ValueError:
            return
        except OSError:
            assert understood == [None, None], "no answer to either question"
            return
    assert dns.is_address(found)


# ---- against chronyd, and on MicroPython -----------------------------------------------------------------

_ON_BOARD = """
import sys
sys.path[:0] = ["lib"]
import asyncio, time, ntp
s = asyncio.run(ntp.sample("127.0.0.1", 2000, {port}))
late = time.ticks_diff(time.ticks_ms(), s[3])
print((s[0] + 10957) * 86400 + s[1], s[2] + late, s[4])
"""


def test_micropython_reads_the_same_time(serve: Callable[..., int], mp: Interpreter, root: Path) -> None:
    port = serve(_off_by(0))
    done = subprocess.run([*mp.command, "-c", _ON_BOARD.format(port=port)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    unix, ms, error_ms = map(int, done.stdout.split())
    # The interpreter's own start and end lie between its reading and this comparison.
    assert abs(unix + ms / 1000 - time.time()) < 0.5 + error_ms / 1000


_KEEPER_ON_BOARD = """
import sys
sys.path[:0] = ["", "lib"]
import asyncio, time
from firmware.clock import Clock
from firmware.timekeeper import OPTIONS, Timekeeper
from posixtz import PosixTZ
options = dict((row[0], row[2]) for row in OPTIONS)
options["ntp"] = "127.0.0.1 127.0.0.2 127.0.0.3"
options["ntp_port"] = {port}
clock = Clock(PosixTZ("UTC0"), time.ticks_ms())
keeper = Timekeeper(clock, options)
async def main():
    task = asyncio.create_task(keeper.run())
    while not clock.is_set:
        clock.tick(time.ticks_ms())
        await asyncio.sleep_ms(20)
    task.cancel()
asyncio.run(main())
clock.tick(time.ticks_ms())
print((clock.day + 10957) * 86400 + clock.sec, clock.ms, keeper.counters()["answers"])
"""


def test_the_timekeeper_sets_the_clock_on_micropython(serve: Callable[..., int], mp: Interpreter, root: Path) -> None:
    port = serve(_off_by(0), _off_by(-9000), _off_by(0.03))
    script = _KEEPER_ON_BOARD.format(port=port)
    done = subprocess.run([*mp.command, "-c", script], cwd=root, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    unix, ms, answers = map(int, done.stdout.split())
    assert answers == 3 and abs(unix + ms / 1000 - time.time()) < 1


@pytest.fixture
def chronyd(tmp_path: Path) -> Iterator[int]:
    """A real chronyd that serves the machine's own time; it does not touch the clock (-x)."""
    bundled = Path(__file__).resolve().parents[2] / ".cache" / "chrony" / "chrony"
    program = str(bundled) if bundled.exists() else shutil.which("chronyd") or shutil.which("chronyd", path="/usr/sbin")
    if program is None:
        pytest.skip("chronyd is NOT there, so no NTP server of another make was asked: run `make setup`")
    port = free_port()
    config = tmp_path / "chrony.conf"
    config.write_text(
        f"port {port}\nbindaddress 127.0.0.1\ncmdport 0\nlocal stratum 3\nallow 127.0.0.1\npidfile {tmp_path}/pid\n"
        f"bindcmdaddress /\ndriftfile {tmp_path}/drift\n"
    )
    process = subprocess.Popen([program, "-d", "-x", "-U", "-u", "root", "-f", str(config)], stderr=subprocess.PIPE)
    yield port
    process.terminate()
    process.wait(10)


def test_chronyd_is_understood(chronyd: int) -> None:
    found = None
    deadline = time.monotonic() + 10
    while found is None and time.monotonic() < deadline:
        try:
            found = _sample(chronyd)
        except (OSError, ValueError):
            time.sleep(0.1)
    assert found is not None
    assert abs(_unix(found) - time.time()) < 0.1 + found[4] / 1000
