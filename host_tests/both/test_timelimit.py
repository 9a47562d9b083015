"""What runs too long is interrupted from a timer's callback: when, how often, never behind its end, never under a lock."""

import _thread
import time

import interrupting
import micropython
import timelimit
from timelimit import TimeLimit


class Keyboard:
    """Stands for interrupting.press: counts, and raises where the interpreter would, at the next look."""

    def __init__(self):
        self.presses = 0
        self.works = True

    def press(self):
        self.presses += self.works
        return self.works


class Naps:
    """In the place of the module's `time`: counts its naps."""

    ticks_ms = staticmethod(time.ticks_ms)
    ticks_add = staticmethod(time.ticks_add)
    ticks_diff = staticmethod(time.ticks_diff)

    def __init__(self):
        self.taken = 0

    def sleep_ms(self, ms):
        self.taken += 1
        time.sleep_ms(ms)


def limited(ms, lock=None):
    keyboard = Keyboard()
    interrupting.press = keyboard.press
    return TimeLimit(ms, lock), keyboard


def test_only_what_runs_too_long_is_interrupted():
    limit, keyboard = limited(30)
    limit.check()
    with limit:
        limit.check()
    time.sleep_ms(40)
    limit.check()
    assert keyboard.presses == 0 and not limit.over
    try:
        with limit:
            time.sleep_ms(40)
            limit.check()
            assert keyboard.presses == 1 and limit.over
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    limit.check()
    assert keyboard.presses == 1, "it has ended"
    with limit:
        assert not limit.over, "each counts anew"


def test_one_that_was_caught_is_repeated_but_not_at_once():
    limit, keyboard = limited(1)
    try:
        with limit:
            time.sleep_ms(5)
            limit.check()
            limit.check()
            assert keyboard.presses == 1
            time.sleep_ms(260)
            limit.check()
            assert keyboard.presses == 2
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass


def test_one_that_is_under_way_at_the_end_is_waited_for():
    limit, keyboard = limited(1)
    came = []

    class Late:
        """Time, of which the interrupt comes in the middle."""

        ticks_ms, ticks_add, ticks_diff = time.ticks_ms, time.ticks_add, time.ticks_diff

        @staticmethod
        def sleep_ms(_):
            came.append(1)
            raise KeyboardInterrupt

    import timelimit

    real, timelimit.time = timelimit.time, Late
    try:
        with limit:
            time.sleep_ms(5)
            limit.check()
        raise AssertionError("it would have come later, in somebody else's code")
    except KeyboardInterrupt:
        pass
    finally:
        timelimit.time = real
    assert came == [1] and keyboard.presses == 1


def test_who_holds_the_lock_is_not_interrupted_before_it_is_free():
    lock = _thread.allocate_lock()
    limit, keyboard = limited(1, lock)
    try:
        with limit:
            time.sleep_ms(5)
            with lock:
                limit.check()
                assert keyboard.presses == 0
            limit.check()
            assert keyboard.presses == 1
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass


def test_a_port_that_cannot_interrupt_waits_for_nothing():
    limit, keyboard = limited(1)
    keyboard.works = False
    usual, timelimit.time = timelimit.time, Naps()
    try:
        with limit:
            time.sleep_ms(5)
            limit.check()
        assert not limit.over and timelimit.time.taken == 0
    finally:
        timelimit.time = usual


REAL_PRESS = interrupting.press


class Chip:
    """os.dupterm and os.dupterm_notify as MicroPython's C code has them: a Ctrl-C that is read interrupts the program."""

    def __init__(self):
        self.terminal = None
        self.interrupts = 0
        self.rest = []
        self.key = -1

    def dupterm(self, terminal):
        before, self.terminal = self.terminal, terminal
        return before

    def dupterm_notify(self, _):
        buf = bytearray(1)
        while True:
            got = self.terminal.readinto(buf)
            assert got != 0, "the end of a stream takes the terminal away, with a message"
            if got is None:
                return
            if buf[0] == self.key:
                self.interrupts += 1
                return
            self.rest.append(buf[0])


def test_ctrl_c_comes_from_a_second_terminal_that_is_there_for_a_moment():
    chip = Chip()
    real_os, real_micropython = interrupting.os, interrupting.micropython

    class Micropython:
        @staticmethod
        def kbd_intr(key):
            chip.key = key

    interrupting.os, interrupting.micropython = chip, Micropython
    try:
        assert REAL_PRESS() and REAL_PRESS()
    finally:
        interrupting.os, interrupting.micropython = real_os, real_micropython
    assert chip.interrupts == 2 and chip.rest == []
    assert chip.terminal is None, "what is printed goes its ordinary way again"
    assert chip.key == -1, "and Ctrl-C on the wire is a character"


def test_who_switches_ctrl_c_on_has_it_for_as_long_as_he_runs():
    chip = Chip()
    real = timelimit.micropython

    class Micropython:
        @staticmethod
        def kbd_intr(key):
            chip.key = key

    timelimit.micropython = Micropython
    try:
        for what in (Micropython.kbd_intr, lambda key: 1 // (key - 3)):
            try:
                with timelimit.TimeLimit(2000):
                    Micropython.kbd_intr(3)
                    what(3)
            except ZeroDivisionError:
                pass
            assert chip.key == -1, "each call of mpremote begins with a Ctrl-C"
    finally:
        timelimit.micropython = real


def test_a_port_without_a_second_terminal_says_that_it_cannot():
    assert hasattr(micropython, "kbd_intr") and REAL_PRESS() is False
