"""Modbus for MicroPython: what every part of the library shares, which is its errors.

The parts are imported one by one, so that a board holds only what it uses::

    from modbus.tcp_client import TcpClient
    client = TcpClient("192.168.1.20", 502)
    registers = array("H", bytes(20))
    await client.read_registers(1, 40000, 10, registers)

Numbers come from the MODBUS Application Protocol Specification V1.1b3 and the MODBUS Messaging on TCP/IP
Implementation Guide V1.0b.
"""


class ModbusError(Exception):
    """Anything that kept a request from being answered; the subclasses say what."""


class ModbusTimeout(ModbusError):
    """Nobody answered in time."""


class ModbusUnreachable(ModbusError):
    """There is no connection, and it is not yet time to try again."""


class ModbusBadFrame(ModbusError):
    """An answer came that cannot be the answer to this request."""


class ModbusRefused(ModbusError):
    """The server answered with an exception; `code` is its number (2: illegal address, ...).

    busy: a code of those that say nothing against the request (5 acknowledged, 6 busy, 10 and 11 a gateway's), so
    that the same request may be answered soon.
    """

    def __init__(self, function: int, code: int) -> None:
        super().__init__("function %d refused, exception %d%s" % (function, code, ": illegal value" if code == 3 else ""))
        self.function = function
        self.code = code
        self.busy = code in (5, 6, 10, 11)
