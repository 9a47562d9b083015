"""The raw REPL as mpremote speaks it, with raw paste: programs come between control characters, and run while control goes on.

Loaded with the first Ctrl-A.  docs/console.md says what is answered and what is other than MicroPython's own; the texts that
hosts wait for are these.  What a program prints is kept until it has ended, and sent at the port's pace.
"""

import io
import sys

from micropython import const

from firmware.services import terminal as te
from firmware.services.answers import PIECE_MAX, answer, slices

_CODE_MAX = const(16384)  # bytes of a program
_NOWHERE = const(0x3FFFFFFF)
WINDOW = const(128)  # bytes that a host may send before it is told to go on; twice that fits into a chip's own buffer
_BANNER = const(b"raw REPL; CTRL-B to exit\r\n>")
_REBOOTED = const(b"OK\r\nMPY: soft reboot\r\nraw REPL; CTRL-B to exit\r\n>")  # it is answered, and not done
_UNDERSTOOD = const(b"OK")
_ACKNOWLEDGED = const(b"\x04")
_HEADER = const(b"R\x01\x80\x00\x01")  # the window, and a second one from the beginning
_BREAK = const(b"\x04\x04KeyboardInterrupt: \r\n\x04>")
_LEAST_OUTPUT = const(4096)
_SHARE = const(4)  # of what is free: what a program may print
_IN_A_FILE = const('  File "')
_THEIRS = const('  File "<stdin>"')  # where a trace comes to what the program has
_SPENT = const("MemoryError: the heap is full\r\n")
_SPENT_BYTES = const(b"MemoryError: the heap is full\r\n")  # each letter of a text would be one more of the interpreter's names
_END_OF_TEXT = const("\x04")


class RawRepl:
    """What is read (`press`), and the answer to one program at a time (`answer`)."""

    TOO_LONG = "! MemoryError: the program has more than %d bytes; nothing of it was run" % _CODE_MAX

    def __init__(self, terminal) -> None:
        self._terminal = terminal
        self._pasting = False
        self._received = 0  # of the window
        self.granted = 0  # windows that the host is to be told of
        self.most = 0  # bytes that the program under way may print
        self._printed: list = []
        self._line = ""  # printed behind those: what print() writes word by word is kept in pieces of one size
        self._error = ""
        self._shown = None  # what a program of one line shows behind what it has printed
        self._ends = 0  # of the two texts of an answer, how many have been ended

    def press(self, code: int) -> int:
        """A byte from the host; what is complete with it.  Allocates nothing, but where a program grows."""
        terminal = self._terminal
        if self._pasting:
            return self._press_pasted(code)
        if code == te.RAW:
            is_paste = terminal.length == 2 and terminal.line[0] == 5
            if is_paste and terminal.line[1] == 65 and not terminal.over:
                terminal.clear()
                self._pasting = True
                self._received = self.granted = 0
                return te.PASTE
            terminal.clear()
            if not is_paste:
                return te.RAW
            terminal.put_byte(82)  # "R\x00": it is not understood
            terminal.put_byte(0)
            return te.NOTHING
        if code == te.FRIENDLY or code == te.BROKEN:  # no tuple: nothing is allocated here
            terminal.clear()
            return te.FRIENDLY if code == te.FRIENDLY else te.NOTHING
        if code == te.END:
            return te.CODE
        return self._add(code)

    def count(self, bytes_read: int) -> None:
        """So many bytes have been read: while one pastes, the host is told when it may go on."""
        if self._pasting:
            self._received += bytes_read
            while self._received >= WINDOW:
                self._received -= WINDOW
                self.granted += 1

    def _press_pasted(self, code: int) -> int:
        if code == te.BROKEN or code == te.END:
            self._pasting = False
            self.granted = 0
            return te.BROKEN if code == te.BROKEN else te.PASTED
        return self._add(code)

    def _add(self, code: int) -> int:
        """A byte of a program; an emergency word that is a line of its own does not wait for the program's end."""
        terminal = self._terminal
        if terminal.over:  # only the line under way is kept
            if terminal.length < len(terminal.line):
                terminal.line[terminal.length] = code
                terminal.length += 1
        elif not terminal.add(code, _CODE_MAX):
            terminal.length = 0
            terminal.mark = _NOWHERE
        if code != te.LINE and code != te.ENTER:
            return te.NOTHING
        found = te.EMERGENCY if terminal.says() else te.NOTHING
        if terminal.over:
            terminal.length = 0
        terminal.mark = terminal.length
        return found

    def head(self, kind: int, line) -> bytes:
        """What comes before an answer, or all of it."""
        if kind == te.PASTED:
            return _ACKNOWLEDGED
        if kind == te.CODE:
            return _UNDERSTOOD if line else _REBOOTED
        return _BANNER if kind == te.RAW else _HEADER if kind == te.PASTE else _BREAK

    # ---- a program --------------------------------------------------------------------------------------

    def write(self, text: str) -> None:
        """What the program prints.  MemoryError where that is more than there is heap for."""
        self.most -= len(text)
        if self.most < 0:
            raise MemoryError("the program prints more than a quarter of the free heap: print less at a time")
        if "\n" in text:
            text = text.replace("\n", "\r\n")
        if len(self._line) + len(text) <= PIECE_MAX:
            self._line += text
        else:
            self._printed.append(self._line)
            self._line = text

    def run(self, line, lines, free: int) -> None:
        """Run a program, lines.run says how; or say what is known already.  free: bytes of heap."""
        self._printed = []
        self._line = ""
        self._error = ""
        self._shown = None
        self._ends = 0
        self.most = max(_LEAST_OUTPUT, free // _SHARE)
        try:
            shown = line if isinstance(line, str) else lines.run(line)
            if isinstance(shown, str):
                self._say(shown)
            else:
                self._shown = shown
        except SystemExit:
            pass
        except BaseException as error:
            self.fail(error, lines.in_words(error) if lines.is_over() or isinstance(error, NameError) else "")

    def fail(self, error, last: str = "") -> None:
        """The program raised; last: a line behind its trace."""
        try:
            trace = io.StringIO()
            sys.print_exception(error, trace)
            text = trace.getvalue()
            theirs = text.find(_THEIRS)
            if theirs < 0:  # a command, or what a line has stored: where in the firmware tells nobody anything
                text = text[text.find("\n", text.rfind(_IN_A_FILE)) + 1 :]
            else:
                text = text[: text.find("\n") + 1] + text[theirs:]
            self._error = (text + last).replace("\n", "\r\n")
        except MemoryError:
            self._error = _SPENT

    def _say(self, text: str) -> None:
        """An answer that is known already, as a line has it: "= value" or "! what is wrong"."""
        if text[0] == "=":
            self.write(text[2:] + "\n")
        else:
            self._error = text[2:] + "\r\n"

    def answer(self):
        """What it has printed, its error, and the prompt, in pieces."""
        printed = self._printed
        for i in range(len(printed)):
            yield from slices(printed[i])
            printed[i] = None
        yield from slices(self._line)
        self._line = ""
        if self._shown is not None:
            yield from self._show()
        self._ends = 1
        yield _END_OF_TEXT
        yield from slices(self._error)
        self._ends = 2
        yield "\x04>"

    def _show(self):
        """What a line gives for people, made while it is sent, as at the prompt."""
        try:
            yield from answer(self._shown, True, "")
        except GeneratorExit:
            raise
        except BaseException as error:
            self.fail(error)

    def give_up(self) -> None:
        """The answer cannot be made: the host gets its end at least.  Allocates nothing."""
        terminal = self._terminal
        if self._ends == 0:
            terminal.put_byte(te.END)
        if self._ends < 2:
            for i in range(len(_SPENT_BYTES)):
                terminal.put_byte(_SPENT_BYTES[i])
            terminal.put_byte(te.END)
            terminal.put_byte(62)
        for i in range(len(self._printed)):
            self._printed[i] = ""
        self._line = self._error = ""
