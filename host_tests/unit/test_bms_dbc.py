"""The DBC of our tables, read by cantools: what it encodes, the driver understands, and it decodes a real pack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cantools
import pytest
from cantools.database.can import Database
from hypothesis import given, settings
from hypothesis import strategies as st

import canbus
from firmware import image as im
from firmware.devices import bms_pylontech
from host_tests.both import bms, test_bms_makers
from host_tests.both.fakecan import FakeCAN
from host_tests.both.test_bms_lv import V12
from tools.generate import gen_dbc

UNITS = {"V": 10, "A": 10, "degC": 10, "%": 100, "mV": 1}


def _database(variant: str, **more: Any) -> Database:
    database = cantools.database.load_string(gen_dbc.dbc(variant, **more), "dbc")
    assert isinstance(database, Database)
    return database


class Rig:
    """A driver that hears frames."""

    def __init__(self, variant: str, **given: Any) -> None:
        self.can = FakeCAN(depth=100)
        self.can.set_filters(None)
        self.bus = canbus.Bus(self.can)
        self.image = im.Image()
        buses = {"can0": self.bus}
        if variant in test_bms_makers.MODULES:
            options = test_bms_makers.options(variant, voltage_max=1500, **given)
            self.device = test_bms_makers.MODULES[variant].Device("bms", options, self.image, buses)
        else:
            self.device = bms_pylontech.Device("bms", bms.options(variant=variant, **given), self.image, buses)

    def hear(self, frame_id: int, data: bytes, extended: bool) -> None:
        """One frame."""
        self.can.arrive(frame_id, data, extended)
        self.bus.drain()


def test_the_files_in_docs_are_what_the_tables_say(root: Path) -> None:
    for variant in gen_dbc.VARIANTS:
        written = (root / "docs" / "dbc" / gen_dbc.file_name(variant)).read_text()
        assert written == gen_dbc.dbc(variant), "run `python -m tools.generate.gen_dbc`"


@settings(max_examples=150, deadline=None)
@given(data=st.data(), variant=st.sampled_from(gen_dbc.VARIANTS), address=st.integers(0, 15))
def test_what_cantools_encodes_the_driver_reads(data: st.DataObject, variant: str, address: int) -> None:
    database = _database(variant, address=address)
    rig = Rig(variant, current_max=3000, **({"address": address} if variant in ("hv", "lv") else {}))
    expected: dict[str, int] = {}
    for message in database.messages:
        values: dict[str, float] = {}
        for signal in message.signals:
            if signal.unit is None:
                values[signal.name] = 3 if signal.name == "BMS_STATUS" else 0
                continue
            scale = UNITS[signal.unit]
            low, high = float(signal.minimum or 0), float(signal.maximum or 0)
            if signal.name == "BMS_V" and variant == "lv":
                high = 327
            if signal.name == "BMS_V" and variant == "growatt":
                high = 655
            high = min(high, values.get(signal.name.replace("MIN", "MAX"), high))  # whichever comes first in the frame
            if signal.name.startswith("CELL"):
                low = max(low, values.get(signal.name.replace("MAX", "MIN"), low))
            percents = variant != "byd" and signal.name in ("BMS_SOC", "BMS_SOH")
            whole = percents or (variant == "lv" and signal.name.startswith("CELL_T"))  # kelvins
            step = 1 if whole else 1 / scale
            value = data.draw(st.integers(round(low / step), round(high / step)), label=signal.name) * step
            values[signal.name] = value
            expected[signal.name] = round(value * scale)
        if "BMS_SOC_FINE" in values:
            values["BMS_SOC_FINE"] = 0 if values["BMS_SOC"] > 1 else values["BMS_SOC"]
            del expected["BMS_SOC_FINE"]
        for _ in range(2):  # 0x373 counts from the second on
            rig.hear(message.frame_id, message.encode(values, strict=False), message.is_extended_frame)
    assert rig.device.rejected == 0, rig.device.counters()
    got = {name: rig.image.inp[getattr(im, name)] for name in expected}
    assert got == expected


@pytest.mark.parametrize("variant", ["hv", "lv", "growatt"])
def test_every_flag_of_the_dbc_reaches_the_image(variant: str) -> None:
    database = _database(variant)
    edition_13 = {"BMS_35A"}
    for message in database.messages:
        for signal in message.signals:
            if signal.unit is not None or signal.name == "BMS_STATUS":
                continue
            rig = Rig(variant)
            for other in database.messages:
                if other.name in edition_13 and message.name not in edition_13:
                    continue
                if other.name in ("BMS_359", "BMS_35C") and message.name in edition_13:
                    continue
                values: dict[str, float] = {}
                for each in other.signals:
                    values[each.name] = 1.0 if each.name.startswith("PERMIT") else max(0.0, float(each.minimum or 0))
                if other is message:
                    forbidden = signal.name.startswith("REQUESTS_NO")
                    whole = 0xFF if message.name == "BMS_360" else 1
                    values[signal.name] = 0xAA if forbidden else 0 if signal.name.startswith("PERMIT") else whole
                rig.hear(other.frame_id, other.encode(values, strict=False), other.is_extended_frame)
            inp = rig.image.inp
            assert inp[im.SEQ_BMS_FLAGS] == 1
            slots = {"PROTECT": im.BMS_PROTECT, "ALARM": im.BMS_ALARM, "REQUESTS": im.BMS_REQUESTS}
            group, _, rest = signal.name.partition("_")
            slot = slots.get(group, im.BMS_REQUESTS)
            name = rest.rstrip("0123456789_") if group != "PERMIT" else "NO_" + rest.rstrip("0123456789_")
            flag = getattr(im, ("BMS_REQ_" if slot == im.BMS_REQUESTS else "BMS_PROT_") + name)
            assert inp[slot] == flag, (signal.name, inp[slot], flag)
            assert all(inp[other_slot] == 0 for other_slot in slots.values() if other_slot != slot)


def test_a_real_packs_frames_read_in_cantools_as_in_the_driver() -> None:
    database = _database("lv")
    rig = Rig("lv")
    for can_id, data in V12:
        rig.hear(can_id, data, False)
    decoded: dict[str, Any] = {}
    for can_id, data in V12[:3]:
        told = database.decode_message(can_id, data, allow_truncated=True)
        assert isinstance(told, dict)
        decoded.update(told)
    assert decoded["BMS_I"] == pytest.approx(27.0) and decoded["BMS_V"] == pytest.approx(49.86)
    for name in ("BMS_I", "BMS_TEMP", "BMS_V_MAX", "BMS_I_CHG", "BMS_I_DIS"):
        assert rig.image.inp[getattr(im, name)] == round(float(decoded[name]) * 10)


def test_bad_variants_and_addresses_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="uv"):
        gen_dbc.dbc("uv")
    with pytest.raises(ValueError, match="16"):
        gen_dbc.dbc("hv", address=16)
