"""Host programs: simulated site and board, build, deploy, measurements."""

import sys

_ON_HOST = sys.implementation.name != "micropython"  # which needs no more than tools/plant.py, for the README's program

if _ON_HOST and sys.version_info < (3, 11):  # whoever types python3 -m tools... has whatever python3 there is
    sys.exit("needs Python 3.11 or newer, this is %s (%s)" % (sys.version.split()[0], sys.executable))  # noqa: UP031


def _say_where_the_tools_are(kind, error, trace):  # type: ignore[no-untyped-def]
    """What the programs need is in .venv, which `make` makes and uses by itself."""
    if not issubclass(kind, ModuleNotFoundError) or sys.prefix != sys.base_prefix:
        sys.__excepthook__(kind, error, trace)
        return
    program = getattr(sys.modules["__main__"], "__spec__", None)
    text = "this Python has no %s: `make setup`, then .venv/bin/python -m %s"
    print(text % (error.name, program.name if program else "tools.run"), file=sys.stderr)


if _ON_HOST:
    sys.excepthook = _say_where_the_tools_are
    # `python -m tools.size`, `tools.gen_dbc`, `tools.chip_bars`: what people typed before these had folders of their own.
    __path__ += [__path__[0] + "/" + _folder for _folder in ("build", "generate", "bench")]
