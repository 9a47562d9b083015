"""Remembers an emergency across resets and power cuts, in the chip's non-volatile storage.

The manager asks for it before emergency_shutdown() answers, outside its own lock and after 0 W is commanded; what
arises in the cycle the house loop stores right after.  What cannot be stored is said, kept in RAM, and tried again.
"""

import _thread
import gc
import sys
import time

import esp32
from micropython import const
from notice import say

from firmware import image as im
from firmware.faults import rows
from firmware.modes import Mode

_KEY = const("emergency")
_NONE = const(0)  # stored is cause + 2, so that "commanded" (-1) is 1
_UNKNOWN = const(-1)  # it is not known what is stored
_NOT_FOUND = const(-0x1102)  # ESP_ERR_NVS_NOT_FOUND: nothing was ever stored
_RETRY_MS = const(1000)
_RESERVE_MS = const(10000)  # until it is looked for again in a heap that had none: looking collects
_RESERVE = const(512)  # bytes in one piece on a 32-bit chip: an emergency in a full heap must still be stored


class Latch:
    """Keeps NVS in step with the manager: writes only when EMERGENCY is entered or left.  Any thread may call it."""

    def __init__(self, pm) -> None:
        self._pm = pm
        self._nvs = None
        self._lock = _thread.allocate_lock()  # never the manager's: flash takes up to 80 ms
        self._tried_ms = time.ticks_ms()
        self._failing = False
        self._reserve = None
        self._keep_reserve()
        self.stores = 0  # times the flash was written
        self.failures = 0
        self._stored = self._read()
        if self._stored != _NONE:
            causes = len(list(rows()))
            pm.restore_emergency(self._stored - 2 if _NONE < self._stored < causes + 2 else -1)
        pm.emergency_memory = self

    def settle(self) -> bool:
        """Store what stands now; True once it is stored.  Where it cannot be, that is said, and `step` tries again."""
        with self._lock:
            return self._settle()

    def step(self) -> None:
        """Call a few times a second: stores what arose in the cycle, and what could not be stored before."""
        if not self._lock.acquire(0):
            return  # another thread is at it: the loop does not wait for the flash
        try:
            waited_ms = time.ticks_diff(time.ticks_ms(), self._tried_ms)
            if not self._failing or waited_ms >= _RETRY_MS:
                self._settle()
            if self._reserve is None and waited_ms >= _RESERVE_MS:
                self._tried_ms = time.ticks_ms()
                self._keep_reserve()
        finally:
            self._lock.release()

    def _settle(self) -> bool:
        pm = self._pm
        with pm.image.lock:
            wanted = pm.emergency_cause + 2 if pm.image.now[im.MODE] == Mode.EMERGENCY else _NONE
        if wanted == self._stored:
            return True
        self._tried_ms = time.ticks_ms()
        try:
            try:
                self._write(wanted)
            except MemoryError:
                self._reserve = None
                gc.collect()
                self._write(wanted)
        except Exception as error:
            self.failures += 1
            self._stored = _UNKNOWN
            if not self._failing:
                self._failing = True
                _tell(wanted, error)
            return False
        self._stored = wanted
        self.stores += 1
        if self._failing:
            self._failing = False
            _tell(wanted, None)
        self._keep_reserve()
        return True

    def _write(self, wanted: int) -> None:
        if self._nvs is None:
            self._nvs = esp32.NVS("bess")
        self._nvs.set_i32(_KEY, wanted)
        self._nvs.commit()

    def _keep_reserve(self) -> None:
        if self._reserve is not None:
            return
        try:
            self._reserve = bytearray(_RESERVE << 1 if sys.maxsize >> 31 else _RESERVE)
        except MemoryError:
            pass

    def _read(self) -> int:
        """What is stored.  A storage that cannot be read is taken for an emergency: nobody knows that there was none."""
        try:
            self._nvs = esp32.NVS("bess")
            return self._nvs.get_i32(_KEY)
        except MemoryError:
            raise
        except Exception as error:
            if error.args and error.args[0] == _NOT_FOUND:
                return _NONE
            say("emergency: the memory of it cannot be read (%s): taken as latched, reset_emergency() ends it" % error)
            return _UNKNOWN


def _tell(wanted: int, error) -> None:
    """For people: what could not be stored, or (no error) is stored at last.  In a full heap the call's answer must do."""
    try:
        text = "emergency: that it is over" if wanted == _NONE else "emergency: that it stands"
        if error is None:
            say(text + " is stored now")
        else:
            say("%s could NOT be stored (%s: %s): a reset forgets it; tried again" % (text, type(error).__name__, error))
    except MemoryError:
        pass
