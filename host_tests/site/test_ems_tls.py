"""Modbus/TCP Security under both MicroPythons: Python's ssl with the certificates of tools/pki and of pysunspec2's tests."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import sunspec2
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pymodbus.client import AsyncModbusTcpClient

from host_tests.site.board_process import BoardProcess, board_process
from host_tests.site.test_deploy import prompt
from tools import pki
from tools.interpreters import Interpreter
from tools.ports import free_port

THEIRS = Path(sunspec2.__file__).parent / "tests" / "tls_data"
ROLES = ("readonly", "gridservice", "networkadministrator", "superadministrator")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys of a site."""
    folder = tmp_path_factory.mktemp("pki") / "site"
    pki.make(folder, ["127.0.0.1", "localhost"])
    return folder


@contextlib.asynccontextmanager
async def secured(mp: Interpreter, keys: Path, **setup: Any) -> AsyncIterator[tuple[BoardProcess, int, int]]:
    """The board's process with its plain port and its secure one."""
    plain, port = free_port(), free_port()
    setup = {"tcp": plain, "tls": {"port": port, "folder": str(keys)}, **setup}
    async with board_process(mp, "ems_bank.py", setup, heap="1M") as board:
        yield board, plain, port


def context(certificate: Path | None, key: Path | None, authority: Path) -> ssl.SSLContext:
    """What a client trusts and shows."""
    made = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(authority))
    if certificate is not None:
        made.load_cert_chain(str(certificate), str(key))
    return made


def ours(site: Path, name: str) -> ssl.SSLContext:
    """A client of this site."""
    return context(site / "clients" / f"{name}.pem", site / "clients" / f"{name}_key.pem", site / "authority.pem")


def request(number: int, address: int, count: int = 1) -> bytes:
    return struct.pack(">HHHBBHH", number, 0, 6, 1, 3, address, count)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 90))


class Wire:
    """A connection over TLS, asked in Modbus/TCP frames, whose header pymodbus leaves out over TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, shown: ssl.SSLContext, name: str = "127.0.0.1") -> Wire:
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=shown, server_hostname=name))

    async def ask(self, pdu: bytes) -> bytes:
        """The answer's PDU."""
        self.writer.write(struct.pack(">HHHB", 7, 0, len(pdu) + 1, 1) + pdu)
        head = await asyncio.wait_for(self.reader.readexactly(7), 10)
        assert head[:4] == b"\0\7\0\0"
        return await asyncio.wait_for(self.reader.readexactly(struct.unpack(">H", head[4:6])[0] - 1), 10)

    async def read(self, address: int) -> int:
        """A register, or minus an exception code."""
        answer = await self.ask(struct.pack(">BHH", 3, address, 1))
        return -answer[1] if answer[0] & 0x80 else int(struct.unpack(">BBH", answer)[2])

    async def write(self, address: int, value: int = 1) -> int:
        """The exception code, 0: accepted."""
        answer = await self.ask(struct.pack(">BHH", 6, address, value))
        return answer[1] if answer[0] & 0x80 else 0

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def is_refused(port: int, shown: ssl.SSLContext, name: str = "127.0.0.1") -> bool:
    """Whether a client that shows this gets no answer, be it at the handshake or at its first request (TLS 1.3)."""
    try:
        wire = await Wire.open(port, shown, name)
        await wire.read(1)
    except (OSError, asyncio.IncompleteReadError):
        return True
    await wire.close()
    return False


@pytest.mark.parametrize(
    ("role", "control", "service"), [(ROLES[0], 1, 1), (ROLES[1], 0, 1), (ROLES[2], 1, 1), (ROLES[3], 0, 0)]
)
def test_each_role_reads_and_writes_what_it_may(mp: Interpreter, site: Path, role: str, control: int, service: int) -> None:
    async def story() -> None:
        async with secured(mp, site / "board") as (board, _, port):
            wire = await Wire.open(port, ours(site, role))
            assert await wire.read(5) == 5
            assert await wire.write(5, 77) == control
            assert await wire.write(60, 78) == service
            assert [await wire.read(5), await wire.read(60)] == [5 if control else 77, 60 if service else 78]
            seen = await board.ask("clients")
            assert seen[0]["who"].lower() == f"127.0.0.1 {role}sunspec"
            await wire.close()

    run(story)


def test_who_controls_over_plain_tcp_is_the_one_over_tls_too(mp64: Interpreter, site: Path) -> None:
    async def story() -> None:
        async with secured(mp64, site / "board") as (_, plain, port):
            near = AsyncModbusTcpClient("127.0.0.1", port=plain, retries=0)
            assert await near.connect()
            assert not (await near.write_register(1, 1)).isError()
            wire = await Wire.open(port, ours(site, "superadministrator"))
            assert await wire.write(1) == 6
            near.close()
            await asyncio.sleep(0.1)
            assert await wire.write(1) == 0
            await wire.close()

    run(story)


def test_a_client_of_another_authority_or_without_a_certificate_is_refused(mp: Interpreter, site: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    pki.make(other, ["127.0.0.1"])
    foreign = context(
        other / "clients" / "gridservice.pem", other / "clients" / "gridservice_key.pem", site / "authority.pem"
    )
    nobody = context(None, None, site / "authority.pem")

    async def story() -> None:
        async with secured(mp, site / "board") as (board, _, port):
            assert await is_refused(port, foreign)
            assert await is_refused(port, nobody)
            wire = await Wire.open(port, ours(site, "readonly"))
            assert await wire.read(3) == 3, "the server goes on"
            counters = (await board.ask("counters"))[1]
            assert counters["turned_away"] == 2 and counters["clients"] == 1
            await wire.close()

    run(story)


def test_a_client_whose_certificate_has_expired_is_refused(mp: Interpreter, site: Path) -> None:
    with contextlib.suppress(pki.PkiError):
        pki.client(site, "expired", "GridServiceSunSpec", days=1e-6)
    with contextlib.suppress(pki.PkiError):
        pki.client(site, "valid", "GridServiceSunSpec", days=1)

    async def story() -> None:
        async with secured(mp, site / "board") as (_, _, port):
            await asyncio.sleep(1)
            assert await is_refused(port, ours(site, "expired"))
            assert not await is_refused(port, ours(site, "valid"))

    run(story)


def test_a_connection_ends_with_its_certificate_and_with_it_the_control(mp: Interpreter, site: Path) -> None:
    life_s = 4.0
    name = f"short{mp}"

    async def story() -> None:
        async with secured(mp, site / "board") as (board, plain, port):
            pki.client(site, name, "GridServiceSunSpec", days=life_s / 86400)
            ends = time.monotonic() + life_s
            late = AsyncModbusTcpClient("127.0.0.1", port=plain, retries=0)
            assert await late.connect()
            ems, other = await Wire.open(port, ours(site, name)), await Wire.open(port, ours(site, "gridservice"))
            assert [await ems.write(1, 77), await other.write(1, 78), await other.read(1)] == [0, 6, 77]
            while time.monotonic() < ends - 1:
                assert await ems.read(1) == 77, "it is answered until its end"
                await asyncio.sleep(0.05)
            await asyncio.sleep(ends + 1 - time.monotonic())
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await ems.read(1)
            assert [one["who"] for one in await board.ask("clients")] == ["127.0.0.1", "127.0.0.1 GridServiceSunSpec"]
            assert await other.write(1, 79) == 0, "nobody controls any more"
            assert await is_refused(port, ours(site, name))
            assert (await board.ask("counters"))[1]["clients"] == 1
            late.close()
            await other.close()

    run(story)


def test_with_a_clock_that_is_not_set_nobody_is_let_in_and_nobody_stays(mp64: Interpreter, site: Path) -> None:
    async def story() -> None:
        async with secured(mp64, site / "board") as (board, _, port):
            wire = await Wire.open(port, ours(site, "gridservice"))
            assert await wire.write(1, 77) == 0
            assert await board.ask("clock 2000") == 2000
            await asyncio.sleep(0.5)
            assert await board.ask("clients") == [], "it has ended"
            assert await is_refused(port, ours(site, "gridservice"))
            assert await board.ask("clock 2100") == 2100
            assert await is_refused(port, ours(site, "gridservice"))
            assert await board.ask("clock 0") == 0
            again = await Wire.open(port, ours(site, "gridservice"))
            assert await again.write(1, 78) == 0
            await again.close()
            await wire.close()

    run(story)


def test_what_speaks_no_tls_is_closed_and_holds_up_nobody(mp64: Interpreter, site: Path) -> None:
    async def story() -> None:
        async with secured(mp64, site / "board") as (_, _, port):
            wire = await Wire.open(port, ours(site, "readonly"))
            assert await wire.read(3) == 3
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(1, 1))
            with contextlib.suppress(ConnectionResetError):
                assert len(await asyncio.wait_for(reader.read(100), 5)) < 11, "an alert at most"
            assert await wire.read(4) == 4
            writer.close()
            await wire.close()

    run(story)


def test_silent_connections_before_the_handshake_make_room(mp64: Interpreter, site: Path) -> None:
    async def story() -> None:
        async with secured(mp64, site / "board") as (_, _, port):
            ems = await Wire.open(port, ours(site, "gridservice"))
            assert await ems.write(1) == 0
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            assert await ems.read(1) == 1
            await asyncio.sleep(2.2)
            late = await Wire.open(port, ours(site, "readonly"))
            assert await late.read(2) == 2
            assert await ems.write(1, 5) == 0
            for _, writer in silent:
                writer.close()
            await ems.close()
            await late.close()

    run(story)


def test_of_several_that_connect_at_once_each_has_its_turn(mp64: Interpreter, site: Path) -> None:
    async def story() -> None:
        async with secured(mp64, site / "board") as (board, _, port):
            wires = await asyncio.gather(*[Wire.open(port, ours(site, "readonly")) for _ in range(2)])
            assert await asyncio.gather(*[wire.read(n) for n, wire in enumerate(wires)]) == [0, 1]
            assert (await board.ask("counters"))[1]["turned_away"] == 0
            for wire in wires:
                await wire.close()

    run(story)


def test_who_is_shut_out_by_address_does_not_even_shake_hands(mp64: Interpreter, site: Path) -> None:
    async def story() -> None:
        async with secured(mp64, site / "board", options={"allow": {"127.0.0.9": "off"}}) as (board, _, port):
            with pytest.raises(OSError):
                await asyncio.open_connection(
                    "127.0.0.1", port, ssl=ours(site, "readonly"), server_hostname="127.0.0.1", local_addr=("127.0.0.9", 0)
                )
            assert (await board.ask("counters"))[1]["turned_away"] == 1

    run(story)


def test_many_requests_in_one_record_are_answered_in_order(mp: Interpreter, site: Path) -> None:
    async def story() -> None:
        async with secured(mp, site / "board", options={"requests_per_s": 0}) as (_, _, port):
            wire = await Wire.open(port, ours(site, "readonly"))
            assert await wire.read(0) == 0
            for _ in range(3):
                wire.writer.write(b"".join(request(n, n % 90, 5) for n in range(300)))
                for n in range(300):
                    answer = await asyncio.wait_for(wire.reader.readexactly(19), 10)
                    assert answer[:2] == struct.pack(">H", n) and answer[9:11] == struct.pack(">H", n % 90)
            await wire.close()

    run(story)


def test_a_client_that_does_not_read_holds_up_only_itself(mp64: Interpreter, site: Path) -> None:
    async def story() -> None:
        async with secured(mp64, site / "board", options={"requests_per_s": 0}) as (_, _, port):
            deaf = await Wire.open(port, ours(site, "readonly"))
            assert await deaf.read(0) == 0
            many = 30000
            flood = asyncio.create_task(send(deaf.writer, b"".join(request(n & 0xFFFF, 0, 100) for n in range(many))))
            other = await Wire.open(port, ours(site, "readonly"))
            for _ in range(20):
                assert await other.read(3) == 3
            for n in range(many):
                head = await asyncio.wait_for(deaf.reader.readexactly(209), 20)
                assert head[:9] == struct.pack(">HHHBBB", n & 0xFFFF, 0, 203, 1, 3, 200)
            await flood
            await other.close()
            await deaf.close()

    run(story)


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def test_the_keys_come_on_a_board_as_they_were_made(mp64: Interpreter, site: Path, tmp_path: Path) -> None:
    with prompt(mp64, tmp_path / "flash") as port:
        pki.put(site, port)
        pki.put(site, port)  # again: the folder is there
    there = {path.name: path.read_bytes() for path in (tmp_path / "flash" / "keys").iterdir()}
    assert there == {path.name: path.read_bytes() for path in (site / "board").iterdir()}
    assert not [path for path in (tmp_path / "flash").rglob("*") if "authority_key" in path.name]


# ---- pysunspec2's own certificates, good ones and bad ones ----------------------------------------------------------


def der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(serialization.Encoding.DER)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a board has of pysunspec2's: server, key, and both authorities of its clients."""
    folder = tmp_path_factory.mktemp("theirs")
    key = serialization.load_pem_private_key((THEIRS / "server" / "tls1_2" / "server_valid.key").read_bytes(), None)
    encoding, form = serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL
    (folder / "server.der").write_bytes(der(THEIRS / "server" / "tls1_2" / "server_valid.crt"))
    (folder / "server_key.der").write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    chain = [der(THEIRS / "ca" / name) for name in ("client_inter_ca.crt", "root_ca.crt")]
    (folder / "authority.der").write_bytes(b"".join(chain))
    return folder


def of_theirs(name: str) -> ssl.SSLContext:
    made = context(THEIRS / "client" / f"{name}.crt", THEIRS / "client" / f"{name}.key", THEIRS / "ca" / "server_ca_chain.crt")
    made.check_hostname = False
    return made


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_pysunspec2_s_clients_have_the_rights_of_their_roles(mp: Interpreter, theirs: Path, version: str) -> None:
    async def story() -> None:
        async with secured(mp, theirs) as (_, _, port):
            for name, control, service in (("readonly", 1, 1), ("gridservice", 0, 1), ("netadmin", 1, 1), ("superadmin", 0, 0)):
                wire = await Wire.open(port, of_theirs(f"{version}/client_{name}"))
                assert [await wire.read(5), await wire.write(5, 5), await wire.write(60, 60)] == [5, control, service], name
                await wire.close()
                await asyncio.sleep(0.1)

    run(story)


@pytest.mark.parametrize("name", ["client_self_signed", "client_foreign_ca", "client_expired"])
def test_pysunspec2_s_clients_that_must_not_be_trusted_are_refused(mp: Interpreter, theirs: Path, name: str) -> None:
    async def story() -> None:
        async with secured(mp, theirs) as (_, _, port):
            assert await is_refused(port, of_theirs(f"invalid/{name}"))
            assert not await is_refused(port, of_theirs("tls1_2/client_readonly"))

    run(story)


@pytest.mark.parametrize("name", ["client_no_role", "client_malformed_role"])
def test_a_client_without_a_role_is_told_that_it_may_do_nothing(mp: Interpreter, theirs: Path, name: str) -> None:
    async def story() -> None:
        async with secured(mp, theirs) as (board, _, port):
            wire = await Wire.open(port, of_theirs(f"invalid/{name}"))
            assert [await wire.read(5), await wire.write(5)] == [-1, 1]
            assert await board.ask("clients") == [] and await board.ask("commands") == []
            await wire.close()

    run(story)
