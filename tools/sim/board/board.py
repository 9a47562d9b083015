"""The simulated board as its surroundings see it: power, console, pins, watchdog.

`Board` stages a flash directory, starts a MicroPython interpreter on it as the ROM would, and is the hardware that
outlives the interpreter: a starved watchdog really kills the process, a reset really starts it again.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import time
import tty
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from tools.build import fits, stage
from tools.interpreters import Interpreter, chosen
from tools.sim.board import chipboard, chiprom, figures, profiles
from tools.sim.board.chipboard import ChipBoard
from tools.sim.board.profiles import Profile
from tools.sim.board.supervisor import CAUSES, Supervisor

_LINES_KEPT = 5000
_PRESS_S = 0.02  # a chip's own Ctrl-C comes when the callback that pressed it is over, not in the middle of it
_END_S = 5  # a program under load ends in order: 0 W, then the contactors, 2 s after it at the latest


class StateInUse(RuntimeError):
    """Another run works on the folder; the text names it."""


class Board:
    """One board, alive between start() and stop().

    root: the tree to run, whose boot.py, main.py, firmware/ and lib/ are staged into state_dir/flash; or, with
    `staged`, state_dir/flash is used as it is (what a deploy left there).
    interpreter: a command list; default is what MICROPYTHON says ("64", "32" or a path).  heap: such as "96K",
    default HEAP: all that the interpreter has.  mpy: load cross-compiled modules; default with a limited heap
    or the 32-bit interpreter.
    profile: the chip to be, default what CHIP says: compiled modules from a flash with its timing (whose files come back to
    state_dir/flash in stop()), at the chip's speed unless MICROPYTHON or `interpreter` names a 32-bit interpreter.
    """

    def __init__(
        self,
        root: Path,
        *,
        state_dir: Path,
        site: dict | None,
        interpreter: list[str] | None = None,
        heap: str | None = None,
        mpy: bool | None = None,
        env: dict[str, str] | None = None,
        staged: bool = False,
        profile: Profile | None = None,
    ) -> None:
        self.root = Path(root)
        self.state_dir = Path(state_dir).resolve()
        self.flash = self.state_dir / "flash"
        self.site = site
        if profile is not None and heap:
            profile = replace(profile, heap=profiles.heap_bytes(heap))
        self.profile = profile or profiles.chosen(heap=heap)
        self.interpreter = _interpreter(interpreter, self.profile)
        self.paced = self.profile is not None and interpreter is None and not os.environ.get("MICROPYTHON")
        self.heap = heap or os.environ.get("HEAP") or (str(self.profile.heap) if self.profile else None)
        self.chip = ChipBoard(self.profile, self.state_dir, self.root) if self.profile else None
        self.mpy = mpy if mpy is not None else bool(self.heap) or self.interpreter.bits == 32
        self.env = dict(env or {})
        self.staged = staged
        self.prompt = False  # the ordinary prompt comes when the program is over; else the interpreter ends
        self.on_line: Callable[[str], None] | None = None
        self.on_data: Callable[[bytes], None] | None = None  # what the console prints, as it comes
        self.on_pin: Callable[[int, int], None] | None = None
        self.on_reset: Callable[[str], None] | None = None
        self.lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self.resets: list[str] = []  # the cause of every start after the first
        self.returncode: int | None = None
        self.running = False
        self._supervisor = Supervisor(self._pin_changed, self._cut)
        self._supervisor.on_interrupt = lambda: asyncio.get_running_loop().call_later(_PRESS_S, self._interrupt)
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._console: int | None = None
        self._partial = b""
        self._unsent = b""
        self._next_cause: str | None = None
        self._stopping = False
        self._comes_back = False  # it has ended for a reset, and what runs next is being started
        self._claim: TextIO | None = None  # holds state_dir/in_use locked
        self._heard = asyncio.Event()
        self._cut_line = ""
        self._printed: dict[str, int] | None = None  # what the map of the heap says, while one is expected

    # ---- power ----

    async def start(self) -> None:
        """Stages the flash and switches the power on.  StateInUse if another run works on state_dir."""
        self._claim_state()
        march = self.interpreter.march if self.mpy else None
        if not self.staged:
            await asyncio.to_thread(self._stage, march)
        if self.site is not None:
            (self.flash / "site.json").write_text(json.dumps(self.site, indent=1))
        if self.chip is not None:
            await asyncio.to_thread(self.chip.deploy, self.flash)
            self._rom = str(self.chip.rom)
        else:
            self._rom = await asyncio.to_thread(self._stage_rom, march)
        await self._supervisor.open()
        self._stopping = False
        await self._power_on("PWRON_RESET")

    async def stop(self) -> None:
        """Ctrl-C, a moment to end by itself, then the plug is pulled; everything is released."""
        if self._claim is None:
            return  # it was never on: what is in state_dir is another run's
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            self._supervisor.announce_end()
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._ended()), _END_S)
        self.kill()
        await self._ended()
        await self._supervisor.close()
        if self.chip is not None:
            await asyncio.to_thread(self.chip.read_back, self.flash)
        self._claim.close()
        self._claim = None

    def _claim_state(self) -> None:
        """One run at a time: two would write into one flash.  The claim ends with this process at the latest."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        claim = (self.state_dir / "in_use").open("a+")
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            with claim:
                claim.seek(0)
                by = claim.read().strip() or "unknown"
            raise StateInUse(f"{self.state_dir} is in use by another run (process {by}): give another folder") from error
        claim.truncate(0)
        claim.write(f"{os.getpid()}\n")
        claim.flush()
        self._claim = claim

    def kill(self) -> None:
        """A power cut: the interpreter ends at once and nothing starts it again but restart()."""
        self._next_cause = None
        self._stopping = True
        self._kill()

    async def restart(self, cause: str = "PWRON_RESET") -> None:
        """Ends what runs, then starts again with that reset cause; only PWRON_RESET forgets RTC memory and clock."""
        if cause not in CAUSES:
            raise ValueError(f"reset cause {cause!r} (allowed: {', '.join(CAUSES)})")
        self.kill()
        await self._ended()
        self._stopping = False
        self.resets.append(cause)
        await self._power_on(cause)

    # ---- console ----

    async def send(self, line: str) -> None:
        """Types one line at the console."""
        await self.write(line.encode() + b"\n")

    async def write(self, data: bytes) -> None:
        """Types bytes at the console; waits until the board has room for them.  Ctrl-C interrupts a program that lets it."""
        interrupt = self._supervisor.interrupt
        if interrupt and interrupt in data and self._process is not None and self._process.returncode is None:
            self._interrupt()
        self._unsent += data
        while self._unsent and self._console is not None:
            try:
                sent = os.write(self._console, self._unsent)
                self._unsent = self._unsent[sent:]
            except BlockingIOError:
                await asyncio.sleep(0.005)

    async def wait_line(self, wanted: Callable[[str], bool] | str, timeout: float = 10) -> str:
        """The first console line, of those already printed or still to come, that contains or satisfies `wanted`.

        Raises TimeoutError with the last lines seen, and the same at once when the board has ended.
        """
        matches = wanted if callable(wanted) else lambda line: wanted in line
        end = time.monotonic() + timeout
        while True:
            for line in self.lines:
                if matches(line):
                    return line
            self._heard.clear()
            left = end - time.monotonic()
            if left <= 0 or self.is_off:
                tail = "\n".join(list(self.lines)[-15:])
                raise TimeoutError(f"no line {wanted!r} within {timeout} s; the console said last:\n{tail}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), min(left, 0.5))

    @property
    def is_off(self) -> bool:
        """It has ended, and nothing starts it again."""
        return not (self.running or self._comes_back or self._next_cause is not None or self._process is None)

    # ---- pins ----

    def set_pin(self, pin: int, value: int | None) -> None:
        """Drives an input pin high or low, or lets go of it (None: a broken wire; the pin's pull decides)."""
        self._supervisor.drive(pin, value)

    def pin(self, pin: int) -> int:
        """The level of a pin as a meter on it would show; 0 while nobody drives it."""
        return self._supervisor.outputs.get(pin, self._supervisor.inputs.get(pin) or 0)

    @property
    def watchdog_armed(self) -> bool:
        """The chip's watchdog runs."""
        return self._supervisor.armed

    # ---- figures ----

    @property
    def accesses(self) -> list[tuple[str, str, int]]:
        """On a chip: what has read flash since power-on, oldest first: ("import", "open" or "store", name, reads)."""
        return list(self._supervisor.accesses)

    @property
    def longest_unfed_s(self) -> float:
        """The longest time between two feeds of the watchdog."""
        return self._supervisor.longest_unfed_s

    async def figures(self, heap: bool = True, timeout: float = 5) -> dict[str, Any]:
        """What the chip has counted (see docs/simulated-board.md); with `heap` it collects first and tells of its heap.

        Raises TimeoutError where the program does not look at its wires any more.
        """
        self._printed = {}
        try:
            sent = await self._supervisor.figures(heap, timeout)
            for _ in range(100 if heap else 0):  # what it printed comes by another way
                if "names" in self._printed:
                    break
                await asyncio.sleep(0.01)
            extra = (self.chip.instrument_bytes + self.chip.constant_bytes, self.chip.names_bytes) if self.chip else ()
            found = figures.named(sent, self._printed, *extra)
        finally:
            self._printed = None
        if self.chip is not None and self.profile is not None:
            found["chip"] = self.profile.name
            found["heap_bytes"] = self.profile.heap
            found["heap_instruments_given_back"] = self.chip.instrument_bytes
            found["watchdog_unfed_ms_max"] = round(1000 * self.longest_unfed_s)
            found["names_frozen"] = self.chip.names_frozen
            found["heap_names_given_back"] = self.chip.names_bytes
            if found.get("names") and not self.chip.names_frozen:
                pools = self.chip.instrument_pools(found["names"])
                found["heap_live"] -= pools
                found["heap_names_given_back"] = pools
            elif self.chip.names_frozen and found.get("names"):
                own = found["names_own"] = self.chip.own_names(found["names"], found["names_of_paths"])
                more = max(0, fits.pool_bytes(own) - fits.pool_bytes(fits.OWN_NAMES))  # the next pool, which is not there here
                found["heap_live"] += more
                found["heap_spare"] -= more
            found.update(self._clock())
        return found

    def chip_clock(self) -> Any:
        """What the chip's clock has counted (chip.record.Record); None at full speed."""
        from tools.sim.board.chip import record  # here: a fast board has no clock

        try:
            return record.read(self._process.pid) if self._process else None
        except (OSError, ValueError):
            return None

    def _clock(self) -> dict[str, Any]:
        seen = self.chip_clock()
        if seen is None:
            return {}
        return {
            "collections": seen.collections,
            "collection_ms_max": round(seen.gc_us_max / 1000, 2),
            "clock_late_ms_max": round(seen.late_us_max / 1000, 1),
            "clock_given_up_ms": round(seen.given_up_us / 1000, 1),
        }

    # ---- inside ----

    def _stage(self, march: str | None) -> None:
        # what the firmware itself has written (logs, schedules) survives, as on a real re-deploy
        for tree in (*stage.TREES, stage.PAGE):
            shutil.rmtree(self.flash / tree, ignore_errors=True)
        for name in stage.ENTRY_FILES:
            (self.flash / name).unlink(missing_ok=True)
        self.flash.mkdir(parents=True, exist_ok=True)
        stage.stage(self.root, self.flash, march, frozen=self.profile is not None and self.profile.romfs)

    def _stage_rom(self, march: str | None) -> str:
        """The folder of the chip's own modules, as the interpreter, started in the flash directory, is told it."""
        if march is None:
            return str(chiprom.SOURCES)
        rom = self.state_dir / "rom"
        chiprom.build(rom, march)
        return os.path.relpath(rom, self.flash)  # short: every path that is imported from stays in the heap

    async def _power_on(self, cause: str) -> None:
        raw = cause == "SOFT_RESET" and self._supervisor.into_raw
        self._supervisor.power_on(cause)
        nvs = self.state_dir / "nvs"
        nvs.mkdir(parents=True, exist_ok=True)
        env = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.state_dir), "SIM_NVS": str(nvs)}
        if self.chip is not None:
            if cause != "SOFT_RESET":  # that one is the interpreter's alone
                self.chip.boot()
            env.update(self.chip.environment())
        env.update(self.env)
        env["SIM_BOARD"] = self._supervisor.address
        if self.prompt:
            env["SIM_PROMPT"] = "raw" if raw else "1"
        command = list(self.chip.paced().command if self.paced and self.chip is not None else self.interpreter.command)
        if self.chip is not None:
            command += ["-X", f"heapsize={self.chip.heap}"]
        elif self.heap:
            command += ["-X", f"heapsize={profiles.heap_bytes(self.heap)}"]
        command.append(f"{self._rom}/{chiprom.ENTRY}")
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=slave, stdout=slave, stderr=slave, cwd=self.flash, env=env, start_new_session=True
            )
        finally:
            os.close(slave)
        self._console = master
        self._partial = self._unsent = b""
        self.returncode = None
        self.running = True
        asyncio.get_running_loop().add_reader(master, self._readable)
        self._watcher = asyncio.create_task(self._watch(self._process))

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        await process.wait()
        self._readable()
        self._close_console()
        self.running = False
        self.returncode = process.returncode
        self._supervisor.power_off()
        cause, self._next_cause = self._next_cause, None
        self._comes_back = cause is not None and not self._stopping
        self._heard.set()
        if cause is not None and self._comes_back:
            self.resets.append(cause)
            if self.on_reset is not None:
                self.on_reset(cause)
            try:
                await self._power_on(cause)
            finally:
                self._comes_back = False
            if self._stopping:  # the plug was pulled while it was being started
                self._kill()

    async def _ended(self) -> None:
        # a reset hands over to a new watcher, so look again until the last one is done
        while self._watcher is not None and not self._watcher.done():
            await asyncio.wait([self._watcher])

    def _cut(self, cause: str) -> None:
        """The supervisor wants the chip restarted."""
        if not self._stopping:
            self._next_cause = cause
        self._kill()

    def _interrupt(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _pin_changed(self, pin: int, level: int) -> None:
        if self.on_pin is not None:
            self.on_pin(pin, level)

    def _readable(self) -> None:
        while self._console is not None:
            try:
                data = os.read(self._console, 65536)
            except BlockingIOError:
                return
            except OSError:  # the last holder of the other end is gone
                data = b""
            if not data:
                if self._partial:
                    self._line(self._partial)
                    self._partial = b""
                asyncio.get_running_loop().remove_reader(self._console)
                return
            if self.on_data is not None:
                self.on_data(data)
            *whole, self._partial = (self._partial + data).split(b"\n")
            for line in whole:
                self._line(line)

    def _line(self, raw: bytes) -> None:
        # as a terminal shows it: a line that a person types is drawn again and again, and wiped for one that is printed
        line = raw.decode(errors="replace").rstrip("\r").rpartition("\r")[2].replace("\x1b[K", "")
        if self._printed is not None:
            rest = figures.take_printed(line, self._printed)
            if rest != line:  # what the map of the heap came into goes on after it
                self._cut_line += rest
                return
        line, self._cut_line = self._cut_line + line, ""
        self.lines.append(line)
        self._heard.set()
        if self.on_line is not None:
            self.on_line(line)

    def _close_console(self) -> None:
        if self._console is not None:
            asyncio.get_running_loop().remove_reader(self._console)
            os.close(self._console)
            self._console = None


def _interpreter(command: list[str] | None, profile: Profile | None) -> Interpreter:
    """The one that `command` or MICROPYTHON names; else a chip's own, or the 64-bit one."""
    if command is not None:
        found = Interpreter(chosen(command[0]).bits, tuple(command))
    elif profile is not None and not os.environ.get("MICROPYTHON"):
        return chipboard.interpreter(profile)
    else:
        found = chosen()
    if profile is not None and found.bits != 32:
        raise ValueError(f"{found} cannot be an {profile.name}: it has 64 bits (MICROPYTHON=32, or none for the chip's speed)")
    return found


async def _main() -> None:
    """Runs the tree on a simulated board with the console on this terminal: `python -m tools.sim.board.board DIR`."""
    board = Board(stage.ROOT, state_dir=Path(sys.argv[1]), site=None)
    board.on_line = lambda line: print(line, flush=True)
    board.on_pin = lambda pin, level: print(f"[pin {pin} = {level}]", flush=True)
    board.on_reset = lambda cause: print(f"[{cause}]", flush=True)
    await board.start()
    try:
        while board.running:
            line = await asyncio.to_thread(sys.stdin.readline)
            if not line:
                break
            await board.send(line.rstrip("\n"))
    finally:
        await board.stop()


if __name__ == "__main__":
    asyncio.run(_main())
