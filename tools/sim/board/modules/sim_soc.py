"""What `esp32` has besides NVS: fetched for the moment it is asked for, see esp32.py."""

import os


class Partition:
    """Of the chip's flash: that of the file system, where the board has its flash in a file, and the slots of our own image."""

    BOOT = 0
    RUNNING = 1
    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, which) -> None:
        """which: RUNNING, or the label of a slot."""
        import sim_slots

        slot = sim_slots.running()
        if which != Partition.RUNNING:
            if which not in ("ota_0", "ota_1"):
                raise OSError(2)
            slot = int(which[4:])
        self._slot = slot
        self._flash = sim_slots.flash("ota_%d" % slot)
        self.readblocks = self._flash.readblocks
        self.writeblocks = self._flash.writeblocks
        self.ioctl = self._flash.ioctl

    @staticmethod
    def find(kind: int = 0, subtype: int = 0xFF, label=None) -> list:
        """Every partition of that type and label: block devices."""
        if kind == Partition.TYPE_APP and os.getenv("SIM_SLOT"):
            return [Partition(name) for name in ("ota_0", "ota_1") if label in (None, name)]
        if kind != Partition.TYPE_DATA or label not in (None, "vfs") or not os.getenv("SIM_FLASH"):
            return []
        import sim_flash

        return [sim_flash.device]

    def info(self) -> tuple:
        """(type, subtype, address, bytes, label, encrypted)."""
        size = self._flash.ioctl(4, 0) * 4096
        return Partition.TYPE_APP, 0x10 + self._slot, 0x10000 + self._slot * size, size, "ota_%d" % self._slot, False

    def get_next_update(self) -> "Partition":
        """The slot that an update goes to."""
        return Partition("ota_%d" % (1 - self._slot))

    def set_boot(self) -> None:
        """It starts next, on trial.  OSError where it holds no whole image."""
        import sim_slots

        sim_slots.set_boot(self._slot)

    @staticmethod
    def mark_app_valid_cancel_rollback() -> None:
        """What runs is started from now on."""
        import sim_slots

        sim_slots.mark_valid()


HEAP_DATA = 4
HEAP_EXEC = 1


def mcu_temperature() -> int:
    """Chip temperature in degC (SIM_TEMPERATURE, default 45)."""
    return int(os.getenv("SIM_TEMPERATURE") or "45")


def raw_temperature() -> int:
    """The same in degF, as the first ESP32 gives it."""
    return mcu_temperature() * 9 // 5 + 32


def idf_heap_info(capabilities: int) -> list:
    """One region: (total, free, largest free block, least free ever); without a counted pool as on an idle board with Wi-Fi on."""
    if not os.getenv("SIM_POOL"):
        return [(163840, 60000, 40000, 50000)]
    import sim_pool

    free = sim_pool.free()
    return [(sim_pool.size, free, free, free)]
