"""A MicroPython at its ordinary prompt behind a serial port: what mpremote and `make deploy` meet on a board without firmware."""

import contextlib
import os
import select
import subprocess
import threading
import tty
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def prompt(command: list[str], folder: Path) -> Iterator[str]:
    """Starts it in that folder and gives the path of its port, which goes away when the interpreter ends."""
    folder.mkdir(parents=True, exist_ok=True)
    inside, console = os.openpty()  # the interpreter's terminal
    outside, port = os.openpty()  # the "USB cable"
    tty.setraw(console)
    tty.setraw(port)
    name = os.ttyname(port)
    process = subprocess.Popen(command, stdin=console, stdout=console, stderr=console, cwd=folder, start_new_session=True)
    os.close(console)  # so that the other end sees it end
    ended = threading.Event()

    def cable() -> None:
        while not ended.is_set():
            for end in select.select([inside, outside], [], [], 0.1)[0]:
                try:
                    data = os.read(end, 4096)
                except OSError:
                    data = b""
                if not data and end == inside:
                    os.close(outside)
                    return
                with contextlib.suppress(OSError):
                    os.write(outside if end == inside else inside, data)

    thread = threading.Thread(target=cable, daemon=True)
    thread.start()
    try:
        yield name
    finally:
        ended.set()
        process.kill()
        process.wait()
        thread.join()
        for end in (inside, outside, port):
            with contextlib.suppress(OSError):
                os.close(end)
