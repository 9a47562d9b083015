"""The board's own pins: debounce, a broken wire, the contactor that opens when control dies, the LED."""

import sys

import micropython


class FakePin:
    """A pin that tests read and drive through `FakePin.at[number]`."""

    IN = 0
    OUT = 1
    PULL_UP = 2
    PULL_DOWN = 3
    at = {}

    def __init__(self, number, mode=0, pull=None, value=0):
        self.mode = mode
        self.pull = pull
        self.level = value
        FakePin.at[number] = self

    def value(self, level=None):
        if level is None:
            return self.level
        self.level = level


class FakeMachine:
    Pin = FakePin


_real = sys.modules.get("machine")
sys.modules["machine"] = FakeMachine
sys.modules.pop("firmware.devices.io_board", None)
from rows import each  # noqa: E402

from firmware import image as im  # noqa: E402  (the pins must be ours when the driver is imported)
from firmware.devices import io_board  # noqa: E402

if _real is None:
    del sys.modules["machine"]
else:
    sys.modules["machine"] = _real


def _rig(**given):
    options = {row[0]: row[2] for row in each(io_board.OPTIONS)}
    options["estop_pin"] = 34
    options["contactor_pin"] = 25
    options["feedback_pin"] = 26
    options["led_pin"] = 2
    options.update(given)
    image = im.Image()
    return io_board.Device("io", options, image, {}), image, FakePin.at


def _steps(device, image, ms, alive=True):
    for _ in range(ms // 20):
        if alive:
            image.now[im.CMD_SEQ] += 1
        device.step(20)


def test_nothing_is_said_of_the_stop_button_before_it_was_steady():
    device, image, pins = _rig()
    pins[34].level = 0
    _steps(device, image, 180)
    assert image.inp[im.IO_ESTOP] == im.NO_VALUE and image.inp[im.SEQ_IO] == 0
    _steps(device, image, 60)
    assert image.inp[im.IO_ESTOP] == 0 and image.inp[im.SEQ_IO] > 0


def test_a_press_counts_after_its_debounce_and_noise_does_not():
    device, image, pins = _rig()
    pins[34].level = 0
    _steps(device, image, 400)
    for _ in range(20):
        pins[34].level = 1
        _steps(device, image, 20)
        pins[34].level = 0
        _steps(device, image, 20)
    assert image.inp[im.IO_ESTOP] == 0 and device.presses == 0
    pins[34].level = 1
    _steps(device, image, 60)
    assert image.inp[im.IO_ESTOP] == 1 and device.presses == 1
    pins[34].level = 0
    _steps(device, image, 100)
    assert image.inp[im.IO_ESTOP] == 1
    _steps(device, image, 140)
    assert image.inp[im.IO_ESTOP] == 0


def test_a_button_that_is_never_steady_has_a_loose_wire():
    """One that opens and closes faster than the debounce never counted, while the inputs were heard as released."""
    device, image, pins = _rig()
    pins[34].level = 0
    _steps(device, image, 400)
    for turn in range(120):
        pins[34].level = 1 - turn % 2
        _steps(device, image, 20)
    assert image.inp[im.IO_ESTOP] == 1 and device.presses == 1
    pins[34].level = 0
    _steps(device, image, 400)
    assert image.inp[im.IO_ESTOP] == 0, "steady again for as long as a release takes"
    for turn in range(1000):  # a spike now and then is noise, for however long
        pins[34].level = 1 if turn % 20 == 0 else 0
        _steps(device, image, 20)
        assert image.inp[im.IO_ESTOP] == 0


def test_a_broken_wire_reads_as_pressed():
    device, image, pins = _rig(estop_pressed_level=0, estop_pull="down")
    assert pins[34].pull == FakePin.PULL_DOWN
    pins[34].level = 0  # what the pull makes of an open wire
    _steps(device, image, 100)
    assert image.inp[im.IO_ESTOP] == 1


def test_a_pull_that_would_hide_a_broken_wire_is_refused():
    for level, pull in ((1, "down"), (0, "up")):
        try:
            _rig(estop_pressed_level=level, estop_pull=pull)
        except ValueError as err:
            assert "io.estop_pull" in str(err) and pull in str(err)
        else:
            raise AssertionError("accepted")


def test_without_a_stop_button_the_inputs_are_heard_all_the_same():
    device, image, _ = _rig(estop_pin=-1)
    _steps(device, image, 20)
    assert image.inp[im.IO_ESTOP] == 0 and image.inp[im.SEQ_IO] == 1


def test_the_contactor_follows_the_command_and_opens_when_control_dies():
    device, image, pins = _rig(contactor_level=0)
    assert pins[25].level == 1
    image.now[im.CMD_CONTACTOR] = 1
    _steps(device, image, 100)
    assert pins[25].level == 0
    _steps(device, image, 1000, alive=False)
    assert pins[25].level == 0
    _steps(device, image, 60, alive=False)
    assert pins[25].level == 1 and device.dead_openings == 1
    _steps(device, image, 20)
    assert pins[25].level == 0
    image.now[im.CMD_CONTACTOR] = 0
    _steps(device, image, 20)
    assert pins[25].level == 1


def test_when_the_firmware_ends_the_contactor_opens_whichever_its_level():
    for level in (0, 1):
        device, image, pins = _rig(contactor_level=level)
        image.now[im.CMD_CONTACTOR] = 1
        _steps(device, image, 100)
        assert pins[25].level == level
        device.safe()
        assert pins[25].level == 1 - level and pins[2].level == 0
    _rig(contactor_pin=-1, led_pin=-1)[0].safe()  # nothing is wired, and nothing happens


def test_feedback_is_reported_and_absent_where_none_is_wired():
    device, image, pins = _rig(feedback_level=0, feedback_pull="up")
    pins[26].level = 0
    _steps(device, image, 20)
    assert image.inp[im.IO_CONTACTOR] == 1
    pins[26].level = 1
    _steps(device, image, 20)
    assert image.inp[im.IO_CONTACTOR] == 0
    device, image, pins = _rig(feedback_pin=-1)
    _steps(device, image, 20)
    assert image.inp[im.IO_CONTACTOR] == im.NO_VALUE


def _blinks(device, image, pin, ms, alive=True):
    changes = 0
    last = pin.level
    for _ in range(ms // 20):
        _steps(device, image, 20, alive)
        changes += pin.level != last
        last = pin.level
    return changes


def test_the_led_tells_running_standby_and_trouble_apart():
    device, image, pins = _rig()
    pins[34].level = 0
    _steps(device, image, 2000)
    assert 7 <= _blinks(device, image, pins[2], 8000) <= 9
    image.now[im.CMD_RUN] = 1
    _steps(device, image, 20)
    assert pins[2].level == 1 and _blinks(device, image, pins[2], 8000) == 0
    image.now[im.FAULTS] = 4
    assert _blinks(device, image, pins[2], 2000) > 15
    image.now[im.FAULTS] = 0
    assert _blinks(device, image, pins[2], 4000, alive=False) > 20


def test_a_step_needs_no_heap_however_long_it_has_run():
    """At 50 steps a second a count leaves the small integers after 248 days; behind it the contactor is driven."""
    device, image, pins = _rig()
    image.now[im.CMD_CONTACTOR] = 1
    _steps(device, image, 300)
    assert pins[25].level == 1
    device.reads = device.presses = 0x3FFFFFFF
    pins[34].level = 1 - pins[34].level
    device.step(20)
    pins[34].level = 1 - pins[34].level
    image.now[im.CMD_CONTACTOR] = 0
    micropython.heap_lock()
    try:
        device.step(20)
    finally:
        micropython.heap_unlock()
    assert pins[25].level == 0
    assert 0 <= device.counters()["frames"] <= 0x3FFFFFFF
