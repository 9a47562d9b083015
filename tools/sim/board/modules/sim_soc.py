"""What `esp32` has besides NVS: fetched for the moment it is asked for, see esp32.py."""

import os


class Partition:
    """Of the chip's flash: only that of the file system is played, where the board has its flash in a file."""

    TYPE_APP = 0
    TYPE_DATA = 1

    @staticmethod
    def find(kind: int = 0, subtype: int = 0xFF, label=None) -> list:
        """Every partition of that type and label: block devices."""
        if kind != Partition.TYPE_DATA or label not in (None, "vfs") or not os.getenv("SIM_FLASH"):
            return []
        import sim_flash

        return [sim_flash.device]


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
