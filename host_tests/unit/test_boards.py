"""Board files are complete, use pins their chip has, and merge into a site file that the firmware accepts."""

import copy
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from tools import check_site
from tools.build import boardfile, stage

SITE: dict[str, Any] = {
    "schema": 1,
    "name": "test",
    "buses": {"can0": {"type": "can", "bitrate": 250000}},
    "devices": {
        "bms": {"type": "bms_pylontech", "bus": "can0"},
        "pcs": {"type": "pcs_sunspec", "host": "192.168.1.10"},
        "io": {"type": "io_board", "estop_pin": 34, "contactor_pin": 25, "led_pin": 2},
    },
}


def test_the_boards_that_were_promised_are_there() -> None:
    promised = {"generic_esp32", "lilygo_t_can485", "lilygo_t_2can", "waveshare_esp32_s3_rs485_can"}
    assert promised <= set(boardfile.names())


@pytest.mark.parametrize("name", boardfile.names())
def test_every_board_file_is_sound_and_named_as_it_says(name: str) -> None:
    assert boardfile.load(name)["name"] == name


@pytest.mark.parametrize("name", boardfile.names())
def test_the_firmware_accepts_a_site_on_every_board(name: str) -> None:
    board = boardfile.load(name)
    merged = boardfile.site_for(board, SITE, "plant", "a secret")
    assert check_site.errors_in(merged) == []
    assert merged["buses"]["can0"]["bitrate"] == 250000  # the site's
    assert merged["buses"]["can0"]["backend"] == board["buses"]["can0"]["backend"]  # the board's
    assert merged["devices"]["io"]["contactor_pin"] == board["io"]["contactor_pin"]
    assert merged["wifi"] == {"ssid": "plant", "password": "a secret"}
    assert SITE["devices"]["io"]["estop_pin"] == 34  # what was given is left alone


@pytest.mark.parametrize("name", boardfile.names())
def test_the_firmware_accepts_every_bus_a_board_has(name: str) -> None:
    board = boardfile.load(name)
    buses = {bus: {"type": options["type"]} for bus, options in board["buses"].items()}
    assert check_site.errors_in(boardfile.site_for(board, {"schema": 1, "buses": buses})) == []


def test_a_pin_of_the_simulation_does_not_survive_on_a_board_without_one() -> None:
    merged = boardfile.site_for(boardfile.load("waveshare_esp32_s3_rs485_can"), SITE)
    assert "led_pin" not in merged["devices"]["io"]


def relays(*inputs: dict[str, Any], **given: Any) -> dict[str, Any]:
    named = {f"step {i}": {**one, "export_percent": 30 * i} for i, one in enumerate(inputs)}
    return {**SITE, "services": {"operator": {"type": "relays", "inputs": named, **given}}}


def test_the_operator_s_contacts_get_the_board_s_pins_in_their_order() -> None:
    board = boardfile.load("generic_esp32")
    merged = boardfile.site_for(board, relays({"input_pin": 1}, {"bit": 3}, {}, host="192.168.1.9"))
    made = merged["services"]["operator"]["inputs"]
    assert [one.get("input_pin") for one in made.values()] == [board["inputs"][0], None, board["inputs"][1]]
    assert check_site.errors_in(merged) == []


def test_more_contacts_than_the_board_has_pins_for_are_refused() -> None:
    with pytest.raises(boardfile.BoardError, match=r"operator\.inputs: 1 pins, lilygo_t_2can has 0 for inputs; an I/O module"):
        boardfile.site_for(boardfile.load("lilygo_t_2can"), relays({}))
    module = relays({"bit": 1}, host="192.168.1.9")
    assert boardfile.site_for(boardfile.load("lilygo_t_2can"), module)["services"] == module["services"]


def test_tls_needs_a_board_with_psram() -> None:
    site = {**SITE, "services": {"ems": {"type": "sunspec_server", "tls_port": 802}}}
    with pytest.raises(boardfile.BoardError, match=r"ems\.tls_port: TLS needs a board with PSRAM, lilygo_t_can485 has none"):
        boardfile.site_for(boardfile.load("lilygo_t_can485"), site)
    assert boardfile.site_for(boardfile.load("lilygo_t_2can"), site)["services"] == site["services"]
    site["services"]["ems"]["tls_port"] = 0
    assert boardfile.site_for(boardfile.load("lilygo_t_can485"), site)["services"] == site["services"]


def test_an_io_module_s_address_wants_the_network() -> None:
    assert "services.operator.host" in boardfile.needs_network(relays({"bit": 1}, host="192.168.1.9"))


def test_a_bus_the_board_has_not_is_refused_with_those_it_has() -> None:
    site = {**SITE, "buses": {"can7": {"type": "can"}}}
    with pytest.raises(boardfile.BoardError, match=r"buses\.can7.*lilygo_t_can485 has can0 \(can\), rs485 \(modbus_rtu\)"):
        boardfile.site_for(boardfile.load("lilygo_t_can485"), site)


def test_a_board_s_inputs_are_pins_of_their_own_that_its_chip_has() -> None:
    assert any("34" in error and "already used" in error for error in boardfile.check(changed("inputs", [34])))
    assert any("inputs[1] = 6" in error for error in boardfile.check(changed("inputs", [33, 6])))


def changed(path: str, value: Any) -> dict[str, Any]:
    """The generic board with one value changed or, for None, removed."""
    board = copy.deepcopy(boardfile.load("generic_esp32"))
    *way, last = path.split(".")
    at: Any = board
    for key in way:
        at = at[key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return board


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("io.contactor_pin", 36, "is input only on the esp32"),
        ("io.contactor_pin", 27, "already used by buses.can1.tx_pin"),
        ("buses.can1.tx_pin", 6, "its memory needs it"),
        ("buses.can1.tx_pin", 45, "the esp32 has no such pin"),
        ("buses.can1.tx_pin", None, "oneOf|is not valid|required"),
        ("io.estop_pull", "up", "has no pull resistor in the chip"),
        ("io.estop_pin", None, "'estop_pin' is a required property"),
        ("sources", [], "non-empty|too short"),
        ("chip", "esp8266", "is not one of"),
        ("psram_mb", None, "'psram_mb' is a required property"),
        ("psram_mb", 8, "ESP32_GENERIC: does not suit 8 MB of PSRAM"),
        ("images.stock", "ESP32_GENERIC-SPIRAM", "does not suit 0 MB of PSRAM"),
        ("images.stock", "ESP32_GENERIC_S3", "is for the esp32s3, the board has an esp32"),
        ("images.stock", "ESP8266_GENERIC", "is not one of"),
        ("flash_mb", 2, "BESS_ESP32: is for an esp32 with 4 MB"),
    ],
)
def test_what_cannot_be_wired_is_refused(path: str, value: Any, message: str) -> None:
    errors = boardfile.check(changed(path, value))
    assert len(errors) == 1 and re.search(message, errors[0]), errors


@pytest.mark.parametrize("pin", [33, 35, 37])
def test_pins_of_octal_psram_are_refused(pin: int) -> None:
    board = copy.deepcopy(boardfile.load("lilygo_t_2can"))
    board["io"]["contactor_pin"] = pin
    assert [error for error in boardfile.check(board) if f"contactor_pin = {pin}" in error and "its memory" in error]


WIRED: dict[str, Any] = {"buses": {"rs485": {"type": "modbus_rtu"}}, "devices": {"pcs": {"type": "pcs_sunspec", "bus": "rs485"}}}


@pytest.mark.parametrize(
    ("board", "site", "kind"),
    [
        ("lilygo_t_2can", WIRED, "psram"),
        ("lilygo_t_2can", SITE, "psram"),
        ("waveshare_esp32_s3_rs485_can", SITE, "psram"),
        ("lilygo_t_can485", WIRED, "wired"),
        ("lilygo_t_can485", {**WIRED, "clock": {"zone": "UTC0"}}, "wired"),
        ("lilygo_t_can485", {**WIRED, "clock": {"ntp": "10.0.0.1"}}, "wifi"),
        ("lilygo_t_can485", {**WIRED, "clock": {"ems_port": 502}}, "wifi"),
        ("generic_esp32", {**WIRED, "wifi": {"ssid": "plant"}}, "wifi"),
        ("generic_esp32", SITE, "wifi"),
    ],
)
def test_board_and_site_say_which_image_and_how_much_heap_there_is(board: str, site: dict[str, Any], kind: str) -> None:
    found = boardfile.kind_of(boardfile.load(board), site)
    assert found is boardfile.KINDS[kind]
    assert found.image in boardfile.load(board)["images"]
    assert found.live_bytes < found.heap_bytes
    assert found.network or not boardfile.needs_network(site)


def test_with_psram_the_image_decides_how_much_may_live() -> None:
    board = boardfile.load("lilygo_t_2can")
    assert boardfile.kind_of(board, SITE, "own") is boardfile.PSRAM_OWN
    assert boardfile.kind_of(boardfile.load("generic_esp32"), SITE, "own") is boardfile.WIFI


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("lilygo_t_2can", {"flash_mb": 8}),
        ("lilygo_t_2can", {"psram_mb": 2, "images": {"stock": "ESP32_GENERIC_S3", "own": "BESS_ESP32_S3"}}),
        ("generic_esp32", {"images": {"stock": "ESP32_GENERIC", "own": "BESS_ESP32_S3"}}),
    ],
)
def test_our_image_for_the_s3_is_refused_where_chip_flash_or_memory_are_others(name: str, changes: dict[str, Any]) -> None:
    errors = boardfile.check({**copy.deepcopy(boardfile.load(name)), **changes})
    assert errors == ["images.own = BESS_ESP32_S3: is for an esp32s3 with 16 MB of flash and octal PSRAM"]


def test_a_network_on_a_board_that_no_image_makes_fit_is_refused_by_name() -> None:
    board = copy.deepcopy(boardfile.load("lilygo_t_can485"))
    del board["images"]["own"]
    assert boardfile.kind_of(board, WIRED) is boardfile.WIRED
    with pytest.raises(boardfile.BoardError, match=r"devices\.pcs\.host: lilygo_t_can485 has no PSRAM"):
        boardfile.kind_of(board, SITE)


def test_an_unknown_board_is_refused_with_the_known_ones() -> None:
    with pytest.raises(boardfile.BoardError, match=r"BOARD=arduino.*generic_esp32"):
        boardfile.load("arduino")


def test_no_board_is_no_default_but_a_question() -> None:
    with pytest.raises(boardfile.BoardError, match=r"BOARD is missing: .*generic_esp32.*boards/README.md"):
        boardfile.load("")
    command = [sys.executable, "-m", "tools.flash", "--port", "/dev/nothing", "--firmware", "no_such.bin"]
    done = subprocess.run(command, cwd=stage.ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.startswith("BOARD is missing: ") and "generic_esp32" in done.stderr
    assert not re.search(r"^BOARD *\?= *\S", (stage.ROOT / "Makefile").read_text(), re.M)


def test_a_site_is_checked_with_the_firmwares_own_words(tmp_path: Any) -> None:
    bad = {**SITE, "power": {"max_charg_power": 50}}
    assert any("did you mean max_charge_power" in error for error in check_site.errors_in(bad))
    bad = {**SITE, "buses": {"can0": {"type": "can", "bitrate": 5}}}
    assert any("buses.can0" in error and "bitrate" in error for error in check_site.errors_in(bad))
    (tmp_path / "site.json").write_text(json.dumps(SITE)[:-5])
    _, errors = check_site.load(tmp_path / "site.json")
    assert len(errors) == 1 and "is not JSON" in errors[0]


def test_mqtt_over_tls_needs_one_too_and_mqtt_wants_the_network() -> None:
    site = {**SITE, "services": {"broker": {"type": "mqtt", "host": "192.168.1.5", "tls": True}}}
    with pytest.raises(boardfile.BoardError, match=r"broker\.tls: TLS needs a board with PSRAM, lilygo_t_can485 has none"):
        boardfile.site_for(boardfile.load("lilygo_t_can485"), site)
    assert boardfile.site_for(boardfile.load("lilygo_t_2can"), site)["services"] == site["services"]
    assert "services.broker.host" in boardfile.needs_network(site)


@pytest.mark.parametrize(
    ("service", "speaks"),
    [
        ({"type": "web"}, True), ({"type": "sunspec_server"}, True), ({"type": "sunspec_server", "port": 0, "uart": 1}, False),
        ({"type": "sunspec_server", "port": 0, "tls_port": 802}, True), ({"type": "history"}, False), ({"type": "update"}, True),
        ({"type": "no_such"}, False),
    ],
)  # fmt: skip
def test_a_service_that_listens_wants_the_network(service: dict[str, Any], speaks: bool) -> None:
    assert boardfile.needs_network({"services": {"it": service}}) == (["services.it.host"] if speaks else [])
