"""What old tabs, wrong clocks and clumsy people do at the operator's page, in a real browser; stories as in stories.py."""

import json
import time

from tools.page.browser import Browser, Page
from tools.page.running import Running
from tools.page.stories import PINS, STALE_S, confirm, enter, expect, log_in, view

# for a page that is opened after: its streams come to nothing, its charts are kept in window.plots, its history is of 31 h
NO_STREAM = """
window.EventSource = class {
  constructor() { this.readyState = 2; setTimeout(() => this.onerror && this.onerror(), 10); }
  addEventListener() {} close() {}
};
EventSource.CLOSED = 2;"""
KEPT_CHARTS = """
let made;
window.plots = [];
Object.defineProperty(window, "uPlot", {configurable: true, get: () => made, set(real) {
  made = function (...all) { const one = new real(...all); window.plots.push(one); return one; };
  Object.assign(made, real);
}});
const asked = window.fetch;
window.fetch = (path, ...more) => {
  const found = /kind=five&from=([-0-9]+)/.exec(path);
  if (!found) return asked(path, ...more);
  const start = Date.parse(found[1]) / 1000;
  const rows = Array.from({length: 32}, (_, i) => [start + (i - 6) * 3600, 1000]);
  return Promise.resolve(new Response(JSON.stringify({kind: "five", columns: ["time", "battery_w"], rows})));
};"""


def before(page: Page, script: str) -> Page:
    """A script that runs before those of every page that is opened from now on."""
    page.send("Page.addScriptToEvaluateOnNewDocument", source=script)
    return page


def _post(page: Page, path: str, body: dict[str, str]) -> None:
    """As another tab of the same browser does."""
    headers = '{"Content-Type": "application/json", "X-CSRF": session.csrf}'
    sent = f'{{method: "POST", headers: {headers}, body: {json.dumps(json.dumps(body))}}}'
    page.eval(f'fetch("/api/session").then((a) => a.json()).then((session) => fetch("{path}", {sent})).then((a) => a.status)')


def another_tab_logs_in(browser: Browser, run: Running) -> None:
    """A tab that has no stream, and whose login another tab has replaced, still commands: it has the new login's cookie."""
    page = before(browser.page(), NO_STREAM)
    page.open(run.url)
    page.reads("#link", "every 4 s", "it has no stream")
    log_in(page, run, "operate")
    time.sleep(1.1)  # one PIN a second is looked at
    _post(page, "/api/login", {"role": "operate", "pin": PINS["operate"]})
    view(page, "now")
    page.press("#emergency")
    confirm(page)
    run.until("mode == 'EMERGENCY'")
    page.press(".banner button", "Reset")
    confirm(page)
    run.until("mode == 'STANDBY'")
    page.close()


def a_login_ends_amid_an_edit(page: Page, run: Running) -> None:
    """What was typed is still there when the login is over, and can be stored after another one."""
    log_in(page, run, "operate")
    view(page, "schedules")
    page.press("main button", "Add an entry")
    page.fill("#entry-0-kw", "7")
    _post(page, "/api/logout", {})
    page.reads("#login", "Log in", "the login is over, and it says so")
    page.reads("main", "charging 7.0 kW", "what was typed is there")
    time.sleep(1.1)
    page.press("main button", "Log in to change it")
    page.fill("#login-pin", PINS["operate"])
    page.key("Enter")
    page.press("main button", "Save")
    page.reads("#said", "stored", "it is stored")
    page.reads("main .entry", "schedule 0", "the entry has the number by which events and reasons name it")
    page.press("main .entry button", "Remove")
    page.press("main button", "Save")


def events_are_said_in_words(page: Page, run: Running) -> None:
    """Of the first entry too it is said which one has started."""
    run.type("pm.add_schedule(ScheduleEntry(mode=Mode.IDLE, duration_minutes=1440))")
    view(page, "events")
    page.reads("main .log", "Schedule started: schedule 0", "the entry is named")
    run.type("pm.delete_schedule(0)")


def the_clock_is_set_to_when_it_is_sent(page: Page, run: Running) -> None:
    """Who looks at the dialog for a while sets no clock back by it."""
    log_in(page, run, "operate")
    view(page, "schedules")
    page.press("main button", "Set the clock")
    time.sleep(4)
    confirm(page)
    state = run.state()
    expect(abs(state["clock"]["unix"] - time.time()) < 2.5, "the time of when it was sent", state["clock"], time.time())


def a_day_is_drawn_whole(browser: Browser, run: Running) -> None:
    """A day of 25 h, or of a site in another zone than the browser's, loses nothing in the chart."""
    page = before(browser.page(), KEPT_CHARTS)
    enter(page, run)
    view(page, "history")
    day = "window.plots.find(({data: [t]}) => t[t.length - 1] - t[0] > 80000)"  # the view before may have drawn its minutes first
    page.until(f"!!{day}", "it is drawn")
    low, high, first, last = page.eval(f"(({{scales: {{x}}, data: [t]}}) => [x.min, x.max, t[0], t[t.length - 1]])({day})")
    expect(low <= first and high >= last, "all of it is in the picture", low, first, last, high)
    page.close()


def numbers_as_people_type_them(page: Page, run: Running) -> None:
    """A comma is a point, and what is no number, or out of range, is said with its range and asked of nobody."""
    log_in(page, run, "operate")
    view(page, "now")
    for field, typed, said in (
        ("kw", "5,5", "Charge with 5.5 kW?"), ("kw", "abc", "abc kW: allowed are more than 0, up to 100 kW"),
        ("kw", "0", "allowed are"), ("kw", "-5", "allowed are"),
        ("soc", "0", "State of charge = 0 %: allowed are 20 to 90 %"), ("soc", "101", "20 to 90 %"),
        ("soc", "80,5", "Charge to 80.5 %?"),
    ):  # fmt: skip
        page.fill("#cmd-kw", typed if field == "kw" else "")
        page.fill("#cmd-soc", typed if field == "soc" else "")
        page.press("main form button[type=submit]")
        found = page.until("(document.querySelector('dialog h2') || document.querySelector('main form .wrong')).innerText")
        expect(said in str(found), f"{field} {typed}", found)
        page.key("Escape")
        page.until("!document.querySelector('dialog')", "the dialog is gone")
    page.press("main button", "Limit")
    said_of = {"": "Give a bound", "1000": "Discharging at most, kW = 1000: allowed are 0 to 100 kW", "x": "allowed are"}
    for typed, said in said_of.items():
        page.fill("#limit-dis", typed)
        page.press("dialog button[type=submit]")
        page.reads("dialog .wrong", said, f"a limit of {typed}")
    page.key("Escape")
    view(page, "schedules")
    page.press("main button", "Add an entry")
    page.fill("#entry-0-kw", "5,5")
    page.reads("main .entry", "charging 5.5 kW", "a comma is a point here too")
    page.fill("#entry-0-minutes", "x")
    page.reads("main [role=alert]", "For, minutes = x: must be a number", "what is no number is said")
    page.fill("#entry-0-minutes", "60")
    page.fill("#entry-0-time", "")
    page.press("main button", "Save")
    page.reads("main [role=alert]", "must be a time of day", "an empty time is not the one before")
    expect(not run.get("/api/schedules")["entries"], "nothing was stored")
    page.press("main .entry button", "Remove")


def settings_in_words(page: Page, run: Running) -> None:
    """The kind of grid connection is chosen by its name; a key that stands twice is said before anything is sent."""
    log_in(page, run, "service")
    view(page, "config")
    page.until("document.querySelector('#set-grid_connection option[value=BACKUP]')", "the kinds have their names")
    expect(page.eval("document.querySelector('#set-grid_connection').value") == "INTERACTIVE", "that of the site is chosen")
    page.fill("#set-grid_connection", "EXPORT")
    text = "document.querySelector('#site-json')"
    expect(page.eval(f"JSON.parse({text}.value).power.grid_connection") == "EXPORT", "it is written by its name")
    page.eval(f"""{text}.value = {text}.value.replace('"min_soc":', '"min_soc": 5, "min_soc":'); 1""")
    page.press("main button", "Check")
    page.reads("main .banner", '"min_soc" stands twice', "the key is named")


def the_device_s_clock_is_put_back(page: Page, run: Running) -> None:
    """Some hours back amid it all: the end of a command is told by the board's clock, and what is lost is seen to be lost."""
    log_in(page, run, "operate")
    view(page, "now")
    back = "(() => { const was = Date.now; Date.now = () => was() - 9000000; })()"
    page.eval(back)
    page.press("main form button[type=submit]")
    local = run.state()["clock"]["unix"] + 3600
    wanted = [page.eval(f"new Date({(local + more) * 1000}).toTimeString().slice(0, 5)") for more in (-8, 0)]
    expect(any(f"at {each}." in page.text("dialog") for each in wanted), "by the board's clock", page.text("dialog"), wanted)
    page.key("Escape")
    run.type("!kill")
    time.sleep(0.5)
    page.eval(back)
    page.until("document.querySelector('body.stale')", "the lost connection is said", STALE_S)
    run.type("!restart")
    page.until("!document.querySelector('body.stale')", "it is live again", 40)
