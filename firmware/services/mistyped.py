"""What is said of a line at the console that was mistyped: which command, or which name, is probably meant.

Loaded with the first such line.
"""

from micropython import const

from firmware.services.calls import callable_of
from firmware.services.lines import COMMANDS, NO_PYTHON, command

_LETTERS = const(3)  # of so many one may be wrong


def no_command(text: str, error, pm) -> str:
    """What is said of a line whose first word is what is wrong with it; "" of one that is Python, with what it raised."""
    word, _, rest = text.partition(" ")
    rest = rest.strip()
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
    meant = _nearest(word.lower(), COMMANDS.split())
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


def _nearest(word: str, words) -> str:
    """The word that begins so, if only one does, else the one with the fewest wrong letters; "" where none is near."""
    begun = [each for each in words if each.startswith(word)]
    if len(begun) == 1 and len(word) > 1:
        return begun[0]
    found = ""
    least = max(1, len(word) // _LETTERS)
    for each in words:
        wrong = _distance(word, each) if abs(len(each) - len(word)) <= least else least + 1
        if wrong <= least and not (found and wrong == least):
            found = each
            least = wrong
    return found


def _distance(one: str, other: str) -> int:
    """Letters that are missing, too many, wrong, or changed with the one before: the fewest that make one of the other."""
    before: list = []
    row = list(range(len(other) + 1))
    for i in range(len(one)):
        last, before = before, row
        row = [i + 1]
        for j in range(len(other)):
            least = min(before[j] + (one[i] != other[j]), before[j + 1] + 1, row[j] + 1)
            if i and j and one[i] == other[j - 1] and one[i - 1] == other[j]:
                least = min(least, last[j - 1] + 1)
            row.append(least)
    return row[-1]
