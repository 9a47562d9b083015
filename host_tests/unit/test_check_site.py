"""What a site file is refused for on the laptop: all that the board would refuse, in its words, and nothing is opened."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import boardfile, check_site, fits, stage

SITE: dict[str, Any] = {
    "schema": 1,
    "buses": {"can0": {"type": "can"}, "rs485": {"type": "modbus_rtu"}},
    "devices": {
        "bms": {"type": "bms_pylontech", "bus": "can0"},
        "pcs": {"type": "pcs_sunspec", "bus": "rs485"},
        "io": {"type": "io_board", "estop_pin": 34, "contactor_pin": 25},
    },
}


def site(**changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(SITE)), **changes}


def device(**options: Any) -> dict[str, Any]:
    made = site()
    made["devices"]["x"] = options
    return made


def refused(content: bytes | str, tmp_path: Path) -> str:
    """The one line that a file's text is refused with."""
    path = tmp_path / "site.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    _, errors = check_site.load(path)
    assert len(errors) == 1 and "\n" not in errors[0]
    return errors[0].removeprefix(f"{path}: ")


def test_a_good_site_is_good_before_and_after_another_was_refused() -> None:
    chip = {"machine", "network", "esp32"}
    before = chip & set(sys.modules)
    assert check_site.errors_in(SITE) == []
    assert check_site.errors_in(device(type="toaster"))
    assert check_site.errors_in(SITE) == []
    assert chip & set(sys.modules) == before, "the empty chip stays behind"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"schema": 1, "devices": {"a": {"type": "io_board"}, "a": {"type": "io_board"}}}', '"a" stands twice'),
        ('{"schema": 1,\n "schema": 1}', '"schema" stands twice'),
        ('{"schema": 1,\n "name": NaN}', "NaN is no number of JSON"),
        ('{"schema": 1,\n "name": "x",}', "is not JSON: line 2, column"),
        ("[1]", "must be a JSON object"),
        ("", "is not JSON: line 1"),
        ("[" * 100_000, "nested too deeply"),
        ('{"schema": 1, "name":\n "Süd"}'.encode("latin-1"), "is not UTF-8 text: byte 0xFC in line 2"),
        (b"\x7fELF\x02\x01\x01\xff\xfe\x00", "is not UTF-8 text: byte 0xFF in line 1"),
        ('{"schema": 1}'.encode("utf-16"), "is not UTF-8 text: byte 0xFF in line 1"),
    ],
)
def test_a_file_that_is_no_site_is_refused_with_one_clear_line(text: bytes | str, said: str, tmp_path: Path) -> None:
    assert said in refused(text, tmp_path)


def test_a_folder_and_a_missing_file_are_said(tmp_path: Path) -> None:
    assert "cannot be read" in check_site.load(tmp_path)[1][0]
    assert "cannot be read" in check_site.load(tmp_path / "none.json")[1][0]


def test_what_only_a_driver_finds_while_it_is_built_is_refused_too() -> None:
    for options, said in (
        ({"type": "pcs_sunspec"}, "devices.x: x: give either host or bus"),
        ({"type": "pcs_sunspec", "bus": "rs485", "host": "10.0.0.2"}, "devices.x: x: give either host or bus"),
        ({"type": "generic_modbus", "bus": "rs485", "table": {"reads": [{"slot": "NO_SUCH", "address": 1}]}}, "NO_SUCH"),
    ):
        errors = check_site.errors_in(device(**options))
        assert any(said in error for error in errors), (options, errors)


def test_what_a_table_says_twice_is_refused() -> None:
    """table-two-rows: on the laptop, in the board's words."""
    row = {"slot": "PV_P", "address": 1}
    table = {"reads": [row, {**row, "address": 2}], "writes": [{"value": 1, "address": 7}, {"from": "CMD_RUN", "address": 7}]}
    assert check_site.errors_in(device(type="generic_modbus", bus="rs485", table=table)) == [
        "devices.x.table.reads[1].slot = PV_P: reads[0] fills it already, one row a slot",
        "devices.x.table.writes[1]: writes register 7, as table.writes[0] does",
    ]


def test_two_ways_to_speak_to_one_host_are_refused() -> None:
    made = device(type="meter_sunspec", host="10.0.0.2", transport="rtu_over_tcp")
    made["devices"]["pcs"] = {"type": "pcs_sunspec", "host": "10.0.0.2"}
    (error,) = check_site.errors_in(made)
    assert "transport is rtu_over_tcp, another device asks 10.0.0.2:502 with tcp" in error


def test_what_the_calendar_refuses_is_refused_too_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    errors = check_site.errors_in(site(clock={"zone": "Europe/Nowhere"}, storage={"place": "data"}))
    assert len(errors) == 1 and errors[0].startswith("clock.zone") and "Nowhere" in errors[0]
    assert check_site.errors_in(site(clock={"zone": "Europe/Berlin", "ems_port": 15020}, storage={"place": "data"})) == []
    assert list(tmp_path.iterdir()) == []


def test_a_device_on_a_bus_of_the_wrong_kind_is_refused() -> None:
    errors = check_site.errors_in(device(type="bms_pylontech", bus="rs485"))
    assert len(errors) == 1 and errors[0].startswith("devices.x: ")


def test_a_table_in_a_file_is_looked_at_beside_the_site_file_and_else_left_to_the_board(tmp_path: Path) -> None:
    path = tmp_path / "site.json"
    path.write_text(json.dumps(device(type="generic_modbus", bus="rs485", table="pv.json")))
    assert check_site.load(path)[1] == []
    (tmp_path / "pv.json").write_text('{"reads": [{"slot": "NO_SUCH", "address": 1}]}')
    assert "NO_SUCH" in check_site.load(path)[1][0]


# ---- on a board --------------------------------------------------------------------------------------------------------


def test_everything_that_a_board_has_not_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.json"
    path.write_text(json.dumps(site()))
    board = boardfile.load("lilygo_t_2can")
    assert check_site.for_board(path, board, fits.STOCK)["board"]["name"] == "lilygo_t_2can"
    path.write_text(json.dumps(site(buses={"can7": {"type": "can"}}, devices={})))
    with pytest.raises(check_site.Refused, match="can7"):
        check_site.for_board(path, board, fits.STOCK)
    path.write_text(json.dumps(site(power={"min_soc": 500})))
    with pytest.raises(check_site.Refused, match="min_soc"):
        check_site.for_board(path, board, fits.STOCK)


def test_wifi_that_comes_with_the_deploy_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "site.json"
    path.write_text('{"schema": 1}')
    board = boardfile.load("lilygo_t_can485")
    figures = fits.sizes()
    core = {**figures["parts"]["core"], "object_bytes": 0}
    core["object_bytes"] = 100 * 1024 - fits.weigh(board, {}, fits.OWN, {**figures, "parts": {"core": core}}).total
    monkeypatch.setattr(fits, "sizes", lambda: {**figures, "parts": {**figures["parts"], "core": core}})
    check_site.for_board(path, board, fits.OWN)  # 100 KB: what fits a wired board
    with pytest.raises(check_site.Refused, match=r"80\.0 KB may live there"):
        check_site.for_board(path, board, fits.OWN, "plant", "secret")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.check_site", *arguments]
    return subprocess.run(command, cwd=stage.ROOT, capture_output=True, text=True, timeout=60)


def test_the_command_says_what_fits_and_refuses_with_the_figures() -> None:
    good = run("docs/site.example.json", "--board", "lilygo_t_2can")
    assert good.returncode == 0 and "good (5 devices" in good.stdout and "KB may live there" in good.stdout, good.stderr
    bad = run("docs/site.example.json", "--board", "lilygo_t_can485")
    assert bad.returncode == 1 and "KB may live there" in bad.stderr and "it would fit:" in bad.stderr
    none = run("docs/site.example.json", "--board", "no_such_board")
    assert none.returncode == 1 and "no such board" in none.stderr
    assert run("docs/site.example.json").returncode == 0
