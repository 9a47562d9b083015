"""The guides say what is so: lines to type are taken, boards and pins are those of the board files, links lead somewhere."""

import re

import pytest

from firmware import Mode, PowerConfig, PowerManager, ScheduleEntry
from firmware.errors import PowerError
from firmware.services import commands, lines
from tools.build import boardfile, planned
from tools.build.stage import ROOT

PINS = (("emergency stop", "estop_pin"), ("contactor", "contactor_pin"), ("its feedback", "feedback_pin"), ("LED", "led_pin"))
GUIDES = ("docs/getting-started.md", "docs/operators-guide.md")


def typed(name: str) -> list[str]:
    """Everything between backticks that is a call of the manager."""
    return [text for text in re.findall(r"`([^`\n]+)`", (ROOT / name).read_text()) if text.startswith("pm.")]


@pytest.mark.parametrize("name", GUIDES)
def test_every_line_of_a_guide_is_one_that_the_manager_takes(name: str) -> None:
    lines = typed(name)
    assert len(lines) > 3
    names = {"pm": PowerManager(PowerConfig()), "ScheduleEntry": ScheduleEntry, "Mode": Mode}
    for line in lines:
        try:
            eval(line, names)
        except PowerError:
            pass  # not now: it is not running
    assert names["pm"].schedules() or name != GUIDES[1], "the entry of the guide is there"


def rows(name: str, first: str) -> list[list[str]]:
    """The cells of the table whose head begins with this."""
    text = (ROOT / name).read_text()
    table = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in [table[0], *table[2:]]]


def test_the_table_of_boards_names_every_board_with_its_memory_and_its_image() -> None:
    _, *found = rows("boards/README.md", "board | chip")
    assert [row[0].strip("`") for row in found] == boardfile.names()
    for row in found:
        board = boardfile.load(row[0].strip("`"))
        memory = f"{board['flash_mb']} MB, " + (f"{board['psram_mb']} MB" if board["psram_mb"] else "no")
        images = [f"`{image}`" for image in board["images"].values()]  # without PSRAM the stock one carries no site
        assert row[1:4] == [board["chip"], memory, " or ".join(images if board["psram_mb"] else images[-1:])]
        assert all((ROOT / site).exists() for site in re.findall(r"`([^`]+)`", row[4]))


def test_the_table_of_commands_has_every_command_with_its_role() -> None:
    roles = {"view": lines.VIEW, "operate": lines.OPERATE, "service": lines.SERVICE, "**none**": lines.VIEW}
    told: dict[str, int] = {}
    for cells in rows("docs/console.md", "command")[1:]:
        for text in re.findall(r"`([^`]+)`", cells[0]):
            word = text.split()[0]
            told[word] = min(told.get(word, lines.SERVICE), roles[cells[1]])
    assert told == {row[0]: row[2] for row in commands.TABLE}


def test_the_table_of_pins_is_that_of_the_board_files() -> None:
    head, *found = rows("docs/wiring.md", "signal")
    assert head[1:] == boardfile.names()
    cells = {row[0]: row[1:] for row in found}
    for at, name in enumerate(boardfile.names()):
        board = boardfile.load(name)
        for title, key in PINS:
            assert cells[title][at] == str(board["io"].get(key, "-")), (name, title)
        assert cells["grid operator's contacts"][at] == (", ".join(map(str, board.get("inputs", ()))) or "-")
        for title, bus in (("CAN `can0`: TX, RX", "can0"), ("CAN `can1`: TX, RX", "can1"), ("RS485: TX, RX, direction", "rs485")):
            there = board["buses"].get(bus)
            pins = [there[key] for key in ("tx_pin", "rx_pin", "de_pin") if key in there] if there else []
            wanted = "-" if not there else ", ".join(map(str, pins)) or "MCP2515"
            assert cells[title][at] == wanted, (name, title)


def test_every_link_between_the_documents_leads_to_a_file() -> None:
    broken = []
    for page in [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "boards").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            target = (page.parent / link).resolve()
            if not target.exists():
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


def test_tools_are_typed_with_the_python_that_has_what_they_need() -> None:
    """One form: a shell's own python has no pyserial, mpremote or pymodbus."""
    for file in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("boards/**/*.md")]:
        text = re.sub(r"<!--.*?-->", "", file.read_text(), flags=re.S)
        bare = re.findall(r"(?<![\w/])python3? -m tools\S*", text)
        assert not bare, (file.name, bare)


def test_what_the_examples_are_planned_with_is_what_check_site_says() -> None:
    text = planned.README.read_text()
    assert "| planned by `check_site --board` |" in text
    assert planned.current(text) == text, "make size ARGS=--write renews the row with the figures"
