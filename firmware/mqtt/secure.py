"""MQTT behind TLS: whose certificate a broker must have, and our own where it wants one.  Loaded where the site file says tls."""

import keyfiles
import tls

from firmware.errors import ConfigError

AUTHORITY = "mqtt_authority.der"  # one certificate, or several one behind another
OWN = ("mqtt.der", "mqtt_key.der")  # both, or none: the broker then knows us by user and password


def wrapping(folder: str, host: str):
    """A function that puts a socket behind TLS; the handshake then goes on with what is written.  ConfigError without keys."""
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    path = "%s/%s" % (folder, AUTHORITY)
    try:
        for one in keyfiles.parts("authority", _read(path)):
            context.load_verify_locations(one)
        context.verify_mode = tls.CERT_REQUIRED  # type: ignore[attr-defined]  # the stubs lack it
        own = [_read("%s/%s" % (folder, name)) for name in OWN if _exists("%s/%s" % (folder, name))]
        if len(own) == len(OWN):
            keyfiles.show(context, own[0], own[1])
    except OSError:
        raise ConfigError(["%s: cannot be read; over TLS it says who signs the broker's certificate" % path])
    except ValueError as error:
        raise ConfigError(["%s: %s" % (folder, error)])
    return lambda sock: context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _exists(path: str) -> bool:
    try:
        with open(path, "rb"):
            return True
    except OSError:
        return False
