"""The board's USB serial port as a Port of wire.py; a port that vanishes with the board's power is opened again."""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable

import serial
from serial.tools import list_ports

BAUD = 115200
_PIECE = 64  # bytes at a time: a chip's receive buffer is small, and nothing tells when it is full
_PIECE_S = 0.006  # what they take on the wire


class SerialPort:
    """Read in a thread, as no loop can wait for a serial port on every system."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.on_line: Callable[[str], None] = lambda line: None
        self._port: serial.Serial | None = None
        self._ended = False
        self._reader: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """OSError names the port, and those that there are."""
        try:
            self._port = self._opened()
        except (serial.SerialException, OSError) as error:
            there = ", ".join(port.device for port in list_ports.comports()) or "none"
            taken = " another program has it: end that first;" if "lock" in str(error) or "busy" in str(error) else ""
            raise OSError(f"port {self.name} cannot be opened ({error});{taken} ports here: {there}") from None
        self._loop = asyncio.get_running_loop()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _opened(self) -> serial.Serial:
        # exclusive: of two programs at one port each would get half of the answers
        port = serial.serial_for_url(self.name, baudrate=BAUD, timeout=0.1, do_not_open=True, exclusive=os.name != "nt" or None)
        if os.name == "nt":
            port.dtr = port.rts = False  # there they are not set together, and one of them alone resets a board
        port.open()
        return port

    async def send(self, line: str) -> None:
        """In pieces, at the wire's pace."""
        data = line.encode() + b"\n"  # a line feed alone: who ends lines with Enter is a person, and gets an echo
        for at in range(0, len(data), _PIECE):
            with contextlib.suppress(serial.SerialException, OSError):  # without power: the answer will be missing
                if self._port is not None:
                    await asyncio.to_thread(self._port.write, data[at : at + _PIECE])
            await asyncio.sleep(_PIECE_S)

    async def close(self) -> None:
        """End the thread, close the port."""
        self._ended = True
        if self._reader is not None:
            await asyncio.to_thread(self._reader.join, 2.0)
        if self._port is not None:
            self._port.close()

    def _read(self) -> None:
        rest = b""
        while not self._ended:
            try:
                if self._port is None:
                    self._port = self._opened()
                data = self._port.read(4096 if self._port.in_waiting else 1)
                if data and self._port.in_waiting:
                    data += self._port.read(self._port.in_waiting)
            except (serial.SerialException, OSError, TypeError):  # unplugged, or the board has no power
                if self._port is not None:
                    self._port.close()
                self._port = None
                time.sleep(0.2)
                continue
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                assert self._loop is not None
                with contextlib.suppress(RuntimeError):  # the loop is closed: the run is over
                    self._loop.call_soon_threadsafe(self.on_line, line.decode(errors="replace"))
