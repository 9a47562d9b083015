"""What a chip does before boot.py: mounts its flash, and knows its own modules without looking for them there.

SIM_FLASH is the flash's file, SIM_CHIP_ROM the folder of the chip's modules, SIM_INSTRUMENTS the image of those that
only measure, SIM_ROMFS the image of the firmware where there is one.  SIM_WEIGH: only tell how many bytes of heap what
measures takes.
"""

import gc
import os
import sys

import sim_pace
import simlink  # noqa: F401  (before it is measured what the instruments weigh: a chip has its wires too)
import vfs


def _mapped(path: str):
    """A file's bytes where the host has mapped them, outside the heap, as flash is mapped on a chip."""
    import ffi
    import uctypes

    libc = ffi.open("libc.so.6")
    size = os.stat(path)[6]
    file = libc.func("i", "open", "si")(path, 0)
    at = libc.func("p", "mmap", "piiiii")(0, size, 1, 2, file, 0)
    libc.func("i", "close", "i")(file)
    return uctypes.bytearray_at(at, size)


def start() -> None:
    """Mounts everything; flash at "/" last, for that is where every path is looked up that belongs to nobody else."""
    sim_pace.off()
    gc.collect()
    before = gc.mem_alloc()
    instruments = vfs.VfsRom(_mapped(os.getenv("SIM_INSTRUMENTS")))
    romfs = os.getenv("SIM_ROMFS")
    firmware = vfs.VfsRom(_mapped(romfs)) if romfs else None
    sys.path[:] = ["/instruments", "/chip", ".frozen"]
    folders = (("/dev", "/dev"), ("/proc", "/proc"), (os.getenv("SIM_CHIP_ROM"), "/chip"), (os.getenv("SIM_NVS_FOLDER"), "/nvs"))
    made = [vfs.VfsPosix(folder) for folder, _ in folders]
    vfs.mount(instruments, "/instruments")
    import sim_flash

    flash = sim_flash.device = sim_flash.Flash(os.getenv("SIM_FLASH"))
    vfs.umount("/")
    for i in range(len(folders)):
        vfs.mount(made[i], folders[i][1])
    if firmware is not None:
        vfs.mount(firmware, "/rom")
    import sim_end  # noqa: F401  (now: where the firmware has filled the heap it could not be loaded any more)
    import sim_import
    import sim_pool
    import sim_select
    import sim_watch  # noqa: F401  (now: what it weighs is an instrument's)
    import sim_wlan  # noqa: F401  (now: on a chip it is C, and asking for it is no work)

    sim_select.waits.append(sim_flash.boot_over)
    if sim_pace.paced:  # else it would have to collect each time
        sim_select.waits.append(sim_pool.look)
    sys.path[:] = ["", ".frozen", "/lib"]
    if firmware is not None:
        sys.path.extend(("/rom", "/rom/lib"))
    sim_import.install()
    sys.modules.pop("sim_start", None)
    if os.getenv("SIM_WEIGH"):
        gc.collect()
        print(gc.mem_alloc() - before)
        sys.exit()
    sim_pace.on()
    vfs.mount(flash, "/")  # found out to be LittleFS, as the chip's own _boot.py has it
    os.chdir("/")
