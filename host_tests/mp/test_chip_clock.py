"""The chip's clock: counts that repeat, what is not counted, the pace, padding, collections, and who is told of it all."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from host_tests import needs
from tools import setup_host
from tools.interpreters import Interpreter
from tools.sim.board.chip import build, calibrate, collector, record, start
from tools.sim.board.chip.build import ChipError
from tools.sim.board.chip.profiles import PROFILES, profile

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "tools" / "sim" / "board" / "modules"
HEAP = ["-X", "heapsize=200000"]
PREAMBLE = f"""
import gc, sys, time
sys.path.insert(0, {str(MODULES)!r})
import sim_pace
from sim_pace import off, on, on_after_us, pad_us, count, chip_us

def work(turns):
    i = 0
    while i < turns:
        i += 1

def spent(function, *arguments):
    function(*arguments)
    before = count()
    function(*arguments)
    return time.ticks_diff(count(), before)

def lasted(function, *arguments):
    function(*arguments)
    before = chip_us()
    function(*arguments)
    return time.ticks_diff(chip_us(), before)
"""


def run(mp: Interpreter, text: str) -> list[list[str]]:
    """The words of every line that the program prints."""
    command = [*mp.command, *HEAP, "-c", PREAMBLE + text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def numbers(mp: Interpreter, text: str) -> list[int]:
    """What it prints, one number a line."""
    return [int(words[0]) for words in run(mp, text)]


def test_instruction_counts_repeat(chip: Interpreter) -> None:
    text = "work(1)\nprint(spent(work, 100000))\nprint(spent(gc.collect))\n"
    runs = [numbers(chip, text) for _ in range(3)]
    for counts in zip(*runs, strict=True):
        assert max(counts) - min(counts) <= max(counts) * 0.0001 + 100, counts
    assert runs[0][0] > 100000 * 100


def test_twice_the_work_is_twice_the_instructions(chip: Interpreter) -> None:
    small, large = numbers(chip, "print(spent(work, 10000))\nprint(spent(work, 20000))\n")
    assert 1.99 < large / small < 2.01


UNCOUNTED = """
def hidden(turns):
    off()
    work(turns)
    on()

def nested(turns):
    off()
    hidden(turns)
    work(turns)
    hidden(1)
    work(turns)
    on()
    on()  # one too many changes nothing

print(spent(work, 50000))
print(spent(hidden, 50000))
print(spent(nested, 50000))
print(spent(work, 50000))
"""


def test_what_is_between_off_and_on_does_not_count_nor_nested_either(chip: Interpreter) -> None:
    open_, hidden, nested, after = numbers(chip, UNCOUNTED)
    assert hidden < open_ / 1000 and nested < open_ / 1000
    assert abs(after - open_) <= open_ * 0.0001


PADDED = """
def took(us):
    off()
    work(3000)
    on_after_us(us)

def longer(us):
    pad_us(us)

def more(how, us):
    # the middle of three: where the host stands still for longer than is caught up with, the chip's clock leaps
    return sorted([lasted(how, us) - lasted(how, 0) for _ in range(3)])[1]

for us in (0, 97, 5000, 80000):
    print(more(took, us), more(longer, us), us)
"""


def test_padding_takes_as_long_as_it_says_in_the_chips_time(chip: Interpreter) -> None:
    for inside, alone, us in (map(int, words) for words in run(chip, PADDED)):
        assert abs(inside - us) <= 4 and abs(alone - us) <= 4  # the bits of the number cost some instructions


def test_padding_passes_by_the_hosts_clock_too(chip: Interpreter) -> None:
    text = "time.sleep_ms(5)\nt = time.ticks_us()\npad_us(500000)\nprint(time.ticks_diff(time.ticks_us(), t))\n"
    assert numbers(chip, text)[0] >= 250_000  # the guest may have been late before: up to 250 ms are caught up with


def test_nothing_that_the_guest_says_allocates(chip: Interpreter) -> None:
    text = """
import micropython
c = t = 0
before = gc.mem_alloc()
micropython.heap_lock()
try:
    off(); pad_us(97); on(); off(); on_after_us(12345); c = count(); t = chip_us()
finally:
    micropython.heap_unlock()
print(gc.mem_alloc() - before)
print(int(c > 0 and t > 0))
"""
    assert numbers(chip, text) == [0, 1]


def test_without_the_clock_the_same_program_runs_and_nothing_is_counted(mp: Interpreter) -> None:
    text = """
off(); work(10); pad_us(80000); on(); off(); on_after_us(97); on()
a, t = chip_us(), time.ticks_us()
print(int(sim_pace.paced), count(), int(0 <= time.ticks_diff(t, a) < 10000))
"""
    assert run(mp, text) == [["0", "0", "1"]]


@pytest.mark.serial
@pytest.mark.parametrize("name", list(PROFILES))
def test_it_runs_at_the_chips_speed(name: str) -> None:
    needs.chip(name)
    measured = calibrate.check(name)  # instructions against the clock, within one run
    turn = measured["loop_turn"]
    assert abs(turn.mips / profile(name).mips - 1) <= calibrate.TOLERANCE


@pytest.mark.serial
def test_time_waited_in_a_system_call_earns_no_speed_afterwards(chip: Interpreter) -> None:
    text = """
work(1)
for wait in (0, 100):
    time.sleep_ms(wait)
    c, t = count(), time.ticks_us()
    work(40000)
    t = time.ticks_diff(time.ticks_us(), t)
    print(time.ticks_diff(count(), c) // t)
"""
    rested, waited = numbers(chip, text)
    assert waited <= rested * 1.1 + 1, "the 100 ms were made good with a burst of work"


def test_a_calibration_beyond_ten_percent_is_refused_with_the_reason() -> None:
    esp32 = profile("esp32")
    right = {
        name: calibrate.Measured(count, count / esp32.mips, count / esp32.mips) for name, count in calibrate.EXPECTED.items()
    }
    assert calibrate.wrong(esp32, right) is None
    for factor in (0.89, 1.12):
        turn = right["loop_turn"]
        slow = {**right, "loop_turn": replace(turn, host_us=turn.host_us * factor)}
        assert "too slow or too busy" in str(calibrate.wrong(esp32, slow))
        other = {**right, "viper_call": replace(right["viper_call"], instructions=calibrate.EXPECTED["viper_call"] * factor)}
        assert "another interpreter" in str(calibrate.wrong(esp32, other))
    assert calibrate.wrong(esp32, {**right, "loop_turn": replace(turn, host_us=turn.host_us * 1.08)}) is None


HELD = """
x = [bytearray(100) for _ in range(500)]
gc.collect()
off()
gc.collect()  # set off by a module that is no chip's: still the chip's
on()
for _ in range(3000):
    bytearray(100)  # some more by themselves
off()
work(1000)
print("ready")
sys.stdin.readline()
"""


def test_the_host_reads_counts_collections_and_forgotten_marks(chip: Interpreter) -> None:
    process = subprocess.Popen([*chip.command, *HEAP, "-c", PREAMBLE + HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(0.2)  # it waits in its read now
        found = record.read(process.pid)
    finally:
        process.kill()
        process.communicate()
    assert found.counted > 3000 * 100 and found.uncounted > 0 and found.depth == 1
    assert found.collections >= 4, "two asked for, and some that were not"
    assert 0 < found.gc_us_max <= found.gc_us < found.chip_us
    mips = next(p.mips for p in PROFILES.values() if tuple(start.command(p)) == chip.command)
    percent = next(p.gc_percent for p in PROFILES.values() if tuple(start.command(p)) == chip.command)
    assert abs(found.gc_us / (found.gc_counted / mips * percent / 100) - 1) < 0.01


def test_a_collection_in_psram_costs_more_than_its_instructions() -> None:
    text = "x = [bytearray(100) for _ in range(500)]\ngc.collect()\nprint(spent(gc.collect))\nprint(lasted(gc.collect))\n"
    for name, chosen in PROFILES.items():
        instructions, us = numbers(needs.chip(name), text)
        assert abs(us / (instructions / chosen.mips * chosen.gc_percent / 100) - 1) < 0.05, name


def test_a_collection_is_the_chips_work_also_where_an_uncounted_module_sets_it_off(chip: Interpreter) -> None:
    text = """
def hidden():
    off()
    gc.collect()
    on()

x = [bytearray(100) for _ in range(500)]
print(spent(gc.collect))
print(spent(hidden))
"""
    open_, hidden = numbers(chip, text)
    assert abs(hidden / open_ - 1) < 0.02


def test_a_process_without_the_clock_is_told_apart_from_one_that_has_ended() -> None:
    with pytest.raises(ValueError, match="does not run at a chip's speed"):
        record.read(os.getpid())
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(OSError):
        record.read(ended.pid)


def test_one_process_is_all_there_is(tmp_path: Path) -> None:
    needs.chip("esp32")
    wrapper = start.wrapper("esp32")
    process = subprocess.Popen([str(wrapper), "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        time.sleep(0.5)
        words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
        assert b"-plugin" in words, "a shell stayed between"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        assert children == ""
    finally:
        process.kill()
        process.communicate()


def test_threads_are_paced_each_by_itself(chip: Interpreter) -> None:
    text = """
import _thread
done = []
def other():
    work(1)
    a = count()
    work(50000)
    done.append(time.ticks_diff(count(), a))
    done.append(1)
_thread.start_new_thread(other, ())
off()
while len(done) < 2:
    time.sleep_ms(5)
on()
print(done[0])
print(spent(work, 50000))
"""
    there, here = numbers(chip, text)
    assert abs(there / here - 1) < 0.001, "the other thread's work counted as here, though this one was off"


def test_a_chip_that_there_is_not_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(ValueError, match=r"chip 'esp8266' \(allowed: esp32, esp32s3\)"):
        start.command("esp8266")


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "CACHE", tmp_path)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(ChipError, match=r"needs a C compiler.*apt-get install gcc"):
        build.build()


def test_a_source_that_does_not_compile_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "pace.c"
    source.write_text("int qemu_plugin_version = ;")
    monkeypatch.setattr(build, "SOURCE", source)
    monkeypatch.setattr(build, "CACHE", tmp_path / "chip")
    monkeypatch.setenv("CC", "cc")
    try:
        build.build()
    except ChipError as error:
        assert "could not compile" in str(error) or "needs a C compiler" in str(error)
    else:
        pytest.fail("it compiled")
    assert not list((tmp_path / "chip").glob("*.so"))


def test_an_interpreter_whose_collector_cannot_be_told_apart_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF" + bytes(5000))
    with pytest.raises(ChipError, match="0 functions like gc_collect"):
        collector.find(program)


def test_a_missing_clock_skips_with_its_reason_and_fails_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "missing", lambda: "qemu-user was not fetched")
    monkeypatch.setenv("REQUIRE_CHIP", "0")
    with pytest.raises(pytest.skip.Exception, match=r"NOT there.*qemu-user was not fetched"):
        needs.chip("esp32")
    monkeypatch.setenv("REQUIRE_CHIP", "1")
    with pytest.raises(pytest.fail.Exception, match="qemu-user was not fetched"):
        needs.chip("esp32")
    monkeypatch.setattr(setup_host, "say", print)
    with pytest.raises(SystemExit):
        setup_host.chip_clock()
    monkeypatch.setenv("REQUIRE_CHIP", "")
    setup_host.chip_clock()
