"""Makes words of what binds, in one place: who asks, what limits it, since when, what would end it, and what waits for what.

`view` is a reports.Instant: copies of one instant, so nothing here is under the manager's lock or in its cycle.  Nothing is
loaded or read from flash.
"""

from micropython import const

from firmware import faults as ft
from firmware import image as im
from firmware import requests as rq
from firmware.battery_words import MISSING, conditions
from firmware.battery_words import detail as battery_detail
from firmware.event_codes import Event
from firmware.flows import Flow
from firmware.limits import NAMES
from firmware.modes import Mode

_GROUPS = (  # what brings it, its words, its first and last group
    (im.HAS_BMS, "bms", "the battery", im.SEQ_BMS, im.SEQ_BMS_FLAGS),
    (im.HAS_PCS, "pcs", "the inverter", im.SEQ_PCS, im.SEQ_PCS),
    (im.HAS_METER, "meter", "the meter", im.SEQ_METER, im.SEQ_METER),
    (im.HAS_PV, "pv", "the PV meter", im.SEQ_PV, im.SEQ_PV),
    (im.HAS_IO, "io", "the board's inputs", im.SEQ_IO, im.SEQ_IO),
)
_FAULTS = {  # what a fault's name does not say
    "emergency_stop": "the emergency stop is pressed or its wire is broken",
    "pcs_not_following": "the inverter does not follow its setpoint",
    "overpower": "more power flows than the limits allow",
    "bms_frozen": "the battery's values do not change while power flows",
    "pcs_frozen": "the inverter's values do not change while power flows",
    "contactor": "their feedback is not what was commanded",
}
_ORDERS = (
    "start() was not called since boot",
    "",
    "stop() was called: start() begins again",
    "",
    "the emergency was reset: start() begins again",
    "",
    "maintenance has ended: start() begins again",
    "the program ends",
)
_ENDS = (
    "",
    "its target is reached",
    "full: the tail current is reached",
    "its stages are used up",
    "the battery takes or gives no more",
    "the floor of the state of charge is reached",
    "the lowest voltage is reached",
    "its time was over or it was not renewed",
    "a fault used up the restarts",
    "by an emergency",
    "by stop()",
)
_PCS_STATES = ("off", "starting", "standing by", "running", "stopped by a fault of its own")
_GRIDS = ("ISOLATED", "BACKUP", "INTERACTIVE", "EXPORT")
_SMALL_W = const(100)  # below it watts are told


def why(view) -> str:
    """What happens to the power now and what makes it so, a sentence: stats()["reason"]."""
    now = view.now
    mode = now[im.MODE]
    if mode == Mode.EMERGENCY:
        what = _latched(view)
    elif mode == Mode.STANDBY:
        what = _standby(view)
    elif mode == Mode.MAINTENANCE:
        what = _maintenance(view)
    else:
        return _connected(view)
    return "%s: %s %s, %s" % (kw(now[im.CMD_P]), Mode.name(mode), since(view, now[im.MODE_S]), what)


def started(view) -> str:
    """The answer to start(): accepted, and for what it waits."""
    waits = _waits(view)
    return "accepted, waiting for: " + ", ".join(waits) if waits else "accepted"


def accepted(view) -> str:
    """The answer to a manual operation: accepted, and what has priority or leaves less than was asked for."""
    for source in range(rq.MANUAL):
        if view.claims[source * 4]:
            return "accepted, but %s has priority" % _claim(view, source)
    watts = view.claims[rq.MANUAL * 4 + 1]
    charge = watts < 0 or view.claims[rq.MANUAL * 4 + 2] == rq.CHARGE
    limit = view.now[im.LIMIT_DIS + (1 if charge else 0)]
    if watts and limit < abs(watts):
        return "accepted, but " + _limited(view, view.now[im.WHY_DIS + (1 if charge else 0)], charge, limit)
    return "accepted"


def waiting(view):
    """What was accepted and waits, and for what, a sentence each."""
    now = view.now
    winner = now[im.REQUEST_BY]
    for source in range(rq.IDLE):
        if view.claims[source * 4] and source != winner:
            yield "%s waits: %s has priority" % (_claim(view, source), _claim(view, winner))
        elif source == winner and now[im.MODE] == Mode.STANDBY:
            yield "%s waits%s" % (_claim(view, source), "" if now[im.ORDER] == im.ORDER_START else " for start()")


def emergency(view) -> str:
    """What led to EMERGENCY, in words, as long as it stands."""
    cause = view.now[im.CAUSE]
    text = "commanded by emergency_shutdown()"
    if cause >= 0:
        name = ft.names(1 << cause)[0]
        text = "fault " + name
        more = detail(view, name)
        if more:
            text += ": " + more
        if not (view.now[im.FAULTS] | view.now[im.CONDITIONS]) >> cause & 1:
            text = "fault %s, which is gone" % name
    return text + (", before the last reset" if view.now[im.ORDER] == im.ORDER_RESTORED else "")


def last_trip(view) -> str:
    """The faults behind the last trip, until start(); "" if there is none."""
    bits = view.now[im.TRIPPED]
    return "%s, %s" % (", ".join(ft.names(bits)), since(view, view.now[im.TRIP_S], "")) if bits else ""


def last_end(view) -> str:
    """How the last operation ended; "" if none has."""
    code = view.now[im.ENDED]
    if not code:
        return ""
    what = "charge" if code & 256 else "operation"
    how = _ENDS[code >> 4 & 15]
    return "the %s by %s ended %s, %s" % (what, rq.SOURCES[code & 15], since(view, view.now[im.ENDED_S], ""), how)


def event_data(event: int, data: int):
    """An event's data as the name it has, or the number."""
    if event == Event.MODE_CHANGE and 0 <= data < len(Mode._names):
        return Mode.name(data)
    if event == Event.FLOW_CHANGE and 0 <= data < len(Flow._names):
        return Flow.name(data)
    if event in (Event.CHARGE_COMPLETE, Event.DISCHARGE_COMPLETE, Event.OPERATION_TIMEOUT) and 0 <= data < len(rq.SOURCES):
        return rq.SOURCES[data]
    if event == Event.LIMIT_CHANGE and 0 <= data < 32 and data & 15 < len(NAMES):
        return "%s by %s" % ("charge" if data & 16 else "discharge", NAMES[data & 15])
    if event == Event.EMERGENCY and data == -1:
        return "commanded"
    if event == Event.EMERGENCY or Event.FAULT_RAISED <= event <= Event.COMMS_RESTORED:
        found = ft.names(1 << data) if 0 <= data < 30 else []
        return found[0] if found else data
    return data


# ---- numbers and times ----------------------------------------------------------------------------------


def kw(watts: int) -> str:
    """A power as people write it: "-20 kW", "5.5 kW", "20 W"."""
    if watts and -_SMALL_W < watts < _SMALL_W:
        return "%d W" % watts
    text = "%.1f" % (watts / 1000)
    return (text[:-2] if text.endswith(".0") else text) + " kW"


def since(view, at_s: int, word: str = "since ") -> str:
    """When that was: "since 12:03", or "for 3 min" without a clock ("12:03" and "3 min ago" where word is "")."""
    ago = view.now[im.UPTIME_S] - at_s
    if view.clock is not None and view.clock.is_set:
        return word + view.clock.text_ago(ago)
    return ("for " if word else "") + _time(ago) + ("" if word else " ago")


def _time(seconds: int) -> str:
    if seconds < 120:
        return "%d s" % seconds
    return "%d min" % (seconds // 60) if seconds < 7200 else "%d h" % (seconds // 3600)


def _left(view, source: int) -> str:
    ms = view.claims[source * 4]
    return "" if ms == rq.FOREVER else ", %s left" % _time((ms + 999) // 1000)


def _who(view, source: int) -> str:
    owner = view.owners[source]
    name = rq.SOURCES[source]
    return name if owner in ("", name, "pause") else "%s (%s)" % (name, owner)


def _claim(view, source: int) -> str:
    """A live claim: "remote (ems, -20 kW, 12 s left)"."""
    if source == rq.IDLE:
        return "nobody"
    at = source * 4
    goal = view.claims[at + 2]
    what = kw(view.claims[at + 1])
    if goal == rq.PAUSE:
        what = "a pause"
    elif goal == rq.CHARGE:
        what = "a charge to %.1f %%" % (view.claims[at + 3] / 100)
    owner = view.owners[source]
    owner = "" if owner in ("", rq.SOURCES[source], "pause") else owner + ", "
    return "%s (%s%s%s)" % (rq.SOURCES[source], owner, what, _left(view, source))


# ---- devices and faults ---------------------------------------------------------------------------------


def _silence(view, group, named: bool) -> str:
    """That nothing comes from a device, since when and where: named as a device, or in a sentence of its own."""
    bit, name, words, first, last = group
    now = view.now
    name, where = view.places.get(bit, (name, ""))
    age = 0
    for seq in range(first, last + 1):  # a battery that never sends cells, temperatures or flags is none that is silent
        if now[im.AGE + seq] < im.AGE_NEVER or seq - first < 2:
            age = max(age, now[im.AGE + seq])
    if named:
        where = "received" + where
    else:
        where = "received from " + words + where
    if age >= im.AGE_NEVER:
        text = ("never " if named else "nothing was ever ") + where
    else:
        text = "nothing %s for %s" % (where, "%.1f s" % (age / 1000) if age < 100000 else _time(age // 1000))
    return "%s (%s)" % (name, text) if named else text


def _is_silent(view, group) -> bool:
    stale = view.par[
        im.PAR_STALE_BMS if group[0] == im.HAS_BMS
        else im.PAR_STALE_PCS if group[0] == im.HAS_PCS
        else im.PAR_STALE_IO if group[0] == im.HAS_IO
        else im.PAR_STALE_METER
    ]  # fmt: skip
    for seq in range(group[3], group[4] + 1):
        age = view.now[im.AGE + seq]
        if age > stale and (age < im.AGE_NEVER or seq - group[3] < 2):
            return True
    return False


def silent(view) -> "list[str]":
    """The names of the devices that the site has and that nothing is received from."""
    has = view.par[im.PAR_HAS]
    return [view.places.get(group[0], (group[1],))[0] for group in _GROUPS if has & group[0] and _is_silent(view, group)]


def detail(view, name: str) -> str:
    """More about an active fault, in words; "" where the name says it all."""
    now = view.now
    if name.endswith("_lost"):
        for group in _GROUPS:
            if group[1] + "_lost" == name:
                return _silence(view, group, False) if _is_silent(view, group) else "it is received again"
    if name in ("cell_over_voltage", "cell_under_voltage"):
        return "%s mV" % now[im.CELL_V_MAX if name == "cell_over_voltage" else im.CELL_V_MIN]
    if name in ("over_temperature", "under_temperature"):
        return _temperature(view, name == "over_temperature")
    if name == "pcs_fault":
        return "the inverter has stopped itself, alarm bits 0x%x" % max(0, now[im.PCS_ALARM])
    if name == "current_mismatch":
        return "the battery reports %.1f A, the inverter %.1f A" % (now[im.BMS_I] / 10, now[im.PCS_DC_I] / 10)
    return _FAULTS.get(name) or battery_detail(name, now)


def _faults(view, bits: int) -> str:
    told = []
    for name in ft.names(bits):
        more = detail(view, name)
        told.append("fault %s: %s" % (name, more) if more else "fault " + name)
    return "; ".join(told)


def _tripping(bits: int) -> int:
    return bits & ft.mask(5, ft.TRIP)


def _waits(view) -> "list[str]":
    """What start() waits for."""
    now = view.now
    if view.refused:
        return ["a site file that is not refused (%s)" % view.refused]
    told = [_silence(view, group, True) for group in _GROUPS[:2] if _is_silent(view, group)]
    if not told and (now[im.SOC] == im.NO_VALUE or now[im.BMS_V] <= 0):
        told.append("a state of charge and a voltage of the battery that can be true")
    bits = _tripping(now[im.FAULTS])
    if told:
        bits &= ~3  # bms_lost and pcs_lost: said already
    if bits:
        told.append("the end of " + _faults(view, bits))
    if now[im.RESTART_MS] > 0:
        told.append("the next restart, in %d s" % (now[im.RESTART_MS] // 1000 + 1))
    return told


# ---- the modes ------------------------------------------------------------------------------------------


def _latched(view) -> str:
    now = view.now
    standing = (now[im.FAULTS] | now[im.CONDITIONS]) & ft.mask(4, ft.EMERGENCY)
    text = emergency(view)
    more = standing & ~(1 << now[im.CAUSE]) if now[im.CAUSE] >= 0 else standing
    if more:
        text += "; " + _faults(view, more)
    return text + ("; reset_emergency() once that is gone" if standing else "; reset_emergency() ends it")


def _standby(view) -> str:
    now = view.now
    order = now[im.ORDER]
    if view.refused:
        return "the site file is refused: %s; mend it and save_site()" % view.refused
    bits = _tripping(now[im.FAULTS])
    text = _faults(view, bits) if bits else ""
    if order == im.ORDER_SPENT:
        text = text or "stopped by fault " + ", fault ".join(ft.names(now[im.TRIPPED]))
        return "%s; all %d restarts are used up: start() begins again" % (text, now[im.TRIPS] - 1)
    if order != im.ORDER_START:
        return text + "; then start()" if text else _ORDERS[order] or "start() begins again"
    if text:
        return text + "; starts by itself when that is gone"
    waits = _waits(view)
    after = " after fault " + ", ".join(ft.names(now[im.TRIPPED])) if now[im.TRIPPED] else ""
    return ("starting%s, waiting for: %s" % (after, ", ".join(waits))) if waits else "starting" + after


def _maintenance(view) -> str:
    text = "only service() moves anything, set_mode(Mode.STANDBY) ends it"
    if view.claims[rq.MAINTENANCE * 4]:
        text = "%s; at most %s" % (_claim(view, rq.MAINTENANCE), kw(view.par[im.PAR_SERVICE_P]))
    return text


def _connected(view) -> str:
    now = view.now
    command = now[im.CMD_P]
    request = now[im.REQUEST_P]
    source = now[im.REQUEST_BY]
    if now[im.ORDER] == im.ORDER_STOP:
        return "%s: stop() is under way, to 0 W and then the contactors open" % kw(command)
    if source == rq.IDLE:
        return _idle(view, command)
    asked = "%s asked by %s%s" % (kw(request), _who(view, source), _left(view, source))
    if view.claims[source * 4 + 2] == rq.PAUSE:
        asked = "paused by stop_operation()" + (_left(view, source) or " until resume() or a new operation")
    elif request == 0 and view.claims[source * 4 + 2] == rq.CHARGE:
        asked = "the rest between two pulses of the charge by " + _who(view, source)
    bound = now[im.BOUND]
    if bound:
        charge = bound > 16
        limit = now[im.LIMIT_DIS + (1 if charge else 0)]
        lasting = since(view, now[im.BOUND_S])
        return "%s of %s: %s" % (kw(command), asked, _limited(view, (bound - 1) & 15, charge, limit, lasting))
    if command != request:
        return "%s: ramping to %s" % (kw(command), asked)
    return ("not limited: " if command else "0 kW: ") + asked


def _idle(view, command: int) -> str:
    now = view.now
    text = "%s: IDLE %s, nobody asks for power" % (kw(command), since(view, now[im.MODE_S]))
    if command:
        text = "%s: ramping to 0 W, nobody asks for power" % kw(command)
    ended = last_end(view)
    if ended:
        text += "; " + ended
    for charge in (0, 1):
        if now[im.LIMIT_DIS + charge] == 0:
            text += "; " + _limited(view, now[im.WHY_DIS + charge], charge == 1, 0)
    return text


# ---- the limits -----------------------------------------------------------------------------------------


def _limited(view, row: int, charge: bool, limit: int, lasting: str = "") -> str:
    """What a row of the limit list leaves, since when, and more of it: the measured value beside its bounds."""
    way = "charging" if charge else "discharging"
    text = "%s is limited to %.1f kW by %s" % (way, limit / 1000, NAMES[row])
    if lasting:
        text += " " + lasting
    more = _row(view, NAMES[row], charge)
    return text + ": " + more if more else text


def _row(view, name: str, charge: bool) -> str:
    now = view.now
    par = view.par
    i = 1 if charge else 0
    if name == "fault":
        return _faults(view, now[im.FAULTS] & (ft.mask(5, ft.NO_CHARGE) if charge else ft.mask(5, ft.NO_DISCHARGE)))
    if name == "missing_data":
        return ", ".join(_missing(view))
    if name == "bms_forbids":
        return _forbidden(view, charge)
    if name == "pcs":
        state = now[im.PCS_STATE]
        return "the inverter is %s" % (_PCS_STATES[state] if 0 <= state < len(_PCS_STATES) else "in no known state")
    if name == "soc":
        return _soc(view, charge)
    if name == "temperature":
        knee = im.PAR_T_CHG if charge else im.PAR_T_DIS
        full = (par[knee + 1] / 10, par[knee + 2] / 10)
        return "%s, all of it from %.1f to %.1f degC" % ((_temperature(view, None),) + full)
    if name == "cell_voltage":
        return "%d mV, the cut-off is %d mV" % (now[im.CELL_V_MIN - i], par[im.PAR_CELL_MIN - i])
    if name == "pack_voltage":
        return "%.1f V, close to the cut-off" % (now[im.BMS_V] / 10)
    if name == "bms_current":
        return "the battery allows %.1f A" % (now[im.BMS_I_DIS - i] / 10)
    if name == "grid_connection":
        return "%s, %s" % (_GRIDS[par[im.PAR_GRID_TYPE]], "the grid is there" if now[im.GRID_OK] else "there is no grid")
    if name == "export":
        return "at most %s into the grid" % kw(par[im.PAR_P_EXPORT] if par[im.PAR_EXPORT] else 0)
    if name == "remote":
        left = now[im.CURTAIL_MS]
        return "curtail()" + (", %s left" % _time((left + 999) // 1000) if left else "")
    if name == "operation":
        return "set_charge_params()" if charge else "set_discharge_params()"
    return ""


def _forbidden(view, charge: bool) -> str:
    now = view.now
    told = conditions(max(0, now[im.BMS_PROTECT]) & view.par[im.PAR_PROT_CHG if charge else im.PAR_PROT_DIS])
    if charge and now[im.HOLD_CHG_MS] > 0:
        told.append("held off %d s more after an over-voltage" % (now[im.HOLD_CHG_MS] // 1000))
    if told:
        return "the BMS protects itself: " + ", ".join(told)
    return "the BMS does not permit it"


def _soc(view, charge: bool) -> str:
    now = view.now
    par = view.par
    if charge:
        edge = min(par[im.PAR_SOC_MAX], par[im.OP_SOC_MAX])
    else:
        edge = max(par[im.PAR_SOC_MIN], par[im.OP_SOC_MIN] if par[im.OP_SOC_MIN] != im.FREE else 0)
    soc = now[im.SOC_HIGH if charge else im.SOC_LOW]
    if soc == im.NO_VALUE:
        return "there is no state of charge"
    return "state of charge %.1f %%, the %s is %.1f %%" % (soc / 100, "ceiling" if charge else "floor", edge / 100)


def _temperature(view, high) -> str:
    """The cells' temperatures; high: only the highest (True) or the lowest."""
    now = view.now
    told = []
    for slot, hot in ((im.CELL_T_MAX, True), (im.CELL_T_MIN, False)):
        value = now[slot] if now[slot] != im.NO_VALUE else now[im.BMS_TEMP]
        if high in (None, hot) and value != im.NO_VALUE:
            told.append("%.1f degC" % (value / 10))
    return " and ".join(told if len(told) < 2 or told[0] != told[1] else told[:1])


def _missing(view) -> "list[str]":
    """What missing_data lacks: a group with its device, place and age; a value by its name."""
    bits = view.now[im.MISSING]
    told = []
    for group in _GROUPS:
        mine = {im.HAS_BMS: 0x3E, im.HAS_PCS: 1, im.HAS_IO: 0x40, im.HAS_METER: 0x1000}.get(group[0], 0)
        if bits & mine and _is_silent(view, group):
            told.append(_silence(view, group, True))
            bits &= ~mine
    if told and bits & 0xF80:
        bits &= ~0xF80  # the values of a device that is silent
    return told + [text for i, text in enumerate(MISSING) if bits >> i & 1]
