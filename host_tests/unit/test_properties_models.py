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


SHARED = ("remote", "grid_service", "optimiser")  # sources that several programs may be
sources = st.integers(0, rq.IDLE - 1)
names = st.sampled_from(("a", "b", "c"))
claims_script = st.lists(
    st.one_of(
        st.tuples(st.just("put"), sources, names, st.integers(-1000, 1000), st.one_of(LIFETIME_MS, st.just(rq.FOREVER))),
        st.tuples(st.just("drop"), sources, names, st.just(0), st.just(0)),
        st.tuples(st.just("drop all of"), sources, names, st.just(0), st.just(0)),
        st.tuples(st.just("age"), st.integers(1, 30_000), names, st.just(0), st.just(0)),
    ),
    max_size=50,
)


@given(claims_script)
def test_the_highest_source_wins_and_in_it_the_newest_owner_and_each_claim_ends_exactly_once(script: list) -> None:
    claims = Claims()
    model: dict[tuple[int, str], list[int]] = {}  # (source, owner): W, ms left, when it came; an owner stays itself while it renews
    for came, (what, source, owner, watts, ms) in enumerate(script):
        if what == "put":
            if rq.SOURCES[source] not in SHARED:
                others = [key for key in model if key[0] == source and key[1] != owner]
                for key in others:
                    model[source, owner] = model.pop(key)
            claims.put(source, watts, ms, rq.POWER, 0, owner)
            model[source, owner] = [watts, ms, model.get((source, owner), [0, 0, came])[2]]
        elif what == "drop":
            claims.drop_owner(source, owner)
            model.pop((source, owner), None)
        elif what == "drop all of":
            claims.drop(source)
            model = {key: value for key, value in model.items() if key[0] != source}
        else:
            answer = age_claims(claims.table, rq.PLACES, source)
            ended = []
            for key, claim in list(model.items()):
                if claim[1] != rq.FOREVER:
                    claim[1] -= source
                    if claim[1] <= 0:
                        ended.append(key[0])
                        del model[key]
            places = [place for place in range(rq.PLACES) if answer >> 8 >> place & 1]
            assert sorted(claims.table[place * rq.PARTS + rq.SOURCE] for place in places) == sorted(ended), "claims that ended"
            best = min(model, key=lambda key: (key[0], -model[key][2]), default=None)
            if best is None:
                assert answer & 0xFF == rq.PLACES
            else:
                place = answer & 0xFF
                assert (claims.table[place * rq.PARTS + rq.SOURCE], claims.owners[place]) == best, "the one that wins"
                assert rq.newest(claims.table, best[0]) == place
        rows = rq.listed(claims.table, claims.owners)
        listed = [(claim["source"], claim["owner"], claim["kw"], claim["seconds_left"]) for claim in rows]
        assert listed == [
            (rq.SOURCES[source], owner, asked / 1000, None if left == rq.FOREVER else left / 1000)
            for (source, owner), (asked, left, _) in sorted(model.items(), key=lambda item: (item[0][0], -item[1][2]))
        ]
