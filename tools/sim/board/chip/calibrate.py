"""Whether the chip's clock is right on this machine now: a short known workload, refused beyond 10 % of what it must be."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.sim.board.chip.build import ChipError
from tools.sim.board.chip.profiles import Profile, profile
from tools.sim.board.chip.start import command

WORKLOAD = Path(__file__).parents[3] / "onboard" / "chip_times.py"
MODULES = Path(__file__).parents[1] / "modules"
HEAP_BYTES = 112000  # an ESP32's, on which the collection's figure was measured
TOLERANCE = 0.10
TRIES = 3  # a host that is busy for a moment

# Instructions of one turn of each, as this interpreter has them.
EXPECTED = {"loop_turn": 306, "call_3_arguments": 1400, "viper_call": 1054, "collection": 892_000}


@dataclass(frozen=True)
class Measured:
    """One part of the workload, per turn: instructions, microseconds by the host's clock and by the chip's own."""

    instructions: float
    host_us: float
    chip_us: float

    @property
    def mips(self) -> float:
        """Million instructions a second, by the host's clock."""
        return self.instructions / self.host_us


def measure(chip: str | Profile) -> dict[str, Measured]:
    """Runs the workload once.  Raises ChipError where it does not run."""
    whole = [*command(chip), "-X", f"heapsize={HEAP_BYTES}", str(WORKLOAD), str(MODULES)]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=120)
    lines = [line.split() for line in done.stdout.splitlines()]
    if done.returncode or not lines:
        raise ChipError(f"the calibration's workload did not run: {(done.stdout + done.stderr).strip()[-600:]}")
    found = {}
    for name, turns, instructions, host_us, chip_us in lines:
        found[name] = Measured(*(int(value) / int(turns) for value in (instructions, host_us, chip_us)))
    return found


def check(chip: str | Profile) -> dict[str, Measured]:
    """The measurements, once they are within 10 %.  Raises ChipError saying what is wrong."""
    wanted = profile(chip) if isinstance(chip, str) else chip
    problem: str | None = ""
    for _ in range(TRIES):
        measured = measure(wanted)
        problem = wrong(wanted, measured)
        if problem is None:
            return measured
    raise ChipError(f"{wanted.name}: {problem}")


def wrong(chip: Profile, measured: dict[str, Measured]) -> str | None:
    """What is beyond 10 % in these measurements, or None."""
    for name, instructions in EXPECTED.items():
        found = measured[name]
        if abs(found.instructions / instructions - 1) > TOLERANCE:
            return f"{name} takes {found.instructions:.0f} instructions, not {instructions}: another interpreter?"
        mips = chip.mips * 100 / chip.gc_percent if name == "collection" else chip.mips
        if abs(found.mips / mips - 1) > TOLERANCE:
            return (
                f"{name} ran at {found.mips:.0f} million instructions a second, not {mips:.0f} +-10 %: "
                "this machine is too slow or too busy"
            )
    return None
