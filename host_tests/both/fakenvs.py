"""An esp32.NVS that tests look into and let fail; `loaded` imports a module of the firmware that then uses it."""

import sys


class FakeNVS:
    """Non-volatile storage that tests look into and let fail."""

    stored = {}
    fails = None  # what the next writes raise
    unreadable = False
    writes = 0
    on_write = None

    def __init__(self, name):
        if FakeNVS.unreadable:
            raise OSError(-0x1105, "ESP_ERR_NVS_NOT_INITIALIZED")
        self._set = {}

    def get_i32(self, key):
        if key not in FakeNVS.stored:
            raise OSError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
        return FakeNVS.stored[key]

    def set_i32(self, key, value):
        self._fail()
        self._set[key] = value

    def commit(self):
        self._fail()
        if FakeNVS.on_write is not None:
            FakeNVS.on_write()
        FakeNVS.writes += 1
        FakeNVS.stored.update(self._set)

    def _fail(self):
        if FakeNVS.fails:
            raise FakeNVS.fails[0] if len(FakeNVS.fails) == 1 else FakeNVS.fails.pop(0)


class FakeEsp32:
    NVS = FakeNVS


def loaded(name):
    """A module of the firmware, imported anew with FakeEsp32 as its esp32; nobody else gets to see either."""
    real = sys.modules.get("esp32")
    before = sys.modules.pop(name, None)
    sys.modules["esp32"] = FakeEsp32
    module = __import__(name, None, None, ("x",))
    sys.modules.pop(name)
    if before is not None:
        sys.modules[name] = before
    if real is None:
        del sys.modules["esp32"]
    else:
        sys.modules["esp32"] = real
    return module
