"""The hardware watchdog, armed once at power-on and fed from one place.  It survives a soft reset and cannot be stopped."""

_wdt = None


def arm(timeout_ms: int) -> None:
    """Start it; a second call keeps the first."""
    global _wdt
    if _wdt is None:
        import machine

        _wdt = machine.WDT(timeout=timeout_ms)


def lengthen(timeout_ms: int) -> None:
    """Give a started one another time, for somebody who works at the prompt; no effect when it is not armed."""
    if _wdt is not None:
        type(_wdt)(timeout=timeout_ms)  # the port's own way to change it
        _wdt.feed()


def feed() -> None:
    """Put the reset off by the whole timeout.  No effect when it is not armed.  Allocates nothing."""
    if _wdt is not None:
        _wdt.feed()
