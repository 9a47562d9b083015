"""No turn of the console takes the loop for long, whatever is asked: counted in instructions of the chip, not in time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from host_tests import needs

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).parent / "on_board" / "console_steps.py"
MOST = 1_900_000  # 15 ms of an ESP32, collections apart


def test_no_line_event_or_monitor_takes_more_than_its_share_of_the_loop() -> None:
    command = [*needs.chip("esp32").command, "-X", "heapsize=500000", str(SCRIPT), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    longest = json.loads(done.stdout.splitlines()[-1])
    assert len(longest) > 15 and min(longest.values()) > 0, "it was measured"
    assert {line: count for line, count in longest.items() if count > MOST} == {}
