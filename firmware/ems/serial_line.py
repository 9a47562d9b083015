"""The EMS's chain on a serial line of its own: loaded only where the service is given a UART."""

from machine import UART, Pin

from modbus.rtu_server import RtuServer


def server(models: dict, options: dict, gate) -> RtuServer:
    """The server on that UART; `options` are the service's, gate who is told of each request."""
    parity = {"none": None, "even": 0, "odd": 1}[options["parity"]]
    given = {"parity": parity, "stop": options["stop"], "timeout": 0, "rxbuf": 512, "txbuf": 264}
    if options["tx_pin"] >= 0:
        given["tx"] = options["tx_pin"]
        given["rx"] = options["rx_pin"]
    de = Pin(options["de_pin"], Pin.OUT, value=0) if options["de_pin"] >= 0 else None
    bits = 9 + options["stop"] + (1 if parity is not None else 0)
    uart = UART(options["uart"], options["baudrate"], **given)
    return RtuServer(models, uart, options["baudrate"], bits, de, options["echo"], gate=gate)
