"""Methods that are called so rarely that they stay in flash: fetched when called, and let go soon after.

In the sources they are ordinary methods, marked `# rare` behind their `def`; tools/rare.py moves them into a file
beside the module when it is cross-compiled, and gives their class a `__getattr__` that asks here.
"""

import sys

from unload import unload

_held: list = []  # the modules that were loaded for the methods which are in the heap


def method(module: str, this, name: str):
    """The method `name` of `this` out of the module's file of rare ones; AttributeError if it is not there either.

    Constructors are called make, and have a file of their own.
    """
    module = module[module.rfind(".") + 1 :] + ("_make" if name.startswith("make") else "_rare")
    if module not in sys.modules:
        before = set(sys.modules)
        __import__(module)
        for loaded in sys.modules:
            if loaded not in before:
                _held.append(loaded)  # with what only it imports
    function = getattr(sys.modules[module], name)
    return lambda *arguments, **named: function(this, *arguments, **named)


def release() -> None:
    """Let go of all that was fetched; the application calls it now and then.  What is running goes on."""
    while _held:
        unload(_held.pop())
