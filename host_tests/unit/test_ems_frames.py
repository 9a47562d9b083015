"""The frames for an EMS on CAN: layout, DBC by cantools both ways, checksum by another hand, ids on the BMS's bus, garbage."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import can
import cantools
import pytest
from cantools.database.can import Database
from crccheck.crc import Crc8Base
from hypothesis import given, settings
from hypothesis import strategies as st

import canbus
from canbus import e2e, signals
from firmware import image as im
from firmware.services import ems_frames as fr
from host_tests.both import emscan
from host_tests.both.emscan import BASE, Rig
from host_tests.both.plant import Plant
from host_tests.unit.can_rigs import McpRig, TwaiRig
from host_tests.unit.can_rigs import Rig as ChipRig
from tools import bms_tables, check_site
from tools.generate import gen_ems_can
from tools.sim.chips.frame import Frame
from tools.sim.chips.station import PythonCan

ROOT = Path(__file__).resolve().parents[2]


class E2E(Crc8Base):
    """AUTOSAR E2E profile 1."""

    _poly, _initvalue, _xor_output = 0x1D, 0, 0


def database(*more: Any) -> Database:
    found = cantools.database.load_string(gen_ems_can.dbc(*more), "dbc")
    assert isinstance(found, Database)
    return found


# ---- what is made of the table --------------------------------------------------------------------------------------


def test_the_files_are_what_the_table_makes() -> None:
    assert gen_ems_can.main(["--check"]) == 0
    command = [sys.executable, "-m", "tools.generate.gen_ems_can", "--dbc", "--base", "0x18FF5000", "--extended"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed == gen_ems_can.dbc(0x18FF5000, True) and "BO_ 2566868994 ANSWER" in printed
    with pytest.raises(ValueError, match="multiple of 16"):
        gen_ems_can.dbc(0x601)
    with pytest.raises(ValueError, match="0 to 2032"):
        gen_ems_can.dbc(0x800)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('    ("POWER", im.CMD_P),\n', '    ("POWER", im.CMD_P),\n    ("POWER", im.SOC),\n', "POWER.SOC: has no place of its own"),
        ('("STATE", "ALIVE", 56,', '("STATE", "ALIVE", 48,', "STATE.ALIVE: has no place of its own"),
        ('    ("POWER", im.CMD_P),\n', '    ("POWERS", im.CMD_P),\n', "POWERS"),
        ('("FAULTS", im.MISSING)', '("FAULTS", im.BMS_ALARM)', "BMS_ALARM: bits that may be missing have no mark for it"),
        ('("BOUNDS", "ENABLE", 12,', '("BOUNDS", "ENABLE", 13,', "ENABLE: stands in the same place"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_and_a_change_is_noticed(old: str, new: str, said: str, tmp_path: Path) -> None:
    for name in ("firmware", "lib", "host_tests", "tools", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    table = tmp_path / "firmware" / "points.py"
    text = table.read_text()
    assert text.count(old) == 1
    table.write_text(text.replace(old, new))
    command = [sys.executable, "-B", "-m", "tools.generate.gen_ems_can", "--check"]  # edited twice within a second
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and said in done.stdout + done.stderr
    table.write_text(text.replace('("GRID", im.BMS_TEMP)', '("GRID", im.CELL_T_MAX)'))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout.count("is not what firmware/points.py makes of it") == 3, done.stdout + done.stderr


def test_the_dbc_says_how_often_what_codes_mean_and_what_a_site_of_100_kw_needs() -> None:
    found = database()
    assert found.get_message_by_name("STATE").cycle_time == 500 and found.get_message_by_name("CELLS").cycle_time == 2500
    mode = found.get_message_by_name("STATE").get_signal_by_name("MODE")
    assert mode.choices is not None and str(mode.choices[4]) == "EMERGENCY" and str(mode.choices[255]) == "not available"
    for frame in found.messages:
        assert frame.length == 8
        for signal in frame.signals:
            if signal.unit == "kW":
                assert signal.scale <= 0.1 and float(signal.maximum or 0) >= 1000
            if signal.unit == "kWh":
                assert signal.scale <= 0.2 and float(signal.maximum or 0) >= 200000


# ---- numbers and checksum -------------------------------------------------------------------------------------------


@given(size=st.integers(1, 4), signed=st.booleans(), at=st.integers(0, 4), value=st.integers(-(2**30) + 1, 2**30 - 1))
def test_a_number_is_read_as_it_was_written_or_as_the_nearest_that_can_be(size: int, signed: bool, at: int, value: int) -> None:
    place = at | size << 3 | (signals.SIGNED if signed else 0)
    data = bytearray(b"\xa5" * 8)
    signals.put(data, place, value)
    most = (1 << 8 * size - 1) - 1 if signed else (1 << 8 * size) - 2
    wanted = max(-most if signed else 0, min(value, most))
    assert int.from_bytes(data[at : at + size], "little", signed=signed) == wanted
    assert all(byte == 0xA5 for i, byte in enumerate(data) if not at <= i < at + size)
    if size < 4:
        assert signals.get(data, place) == wanted
        signals.put(data, place, signals.NOTHING)
        assert signals.get(data, place) == signals.NOTHING


def test_the_marks_for_not_available_are_those_of_the_document() -> None:
    for place, wanted in ((8, "ff"), (16, "ffff"), (32, "ffffffff"), (72, "80"), (80, "0080"), (88, "000080"), (96, "00000080")):
        data = bytearray(8)
        signals.put(data, place, signals.NOTHING)
        assert data.hex() == wanted + "00" * (8 - len(wanted) // 2)
    assert signals.NOTHING == im.NO_VALUE


@given(data=st.binary(min_size=1, max_size=8), data_id=st.integers(0, 0xFFFF))
def test_the_checksum_is_that_of_the_standard(data: bytes, data_id: int) -> None:
    assert e2e.checksum(data, data_id) == E2E.calc(data_id.to_bytes(2, "little") + data[1:])


def test_the_results_are_numbered_as_the_library_has_them() -> None:
    for name in ("ACCEPTED", "BEGINS", "LENGTH", "CHECKSUM", "REPEATED", "JUMPED", "TOO_LATE"):
        assert getattr(fr, name) == getattr(e2e, name), name
    assert len(fr.RESULTS.split("\n")) == fr.NOT_IN_CONTROL + 1


def test_the_example_of_the_document() -> None:
    assert e2e.checksum(bytes(8), 0x0123) == 0xCC


# ---- cantools both ways ---------------------------------------------------------------------------------------------

_SIGNALS = gen_ems_can.signals()
_READ = database()


def _message(frame_id: int) -> Any:
    return _READ.get_message_by_frame_id(frame_id)



@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_what_the_service_sends_cantools_reads(data: st.DataObject) -> None:
    plant = Plant()
    rig = Rig(plant=plant)
    now = plant.now
    wanted: dict[tuple[str, str], float | None] = {}
    for signal in _SIGNALS:
        if not signal.slot or signal.kind == "bits":
            continue
        value = data.draw(st.one_of(st.none(), st.integers(signal.low, signal.high)), label=signal.name)
        now[getattr(im, signal.slot)] = im.NO_VALUE if value is None else value
        wanted[signal.frame, signal.name] = value if value is None else value / signal.parts
    now[im.FAULTS] = data.draw(st.integers(0, 2**27 - 1), label="FAULTS")
    for group in range(im.N_GROUPS):
        now[im.AGE + group] = 0
    for turn in range(40):  # time passes without cycles
        plant.ms += 100
        now[im.CMD_SEQ] = turn
        with rig:
            rig.service.look(plant.ms)
    read: dict[str, Any] = {}
    for can_id, sent, _ in rig.can.sent:
        read[_message(can_id).name] = _message(can_id).decode(bytes(sent), decode_choices=False)
    for (frame, name), number in wanted.items():
        signal = next(signal for signal in _SIGNALS if (signal.frame, signal.name) == (frame, name))
        expected = signal.nothing / signal.parts if number is None else number
        assert read[frame][name] == pytest.approx(expected), name
    bits = [name for name in read["FAULTS"] if str(name).startswith("FAULT_")]
    assert sum(int(read["FAULTS"][name]) << i for i, name in enumerate(bits)) == now[im.FAULTS]


@settings(max_examples=100, deadline=None)
@given(watts=st.integers(-100000, 100000), discharge=st.integers(0, 1000000), charge=st.integers(0, 1000000))
def test_what_cantools_encodes_the_service_takes_to_the_watt(watts: int, discharge: int, charge: int) -> None:
    rig = Rig()
    for counter in range(2):
        for name, values in (
            ("SETPOINT", {"SETPOINT_P": watts / 1000}),
            ("BOUNDS", {"BOUND_DIS": discharge / 1000, "BOUND_CHG": charge / 1000}),
        ):
            frame = _READ.get_message_by_name(name)
            data = bytearray(frame.encode({"CRC": 0, "COUNTER": counter, "ENABLE": 1, **values}))
            data[0] = E2E.calc(frame.frame_id.to_bytes(2, "little") + data[1:])
            rig.receive(frame.frame_id, data)
    assert rig.claims() == [("ems can", watts / 1000)]
    limit = rig.plant.pm.curtailments()[0]
    assert (limit["discharge_kw"], limit["charge_kw"]) == (discharge / 1000, charge / 1000)


# ---- on a wire, through the chips that boards have ------------------------------------------------------------------

CHIPS: dict[str, Callable[[], ChipRig]] = {
    "esp32": lambda: TwaiRig("esp32"),
    "esp32s3": lambda: TwaiRig("esp32s3"),
    "mcp2515": McpRig,
}


def _send_as(rig: ChipRig, outside: can.BusABC, bridge: PythonCan, can_id: int, data: bytes) -> None:
    """One frame of an EMS through python-can, the wire and the chip."""
    outside.send(can.Message(arbitration_id=can_id, data=data, is_extended_id=False))
    for _ in range(5):
        bridge.pump()
        rig.run_ms(1)


@pytest.mark.parametrize("name", sorted(CHIPS))
def test_an_ems_of_python_can_commands_through_the_emulated_chip(name: str) -> None:
    chips = CHIPS[name]()
    chips.peer.present = False
    channel = f"ems {name}"
    inside, outside = (can.Bus(interface="virtual", channel=channel) for _ in range(2))
    bridge = PythonCan(inside)
    chips.wire.join(bridge)
    rig = Rig(controller=chips.can)
    try:
        for counter in range(2):
            _send_as(chips, outside, bridge, BASE, emscan.setpoint(counter, -25000))
            with rig:
                rig.bus.drain()
        assert rig.claims() == [("ems can", -25.0)]
        read: dict[str, Any] = {}
        for _ in range(120):
            rig.run(50)
            chips.run_ms(50)
            bridge.pump()
            while (message := outside.recv(0)) is not None:
                frame = _message(message.arbitration_id)
                read[frame.name] = frame.decode(bytes(message.data))
        assert len(read) == 14
        assert read["POWER"]["CMD_P"] == 0 and str(read["STATE"]["MODE"]) == "IDLE", "silence has ended it"
        assert read["ANSWER"]["SETPOINT_COUNTER"] == 1 and str(read["ANSWER"]["SETPOINT_RESULT"]) == "ACCEPTED"
        assert rig.service.skipped == 0
        chips.sane()
    finally:
        inside.shutdown()
        outside.shutdown()


@pytest.mark.parametrize("name", sorted(CHIPS))
@pytest.mark.parametrize("poll", [(0x4200, True), (0x305, False)])
def test_a_frame_to_the_bms_waits_for_no_more_than_the_one_on_the_wire(name: str, poll: tuple[int, bool]) -> None:
    chips = CHIPS[name]()
    rig = Rig(controller=chips.can)
    chips.run_ms(20)
    for _ in range(40):  # periods of one status frame after the other, and each time the BMS is asked at the same moment
        rig.run(50)
        assert rig.bus.send(poll[0], bytes(8), poll[1])
        before = len(chips.peer.heard)
        for _ in range(20):
            rig.bus.drain()  # as its task does, which moves what waits too
            chips.run_ms(1)
        ids = [frame.identifier for frame in chips.peer.heard[before:]]
        assert ids.index(poll[0]) <= 1, ids
    assert rig.bus.send_full == 0 and rig.service.skipped == 0
    assert BASE + 3 in [frame.identifier for frame in chips.peer.heard]


def test_while_nobody_acknowledges_no_more_status_frames_are_queued() -> None:
    chips = TwaiRig("esp32")
    rig = Rig(controller=chips.can)
    rig.run(1000)
    chips.run_ms(20)
    chips.wire.silent_ack = True
    chips.peer.present = False
    for _ in range(100):
        rig.run(50)
        rig.bus.drain()
        chips.run_ms(1)
    assert chips.can.get_counters()[5] <= 3 and rig.service.skipped > 10


# ---- which ids a site may have --------------------------------------------------------------------------------------


def site(ems: dict[str, Any], bms: dict[str, Any] | None = None, **buses: dict[str, Any]) -> list[str]:
    """What a site file with this service is refused for."""
    content: dict[str, Any] = {
        "schema": 1,
        "buses": {"can0": {"type": "can"}, "can1": {"type": "can"}, "rs485": {"type": "modbus_rtu"}, **buses},
        "devices": {
            "bms": {"type": "bms_pylontech", "bus": "can0", **(bms or {})},
            "pcs": {"type": "pcs_sunspec", "bus": "rs485"},
        },
        "services": {"ems": {"type": "ems_can", **ems}},
    }
    if "other" in ems:
        content["services"]["other"] = {"type": "ems_can", **ems["other"]}
        del content["services"]["ems"]["other"]
    return check_site.errors_in(content)


def test_on_a_bus_of_its_own_any_ids_do() -> None:
    assert site({"bus": "can1"}) == []
    assert site({"bus": "can1", "base_id": 0}) == []
    assert site({"bus": "can1", "base_id": 16 * 0x1FFFFFF, "extended": True}) == []


@pytest.mark.parametrize("bms", [{}, {"variant": "lv"}, {"type": "bms_byd", "period_ms": 1000}, {"type": "bms_growatt"}])
def test_on_the_bms_s_bus_its_frames_go_first(bms: dict[str, Any]) -> None:
    assert site({"bus": "can0"}, bms) == []
    assert site({"bus": "can0", "base_id": 0x10000000, "extended": True}, bms) == []
    said = "services.ems.base_id = 768: devices.bms is on can0 too, and its frames go first: allowed are ids from 1024 on"
    assert site({"bus": "can0", "base_id": 0x300}, bms) == [said]
    assert "allowed are ids from 268435456 on" in site({"bus": "can0", "base_id": 0x4200, "extended": True}, bms)[0]


@pytest.mark.parametrize("variant", sorted(bms_tables.names()))
def test_every_bms_that_there_is_has_ids_before_those_that_are_allowed_beside_it(variant: str) -> None:
    table = bms_tables.module(variant)
    for can_id, mask in table.SUBSCRIBE:
        top = 0x1FFFFFFF if table.EXTENDED else 0x7FF
        highest = can_id | top & ~mask & (0xF if table.ADDRESSED else top)
        assert highest < (0x10000000 if table.EXTENDED else 0x400)


@pytest.mark.parametrize(
    ("ems", "said"),
    [
        ({"bus": "can9"}, "services.ems.bus = 'can9': the CAN buses of this site are can0, can1"),
        ({"bus": "rs485"}, "services.ems.bus = 'rs485': the CAN buses of this site are can0, can1"),
        ({}, "services.ems.bus: is missing"),
        ({"bus": "can1", "base_id": 1537}, "services.ems.base_id = 1537: must be a multiple of 16, at most 2032"),
        ({"bus": "can1", "base_id": 2048}, "services.ems.base_id = 2048: must be a multiple of 16, at most 2032"),
        ({"bus": "can1", "period_ms": 100}, "services.ems.period_ms = 100: allowed are 200 to 60000"),
        ({"bus": "can1", "window_ms": 6000}, "services.ems.window_ms = 6000: must not be above lifetime_ms = 5000"),
        ({"bus": "can1", "control": "yes"}, "services.ems.control"),
        ({"bus": "can1", "other": {"bus": "can1"}}, "base_id = 1536: services.other has these ids on can1"),
        ({"bus": "can1", "control": True, "other": {"bus": "can0", "control": True}}, "one EMS controls over CAN"),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_allowed(ems: dict[str, Any], said: str) -> None:
    errors = site(dict(ems))
    assert any(said in error for error in errors), errors
    assert all(error.startswith("services.") for error in errors)


def test_a_silent_bus_and_two_that_do_not_meet() -> None:
    assert "is silent" in site({"bus": "can1"}, can1={"type": "can", "silent": True})[0]
    assert site({"bus": "can1", "other": {"bus": "can1", "base_id": 1552}}) == []
    assert site({"bus": "can1", "control": True, "other": {"bus": "can0"}}) == []


# ---- garbage --------------------------------------------------------------------------------------------------------

_GARBAGE = st.one_of(
    st.tuples(st.just("bytes"), st.binary(max_size=8), st.integers(0, 1)),
    st.tuples(st.just("flipped"), st.integers(0, 14), st.lists(st.integers(0, 63), min_size=1, max_size=2, unique=True)),
    st.tuples(st.just("repeated"), st.integers(0, 14), st.integers(1, 5)),
    st.tuples(st.just("swapped"), st.integers(0, 14), st.integers(0, 1)),
    st.tuples(st.just("short"), st.integers(0, 14), st.integers(0, 7)),
    st.tuples(st.just("late"), st.integers(0, 14), st.integers(41, 60)),
    st.tuples(st.just("range"), st.integers(0, 14), st.integers(100001, 8000000)),
    st.tuples(st.just("jumped"), st.integers(0, 14), st.integers(0, 0)),
)


def _frames(kind: str, counter: int, more: Any, rig: Rig) -> list[tuple[int, bytes]]:
    good = emscan.setpoint(counter, 50000)
    if kind == "flipped":
        spoilt = bytearray(good)
        for bit in more:
            spoilt[bit // 8] ^= 1 << bit % 8
        return [(BASE, bytes(spoilt))]
    if kind == "repeated":  # one good frame, for ever: it begins a row, and no more
        last = rig.service.counters()["setpoint"]
        rig.run(2100)
        return [(BASE, good)] * more if last else []
    if kind == "swapped":
        return [(BASE + 1, good), (BASE, emscan.bounds(counter, 0, 0))]
    if kind == "short":
        return [(BASE, good[:more])]
    if kind == "late":
        rig.run(50 * more)
        return [(BASE, good)]
    if kind == "range":
        return [(BASE, emscan.setpoint(counter, more))]
    rig.run(2100)
    return [(BASE, emscan.setpoint((counter + 6 * i) % 15, 50000)) for i in range(4)]


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(story=st.lists(_GARBAGE, max_size=25))
def test_no_sequence_of_garbage_moves_the_battery(story: list[tuple[str, Any, Any]]) -> None:
    rig = Rig()
    for kind, first, second in story:
        if kind == "bytes":
            good = len(first) == 8 and first[0] == E2E.calc((BASE + second).to_bytes(2, "little") + first[1:])
            frames = [] if good else [(BASE + second, first)]
        else:
            rig.run(2100)  # so that no two of them make a row by chance
            frames = _frames(kind, first, second, rig)
        for can_id, data in frames:
            rig.receive(can_id, data)
            rig.run(50)
        assert rig.claims() == [] and rig.plant.pm.curtailments() == []
        assert rig.plant.now[im.CMD_P] == 0
    assert rig.bus.handler_errors == 0 and rig.service.counters()["accepted"] == 0


def test_a_frame_of_another_kind_is_none_of_ours() -> None:
    chips = TwaiRig("esp32")
    rig = Rig(controller=chips.can)
    chips.can.set_filters(None)
    chips.peer.send(Frame(BASE, emscan.setpoint(0, 1000), True), Frame(BASE + 2, bytes(8), False))
    chips.run_ms(5)
    with rig:
        rig.bus.drain()
    assert rig.service.counters()["refused"] == 0 and rig.bus.unclaimed == 2
    assert isinstance(rig.bus, canbus.Bus) and fr.N_IDS == 16
