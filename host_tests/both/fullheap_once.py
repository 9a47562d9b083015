"""There is room for it at the second try only; at the first, half of it is there."""

import fullheap

begun = True
fullheap.tries.append(__name__)
if fullheap.tries.count(__name__) == 1:
    raise MemoryError
whole = True
