"""Load the site, build it, run the loop, where all is of one build.  From here to "how many watts": app.py, manager.py, kernel/."""

import sys

import generations
import machine

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


def _hold(why: str) -> None:
    """Say what is wrong until Ctrl-C, and nothing else: mpremote comes in, the watchdog has no reason to bite."""
    import time

    watchdog = machine.WDT(timeout=600000)  # boot.py's waits 8 s: too short for who comes to mend it
    try:
        while True:
            print("generation: " + why)
            print("generation: control does not run, contactors stay open.  `make deploy` mends it, Ctrl-C gives the prompt.")
            for _ in range(10):
                watchdog.feed()
                time.sleep_ms(1000)
    except KeyboardInterrupt:
        print("generation: stopped by Ctrl-C.  The watchdog starts the board again in ten minutes.")


def _app(stamp: str):
    """The application of the generation that boot.py has chosen; a reset where that one cannot be built, and another can."""
    print("generation: " + generations.describe(stamp))
    if generations.news:
        print("generation: " + generations.news)
    own = sys.modules.get("ownimage")  # on an image of our own
    for text in (own.describe(), own.news) if own else ():
        if text:
            print("image: " + text)
    # before all that is built: what the stack still shows of a module keeps it in the heap
    watched = generations.is_watched() or (own and own.is_trial())
    try:
        from firmware.app import App

        app = App(generations.folder + "site.json")
        if watched:
            from firmware.selftest import SelfTest

            app.selftest = SelfTest(app)
    except Exception as error:
        if own and own.fails("%s: %s" % (type(error).__name__, error)):
            machine.reset()
        if generations.failed(error):
            print("generation: " + generations.news)
            machine.reset()
        raise
    # for people at the console; the application has no use for it
    app.generation = stamp  # type: ignore[attr-defined]
    app.news = (own and own.news) or generations.news  # type: ignore[attr-defined]
    return app


# by its path: as firmware.generation it would import the package, and half of that may be another build's
firmware, lib = _stamp("firmware/generation"), _stamp("generation")
if generations.problem:
    _hold(generations.problem)
elif firmware == lib != _UNKNOWN:
    app = _app(lib)
    if app.selftest is None:
        del sys.modules["generations"]
        sys.modules.pop("ownimage", None)
    del _app, _stamp, _hold, firmware, generations  # what is named here stays in the heap for ever
    app.run()
elif generations.failed(ValueError("firmware/ is %s, lib/ is %s" % (firmware, lib))):
    machine.reset()
else:
    _hold("firmware/ is %s, lib/ is %s: only a part was copied" % (firmware, lib))
