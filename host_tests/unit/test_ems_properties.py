"""Whatever an EMS writes, in whatever order, the chain stays consistent: what is refused changes nothing, what is accepted is read
back as written, every point stays what its type and range allow, and what acts follows from what can be read."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.modes import Mode
from host_tests.both.emsrig import BASE, Ems
from host_tests.both.plant import Plant
from tools.generate import gen_ems
from tools.generate import gen_ems_points as points

MODELS = (123, 124, 703, 704, 705, 706, 711, 712, 715, 802)


@cache
def places() -> list[gen_ems.Place]:
    """Every point of the chain."""
    return gen_ems.layout()[0]


@cache
def writable() -> list[gen_ems.Place]:
    """Those that an EMS may write."""
    return [p for p in places() if p.access == "RW" and p.model in MODELS and gen_ems.rights_of(p)[0] != "SAME"]


_EDGES = st.sampled_from([0x8000, 0xFFFF, 10000, 10001, 0xD8F0, 60, 5])
WORDS = st.one_of(st.integers(0, 3), st.integers(0, 0xFFFF), _EDGES)
# (which writable point, how far beside it, the words, s that pass then)
WRITES = st.tuples(
    st.integers(0, 10_000),
    st.sampled_from([0, 0, 0, 0, -1, 1]),
    st.lists(WORDS, min_size=1, max_size=6),
    st.sampled_from([0, 0, 0.1, 2]),
)


def registers(ems: Any) -> list[int]:
    """The whole chain, as it is."""
    size = ems.chain.size
    return [word for at in range(0, size, 125) for word in ems.read(BASE + at, min(125, size - at))]


def out_of_range(ems: Any) -> list[str]:
    """Writable points whose value is none that may be written, and enumerations that have no such code."""
    wrong = []
    limits = {
        "PERCENT": (0, 10000), "SIGNED_PERCENT": (-10000, 10000), "WATTS": (-100000, 100000), "SWITCH": (0, 1), "OFF": (0, 0),
        "ON": (1, 1), "SECONDS": (0, 1_000_000), "TWO_BITS": (0, 3), "CONNECT": (1, 2), "CURVE": (1, 2), "RAMP": (1, 20),
    }  # fmt: skip
    for place in writable():
        low, high = limits.get(gen_ems.rights_of(place)[0], (-1 << 40, 1 << 40))
        words = ems.read(BASE + place.at, place.size)
        value = int.from_bytes(b"".join(word.to_bytes(2, "big") for word in words), "big", signed=place.kind in gen_ems.SIGNED)
        if place.name == "OpCtl" and value == 0xFFFF:
            continue  # nobody has written it yet
        if not low <= value <= high:
            wrong.append(f"{place.model}.{place.name} = {value}")
    return wrong


def act(ems: Any, write: tuple[int, int, list[int], float]) -> None:
    """One write and what must be true of it."""
    which, beside, words, seconds = write
    place = writable()[which % len(writable())]
    before = registers(ems)
    at = place.at + beside
    code = ems.refusal(place.model, BASE + at - ems.starts[place.model], *words)
    after = registers(ems)
    if code:
        assert code in (1, 3, 6) and after == before
    else:
        assert after[at : at + len(words)] == words
        assert after[:at] == before[:at] and after[at + len(words) :] == before[at + len(words) :]
    if seconds:
        ems.run(seconds)
    assert ems.server.count.last_error == ""
    assert out_of_range(ems) == []


def follows(ems: Any) -> None:
    """What acts is what the registers say."""
    claims = [one for one in ems.pm.claims() if one["owner"].startswith("ems")]
    asked = ems.get(704, 22) or ems.get(124, 5) or ems.get(802, 10) > 2000
    assert asked or not claims
    if ems.get(704, 22):
        wanted = ems.get_long(704, 24) if ems.get(704, 23) else ems.get_signed(704, 28) * 10
        assert claims and round(claims[0]["kw"] * 1000) == wanted
    if not ems.get(703, 2):
        assert ems.limits() == (0.0, 0.0)
    for enable, percent in ((9, 5), (14, 15)):
        model = 123 if enable == 9 else 704
        if ems.get(model, enable) == 1:
            bound = ems.limits()[0]
            assert bound is not None and bound <= ems.get(model, percent) / 100 + 1e-9


@settings(max_examples=150)
@given(st.lists(WRITES, min_size=1, max_size=25))
def test_any_sequence_of_writes_leaves_the_chain_consistent(writes: list[tuple[int, int, list[int], float]]) -> None:
    ems = Ems(Plant(ramp_up=20.0).ready())
    for write in writes:
        act(ems, write)
    ems.run(0.5)
    if ems.pm.mode != Mode.EMERGENCY:
        follows(ems)


@settings(max_examples=100)
@given(st.integers(39_900, 41_050), st.integers(1, 125), st.sampled_from([1, 126]))
def test_any_piece_of_the_chain_can_be_read_and_nothing_beside_it(address: int, count: int, unit: int) -> None:
    ems = quiet()
    size = gen_ems.layout()[1]
    code = 0
    try:
        found = ems.read(address, count, unit)
    except Exception as refused:
        code = getattr(refused, "code", -1)
    inside = BASE <= address and address + count <= BASE + size
    assert code == (0 if inside else 2)
    if inside:
        assert found == registers(ems)[address - BASE : address - BASE + count]


@cache
def quiet() -> Any:
    """One that nothing happens to."""
    return Ems()


def test_every_writable_point_takes_its_bounds_and_refuses_what_is_beyond() -> None:
    """Each by itself, at a chain as it is after boot: its own value always, and one beyond its range never."""
    for place in writable():
        ems = quiet()
        offset = BASE + place.at - ems.starts[place.model]
        words = ems.read(BASE + place.at, place.size)
        assert ems.refusal(place.model, offset, *words) == 0, place
        beyond = [0x8000] + [0] * (place.size - 1) if place.kind in gen_ems.SIGNED else [0xFFFF] * place.size
        if gen_ems.rights_of(place)[0] != "ANY" and words != beyond:
            assert ems.refusal(place.model, offset, *beyond) == 3, place


def test_every_other_register_refuses() -> None:
    """What is measured, scale factors and models' heads are nobody's to write; what is not implemented keeps its value."""
    ems = quiet()
    size = gen_ems.layout()[1]
    may = {place.at + i for place in writable() for i in range(place.size)}
    rw = [p for p in places() if p.access == "RW" and (p.model, p.plain) not in points.READ_ONLY]
    settable = {p.at + i for p in rw for i in range(p.size)}
    for at in sorted(set(range(size)) - may):
        word = ems.read(BASE + at, 1)[0] ^ 1
        try:
            ems.write(BASE + at, word)
        except Exception as refused:
            assert getattr(refused, "code", -1) == (3 if at in settable else 1), at
        else:
            raise AssertionError(f"register {at} was written")


def test_the_named_points_of_the_client_table_are_where_its_clients_look() -> None:
    """Offsets as protocols and clients have them, not as the generator makes them."""
    known = {(704, "WMaxLimPctEna"): 14, (704, "WMaxLimPctRvrtTms"): 18, (704, "WSetEna"): 22, (704, "WSet"): 24, (704, "WRmp"): 49,
             (704, "WMaxLimPct_SF"): 54, (802, "SoC"): 11, (802, "SetOp"): 50, (124, "StorCtl_Mod"): 5, (123, "WMaxLimPct"): 5,
             (701, "W"): 10, (715, "OpCtl"): 8}  # fmt: skip
    starts = quiet().starts
    found = {(p.model, p.name): BASE + p.at - starts[p.model] for p in places() if (p.model, p.name) in known}
    assert json.dumps(sorted(map(str, found.items()))) == json.dumps(sorted(map(str, known.items())))
