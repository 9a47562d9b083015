"""What a person does at the operator's page, step by step in a real browser, and what must come of it on the board.

Each story is a function of a page and the run behind it; it raises StoryError, BrowserError or RunError where something is
not as it must be.  tools/page/__main__.py plays all of them, the suite's test the short ones.
"""

import json
import re
import time
from pathlib import Path

from tools.page.browser import Browser, Page
from tools.page.running import OPERATE, SERVICE, Running

VIEWS = {
    "now": ".flow .wire",
    "history": ".keys button[aria-pressed=true]",
    "schedules": "dl.pairs dd",
    "events": ".log li",
    "devices": "tbody tr .chip",
    "config": "main .card",
}
PINS = {"operate": OPERATE, "service": SERVICE}
_REFUSED = re.compile("Failed to load resource: the server responded with a status of 4")
SERIOUS = ("serious", "critical")
STALE_S = 12


class StoryError(Exception):
    """The page, or the board behind it, did something else; the text says what was expected."""


def expect(is_so: object, words: str, *more: object) -> None:
    """StoryError where it is not so."""
    if not is_so:
        raise StoryError(": ".join([words, *map(str, more)]))


def enter(page: Page, run: Running) -> None:
    """The page comes up, live."""
    page.open(run.url)
    page.until("document.querySelector('#link.live')", "it is live")


def view(page: Page, name: str) -> None:
    """Opens a view by its link."""
    page.press(f'nav a[data-view="{name}"]')
    here = f'nav a[data-view="{name}"][aria-current=page]'
    page.until(f"document.querySelector({here!r}) && document.querySelector({VIEWS[name]!r})", f"the view {name}")


def every_view(page: Page, run: Running) -> None:
    """Every view opens, with what it is for, and the keyboard is in it."""
    for name in VIEWS:
        view(page, name)
        page.until("document.activeElement.id === 'main'", f"{name}: the keyboard's place is in the view", 3)
        expect(page.eval("document.querySelectorAll('h1').length") == 1 or name == "config", f"{name}: has one heading")
    view(page, "now")


def no_complaints(page: Page) -> None:
    """Nothing was complained of at the browser's console, but refusals that a story has provoked."""
    found = [words for words in page.complaints if not (_REFUSED.match(words) and any(each in words for each in page.forgiven))]
    expect(not found, "errors at the console", found)
    foreign = [url for url in page.requests if not url.startswith(("http://127.0.0.1:", "data:", "about:"))]
    expect(not foreign, "something was fetched from elsewhere", foreign)


def viewer_is_refused(page: Page, run: Running) -> None:
    """Who has no login sees, is offered no command, and gets none through either."""
    view(page, "now")
    expect("log in as operator" in page.text("main"), "a viewer is told to log in")
    expect(not page.eval("document.querySelector('#cmd-kw')"), "a viewer has no field for a power")
    before = run.state()["request_w"]
    for body, csrf in (({"do": "power", "kw": 5, "minutes": 5, "confirm": True}, ""), ({"do": "stop", "confirm": True}, "x")):
        request = {"method": "POST", "headers": {"Content-Type": "application/json", "X-CSRF": csrf}, "body": json.dumps(body)}
        answered = "(async (a) => [a.status, (await a.json()).error])"
        status, words = page.eval(f'fetch("/api/command", {json.dumps(request)}).then({answered})')
        expect(status in (401, 403) and words, "a viewer's command is refused in words", status, words)
    expect(run.state()["request_w"] == before, "nothing was commanded")
    page.forgiven.add("/api/command")


def wrong_pin(page: Page, run: Running) -> None:
    """A wrong PIN is said where it was typed, and the dialog stays."""
    page.press("#login")
    page.fill("#login-role", "operate")
    page.fill("#login-pin", "9999")
    page.press("dialog button[type=submit]")
    page.reads("dialog .wrong", "PIN", "a wrong PIN is said")
    page.key("Escape")
    page.until("!document.querySelector('dialog') && document.activeElement.id === 'login'", "the keyboard is back at the button")
    page.forgiven.add("/api/login")
    time.sleep(1.1)  # one PIN a second is looked at


def log_in(page: Page, run: Running, role: str) -> None:
    """Logs in, out of another role first."""
    if "Log out" in page.text("#login"):
        log_out(page)
        time.sleep(1.1)
    page.press("#login")
    page.fill("#login-role", role)
    page.fill("#login-pin", PINS[role])
    page.key("Enter")
    page.reads("#login", "Log out", f"logged in as {role}")
    page.until("!document.querySelector('dialog')", "the dialog is gone")


def log_out(page: Page) -> None:
    """Logs out."""
    page.press("#login")
    page.reads("#login", "Log in", "logged out")


def confirm(page: Page) -> None:
    """Says yes in the dialog."""
    page.press("dialog button[type=submit]")
    page.until("!document.querySelector('dialog')", "the dialog is gone", 15)


def starts(page: Page, run: Running) -> None:
    """Start, as an operator does."""
    view(page, "now")
    page.press("main button", "Start")
    confirm(page)
    run.until("mode == 'IDLE'")


def command_moves_the_battery(page: Page, run: Running, kw: float = 12.0) -> None:
    """A charge with a lifetime moves the battery, is shown with its end, and is given back."""
    view(page, "now")
    page.press(".keys button", "Charge")
    page.fill("#cmd-kw", "9999")
    page.press("form button[type=submit]", "Charge")
    page.until("document.querySelector('#cmd-kw[aria-invalid]')", "too much is said beside the field")
    page.fill("#cmd-kw", str(kw))
    page.fill("#cmd-minutes", "15")
    page.press("form button[type=submit]", "Charge")
    page.reads("dialog", "15 min", "the dialog says when it ends")
    confirm(page)
    state = run.until(f"abs(battery_w + {kw * 1000}) < 400")
    claim = next(claim for claim in state["claims"] if claim["w"] == -kw * 1000)
    expect(0 < claim["left_s"] <= 900, "the command ends by itself", claim)
    page.reads("h1", "Charging", "the page says that it charges")
    label = "document.querySelector('.flow').getAttribute('aria-label')"
    page.until(f"[{kw:.0f}, {kw - 1:.0f}].some((kw) => {label}.includes(`Battery: charging ${{kw}}.`))", "so does the picture")


def gives_back(page: Page, run: Running) -> None:
    """Give back ends what was commanded."""
    page.press("main button", "Give back")
    confirm(page)
    run.until("abs(battery_w) < 300 and not claims")


def wrong_configuration_is_explained(page: Page, run: Running) -> None:
    """A value that cannot be is said beside its field in the board's words; nothing is stored."""
    view(page, "config")
    page.until("document.querySelector('#set-max_soc')", "the fields are there")
    before = page.eval("fetch('/api/config').then((a) => a.text())")
    page.fill("#set-max_soc", "300")
    page.fill("#set-max_charge_power", "much")
    page.press("main button", "Check")
    words = page.until("document.querySelector('#set-max_soc-wrong').innerText", "the board's words stand beside the field")
    expect("300" in str(words) and "100" in str(words), "they name value and range", words)
    expect(page.eval("document.querySelector('#set-max_charge_power').matches('[aria-invalid=true]')"), "the other field too")
    page.press("main button", "Store")
    page.reads("main .banner", "Nothing was stored", "nothing was stored")
    expect(not page.eval("document.querySelector('dialog')"), "it is not even asked")
    expect(page.eval("fetch('/api/config').then((a) => a.text())") == before, "the site file is as it was")
    page.forgiven.add("/api/config")
    page.fill("#set-max_soc", "85")
    page.fill("#set-max_charge_power", "")
    page.press("main button", "Check")
    page.reads("#said", "nothing wrong", "a good one is said to be so")


def history(page: Page, run: Running) -> None:
    """Every span of the history is drawn, and can be had as a table and as CSV, of what the board remembers."""
    view(page, "history")
    for words in ("Month", "Year", "All years", "Day", "Hour"):
        page.press("main .keys button", words)
        page.reads(".keys button[aria-pressed=true]", words, f"{words} is chosen")
        page.until("document.querySelector('main canvas')", f"{words} is drawn")
    page.press("main summary")
    page.until("document.querySelectorAll('main tbody tr').length > 3", "the seconds stand in a table")
    csv = str(page.eval("fetch(document.querySelector('a[download]').href).then((a) => a.text())"))
    expect(csv.startswith("time,") and csv.count("\n") > 3, "it can be had as CSV", csv[:200])


def schedule(page: Page, run: Running) -> None:
    """An entry is added, previewed, stored, and goes again; a wrong one is refused in words."""
    view(page, "schedules")
    page.press("main button", "Add an entry")
    page.fill("#entry-0-kw", "5")
    page.fill("#entry-0-minutes", "0")
    page.reads("main [role=alert]", "1440", "no minutes are refused in the board's words")
    page.forgiven.add("/api/schedules")
    page.fill("#entry-0-minutes", "90")
    page.reads("main", "charging 5.0 kW for 1 h 30 min", "the preview says what will start")
    days = "[...document.querySelectorAll('.days input')]"
    page.eval(f"{days}.forEach((box) => box.click()); 1")
    page.press("main button", "Save")
    page.reads("main [role=alert]", "on no day", "no day is not every day")
    expect(not run.get("/api/schedules")["entries"], "nothing was stored")
    page.eval(f"{days}.forEach((box) => box.click()); 1")
    page.press("main button", "Save")
    page.reads("#said", "stored", "it is stored")
    entries = run.get("/api/schedules")["entries"]
    expect(len(entries) == 1 and entries[0]["kw"] == -5 and entries[0]["minutes"] == 90, "the board has it", entries)


def schedule_goes(page: Page, run: Running) -> None:
    """The entry goes again."""
    view(page, "schedules")
    page.press("main .entry button", "Remove")
    page.press("main button", "Save")
    end = time.monotonic() + 10
    while run.get("/api/schedules")["entries"]:
        expect(time.monotonic() < end, "the board has no entry left")
        time.sleep(0.2)


def emergency_and_back(page: Page, run: Running) -> None:
    """The button stops everything after one question; reset and start bring it back."""
    page.press("#emergency")
    page.press("dialog button", "Stop now")
    run.until("mode == 'EMERGENCY' and battery_w == 0")
    page.reads("#banners", "Emergency: ", "it stands above all in red")
    view(page, "now")
    page.press(".banner button", "Reset")
    confirm(page)
    run.until("mode == 'STANDBY'")
    page.until("!document.querySelector('#banners').innerText.includes('Emergency')", "the banner goes, and what is below moves up")
    starts(page, run)


def accessible(page: Page, axe: Path, where: str) -> None:
    """axe-core finds nothing serious in what is shown."""
    page.eval(f"{axe.read_text()}; 1")
    found = page.eval("""axe.run(document, {resultTypes: ["violations"]}).then((r) => r.violations.map((v) =>
        [v.impact, v.id, v.help, v.nodes.slice(0, 4).map((n) => n.html.slice(0, 160) + " " + (n.any[0] || {}).message)]))""")
    serious = [each for each in found if each[0] in SERIOUS]
    expect(not serious, f"axe-core, {where}", json.dumps(serious, indent=1))


def stillness(page: Page, run: Running) -> None:
    """Where the device asks for stillness nothing moves, and the arrows still tell the direction."""
    view(page, "now")
    moving = "getComputedStyle(document.querySelector('.flow .run')).animationName"
    expect(page.eval(moving) == "run", "the picture moves")
    page.prefers(dark=False, still=True)
    expect(page.eval(moving) == "none", "it stands still")
    shown = "[...document.querySelectorAll('.arrow')].some((e) => getComputedStyle(e).visibility === 'visible')"
    expect(page.eval(shown), "the arrows still tell the direction")
    page.prefers(dark=False)


def keyboard(page: Page, run: Running) -> None:
    """Without a mouse: the first key leads past the frame, a view opens by Enter, a dialog holds the keyboard and gives it back."""
    enter(page, run)
    page.eval("document.activeElement.blur()")
    page.key("Tab")
    expect(page.eval("document.activeElement.className") == "skip", "the first stop is the way to the content")
    page.key("Enter")
    expect(page.eval("document.activeElement.id") == "main", "it leads to the content")
    page.eval("document.querySelector('nav a[data-view=history]').focus()")
    page.key("Enter")
    page.reads("h1", "History", "Enter opens a view")
    page.until("document.activeElement.id === 'main'", "the keyboard is in it")
    page.eval("document.querySelector('#login').focus()")
    page.key("Enter")
    page.until("document.querySelector('dialog[open]')", "Enter opens the dialog")
    outside = "document.activeElement !== document.body && !document.activeElement.closest('dialog')"
    for _ in range(12):
        page.key("Tab")
        expect(not page.eval(outside), "the keyboard stays in the dialog")
    page.key("Escape")
    page.until("!document.querySelector('dialog') && document.activeElement.id === 'login'", "Escape gives it back")


def a_full_board_still_shows(browser: Browser, run: Running, streams: int = 4) -> None:
    """More pages than the board has places for live streams: the next one asks now and then, and is not stale."""
    pages = [browser.page() for _ in range(streams)]
    for page in pages:
        enter(page, run)
    late = browser.page()
    late.open(run.url)
    late.reads("#link", "every 4 s", "the page without a stream asks every few seconds")
    late.until("document.querySelector('.flow')", "it shows what the battery does")
    time.sleep(6)
    expect(not late.eval("document.body.classList.contains('stale')"), "it is not stale between two answers")
    pages[0].close()
    late.reads("#link", "live", "it gets the stream of a page that has gone")
    for page in (*pages[1:], late):
        page.close()


def a_restart_is_survived(page: Page, run: Running) -> None:
    """The board starts again: the page is live again by itself, and says that the login is over."""
    run.type("!kill")
    page.until("document.querySelector('body.stale')", "the lost connection is said", STALE_S)
    run.type("!restart")
    page.until("document.querySelector('#link.live') && !document.querySelector('body.stale')", "it is live again", 40)
    page.reads("#login", "Log in", "the login is over, and it says so")


def lost_connection_is_said(page: Page, run: Running) -> None:
    """The board is gone: the page says so, and nothing looks live any more."""
    view(page, "now")
    run.close()
    page.until("document.querySelector('body.stale #link.lost')", "the lost connection is said", STALE_S)
    expect("is not live" in page.text("#banners"), "the banner says since when", page.text("#banners"))
    expect(float(str(page.eval("getComputedStyle(document.querySelector('.flow')).opacity"))) < 1, "the values are greyed")
