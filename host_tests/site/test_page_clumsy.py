"""The operator's page under old tabs, wrong clocks and clumsy hands: the stories of tools/page/clumsy.py in a real Chromium."""

from collections.abc import Iterator

import pytest

from host_tests import needs
from host_tests.site.test_page import REASON, required
from tools.page import clumsy, stories
from tools.page.browser import Browser, Page, find
from tools.page.running import Running


@pytest.fixture(scope="module")
def run() -> Iterator[Running]:
    needs.interpreter(64)
    with Running("--site", "docs/site.operator.json") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if find() is None:
        (pytest.fail if required() else pytest.skip)(REASON)
    with Browser() as one:
        yield one


@pytest.fixture(scope="module")
def page(browser: Browser, run: Running) -> Page:
    page = browser.page()
    stories.enter(page, run)
    return page


def test_a_tab_whose_login_another_has_replaced_still_commands(browser: Browser, run: Running) -> None:
    clumsy.another_tab_logs_in(browser, run)


def test_what_was_typed_outlives_the_login(page: Page, run: Running) -> None:
    clumsy.a_login_ends_amid_an_edit(page, run)


def test_events_are_said_in_words(page: Page, run: Running) -> None:
    clumsy.events_are_said_in_words(page, run)


def test_the_clock_is_set_to_when_it_is_sent(page: Page, run: Running) -> None:
    clumsy.the_clock_is_set_to_when_it_is_sent(page, run)


def test_a_day_is_drawn_whole(browser: Browser, run: Running) -> None:
    clumsy.a_day_is_drawn_whole(browser, run)


def test_numbers_are_taken_as_people_type_them(page: Page, run: Running) -> None:
    clumsy.numbers_as_people_type_them(page, run)


def test_settings_are_in_words(page: Page, run: Running) -> None:
    clumsy.settings_in_words(page, run)


def test_a_device_s_clock_that_is_put_back_hides_nothing(page: Page, run: Running) -> None:
    clumsy.the_device_s_clock_is_put_back(page, run)
