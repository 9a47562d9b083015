"""limit-order: a limit is one name in limits.py; wherever it stands in the list, it binds.  Tried on a copy of the tree."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from firmware import image as im
from firmware.limits import NAMES
from host_tests import kernels
from host_tests.both.plant import Plant
from tools.build import slots

ROOT = Path(__file__).resolve().parents[2]
LIMIT_KERNELS = ("soc_row", "temperature_row", "headroom", "current_rows", "gate_rows", "device_rows", "grid_rows", "binding")
LAST = '    "banks",  # what several banks give together, each inside its own limits\n'
ROW = '    "transformer",  # what the site\'s transformer carries\n'


def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """A tree whose limit list has been edited."""
    shutil.copytree(ROOT / "firmware", tmp_path / "firmware")
    file = tmp_path / "firmware" / "limits.py"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    monkeypatch.setattr(slots, "ROOT", tmp_path)


def made() -> Any:
    assert slots.main([]) == 0
    return kernels.checked()


@pytest.mark.parametrize("place", [0, 7, 14, 16])
@pytest.mark.parametrize("chg", [0, 1])
def test_limit_order_a_row_binds_wherever_it_stands(
    place: int, chg: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == len(NAMES):
        copy(tmp_path, monkeypatch, LAST, LAST + ROW)
    else:
        before = f'    "{NAMES[place]}",'
        copy(tmp_path, monkeypatch, before, ROW + before)
    made_anew = made()
    plant = Plant().ready()
    now, par = plant.now[:], plant.image.par[:]
    row = (im.LIMIT_ROWS_CHG if chg else im.LIMIT_ROWS_DIS) + place
    for rows in (im.LIMIT_ROWS_DIS, im.LIMIT_ROWS_CHG):
        now[rows + len(NAMES)] = im.FREE  # "banks" has moved there: one bank writes nothing into it
    bound = []
    for watts in (im.FREE, 100001, 99999, 12345, 0):
        now[row] = watts
        for name in LIMIT_KERNELS:
            getattr(made_anew, name)(now, par)
        assert now[row] == watts, "nobody else writes it"
        bound.append((now[im.LIMIT_DIS + chg], now[im.WHY_DIS + chg] == place))
    assert bound == [(100000, False), (100000, False), (99999, True), (12345, True), (0, True)]


def test_limit_order_more_rows_than_there_is_space_for_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy(tmp_path, monkeypatch, LAST, LAST + "".join(ROW.replace("transformer", f"feeder_{i}") for i in range(9)))
    assert slots.main([]) == 1
    assert f"{len(NAMES) + 9} rows" in capsys.readouterr().out
