"""The SunSpec tables and their decoder, checked against pysunspec2's own encoder."""

from __future__ import annotations

import json
import struct
from array import array
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sunspec2 import device

from firmware import image as im
from firmware.devices import sunspec, sunspec_tables
from tools import gen_sunspec

LARGEST = 2**30 - 1


def test_tables_are_what_the_generator_makes() -> None:
    assert gen_sunspec.main(["--check"]) == 0, "run python -m tools.gen_sunspec"


def test_longest_block_fits_the_registers_of_a_device() -> None:
    tables = [t for t in vars(sunspec_tables).values() if isinstance(t, tuple)]
    assert len(tables) >= 8
    assert max(max(t[2], t[4]) for t in tables) <= 44


def _model(model: int) -> Any:
    data: dict[str, Any] = {"NPrt": 1, "Prt": [{}]} if model == 714 else {}
    one = device.Model(model, data=data)
    assert not one.error_info
    return one


@pytest.mark.parametrize("block", gen_sunspec.BLOCKS, ids=lambda b: b.name)
@given(data=st.data())
def test_blocks_decode_what_pysunspec2_encodes(block: gen_sunspec.Block, data: st.DataObject) -> None:
    """Every point of the block, with any raw value and any scale factor, lands in its slot at its unit."""
    table = getattr(sunspec_tables, block.name)
    model = _model(block.model)
    expected: dict[int, int | None] = {}
    slots = gen_sunspec.image_slots() | {n: v for n, v in vars(sunspec_tables).items() if n.startswith("X_")}
    definitions = {p["name"]: p for p in _definition(block.model)}
    scales = {d["sf"] for d in definitions.values() if isinstance(d.get("sf"), str)}
    powers = {name: data.draw(st.integers(-4, 3), label=name) for name in sorted(scales) if name in model.points}
    for name, power in powers.items():
        model.points[name].value = power
    for path, target, decimals in block.points:
        point = model.Prt[0].points[path[4:]] if path.startswith("Prt.") else model.points[path]
        kind, power = point.pdef["type"], powers.get(str(point.pdef.get("sf")), 0)
        expected[slots[target]] = _put(point, kind, power + decimals, data)
    registers = array("H", struct.unpack(f">{len(model.get_mb()) // 2}H", model.get_mb()))
    placed = sunspec.Block(table, block.model, 0)
    placed.set_scales(table, registers[table[3] : table[3] + table[4]])
    values = array("i", [im.NO_VALUE] * sunspec_tables.N_VALUES)
    good = placed.decode(registers[table[1] : table[1] + table[2]], values)
    if None in expected.values():
        assert not good
    else:
        assert good
        assert {slot: values[slot] for slot in expected} == expected


def _definition(model: int) -> list[dict[str, Any]]:
    text = (files("sunspec2") / "models" / "json" / f"model_{model}.json").read_text()
    group = json.loads(text)["group"]
    return group["points"] + [p for g in group.get("groups", []) for p in g["points"]]


def _put(point: Any, kind: str, power: int, data: st.DataObject) -> int | None:
    """Give `point` a value; what must come out of the decoder (None: too large)."""
    if data.draw(st.integers(0, 9)) == 0:
        point.value = None
        return im.NO_VALUE
    if kind == "float32":
        value = data.draw(st.floats(-1e5, 1e5, width=32))
        point.value = value
        return round_half_away(value * 10**power)
    bits = 16 * point.len
    if kind.startswith(("enum", "bitfield")):
        point.value = data.draw(st.integers(0, min(2**bits - 2, LARGEST)))
        return int(point.value)
    low, high = (-(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 1) if kind.startswith("int") else (0, 2**bits - 2)
    point.value = data.draw(st.integers(low, high))
    size = abs(point.value)
    size = size * 10**power if power >= 0 else (size + 10**-power // 2) // 10**-power
    return None if size > LARGEST else size if point.value >= 0 else -size


def round_half_away(value: float) -> int:
    return int(value + 0.5) if value >= 0 else -int(0.5 - value)


@given(st.integers(-LARGEST, LARGEST), st.integers(-9, 9))
def test_scaling_rounds_half_away_from_zero_and_refuses_what_does_not_fit(value: int, power: int) -> None:
    got = sunspec.scaled(value, power)
    size = abs(value) * 10**power if power >= 0 else (abs(value) + 10**-power // 2) // 10**-power
    if size > LARGEST:
        assert got is None
    else:
        assert got == (size if value >= 0 else -size)
