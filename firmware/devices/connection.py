"""How a device is reached over Modbus: the options of a connection, and its client.  Needed at boot only."""

CONNECTION_OPTIONS = (
    ("host", "str", "", 0, 0, "IPv4 address of a Modbus/TCP device"),
    ("port", "int", 502, 1, 65535, "its TCP port"),
    ("bus", "str", "", 0, 0, "name of a serial Modbus bus, instead of host and port"),
    ("unit", "int", 1, 0, 255, "Modbus unit; on a serial bus 1 to 247"),
    ("timeout_ms", "int", 500, 50, 10000, "ms to wait for an answer (TCP; a serial bus has its own)"),
    ("pause_ms", "int", 0, 0, 1000, "ms between an answer and the next request (TCP; a serial bus has its own)"),
    ("settle_ms", "int", 0, 0, 30000, "ms between connecting and the first request (TCP)"),
    ("longest_read", "int", 125, 2, 125, "registers that the device gives in one answer"),
)

_SERIAL_GAP = 20  # registers read along cost a serial line less than another request up to here


_shared: list = []  # (buses, host, port, client) of the TCP connections of this site


def open_client(name: str, options: dict, buses: dict, registers: int = 125):
    """The Modbus client that CONNECTION_OPTIONS describe: a bus that others share, or a TCP connection.

    Devices with the same host and port share one connection, as many admit only one.  registers: the most that the
    device's driver asks for at once.
    """
    if bool(options["host"]) == bool(options["bus"]):
        raise ValueError("%s: give either host or bus" % name)
    if options["bus"]:
        if not 1 <= options["unit"] <= 247:
            raise ValueError("%s: unit is %d, on a serial bus 1 to 247 are allowed" % (name, options["unit"]))
        if options["bus"] not in buses:
            raise ValueError("%s: bus is %r, there are: %s" % (name, options["bus"], ", ".join(sorted(buses))))
        return buses[options["bus"]]
    for owner, host, port, client in _shared:
        if owner is buses and (host, port) == (options["host"], options["port"]):
            client.widen(registers)
            for key in ("timeout_ms", "pause_ms", "settle_ms"):
                setattr(client, key, max(getattr(client, key), options[key]))
            return client
    from modbus.tcp_client import TcpClient  # a site without one leaves it in flash

    given = {key: options[key] for key in ("timeout_ms", "pause_ms", "settle_ms")}
    client = TcpClient(options["host"], options["port"], registers=registers, **given)
    _shared.append((buses, options["host"], options["port"], client))
    return client


def reading(options: dict) -> tuple:
    """How registers are read over this connection: the most in one request, and how far apart they may lie in it."""
    longest = options["longest_read"]
    return longest, min(longest, _SERIAL_GAP) if options["bus"] else longest
