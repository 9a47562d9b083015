"""The server behind TLS: its certificate, and no client's."""

import tls


def context(certificate: bytes, key: bytes):
    """Of a certificate and its key in DER (ECDSA P-256: RSA takes a chip seconds).  ValueError where they are none."""
    made = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made
