"""Evaluates what is typed at the console, for who may have it run, and says in words what was wrong with it.

Everybody may everything until somebody sets a PIN (roles.py, which is loaded then).
"""

import startup
from micropython import const

from firmware import loading
from firmware.event_codes import Event
from firmware.services.answers import GENERATOR, slices
from firmware.services.calls import names_of

VIEW = const(0)
OPERATE = const(1)
SERVICE = const(2)
NAMES = ("view", "operate", "service")

LINE_MS = const(2000)  # what a line may take: control waits meanwhile
_INTERRUPTED = const("Interrupted: the line ran for more than %d ms, and control has to go on")
_CALLABLES = (type(Event.name), type(loading.exists), type(len), type([].append), type(slices))  # what brackets are forgotten of
# words that begin a command where no Python follows; a test compares them with commands.TABLE
COMMANDS = (
    " status why limits events faults claims devices services monitor scan start stop charge discharge pause resume limit schedule"
    " history config clock emergency reset login logout pin reboot leave help "
)
_EMERGENCY = const("emergency")
_SHOWN = const(30)  # bytes of what is no text
_PROGRAM = const("<stdin>")  # as MicroPython names it in the trace of an error
NO_PYTHON = "=.([,+*/<>&|^%:;)]!"  # what of Python may follow a name that is also a command's


class Lines:
    """Lines and programs with the console's names in scope, for who may have them run."""

    def __init__(self, app, console, mistyped) -> None:
        """console: has names, limit (a TimeLimit, for each line) and known_commands().  mistyped: the module, which needs this."""
        self._app = app
        self._console = console
        self._mistyped = mistyped
        self._roles = None
        path = self._pins_path()
        if loading.exists(path) or loading.exists(path + ".old"):  # that alone is left of a save that was cut
            self.known().load(loading.sealed(path))
        self.said = ""  # "= " or "! " where the last value is a text to be shown behind it as it is, without apostrophes

    # ---- who is at the console --------------------------------------------------------------------------

    def _pins_path(self) -> str:
        """At the top of the flash, not in a generation's folder beside the site: a deploy must not forget who may do what."""
        path = self._app.path
        if path.startswith(startup.folder):
            path = path[len(startup.folder) :]
        return path[: path.rfind("/") + 1] + "pins.json"

    def known(self):
        """The Roles, loaded where there are none."""
        if self._roles is None:
            from firmware.services import roles  # a board without PINs does not load it

            self._roles = roles.Roles(self._pins_path(), self._app)
        return self._roles

    @property
    def role(self) -> int:
        """VIEW, OPERATE or SERVICE."""
        return SERVICE if self._roles is None else self._roles.role

    @property
    def name(self) -> str:
        """The role's."""
        return NAMES[self.role]

    @property
    def is_locked(self) -> bool:
        """Roles are given by PINs."""
        return self._roles is not None and bool(self._roles.pins or self._roles.problem)

    def login(self, pin: str) -> str:
        """Have the role of a PIN until nobody has typed for ten minutes.  PowerError for a wrong one, and for one too soon."""
        if not isinstance(pin, str):
            raise ValueError("a PIN is a text")
        return self.known().login(pin) if self.is_locked else "no PIN is set: the role is service"

    def fall_back(self) -> None:
        """Whoever was there has gone."""
        if self._roles is not None:
            self._roles.fall_back()

    def dir(self, *thing) -> list:
        """The names of a thing, or those that a line can use: as the built-in, which asks every property for its value."""
        return sorted(names_of(thing[0]) if thing else self._console.names)

    # ---- lines and programs -----------------------------------------------------------------------------

    def value(self, text: str, source: str = "<console>"):
        """What a line gives: a command's words or lines, or the value of Python.  Raises what it raises."""
        self.said = ""
        technician = self.role == SERVICE
        text, word = self.as_command(text)
        limit = self._console.limit
        if word:
            with limit:
                value = self._console.known_commands().run(word, text[len(word) :])
            if isinstance(value, str):
                self.said = "= "
            return value
        if not technician:
            value = self.known().login_by(text)
            self.said = "= "
            return value
        try:
            with limit:
                value = self._python(text, source)
        except (SyntaxError, NameError) as error:
            value = self._mistyped.no_command(text, error, self._app.pm)
            if not value:
                raise
            self.said = "! "
            return value
        if isinstance(value, _CALLABLES):
            self.said = "! "
            return "%s is a function, and was not called: %s() calls it" % (text, text)
        return value

    def as_command(self, text: str) -> tuple:
        """(the line without brackets that say nothing, its word where it is a command, else "")."""
        if self.role != SERVICE:
            text = text.replace("()", "")  # who may run no Python means the command by limits()
            return text, command(text, "(")
        if text[-2:] == "()" and text[:-2] not in self._console.names and command(text[:-2]):
            text = text[:-2]  # events() too, as status() is a name
        return text, command(text)

    def _python(self, text: str, source: str):
        """The value of an expression; None of statements, which are done."""
        names = self._console.names
        try:
            code = compile(text, source, "eval")
        except SyntaxError:
            code = None
        if code is not None:
            return eval(code, names)
        exec(compile(text, source, "exec"), names)
        return None

    def run(self, code: bytes):
        """Run a program: "= " or "! " and a text, what is to be shown of a program of one line, or None.  Raises what it raises.

        As at the prompt such a line may be a command, and the items of a generator are shown; no other value is, as on any board.
        """
        text = text_of(code)
        line = text.strip()
        if "\n" not in line:
            value = self.value(line, _PROGRAM)
            if self.said:
                return self.said + value
            shown = type(value) is GENERATOR or command(line[:-2] if line[-2:] == "()" else line)
            return value if shown else None
        if self.role < SERVICE:
            return "= " + self.known().login_by(line)
        with self._console.limit:
            exec(compile(text, _PROGRAM, "exec"), self._console.names)
        return None

    def is_over(self) -> bool:
        """Whether the last one was interrupted."""
        return self._console.limit.over

    def in_words(self, error) -> str:
        """What went wrong."""
        if self._console.limit.over and isinstance(error, KeyboardInterrupt):
            return _INTERRUPTED % LINE_MS
        text = "%s: %s" % (type(error).__name__, error)
        if isinstance(error, (NameError, AttributeError)):
            text += self._mistyped.hint(error, self._app.pm)
        return text


def text_of(line: bytes) -> str:
    """ValueError with what came where that is no text: MicroPython's own UnicodeError is empty."""
    try:
        return line.decode()
    except UnicodeError:
        came = repr(line[:_SHOWN]) + ("..." if len(line) > _SHOWN else "")
    raise ValueError(came + ": is no text in UTF-8; nothing of it was run")


def command(text: str, no_command: str = NO_PYTHON) -> str:
    """The word of a line that is a command, "" of any other, and where one of no_command follows but as the dot of a number."""
    if text[:1] in "eE" and text[:9].lower() == _EMERGENCY and _is_in_need(text[9:]):
        return _EMERGENCY
    end = text.find(" ")
    word = text if end < 0 else text[:end]
    if not word.isalpha() or " %s " % word not in COMMANDS:
        return ""
    rest = "" if end < 0 else text[end:].strip()
    return "" if rest and rest[0] in no_command and not (rest[0] == "." and rest[1:2].isdigit()) else word


def _is_in_need(rest: str) -> bool:
    """Whether what stands behind the word is none of Python: whoever types `emergency!` or `EMERGENCY STOP` means it."""
    if rest[:1].isalpha() or rest[:1].isdigit() or rest[:1] == "_":
        return False
    rest = rest.strip()
    return not rest.strip(".") or (rest[0] not in "=.([+*/<>&|^%?" and rest[:2] != "!=")
