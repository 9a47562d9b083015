"""The buses of site.json's "buses" section: one table says which kinds there are; add a kind with one row.

A bus has `async run()` (the application makes it a task) and `counters()`.  Devices get the dict of buses by name.
"""

from firmware import config

CAN_OPTIONS = (
    ("backend", ("machine", "twai", "mcp2515"), "machine", 0, 0, "port's own class, chip's registers, or on SPI"),
    ("id", "int", 0, 0, 7, "number of the controller (machine), ignored by twai; the SPI bus of an mcp2515"),
    ("bitrate", "int", 500000, 10000, 1000000, "bit/s"),
    ("sample_point", "int", 75, 50, 90, "% of the bit at which it is sampled"),
    ("silent", "bool", False, 0, 0, "listen only: nothing is sent, not even an acknowledgement"),
    ("tx_pin", "int", -1, -1, 48, "twai: GPIO to the transceiver's TXD"),
    ("rx_pin", "int", -1, -1, 48, "twai: GPIO from the transceiver's RXD"),
    ("standby_pin", "int", -1, -1, 48, "GPIO held low to wake the transceiver; -1: none"),
    ("sck_pin", "int", -1, -1, 48, "mcp2515: SPI clock; -1: the port's default pins"),
    ("mosi_pin", "int", -1, -1, 48, "mcp2515: SPI data to the chip"),
    ("miso_pin", "int", -1, -1, 48, "mcp2515: SPI data from the chip"),
    ("cs_pin", "int", -1, -1, 48, "mcp2515: chip select"),
    ("int_pin", "int", -1, -1, 48, "mcp2515: its INT output; -1: polled"),
    ("reset_pin", "int", -1, -1, 48, "mcp2515: its RESET input; -1: reset by SPI command"),
    ("oscillator_hz", "int", 16000000, 1000000, 25000000, "mcp2515: its crystal"),
)


def _can(name, options):
    import canbus

    backend = options["backend"]
    given = {"sample_point": options["sample_point"]}
    if backend == "twai":
        own = ("tx_pin", "rx_pin")
    elif backend == "mcp2515":
        own = ("sck_pin", "mosi_pin", "miso_pin", "cs_pin", "int_pin", "reset_pin", "oscillator_hz")
    else:
        own = ()
    for key in own:
        given[key] = options[key]
    if options["standby_pin"] >= 0:
        from machine import Pin

        Pin(options["standby_pin"], Pin.OUT, value=0)
    if options["silent"]:
        given["mode"] = "SILENT"
    return canbus.Bus(canbus.open(backend, options["id"], options["bitrate"], **given), name)


MODBUS_OPTIONS = (
    ("id", "int", 1, 0, 3, "number of the UART"),
    ("baudrate", "int", 9600, 1200, 1000000, "bit/s"),
    ("parity", ("none", "even", "odd"), "none", 0, 0, "Modbus asks for even; most devices come with none"),
    ("stop", "int", 1, 1, 2, "stop bits"),
    ("tx_pin", "int", -1, -1, 48, "GPIO to the transceiver's DI; -1: the port's default pins"),
    ("rx_pin", "int", -1, -1, 48, "GPIO from the transceiver's RO"),
    ("de_pin", "int", -1, -1, 48, "GPIO to its DE and /RE; -1: it finds the direction by itself"),
    ("enable_pin", "int", -1, -1, 48, "GPIO held high to power the transceiver; -1: none"),
    ("echo", "bool", False, 0, 0, "what is sent is received too"),
    ("timeout_ms", "int", 300, 20, 10000, "ms to wait for an answer"),
    ("gap_ms", "int", 25, 2, 1000, "ms of silence that end a half answer"),
    ("pause_ms", "int", 0, 0, 1000, "ms of silence before each request, for devices that lose what comes sooner"),
    ("retries", "int", 1, 0, 10, "how often an unanswered request is sent again"),
)


def _modbus_rtu(name, options):
    from machine import UART, Pin

    from modbus.rtu_client import RtuClient

    parity = {"none": None, "even": 0, "odd": 1}[options["parity"]]
    given = {"parity": parity, "stop": options["stop"], "timeout": 0, "rxbuf": 512, "txbuf": 264}
    if options["tx_pin"] >= 0:
        given["tx"] = options["tx_pin"]
        given["rx"] = options["rx_pin"]
    if options["enable_pin"] >= 0:
        Pin(options["enable_pin"], Pin.OUT, value=1)
    de = Pin(options["de_pin"], Pin.OUT, value=0) if options["de_pin"] >= 0 else None
    baudrate = options["baudrate"]
    bits = 9 + options["stop"] + (1 if parity is not None else 0)
    own = {key: options[key] for key in ("echo", "timeout_ms", "gap_ms", "pause_ms", "retries")}
    return RtuClient(UART(options["id"], baudrate, **given), baudrate, bits, de, **own)


TYPES = {  # type -> (OPTIONS, builder(name, options) -> bus)
    "can": (CAN_OPTIONS, _can),
    "modbus_rtu": (MODBUS_OPTIONS, _modbus_rtu),
}


def place(options, section):
    """Where a device is reached, in words, by its options and the "buses" section: " on can0 at 500 kbit/s"; "" nowhere."""
    if options.get("host"):
        return " at %s:%s, unit %s" % (options["host"], options.get("port"), options.get("unit"))
    name = options.get("bus")
    if not name:
        return ""
    given = section[name]
    if given["type"] == "can":
        return " on %s at %d kbit/s" % (name, given.get("bitrate", 500000) // 1000)
    return " on %s at %d bit/s, unit %s" % (name, given.get("baudrate", 9600), options.get("unit"))


def check(section, errors):
    """The buses of `section` (a dict by name) that can be opened: [(name, builder, options)].

    What is wrong is appended to `errors` as text that names bus, key, value and range.
    """
    found = []
    for name in sorted(section):
        given = dict(section[name])
        kind = given.pop("type", None)
        if not isinstance(kind, str) or kind not in TYPES:
            errors.append("buses.%s.type = %r: allowed are %s" % (name, kind, ", ".join(sorted(TYPES))))
            continue
        rows, builder = TYPES[kind]
        before = len(errors)
        options = config.check(rows, given, "buses." + name, errors)
        if len(errors) == before:
            found.append((name, builder, options))
    return found


def build(section, errors):
    """Check and open every bus of `section`; {name: bus}.  One that cannot be opened is told in `errors` and left out."""
    buses = {}
    for name, builder, options in check(section, errors):
        try:
            buses[name] = builder(name, options)
        except (OSError, ValueError) as err:
            errors.append("buses.%s: %s" % (name, err))
    return buses
