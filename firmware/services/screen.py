"""What a person at the console sees of the line being typed: greeting, prompt, echo; none of it where a program types."""

from micropython import const

from firmware.services.answers import slices

_WIDTH = const(70)  # bytes of a line that are shown while it is typed
_HISTORY = const(8)  # lines kept,
_KEPT_MAX = const(128)  # none of them longer
_SECRETS = const((b"login", b"pin "))  # lines that begin so are neither shown nor kept
_CLEAR = const(b"\r\x1b[K")
_HERE = const("control goes on while you type; `help` lists the commands, `emergency` stops everything; ")
_NO_PIN = const("no PIN is set: whoever is at this port has the service role, `pin service ...` sets one (4 to 32 characters)\r\n")
_LOG_IN = const("`login PIN` gives a role\r\n")


class Screen:
    """The line being typed, shown while nothing else is printed."""

    NO_RESET = "a soft reset is answered, not done, while control runs: `reboot` restarts the board, `leave` ends the program"

    def __init__(self, terminal, who) -> None:
        self._terminal = terminal
        self._who = who
        self._shown = False
        self.greeted = False  # whoever is there
        self.history: list = []  # the last lines, newest last

    def hide(self) -> None:
        """The line being typed leaves the screen for one that is printed; it comes back behind that."""
        if self._shown:
            self._terminal.put(_CLEAR)
            self._shown = False
            self._terminal.changed = True

    def greeting(self):
        """In pieces, to who is here from now on."""
        self.greeted = True
        return slices(_HERE + (_LOG_IN if self._who.is_locked else _NO_PIN))

    def show(self) -> None:
        """The prompt, and as much of the line as fits."""
        terminal = self._terminal
        terminal.changed = False
        terminal.put("\r%s> " % self._who.name)
        back = self._show_line()
        terminal.put(b"\x1b[K\x1b[%dD" % back if back else b"\x1b[K")
        terminal.finish()
        self._shown = True

    def _show_line(self) -> int:
        """As much of the line as fits, around the cursor; how many letters the cursor is before the end of that."""
        terminal = self._terminal
        line = terminal.line
        length = terminal.length
        first = max(0, min(terminal.cursor - _WIDTH // 2, length - _WIDTH))
        last = min(length, first + _WIDTH)
        while first < length and line[first] & 0xC0 == 0x80:
            first += 1
        while last < length and line[last] & 0xC0 == 0x80:
            last += 1
        terminal.put(_masked(bytes(memoryview(line)[:last]))[first:])
        back = 0
        for i in range(terminal.cursor, last):
            if line[i] & 0xC0 != 0x80:
                back += 1
        return back

    def remember(self, line: bytes) -> None:
        """A line that was entered is kept for who wants it again."""
        if 0 < len(line) <= _KEPT_MAX and not is_secret(line) and line not in self.history[-1:]:
            self.history = self.history[1 - _HISTORY :] + [line]

    def echo(self, line):
        """A line as it stays, above its answer, in pieces: bytes, or the answer where that is known already."""
        self._shown = False
        self._terminal.changed = True
        text = b"" if isinstance(line, str) else _masked(line)
        if not self.history:
            self.remember(text)  # the first one came before there was anybody to remember it
        return slices(b"\r" + self._who.name.encode() + b"> " + text + b"\x1b[K\r\n")


def is_secret(line: bytes) -> bool:
    """Whether a line is not to be shown."""
    for word in _SECRETS:
        if line[: len(word)] == word:
            return True
    return False


def _masked(line: bytes) -> bytes:
    """A line as it is shown: of one that holds a PIN the first letters only."""
    return line[:4] + b"*" * (len(line) - 4) if is_secret(line) else line
