"""Fixtures and rules for every test: CPython shims, the MicroPython interpreters, loud skips."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tools.soak import quick

# A third of the time of tests that play sites under CPython.  Quick kernels are held against those that are written, which are
# held against what viper makes of them, in test_soak.py and test_hot_parity.py; the staged tree has the viper ones.
quick.install(quick.KERNELS)

import notice  # noqa: E402  (lib/ is on the path that quick adds)

from host_tests import needs, times  # noqa: E402
from tools.interpreters import Interpreter  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]

# cores are shared: slow is not wrong
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("check", parent=settings.get_profile("house"), max_examples=25)  # make check: a taste of each property
settings.register_profile("times", parent=settings.get_profile("check"))
PROFILE = os.environ.get("TEST_PROFILE", "house")
settings.load_profile(PROFILE)


@pytest.fixture(autouse=True)
def what_is_said_is_printed() -> Iterator[None]:
    """A test that listens to what is said (`notice.sink`) may leave it so: the next one's is printed again."""
    yield
    notice.sink, notice.keep = print, None


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository root, which is also the board's root directory."""
    return ROOT


@pytest.fixture(scope="session")
def mp64() -> Interpreter:
    """The 64-bit MicroPython; `mp64.command` starts it."""
    return needs.interpreter(64)


@pytest.fixture(scope="session")
def mp32() -> Interpreter:
    """The 32-bit MicroPython."""
    return needs.interpreter(32)


@pytest.fixture(params=["esp32", "esp32s3"])
def chip(request: pytest.FixtureRequest) -> Interpreter:
    """The 32-bit MicroPython at each chip's speed in turn."""
    return needs.chip(request.param)


@pytest.fixture(params=[64, 32], ids=["mp64", "mp32"])
def mp(request: pytest.FixtureRequest) -> Interpreter:
    """Both interpreters in turn: a test that takes `mp` runs once on each."""
    return needs.interpreter(request.param)


def pytest_itemcollected(item: pytest.Item) -> None:
    """What runs on simulated sites and boards waits for real time: tools/run_tests.py runs more of it at once."""
    if item.path.parent.name == "site":
        item.add_marker("live")


def pytest_configure(config: pytest.Config) -> None:
    """Measures, where that is asked for (host_tests/times.py)."""
    if PROFILE == "times" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(times.Times())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes a minute by itself begins first: begun last, it is what all wait for.  make check has the quick ones."""
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)
    if PROFILE == "check":
        slow = times.slow_ones()
        left = [item for item in items if times.name_of(item.nodeid) in slow]
        items[:] = [item for item in items if times.name_of(item.nodeid) not in slow]
        config.hook.pytest_deselected(items=left)


def pytest_collection_finish() -> None:
    """The firmware collects garbage by itself, a thousand times in these tests: thousands of collected tests are none of it."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in red, after the counts, that the 32-bit interpreter or the chip's clock was missing."""
    for reason in (needs.REASON_32, needs.REASON_CHIP):
        skipped = [r for r in terminalreporter.stats.get("skipped", []) if reason in str(r.longrepr)]
        if skipped:
            terminalreporter.write_line(f"{len(skipped)} tests skipped: {reason}", red=True, bold=True)
