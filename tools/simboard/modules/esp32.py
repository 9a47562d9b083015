"""`esp32` for the simulated board: NVS kept in files, and a chip temperature."""

import os

_MAX_NAME = 15  # characters of a namespace or key, as NVS allows
_NOT_FOUND = -0x1102  # ESP_ERR_NVS_NOT_FOUND


class NVS:
    """Non-volatile storage: int32 values and blobs by key; what is set counts from commit() on."""

    def __init__(self, namespace: str) -> None:
        if not 0 < len(namespace) <= _MAX_NAME:
            raise OSError(-0x1101, "ESP_ERR_NVS_INVALID_NAME")
        self._path = "%s/%s.nvs" % (os.getenv("SIM_NVS") or ".", namespace)
        self._values = {}
        try:
            with open(self._path, "rb") as file:
                self._load(file.read())
        except OSError:
            pass

    def _load(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            key_len = data[at + 1]
            size = data[at + 2] | data[at + 3] << 8
            key = data[at + 4 : at + 4 + key_len].decode()
            self._values[key] = (data[at], data[at + 4 + key_len : at + 4 + key_len + size])
            at += 4 + key_len + size

    def _get(self, kind: int, key: str) -> bytes:
        found = self._values.get(key)
        if found is None or found[0] != kind:
            raise OSError(_NOT_FOUND, "ESP_ERR_NVS_NOT_FOUND")
        return found[1]

    def _set(self, kind: int, key: str, data: bytes) -> None:
        if not 0 < len(key) <= _MAX_NAME:
            raise OSError(-0x1106, "ESP_ERR_NVS_KEY_TOO_LONG")
        self._values[key] = (kind, data)

    def set_i32(self, key: str, value: int) -> None:
        """Sets an int32; out of range is OverflowError."""
        if not -(1 << 31) <= value < 1 << 31:
            raise OverflowError("%d is not within int32" % value)
        self._set(0, key, (value & 0xFFFFFFFF).to_bytes(4, "little"))

    def get_i32(self, key: str) -> int:
        """An int32; OSError when it was never set."""
        value = int.from_bytes(self._get(0, key), "little")
        return value - (1 << 32) if value >> 31 else value

    def set_blob(self, key: str, value: bytes) -> None:
        """Sets a blob."""
        self._set(1, key, bytes(value))

    def get_blob(self, key: str, buffer: bytearray) -> int:
        """Copies a blob into buffer and returns its length; OSError when absent or too long for the buffer."""
        data = self._get(1, key)
        if len(data) > len(buffer):
            raise OSError(-0x110C, "ESP_ERR_NVS_INVALID_LENGTH")
        buffer[: len(data)] = data
        return len(data)

    def erase_key(self, key: str) -> None:
        """Forgets a key; OSError when there is none."""
        if key not in self._values:
            raise OSError(_NOT_FOUND, "ESP_ERR_NVS_NOT_FOUND")
        del self._values[key]

    def commit(self) -> None:
        """Makes what was set last through a reset, whole or not at all."""
        with open(self._path + ".new", "wb") as file:
            for key in self._values:
                kind, data = self._values[key]
                name = key.encode()
                file.write(bytes((kind, len(name), len(data) & 255, len(data) >> 8)))
                file.write(name)
                file.write(data)
        os.rename(self._path + ".new", self._path)


def mcu_temperature() -> int:
    """Chip temperature in degC (SIM_TEMPERATURE, default 45)."""
    return int(os.getenv("SIM_TEMPERATURE") or "45")


def raw_temperature() -> int:
    """The same in degF, as the first ESP32 gives it."""
    return mcu_temperature() * 9 // 5 + 32


def idf_heap_info(capabilities: int) -> list:
    """One region: (total, free, largest free block, least free ever), as on an idle board with Wi-Fi on."""
    return [(163840, 60000, 40000, 50000)]


HEAP_DATA = 4
HEAP_EXEC = 1
