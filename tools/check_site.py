"""Checks a site file on the host with the firmware's own code: `python -m tools.check_site site.json`.

The same checks that load the file on a board are run; nothing is opened.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from host_tests import shims

shims.install()


@contextlib.contextmanager
def _without_hardware() -> Iterator[None]:
    """Drivers import the chip's modules; checking opens nothing, so empty ones will do."""
    before = {name for name in sys.modules if name.startswith("firmware.devices")}
    with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in ("machine", "esp32", "network")}):
        yield
    for name in [name for name in sys.modules if name.startswith("firmware.devices") and name not in before]:
        del sys.modules[name]  # it has seen the empty machine


def errors_in(site: dict[str, Any]) -> list[str]:
    """Everything the board would refuse, in its own words."""
    with _without_hardware():
        from firmware import sitefile

        return [str(error) for error in sitefile.check(json.loads(json.dumps(site))).errors]


def load(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The file's content and what is wrong with it."""
    try:
        site = json.loads(path.read_text())
    except OSError as error:
        return {}, [f"{path}: cannot be read ({error.strerror})"]
    except json.JSONDecodeError as error:
        return {}, [f"{path}: is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"]
    except (ValueError, RecursionError) as error:  # bytes that are no text, brackets without end
        return {}, [f"{path}: is not JSON: {error}"]
    if not isinstance(site, dict):
        return {}, [f"{path}: must be a JSON object"]
    return site, errors_in(site)


def main() -> int:
    """Lists every error; 1 when there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    arguments = parser.parse_args()
    site, errors = load(arguments.site)
    for error in errors:
        print(error, file=sys.stderr)
    if not errors:
        print(f"{arguments.site}: good ({len(site.get('devices', {}))} devices, {len(site.get('buses', {}))} buses)")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
