"""What a step of commissioning comes to: a verdict in words, figures with their bounds, plots, and what to change."""

from dataclasses import dataclass, field
from typing import Any

PASS, FAIL, NOT_TESTED = "pass", "fail", "not tested"


class Failed(Exception):
    """The step has found something wrong; `patch`: entries of site.json (dotted) that mend it, `advice`: what else does."""

    def __init__(self, text: str, advice: str = "", patch: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.advice = advice
        self.patch = patch or {}


class NotTested(Exception):
    """What the step is about could not be tried; the text says why."""


class DoesNotApply(NotTested):
    """The site has nothing that the step is about: what needs the step may go on, and the site may pass without it."""


@dataclass
class Figure:
    """One measured value beside what it may be; `ok` None: nothing bounds it."""

    name: str
    value: float | str
    unit: str = ""
    bound: str = ""
    ok: bool | None = None


@dataclass
class Series:
    """A line of a plot: its name, and points of (s or kW, value)."""

    name: str
    points: list[tuple[float, float]]
    dots: bool = False  # points of their own, no line


@dataclass
class Plot:
    """What the report draws: several lines over one axis."""

    title: str
    x: str
    y: str
    series: list[Series]


@dataclass
class Outcome:
    """One step as it ended."""

    id: str
    title: str
    verdict: str = NOT_TESTED
    text: str = ""
    advice: str = ""
    patch: dict[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    began: str = ""  # UTC
    seconds: float = 0.0
    applies: bool = True

    @property
    def fine(self) -> bool:
        """Passed, or about nothing that this site has."""
        return self.verdict == PASS or (self.verdict == NOT_TESTED and not self.applies)
