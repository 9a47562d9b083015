"""What errors.in_range says of a value that is not plainly in range: fetched when one is refused, as its texts take heap."""

from firmware.errors import PowerError


def judge(name: str, value, low, high, unit: str, kind: type):
    """See errors.in_range."""
    if kind is bool:
        if value not in (True, False):
            raise ValueError("%s = %r: must be True or False" % (name, value))
        return bool(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise ValueError("%s = %r: must be a number from %s to %s %s" % (name, value, low, high, unit))
    if not low <= value <= high:
        raise PowerError("%s = %s: allowed are %s to %s %s" % (name, value, low, high, unit))
    raise ValueError("%s = %r: must be a whole number from %s to %s %s" % (name, value, low, high, unit))
