"""What is wrong with JSON that a person wrote: MicroPython's json passes over a missing mark, and a key that stands twice.

At boot, where a site file has no seal, and where one is saved over it; what is sealed the firmware has written itself.
"""

from micropython import const

_DEEPEST = const(40)  # brackets within one another
_SHOWN = const(40)  # bytes of what is wrong
# what may come next
_A_VALUE = const(0)
_A_KEY = const(1)
_A_COLON = const(2)
_A_COMMA = const(3)
_THE_END = const(4)
_BLANK = const(5)
_OPENS = const(6)
_CLOSES = const(7)
_QUOTE = const(8)
_NONE = const(9)
_MARKS = {
    0x20: _BLANK, 9: _BLANK, 10: _BLANK, 13: _BLANK, 0x2C: _A_COMMA, 0x3A: _A_COLON, 0x7B: _OPENS, 0x5B: _OPENS, 0x7D: _CLOSES,
    0x5D: _CLOSES, 0x22: _QUOTE,
}  # fmt: skip
_MEANT = const(("a value", "a key in quotes", "a colon", "a comma"))


def wrong(data: bytes) -> str:
    """What in a text is no JSON, and in which line; "" for nothing."""
    at = 0
    opened: list = []  # of each bracket that is not closed: the set of an object's keys, None for a list
    want = _A_VALUE
    may_end = False
    while at < len(data):
        c = data[at]
        kind = _MARKS.get(c, _NONE)
        if kind == _BLANK:
            at += 1
            continue
        end = at + 1
        why = ""
        if kind == _CLOSES and opened and (want == _A_COMMA or may_end) and (c == 0x7D) == (opened[-1] is not None):
            opened.pop()
            want = _A_COMMA if opened else _THE_END
        elif kind == want:  # a comma, or a colon
            want = _A_VALUE if c == 0x3A or opened[-1] is None else _A_KEY
        elif kind == _A_COMMA or kind == _A_COLON or kind == _CLOSES or want == _THE_END or (want == _A_KEY and c != 0x22):
            why = "%s stands " + ("behind the end" if want == _THE_END else "where %s is meant" % _MEANT[want])
        elif want == _A_COMMA or want == _A_COLON:
            why = _MEANT[want] + " is missing in front of %s"
        elif kind == _OPENS:
            opened.append(set() if c == 0x7B else None)
            if len(opened) > _DEEPEST:
                why = "nested too deeply"
            want = _A_KEY if c == 0x7B else _A_VALUE
        else:
            end, why = _end_of_text(data, at) if c == 0x22 else _end_of_word(data, at)
            if want == _A_KEY and not why:
                key = data[at:end]
                if key in opened[-1]:
                    why = "%s stands twice in one object: only the last would count"
                opened[-1].add(key)
                want = _A_COLON
            else:
                want = _A_COMMA if opened else _THE_END
        if why:
            return "line %d: %s" % (data.count(b"\n", 0, at) + 1, why.replace("%s", _piece(data, at)))
        may_end = kind == _OPENS
        at = end
    return "" if want == _THE_END else "a bracket or a quote is not closed"


def _end_of_text(data: bytes, at: int) -> tuple:
    """(behind the text that begins there, what is wrong with it)."""
    end = at
    while True:
        end = data.find(b'"', end + 1)
        if end < 0:
            return len(data), ""  # it is not closed, and neither is a bracket
        behind = end
        while data[behind - 1] == 0x5C:
            behind -= 1
        if not (end - behind) & 1:
            break
    if data.find(b"\n", at, end) > 0:
        return end, "a text ends within its line"
    if data.find(b"\t", at, end) > 0:
        return end, "a tab stands in a text"
    escaped = data.find(b"\\", at, end)
    while escaped > 0:
        if data[escaped + 1] not in b'"\\/bfnrtu':
            return end, "\\%s in a text is no JSON" % chr(data[escaped + 1])
        escaped = data.find(b"\\", escaped + 2, end)
    return end + 1, ""


def _end_of_word(data: bytes, at: int) -> tuple:
    """The same of a number, or true, false, null."""
    end = at
    while end < len(data) and data[end] not in _MARKS:
        end += 1
    word = data[at:end]
    digits = word[1:] if word[:1] == b"-" else word
    leads = digits[:1] == b"0" and digits[1:2] not in (b"", b".", b"e", b"E")
    first, last = digits[:1] or b"x", word[-1:]
    dot = digits.find(b".") + 1
    if word in (b"true", b"false", b"null") or (
        first in b"0123456789" and last in b"0123456789" and not leads and (not dot or digits[dot : dot + 1] in b"0123456789")
    ):
        return end, ""
    return end, "%s is no value of JSON"


def _piece(data: bytes, at: int) -> str:
    """What stands there, for people."""
    if data[at] == 0x22:
        end, _ = _end_of_text(data, at)
    elif data[at] in b",:[]{}":
        return '"%s"' % chr(data[at])
    else:
        end, _ = _end_of_word(data, at)
    try:
        return data[at : min(end, at + _SHOWN)].decode()
    except UnicodeError:
        return "a text that is not in UTF-8"
