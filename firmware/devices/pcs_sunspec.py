"""An inverter (PCS) that speaks SunSpec over Modbus: measures it, commands it, keeps it alive.

Two tasks share the connection.  One measures: the main block every period, and after it at most one of the
slower blocks that is due.  The other looks at the command every 10 ms and writes a changed setpoint at once;
it repeats everything each refresh_ms.  When the control cycle stops counting (CMD_SEQ) it falls silent, and
the PCS's own watchdog and reversion timer take the power to 0.  What is read and written is the affair of a
dialect: pcs_der.py (models 7xx) or, where those cannot command, pcs_inverter.py (models 1xx).  Both are loaded unless
the site says which one its inverter speaks.
"""

import asyncio
import time

from looptime import Part
from micropython import const

from firmware import image as im
from firmware.devices import sunspec_tables as t
from firmware.devices.connection import CONNECTION_OPTIONS
from firmware.devices.pcs_dialect import OLDER
from firmware.devices.sunspec import LONGEST_PCS, Box, SunSpec
from firmware.devices.sunspec_chain import NeedsPerson, NotSunSpec
from modbus import ModbusError

_OWN_OPTIONS = (
    ("period_ms", "int", 100, 20, 5000, "ms between measurements"),
    ("refresh_ms", "int", 1000, 100, 30000, "ms after which an unchanged setpoint is written again"),
    ("reversion_s", "int", 5, 0, 3600, "s of silence after which the PCS goes to 0 W by itself; 0: leave it alone"),
    ("which", "str", "", 0, 64, "of several inverters in one chain: its number, or part of its name"),
    ("dialect", ("any", "newer", "older"), "any", 0, 0, "its SunSpec models: newer (7xx), older (1xx); any: as it turns out"),
    ("set_grid_charging", "bool", False, 0, 0, "124: switch ChaGriSet to grid where charging is commanded and it says PV only"),
    ("reactive", "bool", False, 0, 0, "it is given reactive power too, while somebody asks for any"),
    ("control_timeout_ms", "int", 1500, 200, 10000, "ms without a control cycle, then nothing is written any more"),
)
OPTIONS = (CONNECTION_OPTIONS, _OWN_OPTIONS)

_LOOK_MS = const(10)
_HOLD_MS = const(100)  # after a write that failed
_SILENT_MAX_MS = const(60000)  # of keep_silent()
_NEWER = const((701,))

# of the options, while it works: the others have built it
_LOOKED_AT = const(("period_ms", "refresh_ms", "reversion_s", "which", "dialect", "set_grid_charging", "control_timeout_ms"))

# points: begin (what can be true: slot, lowest, highest; copied from points.py by `make slots`)
# im.PCS_P
# im.PCS_V
# im.PCS_HZ
# im.PCS_DC_V
# im.PCS_DC_I
# t.X_TMP_CAB = im.PCS_TEMP
# t.X_TMP_SNK = im.PCS_TEMP
# t.X_PHASE_V, 0, 12000
# t.X_STOR_OUT, -100000, 100000
# t.X_STOR_IN, -100000, 100000
_RANGES = (
    im.PCS_P, -20000000, 20000000,
    im.PCS_V, 0, 20000,
    im.PCS_HZ, 0, 100000,
    im.PCS_DC_V, 0, 20000,
    im.PCS_DC_I, -100000, 100000,
    t.X_TMP_CAB, -1000, 2500,
    t.X_TMP_SNK, -1000, 2500,
    t.X_PHASE_V, 0, 12000,
    t.X_STOR_OUT, -100000, 100000,
    t.X_STOR_IN, -100000, 100000,
)  # fmt: skip
# points: end


def sees_grid(options: dict) -> bool:
    """Called when a site file is checked: 701 may say whether the grid is there, the older models have no point for it."""
    return options["dialect"] != "older"


def _parts(options: dict) -> tuple:
    """The classes of the newer and the older dialect and the module for reactive power; None for what this inverter does not
    speak or is not given: it stays in flash."""
    newer = older = reactive = None
    if options["dialect"] != "older":
        from firmware.devices import pcs_der

        newer = pcs_der.Der
    if options["dialect"] != "newer":
        from firmware.devices import pcs_inverter

        older = pcs_inverter.Inverter
    if options["reactive"]:
        from firmware.devices import pcs_reactive

        reactive = pcs_reactive
    return newer, older, reactive


class Device(Box):
    """One PCS."""

    def __init__(self, name: str, options: dict, image, buses: dict) -> None:
        from firmware.devices import connection  # here: whoever runs does not need it any more, see firmware/loading.py

        client = connection.open_client(name, options, buses, LONGEST_PCS)
        essential = (im.PCS_P, im.PCS_V, im.PCS_HZ)  # without one of them the measurement is none
        sun = SunSpec(client, options["unit"], _RANGES, essential, LONGEST_PCS, *connection.reading(options, client))
        Box.__init__(self, name, sun, options["period_ms"])
        self._client = client
        self._options = {key: options[key] for key in _LOOKED_AT}
        self._image = image
        self._newer, self._older, self._reactive = _parts(options)
        self._dialect = None
        self._seq = -1
        self._seq_ms = 0
        self._alive = False  # the control cycle counts
        self._silent = False  # see keep_silent(), until _silent_until: a write that was under way and has failed does not end it
        self._silent_until = 0
        self._forget()
        self.parts = {name + " commands": Part(self._command_for_ever)}

    def keep_silent(self, ms: int) -> None:
        """For commissioning: it is told nothing for so long (60 s at most), so that its own watchdog is seen to act."""
        self._silent_until = time.ticks_add(time.ticks_ms(), min(ms, _SILENT_MAX_MS))
        self._silent = True

    # ---- measuring -------------------------------------------------------------------------------------
    async def place(self) -> None:
        """Find the models that it is measured and commanded by.  Raises NeedsPerson where a person has to decide."""
        sun = self.sun
        chain = sun.chain
        older = self._older is not None and chain.of_kind(OLDER) and chain.has(124)
        newer = self._newer is not None and chain.has(701) and (chain.has(704) or not older)
        spoken = self._options["dialect"]
        if (spoken == "newer" and not newer) or (spoken == "older" and not chain.of_kind(OLDER)):
            raise NeedsPerson('it does not have the models of the option "dialect", which is "%s": "any" takes either' % spoken)
        await sun.choose(_NEWER if newer else OLDER, self._options["which"])
        dialect = (self._newer if newer else self._older)(sun, self._image, self._options, self.once)
        dialect.check_control = self._check_control
        await dialect.place()
        if self._reactive is not None:
            self._reactive.add(dialect, newer, self._dialect)
        note = dialect.note
        if newer and sun.block(t.PCS_SET) is None:
            note = "no model 704, or too short a one: it can be measured, not commanded"
        if note:
            self.once.say(note)
        else:
            self.once.text = ""
        sun.forget()
        self._dialect = dialect
        self._forget()
        self.ready = True

    async def read(self, now: int) -> None:
        """The main block into the image, and one of the slower blocks, if one is due."""
        dialect = self._dialect
        if await self.sun.read(dialect.main):
            dialect.take()
        await dialect.read_one_slow(now)

    # ---- commanding ------------------------------------------------------------------------------------
    def _forget(self) -> None:
        """Nothing is known of what the PCS was told: everything is written again."""
        now = time.ticks_ms()
        self._connection = self._client.connections
        self._refreshed = now
        self._holds = False  # after a write that failed, until _hold_until
        self._hold_until = now
        self._watts = self._run = -1  # what was commanded last
        if self._dialect is not None:
            self._dialect.forget()

    async def _command_for_ever(self) -> None:
        self._forget()
        image = self._image
        while True:
            await asyncio.sleep_ms(_LOOK_MS)
            now = time.ticks_ms()
            self._watch_control(now)
            # after a write that failed; what is over stays over: days later the moment would look like the future
            self._holds = self._holds and time.ticks_diff(now, self._hold_until) < 0
            if self._silent:
                self._forget()  # everything is written again afterwards
                self._silent = time.ticks_diff(now, self._silent_until) < 0
            if not self.ready or not self._alive or self._holds or self._silent:
                continue
            if self._connection != self._client.connections:
                self._forget()
            if not self._due(now):
                continue
            try:
                await self._command(now)
                self.sun.unit.told(image, self.once)
            except ModbusError as error:
                self.sun.note(error)
                self.sun.unit.told(image, self.once, error)
                if isinstance(error, (NeedsPerson, NotSunSpec)):
                    image.barred = str(error)
                    self.once.say(image.barred)
                if isinstance(error, NotSunSpec):
                    self.ready = False  # the measuring task finds the models again
                self._dialect.forget()
                self._run = -1
                self._hold_until = time.ticks_add(time.ticks_ms(), _HOLD_MS)
                self._holds = True

    def _watch_control(self, now: int) -> None:
        """Is anybody deciding?  A command that nobody renews is not repeated."""
        seq = self._image.now[im.CMD_SEQ]
        if seq != self._seq:
            self._alive = self._seq >= 0
            self._seq = seq
            self._seq_ms = now
        elif time.ticks_diff(now, self._seq_ms) > self._options["control_timeout_ms"]:
            self._alive = False

    def _check_control(self) -> None:
        """Raises ModbusError if nobody decides any more, or it is to be told nothing: what waited till then is not written."""
        if self._silent:
            raise ModbusError("it is told nothing for now: keep_silent()")
        self._watch_control(time.ticks_ms())
        if not self._alive:
            raise ModbusError("the control cycle has not renewed the command for %d ms" % self._options["control_timeout_ms"])

    def _due(self, now: int) -> bool:
        """There is something to write.  Asked a hundred times a second, so it allocates nothing."""
        command = self._image.now
        run = command[im.CMD_RUN]
        # a stop too may have overtaken the setpoint, which is 0 W from then on
        if run != self._run or (command[im.CMD_P] if run else 0) != self._watts:
            return True
        if time.ticks_diff(now, self._refreshed) >= self._options["refresh_ms"]:
            return True
        dialect = self._dialect
        return dialect.outdated or dialect.beating(now) or (dialect.reactive is not None and dialect.reactive.due())

    async def _command(self, now: int) -> None:
        dialect = self._dialect
        dialect.watts()
        refresh = time.ticks_diff(now, self._refreshed) >= self._options["refresh_ms"]
        run = dialect.run()
        asleep = refresh and run and self._image.inp[im.PCS_STATE] == im.PCS_OFF
        await dialect.command(refresh, asleep)
        if dialect.reactive is not None:
            await dialect.reactive.command(refresh)
        # as it went out: the command may have changed meanwhile, and back again since
        self._watts = dialect.told_w
        self._run = dialect.told_run
        if refresh:
            self._refreshed = time.ticks_ms()  # and not from before it was written: on a slow line that alone takes a second
