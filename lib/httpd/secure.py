"""The server behind TLS: its certificate, and no client's."""

import keyfiles
import tls


def context(certificate: bytes, key: bytes):
    """Of a certificate and its key, as keyfiles.py reads them (ECDSA P-256: RSA takes a chip seconds).  ValueError for none."""
    made = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
    keyfiles.show(made, certificate, key)
    return made
