"""Load the site, build it, run the loop, where all is of one build.  From here to "how many watts": app.py, manager.py, kernel/."""

import sys

_UNKNOWN = "unknown"


def _stamp(module: str) -> str:
    """Of which build a folder is: its small module is imported and let go again."""
    try:
        stamp = __import__(module).STAMP
    except Exception as error:
        print("generation: %s: %s" % (module, error))
        return _UNKNOWN
    del sys.modules[module]
    return "from sources" if stamp == "sources" else stamp


def _hold(firmware: str, lib: str) -> None:
    """Say what is mixed until Ctrl-C, and nothing else: mpremote comes in, the watchdog has no reason to bite."""
    import time

    import machine

    watchdog = machine.WDT(timeout=600000)  # boot.py's waits 8 s: too short for who comes to mend it
    try:
        while True:
            print("generation: firmware/ is %s, lib/ is %s: only a part was copied" % (firmware, lib))
            print("generation: control does not run, contactors stay open.  `make deploy` mends it, Ctrl-C gives the prompt.")
            for _ in range(10):
                watchdog.feed()
                time.sleep_ms(1000)
    except KeyboardInterrupt:
        print("generation: stopped by Ctrl-C.  The watchdog starts the board again in ten minutes.")


# by its path: as firmware.generation it would import the package, and half of that may be another build's
firmware, lib = _stamp("firmware/generation"), _stamp("generation")
if firmware == lib != _UNKNOWN:
    print("generation: " + lib)
    from firmware.app import App

    app = App("site.json")
    app.generation = lib  # type: ignore[attr-defined]  # for people at the console; the application has no use for it
    del _stamp, _hold, firmware  # what is named here stays in the heap for ever
    app.run()
else:
    _hold(firmware, lib)
