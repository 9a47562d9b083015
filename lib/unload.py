"""Lets a module that has done its work leave the heap; importing it again reads it from flash again."""

import sys


def unload(name: str) -> None:
    """Forget a module here and in its package.  What others still hold of it (its classes, functions) stays alive."""
    if sys.modules.pop(name, None) is not None and "." in name:
        dot = name.rfind(".")
        package = name[:dot]
        last = name[dot + 1 :]
        parent = sys.modules.get(package)
        if parent is not None and hasattr(parent, last):
            delattr(parent, last)
