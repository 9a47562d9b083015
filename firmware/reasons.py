"""Makes words of what binds, in one place: who asks, what limits it, since when, what would end it, and what waits for what.

`view` is a reports.Instant: copies of one instant, so nothing here is under the manager's lock or in its cycle, and nothing
is loaded or read from flash.  A table of words is a list of names, or one text: in a tuple each would be an object of the heap.
"""

import startup
from micropython import const

from firmware import faults as ft
from firmware import image as im
from firmware import requests as rq
from firmware.battery_words import conditions, missing, odd
from firmware.battery_words import detail as battery_detail
from firmware.event_codes import Event
from firmware.flows import Flow, Grid
from firmware.limits import NAMES
from firmware.modes import Mode

_DEVICES = const(("bms", "pcs", "meter", "pv", "io"))  # bit 1 << i of HAS_*, row i of the faults with _lost behind it
_KINDS = const(("battery", "inverter", "meter", "PV meter", "I/O board"))
_STALE = (im.PAR_STALE_BMS, im.PAR_STALE_PCS, im.PAR_STALE_METER, im.PAR_STALE_METER, im.PAR_STALE_IO)
_MISSED = const((0x3E, 1, 0x1000, 0, 0x40))  # the bits of image.MISSING that mean each of them
_MISSED_VALUES = const(0xF80)
_FAULTS = const("""
emergency_stop the emergency stop is pressed or its wire is broken
pcs_not_following the inverter does not follow its setpoint
overpower more power flows than the limits allow
bms_frozen the battery's values do not change while power flows
pcs_frozen the inverter's values do not change while power flows
meter_frozen the meter's values do not change though the inverter works
contactor their feedback is not what was commanded
inverter_silent the others in parallel go on
""")
_ORDERS = const("""start() was not called since boot
start() begins again
stop() was called: start() begins again
start() begins again
the emergency was reset: start() begins again
start() begins again
maintenance has ended: start() begins again
the program ends""")
_ENDS = const("""
its target is reached
full: the tail current is reached
its stages are used up
the battery takes or gives no more
the floor of the state of charge is reached
the lowest voltage is reached
its time was over or it was not renewed
a fault used up the restarts
by an emergency
by stop()
the highest voltage was there already, and no current flowed
scheduling was switched off
its schedule entry was disabled
its schedule entry was deleted or given another time
taken back: pause, resume(), release() or local control""")
_BROKEN = const(  # by the bits of kernel/invariants.py
    "beyond a limit\nagainst its mode\nout of a battery at its floor\nfaster than its ramp\n"
    "while nothing may move\nwithout a measurement that it needs"
)
_PCS_STATES = const("off\nstarting\nstanding by\nrunning\nstopped by a fault of its own\nin no known state")
_ROWS = const("""
cell_voltage %d mV, the cut-off is %d mV
pack_voltage %.1f V, the cut-off is %s
bms_current the battery allows %.1f A
soc state of charge %.1f %%, the %s is %.1f %%
temperature %s, all of it from %.1f to %.1f degC
""")
_ENDS_OF_BATTERY = const(("soc", "cell_voltage", "pack_voltage"))
_OF_A_BANK = NAMES[NAMES.index("bms_forbids") : NAMES.index("bms_current") + 1]
_SLOWER = const(("bms_period_ms", "pcs_timeout_ms"))  # what bears a slower battery or inverter
_TRIP = ft.mask(5, ft.TRIP)
_EMERGENCY = ft.mask(4, ft.EMERGENCY)
_TOLD = const(2)  # faults at most in a sentence
_SMALL_W = const(100)  # below it watts are told


def why(view) -> str:
    """What happens to the power now and what makes it so, a sentence: stats()["reason"]."""
    now = view.now
    mode = now[im.MODE]
    if mode == Mode.EMERGENCY:
        what = emergency(view) + _more_causes(view, now[im.CAUSE])
        stays = _causes(view) != 0 or any(_causes(bank) for bank in view.banks)
        what += "; reset_emergency()" + (" once that is gone" if stays else " ends it")
    elif mode == Mode.STANDBY:
        what = _standby(view)
    elif mode == Mode.MAINTENANCE:
        what = "only service() moves anything, set_mode(Mode.STANDBY) ends it"
        if view.claim(rq.MAINTENANCE)[0]:
            what = "%s; at most %s" % (_claim(view, rq.MAINTENANCE), kw(view.par[im.PAR_SERVICE_P]))
    else:
        return _connected(view) + "".join(["; bank %s: %s" % (bank.name, why(bank)) for bank in view.banks if _is_out(bank)])
    return "%s: %s %s, %s" % (kw(now[im.CMD_P]), Mode.name(mode), since(view, now[im.MODE_S]), what)


def _is_out(view) -> bool:
    """A bank that takes no part."""
    return view.now[im.GATE] & im.GATE_CLOSED != 0


def of_bank(view) -> str:
    """What one of several banks does, and what bounds it."""
    now = view.now
    if _is_out(view) or now[im.MODE] == Mode.MAINTENANCE:
        return why(view)
    charge = 1 if now[im.REQUEST_P] < 0 else 0
    text = ": " + limited(view, now[im.WHY_DIS + charge], charge)
    return kw(now[im.CMD_P]) + (text if now[im.LIMIT_DIS + charge] <= abs(now[im.CMD_P]) else "")


def refused(view) -> str:
    """That the site file is refused, and for what; "" where it is not.  view: the manager will do."""
    return "the site file is refused: " + view.refused if view.refused else ""


def by_cable() -> str:
    """How a site file comes onto the board: no console takes a line as long as one, a generation has its own."""
    return "`mpremote cp site.json :%ssite.json`, then `reboot`" % startup.folder


def started(view) -> str:
    """The answer to start(): accepted, and for what it waits."""
    waits = _waits(view)
    return "accepted, waiting for: " + waits if waits else "accepted"


def accepted(view) -> str:
    """The answer to a manual operation: accepted, and what has priority or leaves less than was asked for."""
    if view.now[im.REQUEST_BY] == rq.ISLAND:
        return "accepted, but waits: the load of the island decides"
    _, watts, goal, _, _ = view.claim(rq.MANUAL)
    charge = 1 if watts < 0 or goal == rq.CHARGE else 0
    for source in range(rq.MANUAL):
        if view.claim(source)[0] and not (source == rq.PROTECTION and watts and not charge and _is_beside(view)):
            return "accepted, but %s has priority" % _claim(view, source)
    if _ends_by_start(view, rq.MANUAL):
        return "accepted, but start() ends it"
    if watts and view.now[im.LIMIT_DIS + charge] < abs(watts):
        return "accepted, but " + limited(view, view.now[im.WHY_DIS + charge], charge)
    return "accepted"


def _is_beside(view) -> bool:
    """A bank that need not be charged is there: the forced charge of another one takes no discharge from it."""
    return any(not bank.now[im.FORCED_P] and not _is_out(bank) for bank in view.banks)


def waiting(view):
    """What was accepted and waits, and for what, a sentence each."""
    now = view.now
    winner = now[im.REQUEST_BY]
    for source in range(rq.IDLE):
        if view.claim(source)[0]:
            if _ends_by_start(view, source):
                yield _claim(view, source) + " ends by start()"
            elif source == rq.PROTECTION < winner:
                pass  # it flows beside: see _is_beside
            elif source != winner:
                yield "%s waits: %s has priority" % (_claim(view, source), _claim(view, winner))
            elif now[im.MODE] == Mode.STANDBY:
                yield "%s waits%s" % (_claim(view, source), "" if now[im.ORDER] == im.ORDER_START else " for start()")


def _ends_by_start(view, source: int) -> bool:
    """A person's pause in STANDBY, which nothing but start() leaves."""
    now = view.now
    standing = now[im.MODE] == Mode.STANDBY and now[im.ORDER] != im.ORDER_START
    return standing and source == rq.MANUAL and view.claim(source)[2] == rq.PAUSE


def emergency(view) -> str:
    """What led to EMERGENCY, in words, as long as it stands."""
    cause = view.now[im.CAUSE]
    if cause == im.CAUSE_OF_SITE:
        text = "an emergency of the site"
    elif cause < 0:
        text = "commanded by emergency_shutdown()"
    else:
        text = _cause(view, cause)
    return text + (", before the last reset" if view.now[im.ORDER] == im.ORDER_RESTORED else "")


def _cause(view, cause: int) -> str:
    """The fault that has led to EMERGENCY, of the bank that has it or had it."""
    if _causes(view) >> cause & 1:
        return _faults(view, 1 << cause)
    for bank in view.banks:
        if _causes(bank) >> cause & 1 or bank.now[im.CAUSE] == cause:
            return "bank %s: %s" % (bank.name, _cause(bank, cause))
    return "fault %s, which is gone" % ft.names(1 << cause)[0]


def _causes(view) -> int:
    """What of an emergency's causes is there now, without the banks'."""
    return (view.now[im.FAULTS] | view.now[im.CONDITIONS]) & _EMERGENCY


def _more_causes(view, cause: int) -> str:
    """What else stands beside that one, the banks' too."""
    more = _causes(view) & ~(1 << cause if cause >= 0 else 0)
    text = "; " + _faults(view, more) if more else ""
    for bank in view.banks:
        its = _more_causes(bank, cause)
        text += "; bank %s: %s" % (bank.name, its[2:]) if its else ""
    return text


def last_trip(view) -> str:
    """The faults behind the last trip, until start(); in EMERGENCY what it is latched by, and what was before it.  "": none."""
    now = view.now
    bits = now[im.TRIPPED]
    text = "%s, %s" % (", ".join(ft.names(bits)), since(view, now[im.TRIP_S], "")) if bits else ""
    for bank in view.banks:
        bits |= bank.now[im.TRIPPED]
        if bank.now[im.TRIPPED]:
            its = ", ".join(ft.names(bank.now[im.TRIPPED]))
            text += "%sbank %s: %s, %s" % ("; " if text else "", bank.name, its, since(view, bank.now[im.TRIP_S], ""))
    cause = now[im.CAUSE]
    if now[im.MODE] != Mode.EMERGENCY or (cause >= 0 and bits >> cause & 1):
        return text
    latched = "%s, %s" % (emergency(view), since(view, now[im.MODE_S], ""))
    return latched + "; before that: " + text if text else latched


def last_end(view) -> str:
    """How the last operation ended; "" if none has."""
    code = view.now[im.ENDED]
    if not code:
        return ""
    how = _ENDS.split("\n")[code >> 4 & 15]
    what = "charge" if code & 256 else "operation"
    return "the %s by %s ended %s, %s" % (what, rq.SOURCES[code & 15], since(view, view.now[im.ENDED_S], ""), how)


def event_data(event: int, data: int, banks=()):
    """An event's data as the name it has, or the number; banks: their Images, where people know them by their names."""
    names = ()
    if event == Event.MODE_CHANGE:
        names = Mode.names
    elif event == Event.FLOW_CHANGE:
        names = Flow.names
    elif event in (Event.CHARGE_COMPLETE, Event.DISCHARGE_COMPLETE, Event.OPERATION_TIMEOUT):
        names = rq.SOURCES
    elif event == Event.LIMIT_CHANGE and 0 <= data < 64 and data & 31 < len(NAMES):
        return "%s by %s" % ("charge" if data & 32 else "discharge", NAMES[data & 31])
    elif event == Event.EMERGENCY or Event.FAULT_RAISED <= event <= Event.COMMS_RESTORED:
        if data == -1:
            return "commanded"
        names = ft.names(1 << (data & 31)) if 0 <= data < 160 and data & 31 < 30 else ()
        return (names[0] if data < 32 else "%s of bank %s" % (names[0], _bank(banks, data >> 5))) if names else data
    elif event == Event.BANK_CHANGE and 32 <= data < 160 and data & 31 < len(Mode.names):
        return "bank %s: %s" % (_bank(banks, data >> 5), Mode.name(data & 31))
    return names[data] if 0 <= data < len(names) else data


def _bank(banks, number: int):
    return banks[number - 1].name if number <= len(banks) else number


# ---- numbers, times, claims -----------------------------------------------------------------------------


def kw(watts: int) -> str:
    """A power as people write it: "-20 kW", "5.5 kW", "20 W"."""
    if watts and -_SMALL_W < watts < _SMALL_W:
        return "%d W" % watts
    text = "%.1f" % (watts / 1000)
    return (text[:-2] if text[-2:] == ".0" else text) + " kW"


def since(view, at_s: int, word: str = "since ") -> str:
    """When that was: "since 12:03", or "for 3 min" without a clock ("12:03" and "3 min ago" where word is "")."""
    ago = view.now[im.UPTIME_S] - at_s
    if view.clock is not None and view.clock.is_set:
        return word + view.clock.text_ago(ago)
    return "for " + _time(ago) if word else _time(ago) + " ago"


def _time(seconds: int) -> str:
    if seconds < 120:
        return "%d s" % seconds
    return "%d min" % (seconds // 60) if seconds < 7200 else "%d h" % (seconds // 3600)


def _left(ms: int) -> str:
    return "" if ms in (0, rq.FOREVER) else ", %s left" % _time((ms + 999) // 1000)


def _owner(view, source: int) -> str:
    """Whose claim it is, where that is not the source itself."""
    owner = view.claim(source)[4]
    return "" if owner in (rq.SOURCES[source], "pause") else owner


def _claim(view, source: int) -> str:
    """A live claim: "remote (ems, -20 kW, 12 s left)"."""
    if source == rq.IDLE:
        return "nobody"
    left, watts, goal, target, _ = view.claim(source)
    what = kw(watts)
    if goal == rq.PAUSE:
        what = "a pause"
    elif goal == rq.CHARGE:
        what = "a charge to the target of its parameters" if target == rq.BY_PARAMS else "a charge to %.1f %%" % (target / 100)
    owner = _owner(view, source)
    return "%s (%s%s%s)" % (rq.SOURCES[source], owner + ", " if owner else "", what, _left(left))


# ---- devices and faults ---------------------------------------------------------------------------------


def _age(view, i: int) -> int:
    """ms since a device's oldest group was received; what a battery never sends is not awaited."""
    first = im.SEQ_BMS_FLAGS + i if i else im.SEQ_BMS
    age = 0
    for seq in range(first, im.SEQ_PCS + i):
        its = view.now[im.AGE + seq]
        if its > age and (its < im.AGE_NEVER or seq - first < 2):
            age = its
    return age


def _is_silent(view, i: int) -> bool:
    return _age(view, i) > view.par[_STALE[i]]


def _silence(view, i: int, named: bool) -> str:
    """That nothing comes from a device, since when and where: named as a device, or in a sentence of its own."""
    name, where = view.places.get(1 << i, (_DEVICES[i], ""))
    if not i and min([view.now[im.AGE + seq] for seq in range(im.SEQ_BMS, im.SEQ_PCS)]) <= view.par[im.PAR_STALE_BMS]:
        told = ", ".join(missing(view.now[im.MISSING] & _MISSED[0])) + where  # the battery does speak
        return "%s (%s)" % (name, told) if named else told
    age = _age(view, i)
    if age >= im.AGE_NEVER:
        if named:
            return "%s (never received%s)" % (name, where)
        return "nothing was ever received from the %s%s" % (_KINDS[i], where)
    lasting = "%.1f s" % (age / 1000) if age < 100000 else _time(age // 1000)
    if named:
        return "%s (nothing received%s for %s)" % (name, where, lasting)
    return "nothing received from the %s%s for %s" % (_KINDS[i], where, lasting)


def silent(view) -> "list[str]":
    """The names of the devices that the site has and that nothing is received from."""
    has = view.par[im.PAR_HAS]
    found = [view.places.get(1 << i, _DEVICES[i : i + 1])[0] for i in range(5) if has >> i & 1 and _is_silent(view, i)]
    for bank in view.banks:
        found += silent(bank)
    return found


def detail(view, name: str) -> str:
    """More about an active fault, in words; "" where the name says it all."""
    now = view.now
    if name[-5:] == "_lost":
        i = _DEVICES.index(name[:-5])
        return _silence(view, i, False) if _is_silent(view, i) else "it is received again"
    over = now[im.FAULTS] & _TRIP & ~now[im.CONDITIONS]
    if over and name != "breach" and name in ft.names(over):
        text = "not seen any more, it has to stay so"  # nor its figures, which a trip has ended
        return text + _followed(view) if name == "pcs_not_following" else text
    if name[:5] == "cell_":
        return "%d mV" % now[im.CELL_V_MAX if name == "cell_over_voltage" else im.CELL_V_MIN]
    if name[-12:] == "_temperature":
        return _temperature(view)
    if name == "pcs_fault":
        return "the inverter has stopped itself, alarm bits 0x%x" % max(0, now[im.PCS_ALARM])
    if name == "current_mismatch":
        return "the battery reports %.1f A, the inverter %.1f A" % (now[im.BMS_I] / 10, now[im.PCS_DC_I] / 10)
    if name == "pcs_not_following":
        return _entry(_FAULTS, name) + _followed(view)
    if name == "breach":
        return _broken(now)
    text = _entry(_FAULTS, name) or battery_detail(name, now)
    return _parallel(view) + text if name == "inverter_silent" else text


def _followed(view) -> str:
    """What was commanded when it was seen, and what the inverter gave, and says that it follows; and what that looks like."""
    now = view.now
    commanded, measured = now[im.FAULT_CMD], now[im.FAULT_P]
    near = abs(commanded) // 5
    text = ": commanded %s, measured %s" % (kw(commanded), kw(measured))
    if abs(measured + commanded) < near:
        text += " (its sign is turned?)"
    elif abs(2 * measured - commanded) < near:
        text += " (half of it: a scale or a reference?)"
    if now[im.PCS_SETPOINT] != im.NO_VALUE:
        text += ", it says that it follows " + kw(now[im.PCS_SETPOINT])
    for words in view.barred:
        if words:
            text += ", " + words
    return text


def _broken(now) -> str:
    """Which of its own rules the cycle was about to break, and whose fault that is."""
    told = [text for i, text in enumerate(_BROKEN.split("\n")) if now[im.BROKE] >> i & 1]
    text = "a fault of this firmware, no device's; please report it: it was about to command %s, " % kw(now[im.BROKE_P])
    return text + " and ".join(told) + ", and commanded 0 W"


def _parallel(view) -> str:
    """Which of a bank's inverters take no part, and why."""
    told = ""
    for i, (name, age, state) in enumerate(view.parallel):
        if view.now[im.PARTS_LOST] >> i & 1:
            told += name or "inverter %d of %d" % (i + 1, len(view.parallel))
            if age > view.par[im.PAR_STALE_PCS]:
                told += " (nothing received%s), " % (" for " + _time(age // 1000) if age < im.AGE_NEVER else "")
            else:
                told += " (%s), " % (_PCS_STATES.split("\n")[state] if state == im.PCS_FAULT else "reports no power")
    return told


def _entry(table: str, name: str) -> str:
    """The words behind a name in one of the tables; "" for none."""
    at = table.find("\n" + name + " ")
    return table[at + len(name) + 2 : table.find("\n", at + 1)] if at >= 0 else ""


def _faults(view, bits: int) -> str:
    told = []
    named = ft.names(bits)
    for name in named:
        if name[-7:] == "_frozen" and name[:-7] + "_lost" in named:
            continue  # nothing that does not arrive changes
        if len(told) == _TOLD:
            told.append("and more")
            break
        more = detail(view, name)
        told.append("fault " + name + (": " + more if more else ""))
    return "; ".join(told)


def _waits(view) -> str:
    """What start() waits for; "" for nothing."""
    now = view.now
    if view.refused:
        return "a site file that is not refused (%s)" % view.refused
    if view.banks:
        told = ["bank %s: %s" % (bank.name, _waits(bank)) for bank in view.banks if _waits(bank)]
    else:
        told = [_silence(view, i, True) for i in (0, 1) if _is_silent(view, i)]
    bits = now[im.FAULTS] & _TRIP
    if told:
        bits &= ~3  # bms_lost and pcs_lost: said already
    elif now[im.SOC] == im.NO_VALUE or now[im.BMS_V] <= 0:
        told.append("a state of charge and a voltage of the battery that can be true")
    if bits:
        told.append("the end of " + _faults(view, bits))
    if now[im.RESTART_MS] > 0:
        told.append("the next restart, in %d s" % (now[im.RESTART_MS] // 1000 + 1))
    if now[im.DARK_P]:
        told.append(_dark(view))
    return ", ".join(told)


def _dark(view) -> str:
    """Why an island was left that its battery could not carry, and what would end it."""
    taken = view.now[im.DARK_P]
    charge = 1 if taken < 0 else 0
    name = NAMES[view.now[im.DARK_BY]]
    what = ("full" if charge else "empty") if name in _ENDS_OF_BATTERY else "limited by " + name
    what = "the battery is %s (%s)" % (what, _row(view, name, charge))
    if charge:
        return what
    return "%s: until it may give the island's %s, or a grid or a surplus is there; it tries once in an hour" % (what, kw(taken))


# ---- the modes ------------------------------------------------------------------------------------------


def _standby(view) -> str:
    ordered = view.now[im.ORDER] in (im.ORDER_START, im.ORDER_SPENT)
    if view.banks and ordered and not view.refused and not view.now[im.FAULTS] & _TRIP:
        return "; ".join(["bank %s: %s" % (bank.name, _standby(bank)) for bank in view.banks])
    now = view.now
    order = now[im.ORDER]
    if view.refused:
        return "%s; mend it, %s" % (refused(view), by_cable())
    bits = now[im.FAULTS] & _TRIP
    tripped = "fault " + ", fault ".join(ft.names(now[im.TRIPPED])) if now[im.TRIPPED] else ""
    text = _faults(view, bits)
    if order == im.ORDER_SPENT:
        for i in (0, 1):
            if now[im.TRIPPED] >> i & 1 and not _is_silent(view, i):
                tripped += " (it is received again; if it only reports more slowly, raise power.%s)" % _SLOWER[i]
        return "%s; all %d restarts are used up: start() begins again" % (text or "stopped by " + tripped, now[im.TRIPS] - 1)
    if order != im.ORDER_START:
        if text:
            return text + "; then start()"
        return view.stays if view.stays and order == im.ORDER_NONE else _ORDERS.split("\n")[order]
    if text:
        text += "; starts by itself when that is gone"
        for i in (0, 1):  # the rows of bms_lost and pcs_lost too
            if not bits >> i & 1 and _is_silent(view, i):
                text += "; waiting for: " + _silence(view, i, True)
        return text
    waits = _waits(view)
    return "starting" + (" after " + tripped if tripped else "") + (", waiting for: " + waits if waits else "")


def _connected(view) -> str:
    now = view.now
    command = kw(now[im.CMD_P])
    source = now[im.REQUEST_BY]
    if now[im.ORDER] == im.ORDER_STOP:
        return command + ": stop() is under way, to 0 W and then the contactors open"
    if source == rq.IDLE:
        return _idle(view, command)
    ms, _, goal, _, _ = view.claim(source)
    left = _left(ms)
    owner = _owner(view, source)
    who = rq.SOURCES[source] + (" (%s)" % owner if owner else "")
    asked = "%s asked by %s%s" % (kw(now[im.REQUEST_P]), who, left)
    if goal == rq.PAUSE and source != rq.MANUAL:
        asked = "held by %s%s" % (who, left)
    elif goal == rq.PAUSE:
        asked = "paused by stop_operation()" + (left or " until resume() or a new operation")
    elif now[im.REQUEST_P] == 0 and goal == rq.CHARGE:
        asked = "the rest between two pulses of the charge by " + who
    bound = now[im.BOUND]
    if bound:
        return "%s of %s: %s" % (command, asked, limited(view, (bound - 1) & 31, 1 if bound > 32 else 0, now[im.BOUND_S]))
    if now[im.CMD_P] != now[im.REQUEST_P]:
        return command + ": ramping to " + asked
    return ("not limited: " if now[im.CMD_P] else "0 kW: ") + asked


def _idle(view, command: str) -> str:
    now = view.now
    if now[im.CMD_P]:
        return command + ": ramping to 0 W, nobody asks for power"
    text = "0 kW: IDLE %s, nobody asks for power" % since(view, now[im.MODE_S])
    ended = last_end(view)
    if ended:
        text += "; " + ended
    for charge in (0, 1):
        if now[im.LIMIT_DIS + charge] == 0:
            text += "; " + limited(view, now[im.WHY_DIS + charge], charge)
    return text


# ---- the limits -----------------------------------------------------------------------------------------


def limited(view, row: int, charge: int, since_s: int = -1) -> str:
    """What a row of the limit list leaves of a direction, since when, and the measured value beside its bounds."""
    way = "charging" if charge else "discharging"
    text = "%s is limited to %.1f kW by %s" % (way, view.now[im.LIMIT_DIS + charge] / 1000, NAMES[row])
    if since_s >= 0:
        text += " " + since(view, since_s)
    more = _row(view, NAMES[row], charge)
    return text + ": " + more if more else text


def _given(view, charge: int) -> str:
    """What a bank gives of a direction, and which row bounds it; why it is out at all is a sentence of its own."""
    if _is_out(view):
        return "nothing in %s" % Mode.name(view.now[im.MODE])
    name = NAMES[view.now[im.WHY_DIS + charge]]
    more = _row(view, name, charge)
    return "%.1f kW by %s%s" % (view.now[im.LIMIT_DIS + charge] / 1000, name, ": " + more if more else "")


def _row(view, name: str, charge: int) -> str:
    now = view.now
    par = view.par
    words = _entry(_ROWS, name)
    refused = odd(now[im.BMS_ODD] & 1 << _bound_by(name, charge) - im.BMS_SOC) if words else ()
    if refused:
        return "the %s that is reported cannot be true" % refused[0]
    if name == "banks":
        return "; ".join(["bank %s gives %s" % (bank.name, _given(bank, charge)) for bank in view.banks])
    if view.banks and name in _OF_A_BANK:
        bound = [bank for bank in view.banks if NAMES[bank.now[im.WHY_DIS + charge]] == name]
        return "; ".join(["bank %s: %s" % (bank.name, _row(bank, name, charge)) for bank in bound])
    if name == "fault":
        return _faults(view, now[im.FAULTS] & ft.mask(5, ft.NO_CHARGE if charge else ft.NO_DISCHARGE))
    if name == "missing_data":
        return _missing(view)
    if name == "bms_forbids":
        return _forbidden(view, charge)
    if name == "pcs":
        return _inverter(view, charge)
    if name == "soc":
        return _soc(view, charge, words)
    if name == "temperature":
        knee = im.PAR_T_CHG if charge else im.PAR_T_DIS
        return words % (_temperature(view), par[knee + 1] / 10, par[knee + 2] / 10)
    if name == "cell_voltage":
        return words % (now[im.CELL_V_MIN - charge], par[im.PAR_CELL_MIN - charge])
    if name == "pack_voltage":
        volts, other = now[im.BMS_V], now[im.PCS_DC_V]
        if 0 < other and now[im.PCS_STATE] == im.PCS_RUNNING and (volts < other if charge else other < volts):
            return "the inverter measures " + words % (other / 10, _cut_off(view, charge))
        return words % (volts / 10, _cut_off(view, charge))
    if words:
        return words % (now[im.BMS_I_DIS - charge] / 10)
    if name == "grid_connection":
        return _grid(view, charge)
    if name == "export":
        return "at most %s into the grid" % kw(par[im.PAR_P_EXPORT] if par[im.PAR_EXPORT] else 0)
    if name == "remote":
        return "%s%s" % (view.curtailed[charge][0], _left(view.curtailed[charge][1])) if view.curtailed[charge] else ""
    if name == "operation":
        return "set_charge_params()" if charge else "set_discharge_params()"
    return ""


def _cut_off(view, charge: int) -> str:
    """The pack's voltage at which a direction ends: the nearest of the cells', the battery's own and the parameters'."""
    own = view.par[im.OP_V_MIN - charge]
    known = [volts for volts in (view.par[im.PAR_V_MIN - charge], view.now[im.BMS_V_MIN - charge], own) if abs(volts) < im.FREE]
    bound = min(known) if charge else max(known)
    return "%.1f V%s" % (bound / 10, " (%s)" % _row(view, "operation", charge) if bound == own else "")


def _bound_by(name: str, charge: int) -> int:
    """The battery's reading that such a row is made with; where it cannot be true it leaves nothing."""
    if name == "bms_current":
        return im.BMS_I_DIS - charge
    if name == "pack_voltage":
        return im.BMS_V_MIN - charge
    return im.CELL_V_MIN - charge if name == "cell_voltage" else im.BMS_SOC


def _inverter(view, charge: int) -> str:
    """What it can do now, or why it can do nothing."""
    state = view.now[im.PCS_STATE]
    if im.PCS_STANDBY <= state <= im.PCS_RUNNING:
        rating = max(0, view.now[im.PCS_P_DIS - charge])
        return "the inverter %s at most %s at present" % ("takes" if charge else "gives", kw(rating))
    return "the inverter is " + _PCS_STATES.split("\n")[state if 0 <= state < 5 else 5]


def _grid(view, charge: int) -> str:
    kind = view.par[im.PAR_GRID_TYPE]
    if not view.now[im.GRID_OK]:
        what = "only surplus charges" if charge else "only what the site takes is served" if kind == Grid.INTERACTIVE else ""
        return "there is no grid" + (": " + what if what else "")
    if not charge:
        return "BACKUP: it discharges only while there is no grid"
    if kind in (Grid.ISOLATED, Grid.EXPORT):
        return Grid.name(kind) + ": only surplus charges"
    return "charging from the grid is not allowed (%s): only surplus charges" % (view.forbids_grid or "allow_grid_charging")


def _forbidden(view, charge: int) -> str:
    now = view.now
    told = conditions(max(0, now[im.BMS_PROTECT]) & view.par[im.PAR_PROT_CHG if charge else im.PAR_PROT_DIS])
    if charge and now[im.HOLD_CHG_MS] > 0:
        told.append("held off %d s more after an over-voltage" % (now[im.HOLD_CHG_MS] // 1000))
    return "the BMS protects itself: " + ", ".join(told) if told else "the BMS does not permit it"


def _soc(view, charge: int, words: str) -> str:
    par = view.par
    soc = view.now[im.SOC_LOW + charge]
    if soc == im.NO_VALUE:
        return ""
    if charge:
        wants = view.now[im.BMS_REQUESTS]
        lifted = wants > 0 and wants & im.BMS_REQ_FULL_CHARGE and view.now[im.AGE + im.SEQ_BMS_FLAGS] <= par[im.PAR_STALE_BMS]
        return words % (soc / 100, "ceiling", min(10000 if lifted else par[im.PAR_SOC_MAX], par[im.OP_SOC_MAX]) / 100)
    floor = par[im.OP_SOC_MIN] if par[im.OP_SOC_MIN] != im.FREE else 0
    return words % (soc / 100, "floor", max(par[im.PAR_SOC_MIN], floor) / 100)


def _temperature(view) -> str:
    """The highest and the lowest of the cells, or the battery's one."""
    now = view.now
    high, low = [now[slot] if now[slot] != im.NO_VALUE else now[im.BMS_TEMP] for slot in (im.CELL_T_MAX, im.CELL_T_MIN)]
    if im.NO_VALUE in (high, low):
        refused = odd(now[im.BMS_ODD] & 3 << im.CELL_T_MAX - im.BMS_SOC)
        return "no %s that can be true" % refused[0] if refused else ""
    return "%.1f degC" % (high / 10) if high == low else "%.1f to %.1f degC" % (low / 10, high / 10)


def _missing(view) -> str:
    """What missing_data lacks: a device with its place and age, a value by its name."""
    bits = view.now[im.MISSING]
    told = []
    for i in range(5):
        if bits & _MISSED[i] and _is_silent(view, i):
            told.append(_silence(view, i, True))
            bits &= ~(_MISSED[i] | _MISSED_VALUES)  # nor can its values be true
    if bits & im.MISS_METER and view.now[im.METER_P] != im.NO_VALUE:  # it speaks, and says a power
        told.append(_entry(_FAULTS, "meter_frozen"))
        bits &= ~im.MISS_METER
    return ", ".join(told + missing(bits))
