"""Certificates and keys out of files: DER, PEM, several one behind another, and what is none."""

from binascii import b2a_base64

import keyfiles


def _der(fill, size):
    """A value in DER of so many bytes of content."""
    head = bytes([0x30, size]) if size < 128 else bytes([0x30, 0x82, size >> 8, size & 255])
    return head + bytes([fill] * size)


def _pem(der, kind=b"CERTIFICATE", end=b"\n"):
    text = b2a_base64(der).strip()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"-----BEGIN " + kind + b"-----" + end + end.join(lines) + end + b"-----END " + kind + b"-----" + end


def _refused(what, data):
    try:
        keyfiles.parts(what, data)
    except ValueError as error:
        return str(error)
    raise AssertionError("taken")


A, B = _der(1, 100), _der(2, 700)


def test_der_of_one_and_of_several():
    assert keyfiles.parts("x", A) == [A]
    assert keyfiles.parts("x", B + A + B) == [B, A, B]


def test_pem_of_one_and_of_several_with_what_stands_around_them():
    assert keyfiles.parts("x", _pem(A)) == [A]
    text = b"\xef\xbb\xbfsubject=CN = leaf\r\n" + _pem(B, end=b"\r\n") + b"\r\nissuer=\r\n" + _pem(A, end=b"\r\n")
    assert keyfiles.parts("x", text) == [B, A]
    assert keyfiles.parts("x", _pem(b"\x06\x01", b"EC PARAMETERS") + _pem(A, b"EC PRIVATE KEY")) == [A]


def test_what_is_none_is_said_by_its_name():
    sealed = _pem(A, b"ENCRYPTED PRIVATE KEY")
    old = _pem(A, b"EC PRIVATE KEY").replace(b"KEY-----\n", b"KEY-----\nProc-Type: 4,ENCRYPTED\n\n", 1)
    for data in (b"", b"rubbish", A + b"\0", A + B[:-1], B[:1], B[:3], _pem(A)[:60], _pem(A)[:5], sealed, old):
        assert _refused("key", data).startswith("the key "), data


class Context:
    """Remembers what it is to show."""

    def __init__(self):
        self.shown = []

    def load_cert_chain(self, certificate, key):
        self.shown.append((certificate, key))


def test_a_key_goes_with_its_own_certificate_only():
    mine, other = b"\x03\x42\x00\x04" + bytes(range(64)), b"\x03\x42\x00\x04" + bytes(range(1, 65))
    leaf, key = b"\x30\x48ab" + mine + b"cd", b"\x30\x48\x01\x02" + mine + b"\x03\x04"
    context = Context()
    assert keyfiles.show(context, leaf + A, key) == leaf
    assert context.shown == [(leaf, key), (A, key)]
    for chain in (A + leaf, b"\x30\x48ab" + other + b"cd"):
        context = Context()
        try:
            keyfiles.show(context, chain, key)
        except ValueError as error:
            assert "not that of the certificate" in str(error)
        else:
            raise AssertionError("taken")
        assert context.shown == []
    keyfiles.show(Context(), A, B)  # another curve, or without its public half: the handshake finds out
