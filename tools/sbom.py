"""Writes what the product is made of as a CycloneDX 1.6 bill of materials: `make sbom`, into build/sbom.cdx.json.

On the board: this firmware (its generation, every file by hash), the page's chart, MicroPython, and with IMAGE=file.bin
that image with the versions that stand in it.  Beside it, with scope "excluded", what builds, flashes and tests: every package of
requirements.lock and every Debian package of tools/debian_bundle.py.  The same tree gives the same bytes.
"""

import argparse
import base64
import hashlib
import json
import re
import sys
import tempfile
import tomllib
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

from tools import debian_bundle, flash, setup_host
from tools.build import stage, web

OUT = stage.ROOT / "build" / "sbom.cdx.json"
MARCH = "xtensawin"  # of the tree whose files are listed: ESP32 and ESP32-S3
_IMAGE_README = stage.ROOT / "boards" / "BESS_ESP32" / "README.md"
_VERSION = re.compile(rb"\0?v?(\d+\.\d+\.\d+(?:-preview[.\w]*)?) on (\d{4}-\d\d-\d\d)\0")
_APP_MAGIC = (0xABCD5432).to_bytes(4, "little")  # of esp_app_desc_t, which every ESP-IDF application has
_APP_IDF = slice(112, 144)  # the ESP-IDF's version in it
_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # of URLs, RFC 4122

Component = dict[str, Any]


class SbomError(Exception):
    """It cannot be written; the text says why."""


def packages(lock: str) -> list[tuple[str, str]]:
    """(name, version) of every line of a lock file."""
    return [(name, version) for name, version in re.findall(r"^([\w.-]+)==(\S+)$", lock, re.M)]


def _hash(content: bytes) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]


def _licences(name: str) -> list[dict[str, Any]]:
    """As the installed package says; empty where it is not installed, or says none in a form that can be passed on."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return []
    if "License-Expression" in about:
        return [{"expression": about["License-Expression"]}]
    named = [line.rsplit(" :: ", 1)[1] for line in about.get_all("Classifier") or [] if line.startswith("License :: ")]
    return [{"license": {"name": name}} for name in named]


def python_package(name: str, version: str) -> Component:
    """A package of the lock file."""
    purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"
    found: Component = {
        "type": "library", "bom-ref": purl, "name": name, "version": version, "scope": "excluded", "purl": purl,
    }  # fmt: skip
    licences = _licences(name)
    return {**found, "licenses": licences} if licences else found


def debian_package(name: str, version: str, bundle: debian_bundle.Bundle) -> Component:
    """A package of a Debian bundle."""
    quoted = version.replace(":", "%3A").replace("+", "%2B")
    purl = f"pkg:deb/debian/{name}@{quoted}?arch={bundle.architecture}&distro={bundle.suite}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "scope": "excluded", "purl": purl}


def npm_package(package: dict[str, str]) -> Component:
    """What the operator's page has from others, as it stands in web/vendor, and on the board."""
    purl = f"pkg:npm/{package['name']}@{package['version']}"
    sha512 = base64.b64decode(package["integrity"].removeprefix("sha512-")).hex()
    return {
        "type": "library", "bom-ref": purl, "name": package["name"], "version": package["version"], "scope": "required",
        "hashes": [{"alg": "SHA-512", "content": sha512}], "licenses": [{"license": {"id": package["license"]}}], "purl": purl,
    }  # fmt: skip


def micropython(version: str) -> Component:
    """MicroPython itself, as it is in an image."""
    purl = f"pkg:github/micropython/micropython@v{version}"
    return {
        "type": "platform", "bom-ref": purl, "name": "micropython", "version": version, "scope": "required", "purl": purl,
        "licenses": [{"license": {"id": "MIT"}}],
    }  # fmt: skip


def esp_idf(version: str) -> Component:
    """Espressif's framework, which MicroPython is built with."""
    purl = f"pkg:github/espressif/esp-idf@{version}"
    return {
        "type": "framework", "bom-ref": purl, "name": "esp-idf", "version": version, "scope": "required", "purl": purl,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }  # fmt: skip


def planned() -> tuple[str, str]:
    """The versions of MicroPython and ESP-IDF that our own image is built with, as its README has them."""
    text = _IMAGE_README.read_text()
    python = re.search(r"--branch v(\S+) https://github.com/micropython", text)
    idf = re.search(r"espressif/idf:(v\S+)", text)
    if not python or not idf:
        raise SbomError(f"{_IMAGE_README.name}: names no version of MicroPython, or none of ESP-IDF")
    return python[1], idf[1]


def image(path: Path) -> tuple[Component, str, str]:
    """An image's file, and the versions of MicroPython and ESP-IDF that stand in it.  SbomError for what is no such image."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SbomError(f"IMAGE={path}: {error.strerror}") from None
    version = _VERSION.search(content)
    at = content.find(_APP_MAGIC)
    if version is None or at < 0:
        raise SbomError(f"IMAGE={path}: names no version of MicroPython: is it an image for an ESP32?")
    idf = content[at:][_APP_IDF].split(b"\0", 1)[0].decode("ascii", "replace")
    known = flash.image_name(path) or "unknown"
    name = f"{known}-{version[2].decode().replace('-', '')}"
    found: Component = {
        "type": "firmware", "bom-ref": f"image:{path.name}", "name": known, "version": name, "scope": "required",
        "hashes": _hash(content), "properties": [{"name": "file", "value": path.name}],
    }  # fmt: skip
    return found, version[1].decode(), idf


def firmware(version: str) -> Component:
    """This firmware as a board has it: its generation, and every file by hash."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        made = stage.stage(stage.ROOT, tree, MARCH)
        files = [
            {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": _hash((tree / name).read_bytes())}
            for name in sorted(path.as_posix() for path in made)
        ]
        stamp = stage.generation(tree, made)
    return {
        "type": "firmware", "bom-ref": "firmware", "name": "battery-power-manager", "version": version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "properties": [{"name": "generation", "value": stamp}, {"name": "machine code", "value": MARCH}],
        "components": files,
    }  # fmt: skip


def document(of_image: Path | None = None) -> dict[str, Any]:
    """The whole bill.  SbomError where the image is none."""
    with (stage.ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    python, idf = planned()
    on_board = []
    if of_image is not None:
        flashed, python, idf = image(of_image)
        on_board.append(flashed)
    on_board += [micropython(python), esp_idf(idf)]
    lock = setup_host.LOCK.read_text()
    beside = {found["bom-ref"]: found for found in (python_package(*each) for each in packages(lock))}
    for bundle in debian_bundle.BUNDLES.values():
        for name, version in bundle.packages.items():
            found = debian_package(name, version, bundle)
            beside[found["bom-ref"]] = found
    product = firmware(project["version"])
    page = [npm_package(package) for package in web.vendored()]
    components = [*on_board, *page, *(beside[ref] for ref in sorted(beside))]
    body = {
        "metadata": {"component": product, "lifecycles": [{"phase": "build"}]},
        "components": components,
        "dependencies": [
            {"ref": product["bom-ref"], "dependsOn": sorted(found["bom-ref"] for found in [*on_board, *page])},
            {"ref": on_board[-2]["bom-ref"], "dependsOn": [on_board[-1]["bom-ref"]]},
        ],
    }
    number = uuid.uuid5(_NAMESPACE, json.dumps(body, sort_keys=True))  # the same tree, the same number
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{number}", "version": 1}
    return {"$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", **head, **body}


def main() -> int:
    """0 when it is written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, help="the MicroPython image that is flashed")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    try:
        bill = document(arguments.image)
    except (SbomError, stage.CompileError, web.PageError) as error:
        print(error, file=sys.stderr)
        return 1
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(bill, indent=1) + "\n")
    files = bill["metadata"]["component"]["components"]
    print(f"{arguments.out}: {len(bill['components'])} components, {len(files)} files on the board")
    return 0


if __name__ == "__main__":
    sys.exit(main())
