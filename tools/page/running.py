"""`make run` with the operator's page, for the browser's stories: the real firmware around a simulated site, and its console."""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from tools.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
OPERATE, SERVICE = "4711", "0815x"
READY_S = 60.0
SERVICE_LOGIN = "service"  # the role whose PIN is typed first


class RunError(Exception):
    """The run did not come up, or did not do what was typed; the text says what it said."""


class Running:
    """One `make run --console --web`; a line typed goes to the board, one that begins with ! to the site.  RunError."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        web = ["--web", str(self.port), "--web-pins", OPERATE, SERVICE]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.run", "--console", *web, *options], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._said: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> "Running":
        until = time.monotonic() + READY_S
        while self._process.poll() is None and time.monotonic() < until:
            try:
                if SERVICE_LOGIN in self.get("/api/session")["logins"] and self.state()["clock"]["state"] == "SYNCED":
                    return self
            except (OSError, ValueError, KeyError):
                pass
            time.sleep(0.2)
        self.close()
        raise RunError("the run did not come up:\n" + "\n".join(self._said[-20:]))

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            self._said.append(line.rstrip())

    def type(self, line: str) -> None:
        """One line at the console."""
        if self._process.stdin is None:
            raise RunError("the run has no input")
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def get(self, path: str) -> dict[str, Any]:
        """A path's JSON, as somebody without a login."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return dict(json.loads(answer.read()))

    def state(self) -> dict[str, Any]:
        """The board's state at this instant."""
        return self.get("/api/state")

    def until(self, condition: str, seconds: float = 30.0) -> dict[str, Any]:
        """The state as soon as a condition over it (as Python, `s` the state) is true."""
        end = time.monotonic() + seconds
        while True:
            state = self.state()
            if eval(condition, {}, {"s": state, **state}):
                return state
            if time.monotonic() > end:
                now = f"{state['mode']}, {state['battery_w']} W, {state['reason']}"
                raise RunError(f"not within {seconds:.0f} s: {condition}; {now}")
            time.sleep(0.2)

    def close(self) -> None:
        """Ends it."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


