"""Whether a site fits a board: the figures of its parts, added up once each, against what the board has."""

import copy
import json
from typing import Any

import pytest

from tools.build import boardfile, fits, stage

KB = 1024
# figures of our own, so that what is expected can be added up by hand
MODULE = {"code_bytes": 600, "name_bytes": 300, "object_bytes": 100, "constant_bytes": 40, "names": 10}


def made(size: int) -> dict[str, int]:
    """What a part makes, as much from files as in an image of our own."""
    return {"object_bytes": size, "own_bytes": size}


FIGURES: dict[str, Any] = {
    "modules": dict.fromkeys(("core", "client", "tcp", "pcs", "meter", "timeline"), MODULE),
    "parts": {
        "core": {"modules": ["core"], **made(20 * KB), "names": 200},
        "bus can": {"modules": [], **made(2 * KB), "names": 0},
        "bus modbus_rtu": {"modules": ["client"], **made(1 * KB), "names": 0},
        "device io_board": {"modules": [], **made(0), "names": 0},
        "device pcs_sunspec, TCP": {"modules": ["client", "tcp", "pcs"], **made(3 * KB), "names": 5},
        "device meter_sunspec, TCP": {"modules": ["client", "tcp", "meter"], **made(40 * KB), "names": 0},
        "device meter_sunspec": {"modules": ["client", "meter"], **made(40 * KB), "names": 0},
        "wifi": {"modules": [], **made(500), "names": 0},
        "calendar": {"modules": ["timeline"], **made(4 * KB), "names": 0},
        "schedules": {"modules": [], **made(400), "names": 0},
        "clock.ntp": {"modules": [], **made(100), "names": 0},
    },
}
T_CAN485 = boardfile.load("lilygo_t_can485")
S3 = boardfile.load("lilygo_t_2can")


def tcp(kind: str) -> dict[str, Any]:
    return {"type": kind, "host": "10.0.0.2"}


def rows(board: dict[str, Any], site: dict[str, Any], image: str = fits.STOCK) -> dict[str, int]:
    return {name: size for name, _, size in fits.weigh(board, site, image, FIGURES).rows}


def test_a_module_counts_once_whoever_needs_it() -> None:
    site = {"devices": {"a": tcp("pcs_sunspec"), "b": tcp("pcs_sunspec"), "m": tcp("meter_sunspec")}}
    got = rows(S3, site)
    assert got["core"] == 20 * KB + 1000
    assert got["devices.a"] == 3 * KB + 3 * 1000
    assert got["devices.b"] == 3 * KB, "the second brings its objects only"
    assert got["devices.m"] == 40 * KB + 1000, "the client is there already"


def test_in_an_image_of_our_own_code_names_and_constants_take_no_heap() -> None:
    site = {"devices": {"a": tcp("pcs_sunspec")}}
    stock, own = rows(T_CAN485, site), rows(T_CAN485, site, fits.OWN)
    assert stock["devices.a"] - own["devices.a"] == 3 * (900 + 40)
    assert "245 names" in stock and f"{fits.OWN_NAMES} names" in own
    assert "callbacks" in own, "what is registered counts where every KB does"


def test_what_a_part_makes_is_measured_for_each_image() -> None:
    figures = copy.deepcopy(FIGURES)
    figures["parts"]["core"]["own_bytes"] = 15 * KB
    weights = [fits.weigh(T_CAN485, {}, image, figures).rows[0] for image in fits.IMAGES]
    assert [size for _, _, size in weights] == [20 * KB + 1000, 15 * KB + 60]


def test_names_are_kept_in_pools_that_double() -> None:
    assert fits.pool_bytes(0) == 0
    assert fits.pool_bytes(20) == 176
    assert fits.pool_bytes(21) == fits.pool_bytes(60) == 176 + 304
    assert fits.pool_bytes(1261) - fits.pool_bytes(1260) == 8992, "the 9 KB in one piece"


def test_without_psram_a_radio_leaves_less() -> None:
    wired = {"buses": {"rs485": {"type": "modbus_rtu"}}, "devices": {"m": {"type": "meter_sunspec", "bus": "rs485"}}}
    assert fits.limit(T_CAN485, wired, fits.OWN) == boardfile.WIRED.live_bytes
    assert fits.limit(T_CAN485, {"devices": {"m": tcp("meter_sunspec")}}, fits.OWN) == boardfile.WIFI.live_bytes
    assert fits.limit(S3, {"devices": {"m": tcp("meter_sunspec")}}, fits.STOCK) == boardfile.PSRAM.live_bytes
    assert fits.limit(S3, {"devices": {"m": tcp("meter_sunspec")}}, fits.OWN) == boardfile.PSRAM_OWN.live_bytes


def test_what_fits_is_let_through_and_one_byte_more_is_not() -> None:
    site = {"devices": {"a": tcp("pcs_sunspec")}}
    figures = copy.deepcopy(FIGURES)
    spare = boardfile.WIFI.live_bytes - fits.require(T_CAN485, site, fits.STOCK, figures).total
    figures["parts"]["core"]["object_bytes"] += spare
    assert fits.require(T_CAN485, site, fits.STOCK, figures).total == boardfile.WIFI.live_bytes
    figures["parts"]["core"]["object_bytes"] += 1
    with pytest.raises(fits.TooBig):
        fits.require(T_CAN485, site, fits.STOCK, figures)


def test_a_refusal_has_every_part_the_sums_and_where_it_would_fit() -> None:
    site = {
        "buses": {"can0": {"type": "can"}},
        "devices": {"a": tcp("pcs_sunspec"), "m": tcp("meter_sunspec"), "n": tcp("meter_sunspec")},
        "wifi": {"ssid": "plant"},
        "clock": {"zone": "UTC0"},
    }
    with pytest.raises(fits.TooBig) as refused:
        fits.require(T_CAN485, site, fits.STOCK, FIGURES)
    told = str(refused.value)
    weight = fits.weigh(T_CAN485, site, fits.STOCK, FIGURES)
    assert f"needs {weight.total / KB:.1f} KB" in told and "92.0 KB may live there" in told
    for name, _, size in weight.rows:
        assert any(name in line and f"{size / KB:.1f} KB" in line for line in told.splitlines()), name
    assert sum(size for _, _, size in weight.rows) == weight.total
    assert "wifi, devices.a.host" in told, "why there is so little"
    assert "lilygo_t_2can (ESP32_GENERIC_S3-SPIRAM_OCT)" in told.split("it would fit:")[1]
    assert "lilygo_t_can485" not in told.split("it would fit:")[1]


def test_an_image_a_board_has_not_is_refused_with_those_it_has() -> None:
    without = {**S3, "images": {"stock": S3["images"]["stock"]}}
    with pytest.raises(fits.TooBig, match="lilygo_t_2can has stock"):
        fits.require(without, {}, fits.OWN, FIGURES)


def test_a_part_that_was_never_weighed_is_an_error_and_not_free() -> None:
    with pytest.raises(KeyError, match="device toaster: was never weighed"):
        fits.weigh(S3, {"devices": {"x": {"type": "toaster", "bus": "can0"}}}, fits.STOCK, FIGURES)


# ---- the figures that are kept -----------------------------------------------------------------------------------------


def example() -> dict[str, Any]:
    return json.loads((stage.ROOT / "docs" / "site.example.json").read_text())


def test_every_driver_and_bus_has_been_weighed() -> None:
    drivers = [path.stem for path in (stage.ROOT / "firmware" / "devices").glob("*.py") if "\nclass Device:" in path.read_text()]
    parts = fits.sizes()["parts"]
    assert {f"device {name}" for name in drivers} <= set(parts)
    assert {"core", "bus can", "bus modbus_rtu", "wifi", "calendar", "backend twai", "backend mcp2515"} <= set(parts)


def test_what_only_some_tables_and_hosts_need_is_weighed_with_those() -> None:
    reads, device = {"reads": [{"slot": "PV_P", "address": 1}]}, {"type": "generic_modbus", "host": "10.0.0.2"}
    weights = {}
    for name, changes in (
        ("reads", {"table": reads}),
        ("writes", {"table": {**reads, "writes": [{"value": 1, "address": 2}]}}),
        ("file", {"table": "acme.json"}),
        ("gateway", {"table": reads, "transport": "rtu_over_tcp"}),
    ):
        site = {"devices": {"a": {**device, **changes}}}
        weights[name] = fits.weigh(S3, site, fits.STOCK, fits.sizes()).total
    assert weights["reads"] < weights["gateway"] < weights["writes"] == weights["file"], "what is in a file cannot be seen"


def test_every_part_costs_something_and_names_modules_that_are_there() -> None:
    figures = fits.sizes()
    for part, row in figures["parts"].items():
        assert set(row["modules"]) <= set(figures["modules"]), part
        size = row["object_bytes"] + sum(fits.file_bytes(figures["modules"][name]) for name in row["modules"])
        assert size > 0, part


def test_the_full_example_is_for_the_boards_with_psram_and_refused_on_a_stock_esp32_with_wifi() -> None:
    assert fits.require(S3, boardfile.site_for(S3, example()), fits.STOCK).fits
    with pytest.raises(fits.TooBig) as refused:
        fits.require(T_CAN485, boardfile.site_for(T_CAN485, example()), fits.STOCK)
    for words in ("core", "devices.pcs", "device pcs_sunspec, TCP", "clock, storage", "names", "lilygo_t_2can"):
        assert words in str(refused.value)


def test_the_full_example_is_refused_in_our_own_image_with_wifi_and_the_figures_say_why() -> None:
    board = boardfile.load("generic_esp32")
    with pytest.raises(fits.TooBig) as refused:
        fits.require(board, boardfile.site_for(board, example()), fits.OWN)
    told = str(refused.value)
    needs = float(told.split("needs ")[1].split(" KB")[0])
    assert 95 < needs < 112, "it lives at 101 KB there"
    assert "92.0 KB may live there" in told and "lilygo_t_2can" in told
    for words in ("core", "devices.pcs", "clock, storage", "4 schedules", "devices.pv"):
        assert words in told


def test_the_wifi_example_has_no_space_for_a_calendar() -> None:
    site = json.loads((stage.ROOT / "docs" / "site.wifi.json").read_text())
    with pytest.raises(fits.TooBig, match="clock, storage"):
        fits.require(T_CAN485, boardfile.site_for(T_CAN485, {**site, "clock": {"zone": "Europe/Berlin"}}), fits.OWN)


@pytest.mark.parametrize(("file", "name", "image"), fits.SHIPPED)
def test_a_shipped_site_fits_the_board_and_image_it_is_for(file: str, name: str, image: str) -> None:
    board = boardfile.load(name)
    site = boardfile.site_for(board, json.loads((stage.ROOT / "docs" / file).read_text()))
    assert fits.require(board, site, image).fits
    assert boardfile.kind_of(board, site, image).image == image


def test_from_files_not_even_the_wired_example_fits_without_psram() -> None:
    site = json.loads((stage.ROOT / "docs" / "site.t_can485.json").read_text())
    with pytest.raises(fits.TooBig, match=r"it would fit:\n(.*\n)*.*lilygo_t_can485 \(BESS_ESP32\)"):
        fits.require(T_CAN485, boardfile.site_for(T_CAN485, site), fits.STOCK)


def test_the_operators_example_is_refused_from_files_and_told_that_our_own_image_carries_it() -> None:
    site = boardfile.site_for(S3, json.loads((stage.ROOT / "docs" / "site.operator.json").read_text()))
    with pytest.raises(fits.TooBig) as refused:
        fits.require(S3, site, fits.STOCK)
    own = fits.weigh(S3, site, fits.OWN, fits.sizes())
    assert f"  {own.head()}" in str(refused.value).split("it would fit:")[1].splitlines()
    assert own.head().startswith("lilygo_t_2can (BESS_ESP32_S3): ")
    assert "--image own" in str(refused.value)


def test_the_core_alone_fits_every_board_on_its_best_image() -> None:
    for name in boardfile.names():
        board = boardfile.load(name)
        assert fits.require(board, {"schema": 1}, fits.images(board)[-1]).fits


def test_the_full_example_with_an_ems_s_server_fits_a_board_with_psram_and_the_wifi_example_with_one_none_without() -> None:
    site = {**example(), "services": {"ems": {"type": "sunspec_server"}}}
    assert fits.require(S3, boardfile.site_for(S3, site), fits.STOCK).fits
    small = json.loads((stage.ROOT / "docs" / "site.wifi.json").read_text())
    small["services"] = {"ems": {"type": "sunspec_server"}}
    board = boardfile.load("generic_esp32")
    with pytest.raises(fits.TooBig, match=r"services\.ems"):
        fits.require(board, boardfile.site_for(board, small), fits.OWN)


def test_a_service_with_inputs_on_the_network_counts_as_one_and_with_its_own_pins_as_another() -> None:
    weighed = copy.deepcopy(FIGURES)
    weighed["parts"]["service relays"] = {"modules": [], **made(2 * KB), "names": 0}
    weighed["parts"]["service relays, TCP"] = {"modules": ["client", "tcp"], **made(3 * KB), "names": 0}
    for relays, size in (({}, 2 * KB), ({"host": "10.0.0.9"}, 3 * KB + 2 * 60)):
        site = {"services": {"operator": {"type": "relays", **relays}}}
        found = {name: size for name, _, size in fits.weigh(T_CAN485, site, fits.OWN, weighed).rows}
        assert found["services.operator"] == size


def test_a_service_that_was_weighed_counts_as_it_was_and_another_as_it_declares() -> None:
    site = {"services": {"ems": {"type": "sunspec_server"}}}
    declared = fits.declared_bytes("sunspec_server"), fits.declared_bytes("sunspec_server", fits.OWN)
    assert rows(T_CAN485, site)["services.ems"] == declared[0]
    assert rows(T_CAN485, site, fits.OWN)["services.ems"] == declared[1] < declared[0]
    weighed = copy.deepcopy(FIGURES)
    weighed["parts"]["service sunspec_server"] = {"modules": ["tcp"], **made(5 * KB), "names": 0}
    found = {name: size for name, _, size in fits.weigh(T_CAN485, site, fits.OWN, weighed).rows}
    assert found["services.ems"] == 5 * KB + 60
