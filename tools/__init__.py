"""Host programs: simulated site and board, build, deploy, measurements."""

import sys

_ON_HOST = sys.implementation.name != "micropython"  # which needs no more than tools/plant.py, for the README's program

if _ON_HOST and sys.version_info < (3, 11):  # whoever types python3 -m tools... has whatever python3 there is
    sys.exit("needs Python 3.11 or newer, this is %s (%s)" % (sys.version.split()[0], sys.executable))  # noqa: UP031


def _write_no_more():  # type: ignore[no-untyped-def]
    """Whoever read what is printed has gone, as `head` does: what is left goes nowhere."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _flush():  # type: ignore[no-untyped-def]
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _write_no_more()
    except (AttributeError, OSError, ValueError):  # there is none, or it is closed
        pass


def _say_what_ended_it(kind, error, trace):  # type: ignore[no-untyped-def]
    """Nothing where the reader of a pipe has gone.  What the programs need is in .venv, which `make` makes and uses by itself."""
    if issubclass(kind, BrokenPipeError):
        _write_no_more()
        return
    if not issubclass(kind, ModuleNotFoundError) or sys.prefix != sys.base_prefix:
        sys.__excepthook__(kind, error, trace)
        return
    program = getattr(sys.modules["__main__"], "__spec__", None)
    text = "this Python has no %s: `make setup`, then .venv/bin/python -m %s"
    print(text % (error.name, program.name if program else "tools.run"), file=sys.stderr)


if _ON_HOST:
    import atexit

    atexit.register(_flush)
    sys.excepthook = _say_what_ended_it
    # `python -m tools.size`, `tools.gen_dbc`, `tools.chip_bars`: what people typed before these had folders of their own.
    __path__ += [__path__[0] + "/" + _folder for _folder in ("build", "generate", "bench")]
