"""`make page`: every story in a real Chromium against `make run`, axe-core on every view, and the pictures of docs/page.

    python -m tools.page --docs      writes those that the manual shows into docs/page
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tools.page import stories
from tools.page.browser import Browser, BrowserError, Page
from tools.page.packages import PackageError, axe
from tools.page.running import RunError, Running
from tools.page.stories import StoryError

ROOT = Path(__file__).resolve().parents[2]
SCRATCH = ROOT / "build" / "page"
DOCS = ROOT / "docs" / "page"
OF_DOCS = ("now-light", "now-dark", "phone-now-light", "phone-now-dark", "phone-schedules-light", "history-dark", "schedules-light",
           "settings-light", "trouble", "two-banks", "lost")  # fmt: skip
SITE = ("--site", "docs/site.operator.json")  # with PV, a history and a clock


class Tale:
    """Plays stories one after the other and keeps what failed."""

    def __init__(self, shots: Path) -> None:
        self.failed: list[str] = []
        self._shots = shots

    def play(self, name: str, story: Callable[[], object]) -> bool:
        """One story; its outcome as a line."""
        began = time.monotonic()
        try:
            story()
        except (StoryError, BrowserError, RunError) as error:
            self.failed.append(name)
            print(f"FAILED  {name}: {error}", flush=True)
            return False
        print(f"ok      {name} ({time.monotonic() - began:.1f} s)", flush=True)
        return True

    def shot(self, page: Page, name: str, whole: bool = True) -> None:
        """A picture."""
        page.eval("document.querySelector('#said button') && document.querySelector('#said button').click()")
        page.shot(self._shots / f"{name}.png", whole)


def one_site(tale: Tale, browser: Browser, judge: Path) -> None:
    """A person without a login, an operator, service; light and dark, desktop and phone."""
    with Running(*SITE) as run:
        page = browser.page()
        tale.play("it comes up, live", lambda: stories.enter(page, run))
        tale.play("every view opens", lambda: stories.every_view(page, run))
        tale.play("a viewer is refused", lambda: stories.viewer_is_refused(page, run))
        tale.play("a wrong PIN is said", lambda: stories.wrong_pin(page, run))
        tale.play("an operator logs in", lambda: stories.log_in(page, run, "operate"))
        tale.play("it starts", lambda: stories.starts(page, run))
        tale.play("a command moves the battery", lambda: stories.command_moves_the_battery(page, run))
        tale.play("the history is drawn", lambda: stories.history(page, run))
        tale.play("a schedule is made, previewed and stored", lambda: stories.schedule(page, run))
        pictures(tale, browser, page, run, judge)
        tale.play("the schedule goes again", lambda: stories.schedule_goes(page, run))
        stories.view(page, "now")
        tale.play("the command is given back", lambda: stories.gives_back(page, run))
        tale.play("emergency, reset, start", lambda: stories.emergency_and_back(page, run))
        tale.play("a wrong configuration is explained", lambda: as_service(tale, page, run, judge))
        tale.play("what is wrong in the field is said", lambda: faults(tale, page, run, judge))
        other = browser.page()
        tale.play("the keyboard does", lambda: stories.keyboard(other, run))
        tale.play("it stands still where that is asked for", lambda: stories.stillness(other, run))
        tale.play("no complaint at the browser's console", lambda: stories.no_complaints(page))
        tale.play("nor at the other's", lambda: stories.no_complaints(other))
        other.close()
        page.open("about:blank")
        stories.enter(page, run)
        tale.play("a restart is survived", lambda: stories.a_restart_is_survived(page, run))
        page.open("about:blank")
        tale.play("a full board still shows", lambda: stories.a_full_board_still_shows(browser, run))
        stories.enter(page, run)
        tale.play("a lost connection is said", lambda: stories.lost_connection_is_said(page, run))
        tale.shot(page, "lost", whole=False)


def pictures(tale: Tale, browser: Browser, page: Page, run: Running, judge: Path) -> None:
    """Every view, in light and dark, on desktop and phone, seen by the judge; a picture of each."""
    time.sleep(20)  # something to see in the chart
    for dark in (False, True):
        name = "dark" if dark else "light"
        page.prefers(dark)
        for view in stories.VIEWS:
            stories.view(page, view)
            if view == "history":
                page.press("main .keys button", "Hour")
            time.sleep(1.5)
            tale.play(f"axe-core: {view}, {name}", lambda where=f"{view}, {name}": stories.accessible(page, judge, where))  # type: ignore[misc]
            if view in ("now", "schedules", "history", "events", "devices"):
                tale.shot(page, f"{view}-{name}")
    page.prefers(False)
    for dark in (False, True):
        phone = browser.page(390, 844, dark=dark, phone=True)
        tale.play("the phone comes up", lambda: stories.enter(phone, run))  # noqa: B023  (played at once)
        for view in ("now", "history", "schedules", "devices"):
            stories.view(phone, view)
            if view == "history":
                phone.press("main .keys button", "Hour")
            time.sleep(1.5)
            wide = phone.eval("document.documentElement.scrollWidth")
            tale.play(f"phone: {view} is not wider than the phone", lambda: stories.expect(wide <= 390, "too wide", wide))  # noqa: B023
            tale.shot(phone, f"phone-{view}-{'dark' if dark else 'light'}", whole=False)
        tale.play("axe-core: phone", lambda: stories.accessible(phone, judge, "phone"))  # noqa: B023
        tale.play("no complaint at the phone's console", lambda: stories.no_complaints(phone))  # noqa: B023
        phone.close()


def as_service(tale: Tale, page: Page, run: Running, judge: Path) -> None:
    """The settings, with something wrong in them."""
    stories.log_in(page, run, "service")
    stories.wrong_configuration_is_explained(page, run)
    page.fill("#set-max_soc", "300")
    page.press("main button", "Check")
    page.until("document.querySelector('#set-max_soc-wrong').innerText")
    stories.accessible(page, judge, "settings with an error")
    tale.shot(page, "settings-light", whole=False)


def faults(tale: Tale, page: Page, run: Running, judge: Path) -> None:
    """A silent meter and local control: said in red, and where they are."""
    run.type("!inject meter_silent")
    run.type("pm.remote.set_local(True)")
    stories.view(page, "devices")
    page.reads("main", "silent", "the silent meter is shown")
    page.reads("#banners", "override", "local control stands in red")
    stories.accessible(page, judge, "with faults")
    tale.shot(page, "trouble", whole=False)
    run.type("!clear meter_silent")
    run.type("pm.remote.set_local(False)")


def two_banks(tale: Tale, browser: Browser) -> None:
    """Several batteries: each in the picture."""
    with Running("--site", "docs/site.two.json") as run:
        page = browser.page()
        tale.play("two banks: it comes up", lambda: stories.enter(page, run))
        each = "['Battery a', 'Battery b'].every((name) => document.querySelector('.flow').ariaLabel.includes(name))"
        tale.play("two banks: each is in the picture", lambda: page.until(each))
        run.type("pm.start()")
        run.type("pm.set_constant_power(30, 10)")
        tale.play("two banks: both move", lambda: run.until("len(banks) == 2 and all(bank['battery_w'] > 5000 for bank in banks)"))
        together = (
            "(() => { const kw = (text) => parseFloat(text.match(/[0-9.]+(?= kW)/)[0]);"
            " const texts = [...document.querySelectorAll('.flow g.battery text')].map((each) => each.textContent);"
            " const each = texts.filter((words) => / kW$/.test(words)).map(kw);"
            " const all = kw(document.querySelector('main').innerText);"
            " return each.length === 2 && all > 29 && Math.abs(each[0] + each[1] - all) < 1; })()"
        )
        tale.play("two banks: what each moves is as new as the sum", lambda: page.until(together, seconds=4))
        tale.shot(page, "two-banks", whole=False)
        tale.play("two banks: every view opens", lambda: stories.every_view(page, run))
        tale.play("two banks: no complaint", lambda: stories.no_complaints(page))


def main() -> int:
    """1 where a story has failed."""
    parser = argparse.ArgumentParser(prog="make page ARGS=...", description=__doc__)
    parser.add_argument("--shots", type=Path, default=SCRATCH, help="where the pictures go (default: build/page)")
    parser.add_argument("--docs", action="store_true", help="those that the manual shows also into docs/page")
    arguments = parser.parse_args()
    tale = Tale(arguments.shots)
    try:
        with Browser() as browser:
            print(browser.version)
            one_site(tale, browser, axe())
            two_banks(tale, browser)
    except (BrowserError, PackageError, RunError, StoryError) as error:
        print(f"FAILED  {error}", file=sys.stderr)
        return 1
    if arguments.docs:
        DOCS.mkdir(exist_ok=True)
        for name in OF_DOCS:
            shutil.copyfile(arguments.shots / f"{name}.png", DOCS / f"{name}.png")
    print(f"{len(tale.failed)} failed{': ' if tale.failed else ''}{'; '.join(tale.failed)}; the pictures are in {arguments.shots}")
    return 1 if tale.failed else 0


if __name__ == "__main__":
    sys.exit(main())
