"""Invariants of our Modbus server, with generated requests, judged by pymodbus's decoder and CRC."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU
from pymodbus.pdu import DecodePDU

from firmware.devices.generic_points import ratio
from firmware.devices.generic_table import Table
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
    server = Server(Bank(holding=120, inputs=120, coils=120, discretes=120))
    reply = bytearray(260)
    length = server.serve(1, pdu, 0, len(pdu), reply, 3)
    answer = bytes(reply[3 : 3 + length])
    assert 2 <= length <= 253
    assert answer[0] & 0x7F == pdu[0] & 0x7F
    if answer[0] & 0x80:
        assert length == 2 and answer[1] in (1, 2, 3)
        assert list(server._model.holding) == [0] * 120, "what is refused does not act"
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


def test_the_tables_in_the_documentation_are_good_ones() -> None:
    text = (ROOT / "docs" / "generic_modbus.md").read_text(encoding="utf-8")
    tables = [Table(json.loads(block), 100) for block in re.findall(r"```json\n(.*?)```", text, re.S) if block.startswith("{")]
    assert [(len(table.blocks), len(table.writes), len(table.groups)) for table in tables] == [(2, 4, 1), (2, 4, 2)]
