"""The role in a client's certificate (Modbus/TCP Security): extension 1.3.6.1.4.1.50316.802.1, one UTF8String; and its dates.

X.509 in DER is values within values, each a tag, a length and so many bytes.  Only what leads to the extension and to the
dates is looked at: the signature is the TLS library's affair.
"""

from civil import DAY_S, day_number
from micropython import const

_OID = bytes((0x2B, 6, 1, 4, 1, 0x83, 0x89, 0x0C, 0x86, 0x22, 1))
_SEQUENCE = const(0x30)
_EXTENSIONS = const(0xA3)  # [3] of a certificate
_OBJECT_ID = const(6)
_BOOLEAN = const(1)
_OCTETS = const(4)
_UTF8 = const(12)
_UTC_TIME = const(23)
_GENERALIZED_TIME = const(24)
_VERSION = const(0xA0)  # [0] of a certificate
_LONGEST = const(64)  # characters of a role


def role_in(certificate) -> str:
    """The role of a certificate in DER; "" where it has none, more than one, or one that is not written as it must be."""
    try:
        return _role(certificate)
    except (ValueError, IndexError, UnicodeError):  # cut off, or no certificate
        return ""


def validity(certificate) -> "tuple[int, int]":
    """From when until when a certificate in DER is valid, in seconds since 2000-01-01 UTC; (1, 0): never, it cannot be read."""
    try:
        at, end = _value(certificate, 0, len(certificate), _SEQUENCE)
        at, end = _value(certificate, at, end, _SEQUENCE)
        if certificate[at] == _VERSION:
            at = _value(certificate, at, end, _VERSION)[1]
        for _ in range(3):  # serial number, algorithm, issuer
            at = _value(certificate, at, end, certificate[at])[1]
        at, end = _value(certificate, at, end, _SEQUENCE)
        first, at = _seconds(certificate, at, end)
        return first, _seconds(certificate, at, end)[0]
    except (ValueError, IndexError, UnicodeError):
        return 1, 0


def _seconds(der, at: int, end: int) -> tuple:
    """A date as validity() gives it, and where it ends.  ValueError where it is written as none in RFC 5280."""
    generalized = der[at] == _GENERALIZED_TIME
    at, end = _value(der, at, end, _GENERALIZED_TIME if generalized else _UTC_TIME)
    text = bytes(der[at:end]).decode()
    if len(text) != (15 if generalized else 13) or text[-1] != "Z":
        raise ValueError
    if not generalized:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    month, day = int(text[4:6]), int(text[6:8])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError
    days = day_number(int(text[:4]), month, day)
    return days * DAY_S + int(text[8:10]) * 3600 + int(text[10:12]) * 60 + int(text[12:14]), end


def _role(der) -> str:
    at, end = _value(der, 0, len(der), _SEQUENCE)
    at, end = _value(der, at, end, _SEQUENCE)  # what is signed
    at = _find(der, at, end, _EXTENSIONS)
    at, end = _value(der, at, end, _EXTENSIONS)
    at, end = _value(der, at, end, _SEQUENCE)
    found = ""
    while at < end:
        inner, after = _value(der, at, end, _SEQUENCE)
        name, name_end = _value(der, inner, after, _OBJECT_ID)
        if bytes(der[name:name_end]) == _OID:
            if found:
                return ""
            found = _text(der, name_end, after)
        at = after
    return found


def _text(der, at: int, end: int) -> str:
    """The UTF8String in an extension whose name ends before `at`.  ValueError where there is another thing, or more."""
    if der[at] == _BOOLEAN:  # critical, or not
        at = _value(der, at, end, _BOOLEAN)[1]
    at, octets_end = _value(der, at, end, _OCTETS)
    at, text_end = _value(der, at, octets_end, _UTF8)
    if octets_end != end or text_end != end or not 0 < end - at <= _LONGEST:
        raise ValueError
    return bytes(der[at:end]).decode()


def _find(der, at: int, end: int, tag: int) -> int:
    """Where the first value with this tag begins.  ValueError where there is none."""
    while at < end:
        if der[at] == tag:
            return at
        at = _value(der, at, end, der[at])[1]
    raise ValueError


def _value(der, at: int, end: int, tag: int) -> tuple:
    """Where the content of the value at `at` begins, and where it ends.  ValueError for another tag, or one cut off."""
    if at + 2 > end or der[at] != tag:
        raise ValueError
    length = der[at + 1]
    at += 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 2 or at + count > end:  # 64 KB are more than a certificate has
            raise ValueError
        length = der[at] if count == 1 else der[at] << 8 | der[at + 1]
        at += count
    if at + length > end:
        raise ValueError
    return at, at + length
