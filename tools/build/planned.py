"""The row of boards/README.md that says what the examples take by the plan: `make size ARGS=--write` renews it with the figures."""

import json
import re

from tools.build import boardfile, fits
from tools.build.stage import ROOT

README = ROOT / "boards" / "README.md"
_BOARD = "lilygo_t_2can"
_ROW = re.compile(r"^\| planned by `check_site --board` \|.*$", re.M)


def _kb(file: str, image: str) -> tuple[str, str]:
    """KB of heap that a site is planned with, and how many may live there."""
    board = boardfile.load(_BOARD)
    site = boardfile.site_for(board, json.loads((ROOT / "docs" / file).read_text()))
    weight = fits.weigh(board, site, image, fits.sizes())
    return f"{weight.total / 1024:.1f}", f"{weight.limit / 1024:.0f}"


def current(text: str) -> str:
    """The README with the row as it must be."""
    example, operator = _kb("site.example.json", fits.STOCK), _kb("site.operator.json", fits.STOCK)
    own, two = _kb("site.operator.json", fits.OWN), _kb("site.two.json", fits.OWN)
    cells = (
        f"{example[0]} of {example[1]} KB (the operator's site {operator[0]})",
        f"{own[0]} of {own[1]} KB",
        f"{two[0]} of {two[1]} KB",
    )
    row = f"| planned by `check_site --board` | {' | '.join(cells)} |"
    return _ROW.sub(lambda _: row, text)


def write() -> None:
    """Renew it."""
    README.write_text(current(README.read_text()))
