"""Invariants of our Modbus server and of generic tables: requests judged by pymodbus, numbers by struct and fractions."""

from __future__ import annotations

import json
import re
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from notice import Once
from pymodbus.framer.rtu import FramerRTU
from pymodbus.pdu import DecodePDU

from firmware import config
from firmware import image as im
from firmware.devices import connection, generic_modbus, generic_writer
from firmware.devices.float_words import float_bits, nearest_bits
from firmware.devices.generic_points import ratio
from firmware.devices.generic_table import Table
from firmware.devices.generic_writes import made as writes_of
from firmware.devices.modbus_unit import ModbusUnit
from firmware.points import plausible
from host_tests.both.virtual import Virtual
from modbus import hot
from modbus.bank import Bank
from modbus.server import Server

ROOT = Path(__file__).resolve().parents[2]
KNOWN = (1, 2, 3, 4, 5, 6, 15, 16, 22, 23, 43)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """PDUs that are nearly right: a known function, addresses and counts around the limits, bytes added or missing."""
    function = draw(st.sampled_from(KNOWN))
    numbers = draw(st.lists(st.one_of(st.integers(0, 130), st.integers(0, 0xFFFF)), min_size=1, max_size=6))
    tail = draw(st.binary(max_size=30))
    return (bytes([function]) + b"".join(n.to_bytes(2, "big") for n in numbers) + tail)[:253]


@given(st.one_of(requests(), st.binary(min_size=1, max_size=253)))
@example(b"\x2b\x0e\x01\x00")
def test_every_request_is_answered_by_something_a_client_can_read(pdu: bytes) -> None:
    model = Bank(holding=120, inputs=120, coils=120, discretes=120)
    server = Server(model)
    reply = bytearray(260)
    length = server.serve(1, pdu, 0, len(pdu), reply, 3)
    answer = bytes(reply[3 : 3 + length])
    assert 2 <= length <= 253
    assert answer[0] & 0x7F == pdu[0] & 0x7F
    if answer[0] & 0x80:
        assert length == 2 and answer[1] in (1, 2, 3)
        assert list(model.holding) == [0] * 120, "what is refused does not act"
    else:
        decoded = DecodePDU(False).decode(answer)
        assert decoded is not None and decoded.function_code == pdu[0]
    assert server.count.last_error == ""
    assert reply[:3] == b"\0\0\0" and reply[3 + 253 :] == b"\0\0\0\0", "nothing is written outside the answer"


@given(st.binary(max_size=300), st.integers(0, 20))
def test_crc_is_pymodbus_s(data: bytes, start: int) -> None:
    start = min(start, len(data))
    assert hot.crc16(data, start, len(data)).to_bytes(2, "little") == FramerRTU.compute_CRC(data[start:]).to_bytes(2, "big")


@given(st.integers(1, 10**6), st.integers(0, 6))
def test_scale_of_a_table_becomes_a_ratio_as_exact_as_the_board_s_floats(digits: int, places: int) -> None:
    scale = digits / 10**places
    if 1e-6 <= scale <= 1e6:
        multiplier, divisor = ratio(scale)
        assert abs(multiplier / divisor / scale - 1) <= 2e-7


# ---- a register never wraps --------------------------------------------------------------------------------------------
CODES = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "float32": "f"}
SCALES = st.sampled_from([1.0, 10.0, 1000.0, 0.1, 0.001, 1e-6, 1e6, 2.5, 0.3])
SIGNED_SCALES = st.builds(lambda scale, sign: scale * sign, SCALES, st.sampled_from([1, -1]))
NONE = -(2**30)


class Registers:
    """In place of a connection: registers that are read and written."""

    connections = 0
    timeout_ms = 500
    retries = 0

    def __init__(self) -> None:
        self.held: dict[int, int] = {}

    async def read_registers(self, unit: int, address: int, count: int, out: Any, function: int = 3, _: bool = False) -> None:
        for i in range(count):
            out[i] = self.held.get(address + i, 0)

    async def write_registers(
        self, unit: int, address: int, values: Any, count: int, function: int = 16, fresh: Any = None
    ) -> None:
        if fresh:
            fresh()
        assert all(0 <= value <= 0xFFFF for value in values[:count])
        self.held.update(zip(range(address, address + count), values[:count], strict=True))

    def number(self, address: int, kind: str, swapped: bool) -> Any:
        """What the device makes of its registers."""
        words = [self.held[at] for at in range(address, address + struct.calcsize(">" + CODES[kind]) // 2)]
        return struct.unpack(">" + CODES[kind], struct.pack(f">{len(words)}H", *(words[::-1] if swapped else words)))[0]


def measured(table: dict[str, Any], registers: Registers) -> Any:
    """The image of a device with this table, once it has looked at these registers."""
    options = config.check(generic_modbus.OPTIONS, {"host": "here", "table": {**table}}, "x", [])
    image = im.Image()
    usual = connection.open_client
    connection.open_client = lambda name, options, buses, registers_of=registers: registers_of
    try:
        with Virtual(generic_modbus) as life:
            life.live(generic_modbus.Device("x", options, image, {}))
            life.run(50)
    finally:
        connection.open_client = usual
    return image


def quotient(value: int, scale: float) -> Fraction:
    multiplier, divisor = ratio(scale)
    return Fraction(value * divisor, multiplier)


@given(
    st.integers(-(2**30) + 1, 2**30 - 1), st.sampled_from(sorted(CODES)), SIGNED_SCALES, st.booleans(),
    st.sampled_from(["CMD_P", "CMD_CHARGE", "CMD_DISCHARGE", "CMD_MAGNITUDE"]), st.booleans(),
)  # fmt: skip
def test_power_is_written_whole_or_less_and_never_of_another_sign(
    watts: int, kind: str, scale: float, swapped: bool, source: str, may_run: bool
) -> None:
    """Whatever was checked: a site may command what no table was made for."""
    rows = [{"from": source, "address": 10, "type": kind, "scale": scale}, {"from": "CMD_DIRECTION", "address": 20}]
    registers: Any = Registers()
    image = im.Image()
    options = {"refresh_ms": 1000, "control_timeout_ms": 1500}
    image.now[im.CMD_P] = watts
    image.now[im.CMD_RUN] = int(may_run)
    units = {-1: ModbusUnit(registers, 1)}
    with Virtual(generic_writer) as life:
        life.start("x", generic_writer.Writer(image, options, writes_of(rows), units, swapped, Once("x")).run())
        for _ in range(3):  # control is seen to count
            image.now[im.CMD_SEQ] += 1
            life.run(10)
    power = watts if may_run else 0
    said = {"CMD_P": power, "CMD_CHARGE": max(0, -power), "CMD_DISCHARGE": max(0, power), "CMD_MAGNITUDE": abs(power)}[source]
    exact = quotient(said, scale)
    held = Fraction(registers.number(10, kind, swapped))
    assert abs(held) <= abs(exact) and held * exact >= 0
    if kind == "float32":
        assert abs(exact - held) <= abs(exact) * Fraction(1, 2**23)
    else:
        low, high = {"h": (-(2**15), 2**15 - 1), "H": (0, 2**16 - 1), "i": (-(2**31), 2**31 - 1), "I": (0, 2**32 - 1)}[CODES[kind]]
        assert held == min(max(int(exact), low), high)
    assert registers.number(20, "int16", False) == (power > 0) - (power < 0)


@given(st.data(), st.sampled_from(sorted(CODES)), SIGNED_SCALES, st.booleans(), st.integers(2, 9), st.booleans())
def test_difference_is_exact_or_none(data: st.DataObject, kind: str, scale: float, swapped: bool, apart: int, first: bool) -> None:
    code = ">" + CODES[kind]
    size = struct.calcsize(code)
    more, less = (struct.unpack(code, data.draw(st.binary(min_size=size, max_size=size)))[0] for _ in range(2))
    addresses = (100, 100 + apart) if first else (100 + apart, 100)
    row = {"slot": "METER_P", "address": addresses[0], "minus": addresses[1], "type": kind, "scale": scale}
    registers = Registers()
    for at, number in zip(addresses, (more, less), strict=True):
        words = struct.unpack(f">{size // 2}H", struct.pack(code, number))
        registers.held.update(zip(range(at, at + size // 2), words[::-1] if swapped else words, strict=True))
    image = measured({"reads": [row], "word_order": "little" if swapped else "big"}, registers)
    good = image.inp[im.SEQ_METER] > 0
    value = image.inp[im.METER_P]
    multiplier, divisor = ratio(scale)
    whole = [number == number and abs(number) != float("inf") for number in (more, less)]
    if not all(whole):
        assert value == NONE
        return
    terms = [Fraction(number) * multiplier / divisor for number in (more, less)]
    rounded = [int(abs(term) + Fraction(1, 2)) * (1 if term > 0 else -1) for term in terms]
    low, high = next((low, high) for slot, low, high in plausible() if slot == im.METER_P)
    fits = all(abs(term) < 2**30 for term in rounded) and low <= rounded[0] - rounded[1] <= high
    assert (good, value) == ((True, rounded[0] - rounded[1]) if fits else (False, NONE))


@given(st.integers(-(2**30), 2**30), st.integers(1, 10**6), st.integers(1, 10**12))
def test_float_bits_are_the_float_next_to_the_quotient_towards_zero(value: int, multiplier: int, divisor: int) -> None:
    bits = float_bits(value, multiplier, divisor)
    assert 0 <= bits <= 0xFFFFFFFF
    exact = Fraction(value * multiplier, divisor)
    held, beyond = (Fraction(struct.unpack(">f", struct.pack(">I", bits + more))[0]) for more in (0, 1))
    if exact:
        assert abs(held) <= abs(exact) < abs(beyond) and held * exact > 0
    else:
        assert bits == 0


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_constants_are_the_nearest_float(value: float) -> None:
    assert struct.pack(">I", nearest_bits(value)) == struct.pack(">f", value)


def test_the_tables_in_the_documentation_are_good_ones() -> None:
    text = (ROOT / "docs" / "generic_modbus.md").read_text(encoding="utf-8")
    tables = [Table(json.loads(block), 100) for block in re.findall(r"```json\n(.*?)```", text, re.S) if block.startswith("{")]
    assert [(len(table.blocks), len(table.writes), len(table.groups)) for table in tables] == [(2, 4, 1), (2, 4, 2)]
