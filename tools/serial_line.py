"""The serial port of a board: mpremote's own transport, with errors that name the port, and what the board says after a reset."""

import subprocess
import sys
import time
from collections.abc import Iterator

import serial
from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport
from serial.tools import list_ports

MACHINES = {1: "x86", 2: "x64", 10: "xtensawin", 11: "rv32imc"}  # in sys.implementation._mpy >> 10, as mpy-cross calls them
LEAVE_S = 42.0  # contactor_wait is at most 30 s, and what waits to be stored has 5
_BAUD = 115200
_ANSWER_S = 5  # for the bytes that must come at once


class LineError(Exception):
    """The board does not answer, or not as it should; the text says so."""


def no_port(port: str, error: Exception) -> LineError:
    """What is said of a port that cannot be opened: which there are."""
    return LineError(f"PORT={port}: {error}; {ports_here()}")


def ports_here() -> str:
    """The serial ports of this computer, for people."""
    return "serial ports here: " + (", ".join(sorted(found.device for found in list_ports.comports())) or "none")


def leave(port: str, wait_s: float = LEAVE_S) -> None:
    """Asks a firmware that runs to bring its site to 0 W, open the contactors and give way to the ordinary prompt.

    A board that is at its prompt already says that it does not know the word, which is as good.  Raises LineError where
    nothing like a prompt comes.
    """
    try:
        with serial.serial_for_url(port, _BAUD, timeout=0.2) as line:
            line.write(b"\r\x02\rleave()\r\n")
            heard, end = b"", time.monotonic() + wait_s
            while time.monotonic() < end and b">>> " not in heard[-200:]:
                heard += line.read(256)
    except (OSError, serial.SerialException) as error:
        raise no_port(port, error) from None
    if b">>> " not in heard:
        raise LineError(f"PORT={port}: no prompt within {wait_s:g} s: is MicroPython on this board? (make flash)")


def machine_code(port: str) -> str:
    """For what machine a board runs .mpy files, by the name that mpy-cross has for it; control goes on.  Raises LineError."""
    with RawPrompt(port, soft_reset=False) as prompt:
        said = prompt.run("import sys\nprint(sys.implementation._mpy >> 10)").split()
    number = int(said[-1]) if said and said[-1].isdigit() else -1
    if number not in MACHINES:
        raise LineError(f"PORT={port}: machine code {' '.join(said)}: known are {', '.join(MACHINES.values())}")
    return MACHINES[number]


def mpremote(port: str, resume: bool, *arguments: str, timeout: float = 600) -> str:
    """One mpremote run; its output.  Raises LineError with what it said."""
    command = [sys.executable, "-m", "mpremote", "connect", port, *(["resume"] if resume else []), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise LineError(f"mpremote {' '.join(arguments[:2])}: {said[-1] if said else 'failed'}")
    return done.stdout


class RawPrompt:
    """A board's raw REPL, as mpremote speaks it; `with` leaves it at the end.  soft_reset: with an empty heap first."""

    def __init__(self, port: str, soft_reset: bool) -> None:
        self._port = port
        try:
            self._transport = SerialTransport(port, baudrate=_BAUD, timeout=_ANSWER_S)
        except (OSError, serial.SerialException, TransportError) as error:
            raise no_port(port, error) from None
        try:
            self._transport.enter_raw_repl(soft_reset=soft_reset)
        except (OSError, serial.SerialException, TransportError) as error:
            self._transport.serial.close()
            raise LineError(f"PORT={port}: {error}: does it run, is MicroPython on it? (make flash)") from None

    def __enter__(self) -> "RawPrompt":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._transport.in_raw_repl:
                self._transport.exit_raw_repl()
            self._transport.close()
        except (OSError, serial.SerialException):
            pass  # it is gone, and with it the port

    def run(self, lines: str) -> str:
        """What these lines print.  Raises LineError with the board's last line of an error."""
        try:
            return str(self._transport.exec(lines).decode(errors="replace"))
        except TransportExecError as error:
            said = error.error_output.strip().splitlines()
            raise LineError(said[-1] if said else "the board says nothing of its error") from None
        except (OSError, serial.SerialException, TransportError) as error:
            raise LineError(f"PORT={self._port}: the board does not answer any more ({error})") from None

    def begin(self, line: str) -> None:
        """Starts what does not come back: a reset."""
        try:
            self._transport.exec_raw_no_follow(line)
            self._transport.in_raw_repl = False
        except (OSError, serial.SerialException, TransportError):
            pass  # it was quick

    def lines(self, wait_s: float) -> Iterator[str]:
        """What the board says from now on, line by line, for so long: through resets, in which its port may go and come again."""
        end = time.monotonic() + wait_s
        partial = b""
        line = self._transport.serial
        line.timeout = 0.2
        while time.monotonic() < end:
            try:
                if not line.is_open:
                    line.open()
                *whole, partial = (partial + line.read(line.in_waiting or 1)).split(b"\n")
            except (OSError, serial.SerialException):
                line.close()
                time.sleep(0.2)
                continue
            for text in whole:
                yield text.decode(errors="replace").rstrip("\r")
