"""Keys as other people's authorities make them: intermediates, renewals, wrong keys, PEM; openssl's on both MicroPythons."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest

from host_tests.site.test_ems_tls import Wire, context, is_refused, run, secured
from tools.interpreters import Interpreter

ROLE = "1.3.6.1.4.1.50316.802.1=ASN1:UTF8String:GridServiceSunSpec"
KEYS = ("server.der", "server_key.der", "authority.der")


def openssl(*arguments: str, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True, timeout=60).stdout


class Pki:
    """A root, an intermediate for servers and one for clients, who sign everybody else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = self.made("root", None, "basicConstraints=critical,CA:TRUE")
        self.servers = self.made("servers", "root", "basicConstraints=critical,CA:TRUE")
        self.clients = self.made("clients", "root", "basicConstraints=critical,CA:TRUE")
        self.server = self.made("server", "servers", "subjectAltName=IP:127.0.0.1")
        self.client = self.made("client", "clients", ROLE)

    def made(self, name: str, issuer: str | None, extension: str, days: int = 30) -> bytes:
        """A key and its certificate, which is returned in PEM."""
        path = str(self.folder / name)
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path + ".key")
        openssl("req", "-new", "-key", path + ".key", "-subj", "/CN=" + name, "-out", path + ".csr")
        by = ["-CA", f"{self.folder / issuer}.pem", "-CAkey", f"{self.folder / issuer}.key"] if issuer else []
        by = [*by, "-CAcreateserial"] if issuer else ["-signkey", path + ".key"]
        (self.folder / "ext").write_text(extension + "\n")
        more = ["-extfile", str(self.folder / "ext"), "-days", str(days)]
        openssl("x509", "-req", "-in", path + ".csr", *by, *more, "-out", path + ".pem")
        return Path(path + ".pem").read_bytes()

    def key(self, name: str) -> bytes:
        return (self.folder / f"{name}.key").read_bytes()

    def board(self, name: str, server: bytes, key: bytes, authority: bytes) -> Path:
        """A board's folder of keys."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for file, data in zip(KEYS, (server, key, authority), strict=True):
            (folder / file).write_bytes(data)
        return folder

    def shown(self, *chain: bytes, key: str = "client") -> ssl.SSLContext:
        """A client that trusts the root alone, and shows this chain."""
        if not chain:
            return context(None, None, self.folder / "root.pem")
        path = self.folder / "shown.pem"
        path.write_bytes(b"".join(chain))
        return context(path, self.folder / f"{key}.key", self.folder / "root.pem")


def der(pem: bytes) -> bytes:
    return openssl("x509", "-outform", "DER", given=pem)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("chains"))


@pytest.mark.parametrize("form", ["pem", "der"])
def test_a_server_shows_its_intermediate_and_believes_the_clients(mp: Interpreter, pki: Pki, form: str) -> None:
    """The root is all that either side knows."""
    chain, key, root = pki.server + pki.servers, pki.key("server"), pki.root
    if form == "der":
        chain, root = der(pki.server) + der(pki.servers), der(pki.root)
        key = openssl("pkey", "-outform", "DER", given=key)
    keys = pki.board(form, chain, key, root)

    async def story() -> None:
        async with secured(mp, keys) as (_, _, port):
            assert await is_refused(port, pki.shown(pki.client)), "between it and the root is nothing"
            wire = await Wire.open(port, pki.shown(pki.client, pki.clients))
            assert [await wire.read(5), await wire.write(5, 7), await wire.write(60)] == [5, 0, 1]
            await wire.close()

    run(story)


OPEN = """
import sys
sys.path[:] = [{root!r}, {root!r} + "/lib", ".frozen"]
from firmware.ems import secure
from firmware.errors import ConfigError
class Gate:
    roles = None
try:
    secure.server({{}}, {{"tls_folder": {keys!r}, "tls_port": 0, "tls_clients": 2}}, Gate())
    print("opened")
except ConfigError as error:
    print(error)
"""


def said(mp: Interpreter, root: Path, keys: Path) -> str:
    """What a board says of these keys when it starts."""
    program = OPEN.format(root=str(root), keys=str(keys))
    done = subprocess.run([*mp.command, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_what_is_wrong_with_its_keys_a_board_says_when_it_starts(mp: Interpreter, root: Path, pki: Pki) -> None:
    server, key, authority = pki.server + pki.servers, pki.key("server"), pki.root
    sealed = openssl("pkey", "-aes128", "-passout", "pass:x", given=key)
    request = (pki.folder / "server.csr").read_bytes()
    for given, words in (
        ((server, pki.key("client"), authority), "the key is not that of the certificate"),
        ((pki.servers + pki.server, key, authority), "stands first in its file"),
        ((server, sealed, authority), "the key is neither DER nor PEM, is cut off or has a password"),
        ((server, server, authority), "invalid key"),
        ((key, key, authority), "invalid cert"),
        ((request, key, authority), "invalid cert"),
        ((der(server)[:-9], key, authority), "the certificate is neither"),
        ((server, b"", authority), "the key is neither"),
        ((server, key, b"the authority"), "the authority is neither"),
        ((server, key, request), "invalid cert"),
    ):
        told = said(mp, root, pki.board("wrong", *given))
        assert words in told and "wrong" in told, told
    assert said(mp, root, pki.board("right", server, key, authority)) == "opened"


def test_keys_are_renewed_under_clients_that_stay(mp64: Interpreter, pki: Pki) -> None:
    keys = pki.board("renewed", pki.server, pki.key("server"), pki.root)
    old = pki.shown(pki.client, pki.clients)
    old.load_verify_locations(str(pki.folder / "servers.pem"))

    async def story() -> None:
        async with secured(mp64, keys) as (_, _, port):
            wire = await Wire.open(port, old)
            pki.board("renewed", b"", b"", b"")
            assert await wire.write(5, 7) == 0
            assert not await is_refused(port, old), "what it has read at its start counts"
            await wire.close()

    run(story)


def test_a_server_whose_certificate_has_ended_says_so(mp: Interpreter, pki: Pki) -> None:
    ended = pki.made("ended", "servers", "subjectAltName=IP:127.0.0.1", days=-1)
    keys = pki.board("over", ended + pki.servers, pki.key("ended"), pki.root)

    async def story() -> None:
        async with secured(mp, keys) as (board, _, port):
            assert await is_refused(port, pki.shown(pki.client, pki.clients))
            await asyncio.sleep(0.2)
            said = (await board.ask("counters"))[1]["last_error"]
            assert "the server's certificate is not valid" in said

    run(story)
