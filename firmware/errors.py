"""The errors a caller can meet: each names the value, the allowed range and the reason, and nothing was changed."""


class PowerError(Exception):
    """A call that is refused: a value out of range, or not now (the text says why)."""


class ConfigError(PowerError):
    """A configuration that is refused; `errors` lists everything that is wrong with it, one line each."""

    def __init__(self, errors: list) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


def in_range(name: str, value, low, high, unit: str = "", kind: type = float):
    """`value` as a float (or int, or bool); PowerError with the range if outside, ValueError if it is no number."""
    if kind is bool:
        if value not in (True, False):
            raise ValueError("%s = %r: must be True or False" % (name, value))
        return bool(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise ValueError("%s = %r: must be a number from %s to %s %s" % (name, value, low, high, unit))
    if not low <= value <= high:
        raise PowerError("%s = %s: allowed are %s to %s %s" % (name, value, low, high, unit))
    if kind is int and value != int(value):
        raise ValueError("%s = %r: must be a whole number from %s to %s %s" % (name, value, low, high, unit))
    return kind(value)
