"""Checks a site file on the host with the firmware's own code: `python -m tools.check_site site.json [--board NAME]`.

The code that loads the file on a board is run: devices and services are built, and nothing is opened.  With --board also
whether the board has what the site uses, its pins, and the heap for it (tools/build/fits.py).
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any
from unittest import mock

from host_tests import shims
from tools.build import boardfile, fits, stage

shims.install()


class Refused(Exception):
    """The site cannot go on the board; `errors` says why, a line each."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


CHIP = ("machine", "esp32", "network")  # modules that only a board has
# the chip's own, in firmware/ or lib/, that would touch it while a site is built
_OPENS = ("canbus.open", "firmware.wifi.connect")


@contextlib.contextmanager
def _without_hardware() -> Iterator[None]:
    """Drivers import the chip's modules; building opens nothing, so empty ones will do."""
    before = dict(sys.modules)
    sys.modules.update({name: mock.MagicMock() for name in CHIP})
    try:
        with contextlib.ExitStack() as stack:
            for name in _OPENS:
                stack.enter_context(mock.patch(name))
            stack.enter_context(mock.patch("builtins.print"))  # the firmware says there what it returns too
            yield
    finally:
        for name in [name for name in sys.modules if name not in before and _is_ours(name)]:
            del sys.modules[name]  # it has seen the empty machine, and so have those that import it
            package, _, own = name.rpartition(".")
            if package in sys.modules:
                vars(sys.modules[package]).pop(own, None)
        for name in CHIP:
            sys.modules.pop(name, None)
            sys.modules.update({name: before[name]} if name in before else {})


def _is_ours(name: str) -> bool:
    file = getattr(sys.modules[name], "__file__", None) if name not in CHIP else None
    return file is not None and any(Path(file).is_relative_to(stage.ROOT / tree) for tree in stage.TREES)


def errors_in(site: dict[str, Any], folder: Path | None = None) -> list[str]:
    """Everything the board would refuse, in its own words.  `folder`: where the tables are that the site names as files."""
    site = json.loads(json.dumps(site))
    errors = _of_tables(site, folder or Path())
    with _without_hardware(), contextlib.chdir(folder or Path()):
        errors += _of_building(site)
        sound = _without_what_is_refused(site, errors)
        if sound != site:  # what is wrong in one place must not hide what another would be refused for when it is built
            errors += [error for error in _of_building(sound) if error not in errors]
        errors += _of_services(sound)
    return errors


def _of_building(site: dict[str, Any]) -> list[str]:
    from firmware import sitefile
    from firmware.site import Site

    built = Site()
    try:
        sitefile.build(site, built)
    except Exception as error:  # whatever it is, the board would stop with it
        return [f"the board would stop with {type(error).__name__}: {error}"]
    return [str(error) for error in built.errors]


def _without_what_is_refused(site: dict[str, Any], errors: list[str]) -> dict[str, Any]:
    """The parts of a site that nothing has been said of yet."""

    def named(where: str) -> bool:
        return any(error.startswith((f"{where}.", f"{where}:", f"{where} =")) for error in errors)

    sound = {key: value for key, value in site.items() if not named(key) or key in ("buses", "devices")}
    for section in ("buses", "devices"):
        entries = sound.get(section)
        if isinstance(entries, dict):
            good = {name: entry for name, entry in entries.items() if not named(f"{section}.{name}")}
            sound[section] = good
    if isinstance(sound.get("buses"), dict) and isinstance(sound.get("devices"), dict):
        there = sound["buses"]
        sound["devices"] = {name: entry for name, entry in sound["devices"].items() if entry.get("bus", "") in ("", *there)}
    return sound


def _of_services(content: dict[str, Any]) -> list[str]:
    """What services refuse when the application builds them; what they write goes to a place of its own."""
    from looptime import LoopTime

    from firmware import sitefile
    from firmware.errors import ConfigError
    from firmware.manager import PowerManager
    from firmware.metering import Metering
    from firmware.site import Site

    site = Site()
    sections = ("buses", "clock", "storage", "services")
    sitefile.build({"schema": 1, **{key: content[key] for key in sections if key in content}}, site)
    if site.errors:
        return []
    pm = PowerManager(site.config, site.image, site.has)
    cycle_ms = site.config.cycle_ms
    app = SimpleNamespace(site=site, pm=pm, cycle_ms=cycle_ms, metering=Metering(cycle_ms, LoopTime()), services={}, names={})
    errors: list[str] = []
    built: set[str] = set()
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        for name, module, options, stays in site.services:
            if stays or not built.issuperset(getattr(module, "NEEDS", ())):
                continue  # it looks at the board's own storage and port; or what it needs is refused, and said
            try:
                app.services[name] = module.Service(name, options, pm, app)
                built.add(module.__name__.rpartition(".")[2])
            except ConfigError as error:
                errors += [str(line) for line in error.errors]
            except Exception as error:  # the board would go on without it
                errors.append(f"services.{name}: {type(error).__name__}: {error}")
    return errors


def tables(site: dict[str, Any]) -> dict[str, str]:
    """Of each device whose table is a file of its own the name of that file: beside the site file here, and on the board."""
    devices = site.get("devices")
    entries = devices.items() if isinstance(devices, dict) else ()
    found = {name: device.get("table") for name, device in entries if isinstance(device, dict)}
    return {name: table for name, table in found.items() if isinstance(table, str)}


def table_file(table: str, folder: Path) -> Path:
    """Where a table is on this computer: beside the site file, or one that the project brings in tables/."""
    beside, brought = folder / table, stage.ROOT / table
    return brought if PurePosixPath(table).parts[0] == "tables" and brought.exists() and not beside.exists() else beside


def table_for_board(table: str, folder: Path) -> str:
    """A table as it goes on a board: what it says `about` itself is for people."""
    content = parse(table_file(table, folder).read_bytes())
    return json.dumps({key: value for key, value in content.items() if key != "about"}, separators=(",", ":"))


def _of_tables(site: dict[str, Any], folder: Path) -> list[str]:
    """Table files that are not there, cannot be read or would take the place of something else; their devices are taken out.

    The others' content takes the place of their name.
    """
    errors = []
    for name, table in tables(site).items():
        where = f"devices.{name}.table = {table!r}"
        try:
            if table not in _placed(table):
                raise ValueError("must be a file name, or folders and a file name, that belong to nothing else on the board")
            site["devices"][name]["table"] = parse(table_file(table, folder).read_bytes())
        except OSError as error:
            errors.append(f"{where}: cannot be read beside the site file ({error.strerror})")
        except ValueError as error:
            errors.append(f"{where}: {error}")
        else:
            continue
        del site["devices"][name]
    return errors


def _placed(table: str) -> list[str]:
    """[the path] where a table may lie on a board; [] where it may not."""
    path = PurePosixPath(table)
    taken = (*stage.TREES, stage.PAGE, *stage.ENTRY_FILES, "site.json", "board", "boot", "main", "manifest", "manifest.new")
    good = not path.is_absolute() and ".." not in path.parts and bool(path.parts) and path.parts[0] not in taken
    return [path.as_posix()] if good else []


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{json.dumps(key)} stands twice in one object: only the last would count")
        found[key] = value
    return found


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def parse(data: bytes) -> Any:
    """The content of a site file.  Raises ValueError with one line that says where it is wrong, stricter than json.loads."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"is not UTF-8 text: byte 0x{data[error.start]:02X} in line {line}; save it as UTF-8") from None
    if text.startswith("\ufeff"):
        raise ValueError("begins with a byte order mark; save it as UTF-8 without one")
    try:
        return json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ValueError("is not JSON that a board can read: nested too deeply") from None


def load(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The file's content and what is wrong with it."""
    try:
        site = parse(path.read_bytes())
    except OSError as error:
        return {}, [f"{path}: cannot be read ({error.strerror})"]
    except ValueError as error:
        return {}, [f"{path}: {error}"]
    if not isinstance(site, dict):
        return {}, [f"{path}: must be a JSON object"]
    site.pop("crc", None)  # of a file that a board has saved: it is brought here to be changed
    return site, errors_in(site, path.parent) or _nothing_to_do(site, path.parent)


def _nothing_to_do(site: dict[str, Any], folder: Path) -> list[str]:
    """What the firmware says of a site that has no error, and that would do nothing."""
    with _without_hardware(), contextlib.chdir(folder):
        from firmware import sitefile

        return sitefile.refused(site)


def for_board(path: Path, board: dict[str, Any], image: str, ssid: str = "", password: str = "") -> dict[str, Any]:
    """The site file as it goes on that board.  Raises Refused with everything that is wrong with it."""
    site, errors = load(path)
    if errors:
        raise Refused(errors)
    try:
        site = boardfile.site_for(board, site, ssid, password)
        errors = errors_in(site, path.parent)
        if not errors:
            fits.require(board, site, image)
    except KeyError as error:  # a driver of one's own
        print(f"{error.args[0]}; whether the board's heap is enough shows when it starts", file=sys.stderr)
    except (boardfile.BoardError, fits.TooBig) as error:
        errors = str(error).splitlines()
    if errors:
        raise Refused(errors)
    return site


def main() -> int:
    """Lists every error; 1 when there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("--board", help="a name from boards/, or the path of a board file")
    parser.add_argument("--image", choices=fits.IMAGES, default=fits.STOCK, help=fits.IMAGE_HELP)
    arguments = parser.parse_args()
    site, errors = load(arguments.site)
    weight = None
    if arguments.board and not errors:
        try:
            board = boardfile.load(arguments.board)
            site = for_board(arguments.site, board, arguments.image)
            with contextlib.suppress(KeyError):  # for_board has said it
                weight = fits.weigh(board, site, arguments.image, fits.sizes())
        except boardfile.BoardError as error:
            errors = str(error).splitlines()
        except Refused as refused:
            errors = refused.errors
    for line in errors:
        print(line, file=sys.stderr)
    if errors:
        return 1
    for name, table in tables(site).items():
        print(f"devices.{name}: {table} is good, and goes on the board with the site file")
    print(f"{arguments.site}: good ({len(site.get('devices', {}))} devices, {len(site.get('buses', {}))} buses)")
    if weight:
        print(weight.as_text(str(arguments.site)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
