# Runs on a board in its raw REPL, for make deploy: takes a generation in pieces.  LIVE: control runs meanwhile.
# deploy has put generations.mpy and incoming.mpy at the top, where a board with an image of our own has none: they are inside.
import sys
import time

sys.path.insert(0, "")
if not LIVE:  # noqa: F821
    for name in ("generations", "incoming"):
        sys.modules.pop(name, None)
import incoming

sys.path.pop(0)
if LIVE:  # noqa: F821
    import startup

    taking = incoming.Incoming(startup.folder)
else:
    taking = incoming.Incoming()
steps = None


def go(ms):
    """Some steps of what is under way: prints what they give, and whether it is over."""
    began = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), began) < ms:
        step = next(steps, 1)
        if step == 1:
            print("over")
            return
        if step:
            print(*step)
    print("more")
