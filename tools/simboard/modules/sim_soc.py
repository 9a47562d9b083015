"""What `esp32` has besides NVS, and how NVS finds a value: fetched for the moment it is asked for, see esp32.py."""

import os

HEAP_DATA = 4
HEAP_EXEC = 1


def get(values: dict, key: str, kind) -> bytes:
    """The value of that kind (0 int32, 1 blob, None either); OSError where there is none."""
    found = values.get(key)
    if found is None or (kind is not None and found[0] != kind):
        raise OSError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
    return found[1]


def put(values: dict, key: str, kind: int, data: bytes) -> None:
    """Sets a value; OSError for a key of more than 15 characters."""
    if not 0 < len(key) <= 15:
        raise OSError(-0x1106, "ESP_ERR_NVS_KEY_TOO_LONG")
    values[key] = (kind, data)


def mcu_temperature() -> int:
    """Chip temperature in degC (SIM_TEMPERATURE, default 45)."""
    return int(os.getenv("SIM_TEMPERATURE") or "45")


def raw_temperature() -> int:
    """The same in degF, as the first ESP32 gives it."""
    return mcu_temperature() * 9 // 5 + 32


def idf_heap_info(capabilities: int) -> list:
    """One region: (total, free, largest free block, least free ever), as on an idle board with Wi-Fi on."""
    return [(163840, 60000, 40000, 50000)]
