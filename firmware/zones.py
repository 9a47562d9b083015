"""Time zones by name: `Europe/Berlin` to local time, through the table that tools/generate/gen_tz.py makes.

The table is read line by line and never held; a site asks once, at start.
"""

from posixtz import PosixTZ

_TABLE = __file__[: __file__.rfind("/") + 1] + "zones.txt"


def zone(text: str, table: str = _TABLE) -> PosixTZ:
    """The zone of an IANA name (`Europe/Berlin`) or of a POSIX TZ string (`CET-1CEST,M3.5.0,M10.5.0/3`).

    Raises ValueError: an unknown name (with the nearest one), a zone whose clock changes follow no rule a POSIX
    string can express, or a malformed string (with the character).
    """
    found, near = _look_up(text, table)
    if found == "!":
        raise ValueError("time zone %s: its clock changes follow no fixed rule; give a POSIX TZ string instead" % text)
    if found:
        return PosixTZ(found)
    if near:
        raise ValueError("unknown time zone '%s': did you mean %s?" % (text, near))
    try:
        return PosixTZ(text)
    except ValueError as error:
        raise ValueError("time zone: neither a name such as Europe/Berlin nor a POSIX string. %s" % error)


def _look_up(name: str, table: str) -> tuple:
    """(POSIX string, "!" or "" for none; the nearest name or "")."""
    wanted = name.lower().replace(" ", "_")
    last = wanted[wanted.rfind("/") + 1 :]
    posix = near = ""
    with open(table) as file:
        for line in file:
            line = line.strip()
            if line[:1] in ("=", "!"):
                posix = line[1:] or "!"
            elif line == name:
                return (posix, "")
            elif line.lower() == wanted:
                near = line
            elif not near and last and line[line.rfind("/") + 1 :].lower() == last:
                near = line
    return ("", near)
