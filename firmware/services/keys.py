"""Keys that edit the line being typed at the console: cursor, history, deleting, completion.  Loaded with the first of them."""

from micropython import const

from firmware.services.screen import is_secret

_MOST_SHOWN = const(60)  # names of a completion
_ESCAPE = const(27)
_ARROWS = const(b"ABCDFH~")  # what ends a sequence that is known


class Editor:
    """Knows escape sequences of terminals (VT100, xterm), and the control keys of a shell."""

    def __init__(self, console) -> None:
        """console: completes (`known_commands().complete`), prints (`write`), and has a `screen` with the history."""
        self._console = console
        self.waits = 0  # amid an escape sequence: 1 behind ESC, 2 behind ESC [ or ESC O
        self._number = 0
        self._at = 0  # lines back in the history

    def ended(self) -> None:
        """The line has ended."""
        self.waits = self._at = 0

    def press(self, terminal, code: int) -> int:
        """A key; what is complete with it: nothing ever is."""
        if self.waits:
            self._sequence(terminal, code)
        elif code == _ESCAPE:
            self.waits = 1
            self._number = 0
        elif code == 9:
            self._complete(terminal)
        elif code >= 32 and code != 127:
            self._put_in(terminal, code)
        else:
            self._control(terminal, code)
        terminal.changed = True
        return 0

    def _sequence(self, terminal, code: int) -> None:
        if self.waits == 1:
            self.waits = 2 if code in (91, 79) else 0  # [ O
            if self.waits == 0 and code >= 32:
                self._put_in(terminal, code)  # it was the escape key: no letter of an emergency is lost
        elif 48 <= code <= 57:
            self._number = min(99, 10 * self._number + code - 48)
        elif code == 59:
            self._number = 0  # a modifier follows: Ctrl with an arrow is the arrow
        else:
            self.waits = 0
            if code in _ARROWS:  # of noise each text of a letter would be one more of the interpreter's names, for good
                key = chr(code)
                if key == "~":
                    key = {1: "H", 7: "H", 4: "F", 8: "F", 3: "~"}.get(self._number, "")
                self._arrow(terminal, key)
            elif code >= 32:
                self._put_in(terminal, code)  # no key that is known: no letter of an emergency is lost

    def _arrow(self, terminal, key: str) -> None:
        if key == "A":
            self._recall(terminal, 1)
        elif key == "B":
            self._recall(terminal, -1)
        elif key == "C":
            self._right(terminal)
        elif key == "D":
            self._left(terminal)
        elif key == "H":
            terminal.cursor = 0
        elif key == "F":
            terminal.cursor = terminal.length
        elif key == "~":
            self._delete(terminal)

    def _control(self, terminal, code: int) -> None:
        """Ctrl-A and so on, by letter."""
        key = chr(code & 31 | 64)
        if code in (8, 127):
            if terminal.cursor:
                self._left(terminal)
                self._delete(terminal)
        elif key == "A":
            terminal.cursor = 0
        elif key == "E":
            terminal.cursor = terminal.length
        elif key == "B":
            self._left(terminal)
        elif key == "F":
            self._right(terminal)
        elif key == "D":
            self._delete(terminal)
        elif key == "K":
            self._remove(terminal, terminal.cursor, terminal.length)
        elif key == "U":
            self._remove(terminal, 0, terminal.cursor)
        elif key == "W":
            self._remove(terminal, self._word_start(terminal), terminal.cursor)
        elif key == "P":
            self._recall(terminal, 1)
        elif key == "N":
            self._recall(terminal, -1)

    # ---- letters, which may be several bytes ------------------------------------------------------------

    def _left(self, terminal) -> None:
        at = max(0, terminal.cursor - 1)
        while at and terminal.line[at] & 0xC0 == 0x80:
            at -= 1
        terminal.cursor = at

    def _right(self, terminal) -> None:
        at = min(terminal.length, terminal.cursor + 1)
        while at < terminal.length and terminal.line[at] & 0xC0 == 0x80:
            at += 1
        terminal.cursor = at

    def _delete(self, terminal) -> None:
        """The letter under the cursor."""
        start = terminal.cursor
        self._right(terminal)
        self._remove(terminal, start, terminal.cursor)

    def _remove(self, terminal, start: int, end: int) -> None:
        line = terminal.line
        for i in range(end, terminal.length):
            line[i - end + start] = line[i]
        terminal.length -= end - start
        terminal.cursor = start

    def _word_start(self, terminal) -> int:
        at = terminal.cursor
        while at and terminal.line[at - 1] == 32:
            at -= 1
        while at and terminal.line[at - 1] != 32:
            at -= 1
        return at

    def _put_in(self, terminal, code: int) -> None:
        """A byte at the cursor."""
        at = terminal.cursor
        if not terminal.add(code):
            return
        line = terminal.line
        for i in range(terminal.length - 1, at, -1):
            line[i] = line[i - 1]
        line[at] = code
        terminal.cursor = at + 1

    # ---- lines ------------------------------------------------------------------------------------------

    def _put_instead(self, terminal, text: bytes) -> None:
        terminal.clear()
        for code in text:
            terminal.add(code)

    def _recall(self, terminal, back: int) -> None:
        """An earlier line, or a later one; behind the last an empty one."""
        history = self._console.screen().history
        at = self._at + back
        if 0 <= at <= len(history):
            self._at = at
            self._put_instead(terminal, history[len(history) - at] if at else b"")

    def _complete(self, terminal) -> None:
        """Add what is certain of the name before the cursor, or show what there is."""
        text = bytes(memoryview(terminal.line)[: terminal.cursor])
        if is_secret(text):
            return
        try:
            begun, names = self._console.known_commands().complete(text.decode())
        except UnicodeError:
            return
        if not names:
            return
        more = _common(names)[len(begun) :]
        if not more and len(names) > 1:
            shown = names[:_MOST_SHOWN]
            self._console.write("  ".join(shown) + (" ..." if len(names) > _MOST_SHOWN else ""))
            return
        for code in (more + (" " if len(names) == 1 and "." not in text.decode() else "")).encode():
            self._put_in(terminal, code)


def _common(names: list) -> str:
    """What all of them begin with."""
    first = names[0]
    length = len(first)
    for name in names:
        while name[:length] != first[:length]:
            length -= 1
    return first[:length]
