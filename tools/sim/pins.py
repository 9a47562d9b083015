"""The PINs of a simulated board whose flash is kept from run to run: what `make run` has set, and what opens its console."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from host_tests import shims

shims.install()

from firmware.services import roles  # noqa: E402

NOTE = "pins_of_make_run.json"  # beside the flash: on it there are only hashes
HINT = (
    "--state {state}: its board has PINs, and none known here opens its console: --web-pins OPERATE SERVICE with its own service "
    "PIN, --console to log in by hand, or `rm {file}`, which takes them away (on a real board: erase the flash)"
)


def file_of(state: Path) -> Path:
    """Where the board keeps the hashes."""
    return state / "flash" / "pins.json"


def is_set(state: Path) -> bool:
    """Whether the board there has PINs: its console is locked when it starts."""
    return file_of(state).exists()


def opens(state: Path, role: str, pin: str) -> bool:
    """Whether that PIN gives the role at the board there."""
    known = roles.Roles(str(file_of(state)), None)
    try:
        known.pins = json.loads(file_of(state).read_text())
        work = known.is_pin(role, pin)
        while True:
            next(work)
    except StopIteration as end:
        return bool(end.value)
    except (OSError, ValueError, KeyError, AttributeError):  # damaged, or without that role: nothing opens it
        return False


def noted(state: Path) -> tuple[str, str] | None:
    """The PINs of operate and service that the run before has set; None where it has set none."""
    try:
        operate, service = json.loads((state / NOTE).read_text())
    except (OSError, ValueError, TypeError):
        return None
    return (operate, service) if re.fullmatch(r"\S{4,32} \S{4,32}", f"{operate} {service}") else None


def note(state: Path, operate: str, service: str) -> None:
    """Keep them for the next run; before the board is told."""
    state.mkdir(parents=True, exist_ok=True)
    (state / NOTE).write_text(json.dumps([operate, service]))


def opening(state: Path, given: Iterable[str] | None) -> str:
    """The service PIN that opens the board there, of those given and those of the run before; "" for none."""
    for pair in (tuple(given or ()), noted(state) or ()):
        if pair and opens(state, "service", pair[1]):
            return pair[1]
    return ""


def refused(state: Path, given: Iterable[str] | None) -> str:
    """Why a run that types at the console cannot begin there, "" where it can."""
    if not is_set(state) or opening(state, given):
        return ""
    return HINT.format(state=state, file=file_of(state))
