"""Drives a real Chromium over its DevTools pipe: opens pages, presses, types, looks, and hears what the page complains of.

No library: the protocol is JSON over two pipes (https://chromedevtools.github.io/devtools-protocol/).
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ROOT / ".cache" / "chromium" / "chromium"
NAMES = ("chromium", "chromium-headless-shell", "google-chrome", "chromium-browser")
PATIENCE_S = 60.0
POLL_S = 0.1
_OPTIONS = (
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check", "--disable-gpu",
    "--hide-scrollbars", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--mute-audio", "--force-color-profile=srgb", "--font-render-hinting=none", "--disable-dev-shm-usage", "--lang=en-GB",
)  # fmt: skip


class BrowserError(Exception):
    """The browser, or what it was asked for, failed; the text says what."""


def find() -> Path | None:
    """The browser: $CHROMIUM, the one that setup has unpacked, one of the system; None where there is none."""
    given = os.environ.get("CHROMIUM")
    if given:
        return Path(given)
    if BUNDLED.exists():
        return BUNDLED
    return next((Path(found) for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One headless Chromium with an empty profile; close() ends it.  Raises BrowserError where it does not start."""

    def __init__(self, program: Path | None = None) -> None:
        program = program or find()
        if program is None:
            raise BrowserError("no Chromium: `make setup` fetches one from Debian, CHROMIUM=path names another")
        self._profile = Path(tempfile.mkdtemp(prefix="chromium-"))
        to_read, self._to = os.pipe()
        self._from, from_write = os.pipe()
        options = [*_OPTIONS, f"--user-data-dir={self._profile}", "--no-sandbox"]

        def pipes() -> None:  # the browser reads at 3 and writes at 4
            ours, theirs = os.dup(to_read), os.dup(from_write)
            os.dup2(ours, 3)
            os.dup2(theirs, 4)

        self._process = subprocess.Popen(
            [str(program), *options, "about:blank"], preexec_fn=pipes, close_fds=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self._profile), "TZ": "Europe/Berlin", "LANGUAGE": "en_GB", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        os.close(to_read)
        os.close(from_write)
        self._number = 0
        self._heard = b""
        self._answers: dict[int, dict[str, Any]] = {}
        self._pages: dict[str, Page] = {}
        self.version = str(self.send("Browser.getVersion")["product"])

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends it and forgets its profile."""
        for descriptor in (self._to, self._from):
            os.close(descriptor)  # it ends with its pipe
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its answer."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE_S
        while number not in self._answers:
            if time.monotonic() > until:
                raise BrowserError(f"{method}: no answer within {PATIENCE_S:.0f} s")
            self.listen(POLL_S)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error'].get('message')}")
        return dict(answer["result"])

    def listen(self, seconds: float) -> None:
        """Takes in what the browser tells within that time."""
        if not select.select([self._from], [], [], seconds)[0]:
            if self._process.poll() is not None:
                raise BrowserError(f"the browser has ended with status {self._process.returncode}")
            return
        data = os.read(self._from, 1 << 20)
        if not data:
            raise BrowserError(f"the browser has ended with status {self._process.wait()}")
        *whole, self._heard = (self._heard + data).split(b"\0")
        for text in whole:
            message = json.loads(text)
            if "id" in message:
                self._answers[message["id"]] = message
            elif message.get("sessionId") in self._pages:
                self._pages[message["sessionId"]].told(message["method"], message["params"])

    def page(self, width: int = 1280, height: int = 900, dark: bool = False, phone: bool = False) -> "Page":
        """An empty page with cookies of its own."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        target = self.send("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = str(self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        page = Page(self, session, target)
        self._pages[session] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.send(f"{domain}.enable")
        scale = 2 if phone else 1
        page.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone)
        page.send("Emulation.setTouchEmulationEnabled", enabled=phone)
        page.send("Emulation.setLocaleOverride", locale="en-GB")
        page.prefers(dark)
        return page


class Page:
    """A page of the browser.  `complaints`: what it has said at its console as an error, raised, or failed to load.

    `forgiven`: paths that were refused because a story wanted it so.
    """

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self.complaints: list[str] = []
        self.forgiven: set[str] = set()
        self.requests: deque[str] = deque(maxlen=2000)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command to this page."""
        return self._browser.send(method, self._session, **parameters)

    def told(self, method: str, params: dict[str, Any]) -> None:
        """Something that the browser tells of this page."""
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(each.get("value", each.get("description"))) for each in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}".strip())
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def prefers(self, dark: bool, still: bool = False) -> None:
        """What the person's device wishes: dark or light, no motion."""
        self.send("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ])  # fmt: skip

    def open(self, url: str) -> None:
        """Goes there, and waits until the document is complete."""
        answer = self.send("Page.navigate", url=url)
        if answer.get("errorText"):
            raise BrowserError(f"{url}: {answer['errorText']}")
        self.until("document.readyState === 'complete'", f"{url} is there")

    def eval(self, script: str) -> Any:
        """The value of a piece of JavaScript, awaited.  BrowserError where it raises."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(f"{script[:100]}: {details.get('exception', {}).get('description') or details['text']}")
        return answer["result"].get("value")

    def until(self, script: str, what: str = "", seconds: float = PATIENCE_S) -> Any:
        """The value of a script as soon as it is true.  BrowserError, with what the page shows, where it does not become so."""
        end = time.monotonic() + seconds
        while True:
            try:
                found = self.eval(script)
            except BrowserError:
                found = None
            if found not in (None, False, 0, ""):  # an element comes as {}
                return found
            if time.monotonic() > end:
                shown = str(self.eval("document.body ? document.body.innerText : ''"))[:1500]
                raise BrowserError(f"not within {seconds:.0f} s: {what or script}\n{shown}\n{self.complaints}")
            self._browser.listen(POLL_S)

    def text(self, selector: str = "body") -> str:
        """What the first element of a selector shows; "" where there is none."""
        return str(self.eval(f"(document.querySelector({selector!r}) || {{}}).innerText || ''"))

    def reads(self, selector: str, words: str, what: str) -> None:
        """Waits until the first element of a selector shows these words.  BrowserError where it does not."""
        self.until(f"document.querySelector({selector!r}).innerText.includes({json.dumps(words)})", what)

    def press(self, selector: str, words: str = "") -> None:
        """Clicks the first visible element of a selector (with these words in it) with a real mouse."""
        script = f"""(() => {{
            const all = [...document.querySelectorAll({json.dumps(selector)})].filter((e) => e.getClientRects().length);
            const found = all.find((e) => !{json.dumps(words)} || e.innerText.trim().startsWith({json.dumps(words)}));
            if (!found || found.disabled) return null;
            found.scrollIntoView({{block: "center", behavior: "instant"}});
            const box = found.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        x, y = self.until(script, f"{selector} {words} can be pressed", 10)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def fill(self, selector: str, text: str) -> None:
        """Puts text into a field in place of what is there, as typed; chooses it in a select."""
        self.until(f"document.querySelector({selector!r})", f"{selector} is there", 10)
        kind = self.eval(f"""(() => {{
            const field = document.querySelector({selector!r});
            field.focus();
            if (field.tagName === "SELECT") {{
                field.value = {json.dumps(text)};
                field.dispatchEvent(new Event("change", {{bubbles: true}}));
            }} else if (field.select) field.select();
            return field.tagName;
        }})()""")
        if kind != "SELECT":
            self.send("Input.insertText", text=text) if text else self.key("Delete")

    def key(self, name: str) -> None:
        """One key: Tab, Enter, Escape, Delete."""
        code = {"Tab": 9, "Enter": 13, "Escape": 27, "Delete": 46}[name]
        text = {"Enter": "\r"}.get(name, "")
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **more)

    def shot(self, file: Path, whole: bool = False) -> None:
        """A picture of what is shown, or of the whole page, as PNG."""
        file.parent.mkdir(parents=True, exist_ok=True)
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(answer["data"]))

    def offline(self, is_off: bool) -> None:
        """Cuts the page's network, or gives it back."""
        self.send("Network.emulateNetworkConditions", offline=is_off, latency=0, downloadThroughput=-1, uploadThroughput=-1)

    def close(self) -> None:
        """Ends the page."""
        self._browser.send("Target.closeTarget", targetId=self._target)
