"""What the lines of the logs mean: rows of power and events at their time, sorted into days."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from host_tests import shims

shims.install()

from firmware import reasons  # noqa: E402  (needs the path that shims adds)
from firmware.event_codes import Event  # noqa: E402
from firmware.history.reading import columns  # noqa: E402

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
LEVELS = {"E": "error", "W": "warning", "I": "info", "D": "debug"}
_BOOTS = {1: "power on", 2: "reset", 3: "watchdog", 4: "deep sleep", 5: "soft reset"}  # machine.reset_cause() of an ESP32
_WITHOUT_DATA = ("GRID_CONNECTED", "GRID_DISCONNECTED", "CONFIG_CHANGED")


@dataclass(frozen=True)
class Row:
    """Five minutes: powers in kW, + discharge, grid + import; SoC in %; None is not measured."""

    end: datetime
    seconds: int
    mode: str
    power: float | None
    least: float | None
    most: float | None
    soc: float | None
    grid: float | None
    load: float | None
    pv: float | None
    discharge: float | None  # the least limit, and the row of the limit list that it came from
    why_discharge: str
    charge: float | None
    why_charge: str
    charged: float  # kWh, counted by the cycle
    discharged: float

    @property
    def begin(self) -> datetime:
        """Where it starts."""
        return self.end - timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class Happened:
    """One line of the event log."""

    at: datetime | None  # None: the clock was not set
    since_boot_s: int
    name: str
    data: Any
    level: str

    @property
    def text(self) -> str:
        """In words: what was said, or what happened and the data as the console names them."""
        if self.name == "SAID":
            return str(self.data)
        if self.name == "BOOT":
            return f"boot: {_BOOTS.get(self.data, self.data)}"
        event, _, more = self.name.partition(" ")
        if event not in Event.names:
            return f"{self.name} {self.data}"
        words = event.replace("_", " ").lower()
        try:
            told = more or str(reasons.event_data(Event.names.index(event), self.data))
        except (IndexError, TypeError, ValueError):  # another firmware's
            told = more or str(self.data)
        return words if told in ("0", "None") and event in _WITHOUT_DATA else f"{words}: {told}"


def _at(day: int | None, second: int) -> datetime | None:
    return None if day is None else EPOCH + timedelta(days=day, seconds=second)


def _kw(watts: int | None) -> float | None:
    return None if watts is None else watts / 1000


def rows(lines: list[str]) -> list[Row]:
    """Those whose clock was set, in the order of time; the clock may have gone back."""
    names = columns("five")
    found = []
    for line in lines:
        row = dict(zip(names, json.loads(line), strict=True))
        if row["time"] is None:
            continue
        end = datetime.fromtimestamp(row["time"], UTC)
        found.append(
            Row(
                end, row["seconds"], row["mode"], _kw(row["battery_w"]), _kw(row["battery_min_w"]), _kw(row["battery_max_w"]),
                row["soc_percent"], _kw(row["grid_w"]), _kw(row["load_w"]), _kw(row["pv_w"]),
                _kw(row["limit_discharge_w"]), row["why_discharge"] or "", _kw(row["limit_charge_w"]), row["why_charge"] or "",
                row["charged_wh"] / 1000, row["discharged_wh"] / 1000,
            )
        )  # fmt: skip
    return sorted(found, key=lambda row: row.end)


def events(lines: list[str]) -> list[Happened]:
    """All, in the order in which they were written; those of an older firmware have no level and are information."""
    found = []
    for line in lines:
        day, second, name, data, *level = json.loads(line)
        found.append(Happened(_at(day, second), second, str(name), data, LEVELS.get(level[0] if level else "I", "info")))
    return found


def days(power: list[Row], happened: list[Happened], zone: tzinfo | None) -> list[date]:
    """The local dates of which anything is known, oldest first."""
    moments = [row.end - timedelta(seconds=1) for row in power] + [one.at for one in happened if one.at]
    return sorted({moment.astimezone(zone).date() for moment in moments})
