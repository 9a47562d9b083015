"""`make logs`: an hour of a simulated site pulled from the simulated board's console while it runs, and drawn."""

import json
import subprocess
import sys
from pathlib import Path

from firmware.history.reading import columns
from tools.build.stage import ROOT


def test_an_hour_is_pulled_over_the_console_and_drawn(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.logs", "--sim", "--hours", "1.2", "--zone", "Europe/Berlin", "--into", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {}
    for name, kind in (("power", "five"), ("days", "day")):
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        rows[name] = [dict(zip(columns(kind), json.loads(line), strict=True)) for line in lines]
    power = [row for row in rows["power"] if row["time"]]  # the board that was asked has no clock that is set
    assert len(power) >= 13 and power[0]["mode"] in ("STANDBY", "IDLE") and power[-1]["mode"] == "CHARGE"
    assert -41000 < power[-1]["battery_w"] < -39000, "the schedule charges with 40 kW from one o'clock on"
    (day,) = [row for row in rows["days"] if row["period"]]
    assert day["period"] == "2026-12-02" and day["charged_wh"] == sum(row["charged_wh"] for row in power) > 6000
    names = [json.loads(line)[2] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert names.count("BOOT") == 2 and "SCHEDULE_STARTED" in names, "of the day, and of the board that was asked"
    assert "<svg" in (tmp_path / "logs.html").read_text()


def test_without_a_port_it_says_what_to_type() -> None:
    done = subprocess.run([sys.executable, "-m", "tools.logs"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "make logs PORT=" in done.stderr and "serial ports here: " in done.stderr
