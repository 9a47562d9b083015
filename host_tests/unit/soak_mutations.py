"""Rules of the firmware, broken one at a time: what the soak must find.  `apply(name)` before tools.soak's main()."""

from collections.abc import Callable
from typing import Any

from host_tests import kernels
from tools.soak import quick

# name: what breaks the rule, what the soak says of it, and with what arguments it finds it
MUTATIONS: dict[str, tuple[Callable[[], None], str, tuple[str, ...]]] = {}


def breaks(said: str, *arguments: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Enter a mutation under its own name; said: a pattern of what is found."""

    def enter(mutation: Callable[[], None]) -> Callable[[], None]:
        MUTATIONS[mutation.__name__] = (mutation, said, arguments)
        return mutation

    return enter


def apply(name: str) -> None:
    """Load the firmware with this rule broken."""
    quick.install()
    MUTATIONS[name][0]()


def _around(name: str, before: Callable[..., Any] | None = None, after: Callable[..., Any] | None = None) -> None:
    """Let something be done before or after a kernel."""
    honest = getattr(kernels.imported(), name)

    def broken(*given: Any) -> Any:
        if before is not None:
            before(*given)
        result = honest(*given)
        if after is not None:
            after(*given)
        return result

    kernels.put(name, broken)


@breaks(r"stranded for \d+ ms in (CHARGE|DISCHARGE|IDLE)")
def a_recalibration_is_never_accepted() -> None:
    from firmware import image as im

    _around("settle_soc", before=lambda img, par: par.__setitem__(im.PAR_SOC_ACCEPT_MS, 0))


@breaks(r"the SoC was accepted, and counts as")
def accept_soc_does_nothing() -> None:
    from firmware.manager import PowerManager

    PowerManager.accept_soc = lambda self: None


@breaks(r"stranded for \d+ ms in")
def a_broken_sensor_costs_more_than_itself() -> None:
    from firmware import image as im
    from firmware.limits import NAMES

    row = im.LIMIT_ROWS_DIS + NAMES.index("temperature")

    def broken(img: Any, par: Any) -> None:
        if img[im.BMS_ODD]:
            img[row] = img[row + im.LIMIT_ROWS_CHG - im.LIMIT_ROWS_DIS] = 0

    _around("temperature_row", after=broken)


@breaks(r"the image holds -?\d+ W of the (meter|inverter), true were|slot \d+ of the image holds")
def a_scale_factor_is_read_once() -> None:
    from firmware.devices.sunspec import Block

    honest = Block.value
    known: dict[Any, int] = {}

    def broken(self: Any, at: int) -> Any:
        where = self.rows[at + 2]
        if where != 255:
            self.registers[where] = known.setdefault((id(self), where), self.registers[where])
        return honest(self, at)

    Block.value = broken


@breaks(r"W are written to the inverter, commanded were")
def a_setpoint_keeps_the_scale_of_before() -> None:
    from firmware.devices import pcs_der

    honest, known = pcs_der.truncate_to_scale, []

    def broken(watts: int, scale: int, largest: int) -> int:
        known.append(scale)
        return honest(watts, known[0], largest)

    pcs_der.truncate_to_scale = broken


@breaks(r"became \d+ parts of|limits to \S+ kW, held are 100000 W")
def a_tiny_power_is_the_most() -> None:
    from firmware import manager

    honest = manager.parts
    manager.parts = lambda value, per_unit: honest(value, per_unit) or (100000 if value and per_unit == 1000 else 0)


@breaks(r"became 1073741823 parts of")
def a_tiny_limit_is_none() -> None:
    from firmware import image as im
    from firmware.arbiter import Arbiter

    honest = Arbiter._apply_params

    def broken(self: Any) -> None:
        honest(self)
        par = self._image.par
        for slot in (im.OP_P_CHG, im.OP_I_CHG, im.OP_V_MAX, im.OP_P_DIS, im.OP_I_DIS):
            if par[slot] == 0:
                par[slot] = im.FREE

    Arbiter._apply_params = broken


@breaks(r"EMERGENCY by (cell_over_voltage|cell_under_voltage|over_temperature) after one reading alone")
def one_reading_latches() -> None:
    from firmware import image as im

    def twice(img: Any, par: Any) -> None:
        for slot in (im.READS_CELL_HI, im.READS_CELL_LO, im.READS_TEMP_HI):
            if img[slot] == 1:
                img[slot] = 2

    _around("confirm_trips", after=twice)


@breaks(r"readings beyond a trip agree for \d+ ms")
def two_readings_do_not_latch() -> None:
    from firmware import image as im

    def never(img: Any, par: Any) -> None:
        for slot in (im.READS_CELL_HI, im.READS_CELL_LO, im.READS_TEMP_HI):
            img[slot] = min(img[slot], 1)

    _around("confirm_trips", after=never)


@breaks(r"group \d is held to be \d+ ms old, it was measured \d+ ms ago")
def late_data_are_young() -> None:
    from firmware import image as im

    _around("freeze", before=lambda inp, img, dt: img.__setitem__(im.HELD_MS, 0))


@breaks(r"after \w+ for \d+ ms a reset \(.*\) (starts the system without a person|goes on with)")
def a_manual_operation_goes_on_after_a_reset() -> None:
    _remember()
    from firmware.config import PowerConfig
    from firmware.resume import Resume

    honest = Resume._begin

    def broken(self: Any) -> str:
        config = self._pm.config
        self._pm.config = PowerConfig(resume=True, resume_manual=True)
        text = honest(self)
        self._pm.config = config
        return text

    Resume._begin = broken


@breaks(r"after emergency for \d+ ms a reset \(.*\) has no EMERGENCY")
def a_reset_forgets_the_emergency() -> None:
    _remember()
    from firmware.latch import Latch

    Latch._write = lambda self, wanted: None


@breaks(r"after (running|pause) for \d+ ms a reset \(.*\) does not start again")
def what_ran_does_not_start_again() -> None:
    _remember()
    from firmware.resume import Resume

    Resume._begin = lambda self: "nothing"


@breaks(r"an island of -?\d+ W is asked for")
def an_islands_load_does_not_decide() -> None:
    from firmware import requests as rq

    honest = rq.Claims.put

    def broken(self: Any, source: int, *claim: Any) -> None:
        honest(self, rq.OPTIMISER if source == rq.ISLAND else source, *claim)

    rq.Claims.put = broken


@breaks(r"breach \d+ of \w: the cycle has caught itself", "--banks")
def a_bank_is_given_more_than_its_limit() -> None:
    from firmware import image as im

    def twice(img: Any, parts: Any, *given: Any) -> None:
        for part in parts:
            part[im.REQUEST_P] *= 2

    _around("portions", after=twice)


@breaks(r"bank \w: bms_\w\d's group \d has not been received for \d+ ms, its command is", "--banks")
def a_lost_battery_is_not_missed() -> None:
    from firmware import image as im
    from firmware.faults import names

    lost = 1 << next(i for i in range(31) if names(1 << i) == ["bms_lost"])

    def nothing_missing(img: Any, par: Any) -> None:
        img[im.MISSING] &= ~0x3E  # groups of a BMS

    def never_lost(img: Any, par: Any) -> None:
        img[im.CONDITIONS] &= ~lost

    _around("find_missing", after=nothing_missing)
    _around("lost_devices", after=never_lost)


@breaks(r"forbids it: requests \d+, protections", "--banks")
def packs_in_parallel_forget_a_protection() -> None:
    from firmware import image as im

    def forget(img: Any, parts: Any, *given: Any) -> None:
        for slot in (im.BMS_PROTECT, im.BMS_REQUESTS):
            img[slot] = parts[0][slot]

    _around("join", after=forget)


@breaks(r"the site falls from -?\d+ W to -?\d+ W, nothing asks it", "--banks")
def a_bank_that_comes_back_costs_the_power_of_all() -> None:
    from firmware.banks import Several

    Several.share_rest = lambda self, how, rising: None


@breaks(r"not everybody is in EMERGENCY", "--banks")
def an_emergency_stays_in_its_bank() -> None:
    from firmware.bank_supervisors import SiteSupervisor
    from firmware.supervisor import Supervisor

    SiteSupervisor.enter_emergency = Supervisor.enter_emergency
    SiteSupervisor.bank_changed = lambda self, bank, changed: bank.states.faults_changed(changed)


@breaks(r"bank \w is stranded for \d+ ms", "--banks")
def a_bank_in_trouble_strands_the_others() -> None:
    from firmware import image as im
    from firmware.banks import Several
    from firmware.limits import NAMES
    from firmware.modes import Mode

    honest, row = Several.limit, im.LIMIT_ROWS_DIS + NAMES.index("bms_forbids")

    def broken(self: Any) -> None:
        honest(self)
        if any(bank.now[im.MODE] == Mode.STANDBY for bank in self.banks):
            self._now[row] = self._now[row + im.LIMIT_ROWS_CHG - im.LIMIT_ROWS_DIS] = 0

    Several.limit = broken


def _remember() -> None:
    """The memories can be imported: there is a storage."""
    from tools.soak import restart

    restart.memory()
