"""Sets of named codes."""


class Names:
    """A set of named codes; `name(code)` and `parse(text)` go both ways."""

    names = ()

    @classmethod
    def name(cls, code: int) -> str:
        """The name of a code; ValueError if there is none."""
        if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code < len(cls.names):
            raise ValueError("%s = %r: allowed are %s" % (cls.__name__, code, cls.listed()))
        return cls.names[code]

    @classmethod
    def parse(cls, text: str) -> int:
        """The code of a name; ValueError if there is none."""
        if text.upper() not in cls.names:
            raise ValueError("%s = %r: allowed are %s" % (cls.__name__, text, cls.listed()))
        return cls.names.index(text.upper())

    @classmethod
    def listed(cls) -> str:
        """All of them, for a message."""
        return ", ".join(["%d %s" % (i, n) for i, n in enumerate(cls.names)])
