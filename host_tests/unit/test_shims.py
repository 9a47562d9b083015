"""The CPython shims behave as MicroPython does where board code relies on it."""

import asyncio
import time

from hypothesis import given
from hypothesis import strategies as st

PERIOD = 1 << 30


@given(st.integers(0, PERIOD - 1), st.integers(-PERIOD // 2, PERIOD // 2 - 1))
def test_ticks_diff_undoes_ticks_add_across_the_wrap(start: int, delta: int) -> None:
    later = time.ticks_add(start, delta)  # type: ignore[attr-defined]
    assert 0 <= later < PERIOD
    assert time.ticks_diff(later, start) == delta  # type: ignore[attr-defined]


def test_ticks_ms_stays_inside_its_period() -> None:
    assert 0 <= time.ticks_ms() < PERIOD  # type: ignore[attr-defined]


def test_board_code_imports_and_sleeps_under_cpython() -> None:
    from firmware import image

    assert image.Image().now[image.AGE] == image.AGE_NEVER
    asyncio.run(asyncio.sleep_ms(1))  # type: ignore[attr-defined]
