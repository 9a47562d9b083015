"""Puts a simulated board together as one chip: its flash, its own modules, its heap and what is counted in it.

Used by board.py where CHIP (or a test) asks for a profile.
"""

import shutil
import subprocess
from pathlib import Path

from tools import stage
from tools.interpreters import Interpreter, chosen
from tools.simboard import chiprom, flash_image, mpyfile
from tools.simboard.profiles import Profile

_COUNT_NAMES = """
import micropython, sys
class _N: pass
micropython.qstr_info()
with open(sys.argv[1]) as file:
    for line in file:
        hasattr(_N, line[:-1])
micropython.qstr_info()
"""


def interpreter(profile: Profile) -> Interpreter:
    """The 32-bit interpreter at that chip's speed.  Raises what tools/simboard/chip raises where it cannot be had."""
    from tools.simboard.chip import start  # here: needs QEMU and a C compiler, which a fast board does not

    return start.interpreter(profile.name)


def calibrate(profile: Profile) -> None:
    """Raises ChipError unless this machine keeps the chip's speed now, within 10 %."""
    from tools.simboard.chip import calibrate as clock  # here: see interpreter()

    clock.check(profile.name)


class ChipBoard:
    """The files of one board below `state`, and what its interpreter has to be told."""

    def __init__(self, profile: Profile, state: Path, root: Path) -> None:
        self.profile = profile
        self.root = root
        self.image = state / "flash.img"
        self.rom = state / "rom"
        self.nvs = state / "nvs"
        self._instruments = state / "instruments.img"
        self._romfs = state / "romfs.img"
        self.instrument_bytes = 0  # of heap that what measures takes, and that the heap is larger by
        self.names_frozen = 0  # names that our own image would have in flash
        self.names_bytes = 0  # of heap that they take from ROMFS, and that the heap is larger by

    @property
    def heap(self) -> int:
        """Bytes of heap to start with: the profile's, and what the board has that a chip has not."""
        return self.profile.heap + self.instrument_bytes + self.names_bytes

    def deploy(self, tree: Path) -> None:
        """Builds the ROM and puts a staged tree on the flash.  Raises CompileError, FlashError, OSError."""
        march = "x86"
        chiprom.build(self.rom, march, lines=False)
        chiprom.build_instruments(self.rom, self._instruments)
        if not self.profile.romfs:  # our own image has it in flash, which ROMFS has not
            chiprom.tell_code_sizes(self.root, self.rom)
        self.nvs.mkdir(parents=True, exist_ok=True)
        if self.profile.romfs:
            from tools import romfs  # here: only our own image is one

            romfs.build(tree, self._romfs)
            self._count_names(tree)
        flash_image.deploy(tree, self.image, self.profile.flash, self.profile.romfs)
        self._weigh_instruments()

    def environment(self) -> dict[str, str]:
        """What the chip's modules are told."""
        profile = self.profile
        extra = self.instrument_bytes + self.names_bytes
        env = {
            "SIM_FLASH": str(self.image),
            "SIM_CHIP_ROM": str(self.rom),
            "SIM_INSTRUMENTS": str(self._instruments),
            "SIM_NVS_FOLDER": str(self.nvs),
            "SIM_NVS": "/nvs",
            "SIM_POOL": str(profile.pool),
            "SIM_WIFI_BYTES": str(profile.wifi),
            "SIM_AREAS": str(profile.areas + extra if profile.areas else 0),
        }
        if profile.romfs:
            env["SIM_ROMFS"] = str(self._romfs)
        return env

    def read_back(self, into: Path) -> None:
        """Copies what is on the flash into a folder, in place of what was there."""
        shutil.rmtree(into, ignore_errors=True)
        flash_image.unpack(self.image, into)

    def _weigh_instruments(self) -> None:
        said = self._run("-X", "heapsize=1M", f"{self.rom}/{chiprom.ENTRY}", env={**self.environment(), "SIM_WEIGH": "1"})
        self.instrument_bytes = int(said.split()[-1])

    def _count_names(self, tree: Path) -> None:
        """The names that only the firmware brings, and the bytes of the heap's tables of names for them.

        The tables only: from ROMFS the letters stay in flash already.
        """
        names: set[str] = set()
        for name in stage.TREES:
            for path in sorted((tree / name).rglob("*.mpy")):
                names |= mpyfile.read(path).names
        listed, script = self.rom / "names.txt", self.rom / "names.py"
        listed.write_text("".join(f"{name}\n" for name in sorted(names) if name.isprintable()))
        script.write_text(_COUNT_NAMES)
        before, after = (
            dict(part.split("=") for part in line.partition(": ")[2].split(", "))
            for line in self._run("-X", "heapsize=4M", str(script), str(listed)).splitlines()
            if line.startswith("qstr pool")
        )
        self.names_frozen = int(after["n_qstr"]) - int(before["n_qstr"])
        tables = [int(one["n_total_bytes"]) - int(one["n_str_data_bytes"]) for one in (before, after)]
        self.names_bytes = tables[1] - tables[0]
        listed.unlink()
        script.unlink()

    def _run(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """The 32-bit interpreter at full speed."""
        command = [*chosen("32").command, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env or {})
        if done.returncode:
            raise OSError(f"{arguments[-1]}: {(done.stdout + done.stderr).strip()[-500:]}")
        return done.stdout
