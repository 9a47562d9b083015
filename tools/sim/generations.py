"""A board with generations as a deploy leaves them: of the firmware itself, or of a tiny one that says which it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tools.build import generation, stage

ROOT = Path(__file__).resolve().parents[2]
SITE = {"schema": 1, "name": "tiny", "devices": {"io": {"type": "io_board", "estop_pin": 34, "contactor_pin": 25}}}
LIBRARY = ("generation", "generations", "incoming", "ownimage", "pinowners", "startup", "watchdog")
APP = '''
import generations
class App:
    selftest = None
    def __init__(self, path):
        import json
        self.site = json.load(open(path))["name"]
    def run(self):
        print("runs %s with %s" % ("{name}", self.site))
        {run}
'''
PASS = "for _ in generations.saving(generations.passed([])): pass"
PASS_IMAGE = """own = __import__("sys").modules.get("ownimage")
        if own and own.is_trial():
            for _ in own.passed():
                pass
            print("image has passed")"""
SELFTEST = "class SelfTest:\n    def __init__(self, app): pass\n"


def tiny(root: Path, name: str, run: str = "pass", extra: str = "") -> Path:
    """A firmware whose application only says its name, and then does `run`; extra: lines at the top of its module."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "lib").mkdir(parents=True)
    for module in LIBRARY:
        shutil.copyfile(ROOT / "lib" / f"{module}.py", root / "lib" / f"{module}.py")
    for entry in stage.ENTRY_FILES:
        shutil.copyfile(ROOT / entry, root / entry)
    (root / "firmware").mkdir()
    shutil.copyfile(ROOT / "firmware" / "generation.py", root / "firmware" / "generation.py")
    (root / "firmware" / "__init__.py").write_text("")
    (root / "firmware" / "selftest.py").write_text(SELFTEST)
    text = APP.replace("{name}", name).replace("{run}", run)
    (root / "firmware" / "app.py").write_text(extra + text)
    return root


def lay(flash: Path, place: str, root: Path, march: str, number: int, site: dict[str, Any] | None = None) -> dict[str, Any]:
    """Puts a generation of the tree `root` in a folder of the flash, and what chooses at the top; gives its part of a record."""
    scratch = flash.parent / "staged"
    shutil.rmtree(scratch, ignore_errors=True)
    made = stage.stage(root, scratch, march)
    (scratch / "site.json").write_text(json.dumps(site or {**SITE, "name": f"site of {place}"}))
    files = generation.files_of([*made, Path("site.json")])
    for path in files:
        (flash / place / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(scratch / path, flash / place / path)
    for name, path in generation.LOADER.items():
        shutil.copyfile(scratch / path, flash / name)
    content = generation.manifest(scratch, files, number, stage.generation(scratch, made))
    (flash / place / generation.MANIFEST).write_bytes(content)
    return generation.described(place, content)


def switch(flash: Path, record: dict[str, Any]) -> None:
    """Has a generation be the one that starts."""
    (flash / "switch").write_bytes(generation.sealed(record))


def switched(flash: Path) -> dict[str, Any]:
    """The record on a flash."""
    return generation.unsealed((flash / "switch").read_bytes())
