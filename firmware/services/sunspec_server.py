"""The face to the EMS: a chain of SunSpec models over Modbus TCP, over TLS and over RTU, each where it has a port.

docs/ems-registers.md has its registers, docs/access.md who may use them; firmware/ems/ is what serves them: chain.py the
registers, unit.py what a request may, control.py what a command means, access.py who asks, serving.py the servers.  This module
leaves when the site is built: a service works with neither its options nor their checks.
"""

from firmware.ems.allowing import OPTIONS as _ACCESS_OPTIONS
from firmware.ems.allowing import TLS_OPTIONS as _TLS_OPTIONS
from firmware.ems.serving import Service as Service

_OWN_OPTIONS = (
    ("port", "int", 502, 0, 65535, "TCP port; 0: no TCP"),
    ("host", "str", "0.0.0.0", 7, 15, "address to listen on"),
    ("clients", "int", 4, 1, 8, "TCP connections at a time"),
    ("unit", "int", 1, 1, 247, "that answers"),
    ("also_126", "bool", True, 0, 0, "unit 126 answers too"),
    ("silence_s", "int", 60, 2, 86400, "s; a command without a time of its own ends when its client asks nothing for so long"),
    ("manufacturer", "str", "battery power manager", 1, 32, "as the common model says"),
    ("serial", "str", "", 0, 32, "serial number; none: the chip's"),
    ("uart", "int", -1, -1, 3, "UART that is served too; -1: none"),
    ("baudrate", "int", 9600, 1200, 1000000, "bit/s of it"),
    ("parity", ("none", "even", "odd"), "none", 0, 0, "of it"),
    ("stop", "int", 1, 1, 2, "its stop bits"),
    ("tx_pin", "int", -1, -1, 48, "GPIO to its transceiver's DI; -1: the port's default pins"),
    ("rx_pin", "int", -1, -1, 48, "GPIO from its transceiver's RO"),
    ("de_pin", "int", -1, -1, 48, "GPIO to its DE and /RE; -1: it finds the direction by itself"),
    ("echo", "bool", False, 0, 0, "what is sent is received too"),
)
OPTIONS = (_OWN_OPTIONS, _ACCESS_OPTIONS, _TLS_OPTIONS)
HEAP_BYTES = 45000  # with four clients
OWN_HEAP_BYTES = 15800  # the same in an image of our own


def check_options(where: str, options: dict, errors: list) -> None:
    """Add to `errors` what is wrong with who may do what."""
    from firmware.ems import allowing  # it leaves with those that build a site

    allowing.check(where, options, errors)


def check_beside(where: str, options: dict, found) -> None:
    """Add to found.errors where its UART or port is another's."""
    from firmware.ems import beside  # the same

    beside.check(where, options, found)
