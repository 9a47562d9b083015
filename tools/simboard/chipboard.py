"""Puts a simulated board together as one chip: its flash, its own modules, its heap and what is counted in it.

Used by board.py where CHIP (or a test) asks for a profile.
"""

import shutil
import subprocess
from pathlib import Path

from tools import romfs, stage
from tools.interpreters import Interpreter, chosen
from tools.simboard import chiprom, flash_image, mpyfile
from tools.simboard.profiles import Profile

_COUNT_NAMES = """
import micropython, sys
class _N: pass
for number in range(%d):
    hasattr(_N, "n%%d" %% number)
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


_OWN_NAMES = 256  # that the chip's modules, the site file and people bring beside the firmware's: they stay in the heap


class ChipBoard:
    """The files of one board below `state`, and what its interpreter has to be told."""

    def __init__(self, profile: Profile, state: Path, root: Path) -> None:
        self.profile = profile
        self.root = root
        self.image = state / "flash.img"
        self.rom = state / "rom"
        self.nvs = state / "nvs"
        self._chip = state / "chip.img"
        self._romfs = state / "romfs.img"
        self.instrument_bytes = 0  # of heap that what measures takes, and that the heap is larger by
        self.constant_bytes = 0  # of heap held for the firmware's constants: each module gives its own back when it is loaded
        self.names_frozen = 0  # names that our own image would have in flash
        self.names_bytes = 0  # of heap that they take from ROMFS, and that the heap is larger by

    @property
    def heap(self) -> int:
        """Bytes of heap to start with: the profile's, and what the board has that a chip has not."""
        return self.profile.heap + self.instrument_bytes + self.constant_bytes + self.names_bytes

    def deploy(self, tree: Path) -> None:
        """Builds the ROM and puts a staged tree on the flash.  Raises CompileError, FlashError, OSError."""
        march = "x86"
        chiprom.build(self.rom, march, lines=False)
        # our own image has all machine code in flash, which ROMFS has not
        code: dict[str, int] = {}
        constants: dict[str, int] = {}
        if self.profile.romfs:
            romfs.build(tree, self._romfs)
            constants = self._take_apart(tree)
        else:
            code = chiprom.code_sizes(self.root)
        chiprom.build_image(self.rom, self._chip, code, constants)
        self.nvs.mkdir(parents=True, exist_ok=True)
        flash_image.deploy(tree, self.image, self.profile.flash, self.profile.romfs)
        self._weigh_instruments()

    def environment(self) -> dict[str, str]:
        """What the chip's modules are told."""
        profile = self.profile
        extra = self.heap - profile.heap
        env = {
            "SIM_FLASH": str(self.image),
            "SIM_CHIP": str(self._chip),
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
        self.instrument_bytes, self.constant_bytes = (int(word) for word in said.split()[-2:])

    def _take_apart(self, tree: Path) -> dict[str, int]:
        """Counts the firmware's names; by module the bytes of its constants and of its path in the image.

        A frozen module's path is one of its names.
        """
        found = {}
        for name in stage.TREES:
            for path in (tree / name).rglob("*.mpy"):
                found[path.relative_to(tree)] = mpyfile.read(path)
        names: set[str] = set().union(*(module.names for module in found.values()))
        self._count_names(names)
        sizes = {}
        for path, module in found.items():
            letters = round((len(f"{romfs.MOUNT}/{path}") + 1) / mpyfile.BLOCK) * mpyfile.BLOCK
            sizes[chiprom.module_name(path)] = module.constant_bytes(names) + letters
        return sizes

    def _count_names(self, names: set[str]) -> None:
        """How many only the firmware brings, and the bytes of the heap's tables of names for them, beside _OWN_NAMES others.

        The tables only: from ROMFS the letters stay in flash already.
        """
        listed, script = self.rom / "names.txt", self.rom / "names.py"
        listed.write_text("".join(f"{name}\n" for name in sorted(names) if name.isprintable()))
        script.write_text(_COUNT_NAMES % _OWN_NAMES)
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
