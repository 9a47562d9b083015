"""The eight recorded days: their sites, and what happens when.  All of it is data and a seed."""

from firmware import ChargeParams, DischargeParams, Mode
from firmware import image as im
from firmware.schedule_entry import ScheduleEntry
from host_tests.replay.world import FAULTS

ALL = im.HAS_BMS | im.HAS_PCS | im.HAS_METER | im.HAS_PV | im.HAS_IO
DARK = ((0, 0.0), (24, 0.0))
SUN = ((0, 0.0), (6, 0.0), (9, 22000.0), (12.5, 70000.0), (13, 31000.0), (13.5, 72000.0), (17, 18000.0), (20, 0.0), (24, 0.0))
HOUSE = (
    (0, 6000.0), (5.5, 7000.0), (7, 38000.0), (9, 24000.0), (12, 46000.0), (14, 30000.0), (18.5, 74000.0), (22, 15000.0),
    (24, 6000.0),
)  # fmt: skip
FLAT = ((0, 12000.0), (24, 12000.0))
# at random: what a battery, an inverter, a wire does for a while
BATTERY = (
    "bms_boots", "two_batteries", "no_soc", "no_voltage", "no_limits", "cell_reading_high", "forbids_charge", "forbids_discharge",
    "force_charge", "protects_charge", "protects_discharge", "alarm", "cold",
)  # fmt: skip
WIRES = (
    "bms_silent", "bms_frozen", "pcs_silent", "pcs_frozen", "pcs_refuses", "meter_silent", "meter_frozen", "pv_silent", "io_silent",
)  # fmt: skip
ENDING = ("cell_high", "cell_low", "hot", "estop")  # they latch an emergency


def at(hour: float, *what):
    """One act of a day: at that hour, what."""
    return (round(hour * 3600000), what)


def call(hour: float, method: str, *given, **named):
    """A call of the manager's API."""
    return at(hour, "call", method, given, named)


def for_a_while(hour: float, fault: str, seconds: float):
    """A fault that ends by itself."""
    return [at(hour, "fault", fault), at(hour + seconds / 3600, "clear", fault)]


def claims(first: float, last: float, kw, every_s: int = 30):
    """An EMS that renews its setpoint; `kw` in turn, ten minutes each."""
    found = []
    step, hour = every_s / 3600, first
    while hour < last:
        found.append(call(hour, "claim", "remote", kw[int((hour - first) * 6) % len(kw)], 2.5 * every_s, "ems"))
        hour += step
    return found


def sprinkled(world, faults, first: float, last: float, every_min: int, longest_s: int):
    """Faults at random moments, one after the other."""
    found, minute = [], first * 60
    while minute < last * 60:
        fault = faults[world.random(len(faults))]
        found += for_a_while(minute / 60, fault, 2 + world.random(longest_s))
        minute += every_min // 2 + world.random(every_min)
    return found


def ordinary(world):
    """Charge at night, hold, follow the EMS, discharge in the evening, rest."""
    return [
        call(0.1, "start"),
        call(0.5, "set_charge_params", ChargeParams(charge_power_max=45.0)),
        call(1, "start_charging", 85.0),
        call(6, "set_constant_power", 12.0, 90),
        call(15.5, "set_discharge_params", DischargeParams(min_soc=30.0, discharge_power_max=60.0)),
        call(16, "start_discharging"),
        call(19.5, "stop_operation", 30),
        call(20.2, "curtail", 15.0, 10.0, 1800),
        call(20.3, "set_constant_power", 50.0, 60),
        call(21.5, "set_constant_power", -50.0),
        call(22, "set_constant_power", 100.0),
        call(22.2, "set_constant_power", -100.0),
        call(22.5, "resume"),
        call(23, "stop"),
    ] + claims(8, 15.2, (20.0, -35.5, 80.0, -100.0, 0.0))


def faults(world):
    """Everything that the table of faults knows, while power flows both ways."""
    found = [call(0.1, "start")] + claims(0.2, 23.5, (30.0, -40.0, 70.0, -80.0))
    kinds = [name for name in FAULTS if name not in ENDING and name != "grid_slow"]
    hour = 0.5
    for fault in kinds:
        found += for_a_while(hour, fault, 45)
        hour += 0.5
    found += sprinkled(world, kinds, hour, 23.4, 9, 60)
    found.append(call(23.8, "stop"))
    return found


def island(world):
    """A site with a grid that goes and comes, and an inverter that forms one."""
    found = [call(0.1, "start"), call(0.5, "set_constant_power", -30.0)]
    for hour, minutes in ((2, 30), (4.5, 1), (8, 90), (12, 45), (19, 100)):
        found += for_a_while(hour, "grid_lost", minutes * 60)
    found += for_a_while(8.5, "meter_silent", 90)
    found += for_a_while(12.3, "bms_silent", 60)
    found += for_a_while(17, "grid_slow", 120)
    found += [call(9.2, "set_constant_power", 20.0), call(13.2, "start_charging"), call(19.5, "stop_operation", 10)]
    return found + [call(23, "stop")]


def schedules(world):
    """The day on which summer time ends, with twelve entries, a clock that is corrected, and a person in between."""
    entries = (
        (0, 30, Mode.CHARGE, -30.0, 45),
        (2, 15, Mode.DISCHARGE, 20.0, 30),
        (2, 50, Mode.CHARGE, -15.0, 40),
        (4, 0, Mode.IDLE, 0.0, 30),
        (5, 0, Mode.CHARGE, 0.0, 120),
        (8, 0, Mode.DISCHARGE, 55.0, 90),
        (9, 0, Mode.DISCHARGE, 15.0, 120),
        (12, 0, Mode.CHARGE, -60.0, 60),
        (14, 0, Mode.DISCHARGE, 0.0, 60),
        (17, 30, Mode.DISCHARGE, 45.0, 150),
        (21, 0, Mode.CHARGE, -25.0, 60),
        (23, 40, Mode.CHARGE, -25.0, 60),
    )
    found = [call(0.01, "start")]
    for hour, minute, mode, kw, minutes in entries:
        entry = ScheduleEntry(hour=hour, minute=minute, mode=mode, power_setpoint=kw, duration_minutes=minutes)
        found.append(call(0.02, "add_schedule", entry))
    found += [
        call(0.03, "enable_scheduling", True),
        at(7.5, "clock", 90),
        call(8.5, "set_constant_power", -10.0, 15),
        at(13.4, "clock", -3),
        call(14.2, "update_schedule", 9, ScheduleEntry(hour=17, mode=Mode.DISCHARGE, power_setpoint=50.0, duration_minutes=150)),
        call(18.5, "enable_scheduling", False),
        call(18.8, "enable_scheduling", True),
        call(20.5, "delete_schedule", 10),
    ]
    return found + for_a_while(19, "bms_silent", 20)


def noisy(world):
    """Wires on which every group falls silent or stands still now and then."""
    found = [call(0.1, "start")] + claims(0.2, 23.7, (-60.0, 45.0, -20.0, 90.0, 5.0))
    return found + sprinkled(world, WIRES, 0.5, 23.5, 6, 25) + sprinkled(world, WIRES, 0.6, 23.5, 11, 90)


def emergency(world):
    """Every cause of an emergency, resets that are refused and that are not, and maintenance."""
    found = [call(0.1, "start")] + claims(0.2, 23.5, (50.0, -50.0))
    hour = 1.0
    for fault in ENDING + ("estop", "cell_high"):
        found += for_a_while(hour, fault, 120)
        found += [call(hour + 0.02, "reset_emergency"), call(hour + 0.2, "start"), call(hour + 0.5, "reset_emergency")]
        found.append(call(hour + 0.51, "start"))
        hour += 1.5
    found += [
        call(11, "emergency_shutdown"),
        call(11.5, "reset_emergency"),
        call(12, "set_mode", Mode.MAINTENANCE),
        call(12.1, "service", contactor=True, seconds=30),
        call(12.2, "service", contactor=True, pcs=True, kw=2.0, seconds=40),
        call(12.3, "start"),
        call(13, "reset_emergency"),
        call(13.1, "start"),
        call(14.02, "emergency_shutdown"),
        call(15, "reset_emergency"),
        call(15.1, "start"),
    ]
    return found + for_a_while(12.4, "estop", 30) + for_a_while(14, "contactor_stuck", 300)


def odd_battery(world):
    """A battery of which every value is odd for a while, and one that changes its mind about its charge."""
    found = [call(0.1, "start")] + claims(0.2, 23.7, (35.0, -35.0, 0.0))
    found += sprinkled(world, BATTERY, 0.5, 23, 7, 90)
    for hour, error in ((3, 6.0), (6, -9.0), (9, 0.0), (12, 25.0), (15, 0.0), (18, -30.0), (21, 0.0)):
        found.append(at(hour, "soc", error))
    found.append(call(13, "accept_soc"))
    return found


def late(world):
    """Cycles that come early, late and not at all for seconds, with reports that waited meanwhile."""
    silences = for_a_while(2, "pcs_silent", 20) + for_a_while(4, "bms_silent", 10)
    return [call(0.1, "start")] + claims(0.2, 5.8, (60.0, -60.0, 25.0)) + silences


DAYS = {
    # name: (acts, seed, hours, cycle_ms, SoC %, load, sun, devices, configuration)
    "ordinary": (ordinary, 11, 24, 500, 40.0, HOUSE, SUN, ALL, {}),
    "faults": (faults, 12, 24, 500, 55.0, FLAT, DARK, ALL, {"restart_limit": 100, "restart_delay": 1.0}),
    "island": (island, 13, 24, 500, 60.0, HOUSE, SUN, ALL, {"grid_connection": 1}),
    "schedules": (schedules, 14, 25, 500, 35.0, HOUSE, DARK, ALL, {"max_grid_export_power": 20.0}),
    "noisy": (noisy, 15, 24, 500, 50.0, HOUSE, SUN, ALL, {"restart_limit": 100, "allow_grid_charging": False}),
    "emergency": (emergency, 16, 24, 500, 50.0, FLAT, DARK, ALL, {}),
    "odd_battery": (odd_battery, 17, 24, 500, 50.0, HOUSE, SUN, ALL, {"restart_limit": 100, "max_soc": 95.0, "min_soc": 10.0}),
    "late": (late, 18, 6, 50, 50.0, HOUSE, DARK, im.HAS_BMS | im.HAS_PCS | im.HAS_IO, {"ramp_up": 5.0, "ramp_down": 10.0}),
}  # fmt: skip
