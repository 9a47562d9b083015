"""Packs the operator's page (web/) as a board serves it: a few gzipped files in www/, the same tree the same bytes.

The modules in web/js become one app.js: each a function of its own that gives what it exports, in the order in which they need
each other; comments of a whole line and indentation stay behind.  uPlot (web/vendor, MIT) goes along whole, with its licence.

    python -m tools.build.web          what is packed, and how many bytes it takes
"""

import argparse
import gzip
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SOURCES = "web"
FOLDER = "www"  # on the board, beside firmware/
MOST_BYTES = 60_000  # of all packed files together
_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "(\.[\w./]+\.js)";$')
_EXPORT = re.compile(r"^export (?=(?:async )?function (\w+)|class (\w+)|const (\w+))")


class PageError(Exception):
    """The page cannot be packed; the text says which file and why."""


def sources(root: Path = ROOT) -> list[Path]:
    """Every file that the page is made of, in a stable order; none where the tree has no page."""
    folder = root / SOURCES
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def assets(root: Path = ROOT) -> dict[str, bytes]:
    """The page's files by name, as a browser gets them.  Raises PageError."""
    folder = root / SOURCES
    vendor = folder / "vendor"
    notice = f"/*! uPlot\n{(vendor / 'uPlot.LICENSE').read_text()}*/\n"
    return {
        "index.html": _trimmed(folder / "index.html").encode(),
        "icon.svg": (folder / "icon.svg").read_bytes(),
        "app.css": ((vendor / "uPlot.min.css").read_text().strip() + "\n" + _trimmed(folder / "app.css")).encode(),
        "app.js": bundle(folder / "js" / "app.js").encode(),
        "uplot.js": notice.encode() + (vendor / "uPlot.iife.min.js").read_bytes(),
    }


def served_by(site: dict[str, Any]) -> bool:
    """A site serves the page: on an image of our own, which has only modules inside, its files then go on the file system."""
    services = site.get("services") or {}
    return any(isinstance(service, dict) and service.get("type") == "web" for service in services.values())


def pack(root: Path, dest: Path) -> list[Path]:
    """Writes the packed files below dest and gives their paths there; none where the tree has no page.  Raises PageError."""
    if not sources(root):
        return []
    made = []
    packed = {f"{name}.gz": gzip.compress(content, 9, mtime=0) for name, content in assets(root).items()}
    total = sum(map(len, packed.values()))
    if total > MOST_BYTES:
        raise PageError(f"{SOURCES}/: {total:,} bytes packed, allowed are {MOST_BYTES:,}")
    for name, content in packed.items():
        path = Path(FOLDER, name)
        (dest / path).parent.mkdir(parents=True, exist_ok=True)
        (dest / path).write_bytes(content)
        made.append(path)
    return made


def vendored(root: Path = ROOT) -> list[dict[str, str]]:
    """What the page has from others: name, version, license and integrity of the package, as web/vendor/packages.json says.

    Raises PageError where a file is not the one of that package.
    """
    folder = root / SOURCES / "vendor"
    found = json.loads((folder / "packages.json").read_text())
    for package in found:
        for name, digest in package["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise PageError(f"{SOURCES}/vendor/{name}: is not the file of {package['name']} {package['version']}")
    return found


def bundle(entry: Path) -> str:
    """A module and all that it needs as one.  Raises PageError for what it cannot follow."""
    order: list[Path] = []
    _follow(entry.resolve(), [], order)
    parts = ['"use strict";']
    for path in order:
        body, names = _module(path, order)
        given = f"return {{ {', '.join(names)} }};\n" if names else ""
        parts.append(f"const {_name(path, order)} = (() => {{\n{body}{given}}})();")
    return "\n".join(parts) + "\n"


def _needs(path: Path) -> list[Path]:
    return [(path.parent / found[2]).resolve() for line in path.read_text().splitlines() if (found := _IMPORT.match(line))]


def _follow(path: Path, behind: list[Path], order: list[Path]) -> None:
    """Puts a module into the order, behind all that it needs."""
    if path in behind:
        raise PageError(f"{' -> '.join(each.name for each in [*behind, path])}: modules need each other in a ring")
    if not path.is_file():
        raise PageError(f"{behind[-1].name if behind else path.name}: needs {path.name}, which is not there")
    for needed in _needs(path):
        if needed not in order:
            _follow(needed, [*behind, path], order)
    if path not in order:
        order.append(path)


def _name(path: Path, order: list[Path]) -> str:
    return f"m{order.index(path)}_{path.stem}"


def _module(path: Path, order: list[Path]) -> tuple[str, list[str]]:
    """A module's body as that of a function, and the names that it exports."""
    lines, names = [], []
    for number, line in enumerate(_lines(path), 1):
        found = _IMPORT.match(line)
        if found:
            line = f"const {{ {found[1]} }} = {_name((path.parent / found[2]).resolve(), order)};"
        exported = _EXPORT.match(line)
        if exported:
            names.append(next(name for name in exported.groups() if name))
            line = line[exported.end() :]
        if line.startswith(("import ", "export ")):
            raise PageError(f"{path.name}, line {number}: {line[:40]!r}: is not in a form that the page is packed from")
        lines.append(line)
    return "\n".join(lines) + "\n", names


def _lines(path: Path) -> list[str]:
    """The lines without their indentation, without comments that take lines of their own."""
    text = path.read_text()
    for number, line in enumerate(text.splitlines(), 1):
        if line.count("`") % 2:
            raise PageError(f"{path.name}, line {number}: a template goes over several lines")
    text = re.sub(r"^\s*/\*.*?\*/\s*?$", "", text, flags=re.M | re.S)
    stripped = [line.strip() for line in text.splitlines()]
    return [line for line in stripped if line and not line.startswith("//")]


def _trimmed(path: Path) -> str:
    return "\n".join(_lines(path)) + "\n"


def main() -> int:
    """1 where it cannot be packed."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    try:
        packed = {name: len(gzip.compress(content, 9, mtime=0)) for name, content in assets().items()}
    except PageError as error:
        print(error, file=sys.stderr)
        return 1
    for name, size in packed.items():
        print(f"  {name:12} {size:8,} bytes gzipped")
    print(f"  {'together':12} {sum(packed.values()):8,} of {MOST_BYTES:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
