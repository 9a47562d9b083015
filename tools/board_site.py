"""The site file that a board has, before a deploy takes its place: what people have changed on the board, and whose board it is.

The page and the console save a site on the board alone.  A deploy of the file on the laptop would undo that, limits included, and
nobody would know; and a board at another port than was meant would get another site's limits.
"""

import json
from pathlib import Path
from typing import Any

from tools.serial_line import LineError, RawPrompt

ONBOARD = Path(__file__).parent / "onboard"
_PIECE = 512
_WIDTH = 60  # characters of a value
_MOST = 20  # differences that are listed
_SECRET = ("password", "token", "secret")
NOTHING = object()


def against(prompt: RawPrompt, site: dict[str, Any], file: Path, port: str) -> list[str]:
    """Why this site must not take the place of the board's without a word of who deploys; [] where it may.  Control goes on."""
    try:
        prompt.run("LIVE = True\n" + (ONBOARD / "top.py").read_text() + (ONBOARD / "site_there.py").read_text())
        path, deployed, there = prompt.run("found = place()\nprint(found[0], found[1] or '-', digest(found[0]) or '-')").split()
        if there == "-":
            return []  # it has none
        content = _content(prompt, path)
    except (LineError, ValueError) as error:  # no reason to leave a board as it is: a deploy mends a file that is none
        print(f"the board's site file could not be compared with {file} ({error}): what was changed on the board is replaced")
        return []
    lines = []
    if content.get("name", site.get("name")) != site.get("name"):
        theirs, ours = _shown("", content["name"]), _shown("", site.get("name"))
        lines.append(f"the board at {port} is that of the site {theirs}, {file} is {ours}")
    if deployed not in ("-", there) and (lost := differences(content, site)):
        lines.append(f"the board's site was changed on the board since it was deployed, and {file} would undo that:")
        lines += lost[:_MOST] + ([f"  ... and {len(lost) - _MOST} more"] if len(lost) > _MOST else [])
        lines.append(f"`mpremote connect {port} resume cp :{path} FILE` brings the board's file here")
    return lines


def _content(prompt: RawPrompt, path: str) -> dict[str, Any]:
    """The board's file, in pieces; {} where it has none, or one that is no site.  ValueError, LineError."""
    prompt.run(f"reading = open({path!r}, 'rb')")
    data = b""
    while piece := bytes.fromhex(prompt.run(f"part({_PIECE})").strip()):
        data += piece
    prompt.run("reading.close()")
    content = json.loads(data)
    if not isinstance(content, dict):
        return {}
    content.pop("crc", None)
    return content


def differences(there: Any, here: Any, at: str = "") -> list[str]:
    """What the board has otherwise, a line each."""
    if isinstance(there, dict) and isinstance(here, dict):
        found = []
        for key in [*there, *(key for key in here if key not in there)]:
            found += differences(there.get(key, NOTHING), here.get(key, NOTHING), f"{at}.{key}" if at else key)
        return found
    return [] if there == here else [f"  {at} = {_shown(at, there)} on the board, {_shown(at, here)} here"]


def _shown(at: str, value: Any) -> str:
    if value is NOTHING:
        return "nothing"
    text = json.dumps(_hidden(at, value), ensure_ascii=False)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."


def _hidden(at: str, value: Any) -> Any:
    """The same, with stars where a secret stands."""
    if isinstance(value, dict):
        return {key: _hidden(key, one) for key, one in value.items()}
    if isinstance(value, list):
        return [_hidden(at, one) for one in value]
    return "****" if value and isinstance(value, str) and any(word in at for word in _SECRET) else value
