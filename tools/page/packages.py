"""Brings the npm packages of the page's tests and of its chart, pinned with their integrity, through the npm client.

    python -m tools.page.packages --chart      puts uPlot's files into web/vendor again, as pinned there

axe-core, which judges the page's accessibility, lands in .cache: it is no part of the product.
"""

import argparse
import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tools.build import web

ROOT = Path(__file__).resolve().parents[2]
AXE = ("axe-core", "4.14.1", "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==")
AXE_FILE = ROOT / ".cache" / "axe" / f"axe-{AXE[1]}.min.js"
_CHART_FILES = {"uPlot.iife.min.js": "dist/uPlot.iife.min.js", "uPlot.min.css": "dist/uPlot.min.css", "uPlot.LICENSE": "LICENSE"}


class PackageError(Exception):
    """A package could not be had as pinned; the text says why."""


def fetch(name: str, version: str, integrity: str, files: dict[str, str], into: Path) -> None:
    """Puts files of a package into a folder: name there, path in the package.  Raises PackageError."""
    if not shutil.which("npm"):
        raise PackageError(f"{name}: needs npm to fetch it")
    with tempfile.TemporaryDirectory() as scratch:
        command = ["npm", "pack", "--silent", f"{name}@{version}"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=120)
        packed = list(Path(scratch).glob("*.tgz"))
        if done.returncode or len(packed) != 1:
            raise PackageError(f"{name} {version}: npm could not fetch it: {(done.stderr or done.stdout).strip()}")
        digest = "sha512-" + base64.b64encode(hashlib.sha512(packed[0].read_bytes()).digest()).decode()
        if digest != integrity:
            raise PackageError(f"{name} {version}: is {digest}, pinned is {integrity}")
        into.mkdir(parents=True, exist_ok=True)
        with tarfile.open(packed[0]) as archive:
            for target, path in files.items():
                member = archive.extractfile(f"package/{path}")
                if member is None:
                    raise PackageError(f"{name} {version}: has no {path}")
                (into / target).write_bytes(member.read())


def axe() -> Path:
    """The file of axe-core, fetched the first time.  Raises PackageError."""
    if not AXE_FILE.exists():
        fetch(*AXE, {AXE_FILE.name: "axe.min.js"}, AXE_FILE.parent)
    return AXE_FILE


def main() -> int:
    """1 where a package cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chart", action="store_true", help="uPlot's files into web/vendor, as packages.json pins it")
    arguments = parser.parse_args()
    try:
        print(axe())
        if arguments.chart:
            (chart,) = web.vendored()
            fetch(chart["name"], chart["version"], chart["integrity"], _CHART_FILES, ROOT / web.SOURCES / "vendor")
            web.vendored()
            print(f"{chart['name']} {chart['version']} stands in {web.SOURCES}/vendor as pinned")
    except (PackageError, web.PageError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
