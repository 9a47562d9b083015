"""The SunSpec tables and their decoder, checked against pysunspec2's own encoder."""

from __future__ import annotations

import json
import struct
from array import array
from fractions import Fraction
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sunspec2 import device

from firmware import image as im
from firmware.devices import pcs_dialect, sunspec, sunspec_numbers, sunspec_tables
from tools.generate import gen_sunspec

LARGEST = 2**30 - 1


def test_tables_are_what_the_generator_makes() -> None:
    assert gen_sunspec.main(["--check"]) == 0, "run python -m tools.generate.gen_sunspec"


def test_longest_block_fits_the_registers_of_a_device() -> None:
    tables = {name: t for name, t in vars(sunspec_tables).items() if isinstance(t, tuple)}
    assert len(tables) >= 8
    assert max(t[1] for t in tables.values()) <= sunspec.LONGEST_PCS
    assert max(t[1] for name, t in tables.items() if name.startswith("METER")) <= sunspec.LONGEST_METER
    assert max(t[1] for t in tables.values() if t[0] in (120, 123, 124, 704, 715)) <= pcs_dialect.LONGEST_WRITE_BLOCK


@pytest.mark.parametrize("block", gen_sunspec.BLOCKS, ids=lambda b: b.name)
@given(longest=st.integers(2, 125), gap=st.integers(0, 125))
def test_requests_of_a_block_hold_every_point_whole_and_are_short_enough(
    block: gen_sunspec.Block, longest: int, gap: int
) -> None:
    table = getattr(sunspec_tables, block.name)
    placed = sunspec.Block(table, (block.model, 0, table[1]), array("H", bytes(2 * table[1])), longest, gap)
    pieces = sorted((first, first + count) for first, count, _ in placed.pieces)
    if placed.count:
        assert not pieces
        pieces = [(0, placed.count)]
    assert all(0 < end - first <= longest for first, end in pieces)
    assert all(before[1] <= after[0] for before, after in zip(pieces, pieces[1:], strict=False))
    assert pieces[0][0] == 0 and pieces[-1][1] == table[1]
    points, _ = gen_sunspec.model_points(block.model)
    for name, _, _ in block.points:
        offset, _, size, scale = points[name]
        wanted = [(offset, offset + size)] + ([(points[scale][0], points[scale][0] + 1)] if scale in points else [])
        for low, high in wanted:
            assert any(first <= low and high <= end for first, end in pieces), name


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
        if kind == "sunssf":
            expected[slots[target]] = powers[path]
            continue
        expected[slots[target]] = _put(point, kind, power + decimals, data)
    registers = array("H", struct.unpack(f">{len(model.get_mb()) // 2}H", model.get_mb()))
    placed = sunspec.Block(table, (block.model, 0, len(registers) - 2), registers, 125, 125)
    values = {table[2][at + 3]: placed.value(at) for at in range(0, len(table[2]), 5)}
    assert values == expected


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


@given(st.floats(width=32, allow_nan=False), st.integers(1, 10**6), st.sampled_from([1, 10, 1000, 10**6]), st.booleans())
def test_floats_are_scaled_exactly(value: float, multiplier: int, divisor: int, turned: bool) -> None:
    """float32-of-a-megawatt: every float there is, against fractions."""
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    got = sunspec_numbers.from_float(high, low, -multiplier if turned else multiplier, divisor)
    if value in (float("inf"), float("-inf")):
        assert got is None
        return
    exact = abs(Fraction(value)) * multiplier / divisor
    size = int(exact + Fraction(1, 2))
    assert got == (None if size > LARGEST else size if (value >= 0) != turned else -size)


@given(st.integers(-LARGEST, LARGEST), st.integers(-9, 9))
def test_scaling_rounds_half_away_from_zero_and_refuses_what_does_not_fit(value: int, power: int) -> None:
    got = sunspec_numbers.scaled(value, power)
    size = abs(value) * 10**power if power >= 0 else (abs(value) + 10**-power // 2) // 10**-power
    if size > LARGEST:
        assert got is None
    else:
        assert got == (size if value >= 0 else -size)
