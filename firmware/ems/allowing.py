"""Who may do what, as a site file gives it: its options, checked and made into rules.  Needed while a site is built only.

"allow": {"192.168.1.10": "control", "192.168.1.0/24": "read-only"}; the narrowest that holds an address decides.
"""

from ipv4 import number
from micropython import const

OPTIONS = (
    ("allow", "any", {}, 0, 0, "rights by address or network: off, read-only, control, service"),
    ("others", ("off", "read-only", "control", "service"), "read-only", 0, 0, "rights of all others without a certificate"),
    ("serial_rights", ("off", "read-only", "control", "service"), "control", 0, 0, "rights of who asks over a serial line"),
    ("seat_s", "int", 60, 1, 86400, "s; who controls and commands nothing for so long may be followed by another"),
    ("requests_per_s", "int", 100, 0, 10000, "of one client; it waits where it asks more often; 0: any number"),
    ("commands_per_s", "int", 10, 1, 1000, "of one client; more are refused as busy"),
)
TLS_OPTIONS = (
    ("tls_port", "int", 0, 0, 65535, "TCP port of Modbus/TCP Security, 802 as a rule; 0: none"),
    ("tls_folder", "str", "keys", 1, 64, "directory on the flash with server.der, server_key.der and authority.der (tools/pki)"),
    ("tls_clients", "int", 2, 1, 4, "connections over TLS at a time, 35 KB of a chip's memory each"),
)
RIGHTS = ("off", "read-only", "control", "service")
_MOST = const(16)  # entries: each connection walks them
_HOST = const("127.0.0.0/8")  # this machine itself


def _network(text: str) -> tuple:
    """(how many bits it fixes, these bits) of "192.168.1.0/24" or of one address.  ValueError for what is neither."""
    address, slash, bits = text.partition("/")
    if slash and not (bits.isdigit() and len(bits) < 3 and 1 <= int(bits) <= 32):
        raise ValueError(text)
    fixed = int(bits) if slash else 32
    value = number(address)
    if value & ((1 << (32 - fixed)) - 1):
        raise ValueError(text)  # 192.168.1.10/24: which of the two is meant?
    return fixed, value >> (32 - fixed)


def check(where: str, options: dict, errors: list) -> None:
    """Add to `errors` what is wrong with options["allow"]: for a service's check_options."""
    allow = options.get("allow", {})
    if not isinstance(allow, dict) or len(allow) > _MOST:
        errors.append("%s.allow = %.60r: must be an object of at most %d addresses with their rights" % (where, allow, _MOST))
        return
    for text in sorted(allow):
        try:
            _network(text)
        except ValueError:
            form = "%s.allow: %.40r: must be an address such as '192.168.1.10', or a network such as '192.168.1.0/24'"
            errors.append(form % (where, text))
        if allow[text] not in RIGHTS:
            errors.append("%s.allow.%s = %.40r: allowed are %s" % (where, text, allow[text], ", ".join(RIGHTS)))


def rules(allow: dict) -> list:
    """[(bits, network, rights)] of a checked "allow", the narrowest first; this machine has control unless told otherwise."""
    given = dict(allow)
    given.setdefault(_HOST, "control")
    found = [_network(text) + (RIGHTS.index(given[text]),) for text in given]
    found.sort(key=lambda rule: -rule[0])
    return found
