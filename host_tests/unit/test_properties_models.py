"""The event ring and the claims against models of a few lines, for any sequence of what can happen to them."""

from __future__ import annotations

import _thread

from hypothesis import given
from hypothesis import strategies as st

from firmware import requests as rq
from firmware.event_codes import Event
from firmware.events import QUEUE, Cursor, Events
from firmware.kernel.requests import age_claims
from firmware.requests import Claims

N_READERS = 3
LIFETIME_MS = st.integers(1, 100_000)


@given(st.lists(st.one_of(st.integers(1, 100), st.tuples(st.integers(0, N_READERS - 1), st.integers(1, 100))), max_size=60))
def test_every_reader_sees_every_event_once_in_order_or_counts_it_as_lost(script: list[int | tuple[int, int]]) -> None:
    """An int posts so many events; (reader, n) lets a reader take up to n."""
    events = Events(_thread.allocate_lock())
    readers = [Cursor(0) for _ in range(N_READERS)]
    seen: list[list[int]] = [[] for _ in range(N_READERS)]
    posted = 0
    for step in script:
        if isinstance(step, int):
            for _ in range(step):
                events.post(Event.CLOCK_SET, posted, 0)
                posted += 1
            continue
        reader, most = step
        for _ in range(most):
            before = readers[reader].lost
            if not events.next(readers[reader]):
                assert len(seen[reader]) + readers[reader].lost == posted, "says that it has seen all"
                break
            skipped = readers[reader].lost - before
            expected = (seen[reader][-1] + 1 if seen[reader] else 0) + skipped
            assert readers[reader].data == expected, "out of order, doubled, or lost without being counted"
            seen[reader].append(readers[reader].data)
    assert events.counts[Event.CLOCK_SET] == posted
    assert [data for _, data, _ in events.history()] == list(range(max(0, posted - QUEUE), posted))


sources = st.integers(0, rq.IDLE - 1)
claims_script = st.lists(
    st.one_of(
        st.tuples(st.just("put"), sources, st.integers(-1000, 1000), st.one_of(LIFETIME_MS, st.just(rq.FOREVER))),
        st.tuples(st.just("drop"), sources, st.just(0), st.just(0)),
        st.tuples(st.just("age"), st.integers(1, 30_000), st.just(0), st.just(0)),
    ),
    max_size=50,
)


@given(claims_script)
def test_the_highest_live_claim_wins_and_each_ends_exactly_once(script: list[tuple[str, int, int, int]]) -> None:
    claims = Claims()
    model: dict[int, tuple[int, int]] = {}  # source: W, ms left
    for what, source, watts, ms in script:
        if what == "put":
            claims.put(source, watts, ms, rq.POWER, 0, f"owner {source}")
            model[source] = (watts, ms)
        elif what == "drop":
            claims.drop(source)
            model.pop(source, None)
        else:
            answer = age_claims(claims.table, rq.IDLE, source)
            ended = 0
            for name, (asked, left) in list(model.items()):
                if left == rq.FOREVER:
                    continue
                if left <= source:
                    ended |= 256 << name
                    del model[name]
                else:
                    model[name] = (asked, left - source)
            assert answer & ~0xFF == ended, "claims that ended"
            assert answer & 0xFF == min(model, default=rq.IDLE), "the one that wins"
        rows = rq.listed(claims.table, claims.owners)
        listed = [(claim["source"], claim["owner"], claim["kw"], claim["seconds_left"]) for claim in rows]
        assert listed == [
            (rq.SOURCES[name], f"owner {name}", asked / 1000, None if left == rq.FOREVER else left / 1000)
            for name, (asked, left) in sorted(model.items())
        ]
