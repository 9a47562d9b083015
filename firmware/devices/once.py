"""What a person has to know of a device, said when it is new and kept for who asks."""

from notice import say


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
