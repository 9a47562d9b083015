"""`make run` as people use it: the JSON verdict, the live view, Ctrl-C, and clear errors."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.interpreters import Interpreter
from tools.ports import free_port
from tools.run import ROOT

pytestmark = [pytest.mark.serial, pytest.mark.mp64]

KEYS = {
    "cycles", "period_ms_p50", "period_ms_p99", "compute_us_p50", "compute_us_p99", "commands", "worst_violation_w",
    "soc_start", "soc_end", "energy_in_wh", "energy_out_wh", "mode", "faults", "events", "heap_used", "heap_free",
}
COMMAND = [sys.executable, "-m", "tools.run"]


def run(*args: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *args], cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)


def processes_with(text: str) -> list[int]:
    """Processes whose environment mentions `text`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if text.encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def test_headless_run_ends_with_a_sound_verdict(tmp_path: Path) -> None:
    picture = tmp_path / "view.svg"
    for _ in range(3):  # energy is counted in real time: a run with which the host kept up is judged, if there is one
        done = run("--seconds", "30", "--headless", "--json", "--svg", str(picture))
        assert done.returncode == 0, done.stderr
        verdict = json.loads(done.stdout.splitlines()[-1])
        if verdict["gap_ms_max"] < 200:
            break
    assert set(verdict) >= KEYS
    assert verdict["worst_violation_w"] == 0 and verdict["faults"] == [] and verdict["problems"] == []
    assert verdict["cycles"] > 480
    assert verdict["energy_in_wh"] > 40 and verdict["energy_out_wh"] > 100
    assert verdict["soc_end"] < verdict["soc_start"]
    assert verdict["energy_balance_error_pct"] < 2  # in 16 s a host that was late once could make more of it
    assert verdict["events"]["MODE_CHANGE"] >= 4
    assert "console pm.start()" in done.stderr
    assert "<svg" in picture.read_text()


@pytest.mark.mp32
def test_trouble_on_every_wire_needs_no_more_heap_than_there_is(mp32: Interpreter, tmp_path: Path) -> None:
    file = tmp_path / "trouble.json"
    file.write_text(json.dumps({
        "seconds": 26,
        "steps": [
            {"at": 1, "do": "pm.start()"},
            {"at": 3, "do": "pm.set_constant_power(-20.0, 0)"},
            {"at": 5, "inject": "bad_crc", "for": 3},
            {"at": 10, "inject": "pcs_silent", "for": 3},
            {"at": 11, "inject": "meter_silent", "for": 3},
            {"at": 12, "do": "pm.stats()"},
            {"at": 14, "do": "pm.faults()"},
            {"at": 16, "do": "devices()"},
        ],
    }))
    done = run("--scenario", str(file), "--headless", "--json", "--heap", "400K", "--micropython", "32")
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(done.stdout.splitlines()[-1])
    assert verdict["worst_violation_w"] == 0 and verdict["problems"] == []
    assert verdict["events"]["COMMS_LOST"] >= 1 and verdict["events"]["COMMS_RESTORED"] >= 1


def test_silenced_bms_stops_the_power_in_three_periods_and_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "silent.json"
    file.write_text(json.dumps({
        "seconds": 23,
        "steps": [
            {"at": 1, "do": "pm.start()"},
            {"at": 4, "do": "pm.set_constant_power(-40.0, 0)"},
            {"at": 8, "expect": {"pcs_kw": [-41, -39]}},
            {"at": 8.5, "inject": "bms_silent", "for": 5},
            {"at": 12.2, "expect": {"cmd": [0, 0], "pcs_kw": [-0.1, 0.1]}},
            {"at": 22, "expect": {"pcs_kw": [-41, -30]}},
        ],
    }))
    done = run("--scenario", str(file), "--headless", "--json")
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout.splitlines()[-1])
    assert verdict["events"]["COMMS_LOST"] >= 1 and verdict["events"]["COMMS_RESTORED"] >= 1
    assert verdict["worst_violation_w"] == 0


def test_killed_firmware_leaves_the_pcs_to_its_own_watchdog(tmp_path: Path) -> None:
    file = tmp_path / "killed.json"
    file.write_text(json.dumps({
        "seconds": 13,
        "steps": [
            {"at": 1, "do": "pm.start()"},
            {"at": 4, "do": "pm.set_constant_power(50.0, 0)"},
            {"at": 7.5, "expect": {"pcs_kw": [49, 51], "pcs_watchdog": False}},
            {"at": 8, "board": "kill"},
            {"at": 11.5, "expect": {"pcs_kw": [-0.1, 0.1], "setpoint_kw": [0, 0], "pcs_watchdog": True}},
        ],
    }))
    done = run("--scenario", str(file), "--headless", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["pcs_watchdog_trips"] == 1


def test_the_ems_s_registers_are_served_where_they_were_wanted(tmp_path: Path) -> None:
    port = free_port()
    command = [*COMMAND, "--ems", str(port), "--headless", "--seconds", "12", "--state", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        found = b""
        give_up = time.monotonic() + 30
        while not found:
            assert time.monotonic() < give_up and process.poll() is None, "nobody serves them"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as client:
                client.sendall(bytes.fromhex("00010000000601039c400002"))
                found = client.recv(64)[9:]
            time.sleep(0.2)
        _, errors = process.communicate(timeout=60)
    assert found == b"SunS" and process.returncode == 0, errors
    assert f"the EMS's registers: Modbus TCP, 127.0.0.1:{port}" in errors


def test_an_ems_on_can_is_there_beside_one_on_modbus(tmp_path: Path) -> None:
    file = tmp_path / "both.json"
    file.write_text(json.dumps({"seconds": 4, "steps": [{"at": 2, "do": "ems.clients()"}, {"at": 3, "do": "ems_can.counters()"}]}))
    ports = ["--ems", str(free_port()), "--ems-can", str(free_port())]
    done = run("--scenario", str(file), *ports, "--headless", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["problems"] == []


def test_unfulfilled_expectation_and_refused_line_make_the_run_unsound(tmp_path: Path) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps({
        "seconds": 6,
        "steps": [
            {"at": 1, "do": "pm.set_constant_power(5000, 0)"},
            {"at": 2, "expect": {"mode": "CHARGE"}},
            {"at": 5.5, "expect": {"mode": "IDLE", "pcs_kw": [1, 2]}},
            {"at": 5.6, "do": "pm.stop()"},
        ],
    }))
    done = run("--scenario", str(file), "--headless", "--json", "--seconds", "5")
    assert done.returncode == 1
    problems = json.loads(done.stdout.splitlines()[-1])["problems"]
    assert any("was refused" in p for p in problems)
    assert any("mode is 'STANDBY', not 'CHARGE'" in p for p in problems)
    assert any("never looked at" in p and "IDLE" in p and "5.5 s" in p for p in problems)
    assert len(problems) == 3
    assert "never looked at" in done.stderr


def pipe(text: str, *args: str) -> subprocess.CompletedProcess[str]:
    """`--console` with its input from a pipe."""
    return subprocess.run([*COMMAND, "--console", *args], cwd=ROOT, input=text, capture_output=True, text=True, timeout=90)


def test_the_console_works_with_a_pipe_and_the_site_plays_along() -> None:
    done = pipe(
        "pm.start()\n\n!wait 2.5\nMode.name(pm.mode)\npm.set_constant_power(-20)\n!wait 2\n!truth\nnonsense\n"
        "!inject bms_silent\n!wait 4.5\n[f['name'] for f in pm.faults()]\n!clear bms_silent\n!set soc 300\n!inject nothing\n6*7"
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    lines = done.stdout.splitlines()
    answers = [line for line in lines if line.startswith(("= ", "! "))]
    assert answers[0].startswith("= 'accepted"), answers  # so early it may still wait for the devices
    assert answers[1:3] == ["= 'IDLE'", "= 'accepted'"] and answers[3].startswith("! nonsense: not a command"), answers
    assert answers[4:] == ["= ['bms_lost']", "= 42"]
    truth = next(json.loads(line[1:-1]) for line in lines if line.startswith("[{") and "pcs_kw" in line)
    assert -21 < truth["pcs_kw"] < -19
    assert "[soc = 300: allowed are 0 to 100]" in lines
    assert any(line.startswith("[!inject takes one of: bms_silent,") for line in lines)


def test_a_site_file_of_ones_own_is_run_and_a_bad_one_is_refused_with_everything(tmp_path: Path) -> None:
    site = json.loads((ROOT / "docs" / "site.t_can485.json").read_text())
    site["name"] = "my yard"
    site["power"]["max_discharge_power"] = 33
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(site))
    done = pipe("!wait 1\napp.site.name, pm.config.max_discharge_power\n", "--site", str(file))
    assert "= ('my yard', 33.0)" in done.stdout.splitlines(), done.stdout + done.stderr
    site["power"]["min_soc"] = 500
    site["devices"]["x"] = {"type": "toaster"}
    file.write_text(json.dumps(site))
    done = pipe("1\n", "--site", str(file))
    assert done.returncode == 2 and "min_soc = 500" in done.stderr and "toaster" in done.stderr and done.stdout == ""


def takes_ctrl_c(pid: int) -> bool:
    """Python catches it: from its own start until the program says otherwise."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.split("SigCgt:")[1].split()[0], 16) >> signal.SIGINT - 1 & 1)


@pytest.mark.parametrize("delay", [0.0, 0.2, 0.6, 1.0, 2.0])
def test_ctrl_c_in_the_first_seconds_ends_quietly(delay: float) -> None:
    process = subprocess.Popen([*COMMAND, "--headless"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for caught in (True, False):  # what comes before is Python's, not the program's
        end = time.monotonic() + 5
        while takes_ctrl_c(process.pid) != caught and time.monotonic() < end:
            time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors and "rror" not in errors, errors
    assert process.returncode in (0, 130, -signal.SIGINT)


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_live_view_ends_cleanly_and_gives_the_terminal_back(tmp_path: Path, which: signal.Signals) -> None:
    master, slave = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    state = tmp_path / "state"
    process = subprocess.Popen(
        [*COMMAND, "--state", str(state)], cwd=ROOT, stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=env
    )
    os.close(slave)
    os.set_blocking(master, False)
    output = b""
    deadline = time.monotonic() + 60
    while b"IDLE" not in output and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
        try:
            output += os.read(master, 1 << 20)
        except BlockingIOError:
            continue
    assert b"\x1b[?1049h" in output and b"IDLE" in output, output[-2000:]
    assert processes_with(str(state))
    process.send_signal(which)
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
        try:
            output += os.read(master, 1 << 20)
        except (BlockingIOError, OSError):
            continue
    assert process.stderr is not None
    errors = process.stderr.read().decode()
    process.stderr.close()
    os.close(master)
    assert process.returncode == 0, errors
    assert errors == ""
    assert b"\x1b[?1049l" in output and b"\x1b[?25h" in output
    left = output.rsplit(b"\x1b[?1049l", 1)[1].decode()
    assert "sound; ended in" in left and "worst limit violation 0 W" in left, "a summary stays on the screen"
    assert processes_with(str(state)) == []


def test_shipped_scenarios_are_listed() -> None:
    done = run("--list", timeout=20)
    assert done.returncode == 0
    assert "bms_silent             32 s  the BMS falls silent and returns" in done.stdout
    assert len(done.stdout.splitlines()) >= 12


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["--seconds", "0"], "--seconds 0: allowed are 1 to 86400"),
        (["--scenario", "no_such"], "--scenario no_such: no such file, and none of the project's own: bms_frozen, "),
        (["--micropython", "/no/such"], "no such program"),
        (["--svg", "/nonexist/x.svg"], "--svg /nonexist/x.svg: cannot be written"),
        (["--svg", "/tmp"], "--svg /tmp: cannot be written"),
        (["--state", "/etc/passwd"], "--state /etc/passwd: is no folder: the board's flash is kept in one"),
        (["--state", "/proc/1/x"], "--state /proc/1/x: cannot be written"),
        (["--ems", "0"], "--ems 0: allowed are 1 to 65535"),
        (["--web", "65536"], "--web 65536: allowed are 1 to 65535"),
        (["--web", "20123", "--ems-can", "20123"], "--web 20123: --ems-can has that port: give another one"),
        (["--site", "no_such.json"], "no_such.json: cannot be read"),
        (["--console"], "--console goes without --headless"),
    ],
)
def test_wrong_arguments_are_named(args: list[str], complaint: str) -> None:
    done = run(*args, "--headless", timeout=20)
    assert done.returncode == 2
    assert complaint in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--web", "--ems", "--ems-can"])
def test_a_port_that_somebody_has_is_said_in_one_line_before_anything_runs(option: str) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        done = run(option, str(port), "--headless", timeout=20)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"{option} {port}: process {os.getpid()} (")
    assert done.stderr.endswith(" listens there already: end it, or give another port\n")
