"""The console's reserve of heap: when a small heap keeps it, and that it has it back when what ran short is over."""

import tracemalloc
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from firmware.services import spare
from firmware.services.spare import Spare

RESERVE = 3 * 1280
AT_REST = 24_000  # bytes free of the Wi-Fi site's heap, without the reserve


class Heap:
    """A heap as the console is told of it after each collection."""

    def __init__(self, small: bool) -> None:
        collector = SimpleNamespace(small=small, before_a_line=lambda: None, sweep=lambda: None)
        self._metering = SimpleNamespace(free_bytes=-1)
        self.spare = Spare(SimpleNamespace(collector=collector, metering=self._metering))
        self._before = tracemalloc.get_traced_memory()[0]

    def kept(self) -> int:
        """Bytes of the reserve."""
        return RESERVE if tracemalloc.get_traced_memory()[0] - self._before > RESERVE // 2 else 0

    def tells(self, free: int) -> None:
        """A collection has found so many bytes free."""
        self._metering.free_bytes = free

    def has(self, free: int) -> None:
        """So many bytes would be free without the reserve: a few turns of the idle console, told by collections."""
        for _ in range(3):
            self.tells(free - self.kept())
            self.spare.is_short(True)


@pytest.fixture(autouse=True)
def _traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_a_small_heap_keeps_a_reserve_only_while_it_is_short() -> None:
    heap = Heap(small=True)
    heap.has(AT_REST)
    assert heap.kept() == 0
    heap.has(15_000)
    assert heap.kept() == RESERVE
    heap.has(18_000)
    assert heap.kept() == RESERVE, "not to and fro"
    heap.has(AT_REST)
    assert heap.kept() == 0, "what it keeps is not free, and does not keep it from being given back"


def test_a_large_heap_keeps_it_always() -> None:
    heap = Heap(small=False)
    for free in (150_000, 15_000, 150_000):
        heap.has(free)
        assert heap.kept() == RESERVE


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("free", [0, 1, 6143])
def test_what_a_line_has_kept_goes_in_a_heap_with_nothing_left_as_in_one_with_little(small: bool, free: int) -> None:
    heap = Heap(small)
    heap.spare.give()
    heap.tells(free)
    assert heap.spare.is_short(True)
    assert not heap.spare.is_short(True), "said once"


def test_a_heap_that_nobody_has_looked_at_is_not_short() -> None:
    heap = Heap(small=True)
    heap.spare.give()
    assert not heap.spare.is_short(True) and heap.kept() == 0


def test_what_a_line_has_kept_goes_where_much_is_free_but_in_pieces_too_small_for_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_crumbs(size: int) -> None:
        raise MemoryError(size)

    heap = Heap(small=False)
    heap.tells(9_000)
    heap.spare.give()
    heap.spare.is_spent()
    assert not heap.spare.is_short(False), "that line alone wanted too much"
    heap.spare.give()
    monkeypatch.setattr(spare, "bytearray", in_crumbs, raising=False)
    assert not heap.spare.is_short(False), "nobody has found it full"
    heap.spare.is_spent()
    assert heap.spare.is_short(False)
    assert not heap.spare.is_short(False), "said once"
