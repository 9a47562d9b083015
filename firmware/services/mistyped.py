"""What is said of a line at the console that was mistyped: which command, or which name, is probably meant.

Loaded with the console: a line that is wrong reads no flash.
"""

from firmware.services.calls import callable_of
from firmware.services.lines import COMMANDS, NO_PYTHON, command


def no_command(text: str, error, pm) -> str:
    """What is said of a line whose first word is what is wrong with it; "" of one that is Python, with what it raised."""
    if text == "?":
        return not_a_command(text)
    word, _, rest = text.partition(" ")
    rest = rest.strip()
    if isinstance(error, SyntaxError):
        end = 0
        while text[end : end + 1].isalpha():
            end += 1
        if command(text[:end]):
            return "%s: neither a command nor Python: `help %s` says what it takes" % (text, text[:end])
    if not word.replace("_", "").isalpha() or (rest and rest[0] in NO_PYTHON):
        return ""
    if isinstance(error, NameError):
        return not_a_command(word) if _name_in(error) == word and word not in callable_of(pm) else ""
    try:
        compile(word, "", "eval")
    except SyntaxError:  # it is one of Python's own: for, import
        return ""
    return not_a_command(word) if rest else ""


def not_a_command(word: str) -> str:
    """Names the word, and the command that is probably meant."""
    meant = _nearest(word.lower())
    return "%s: not a command; %s`help` lists all" % (word, "did you mean %s? " % meant if meant else "")


def hint(error, pm) -> str:
    """What goes behind the text of a NameError or an AttributeError."""
    if isinstance(error, NameError):
        name = _name_in(error)
        if command(name):
            return ": %s is a command, for a line of its own" % name
        return ": pm.%s is meant, or see help" % name if name in callable_of(pm) else ": see help"
    return ": help(pm) lists what there is" if "'PowerManager'" in str(error) else ""


def _name_in(error) -> str:
    return (str(error) + "''").split("'")[1]


def _nearest(word: str) -> str:
    """The command that begins so, if only one does, else the one with the fewest letters between what both begin and end with.

    "" where none is near.  Those of another first letter are passed over, and changes are not counted: that takes a chip 200 ms.
    """
    found = ""
    begun = 0
    least = len(word) // 2
    at = COMMANDS.find(" " + word[0]) if least else -1
    while at >= 0:
        each = COMMANDS[at + 1 : COMMANDS.find(" ", at + 1)]
        wrong = _between(word, each)
        if wrong == len(each) - len(word) and each.startswith(word):
            begun += 1
            least = -1
            found = each
        elif wrong <= least and not (found and wrong == least):
            found = each
            least = wrong
        at = COMMANDS.find(" " + word[0], at + 1)
    return found if begun < 2 else ""


def _between(one: str, other: str) -> int:
    """Letters that stay of the longer word without what both begin and end with."""
    most = min(len(one), len(other))
    first = 0
    while first < most and one[first] == other[first]:
        first += 1
    last = 0
    while last < most - first and one[-1 - last] == other[-1 - last]:
        last += 1
    return max(len(one), len(other)) - first - last
