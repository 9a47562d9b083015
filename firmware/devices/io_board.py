"""The controller's own inputs and outputs: emergency stop, contactor and its feedback, status LED.

A broken wire must read as pressed: wire a normally-closed button between the pin and the level that
`estop_pressed_level` is not, and let a pull resistor drag the open wire to the pressed level.  A site file that
pulls the other way is refused.  The contactor opens by itself when the control cycle stops (CMD_SEQ frozen).
"""

import asyncio
import time

from machine import Pin
from micropython import const

from firmware import image as im

OPTIONS = (
    ("estop_pin", "int", "REQUIRED", -1, 48, "GPIO of the emergency stop; -1: none is wired to this board"),
    ("estop_pressed_level", "int", 1, 0, 1, "level when pressed (and when the wire is broken)"),
    ("estop_pull", ("up", "down", "none"), "up", 0, 0, "pull resistor of the chip; none: on the board (pins 34 to 39)"),
    ("estop_debounce_ms", "int", 40, 0, 200, "ms a press must last to count"),
    ("estop_release_ms", "int", 200, 0, 5000, "ms a release must last to count"),
    ("contactor_pin", "int", -1, -1, 48, "GPIO that closes the contactor; -1: none"),
    ("contactor_level", "int", 1, 0, 1, "level that closes it"),
    ("feedback_pin", "int", -1, -1, 48, "GPIO of the contactor's auxiliary contact; -1: none"),
    ("feedback_level", "int", 1, 0, 1, "level when the contactor is closed"),
    ("feedback_pull", ("up", "down", "none"), "down", 0, 0, "pull resistor of the chip"),
    ("led_pin", "int", -1, -1, 48, "GPIO of the status LED; -1: none"),
    ("led_level", "int", 1, 0, 1, "level that lights it"),
)

_STEP_MS = const(20)
_LATE_MS = const(100)  # a step that comes later was held up: what nobody could look at has not stood still
_UNKNOWN = const(2)  # the emergency stop, until its pin has been steady once: the group is not heard before
_LOOSE = const(100)  # so many turns without being steady once are no noise: a loose wire, which is a broken one
_DEAD_MS = const(1000)  # a command this old is no command: the contactor opens


class Device:
    """The board's own pins."""

    def __init__(self, name, options, image, buses):
        toward_pressed = "up" if options["estop_pressed_level"] else "down"
        if options["estop_pin"] >= 0 and options["estop_pull"] not in (toward_pressed, "none"):
            raise ValueError(
                "devices.%s.estop_pull: %r would hide a broken wire; allowed with pressed level %d: %r, 'none'"
                % (name, options["estop_pull"], options["estop_pressed_level"], toward_pressed)
            )
        self._image = image
        self._estop = self._input(options["estop_pin"], options["estop_pull"])
        self._pressed_level = options["estop_pressed_level"]
        self._press_ms = options["estop_debounce_ms"]
        self._release_ms = options["estop_release_ms"]
        self._close_level = options["contactor_level"]
        self._contactor = self._output(options["contactor_pin"], 1 - self._close_level)
        self._feedback = self._input(options["feedback_pin"], options["feedback_pull"])
        self._closed_level = options["feedback_level"]
        self._lit_level = options["led_level"]
        self._led = self._output(options["led_pin"], 1 - self._lit_level)
        self._pressed = 0 if self._estop is None else _UNKNOWN
        self._candidate = 0  # what the pin says, not yet for long enough to count
        self._candidate_ms = 0
        self._turns = 0  # of the pin since it was steady
        self._seq = -1
        self._seq_ms = 0  # how long CMD_SEQ has stood still
        self._blink_ms = 0
        self.reads = 0
        self.presses = 0
        self.dead_openings = 0

    def _input(self, number, pull):
        if number < 0:
            return None
        if pull == "none":
            return Pin(number, Pin.IN)
        return Pin(number, Pin.IN, Pin.PULL_UP if pull == "up" else Pin.PULL_DOWN)

    def _output(self, number, off_level):
        return None if number < 0 else Pin(number, Pin.OUT, value=off_level)

    def step(self, dt_ms):
        """Read the inputs, drive the outputs.  Allocates nothing."""
        self._read_estop(dt_ms)
        inp = self._image.inp
        if self._feedback is not None:
            inp[im.IO_CONTACTOR] = 1 if self._feedback.value() == self._closed_level else 0
        if self._pressed != _UNKNOWN:
            inp[im.IO_ESTOP] = self._pressed
            self._image.heard(im.SEQ_IO)
        self.reads = (self.reads + 1) & 0x3FFFFFFF
        self._drive_contactor(dt_ms)
        if self._led is not None:
            self._drive_led(dt_ms)

    def _read_estop(self, dt_ms):
        if self._estop is None:
            return
        pressed = 1 if self._estop.value() == self._pressed_level else 0
        if pressed != self._candidate:
            self._candidate = pressed
            self._candidate_ms = 0
            self._turns += 1
        else:
            self._candidate_ms = min(self._candidate_ms + dt_ms, 10000)
        if self._candidate_ms >= (self._press_ms if pressed else self._release_ms):
            self._turns = 0
        elif self._turns < _LOOSE or self._pressed == _UNKNOWN:
            return
        else:
            pressed = 1  # it is never steady: the wire is loose
        if pressed != self._pressed:
            self._pressed = pressed
            self.presses = (self.presses + pressed) & 0x3FFFFFFF

    def _drive_contactor(self, dt_ms):
        now = self._image.now
        if now[im.CMD_SEQ] != self._seq:
            self._seq = now[im.CMD_SEQ]
            self._seq_ms = 0
        elif self._seq_ms <= _DEAD_MS:
            self._seq_ms += dt_ms
            if self._seq_ms > _DEAD_MS and now[im.CMD_CONTACTOR]:
                self.dead_openings += 1
        close = now[im.CMD_CONTACTOR] == 1 and self._seq_ms <= _DEAD_MS
        if self._contactor is not None:
            self._contactor.value(self._close_level if close else 1 - self._close_level)

    def safe(self):
        """The firmware ends: contactor open, LED off.  Allocates nothing, and fetches nothing."""
        if self._contactor is not None:
            self._contactor.value(1 - self._close_level)
        if self._led is not None:
            self._led.value(1 - self._lit_level)

    def _drive_led(self, dt_ms):
        """Steady: running; slow blink: standing by; fast blink: a fault, an emergency stop, or no control."""
        now = self._image.now
        self._blink_ms = (self._blink_ms + dt_ms) % 2000
        if self._pressed != 0 or now[im.FAULTS] or self._seq_ms > _DEAD_MS:
            lit = self._blink_ms % 200 < 100
        elif now[im.CMD_RUN]:
            lit = True
        else:
            lit = self._blink_ms < 1000
        self._led.value(self._lit_level if lit else 1 - self._lit_level)

    async def run(self):
        """Step every 20 ms for ever."""
        last = time.ticks_ms()
        while True:
            now = time.ticks_ms()
            self.step(min(time.ticks_diff(now, last), _LATE_MS))
            last = now
            await asyncio.sleep_ms(_STEP_MS)

    def counters(self):
        """A new dict: frames (reads of the pins), presses of the emergency stop, dead_openings of the contactor."""
        return {"frames": self.reads, "presses": self.presses, "dead_openings": self.dead_openings, "last_error": ""}
