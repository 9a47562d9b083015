"""What is typed at the console of a board that is judged: lines as people type them, right ones and wrong ones."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One line; `wrong`: it must be refused."""

    text: str
    wrong: bool = False


CALLBACKS = (
    "exec('async def seen(event, data, counts):\\n counts[event] = counts.get(event, 0) + 1')",
    "counts = {}",
    "pm.register_callback(Event.MODE_CHANGE, seen, counts)",
    "pm.register_callback(Event.LIMIT_CHANGE, seen, counts)",
    "pm.register_callback(Event.FAULT_RAISED, seen, counts)",
    "pm.register_callback(Event.FAULT_CLEARED, seen, counts)",
    "pm.register_callback(Event.COMMS_LOST, seen, counts)",
    "pm.register_callback(Event.COMMS_RESTORED, seen, counts)",
    "pm.register_callback(Event.SCHEDULE_STARTED, seen, counts)",
)  # seven, by two lines and as many more

START_MINUTE = (9, 57)  # when the first of the schedules begins
CLOCK = "clock.set_text('2026-11-22 09:56:45')"  # 15 s before


def schedules(count: int) -> list[str]:
    """Lines that enter so many schedules; the first begins soon after CLOCK."""
    hour, minute = START_MINUTE
    lines = [
        f"pm.add_schedule(ScheduleEntry(hour={hour}, minute={minute}, mode=Mode.CHARGE, power_setpoint=-12, "
        "duration_minutes=5))"
    ]
    for n in range(1, count):
        kind, kw = (("CHARGE", -20 - n), ("DISCHARGE", 10 + n), ("IDLE", 0))[n % 3]
        days = f"day_of_week={n % 7}" if n % 2 else f"days={n * 5 % 127 + 1}"
        lines.append(
            f"pm.add_schedule(ScheduleEntry({days}, hour={(11 + n) % 24}, minute={n * 7 % 60}, mode=Mode.{kind}, "
            f"power_setpoint={kw}, duration_minutes={30 + n}))"
        )
    return lines


ASKED = (
    Line("pm.stats()"),
    Line("limits()"),
    Line("pm.stats", wrong=True),
    Line("devices()"),
    Line("pm.claims()"),
    Line("pm.faults()"),
    Line("pm.events.history()"),
    Line("monitor(1000)"),
    Line("pm.mode"),
    Line("pm.set_charge_params(ChargeParams(target_soc=85))"),
    Line("pm.set_constant_power(5000)", wrong=True),
    Line("pm.stats()['soc']"),
    Line("pm.set_charge_params(ChargeParams(target_soc=850))", wrong=True),
    Line("pm.sets()", wrong=True),
    Line("limits((", wrong=True),
    Line("monitor(500)"),
    Line("pm.claim('optimiser', 5, 30, 'judge')"),
    Line("pm.claims()"),
    Line("pm.release('optimiser')"),
    Line("pm.claim('nobody', 5, 30, 'judge')", wrong=True),
    Line("monitor(7)", wrong=True),
    Line("1 +", wrong=True),
    Line("x = [n for n in range(20)]"),
    Line("x"),
    Line("y", wrong=True),
    Line("app.metering.report()"),
    Line("app.metering.causes()"),
    Line("pm.fault_counts()"),
    Line("help()"),
    Line("help(pm)"),
    Line("pm.set_discharge_params(DischargeParams(min_soc=150))", wrong=True),
    Line("print('a line', 1, 2.5)"),
    Line("pm.upcoming(3)"),
    Line("pm.schedules()"),
    Line("pm.service(contactor=True)", wrong=True),
    Line("pm.set_mode(77)", wrong=True),
)
ASKED_OF_A_CALENDAR = (
    Line("pm.upcoming(5)"),
    Line("clock.report()"),
    Line("pm.get_schedule(1)"),
    Line("timeline.report()"),
    Line("pm.upcoming(100)"),
    Line("pm.get_schedule(99)", wrong=True),
    Line("clock.set_text('yesterday')", wrong=True),
    Line("timeline.records.energy()"),
    Line("pm.upcoming(1000)", wrong=True),
)


def mixed(count: int, calendar: bool) -> Iterator[Line]:
    """So many lines, over and over the same ones."""
    lines = ASKED + (ASKED_OF_A_CALENDAR if calendar else ())
    for n in range(count):
        yield lines[n % len(lines)]
