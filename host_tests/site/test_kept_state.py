"""`make run --state DIR`: what was kept there comes up again, and a console that nobody can open is said before anything runs."""

import http.client
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.ports import free_port
from tools.sim import pins

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "tools.run"]


def run(state: Path, *args: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--state", str(state), *args], cwd=ROOT, input=typed, capture_output=True, text=True, timeout=90, check=False
    )


def paged(state: Path, port: int, *args: str) -> tuple[str, str]:
    """What a run with the page says, and to whom both of its PINs were good at the page."""
    run_one = subprocess.Popen(
        [*COMMAND, "--state", str(state), "--web", str(port), "--headless", "--json", "--seconds", "14", *args],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run_one.stderr is not None and run_one.stdout is not None
    said = ""
    roles = []
    for line in run_one.stderr:
        said += line
        if found := re.search(r"PINs: operate (\S+), service (\S+) ", line):
            given = found.groups()
        if "IDLE" in line or "CHARGE" in line:
            break
    time.sleep(1)
    for role, pin in zip(("operate", "service"), given, strict=True):
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        link.request("POST", "/api/login", json.dumps({"role": role, "pin": pin}), {"Content-Type": "application/json"})
        roles.append(json.loads(link.getresponse().read()).get("role"))
        link.close()
        time.sleep(1.2)  # a PIN a second is looked at
    said += run_one.stderr.read()
    verdict = run_one.stdout.read()
    assert run_one.wait() == 0 and json.loads(verdict.splitlines()[-1])["problems"] == [], said + verdict
    return " ".join(given), " ".join(map(str, roles)) + "; " + said


@pytest.mark.longest
def test_the_page_comes_up_again_with_the_pins_that_were_kept(tmp_path: Path) -> None:
    port = free_port()
    first, said = paged(tmp_path, port)
    assert said.startswith("operate service; ") and "as before" not in said, said
    again, said = paged(tmp_path, port)
    assert again == first and said.startswith("operate service; ") and "as before" in said, said
    # without the page too: who plays the scenario logs in
    done = run(tmp_path, "--headless", "--seconds", "8")
    assert done.returncode == 0, done.stderr
    # other ones are set where they are asked for
    other, said = paged(tmp_path, port, "--web-pins", "2222", "technician8")
    assert other == "2222 technician8" and said.startswith("operate service; "), said


def test_pins_that_nobody_knows_are_said_before_anything_runs(tmp_path: Path) -> None:
    done = run(tmp_path, "--console", typed="pin service technician7\npin operate 4711\n")
    assert done.returncode == 0 and "! " not in done.stdout, done.stdout
    for args in (["--web", str(free_port()), "--console"], ["--headless"]):
        done = run(tmp_path, *args)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and done.stdout == "", done.stderr
        assert f"--state {tmp_path}: its board has PINs" in done.stderr and "--web-pins OPERATE SERVICE" in done.stderr
    done = run(tmp_path, "--console", typed="status\nlogin technician7\n")  # by hand, as at a board
    assert "= the role is service" in done.stdout.splitlines() and done.returncode == 0
    done = run(tmp_path, "--headless", "--seconds", "8", "--web-pins", "4711", "technician7")
    assert done.returncode == 0, done.stderr


def test_what_opens_a_kept_board_is_its_own_pin_and_a_damaged_file_is_opened_by_none(tmp_path: Path) -> None:
    assert not pins.is_set(tmp_path) and pins.refused(tmp_path, None) == "" and pins.noted(tmp_path) is None
    done = run(tmp_path, "--console", typed="pin service technician7\n")
    assert done.returncode == 0
    assert pins.opens(tmp_path, "service", "technician7") and not pins.opens(tmp_path, "service", "technician8")
    assert not pins.opens(tmp_path, "operate", "technician7")
    pins.note(tmp_path, "1234", "technician7")
    assert pins.opening(tmp_path, ("1", "technician8")) == "technician7"
    pins.file_of(tmp_path).write_text("{")
    assert pins.opening(tmp_path, None) == "" and "rm " in pins.refused(tmp_path, None)
    (tmp_path / pins.NOTE).write_text("[1]")
    assert pins.noted(tmp_path) is None
