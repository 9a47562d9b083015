"""Checks values against tables of configuration rows: all of them at once, every error named.

A row is (key, kind, default, low, high, meaning with its unit).  kind: "float", "int", "bool", "str" (low and high
are then its length, 0 0 for any), "any" (the owner of the rows checks it) or a tuple of the words allowed.  default
"REQUIRED": the key must be given; as a text, so that a table of rows is a constant, in flash in an image of our own.
"""

from micropython import const
from rows import each

from firmware.errors import ConfigError, PowerError, in_range

_REQUIRED = const("REQUIRED")
_LONGEST_KEY = const(40)  # characters of a key that may have been meant for another
_UNKNOWN = const(16)  # keys of one section that are named: each is compared with the known ones, which takes milliseconds


def _distance(a: str, b: str) -> int:
    """How many letters to change, add or drop to make b of a (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        left = row[0]
        row[0] = i + 1
        for j, y in enumerate(b):
            new = min(row[j] + 1, row[j + 1] + 1, left + (x != y))
            left = row[j + 1]
            row[j + 1] = new
    return row[-1]


def _nearest(key: str, known: list) -> str:
    if len(key) > _LONGEST_KEY:
        return ""
    best = min(known, key=lambda name: _distance(key, name))
    return "; did you mean %s?" % best if _distance(key, best) <= max(2, len(key) // 3) else ""


def _value(row, value):
    """One value against its row; raises PowerError or ValueError."""
    key, kind, _, low, high, unit = row
    if not isinstance(kind, str):
        if value not in kind:
            raise ValueError("%s = %r: allowed are %s" % (key, value, ", ".join(kind)))
        return value
    if kind == "any":
        return value  # checked by the class itself
    if kind == "str":
        if not isinstance(value, str) or (high and not low <= len(value) <= high):
            raise ValueError("%s = %r: must be a text of %d to %d characters" % (key, value, low, high))
        return value
    return in_range(key, value, low, high, unit, {"float": float, "int": int, "bool": bool}[kind])


def check(rows, given: dict, where: str, errors: list) -> dict:
    """`given` made whole with the rows' defaults; every error is appended to `errors` with `where` in front."""
    if not isinstance(given, dict):
        errors.append("%s = %r: must be an object of keys and values" % (where, given))
        return {}
    result = {}
    unknown = set(given)
    first = len(errors)
    for row in each(rows):
        key = row[0]
        if key in given:
            unknown.discard(key)
            try:
                result[key] = _value(row, given[key])
            except (PowerError, ValueError) as error:
                errors.append("%s.%s" % (where, error))
        elif row[2] == _REQUIRED:
            errors.append("%s.%s: is missing (%s)" % (where, key, row[5]))
        else:
            result[key] = _default(row)
    named = 0
    for key in given:
        if key in unknown and named < _UNKNOWN:
            named += 1
            errors.insert(first, "%s.%s: no such key%s" % (where, key, _nearest(key, [row[0] for row in each(rows)])))
            first += 1
    if len(unknown) > named:
        errors.insert(first, "%s: %d more keys that there are not" % (where, len(unknown) - named))
    return result


def _default(row):
    return float(row[2]) if row[1] == "float" else row[2]


class Checked:
    """A set of named values described by ROWS, checked as a whole when made; ConfigError lists all that is wrong.

    What was not given is not stored: it stands in ROWS.  Looking it up there takes time and heap: nothing for the cycle.
    """

    ROWS = ()
    WHERE = ""

    def __init__(self, *unnamed, **given) -> None:
        if unnamed:
            example = (type(self).__name__, next(each(self.ROWS))[0])
            raise ValueError("%r: fields are given by name, as in %s(%s=...)" % ((unnamed[0],) + example))
        errors: list = []
        found = check(self.ROWS, given, self.WHERE, errors)
        for key in given:
            if key in found:
                setattr(self, key, found[key])
        if not errors:
            self._check_together(found, errors)
        if errors:
            raise ConfigError(errors)

    def __getattr__(self, name: str):
        for row in each(self.ROWS):
            if row[0] == name:
                return _default(row)
        raise AttributeError(name)

    def copy(self):
        """Another one with the same fields, which are checked again: a field may have been set since."""
        return type(self)(**self.__dict__)

    def whole(self) -> dict:
        """Every field by its name, given or not: for who needs many of them, as ROWS is then read once."""
        fields = {row[0]: _default(row) for row in each(self.ROWS)}
        fields.update(self.__dict__)
        return fields

    def _check_together(self, fields: dict, errors: list) -> None:
        """Rules that need two fields; `fields`: all of them, as whole() gives them."""
