"""What a site file is refused for on the laptop: all that the board would refuse, in its words, and nothing is opened."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools import check_site
from tools.build import boardfile, fits, stage

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


@pytest.mark.parametrize("section", ["buses", "devices", "services"])
def test_a_name_that_is_no_line_of_people_is_refused_here_and_not_by_a_board_that_does_not_start(section: str) -> None:
    """Relays called by 70 characters were good here, and on the board their limit had no owner: nothing was built."""
    about = {"buses": {"type": "can"}, "devices": {"type": "io_board"}, "services": {"type": "relays", "inputs": {}}}[section]
    for name, shown in (("o" * 65, "'ooo"), ("", "''"), ("a\nb", "'a\\nb'")):
        made = site()
        made.setdefault(section, {})[name] = about
        said = [error for error in check_site.errors_in(made) if error.startswith(f"{section}: the name {shown}")]
        assert len(said) == 1 and said[0].endswith("must have 1 to 64 characters, of one line"), name
    made = site()
    made.setdefault(section, {})["Anlage Süd " * 5] = about
    assert not any("the name" in error for error in check_site.errors_in(made))


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
        ('{"schema": 1}'.encode("utf-8-sig"), "begins with a byte order mark; save it as UTF-8 without one"),
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


def wired(name: str, **options: Any) -> dict[str, Any]:
    """The good site with one device in another's place."""
    made = site()
    made["devices"][name] = options
    return made


def generic(*rows: dict[str, Any], writes: tuple[dict[str, Any], ...] = (), **options: Any) -> dict[str, Any]:
    table = {"reads": [{"address": n, **row} for n, row in enumerate(rows)], "writes": list(writes)}
    return {"type": "generic_modbus", "bus": "rs485", "table": table, **options}


REFUSED: list[tuple[dict[str, Any], str]] = [
    (wired("pcs", type="pcs_sunspec"), "devices.pcs: host = '', bus = '': give either host or bus"),
    (wired("pcs", type="pcs_sunspec", bus="rs485", host="10.0.0.2"), "devices.pcs: host = '10.0.0.2', bus = 'rs485': give either"),
    (wired("pcs", type="pcs_sunspec", bus="can0"), "devices.pcs.bus = 'can0': is of the type can, this device needs modbus_rtu"),
    (wired("bms", type="bms_pylontech", bus="rs485"), "devices.bms.bus = 'rs485': is of the type modbus_rtu, this device"),
    (wired("pcs", type="pcs_sunspec", bus="rs486"), "devices.pcs.bus = 'rs486': the buses of this site are can0, rs485"),
    (wired("io", type="io_board", estop_pin=34, estop_pull="down"), "devices.io.estop_pull: 'down' would hide a broken wire"),
    (wired("io", type="io_board", estop_pin=34, contactor_pin=34), "pin 34 has two owners"),
    (wired("x", **generic({"slot": "NO_SUCH"})), "devices.x.table.reads[0].slot = 'NO_SUCH': no such input"),
    (wired("x", **generic({"slot": "PV_P", "type": "int17"})), "devices.x.table.reads[0].type = 'int17': allowed are"),
    (site(clock={"zone": "Mars/Base"}), "Mars/Base"),
    (
        site(services={"ems": {"type": "sunspec_server", "uart": 1}}),
        "services.ems.uart = 1: buses.rs485 has this UART, and a line of the EMS needs one of its own; free of 1 and 2: 2",
    ),
    (
        site(services={"ems": {"type": "sunspec_server", "port": 802, "tls_port": 802}}),
        "services.ems.tls_port = 802: is its port too",
    ),
    (site(wifi={"ssid": "plant", "password": "secret"}), "wifi.password: has 6 characters; allowed are 8 to 63, or none: open"),
    # one-group-two-writers: one owner for each group of values, and for the command
    (wired("pcs2", type="pcs_sunspec", host="10.0.0.2"), "devices.pcs2: inverter is what devices.pcs has already"),
    (wired("pcs2", type="pcs_sunspec", host="10.0.0.2"), "devices.pcs2: the power command is what devices.pcs has already"),
    (wired("bms2", type="bms_pylontech", bus="can0", address=1), "devices.bms2: battery limits is what devices.bms has already"),
    (wired("io2", type="io_board", estop_pin=33), "devices.io2: board inputs is what devices.io has already"),
    (wired("x", **generic({"slot": "PCS_TEMP"})), "devices.x: inverter is what devices.pcs has already"),
    (wired("x", **generic({"slot": "CELL_T_MAX"}, unit=9)), "devices.x: cell temperatures is what devices.bms has already"),
    (
        wired("x", **generic({"slot": "PV_P"}, writes=({"from": "CMD_P", "address": 9, "type": "int32"},))),
        "devices.x: the power command is what devices.pcs has already",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("content", "said"), REFUSED, ids=[f"{n}-{said[:40]}" for n, (_, said) in enumerate(REFUSED)])
def test_what_a_board_would_refuse_is_refused_here_in_its_words(content: dict[str, Any], said: str) -> None:
    errors = check_site.errors_in(content)
    assert any(said in error for error in errors), errors


def test_a_line_of_the_ems_has_a_uart_of_its_own() -> None:
    assert check_site.errors_in(site(services={"ems": {"type": "sunspec_server", "uart": 2}})) == []


def test_two_meters_are_refused_and_a_meter_with_a_pv_device_is_not() -> None:
    meters = site()
    meters["devices"].update(m1={"type": "meter_sunspec", "host": "10.0.0.3"}, pv=generic({"slot": "PV_P"}))
    assert check_site.errors_in(meters) == []
    meters["devices"]["m2"] = generic({"slot": "METER_P"}, unit=7)
    errors = check_site.errors_in(meters)
    assert errors == ["devices.m2: meter is what devices.m1 has already; one device only"]


@pytest.mark.parametrize(
    "host",
    ["http://192.168.1.20", "192.168.1.300", "192.168.1.20 ", "192.168.1", "192.168.1.2.3", "inverter.local", "1.2.3.²", "1..2.3"],
)
def test_a_host_is_an_ipv4_address(host: str) -> None:
    """The site was good, and its inverter was never found."""
    errors = check_site.errors_in(device(type="meter_sunspec", host=host))
    assert errors == [f"devices.x.host = {host!r}: must be an IPv4 address, as 192.168.1.20"]
    errors = check_site.errors_in(services(r={"type": "relays", "inputs": {"a": {"bit": 1, "import_kw": 4}}, "host": host}))
    assert errors == [f"services.r.host = {host!r}: must be an IPv4 address, as 192.168.1.20"]
    assert check_site.errors_in(device(type="meter_sunspec", host="192.168.1.20")) == []


def test_a_site_that_only_meters_is_good_and_an_empty_one_is_not_said_to_need_more(tmp_path: Path) -> None:
    path = tmp_path / "site.json"
    path.write_text('{"schema": 1, "devices": {"m": {"type": "meter_sunspec", "host": "192.168.1.20"}}}')
    assert check_site.load(path)[1] == []
    assert refused('{"schema": 1}', tmp_path) == "devices: is empty: there is nothing to measure or to control"


def test_a_site_with_nothing_to_control_is_refused_when_it_is_to_go_on_a_board(tmp_path: Path) -> None:
    made: tuple[Any, ...] = ("5", 5, [])
    for content in made:
        assert len(check_site._nothing_to_do(content, tmp_path)) == 1, "what it is not is said once"
    assert "devices: is empty" in refused('{"schema": 1}', tmp_path)
    assert "devices: is empty" in refused('{"schema": 1, "devices": {}, "power": {"max_soc": 80}}', tmp_path)


TABLE: dict[str, Any] = {"reads": [{"slot": "METER_P", "address": 52, "type": "float32", "function": 4}]}
WATTS_ONLY: dict[str, Any] = {"type": "generic_modbus", "bus": "rs485", "unit": 4, "table": TABLE}
VOLTS: dict[str, Any] = {"slot": "METER_V", "address": 60, "type": "uint16"}


@pytest.mark.parametrize(
    ("meter", "good"),
    [
        (None, False),
        (WATTS_ONLY, False),
        ({**WATTS_ONLY, "table": {"reads": [*TABLE["reads"], VOLTS]}}, True),
        ({"type": "meter_sunspec", "bus": "rs485", "unit": 2}, True),
    ],
)
@pytest.mark.parametrize("kind", ["BACKUP", "ISOLATED", "INTERACTIVE"])
def test_a_backup_that_nobody_could_tell_of_the_grid_is_refused(
    meter: dict[str, Any] | None, good: bool, kind: str, tmp_path: Path
) -> None:
    made = site(power={"grid_connection": kind})
    made["devices"]["pcs"]["dialect"] = "older"
    if meter:
        made["devices"]["meter"] = meter
    if good or kind != "BACKUP":
        path = tmp_path / "site.json"
        path.write_text(json.dumps(made))
        assert check_site.load(path)[1] == []
        return
    assert "BACKUP: no device says whether the grid is there" in refused(json.dumps(made), tmp_path)
    del made["devices"]["pcs"]["dialect"]  # of 701, as far as is known
    (tmp_path / "site.json").write_text(json.dumps(made))
    assert check_site.load(tmp_path / "site.json")[1] == []


def test_everything_is_listed_at_once_whichever_step_would_find_it(tmp_path: Path) -> None:
    bad = site(
        power={"grid_connection": "INTERACTIV", "module_count": "13", "foo": 1},
        clock={"zone": "Mars/Base"},
        wifi={"ssid": "plant", "password": "short"},
    )
    bad["buses"]["can0"]["bitrate"] = 7
    bad["devices"].update(
        n=5,
        pcs={"type": "pcs_sunspec", "bus": "can0"},
        io={"type": "io_board", "estop_pin": 34, "estop_pull": "down"},
        t={"type": "generic_modbus", "bus": "rs485", "table": "missing.json"},
        u={"type": "toaster"},
    )
    errors = check_site.errors_in(bad, tmp_path)
    for said in (
        "INTERACTIV", "power.module_count = '13'", "power.foo: no such key", "Mars/Base", "wifi.password", "buses.can0.bitrate = 7",
        "devices.n = 5: must be an object", "devices.pcs.bus", "estop_pull", "devices.t.table = 'missing.json'", "toaster",
    ):  # fmt: skip
        assert len([error for error in errors if said in error]) == 1, (said, errors)


@pytest.fixture
def drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files are drivers too."""
    import firmware.devices

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(firmware.devices, "__path__", [*firmware.devices.__path__, str(tmp_path)])
    yield tmp_path
    sys.modules.pop("firmware.devices.bms_acme", None)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_thing\n", "its driver cannot be loaded: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("from firmware import Toast\n", "its driver cannot be loaded: ImportError: cannot import name 'Toast'"),
        ("def f(:\n", "its driver cannot be loaded: SyntaxError"),
        ("1 / 0\n", "its driver cannot be loaded: ZeroDivisionError"),
        ("OPTIONS = ()\n", "firmware/devices/bms_acme.py is no driver: it has no Device"),
        ("class Device:\n    pass\n", "firmware/devices/bms_acme.py is no driver: it has no OPTIONS"),
        ("OPTIONS = ()\nclass Device:\n    def __init__(self, *a):\n        self.x = a.y\n", "AttributeError"),
    ],
)
def test_a_driver_of_ones_own_that_does_not_work_is_said_with_what_is_wrong_in_it(source: str, said: str, drivers: Path) -> None:
    (drivers / "bms_acme.py").write_text(source)
    errors = check_site.errors_in(wired("bms", type="bms_acme"))
    assert len(errors) == 1 and errors[0].startswith("devices.bms") and said in errors[0], errors


def test_a_driver_of_ones_own_that_was_never_weighed_can_go_on_a_board(
    drivers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (drivers / "bms_acme.py").write_text("OPTIONS = ()\nclass Device:\n    def __init__(self, *_):\n        pass\n")
    path = tmp_path / "site.json"
    path.write_text(json.dumps(wired("bms", type="bms_acme")))
    assert check_site.for_board(path, boardfile.load("lilygo_t_2can"), fits.STOCK)["devices"]["bms"] == {"type": "bms_acme"}
    assert "device bms_acme: was never weighed" in capsys.readouterr().err


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
    assert len(errors) == 1 and errors[0].startswith("devices.x.bus = 'rs485'")


def test_a_table_in_a_file_must_lie_beside_the_site_file_and_is_checked_there(tmp_path: Path) -> None:
    path = tmp_path / "site.json"
    path.write_text(json.dumps(device(type="generic_modbus", bus="rs485", table="pv.json")))
    said = "devices.x.table = 'pv.json': cannot be read beside the site file (No such file or directory)"
    assert check_site.load(path)[1] == [said]
    for text, said in (
        ('{"reads": [{"slot": "NO_SUCH", "address": 1}]}', "NO_SUCH"),
        ('{"reads": [{"slot": "PCS_P", "address": 1}]}', "devices.x: inverter is what devices.pcs has already"),
        ('{"reads": ', "pv.json': is not JSON: line 1"),
        ('{"reads": [], "reads": []}', "stands twice"),
    ):
        (tmp_path / "pv.json").write_text(text)
        errors = check_site.load(path)[1]
        assert len(errors) == 1 and said in errors[0], errors
    (tmp_path / "pv.json").write_text('{"reads": [{"slot": "PV_P", "address": 1}]}')
    assert check_site.load(path)[1] == []


def test_a_table_that_the_project_brings_is_found_from_any_site_and_one_beside_the_site_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, folder = tmp_path / "project", tmp_path / "mine"
    for place, slot in ((project, "PV_P"), (folder, "NO_SUCH")):
        (place / "tables").mkdir(parents=True)
        (place / "tables" / "acme.json").write_text(json.dumps({"reads": [{"slot": slot, "address": 1}]}))
    monkeypatch.setattr(stage, "ROOT", project)
    content = device(type="generic_modbus", bus="rs485", table="tables/acme.json")
    assert check_site.errors_in(content, tmp_path) == []
    assert "NO_SUCH" in check_site.errors_in(content, folder)[0]
    content["devices"]["x"]["table"] = "acme.json"
    assert "cannot be read beside the site file" in check_site.errors_in(content, tmp_path)[0], "only tables/ is looked into"


def test_what_a_table_says_of_itself_does_not_go_on_the_board(tmp_path: Path) -> None:
    table = {"name": "Acme", "reads": [{"slot": "PV_P", "address": 1}], "writes": []}
    (tmp_path / "acme.json").write_text(json.dumps({**table, "about": ["long", "words"]}, indent=2))
    assert check_site.table_for_board("acme.json", tmp_path) == json.dumps(table, separators=(",", ":"))


@pytest.mark.parametrize("name", ["../x.json", "/tmp/x.json", "boot.py", "firmware/manager.py", "lib/x.json", "site.json", "", "."])
def test_a_table_may_not_take_another_files_place(name: str, tmp_path: Path) -> None:
    errors = check_site.errors_in(device(type="generic_modbus", bus="rs485", table=name), tmp_path)
    assert len(errors) == 1 and errors[0].startswith(f"devices.x.table = {name!r}: must be a file name"), errors


# ---- on a board --------------------------------------------------------------------------------------------------------


def test_everything_that_a_board_has_not_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.json"
    path.write_text(json.dumps(site()))
    board = boardfile.load("lilygo_t_2can")
    assert check_site.for_board(path, board, fits.STOCK)["board"]["name"] == "lilygo_t_2can"
    path.write_text(json.dumps(site(buses={"can7": {"type": "can"}}, devices={"io": SITE["devices"]["io"]})))
    with pytest.raises(check_site.Refused, match="can7"):
        check_site.for_board(path, board, fits.STOCK)
    path.write_text(json.dumps(site(power={"min_soc": 500})))
    with pytest.raises(check_site.Refused, match="min_soc"):
        check_site.for_board(path, board, fits.STOCK)


def test_wifi_that_comes_with_the_deploy_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "site.json"
    content = {"schema": 1, "devices": {"io": {"type": "io_board", "estop_pin": 34}}}
    path.write_text(json.dumps(content))
    board = boardfile.load("lilygo_t_can485")
    figures = fits.sizes()
    core = {**figures["parts"]["core"], "own_bytes": 0}
    light = {**figures, "parts": {**figures["parts"], "core": core}}
    core["own_bytes"] = 100 * 1024 - fits.weigh(board, content, fits.OWN, light).total
    monkeypatch.setattr(fits, "sizes", lambda: {**figures, "parts": {**figures["parts"], "core": core}})
    check_site.for_board(path, board, fits.OWN)  # 100 KB: what fits a wired board
    with pytest.raises(check_site.Refused, match=r"92\.0 KB may live there"):
        check_site.for_board(path, board, fits.OWN, "plant", "a secret")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.check_site", *arguments]
    return subprocess.run(command, cwd=stage.ROOT, capture_output=True, text=True, timeout=60)


def test_the_command_says_what_fits_and_refuses_with_the_figures() -> None:
    good = run("docs/site.example.json", "--board", "lilygo_t_2can")
    assert good.returncode == 0 and "good (5 devices" in good.stdout and "KB may live there" in good.stdout, good.stderr
    bad = run("docs/site.example.json", "--board", "lilygo_t_can485")
    assert bad.returncode == 1 and "KB may live there" in bad.stderr and "it would fit:" in bad.stderr
    small = run("docs/site.example.json", "--board", "generic_esp32", "--image", "own")
    assert small.returncode == 1 and "KB of heap, 92.0 KB may live there" in small.stderr and "4 schedules" in small.stderr
    fitting = run("docs/site.wifi.json", "--board", "generic_esp32", "--image", "own")
    assert fitting.returncode == 0 and "92.0 KB may live there" in fitting.stdout, fitting.stderr
    none = run("docs/site.example.json", "--board", "no_such_board")
    assert none.returncode == 1 and "no such board" in none.stderr
    assert run("docs/site.example.json").returncode == 0


def services(**given: Any) -> dict[str, Any]:
    return site(services=given)


def test_services_that_a_site_has_by_itself_can_be_named_or_switched_off() -> None:
    assert check_site.errors_in({**site(clock={"zone": "UTC0"}), "services": {"records": False}}) == []
    assert check_site.errors_in(services(when={"type": "calendar", "zone": "Europe/Berlin"}, log={"type": "records"})) == []
    assert check_site.errors_in(services(records=False, ems_clock=False)) == []
    assert check_site.errors_in({**site(clock={"ems_port": 1502}), "services": {"ems_clock": False}}) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"console": False}, "services.console = false: every site has it"),
        ({"emergency_memory": False}, "services.emergency_memory = false: every site has it"),
        ({"x": False}, "services.x = False: must be an object"),
        ({"x": 5}, "services.x = 5: must be an object"),
        ({"bms": {"type": "calendar"}}, "services.bms: devices.bms has the name already"),
        ({"x": {}}, "services.x.type = None: there is no such service in firmware/services"),
        ({"log": {"type": "records"}}, "services.log: needs calendar, which this site has not"),
        ({"e": {"type": "ems_clock"}}, "services.e: needs calendar, which this site has not"),
        ({"a": {"type": "calendar"}, "b": {"type": "calendar"}}, "services.b: there is one calendar already"),
        ({"a": {"type": "history"}, "b": {"type": "history"}}, "services.b: there is one history already"),
        ({"c": {"type": "calendar", "zone": "Nowhere/Else"}}, "clock.zone: time zone"),
        ({"c": {"type": "calendar"}, "l": {"type": "records", "place": "lib"}}, "services.l.place = 'lib': lib is the board's own"),
        ({"c": {"type": "calendar", "zome": "UTC0"}}, "services.c.zome: no such key; did you mean zone?"),
        ({"r": {"type": "relays"}}, "services.r.inputs: is missing"),
        ({"r": {"type": "relays", "inputs": {"a": {"import_kw": 4}}}}, "services.r.inputs.a: input_pin = -1, bit = -1"),
        ({"r": {"type": "relays", "inputs": {"a": {"bit": 1, "import_kw": 4}}, "bus": "x"}}, "services.r: r: bus is 'x'"),
        (
            {"r": {"type": "relays", "inputs": {"a": {"input_pin": 5, "import_kw": 4}, "b": {"input_pin": 5, "export_kw": 4}}}},
            "pin 5 has two owners: services.r.inputs.a.input_pin, services.r.inputs.b.input_pin",
        ),
    ],
)
def test_what_is_wrong_with_a_service_is_said_by_name(given: dict[str, Any], said: str) -> None:
    errors = check_site.errors_in(services(**given))
    assert len([error for error in errors if said in error]) == 1, errors


def test_options_stand_in_one_place_only() -> None:
    errors = check_site.errors_in({**site(clock={"zone": "UTC0"}), "services": {"c": {"type": "calendar"}}})
    assert errors == ["services.c: its options stand in clock already; give one of the two"]
def battery(**options: Any) -> dict[str, Any]:
    made = site()
    made["devices"]["bms"] = {"bus": "can0", **options}
    return made


def test_other_makers_batteries_are_known_and_say_what_the_site_must_bear() -> None:
    assert check_site.errors_in(battery(type="bms_growatt")) == []
    slow = battery(type="bms_byd")
    assert [error for error in check_site.errors_in(slow) if "power.bms_period_ms = 1000" in error and "devices.bms" in error]
    assert check_site.errors_in({**slow, "power": {"bms_period_ms": 10000}}) == []
    wrong = check_site.errors_in(battery(type="bms_growatt", variant="hv"))
    assert wrong and "variant" in wrong[0]


def test_a_reader_that_has_gone_ends_a_list_without_a_word() -> None:
    for tool in ("tools.check_site --help", "tools.run --list", "tools.flash --help", "tools.check_site docs/site.example.json"):
        shell = f"set -o pipefail; ({sys.executable} -m {tool}; echo $? >&2) | true"  # nobody reads
        done = subprocess.run(["bash", "-c", shell], cwd=stage.ROOT, capture_output=True, text=True, timeout=60)
        assert "Broken" not in done.stderr and "Traceback" not in done.stderr, (tool, done.stderr)
    lines = f"{sys.executable} -c 'import tools\nfor n in range(100000): print(n)' | head -2"
    done = subprocess.run(["bash", "-c", lines], cwd=stage.ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "0\n1\n" and done.stderr == ""


def test_the_board_refuses_what_is_refused_here_as_no_json(tmp_path: Path) -> None:
    from safestore import Store, StoreError

    whole = b'{"schema": 1, "a": {"b": [1, -2.5e3, "x\\n", true], "c": {}}, "d": [[], {"e": null}], "f": "\xc3\xbc"}'
    chance = random.Random(7)
    path = tmp_path / "site.json"
    refused = 0
    for _ in range(4000):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2))):
            at = chance.randrange(len(data))
            match chance.randrange(3):
                case 0:
                    del data[at]
                case 1:
                    data.insert(at, chance.choice(b'{}[],:" \n\\0159.e-tab'))
                case _:
                    data[at] = chance.choice(b'{}[],:" \n\\0159.e-tab')
        path.write_bytes(data)
        try:
            check_site.parse(bytes(data))
            good = True
        except ValueError:
            good = False
            refused += 1
        try:
            Store(str(path), 1, by_hand=True).load()
            told = ""
        except StoreError as error:
            told = str(error)
        assert ("is no JSON" in told) == (not good), (bytes(data), told)
    assert 1000 < refused < 3900
