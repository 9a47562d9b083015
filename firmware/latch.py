"""Remembers an emergency across resets and power cuts, in the chip's non-volatile storage."""

import esp32

from firmware.event_codes import Event
from firmware.events import Cursor
from firmware.modes import Mode

_KEY = "emergency"
_NONE = 0  # stored is cause + 2, so that "commanded" (-1) is 1


class Latch:
    """Keeps NVS in step with the manager: writes only when EMERGENCY is entered or left."""

    def __init__(self, pm) -> None:
        self._pm = pm
        self._nvs = esp32.NVS("bess")
        self.stores = 0  # times the flash was written
        self._events = Cursor(pm.events.total)
        try:
            stored = self._nvs.get_i32(_KEY)
        except OSError:
            stored = _NONE
        if stored != _NONE:
            pm.restore_emergency(stored - 2)

    def step(self) -> None:
        """Call a few times a second; the flash is touched only after a change."""
        cursor = self._events
        changed = False
        while self._pm.events.next(cursor):
            if cursor.event in (Event.EMERGENCY, Event.MODE_CHANGE):
                changed = True
        if changed:
            wanted = self._pm.emergency_cause + 2 if self._pm.mode == Mode.EMERGENCY else _NONE
            try:
                stored = self._nvs.get_i32(_KEY)
            except OSError:
                stored = _NONE
            if stored != wanted:
                self._nvs.set_i32(_KEY, wanted)
                self._nvs.commit()
                self.stores += 1
