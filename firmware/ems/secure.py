"""The EMS's server behind TLS: where its keys are, and what each role of a certificate may do.

SunSpec publishes the rights of its four roles point by point (dersecure/rbac): of what is served here the network
administrator writes nothing, the grid service what moves power, and only the super administrator the rest.
"""

from firmware.ems import access
from firmware.ems.allowing import TLS_OPTIONS
from firmware.errors import ConfigError
from modbus.tls_server import TlsServer

OPTIONS = TLS_OPTIONS
ROLES = {
    "ReadOnlySunSpec": access.READ,
    "GridServiceSunSpec": access.CONTROL,
    "NetworkAdministratorSunSpec": access.READ,
    "SuperAdministratorSunSpec": access.SERVICE,
}
FILES = ("server.der", "server_key.der", "authority.der")  # in tls_folder


def server(models, options: dict, gate, **given) -> TlsServer:
    """The server of these options; given: what TlsServer takes besides.  ConfigError where a key is missing or is none.

    after_step wants the site's loop_time.take_turn: a step of a handshake is long work.
    """
    gate.roles = ROLES
    parts = []
    for name in FILES:
        path = "%s/%s" % (options["tls_folder"], name)
        try:
            with open(path, "rb") as file:
                parts.append(file.read())
        except OSError:
            raise ConfigError(["%s: cannot be read; python -m tools.pki makes a site's keys" % path])
    given.setdefault("max_clients", options["tls_clients"])
    try:
        return TlsServer(models, parts[0], parts[1], parts[2], gate, options["tls_port"], **given)
    except ValueError as error:
        raise ConfigError(["%s: %s" % (options["tls_folder"], error)])
