"""People's units become whole numbers: the nearest, and nothing for less than one (tiny-is-not-none)."""

from firmware.image import parts


def test_parts_are_the_nearest_and_none_for_less_than_one():
    for value, per_unit, expected in (
        (50, 1000, 50000),
        (32.1, 1000, 32100),
        (0.001, 1000, 1),
        (0.1, 10, 1),
        (0.01, 100, 1),
        (45.55, 100, 4555),
        (0.0009, 1000, 0),
        (0.09, 10, 0),
        (1e-17, 1000, 0),
        (0, 10, 0),
        (0.0, 10, 0),
    ):
        assert parts(value, per_unit) == expected and parts(-value, per_unit) == -expected
