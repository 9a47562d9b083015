"""The text of a console's answer in short pieces, so that the loop turns between them and none needs much heap.

All pieces together read back as the value does, as repr's text would; the caller stops when it has enough of them.
"""

from array import array

from micropython import const

ANSWER_MAX = const(4096)  # characters; 0.4 s at 115200 baud, in which nothing else is printed
PIECE_MAX = const(128)  # characters of a piece
_DEPTH_MAX = const(8)
_KINDS = (dict, list, tuple, set, array)  # a dict of them took twice the heap
_ENDS = const(("{}", "[]", "()", "{}", ("", "])")))
GENERATOR = type(_ for _ in ())


def answer(value, quiet: bool = False, before: str = "= "):
    """`= value` and the line's end; the items of a generator are lines of their own before it, which is left out when quiet."""
    if type(value) is GENERATOR:
        for item in value:
            yield from slices(item if isinstance(item, str) else repr(item))
            yield "\r\n"
        if quiet:
            return
        value = None
    for text in _repr(value, 0):
        yield before + text
        before = ""
    yield "\r\n"


def slices(text: str):
    """A text in pieces."""
    if len(text) <= PIECE_MAX:
        yield text
    else:
        for at in range(0, len(text), PIECE_MAX):
            yield text[at : at + PIECE_MAX]


def _repr(value, depth: int):
    kind = type(value)
    if kind in (str, bytes) and len(value) > PIECE_MAX:
        yield from _quoted(value)
        return
    if kind not in _KINDS or not value:
        yield from slices(repr(value))
        return
    ends = _ENDS[_KINDS.index(kind)]
    if depth == _DEPTH_MAX:
        yield "..."
        return
    before = repr(value[:0])[:-1] + ", [" if kind is array else ends[0]
    for item in value:
        if kind is dict:
            yield from slices("%s%r: " % (before, item))
            item = value[item]
        else:
            yield before
        before = ", "
        yield from _repr(item, depth + 1)
    yield ",)" if kind is tuple and len(value) == 1 else ends[1]


def _quoted(value):
    """A long text, or bytes, between apostrophes: repr of all of it would take its room again, and 50 ms."""
    yield repr(value[:0])[:-1]
    for at in range(0, len(value), PIECE_MAX // 4):
        text = repr(value[at : at + PIECE_MAX // 4])
        inside = text[text.index(text[-1]) + 1 : -1]
        yield inside if text[-1] == "'" else inside.replace("'", "\\'")
    yield "'"
