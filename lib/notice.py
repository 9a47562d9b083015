"""Where drivers say what a person should read: print, until a console takes over and queues it between its own lines.

Who keeps a log may listen too.
"""

sink = print
keep = None  # takes (text, whether it is an error) of what is said from now on; must not raise


def say(text: str, error: bool = False) -> None:
    """One line for people."""
    sink(text)
    if keep is not None:
        keep(text, error)
