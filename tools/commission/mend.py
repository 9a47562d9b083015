"""What a failed step proposes for site.json: as words, as a file beside the report, and on the board."""

import json
from pathlib import Path
from typing import Any

from tools.commission import still
from tools.commission.wire import Console, Refused

LINE = 1024  # bytes that the console takes
_PIECE = 600  # characters of a text in one line: quotes and backslashes make it longer
_STORED_S = 60.0


def patched(site: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """The site file with these entries (dotted; a number is a place in a list)."""
    content: dict[str, Any] = json.loads(json.dumps(site))
    for path, value in patch.items():
        *folders, key = path.split(".")
        at: Any = content
        for folder in folders:
            at = at[int(folder)] if isinstance(at, list) else at.setdefault(folder, {})
        at[int(key) if isinstance(at, list) else key] = value
    return content


def entries(patch: dict[str, Any]) -> list[str]:
    """What is to be changed, for people."""
    return [f"site.json: {path} = {json.dumps(value)}" for path, value in patch.items()]


def write(folder: Path, site: dict[str, Any], patch: dict[str, Any]) -> Path:
    """The whole site file as it is proposed, for `make deploy SITE=...`."""
    file = folder / "site.proposed.json"
    file.write_text(json.dumps(patched(site, patch), indent=2) + "\n")
    return file


async def save(console: Console, site: dict[str, Any], patch: dict[str, Any]) -> None:
    """Make it the board's site of its next start.  Refused with what is wrong with it, and where `site` is the board's no more."""
    await still.helpers(console)
    if still.parsed(await still.site_file(console)) != site:
        raise Refused("its site file was changed since this session began, and that would be undone: begin again")
    text = json.dumps(patched(site, patch), separators=(",", ":"))
    await console.ask("_site=''")
    for at in range(0, len(text), _PIECE):
        await console.ask(f"_site+={text[at : at + _PIECE]!r}")
    await console.ask("save_site(_site)", _STORED_S)
    await console.ask("_site=None")
