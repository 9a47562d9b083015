"""How a device is reached over Modbus: the options of a connection, and its client.  Needed at boot only."""

CONNECTION_OPTIONS = (
    ("host", "str", "", 0, 0, "IPv4 address of a Modbus/TCP device"),
    ("port", "int", 502, 1, 65535, "its TCP port"),
    ("bus", "str", "", 0, 0, "name of a serial Modbus bus, instead of host and port"),
    ("unit", "int", 1, 1, 247, "Modbus unit"),
    ("timeout_ms", "int", 500, 50, 10000, "ms to wait for an answer (TCP; a serial bus has its own)"),
    ("longest_read", "int", 125, 2, 125, "registers that the device gives in one answer"),
)

_SERIAL_GAP = 20  # registers read along cost a serial line less than another request up to here


def open_client(name: str, options: dict, buses: dict, registers: int = 125):
    """The Modbus client that CONNECTION_OPTIONS describe: a TCP connection of its own, or a bus others share.

    registers: the most that the device's driver asks for at once.
    """
    if bool(options["host"]) == bool(options["bus"]):
        raise ValueError("%s: give either host or bus" % name)
    if options["bus"]:
        if options["bus"] not in buses:
            raise ValueError("%s: bus is %r, there are: %s" % (name, options["bus"], ", ".join(sorted(buses))))
        return buses[options["bus"]]
    from modbus.tcp_client import TcpClient  # a site without one leaves it in flash

    return TcpClient(options["host"], options["port"], options["timeout_ms"], registers=registers)


def reading(options: dict) -> tuple:
    """How registers are read over this connection: the most in one request, and how far apart they may lie in it."""
    longest = options["longest_read"]
    return longest, min(longest, _SERIAL_GAP) if options["bus"] else longest
