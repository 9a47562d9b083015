"""The operator's page in a real Chromium against the whole firmware: the short stories of tools/page (all of them: make page)."""

import os
from collections.abc import Iterator

import pytest

from host_tests import needs
from tools.page import packages, stories
from tools.page.browser import Browser, Page, find
from tools.page.running import Running

REASON = "Chromium is NOT there, so nothing of the operator's page was tested in a browser: run `make setup`"


def required() -> bool:
    """True where a missing browser, or judge, is a failure (REQUIRE_CHROMIUM=1, set by .ci/run)."""
    return os.environ.get("REQUIRE_CHROMIUM", "") not in ("", "0")


@pytest.fixture(scope="module")
def run() -> Iterator[Running]:
    needs.interpreter(64)
    with Running() as running:
        yield running


@pytest.fixture(scope="module")
def page(run: Running) -> Iterator[Page]:
    if find() is None:
        (pytest.fail if required() else pytest.skip)(REASON)
    with Browser() as browser:
        page = browser.page()
        stories.enter(page, run)
        yield page


def test_every_view_opens_and_a_viewer_commands_nothing(page: Page, run: Running) -> None:
    stories.every_view(page, run)
    stories.viewer_is_refused(page, run)
    stories.no_complaints(page)


def test_an_operators_visit_a_command_the_emergency_button_and_the_schedule(page: Page, run: Running) -> None:
    stories.log_in(page, run, "operate")
    stories.starts(page, run)
    stories.command_moves_the_battery(page, run)
    stories.gives_back(page, run)
    stories.emergency_and_back(page, run)
    stories.schedule(page, run)
    stories.schedule_goes(page, run)
    stories.no_complaints(page)


def test_a_wrong_configuration_is_explained_beside_its_fields(page: Page, run: Running) -> None:
    stories.log_in(page, run, "service")
    stories.wrong_configuration_is_explained(page, run)
    stories.no_complaints(page)


def test_the_judge_finds_nothing_serious(page: Page, run: Running) -> None:
    try:
        judge = packages.axe()
    except packages.PackageError as error:
        (pytest.fail if required() else pytest.skip)(f"axe-core is NOT there, so nobody judged the page's accessibility: {error}")
    for view in ("now", "schedules"):
        stories.view(page, view)
        stories.accessible(page, judge, view)


def test_the_judge_sees_what_is_wrong(page: Page, run: Running) -> None:
    """A button without a name is found: the judge does judge."""
    stories.view(page, "events")
    page.eval("document.querySelector('main').append(document.createElement('button')); 1")
    with pytest.raises(stories.StoryError, match="button-name"):
        stories.accessible(page, packages.axe(), "a button without a name")


def test_a_lost_connection_is_said_and_nothing_looks_live(page: Page, run: Running) -> None:
    stories.lost_connection_is_said(page, run)
