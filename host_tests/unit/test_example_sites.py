"""The example sites are good on the boards they are for, and on those only."""

import json
from typing import Any

import pytest

from firmware.devices.generic_table import Table
from tools import check_site
from tools.build import boardfile, fits, stage

DOCS = stage.ROOT / "docs"
EXAMPLES = {  # site: the boards it is for, and how they are used
    "site.example.json": ("psram", ("lilygo_t_2can", "waveshare_esp32_s3_rs485_can")),
    "site.operator.json": ("psram_own", ("lilygo_t_2can", "waveshare_esp32_s3_rs485_can")),
    "site.t_can485.json": ("wired", ("lilygo_t_can485", "generic_esp32")),
    "site.two.json": ("psram", ("lilygo_t_2can",)),
    "site.wifi.json": ("wifi", ("lilygo_t_can485", "generic_esp32")),
}
PAIRS = [(site, kind, board) for site, (kind, boards) in EXAMPLES.items() for board in boards]


def content(name: str) -> dict[str, Any]:
    return json.loads((DOCS / name).read_text())


def test_every_example_is_named_here() -> None:
    assert {path.name for path in DOCS.glob("site*.json")} == set(EXAMPLES)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_is_good_as_it_stands(name: str) -> None:
    assert check_site.load(DOCS / name)[1] == []


@pytest.mark.parametrize(("name", "kind", "board"), PAIRS)
def test_an_example_is_good_on_every_board_it_is_for(name: str, kind: str, board: str) -> None:
    described = boardfile.load(board)
    assert check_site.errors_in(boardfile.site_for(described, content(name))) == []
    image = boardfile.KINDS[kind].image
    assert boardfile.kind_of(described, content(name), image).name == kind
    assert fits.require(described, boardfile.site_for(described, content(name)), image).fits


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_pins_of_an_example_are_those_of_its_board(name: str) -> None:
    """Its io section stands for people; a deploy replaces it with the board's."""
    own = boardfile.load(EXAMPLES[name][1][0])["io"]
    device = {key: value for key, value in content(name)["devices"]["io"].items() if key.endswith("_pin")}
    assert device == {key: own[key] for key in device}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_tables_of_an_example_are_good(name: str) -> None:
    for device in content(name)["devices"].values():
        if device["type"] == "generic_modbus":
            assert Table(device["table"], 100).blocks


def test_the_reference_example_uses_all_there_is() -> None:
    site = content("site.example.json")
    kinds = {device["type"] for device in site["devices"].values()}
    drivers = [path for path in (stage.ROOT / "firmware" / "devices").glob("*.py") if "\nclass Device" in path.read_text()]
    others = {"bms_byd", "bms_growatt"}  # its one battery is a Pylontech
    assert kinds == {path.stem for path in drivers} - others
    assert {bus["type"] for bus in site["buses"].values()} == {"can", "modbus_rtu"}
    assert "clock" in site and "storage" in site


def test_the_operators_example_is_the_full_one_with_the_services_that_only_our_own_image_carries() -> None:
    site, full = content("site.operator.json"), content("site.example.json")
    services = site.pop("services")
    assert site == full, "from files it is the same site without them"
    assert {service["type"] for service in services.values()} == {"history", "web", "mqtt", "sunspec_server"}


def test_the_wired_example_has_neither_network_nor_calendar() -> None:
    site = content("site.t_can485.json")
    assert boardfile.needs_network(site) == []
    assert "clock" not in site and "storage" not in site
    assert site["devices"]["pcs"]["bus"] == site["devices"]["meter"]["bus"] == "rs485"
