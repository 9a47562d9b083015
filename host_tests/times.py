"""What `make check` leaves to `make test`: slow.txt, the tests that take long, and the plugin that measures them anew.

`python -m tools.run_tests times` runs the tests that make check chooses from, slow ones too, and writes the list.  A test that is
not in it, as a new one, runs in make check.
"""

from collections import defaultdict
from pathlib import Path

import pytest

LIST = Path(__file__).with_name("slow.txt")
LONG_S = 0.08  # some three thousand tests are quicker, and take half a minute together
_TOGETHER_S = 0.5  # of the cases of one test


def name_of(nodeid: str) -> str:
    """The test without its case: cases come and go."""
    return nodeid.split("[")[0]


def slow_ones() -> set[str]:
    """The names of slow.txt."""
    return set(LIST.read_text().split())


class Times:
    """Writes slow.txt when the tests are over: a plugin of the process that deals them out."""

    def __init__(self) -> None:
        self._took: dict[str, list[float]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._took[report.nodeid].append(report.duration)

    def pytest_sessionfinish(self) -> None:
        cases: dict[str, list[float]] = defaultdict(list)
        for nodeid, parts in self._took.items():
            cases[name_of(nodeid)].append(sum(parts))
        slow = sorted(name for name, took in cases.items() if max(took) > LONG_S or sum(took) > _TOGETHER_S)
        LIST.write_text("".join(f"{name}\n" for name in slow))
        print(f"\n{LIST.name}: {len(slow)} of {len(cases)} tests, with {sum(map(sum, cases.values())):.0f} s in all, the others in "
              f"{sum(sum(took) for name, took in cases.items() if name not in slow):.0f} s")  # fmt: skip
