"""`esp32` for the simulated board: NVS kept in files; what else the module has is in sim_soc.py."""

import _thread
import os

import simlink
from micropython import const
from sim_pace import off, on, pad_us

_COMMIT_US = const(9500)  # one write of flash
_namespaces: dict = {}  # path -> values: what is open twice is one storage
_lock = _thread.allocate_lock()  # a latch and what goes on after a reset are stored by any thread


def _libc_rename(old: str, new: str) -> None:
    """os.rename where the host's folder is mounted: VfsPosix makes both paths in one buffer, and renames the new one to itself."""
    folder = os.getenv("SIM_NVS_FOLDER")
    mount = len(os.getenv("SIM_NVS"))
    if _in_libc(folder + old[mount:], folder + new[mount:]):
        raise OSError(5)


_rename = os.rename
if os.getenv("SIM_NVS_FOLDER"):
    import ffi

    _in_libc = ffi.open("libc.so.6").func("i", "rename", "ss")
    _rename = _libc_rename


def __getattr__(name: str) -> object:
    return simlink.fetch("sim_soc", name)


class NVS:
    """Non-volatile storage: int32 values and blobs by key; what is set counts from commit() on."""

    def __init__(self, namespace: str) -> None:
        if not 0 < len(namespace) <= 15:
            raise OSError(-0x1101, "ESP_ERR_NVS_INVALID_NAME")
        self._path = "%s/%s.nvs" % (os.getenv("SIM_NVS") or ".", namespace)
        off()
        try:
            with _lock:
                if self._path not in _namespaces:
                    self._values: dict = {}
                    self._read()
                    _namespaces[self._path] = self._values
                self._values = _namespaces[self._path]
        finally:
            on()

    def _read(self) -> None:
        try:
            os.stat(self._path)
        except OSError:
            return  # nothing was ever committed
        with open(self._path, "rb") as file:
            data = file.read()
        values = self._values
        at = 0
        while at < len(data):
            start = at + 4 + data[at + 1]
            end = start + (data[at + 2] | data[at + 3] << 8)
            values[data[at + 4 : start].decode()] = (data[at], data[start:end])
            at = end

    def set_i32(self, key: str, value: int) -> None:
        """Sets an int32; out of range is OverflowError."""
        if not -(1 << 31) <= value < 1 << 31:
            raise OverflowError("%d is not within int32" % value)
        self._put(key, 0, (value & 0xFFFFFFFF).to_bytes(4, "little"))

    def get_i32(self, key: str) -> int:
        """An int32; OSError when it was never set."""
        value = int.from_bytes(self._get(key, 0), "little")
        return value - (1 << 32) if value >> 31 else value

    def set_blob(self, key: str, value: bytes) -> None:
        """Sets a blob."""
        self._put(key, 1, bytes(value))

    def get_blob(self, key: str, buffer: bytearray) -> int:
        """Copies a blob into buffer and returns its length; OSError when absent or too long for the buffer."""
        data = self._get(key, 1)
        if len(data) > len(buffer):
            raise OSError(-0x110C, "ESP_ERR_NVS_INVALID_LENGTH")
        buffer[: len(data)] = data
        return len(data)

    def erase_key(self, key: str) -> None:
        """Forgets a key; OSError when there is none."""
        self._get(key, None)
        with _lock:
            del self._values[key]

    def commit(self) -> None:
        """Makes what was set last through a reset, whole or not at all."""
        off()
        try:
            with _lock:
                self._write()
            pad_us(_COMMIT_US)
        finally:
            on()

    def _write(self) -> None:
        with open(self._path + ".new", "wb") as file:
            for key in self._values:
                kind, data = self._values[key]
                name = key.encode()
                file.write(bytes((kind, len(name), len(data) & 255, len(data) >> 8)))
                file.write(name)
                file.write(data)
        _rename(self._path + ".new", self._path)

    def _get(self, key: str, kind) -> bytes:
        """The value of that kind (0 int32, 1 blob, None either); OSError where there is none."""
        found = self._values.get(key)
        if found is None or (kind is not None and found[0] != kind):
            raise OSError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
        return found[1]

    def _put(self, key: str, kind: int, data: bytes) -> None:
        if not 0 < len(key) <= 15:
            raise OSError(-0x1106, "ESP_ERR_NVS_KEY_TOO_LONG")
        with _lock:
            self._values[key] = (kind, data)
