"""Where drivers say what a person should read: print, until a console takes over and queues it between its own lines.

Who keeps a log may listen too.
"""

sink = print
keep = None  # takes (text, whether it is an error) of what is said from now on; must not raise


def say(text: str, error: bool = False) -> None:
    """One line for people."""
    sink(text)
    if keep is not None:
        keep(text, error)


def readable(data) -> str:
    """The printable ASCII of what a stranger said, without blanks around it.

    MicroPython keeps every character that was ever a text of its own for good, as it keeps the names of a program.  Made of
    bytes a text leaves nothing behind: 170 odd letters in the name of an inverter had asked for another 18 KB of names.
    """
    return bytes([byte for byte in data if 32 <= byte < 127]).decode().strip()


class Once:
    """Says what a person has to know when it is new, not at every try.  `text`: what is so at present."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.text = ""

    def say(self, text: str) -> None:
        """One line for people, unless it was the last one too."""
        if text != self.text:
            self.text = text
            say("%s: %s" % (self._name, text))
