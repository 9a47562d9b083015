"""The errors a caller can meet: each names the value, the allowed range and the reason, and nothing was changed."""

import rare


class PowerError(Exception):
    """A call that is refused: a value out of range, or not now (the text says why)."""


class ConfigError(PowerError):
    """A configuration that is refused; `errors` lists everything that is wrong with it, one line each."""

    def __init__(self, errors: list) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


def in_range(name: str, value, low, high, unit: str = "", kind: type = float):
    """`value` as a float (or int, or bool); PowerError with the range if outside, ValueError if it is no number."""
    number = kind is not bool and not isinstance(value, bool) and isinstance(value, (int, float))
    if number and low <= value <= high and (kind is float or value == int(value)):
        return kind(value)
    return rare.borrow("firmware.refusals").judge(name, value, low, high, unit, kind)
