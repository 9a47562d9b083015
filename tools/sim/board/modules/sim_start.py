"""What a chip does before boot.py: mounts its flash, and knows its own modules without looking for them there.

SIM_FLASH is the flash's file, SIM_CHIP the image of the chip's modules, SIM_ROMFS the image of the firmware where there is
one.  SIM_WEIGH: only tell what heap is taken that a chip has not: bytes of what measures, bytes for
constants, and for the names that a frozen image has in flash.
"""

import gc
import os
import sys

import micropython
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


def gc_alloc() -> int:
    """Bytes of heap that live."""
    gc.collect()
    return gc.mem_alloc()


def _taken(frozen) -> tuple:
    """Takes the heap for what a frozen image has in flash: bytes for its names, for its constants, and beside these."""
    before = gc_alloc()
    frozen.bring_names()
    between = gc_alloc()
    constants = frozen.hold()
    return between - before, constants, gc_alloc() - between - (constants - frozen.constants)


def start() -> None:
    """Mounts everything; flash at "/" last, for that is where every path is looked up that belongs to nobody else."""
    before = gc_alloc()  # the wire to the supervisor, the clock and where they come from are no part of a chip either
    vfs.mount(vfs.VfsRom(_mapped(os.getenv("SIM_CHIP"))), "/chip")
    sys.path[:] = ["/chip", ".frozen"]
    import sim_pace

    sim_pace.off()
    import sim_interrupt

    sim_interrupt.install()
    romfs = os.getenv("SIM_ROMFS")
    firmware = vfs.VfsRom(_mapped(romfs)) if romfs else None
    folders = (("/dev", "/dev"), ("/proc", "/proc"), (os.getenv("SIM_NVS_FOLDER"), "/nvs"))
    made = [vfs.VfsPosix(folder) for folder, _ in folders]
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
    import sim_socket  # noqa: F401  (now: on a chip it is C)
    import sim_watch  # noqa: F401  (now: what it weighs is an instrument's)
    import sim_wlan  # noqa: F401  (now: on a chip it is C, and asking for it is no work)

    sim_select.waits.append(sim_flash.boot_over)
    if sim_pace.paced:  # else it would have to collect each time
        sim_select.waits.append(sim_pool.look)
    sim_import.hide("sim_end", "sim_flash", "sim_interrupt", "sim_pace", "sim_pool", "sim_select", "sim_socket", "sim_watch")
    sim_import.hide("sim_wlan", "simlink")
    if firmware is not None:
        import sim_frozen

        sim_import.hide("sim_frozen")
    instruments = gc_alloc() - before
    constants = names = 0
    if firmware is not None:
        names, constants, more = _taken(sim_frozen)
        instruments += more
    sys.path[:] = ["", ".frozen", "/lib"]
    if firmware is None:
        sim_import.install()
    else:
        sys.path.extend(("/rom", "/rom/lib"))
        sim_import.install(sim_frozen.give, sim_frozen.keep)
    sys.modules.pop("sim_start", None)
    if os.getenv("SIM_WEIGH"):
        micropython.qstr_info()
        print("weighed", instruments, constants, names)
        sys.exit()
    sim_pace.on()
    vfs.mount(flash, "/")  # found out to be LittleFS, as the chip's own _boot.py has it
    os.chdir("/")
