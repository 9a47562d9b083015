"""boot-loop: a site file of any shape becomes a safe standby with the reason in words; nothing it holds is raised."""

import json
import os
import sys

from firmware import image as im
from firmware import loading, sitefile
from firmware.errors import ConfigError
from firmware.manager import PowerManager
from firmware.modes import Mode
from host_tests.both import scratch

_PATH = scratch.place("any-shape") + ".json"
_DIRECTORY = object()
_GOOD = {"schema": 1, "buses": {}, "devices": {}}


class FakeMachine:
    """What the calendar's module takes from the chip when it is loaded."""

    I2C = RTC = Pin = None


def _remove(path):
    for name in (path, path + ".old", path + ".new"):
        try:
            os.remove(name)
        except OSError:
            pass
    try:
        os.rmdir(path)
    except OSError:
        pass


def _said_of(data):
    """Everything that load prints and refuses of a file with these bytes (None: there is none)."""
    _remove(_PATH)
    if data is _DIRECTORY:
        os.mkdir(_PATH)
    elif data is not None:
        with open(_PATH, "wb") as file:
            piece, times = data if isinstance(data, tuple) else (data, 1)
            for _ in range(times):
                file.write(piece)
    real = sys.modules.get("machine")
    before = set(sys.modules)
    sys.modules["machine"] = FakeMachine
    try:
        site = sitefile.load(_PATH)
    finally:
        _remove(_PATH)
        del sys.modules["machine"]
        if real is not None:
            sys.modules["machine"] = real
        for name in [name for name in sys.modules if name not in before and name.startswith("firmware.")]:
            del sys.modules[name]  # it has seen the false chip
    assert site.errors, "%r was accepted" % (data,)
    assert site.devices == {} and site.config is not None
    pm = PowerManager(site.config, site.image, site.has)
    pm.start()
    for ms in range(0, 1000, 50):
        pm.cycle(ms)
    assert pm.mode == Mode.STANDBY and pm.image.now[im.CMD_P] == 0 and pm.image.now[im.CMD_CONTACTOR] == 0
    return "\n".join(site.errors)


def _said_of_doc(**changed):
    doc = dict(_GOOD)
    doc.update(changed)
    return _said_of(json.dumps(doc).encode())


def _generic(**table):
    return {"meter": {"type": "generic_modbus", "host": "10.0.0.9", "table": table}}


def test_files_that_are_no_site():
    for data, words in (
        (None, "no such file"),
        (_DIRECTORY, _PATH),
        (b"", "JSON"),
        (b"[[]]", "must be an object"),
        (b"5", "must be an object"),
        (b'"x"', "must be an object"),
        (b"null", "must be an object"),
        (b"{}", "schema"),
        (b'{"schema": 1', "JSON"),
        (b'{"schema": true}', "schema"),
        (b'{"schema": 99}', "newer firmware"),
        (b'{"schema": 1, "name": "H\xfcgel"}', ""),
        (bytes(range(256)), "JSON"),
        (b"\x00" * 64, "JSON"),
        (b'{"schema": 1}\x00\x00\x00', ""),
        (b"\xff\xfe{\x00}\x00", "JSON"),
    ):
        said = _said_of(data)
        assert words in said and said, (data, said)


def test_files_that_are_too_long_are_refused_unread():
    for piece in (b'{"schema": 1}   ', b"                ", b"[[[[[[[[[[[[[[[["):
        said = _said_of((piece, 65536))
        assert "1048576" in said and "32768" in said, said
    assert "32784" in _said_of((piece, 2049)) and "JSON" in _said_of((piece, 2048))
    refused = dict(_GOOD)
    refused["devices"] = _generic(name="x" * 33000, reads=[{"slot": "METER_P", "address": 1}])
    try:
        sitefile.save(_PATH, refused)
    except ConfigError as error:
        assert "32768" in str(error)
    else:
        raise AssertionError("what the next start would refuse was saved")
    finally:
        _remove(_PATH)


def test_files_that_are_nested_too_deeply():
    for depth in (50, 1000, 15000):
        assert _said_of(b"[" * depth + b"]" * depth)
        assert _said_of(b'{"schema": 1, "power": ' + b"[" * depth + b"]" * depth + b"}")
        assert _said_of(b'{"a":' * (depth // 3) + b"1" + b"}" * (depth // 3))


def test_sections_of_the_wrong_kind():
    for wrong in (5, -1, 1.5, True, "x", [], [[]], [5], [["a", 1]], {"a": 1}):
        for section in ("power", "buses", "devices"):
            said = _said_of_doc(**{section: wrong})
            assert section in said or "a" in said, (section, wrong, said)
    for section in ("wifi", "clock", "storage", "board"):
        for wrong in (5, True, "x", [5], [["a", 1]]):
            assert section in _said_of_doc(**{section: wrong}), (section, wrong)
    for wrong in (5, [], {}, True):
        assert "name" in _said_of_doc(name=wrong)
        if wrong != 5:
            assert "cycle_ms" in _said_of_doc(cycle_ms=wrong)


def test_kinds_that_are_none():
    for wrong in (None, 5, True, [], {}, [5], "", ".", "../manager", "toaster", "connection", "__init__", "generic_table", "\x00"):
        said = _said_of_doc(devices={"x": {"type": wrong}})
        assert "devices.x" in said, (wrong, said)
        said = _said_of_doc(buses={"x": {"type": wrong}})
        assert "buses.x.type" in said, (wrong, said)


def test_every_option_of_a_wrong_kind_is_named():
    for wrong in ([], {}, None, [[]], {"a": {}}, True, -1e30, 1e30, "x" * 500):
        for option in ("host", "port", "bus", "unit", "timeout_ms", "period_ms", "table"):
            device = {"type": "generic_modbus", "host": "10.0.0.9", "table": {"reads": [{"slot": "METER_P", "address": 1}]}}
            device[option] = wrong
            if option in ("host", "bus") and isinstance(wrong, str):
                continue
            said = _said_of_doc(devices={"meter": device})
            assert "meter" in said and option in said, (option, wrong, said)


def test_tables_of_the_wrong_kind():
    row = {"slot": "METER_P", "address": 1}
    for wrong in (True, 5, "x", {"a": 1}, [5], [[]], [None], ["x"]):
        assert "table.reads" in _said_of_doc(devices=_generic(reads=wrong)), wrong
        assert "table.writes" in _said_of_doc(devices=_generic(reads=[row], writes=wrong)), wrong
    for wrong in ("", "x", 5, True, [], [[]], {"a": 1}, {"1": "x"}, {"1": []}):
        changed = dict(row)
        changed["map"] = wrong
        said = _said_of_doc(devices=_generic(reads=[changed]))
        assert "map" in said, (wrong, said)
    for key in ("slot", "address", "type", "scale", "offset", "function", "missing", "low", "high", "mask", "period_ms"):
        for wrong in ([], {}, "x", [[]]):
            changed = dict(row)
            changed[key] = wrong
            said = _said_of_doc(devices=_generic(reads=[changed]))
            assert "meter" in said, (key, wrong, said)


def test_thousands_of_errors_are_counted_not_all_named():
    said = _said_of_doc(power={"k%d" % i: i for i in range(2000)})
    assert said.count("no such key") == 16 and "power: 1984 more keys" in said
    assert _said_of_doc(power={"x" * 30000: 1})


def test_a_heap_that_is_too_small_for_the_site_is_said():
    class Full:
        """A driver that finds no heap."""

        OPTIONS = ()

        @staticmethod
        def Device(*_):
            raise MemoryError("memory allocation failed, allocating 1280 bytes")

    name = "firmware.devices.full_heap"
    sys.modules[name] = Full
    real = loading.load
    loading.load = lambda form, where, kind, errors: Full if kind == "full_heap" else real(form, where, kind, errors)
    try:
        said = _said_of_doc(devices={"x": {"type": "full_heap"}})
    finally:
        loading.load = real
        del sys.modules[name]
    assert "too large for this board's heap" in said and "1280" in said


def _storage(place):
    return _said_of_doc(storage={"place": place})


def test_storage_place_is_a_folder_of_its_own_or_refused_by_name():
    for place in ("lib", "firmware", "site.json", "site.json.old", "site.json.new", "boot.py", "main.py", "rom", "LIB", "lib/data",
                  "firmware/services"):  # fmt: skip
        said = _storage(place)
        assert "storage.place = %r" % place in said and "the board's own" in said, said
    for place in ("..", ".", "../data", "data/..", "a/../../b", "/etc", "/lib", "/", "/data", "//x", "~/x", "data/", "a//b", ".git",
                  "/dev/null", "C:\\data", "a b", "d\u00e4ta", "a\nb", "-" * 40 + "/$HOME"):  # fmt: skip
        said = _storage(place)
        assert "storage.place = %r" % place in said and "must be a name" in said, said
    assert "storage.place" in _storage("") and "storage.place" in _storage(5) and "storage.place" in _storage("x" * 65)


def test_storage_place_of_ones_own_is_taken():
    for place in ("data", "records", "my-data_1", "data/2026", "library", "firmware2", "site", "mainly"):
        errors = []
        said = _said_of_doc(storage={"place": place}, devices={"x": {"type": "no_such"}})  # refused for that alone
        assert "storage" not in said and errors == [], said


def test_one_group_two_writers_are_refused_by_the_board_too():
    meter = {"type": "generic_modbus", "host": "10.0.0.9"}

    def table(slot):
        return {"reads": [{"address": 0, "slot": slot, "type": "int16"}]}

    for first, second, said in (
        ("METER_P", "METER_V", "meter"),
        ("PCS_P", "PCS_TEMP", "inverter"),
        ("PCS_TEMP", "PCS_TEMP", "inverter"),
        ("BMS_SOC", "BMS_V", "battery"),
        ("CELL_T_MAX", "CELL_T_MIN", "cell temperatures"),
        ("PV_P", "PV_P", "PV"),
    ):
        a, b = dict(meter, table=table(first)), dict(meter, table=table(second))
        text = _said_of_doc(devices={"a": a, "b": b})
        assert "devices.b: %s is what devices.a has already; one device only" % said in text, text
