"""There is never room for it."""

import fullheap

fullheap.tries.append(__name__)
raise MemoryError
