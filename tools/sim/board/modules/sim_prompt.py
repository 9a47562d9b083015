"""The ordinary prompt of the simulated board, when its program is over: what a person, mpremote and `make deploy` find on a chip.

On a chip it is C.  Lines at the friendly prompt; Ctrl-A: the raw one, where programs end with Ctrl-D; Ctrl-B: back; Ctrl-D with
nothing before it: a soft reset, for which the supervisor starts a new interpreter.  Raw paste is refused, as old boards do.
"""

import select
import sys
import time

import simlink
from sim_pace import off, on

_RAW = 1
_FRIENDLY = 2
_CTRL_C = 3
_CTRL_D = 4
_NOBODY = 255
_ENTER = (10, 13)
_BACK = (8, 127)
_TURN_MS = 50  # the chip's wires are looked at so often meanwhile
_BANNER = "raw REPL; CTRL-B to exit\r\n>"
_WELCOME = "\r\nMicroPython on the simulated board; its program is over.  Ctrl-D starts it again.\r\n"


class _Prompt:
    """One person or program at it; `names` is what __main__ has."""

    def __init__(self, names: dict, raw: bool) -> None:
        self._names = names
        self._raw = raw
        self._typed = bytearray()
        self._block = ""  # lines of a statement that goes on
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)

    def run(self) -> None:
        """Until the power goes."""
        self._greet()
        while not simlink.leaving:
            try:
                if self._poll.poll(_TURN_MS):
                    self._press(sys.stdin.buffer.read(1)[0])
                else:
                    simlink.pump()
            except KeyboardInterrupt:  # the host's, as the board is switched off
                time.sleep_ms(_TURN_MS)
                simlink.pump()

    def _greet(self) -> None:
        self._typed = bytearray()
        self._block = ""
        _say(_BANNER if self._raw else _WELCOME + ">>> ")

    def _press(self, code: int) -> None:
        if code == _CTRL_C:
            self._typed = bytearray()
            self._block = ""
            _say("" if self._raw else "\r\n>>> ")
        elif code == _RAW and self._raw and bytes(self._typed) == b"\x05A":
            self._typed = bytearray()
            _say("R\x00")
        elif code in (_RAW, _FRIENDLY):
            self._raw = code == _RAW
            self._greet()
        elif code == _CTRL_D and not self._typed:
            self._soft_reset()
        elif self._raw:
            if code == _CTRL_D:
                self._program()
            else:
                self._typed.append(code)
        else:
            self._key(code)

    def _program(self) -> None:
        _say("OK")
        text, self._typed = bytes(self._typed).decode(), bytearray()
        error = self._execute(text, "exec")
        _say("\x04")
        if error is not None:
            sys.print_exception(error)
        _say("\x04>")

    def _key(self, code: int) -> None:
        """At the friendly prompt, which shows what is typed."""
        if code in _BACK:
            if self._typed:
                self._typed = self._typed[:-1]
                _say("\b \b")
        elif code in _ENTER:
            _say("\r\n")
            self._line()
        elif code >= 32:
            self._typed.append(code)
            _say(chr(code))

    def _line(self) -> None:
        text, self._typed = bytes(self._typed).decode(), bytearray()
        if text.rstrip().endswith(":") or (self._block and text):
            self._block += text + "\n"
            _say("... ")
            return
        text, self._block = self._block + text, ""
        error = self._execute(text, "single") if text else None
        if error is not None:
            sys.print_exception(error)
        _say(">>> ")

    def _execute(self, text: str, kind: str):
        """What it raised, else None.  Ctrl-C ends it."""
        simlink.send(0x4B, _CTRL_C)
        on()
        try:
            exec(compile(text, "<stdin>", kind), self._names)
        except BaseException as error:
            return error
        finally:
            off()
            simlink.send(0x4B, _NOBODY)
        return None

    def _soft_reset(self) -> None:
        _say("OK\r\n" if self._raw else "\r\n")
        _say("MPY: soft reboot\r\n")
        simlink.send(0x50, 1 if self._raw else 0)
        simlink.send(0x52, 1)
        while not simlink.leaving:  # the supervisor ends it
            time.sleep_ms(_TURN_MS)
            simlink.pump()


def _say(text: str) -> None:
    sys.stdout.write(text)


def run(names: dict, raw: bool) -> None:
    """The prompt, until the power goes.  raw: it is the raw one that somebody waits for."""
    off()
    simlink.send(0x4B, _NOBODY)
    _Prompt(names, raw).run()
    on()
