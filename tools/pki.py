"""A site's own certificates for Modbus/TCP Security: makes them, and puts the board's part on the board.

    python -m tools.pki make DIR --host 192.168.1.20 [--host bess.local]   authority, server, a client for each SunSpec role
    python -m tools.pki client DIR NAME ROLE                               one client more
    python -m tools.pki server DIR --host 192.168.1.30                     the server anew: its address is another, or it ends
    python -m tools.pki put DIR --port /dev/ttyUSB0                        the server's keys on the board, folder `keys`

Keys are ECDSA P-256, each with its certificate: PEM for clients on computers, DER for the board.  Nothing that is there
is written over (what a new server replaces is kept beside it), and nothing is written inside the repository: keys belong in no
version control.  A new server of the same authority costs its clients nothing.  Whoever has
authority_key.pem makes clients with every right: keep it away from the site.  A client's rights end with its certificate, of a
connection that lives too; to end them sooner make a new authority, and new clients of it.
"""

import argparse
import datetime
import hashlib
import ipaddress
import os
import re
import shutil
import sys
from base64 import b64encode
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tools import serial_line
from tools.build.stage import ROOT

ROLE_EXTENSION = x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1")
ROLES = ("ReadOnlySunSpec", "GridServiceSunSpec", "NetworkAdministratorSunSpec", "SuperAdministratorSunSpec")
BOARD = "board"  # folder of what goes on the board
BOARD_FILES = ("server.der", "server_key.der", "authority.der")
ON_BOARD = "keys"
_MOST_DAYS = 36500
_MOST_NAME = 48  # characters
_HOST = re.compile(r"(?=.{1,48}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
_PIECE = 512  # bytes of a file in one line for the board
IS_ON_BOARD = "the keys are on the board, which goes on; they count from its next start on (`reboot` at the console)"
_EARLY = datetime.timedelta(days=1)  # clocks differ
_UTF8_STRING = 12


class PkiError(Exception):
    """It was not done; the text says why."""


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _utf8(text: str) -> bytes:
    """A UTF8String in DER, of less than 128 bytes."""
    data = text.encode()
    return bytes([_UTF8_STRING, len(data)]) + data


class Authority:
    """Who signs a site's certificates."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self.key = key
        self.certificate = certificate

    @classmethod
    def made(cls, name: str, days: int) -> "Authority":
        """A new one."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = _builder(_name(name), _name(name), key, days).add_extension(x509.BasicConstraints(True, 0), True)
        builder = _identified(builder.add_extension(usage, True), key, key)
        return cls(key, builder.sign(key, hashes.SHA256()))

    @classmethod
    def of(cls, folder: Path) -> "Authority":
        """The one in a folder that `make` has made.  PkiError where there is none."""
        try:
            key = serialization.load_pem_private_key((folder / "authority_key.pem").read_bytes(), None)
            certificate = x509.load_pem_x509_certificate((folder / "authority.pem").read_bytes())
        except (OSError, ValueError) as error:
            raise PkiError(f"{folder}: has no authority of ours: {error}") from None
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(key, certificate)

    def signs(
        self, name: str, days: float, client: bool, extensions: list[x509.ExtensionType]
    ) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        """A new key and its certificate, which ends with the authority's at the latest."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self.certificate.subject, key, days, self.certificate.not_valid_after_utc)
        builder = _identified(builder.add_extension(x509.BasicConstraints(False, None), True), key, self.key)
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        for extension in (x509.ExtendedKeyUsage([purpose]), *extensions):
            builder = builder.add_extension(extension, False)
        return key, builder.sign(self.key, hashes.SHA256())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    days: float,
    latest: datetime.datetime = datetime.datetime.max.replace(tzinfo=datetime.UTC),
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    until = min(now + datetime.timedelta(days=days), latest)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - _EARLY).not_valid_after(until)


def _identified(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    """With the identifiers of both keys, which strict clients ask for."""
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), False)


def _write(path: Path, data: bytes, secret: bool = False) -> None:
    """A new file; only its owner reads a secret one.  PkiError where there is one already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644), "wb") as file:
            file.write(data)
    except FileExistsError:
        raise PkiError(f"{path}: is there already, and is not written over") from None


def _key_bytes(key: ec.EllipticCurvePrivateKey, encoding: serialization.Encoding) -> bytes:
    return key.private_bytes(encoding, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        if not _HOST.fullmatch(text):
            raise PkiError(f"host = {text!r}: must be an address, or a name of letters a to z, digits, - and .") from None
        return x509.DNSName(text)


def _outside(folder: Path) -> Path:
    """The folder, resolved.  PkiError where it lies in the repository."""
    folder = folder.resolve()
    if folder.is_relative_to(ROOT.resolve()):
        raise PkiError(f"{folder}: lies in the repository; keys belong in no version control, choose a folder outside")
    return folder


def _check_days(days: float) -> None:
    if not 0 < days <= _MOST_DAYS:
        raise PkiError(f"days = {days}: allowed are 1 to {_MOST_DAYS}")


def _check_name(name: str) -> None:
    """It becomes a file's name too: one that leaves the folder might write a key anywhere."""
    if not 1 <= len(name) <= _MOST_NAME or not all(one.isalnum() or one in "-_." for one in name) or name[0] == ".":
        raise PkiError(f"name = {name!r}: must be 1 to {_MOST_NAME} letters, digits, - _ and . (not the first)")


def _names(hosts: list[str]) -> x509.SubjectAlternativeName:
    if not hosts:
        raise PkiError("no host: give the board's address or name, as its clients call it")
    return x509.SubjectAlternativeName([_host(host) for host in hosts])


def _write_server(folder: Path, authority: Authority, hosts: list[str], days: float) -> None:
    key, certificate = authority.signs(hosts[0], days, False, [_names(hosts)])
    der = serialization.Encoding.DER
    parts = (certificate.public_bytes(der), _key_bytes(key, der), authority.certificate.public_bytes(der))
    for name, data in zip(BOARD_FILES, parts, strict=True):
        _write(folder / name, data, secret="key" in name)


def make(folder: Path, hosts: list[str], days: int = 3650) -> None:
    """Authority, server and a client for each role in a new folder.  PkiError where a file of them is there already."""
    folder = _outside(folder)
    _check_days(days)
    _names(hosts)  # before anything is written: half a folder is none
    there = [path for path in (folder / "authority_key.pem", folder / BOARD / "server_key.der") if path.exists()]
    if there:
        raise PkiError(f"{there[0]}: is there already, and is not written over")
    authority = Authority.made(f"{hosts[0]} authority", days)
    _write(folder / "authority_key.pem", _key_bytes(authority.key, serialization.Encoding.PEM), secret=True)
    _write(folder / "authority.pem", authority.certificate.public_bytes(serialization.Encoding.PEM))
    _write_server(folder / BOARD, authority, hosts, days)
    for role in ROLES:
        client(folder, role.removesuffix("SunSpec").lower(), role, days)


def client(folder: Path, name: str, role: str, days: float = 3650) -> None:
    """A client's key and certificate, signed by the folder's authority, with which it ends at the latest.

    PkiError for an unknown role, or one that is there.
    """
    folder = _outside(folder)
    if role not in ROLES:
        raise PkiError(f"{role}: there is no such role; there are {', '.join(ROLES)}")
    _check_name(name)
    _check_days(days)
    extension = x509.UnrecognizedExtension(ROLE_EXTENSION, _utf8(role))
    authority = _living(folder)
    key, certificate = authority.signs(name, days, True, [extension])
    _write(folder / "clients" / f"{name}_key.pem", _key_bytes(key, serialization.Encoding.PEM), secret=True)
    _write(folder / "clients" / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))


def _living(folder: Path) -> Authority:
    """The folder's authority.  PkiError where it has ended."""
    authority = Authority.of(folder)
    ends = authority.certificate.not_valid_after_utc
    if ends <= datetime.datetime.now(datetime.UTC):
        raise PkiError(f"{folder}: its authority ended on {ends:%Y-%m-%d}, and with it all that it signs; make a new one")
    return authority


def server(folder: Path, hosts: list[str], days: float = 3650) -> Path:
    """The server's key and certificate anew, of the folder's authority: clients go on as they are.  Gives where the old ones are.

    PkiError for a host that cannot be one, and where there is no authority or it has ended.
    """
    folder = _outside(folder)
    _check_days(days)
    _names(hosts)
    authority = _living(folder)
    new = folder / f"{BOARD}.new"
    if new.exists():
        shutil.rmtree(new)  # one that was never finished
    _write_server(new, authority, hosts, days)
    number = 1
    while (kept := folder / f"{BOARD}.{number}").exists():
        number += 1
    if (folder / BOARD).exists():
        (folder / BOARD).rename(kept)
    new.rename(folder / BOARD)
    return kept


def put(folder: Path, port: str) -> None:
    """Copy the server's keys on the board, which goes on: they count from its next start on, all of them or none.

    PkiError where they are missing or do not arrive, serial_line.LineError where it fails.
    """
    files = [folder / BOARD / name for name in BOARD_FILES]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise PkiError(f"{missing[0]}: is missing; `make` makes it")
    with serial_line.RawPrompt(port, soft_reset=False) as board:
        board.run("LIVE = True\n" + (ROOT / "tools" / "onboard" / "top.py").read_text())
        for file in files:
            content = file.read_bytes()
            board.run(f"begin('{ON_BOARD}/{file.name}')")
            for at in range(0, len(content), _PIECE):
                board.run(f"arriving.write(a2b_base64(b'{b64encode(content[at : at + _PIECE]).decode()}'))")
            board.run("arriving.close()")
            if board.run(f"print(digest('{ON_BOARD}/{file.name}.new'))").strip() != hashlib.sha256(content).hexdigest():
                raise PkiError(f"{ON_BOARD}/{file.name}: did not arrive as it was sent: put them again")
        # together: a certificate without its key would be refused at the next start
        board.run(f"for name in {BOARD_FILES!r}:\n    os.rename('{ON_BOARD}/' + name + '.new', '{ON_BOARD}/' + name)")


def main() -> int:
    """0 when it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    of_make = commands.add_parser("make")
    of_client = commands.add_parser("client")
    of_server = commands.add_parser("server")
    of_put = commands.add_parser("put")
    for command in (of_make, of_client, of_server, of_put):
        command.add_argument("folder", type=Path)
    for command in (of_make, of_server):
        command.add_argument("--host", action="append", default=[], help="address or name by which clients reach the board")
    of_client.add_argument("name")
    of_client.add_argument("role", help=", ".join(ROLES))
    for command in (of_make, of_client, of_server):
        command.add_argument("--days", type=int, default=3650, help="for which the certificates are valid")
    of_put.add_argument("--port", required=True)
    arguments = parser.parse_args()
    done = f"{arguments.folder}: done"
    try:
        if arguments.command == "make":
            make(arguments.folder, arguments.host, arguments.days)
        elif arguments.command == "client":
            client(arguments.folder, arguments.name, arguments.role, arguments.days)
        elif arguments.command == "server":
            kept = server(arguments.folder, arguments.host, arguments.days)
            done += f"; the server before is in {kept}; `put` takes the new one to the board"
        else:
            put(arguments.folder, arguments.port)
            done = IS_ON_BOARD
    except (PkiError, serial_line.LineError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
