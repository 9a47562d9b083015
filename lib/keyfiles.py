"""Certificates and keys of TLS as files have them: DER or PEM, several one behind another, each key with its certificate.

The TLS library takes one certificate at a time, on some machines no PEM, and a key that is another's fails in every handshake
only, without a word.
"""

from binascii import a2b_base64

from micropython import const

_BEGIN = const(b"-----BEGIN ")
_SEQUENCE = const(0x30)
_PUBLIC = const(b"\x03\x42\x00\x04")  # so a public key of P-256 begins, in its certificate and in its private key
_PUBLIC_SIZE = const(68)


def parts(what: str, data: bytes) -> "list[bytes]":
    """What a file holds, in DER.  ValueError, with `what` it should be, where that is nothing."""
    try:
        found = _of_pem(data) if _BEGIN in data else _of_der(data)
    except (ValueError, IndexError):
        found = []
    if not found:
        raise ValueError("the %s is neither DER nor PEM, is cut off or has a password" % what)
    return found


def show(context, certificate: bytes, key: bytes) -> bytes:
    """Have a context show this certificate, and those that stand behind it in its file; it is returned in DER.

    ValueError, in words, where the key or any of them is none, or the key does not belong to the first.
    """
    chain = parts("certificate", certificate)
    private = parts("key", key)[0]
    at = private.find(_PUBLIC)
    if at >= 0 and private[at : at + _PUBLIC_SIZE] not in chain[0]:
        raise ValueError("the key is not that of the certificate, which stands first in its file")
    for one in chain:
        context.load_cert_chain(one, private)
    return chain[0]


def _of_pem(data: bytes) -> list:
    found = []
    for block in data.split(_BEGIN)[1:]:
        kind, _, rest = block.partition(b"-----")
        if b"ENCRYPTED" in block:
            raise ValueError
        if not kind.endswith(b"PARAMETERS"):  # openssl writes a curve's name before its key
            found.append(a2b_base64(rest[: rest.index(b"-----")]))
    return found


def _of_der(data: bytes) -> list:
    found = []
    at = 0
    while at < len(data):
        if data[at] != _SEQUENCE:
            raise ValueError
        begin = at + 2
        size = data[at + 1]
        if size & 0x80:
            begin += size & 0x7F
            size = int.from_bytes(data[at + 2 : begin], "big")
        if begin + size > len(data):
            raise ValueError
        found.append(data[at : begin + size])
        at = begin + size
    return found
