"""The section "banks" of a site file: what is wrong with it is said by name, in any order, and changes nothing."""

from firmware import bankfile
from firmware import image as im

BATTERY = 0x1F
INVERTER = 1 << im.SEQ_PCS
IO = 1 << im.SEQ_IO
FILLS = {"pcs_b": INVERTER, "bms_a": BATTERY, "io": IO, "bms_b": BATTERY, "pcs_a": INVERTER, "meter": 1 << im.SEQ_METER}


def errors(section):
    found: list = []
    bankfile.check(section, {}, dict(FILLS), found)
    return found


def two(**more):
    section = {
        "a": {"batteries": ["bms_a"], "inverters": ["pcs_a"]},
        "b": {"batteries": ["bms_b"], "inverters": ["pcs_b"]},
    }
    section["a"].update(more)
    return section


def test_a_whole_section_has_nothing_to_say_and_its_banks_stand_in_the_order_of_their_names():
    assert errors(two()) == [] and errors(two(io="io")) == []
    section = {}
    for name in ("b", "a"):
        section[name] = two()[name]
    assert [plan.name for plan in bankfile.check(section, {}, FILLS, [])] == ["a", "b"]


def test_names_that_nobody_could_read_in_a_sentence_are_refused():
    for name in ("", " ", "a b", "a\n", "x" * 17, "%s", "a:"):
        section = two()
        section[name] = section.pop("a")
        found = errors(section)
        assert len(found) == 1 and "1 to 16 letters" in found[0], (name, found)


def test_one_board_of_inputs_cannot_be_two_banks_own():
    section = two(io="io")
    section["b"]["io"] = "io"
    found = errors(section)
    assert len(found) == 1 and "banks.b.io" in found[0] and "bank a" in found[0], found


def test_what_is_no_name_of_a_board_of_inputs_is_refused():
    for given in ({}, [], 0, False, 5, ["io"], "meter", "nobody"):
        found = errors(two(io=given))
        assert len(found) == 1 and "banks.a.io" in found[0], (given, found)


def test_lists_that_are_none_and_devices_twice_are_named():
    for role, wrong in (("batteries", "pcs_a"), ("inverters", "bms_a")):
        for given in (None, "bms_a", [], [1], [None], {"x": 1}, [["bms_a"]], [wrong]):
            found = errors(two(**{role: given}))
            assert any("banks.a.%s" % role in text for text in found), (role, given, found)
    assert any("twice" in text for text in errors(two(batteries=["bms_a", "bms_a"])))
    assert any("bank a already" in text for text in errors(two(batteries=["bms_a", "bms_b"])))
    for given in (None, [], {}, 5, "x", True, {"a": 1}):
        assert errors(given), given
