"""Puts a simulated board together as one chip: its flash, its own modules, its heap and what is counted in it.

Used by board.py where CHIP (or a test) asks for a profile.
"""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from tools.build import fits, romfs, stage
from tools.interpreters import Interpreter, chosen
from tools.sim.board import appimage, chiprom, flash_image, mpyfile
from tools.sim.board.profiles import Profile
from tools.sim.board.slots import Slots


def interpreter(profile: Profile) -> Interpreter:
    """The 32-bit interpreter at that chip's speed.  Raises what tools/sim/board/chip raises where it cannot be had."""
    from tools.sim.board.chip import start  # here: needs QEMU and a C compiler, which a fast board does not

    return start.interpreter(profile.name)


def calibrate(profile: Profile) -> None:
    """Raises ChipError unless this machine keeps the chip's speed now, within 10 %."""
    from tools.sim.board.chip import calibrate as clock  # here: see interpreter()

    clock.check(profile.name)


class ChipBoard:
    """The files of one board below `state`, and what its interpreter has to be told."""

    def __init__(self, profile: Profile, state: Path, root: Path) -> None:
        self.profile = profile
        self.root = root
        self.image = state / "flash.img"
        self.rom = state / "rom"
        self.nvs = state / "nvs"
        self._chip = state / "chip.img"
        self._romfs = state / "romfs.img"  # built of the tree
        self._running = state / "running.img"  # of the slot that the boot loader has started
        self._slot = 0
        self.slots = Slots(self.nvs, profile.name) if profile.romfs else None
        self.instrument_bytes = 0  # of heap that what measures takes, and that the heap is larger by
        self.constant_bytes = 0  # of heap held for the firmware's constants: each module gives its own back when it is loaded
        self.names_frozen = 0  # names that our own image would have in flash
        self.names_bytes = 0  # of heap that they take here, and that the heap is larger by
        self._names_there = 0  # names that the interpreter knows when it starts
        self._instrument_names = 0  # names that only what measures brings, its modules' and their paths among them
        self._paths = 0  # modules: the path of each is a name too, which our own image has in flash

    @property
    def heap(self) -> int:
        """Bytes of heap to start with: the profile's, and what the board has that a chip has not."""
        more = self.instrument_bytes + self.constant_bytes + self.names_bytes
        return self.profile.heap + more + more * 3 // 125  # of all of it the collector has 3 bytes of 128 for its own tables

    def paced(self) -> Interpreter:
        """The interpreter at the chip's speed, whose collections pass over no more than the chip's heap.

        They mark what lives and pass over the table of all blocks; what the board has that a chip has not makes both longer.
        """
        from tools.sim.board.chip import profiles, start  # here: see interpreter()

        chip = profiles.profile(self.profile.name)
        return start.interpreter(replace(chip, gc_percent=max(1, chip.gc_percent * self.profile.heap // self.heap)))

    def deploy(self, tree: Path) -> None:
        """Builds the ROM and puts a staged tree on the flash.  Raises CompileError, FlashError, OSError."""
        march = appimage.MARCH
        chiprom.build(self.rom, march, lines=False)
        # our own image has all machine code in flash, which ROMFS has not
        code: dict[str, int] = {}
        constants: dict[str, int] = {}
        names: set[str] = set()
        if self.profile.romfs:
            romfs.build(tree, self._romfs, march)
            shutil.copyfile(self._romfs, self._running)
            names, constants = self._take_apart(tree)
        else:
            code = chiprom.code_sizes(self.root)
            self._instrument_names = self._names_of_instruments(tree)
        parts = chiprom.read(self.rom)
        chiprom.build_image(parts, self._chip, march, code, constants, names)
        self.nvs.mkdir(parents=True, exist_ok=True)
        if self.slots is not None:
            self.slots.flash(appimage.make(self._romfs.read_bytes(), self.profile.name))
        flash_image.deploy(tree, self.image, self.profile.flash, self.profile.romfs)
        self.names_frozen = len(names)
        self._weigh()
        room = fits.pool_room(self._names_there)
        if names and room < fits.OWN_NAMES + self._paths:  # else the next pool is a huge one, which ours has not
            names |= {f"filler {number}" for number in range(room + 1)}
            chiprom.build_image(parts, self._chip, march, code, constants, names)
            self._weigh()

    def boot(self) -> None:
        """The boot loader's turn, where there are slots.  Raises slots.NoApplication."""
        if self.slots is not None:
            self._slot, content = self.slots.boot()
            self._running.write_bytes(content)

    def environment(self) -> dict[str, str]:
        """What the chip's modules are told."""
        profile = self.profile
        extra = self.instrument_bytes + self.constant_bytes + self.names_bytes
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
            env["SIM_ROMFS"] = str(self._running)
            env["SIM_SLOT"] = f"ota_{self._slot}"
        if self.names_bytes:
            env["SIM_NAMES_BYTES"] = str(self.names_bytes + fits.pool_bytes(fits.OWN_NAMES))
        return env

    def instrument_pools(self, names: int) -> int:
        """Bytes of the pools of so many names that are there for those of what measures alone; 0 with our own image."""
        return fits.pool_bytes(names) - fits.pool_bytes(names - self._instrument_names)

    def own_names(self, names: int, paths: int) -> int:
        """Of so many names, so many of them paths of modules: those that our own image would have in its heap."""
        return names - self._names_there - paths

    def read_back(self, into: Path) -> None:
        """Copies what is on the flash into a folder, in place of what was there."""
        shutil.rmtree(into, ignore_errors=True)
        flash_image.unpack(self.image, into)

    def _weigh(self) -> None:
        said = self._run("-X", "heapsize=1M", f"{self.rom}/{chiprom.ENTRY}", env={**self.environment(), "SIM_WEIGH": "1"})
        words = (int(word) for word in said.rpartition("weighed ")[2].split())
        self.instrument_bytes, self.constant_bytes, self.names_bytes = words
        self._names_there = int(said.partition("n_qstr=")[2].partition(",")[0])
        self.names_bytes = max(0, self.names_bytes - fits.pool_bytes(fits.OWN_NAMES)) if self.names_frozen else 0

    def _names_of_instruments(self, tree: Path) -> int:
        there: set[str] = set()
        for file in tree.rglob("*.mpy"):
            there |= mpyfile.read(file).names
        brought: set[str] = set()
        for file in self.rom.glob("*.mpy"):
            (brought if file.stem in chiprom.INSTRUMENTS else there).update(mpyfile.read(file).names)
        return len(brought - there) + 2 * len(chiprom.INSTRUMENTS)

    def _take_apart(self, tree: Path) -> tuple[set[str], dict[str, int]]:
        """What a frozen image has in flash: its names; by module the bytes of its constants, and of its path, which is a name too.

        One more, an odd number, where a module has no constant objects: see sim_frozen.  Also those of the chip's
        modules, be they C on a chip or frozen drivers.
        """
        folders = [(tree, name, f"{romfs.MOUNT}/") for name in stage.TREES] + [(self.rom, "", "/chip/")]
        found = {}
        for root, name, mount in folders:
            for file in (root / name).rglob("*.mpy"):
                path = file.relative_to(root)
                if path.stem not in chiprom.INSTRUMENTS:
                    found[path] = (mpyfile.read(file), len(f"{mount}{path}") + 1)
        for path in (Path(name).with_suffix(".mpy") for name in stage.ENTRY_FILES):
            found[path] = (mpyfile.read(self._romfs.parent / path), len(f"{romfs.MOUNT}/{path}") + 1)
        names: set[str] = set().union(*(module.names for module, _ in found.values()))
        sizes = {}
        for path, (module, letters) in found.items():
            blocks = round(letters / mpyfile.BLOCK)
            size = module.constant_bytes(names) + blocks * mpyfile.BLOCK
            sizes[chiprom.module_name(path)] = size if module.objects else size + 1
        self._paths = len(sizes)
        return {name for name in names if name.isprintable()}, sizes

    def _run(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """The 32-bit interpreter at full speed."""
        command = [*chosen("32").command, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env or {})
        if done.returncode:
            raise OSError(f"{arguments[-1]}: {(done.stdout + done.stderr).strip()[-500:]}")
        return done.stdout
