"""Nothing that is shipped has a password, PIN or key in it: what has none given is closed, or open and said to be."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.build.stage import ROOT, device_files

SECRET = re.compile(r"(password|passwd|passphrase|secret|token|psk|api_?key|private_?key|(?<!_)pin)s?$", re.I)
_WORDS = "password|passwd|passphrase|secret|token|psk|api_?key|private_?key"
GIVEN = re.compile(rf"""(?i)\b\w*(?:{_WORDS})["']?\s*[:=]\s*(["'])([^"']+)\1""")
NONE = ("", "REQUIRED", None)
SHIPPED = ("boards", "docs", "tables")


def options(path: Path) -> Iterator[tuple[str, Any]]:
    """(name, default) of every row of the option tables in a file of the firmware."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Tuple) and len(node.elts) == 6 and isinstance(node.elts[0], ast.Constant):
            default = node.elts[2]
            yield str(node.elts[0].value), default.value if isinstance(default, ast.Constant) else ast.unparse(default)


def members(value: Any) -> Iterator[tuple[str, Any]]:
    """(key, value) of everything in a JSON document."""
    if isinstance(value, dict):
        for key, inside in value.items():
            yield key, inside
            yield from members(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from members(inside)


def test_no_option_that_is_a_secret_has_a_default() -> None:
    rows = [row for path in device_files() if path.suffix == ".py" for row in options(ROOT / path)]
    secrets = [(name, default) for name, default in rows if SECRET.search(name)]
    assert ("password", "") in secrets, "the Wi-Fi's is seen"
    assert [row for row in secrets if row[1] not in NONE] == []


def test_no_site_board_or_table_that_is_shipped_has_one() -> None:
    found = [path for folder in SHIPPED for path in (ROOT / folder).rglob("*.json")]
    assert len(found) > 10
    given = [(path.name, key, value) for path in found for key, value in members(json.loads(path.read_text()))
             if SECRET.search(key) and isinstance(value, str)]  # fmt: skip
    # a Wi-Fi station has to be named by who deploys: make deploy takes WIFI_SSID and WIFI_PASSWORD
    assert [row for row in given if row[2] not in NONE] == []


def test_no_code_that_goes_on_a_board_has_one_in_it() -> None:
    texts = {path: (ROOT / path).read_text() for path in device_files() if path.suffix == ".py"}
    assert {str(path): match[0] for path, text in texts.items() for match in GIVEN.finditer(text)} == {}
    assert GIVEN.search('WIFI_PASSWORD = "hunter22"') and GIVEN.search("{'api_key': 'abc'}"), "it would be seen"


def test_no_key_or_certificate_is_in_the_repository() -> None:
    folders = ("boards", "docs", "firmware", "host_tests", "lib", "tables", "tools")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    files = [path for path in paths if path.is_file()]
    assert ROOT / "firmware" / "app.py" in files
    assert [path for path in files if path.suffix in (".pem", ".der", ".key", ".p12", ".pfx", ".crt")] == []
    mark = "-----BEGIN " + "PRIVATE KEY"
    assert [path for path in files if path.suffix in (".py", ".md", ".json") and mark in path.read_text()] == []
