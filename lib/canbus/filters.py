"""Receive filters: fit any number of (id, mask) pairs into the few that a controller has.

A filter is (id, mask, flags) as machine.CAN takes it; a frame passes if its id equals `id` in the bits of `mask`
and its format (11 or 29 bits) is the filter's.  Merging two filters keeps only the bits on which both agree, so
the result passes everything that either of them passed, and perhaps more: whoever reads must look again.
"""


def _ones(value):
    n = 0
    while value:
        value &= value - 1
        n += 1
    return n


def merge(a, b):
    """The tightest single filter that passes whatever `a` or `b` passes.  Both must be of one format."""
    mask = a[1] & b[1] & (0x1FFFFFFF ^ (a[0] ^ b[0]))
    return (a[0] & mask, mask, a[2])


def fit(filters, most):
    """Reduce `filters` to at most `most`, merging the pairs that lose the least; None: only "accept all" will do.

    Filters of different formats are never merged, so `most` must leave room for one of each format in use.
    """
    left = []
    for can_id, mask, flags in filters:
        item = (can_id & mask, mask, flags)
        if item not in left:
            left.append(item)
    while len(left) > most:
        best = None
        loss = 99
        for i in range(len(left)):
            for j in range(i):
                if left[i][2] != left[j][2]:
                    continue
                both = merge(left[i], left[j])
                lost = max(_ones(left[i][1]), _ones(left[j][1])) - _ones(both[1])
                if lost < loss:
                    loss = lost
                    best = (i, j, both)
        if best is None:
            return None
        i, j, both = best
        left.pop(i)
        left[j] = both
    return left
