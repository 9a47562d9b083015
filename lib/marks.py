"""What MicroPython's json passes over without a word: a comma or a colon too many or too few, and a key that stands twice.

A number with a comma in it, "kw": 5,5, is 5 to it.  This counts, and costs a millisecond: who wants to know which line it is
asks strictjson, which is not there while control runs.
"""

from micropython import const

_COLON = const(0x8000)  # more than there are commas in anything that is read here


def wrong(data: bytes, found, deepest: int = 12) -> str:
    """What is wrong with a text of which json has made `found`; "" for nothing."""
    try:
        wanted = _marks(found, deepest)
    except ValueError:
        return "more than %d lists and objects within one another" % deepest
    for escaped in (b"\\\\", b'\\"'):
        if escaped in data:
            data = data.replace(escaped, b"")
    text = False
    for part in data.split(b'"'):
        if not text:
            wanted -= _COLON * part.count(b":") + part.count(b",")
        text = not text
    return "a comma or a colon is missing or one too many, or a key stands there twice" if wanted else ""


def _marks(value, deepest: int) -> int:
    """The colons and commas that belong to a value."""
    if isinstance(value, dict):
        marks = _COLON * len(value)
        value = value.values()
    elif isinstance(value, list):
        marks = 0
    else:
        return 0
    commas = -1
    for each in value:
        if not deepest:
            raise ValueError
        commas += 1
        marks += _marks(each, deepest - 1)
    return marks + max(0, commas)
