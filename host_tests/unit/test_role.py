"""The role in a certificate: where it is read from, and everything that is none."""

import datetime
import random
from pathlib import Path

import pytest
import sunspec2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from keyfiles import parts

from modbus.role import role_in, validity

THEIRS = Path(sunspec2.__file__).parent / "tests" / "tls_data"
OID = "1.3.6.1.4.1.50316.802.1"
KEY = ec.generate_private_key(ec.SECP256R1())


TODAY = datetime.datetime(2026, 11, 28)
EPOCH = datetime.datetime(2000, 1, 1)


def certificate(
    *extensions: tuple[str, bytes, bool],
    more: bool = False,
    begins: datetime.datetime = TODAY,
    ends: datetime.datetime = TODAY + datetime.timedelta(days=9),
) -> bytes:
    """A certificate in DER with these extensions: (object id, value, critical)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    builder = builder.serial_number(77).not_valid_before(begins).not_valid_after(ends)
    if more:
        builder = builder.add_extension(x509.BasicConstraints(False, None), True)
        names = x509.SubjectAlternativeName([x509.DNSName(f"host{i}.example") for i in range(40)])
        builder = builder.add_extension(names, False)
    for oid, value, critical in extensions:
        builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def utf8(text: str, tag: int = 12) -> bytes:
    return bytes([tag, len(text)]) + text.encode()


def theirs(name: str) -> bytes:
    pem = (THEIRS / f"{name}.crt").read_bytes()
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("critical", [False, True])
@pytest.mark.parametrize("more", [False, True])
def test_the_role_is_found_among_other_extensions(critical: bool, more: bool) -> None:
    assert role_in(certificate((OID, utf8("GridServiceSunSpec"), critical), more=more)) == "GridServiceSunSpec"


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("client/tls1_2/client_readonly", "ReadOnlySunSpec"),
        ("client/tls1_2/client_gridservice", "GridServiceSunSpec"),
        ("client/tls1_3/client_netadmin", "NetworkAdministratorSunSpec"),
        ("client/tls1_3/client_superadmin", "SuperAdministratorSunSpec"),
        ("client/invalid/client_no_role", ""),
        ("client/invalid/client_malformed_role", ""),
        ("server/tls1_2/server_valid", ""),
        ("ca/root_ca", ""),
    ],
)
def test_of_pysunspec2_s_certificates_those_have_a_role_that_should(name: str, role: str) -> None:
    assert role_in(theirs(name)) == role


def test_a_role_that_is_not_written_as_it_must_be_is_none() -> None:
    wrong = (utf8("GridServiceSunSpec", 22), utf8(""), utf8("x" * 65), utf8("a") + utf8("b"))
    for value in (*wrong, b"", b"\x0c\x05abc", b"\x0c\x02\xff\xfe"):
        assert role_in(certificate((OID, value, False))) == "", value
    assert role_in(certificate((OID + ".1", utf8("GridServiceSunSpec"), False))) == ""
    assert role_in(certificate(("1.3.6.1.4.1.50316.802", utf8("GridServiceSunSpec"), False))) == ""
    assert role_in(certificate()) == ""


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        (datetime.datetime(1999, 12, 31, 23, 59, 59), datetime.datetime(2000, 1, 1)),
        (datetime.datetime(2024, 2, 29, 12, 34, 56), datetime.datetime(2049, 12, 31, 23, 59, 59)),
        (datetime.datetime(1951, 3, 1), datetime.datetime(2050, 1, 1)),  # from here on with four digits of the year
        (datetime.datetime(2026, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59)),  # without an end (RFC 5280)
    ],
)
def test_its_dates_are_read_as_they_were_written(begins: datetime.datetime, ends: datetime.datetime) -> None:
    seconds = tuple(int((when - EPOCH).total_seconds()) for when in (begins, ends))
    assert validity(certificate(begins=begins, ends=ends, more=True)) == seconds


def test_what_is_no_certificate_is_never_valid() -> None:
    whole = certificate()
    first, last = validity(whole)
    assert first < last
    at = whole.index(b"261128000000Z")
    for wrong in (b"261328000000Z", b"261100000000Z", b"2611280000000", b"26112800000Z0", b"26-1280000.0Z"):
        assert validity(whole[:at] + wrong + whole[at + 13 :]) == (1, 0), wrong
    for size in range(at + 13):
        assert validity(whole[:size]) == (1, 0), size
    random.seed(5)
    for _ in range(2000):
        spoilt = bytearray(whole)
        spoilt[random.randrange(at)] = random.randrange(256)
        validity(bytes(spoilt))  # whatever it is, it raises nothing


def test_two_roles_are_none() -> None:
    once = certificate((OID, utf8("ReadOnlySunSpec"), False), (OID[:-1] + "2", utf8("SuperAdminSunSpec"), False))
    assert role_in(once) == "ReadOnlySunSpec"
    last = once.index(b"\x86\x22\x02") + 2
    assert role_in(once[:last] + b"\x01" + once[last + 1 :]) == "", "the second one now is a role too"


def test_a_certificate_that_is_cut_off_or_spoilt_has_no_role_of_its_own() -> None:
    whole = certificate((OID, utf8("SuperAdministratorSunSpec"), False))
    end = whole.index(b"SunSpec") + 7
    for length in range(end):
        assert role_in(whole[:length]) == "", length
    chance = random.Random(802)
    for _ in range(20000):
        spoilt = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        assert isinstance(role_in(spoilt), str)
    for _ in range(5000):
        assert role_in(chance.randbytes(chance.randrange(200))) == ""


def test_certificates_of_one_file_are_told_apart() -> None:
    one, two = certificate(), certificate(more=True)
    assert parts("x", one + two + one) == [one, two, one]
    for wrong in (b"", one[:-1], one + b"\0", b"-----BEGIN CERTIFICATE-----"):
        with pytest.raises(ValueError):
            parts("x", wrong)
