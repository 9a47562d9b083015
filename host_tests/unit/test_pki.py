"""tools/pki: a site's certificates, none written over, none in the repository, the board's part on the board."""

import datetime
import re
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from modbus.role import role_in
from tools import pki, serial_line
from tools.build.stage import ROOT


class TwoMonthsAgo(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "TwoMonthsAgo":
        return super().now(tz) - datetime.timedelta(days=60)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki") / "site"
    pki.make(folder, ["192.168.1.20", "bess.local"])
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def certificate(path: Path) -> x509.Certificate:
    data = path.read_bytes()
    return x509.load_pem_x509_certificate(data) if path.suffix == ".pem" else x509.load_der_x509_certificate(data)


def test_there_is_a_client_for_each_role_signed_by_the_authority(site: Path) -> None:
    authority = certificate(site / "authority.pem")
    for role in pki.ROLES:
        made = certificate(site / "clients" / f"{role.removesuffix('SunSpec').lower()}.pem")
        made.verify_directly_issued_by(authority)
        key = made.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
        extension = made.extensions.get_extension_for_oid(pki.ROLE_EXTENSION).value
        assert isinstance(extension, x509.UnrecognizedExtension) and extension.value[2:].decode() == role


def test_the_server_has_the_names_by_which_it_is_reached_and_no_role(site: Path) -> None:
    data = (site / "board" / "server.der").read_bytes()
    made = x509.load_der_x509_certificate(data)
    made.verify_directly_issued_by(certificate(site / "authority.pem"))
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["bess.local"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.168.1.20"]
    assert role_in(data) == ""
    assert sorted(path.name for path in (site / "board").iterdir()) == sorted(pki.BOARD_FILES)


def test_only_their_owner_reads_keys(site: Path) -> None:
    keys = list(site.rglob("*_key.*"))
    assert len(keys) >= 6
    for path in keys:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_nothing_is_written_over(site: Path) -> None:
    before = files(site)
    with pytest.raises(pki.PkiError, match=r"authority_key\.pem: is there already"):
        pki.make(site, ["192.168.1.21"])
    with pytest.raises(pki.PkiError, match=r"gridservice_key\.pem: is there already"):
        pki.client(site, "gridservice", "GridServiceSunSpec")
    assert files(site) == before


def test_an_unknown_role_or_a_folder_without_an_authority_is_refused(site: Path, tmp_path: Path) -> None:
    before = files(site)
    with pytest.raises(pki.PkiError, match="GridService: there is no such role; there are ReadOnlySunSpec"):
        pki.client(site, "evcc", "GridService")
    with pytest.raises(pki.PkiError, match="has no authority of ours"):
        pki.client(tmp_path, "evcc", "GridServiceSunSpec")
    with pytest.raises(pki.PkiError, match="no host"):
        pki.make(tmp_path / "new", [])
    assert files(site) == before and files(tmp_path) == {}


def test_nothing_is_made_inside_the_repository() -> None:
    for folder in (ROOT / "keys", ROOT / "docs" / ".." / "keys"):
        with pytest.raises(pki.PkiError, match="lies in the repository"):
            pki.make(folder, ["192.168.1.20"])
        assert not folder.exists()


def test_a_client_more_is_made_at_the_command_line_which_says_nothing_of_its_key(site: Path) -> None:
    command = [sys.executable, "-m", "tools.pki", "client", str(site), "evcc", "GridServiceSunSpec"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == f"{site}: done\n" and not done.stderr
    assert (site / "clients" / "evcc.pem").exists()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "is there already" in done.stderr


def test_a_folder_without_a_board_s_keys_is_not_put_on_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_line, "RawPrompt", lambda *_, **__: pytest.fail("the board was asked"))
    with pytest.raises(pki.PkiError, match=r"server\.der: is missing"):
        pki.put(tmp_path, "/dev/nowhere")


@pytest.mark.parametrize(("hosts", "days", "words"), [
    (["192.168.1.20", "übel.local"], 30, "host = 'übel.local': must be an address, or a name"),
    (["bess local"], 30, "host = 'bess local'"),
    (["a" * 49], 30, "host = 'aaa"),
    (["bess.local"], 0, "days = 0: allowed are 1 to 36500"),
    (["bess.local"], -5, "days = -5: allowed are 1 to 36500"),
    (["bess.local"], 99_999_999, "days = 99999999: allowed are 1 to 36500"),
])  # fmt: skip
def test_what_cannot_be_a_certificate_is_refused_and_leaves_no_half_folder(
    hosts: list[str], days: int, words: str, tmp_path: Path
) -> None:
    """A traceback, and an authority without a server: the next `make` said that it is there already."""
    with pytest.raises(pki.PkiError, match=re.escape(words)):
        pki.make(tmp_path / "new", hosts, days)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "", "a" * 49, ".hidden", "a\nb"])
def test_a_client_s_name_leaves_the_folder_never(name: str, site: Path) -> None:
    before = files(site.parent)
    with pytest.raises(pki.PkiError, match=r"name = .*: must be 1 to 48 letters"):
        pki.client(site, name, "GridServiceSunSpec")
    assert files(site.parent) == before


def test_an_authority_that_has_ended_signs_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It made clients that were over when they were made, and said: done."""
    with monkeypatch.context() as before:
        before.setattr(pki, "datetime", SimpleNamespace(UTC=datetime.UTC, timedelta=datetime.timedelta, datetime=TwoMonthsAgo))
        pki.make(tmp_path / "old", ["bess.local"], 30)
    with pytest.raises(pki.PkiError, match=r"its authority ended on .*, and with it all that it signs"):
        pki.client(tmp_path / "old", "evcc", "GridServiceSunSpec")


def test_a_server_is_made_anew_and_its_clients_go_on_as_they_are(site: Path) -> None:
    """A board whose address is another, or whose certificate ends, had cost all clients theirs."""
    before = files(site)
    kept = pki.server(site, ["192.168.1.30"], 365)
    after = files(site)
    made = certificate(site / "board" / "server.der")
    made.verify_directly_issued_by(certificate(site / "authority.pem"))
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.168.1.30"]
    assert after["board/authority.der"] == before["board/authority.der"]
    assert all(after[name] == data for name, data in before.items() if not name.startswith("board/"))
    # what it replaces is kept, and so is what the next one replaces
    assert all(after[f"{kept.name}/{name.removeprefix('board/')}"] == data for name, data in before.items() if "board/" in name)
    assert pki.server(site, ["192.168.1.31"]) != kept and kept.exists()
    assert stat.S_IMODE((site / "board" / "server_key.der").stat().st_mode) == 0o600


@pytest.mark.parametrize(("hosts", "days", "words"), [
    ([], 30, "no host"), (["bess local"], 30, "host = 'bess local'"), (["bess.local"], 0, "days = 0: allowed are 1 to 36500"),
])  # fmt: skip
def test_a_server_that_cannot_be_leaves_the_one_that_is(hosts: list[str], days: int, words: str, site: Path) -> None:
    before = files(site)
    with pytest.raises(pki.PkiError, match=re.escape(words)):
        pki.server(site, hosts, days)
    assert files(site) == before


def test_one_that_was_broken_off_half_way_is_made_again(site: Path) -> None:
    (site / "board.new").mkdir()
    (site / "board.new" / "server.der").write_bytes(b"half")
    command = [sys.executable, "-m", "tools.pki", "server", str(site), "--host", "bess.local"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "the server before is in" in done.stdout and not (site / "board.new").exists(), done.stderr
    assert sorted(path.name for path in (site / "board").iterdir()) == sorted(pki.BOARD_FILES)
