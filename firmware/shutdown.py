"""The end of the program, in order: 0 W to the inverters, then the contactors, under the break current or after the bounded wait,
then what waits to be stored.

Whatever ends the program comes this way: an error in what may not end, a reset that was asked for, a signal.  Devices
and control go on meanwhile, in the same loop, and the watchdog is fed; a second end on the way does not shorten it.
"""

import asyncio
import gc
import sys
import time

import machine
import micropython
import watchdog
from micropython import const

from firmware import image as im

LEAVE_MINUTES = const(10)
_CTRL_C = const(3)
_STEP_MS = const(50)
_LEAST_MS = const(300)  # so long even with open contactors: 0 W and stop are written meanwhile
_MARGIN_MS = const(1000)  # beyond contactor_wait, which the cycle counts from its own first step
_SETTLE_MS = const(100)  # from the decision to the pin
_STORE_MS = const(5000)  # what waits to be stored has so long, when everything is safe


class End(BaseException):
    """The program ends; the text says why.  No Exception: nothing that mends itself may swallow it."""


class Ending:
    """Who asked for the end, and what is to be done after it.  Any task or thread may ask; the house loop looks."""

    def __init__(self) -> None:
        self.why = ""
        self.then = None  # to be called when everything is safe

    def ask(self, why: str, then=None) -> None:
        """The program ends in order, within a moment; the first who asks says what follows."""
        if not self.why:
            self.then = then
            self.why = why

    def check(self) -> None:
        """Raises End once somebody has asked."""
        if self.why:
            raise End(self.why)


class Machine:
    """`machine` as the console and programs find it: what restarts the chip takes the orderly road first."""

    def __init__(self, real, ending: Ending) -> None:
        self._real = real
        self._ending = ending

    def __getattr__(self, name: str):
        return getattr(self._real, name)

    def reset(self) -> None:
        """Restart the chip, in order: returns, and happens within a moment."""
        self._ending.ask("machine.reset()", self._real.reset)

    def soft_reset(self) -> None:
        """Restart the interpreter, in order: returns, and happens within a moment."""
        self._ending.ask("machine.soft_reset()", self._real.soft_reset)

    def deepsleep(self, *ms) -> None:
        """Power down, in order: returns, and happens within a moment."""
        self._ending.ask("machine.deepsleep()", lambda: self._real.deepsleep(*ms))

    def bootloader(self, *given) -> None:
        """Enter the ROM's loader, in order: returns, and happens within a moment."""
        self._ending.ask("machine.bootloader()", lambda: self._real.bootloader(*given))


def leave(app) -> None:
    """End the program in order, for the ordinary prompt: mpremote and make deploy speak to that.  Returns at once.

    The watchdog then leaves LEAVE_MINUTES for what is to be done there.
    """
    app.ending.ask("leave()", lambda: watchdog.lengthen(LEAVE_MINUTES * 60000))


async def critical(name: str, coroutine) -> None:
    """Run what the program may not go on without: when it ends, the program does, in order."""
    try:
        await coroutine
    except Exception as error:
        sys.print_exception(error)
        raise End("%s ended by %s: %s" % (name, type(error).__name__, error))
    raise End("%s ended" % name)


def run(app) -> None:
    """Run the application's loop until something ends it, then the orderly road, then what was asked for.

    Ctrl-C on the wire is a character meanwhile.  What ended it and was nobody's wish is raised again at the end: the
    program is over, and the watchdog restarts the chip.
    """
    sys.modules["machine"] = Machine(machine, app.ending)
    micropython.kbd_intr(-1)
    why, error = "interrupted", None
    try:
        why, error = _until_its_end(app)
    except BaseException:
        pass  # a second end on the heels of the first, while that was looked at
    try:
        orderly(app, why)
        store(app)
    finally:
        micropython.kbd_intr(_CTRL_C)
        sys.modules["machine"] = machine
    if app.ending.then is not None:
        app.ending.then()
    if error is not None:
        raise error


def _until_its_end(app):
    """Run the loop; (what ended it in words, what is to be raised again or None)."""
    try:
        asyncio.run(app.main())
        return "the main task has ended", None
    except KeyboardInterrupt:
        return "interrupted", None
    except End as raised:
        return str(raised), None
    except BaseException as raised:
        return "%s: %s" % (type(raised).__name__, raised), raised


def orderly(app, why: str) -> None:
    """0 W at once, contactors open as soon as they may, outputs safe.  Returns within contactor_wait and a little more."""
    deadline = time.ticks_add(time.ticks_ms(), app.pm.image.par[im.PAR_BREAK_MS] + _MARGIN_MS)
    open_at = time.ticks_add(time.ticks_ms(), _LEAST_MS)
    told: list = []
    gc.enable()  # control may have ended in its cycle, and telling the inverter of 0 W takes heap
    try:
        while time.ticks_diff(deadline, time.ticks_ms()) > 0:
            try:
                _go(app.pm, why, deadline, open_at, told)
                break
            except BaseException:  # a signal where it was asked whether there is time left
                pass
    finally:
        _outputs_safe(app)
        if app.callbacks is not None:
            app.callbacks.stop()


def _go(pm, why: str, deadline: int, open_at: int, told: list) -> None:
    """The road, begun again after whatever breaks it off; told: whether the first step is done."""
    while time.ticks_diff(deadline, time.ticks_ms()) > 0:
        try:
            try:
                if not told:
                    _halt(pm)
                    _say("the program ends (%s): 0 W, then the contactors" % why)
                    told.append(True)
                asyncio.run(_until_open_contactors(pm, deadline, open_at))
                return
            except BaseException as error:  # another task ends too, a second signal, no heap for a coroutine
                _say("on the way: %s: %s" % (type(error).__name__, error))
                watchdog.feed()
                time.sleep_ms(_STEP_MS)
        except BaseException:  # a third, while that one was told
            continue


async def _until_open_contactors(pm, deadline: int, open_at: int) -> None:
    """Keep 0 W commanded until the cycle has opened the contactors; devices write and read meanwhile."""
    now = pm.image.now
    while time.ticks_diff(deadline, time.ticks_ms()) > 0:
        _halt(pm)
        seq = now[im.CMD_SEQ]
        await asyncio.sleep_ms(_STEP_MS)
        watchdog.feed()
        if now[im.CMD_SEQ] == seq:
            _cycle(pm)  # control is what has ended
        if pm.emergency_memory is not None:
            pm.emergency_memory.step()  # the house has ended, and an emergency that arises now must outlive the reset too
        if now[im.CMD_CONTACTOR] == 0 and time.ticks_diff(time.ticks_ms(), open_at) >= 0:
            break
    _open_contactors(pm)
    await asyncio.sleep_ms(_SETTLE_MS)


def _halt(pm) -> None:
    """0 W, whatever state the manager is in."""
    try:
        pm.halt()
    except Exception as error:
        _say("halt: %s: %s" % (type(error).__name__, error))
        _no_power(pm)


def _cycle(pm) -> None:
    """One cycle in control's place: it ages the measurements and opens the contactors by its rule."""
    try:
        pm.cycle(time.ticks_ms())
    except Exception:  # the cycle itself is what fails: 0 W and the bounded wait are left
        _no_power(pm)
        for image in pm.image.every():
            image.now[im.CMD_SEQ] = (image.now[im.CMD_SEQ] + 1) & 0x3FFFFFFF  # devices take no command from a dead cycle


def _no_power(pm) -> None:
    for image in pm.image.every():
        image.now[im.CMD_P] = 0
        image.now[im.CMD_RUN] = 0


def _open_contactors(pm) -> None:
    for image in pm.image.every():
        image.now[im.CMD_CONTACTOR] = 0


def _outputs_safe(app) -> None:
    """As a power cut would leave them."""
    _no_power(app.pm)
    _open_contactors(app.pm)
    for box in app.site.devices.values():
        if hasattr(box, "safe"):
            try:
                box.safe()
            except Exception as error:
                _say("safe: %s: %s" % (type(error).__name__, error))


def store(app) -> None:
    """Let each service save what waits: what was ordered a moment ago holds after the restart.  Returns within _STORE_MS.

    Without the loop, as nothing is controlled any more.  What could not be saved is said, and keeps nothing from ending.
    """
    deadline = time.ticks_add(time.ticks_ms(), _STORE_MS)
    for name, service in app.services.items():
        if hasattr(service, "last_steps"):
            why = "interrupted"
            while why == "interrupted" and time.ticks_diff(deadline, time.ticks_ms()) > 0:
                try:
                    why = _stored(service, deadline)
                except BaseException:
                    pass  # another signal: what was broken off is begun again
            if why:
                _say("%s: NOT everything is stored: %s" % (name, why))


def _stored(service, deadline: int) -> str:
    """Its steps, each with the watchdog fed; why they did not come to their end, "" if they did."""
    try:
        gc.collect()
        for _ in service.last_steps():
            watchdog.feed()
            if time.ticks_diff(deadline, time.ticks_ms()) <= 0:
                return "it takes too long"
        return ""
    except Exception as error:
        return "%s: %s" % (type(error).__name__, error)


def _say(text: str) -> None:
    try:
        print("end: " + text)
    except Exception:
        pass  # a console that is gone, a full heap: neither may keep the contactors closed
