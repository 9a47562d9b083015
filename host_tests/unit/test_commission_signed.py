"""Commissioning's report is verified as it was written, whatever is changed in it is seen, and no secret is in it."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from host_tests.unit.commission_ports import SITE, SUBJECT
from tools.commission import report
from tools.commission.outcome import PASS, Figure, Outcome, Plot, Series
from tools.commission.plots import svg
from tools.commission.steps import STEPS
from tools.commission.walk import State

DEVICES = [{"name": "bms", "type": "bms_pylontech", "where": "can0", "says": "PYLON", "given": "Force H2, serial 4711"},
           {"name": "meter", "type": "meter_sunspec", "where": "10.0.0.3:502", "says": "", "given": ""}]  # fmt: skip
FACTS = report.Facts({"export_kw": 60.0, "ems": "10.0.0.2:502"}, "A. Technician", "Storage Ltd", DEVICES)


def written(folder: Path, verdict: str = PASS, name: str = "") -> tuple[Path, Path]:
    """A report of a walk in which every step came to that; name: of the site."""
    state = State(folder / "state.json", {**SUBJECT, "site": name or SUBJECT["site"]})
    lines = [Series("p & q", [(0.0, -1.5), (1.0, 2.0)]), Series("dots", [(0.5, 1.0)], True), Series("none", [])]
    plot = Plot("a <plot>", "s", "kW", lines)
    for step in STEPS:
        figures = [Figure("a", 1.0, "kW", "at most 2", True)]
        state.put(Outcome(step.id, step.title, verdict, "text <b>", figures=figures, plots=[plot], began="now"))
    found = report.write(folder, report.content_of(state, SITE, FACTS))
    return found.copies[0], found.copies[1]


def test_a_report_is_verified_as_it_was_written(tmp_path: Path) -> None:
    for file in written(tmp_path):
        text, sound = report.verify(file)
        assert sound and "passed" in text, text


def test_no_password_is_in_a_report() -> None:
    services = {"broker": {"type": "mqtt", "user": "me", "password": "hidden"}, "ems": {"type": "sunspec_server"}, "records": False}
    shown = report.without_secrets({**SITE, "services": services})
    assert "hidden" not in str(shown) and "a secret" not in str(shown)
    assert shown["services"]["ems"] == services["ems"] and shown["services"]["broker"]["user"] == "me"


CHANGES: list[Callable[[str], str]] = [
    lambda text: text.replace("pass", "fail", 1),
    lambda text: text.replace("60.0", "61.0", 1),
    lambda text: text.replace("A. Technician", "B. Technician", 1),
    lambda text: text[:-40],
]


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_changed_in_a_report_is_seen(change: Callable[[str], str], tmp_path: Path) -> None:
    for file in written(tmp_path):
        file.write_text(change(file.read_text()))
        text, sound = report.verify(file)
        assert not sound, f"{file.name}: {text}"


def test_a_name_that_looks_like_markup_leaves_the_page_whole(tmp_path: Path) -> None:
    """In a script `<!--<script>` hides the script's own end, and with it the rest of the page."""
    page, _ = written(tmp_path, name="<!--<script> </script><b>&amp; Süd\u2028")
    text = page.read_text()
    shown, data = text.split('<script type="application/json"')
    assert "<script" not in shown and "<b>&amp;" not in shown
    assert "<!--" not in data and data.count("</script>") == 1
    said, sound = report.verify(page)
    assert sound, said


def test_what_is_no_report_is_said(tmp_path: Path) -> None:
    for name, content in (("a.json", "{}"), ("b.json", "["), ("c.html", "<p>"), ("d.json", "")):
        (tmp_path / name).write_text(content)
        assert report.verify(tmp_path / name)[1] is False
    (tmp_path / "simulated").mkdir()
    (tmp_path / "simulated" / "absent.json").write_text("{}")
    said, sound = report.verify(tmp_path / "absent.json")
    assert not sound and "there is none; of a simulated cabinet there is" in said


def test_the_page_is_whole_by_itself_escapes_what_it_shows_and_has_no_secret(tmp_path: Path) -> None:
    page, data = written(tmp_path)
    text = page.read_text()
    assert "a secret" not in text + data.read_text()
    assert not re.findall(r"(?:src|href)=[\"'](?!#)", text) and "@import" not in text and "url(" not in text
    assert "text &lt;b&gt;" in text
    for picture in re.findall(r"<svg class=.plot.*?</svg>", text, re.DOTALL):
        ET.fromstring(picture)
    for scheme in ("prefers-color-scheme:dark", "@media print"):
        assert scheme in text


@pytest.mark.parametrize("points", [[(0.0, 0.0)], [(1.0, 5.0), (2.0, 5.0)], [(0.0, -1e-9), (1e-6, 0.0)], [(0.0, 1e6), (9.0, -1e6)]])
def test_whatever_is_plotted_lies_on_the_plot(points: list[tuple[float, float]]) -> None:
    for dots in (False, True):
        picture = svg(Plot("t", "s", "kW", [Series("a", points, dots)]))
        numbers = [float(n) for n in re.findall(r'(?:x1|x2|cx|x)="([-\d.]+)"', picture)]
        assert all(-1 <= number <= 641 for number in numbers), picture
        ET.fromstring(picture)
    assert svg(Plot("t", "s", "kW", [Series("a", [])])) == ""
