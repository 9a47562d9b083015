"""JSON in pieces of text, so that nobody needs the heap for all of it at once, nor holds the loop while it is made."""

import json

GENERATOR = type(_ for _ in ())


def members(pairs):
    """An object of (key, value); a value that is a generator of values becomes a list."""
    before = '{"'
    for key, value in pairs:
        yield before
        before = ', "'
        yield key
        if isinstance(value, GENERATOR):
            yield '": '
            yield from items(value)
        else:
            yield '": ' + json.dumps(value)
    yield "}" if before != '{"' else "{}"


def items(values):
    """A list of what a generator gives; None: the next is not found yet."""
    before = "["
    for value in values:
        if value is None:
            yield ""
            continue
        yield before + json.dumps(value)
        before = ", "
    yield "]" if before != "[" else "[]"
