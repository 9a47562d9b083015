"""How a device is reached over Modbus: the options of a connection, and its client.  Needed at boot only."""

from micropython import const

CONNECTION_OPTIONS = (
    ("host", "str", "", 0, 0, "IPv4 address of a Modbus/TCP device"),
    ("port", "int", 502, 1, 65535, "its TCP port"),
    ("bus", "str", "", 0, 0, "name of a serial Modbus bus, instead of host and port"),
    ("transport", ("tcp", "rtu_over_tcp"), "tcp", 0, 0, "what host speaks: Modbus/TCP, or RTU frames through a serial gateway"),
    ("unit", "int", 1, 0, 255, "Modbus unit; on a serial line 1 to 247"),
    ("timeout_ms", "int", 500, 50, 10000, "ms to wait for an answer (TCP; a serial bus has its own)"),
    ("pause_ms", "int", 0, 0, 1000, "ms between an answer and the next request (TCP; a serial bus has its own)"),
    ("settle_ms", "int", 0, 0, 30000, "ms between connecting and the first request (TCP)"),
    ("longest_read", "int", 125, 2, 125, "registers that the device gives in one answer"),
)

# A block read in several requests costs one more for each piece, and one for its scale factors, read again: some 100 ms of a
# serial device that thinks before it answers, and 26 bytes.  So many bits a second carry a register in the same time:
_GAP_BAUD = const(220)
_GAP_LEAST = const(13)
_GATEWAY_BAUD = const(9600)  # behind a gateway nobody knows


_shared: list = []  # (buses, host, port, transport, client) of the TCP connections of this site


def _serial(options: dict) -> bool:
    return bool(options.get("bus")) or options.get("transport", "tcp") != "tcp"


def units(options: dict) -> tuple:
    """The lowest and the highest Modbus unit that can be asked: on a serial line 0 is everybody, and 248 to 255 nobody."""
    return (1, 247) if _serial(options) else (0, 255)


def check(where: str, options: dict, errors: list) -> None:
    """What a site file's options of a connection must be beside each other: of every device that has them, see sitefile.py."""
    low, high = units(options)
    unit = options.get("unit", low)
    if not low <= unit <= high:
        errors.append("%s.unit = %d: on a serial line %d to %d are allowed" % (where, unit, low, high))
    if options.get("bus") and options.get("transport", "tcp") != "tcp":
        errors.append("%s.transport = %r: is for host, a bus has its own" % (where, options["transport"]))


def open_client(name: str, options: dict, buses: dict, registers: int = 125):
    """The Modbus client that CONNECTION_OPTIONS describe: a bus that others share, or a TCP connection.

    Devices with the same host and port share one connection, as many admit only one.  registers: the most that the
    device's driver asks for at once.  Raises ValueError for options that do not go together.
    """
    if bool(options["host"]) == bool(options["bus"]):
        raise ValueError("%s: give either host or bus" % name)
    errors: list = []
    check(name, options, errors)
    if errors:
        raise ValueError(errors[0])
    if options["bus"]:
        if options["bus"] not in buses:
            raise ValueError("%s: bus is %r, there are: %s" % (name, options["bus"], ", ".join(sorted(buses))))
        return buses[options["bus"]]
    transport = options["transport"]
    for owner, host, port, speaks, client in _shared:
        if owner is buses and (host, port) == (options["host"], options["port"]):
            if speaks != transport:
                raise ValueError("%s: transport is %s, another device asks %s:%d with %s" % (name, transport, host, port, speaks))
            from modbus import silent as silent  # what their client asks for in operation is loaded now

            client.widen(registers)
            for key in ("timeout_ms", "pause_ms", "settle_ms"):
                setattr(client, key, max(getattr(client, key), options[key]))
            return client
    given = {key: options[key] for key in ("timeout_ms", "pause_ms", "settle_ms")}
    client = _kind(transport)(options["host"], options["port"], registers=registers, **given)
    _shared.append((buses, options["host"], options["port"], transport, client))
    return client


def _kind(transport: str):
    """A client's class; a site without one leaves it in flash."""
    if transport == "tcp":
        from modbus.tcp_client import TcpClient

        return TcpClient
    from modbus.rtu_over_tcp import RtuOverTcpClient

    return RtuOverTcpClient


def reading(options: dict, client) -> tuple:
    """How registers are read over this connection: the most in one request, and how far apart they may lie in it."""
    longest = options["longest_read"]
    if not _serial(options):
        return longest, longest
    return longest, min(longest, _GAP_LEAST + getattr(client, "baudrate", _GATEWAY_BAUD) // _GAP_BAUD)
