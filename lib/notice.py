"""Where drivers say what a person should read: print, until a console takes over and queues it between its own lines."""

sink = print


def say(text: str) -> None:
    """One line for people."""
    sink(text)
