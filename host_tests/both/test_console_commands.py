"""Commands for people at the console, their numbers with units, and the roles that they take."""

import os

import startup
from posixtz import PosixTZ

from firmware import image as im
from firmware import loading
from firmware.clock import Clock
from firmware.event_codes import Event
from firmware.modes import Mode
from firmware.schedule_entry import ScheduleEntry
from firmware.services import console, lines, roles, terminal
from host_tests.both.desk import Desk
from host_tests.both.plant import Plant
from host_tests.both.virtual import Virtual

PINS = "pins.json"


class Store:
    """What loading knows of files, in memory."""

    def __init__(self):
        self.files = {}
        self.problem = None

    def __enter__(self):
        self.usual = (loading.exists, loading.sealed, loading.storing)
        loading.exists = self.exists
        loading.sealed = self.sealed
        loading.storing = self.storing
        return self

    def __exit__(self, *_error):
        loading.exists, loading.sealed, loading.storing = self.usual

    def exists(self, path):
        return path in self.files

    def sealed(self, path):
        return self

    def load(self):
        if self.problem:
            raise ValueError(self.problem)
        return self.files.get(PINS)

    def storing(self, path, doc, kept):
        yield
        yield
        self.files[path] = doc


def desk_with(plant=None):
    desk = Desk(plant or Plant().ready())
    desk.app.kept = lambda: ""
    return desk


def kw(desk):
    """What is asked for by a person, kW, and for how long, min."""
    claims = [claim for claim in desk.plant.pm.claims() if claim["source"] == "manual"]
    if not claims:
        return None
    left = claims[0]["seconds_left"]
    return claims[0]["kw"], None if left is None else int((left + 59) // 60), claims[0]["goal"]


REFUSED = """\
charge 20;charge kW;charge -20kW;charge 20kW 30;charge 20kW 20kW;charge 20kW 80%;charge 30min;charge 80% 1h;charge 20kW 90s;
charge 20kW 0min;charge 20kA;charge 2.0.0kW;charge 5000kW;charge 95%;charge now;discharge 0kW;discharge 30%;pause 20kW;
pause 10 minutes;start now;stop 5min;monitor;monitor 5kW;monitor 50ms;limit;limit 5kW;limit charge;limit charge 5h;schedule add;
schedule add 25:00 charge 1h;schedule add 01:00 heat 1h;schedule add 01:00 charge 40kW;schedule remove;schedule remove 3;events 0;
events all;config nothing_of_that;reset;scan can0;scan rs9;login;pin service;pin service 123;pin view 1234;pin operate 1234;
help nothing_of_that;clock"""


def test_pins_stand_at_the_top_of_the_flash_whichever_generation_runs():
    with Store() as store:
        startup.folder = "a/"
        try:
            desk = desk_with()
            desk.app.path = "a/site.json"
            assert desk.ask("pin service 98765")[:8] == "= stored"
        finally:
            startup.folder = ""
        assert list(store.files) == [PINS]


# ---- commands -------------------------------------------------------------------------------------------


def test_power_and_time_are_typed_as_people_write_them():
    for line, wanted in (
        ("charge 20kW 30min", (-20.0, 30, "power")),
        ("charge 20 kW 30 min", (-20.0, 30, "power")),
        ("charge 2,5kw", (-2.5, None, "power")),
        ("charge 500W 1h", (-0.5, 60, "power")),
        ("charge 1.5h 3kW", (-3.0, 90, "power")),
        ("charge 7kW 120s", (-7.0, 2, "power")),
        ("charge", (100.0, None, "charge")),
        ("charge 80%", (100.0, None, "charge")),
        ("charge 80 %", (100.0, None, "charge")),
        ("discharge 20kW 30min", (20.0, 30, "discharge")),
        ("discharge 15kW", (15.0, None, "discharge")),
        ("discharge", (100.0, None, "discharge")),
        ("pause", (0.0, None, "pause")),
        ("pause 10min", (0.0, 10, "pause")),
        ("charge .5kW", (-0.5, None, "power")),
        ("discharge .5 kW .5h", (0.5, 30, "discharge")),
    ):
        desk = desk_with()
        answer = desk.ask(line)
        assert answer[:10] == "= accepted", (line, answer)
        assert kw(desk) == wanted, (line, kw(desk))


def test_what_is_not_understood_is_refused_and_changes_nothing():
    for line in REFUSED.replace("\n", "").split(";"):
        desk = desk_with()
        answer = desk.ask(line)
        assert answer[:2] == "! " and "Error" in answer[:14], (line, answer)
        assert kw(desk) is None and desk.plant.pm.mode == Mode.IDLE and desk.plant.pm.schedules() == [], line


def test_status_says_power_mode_and_which_site_runs():
    desk = desk_with()
    desk.ask("status")
    assert any(line.startswith("IDLE: inverter 0 kW, grid ") for line in desk.lines), desk.lines
    assert "site a desk, in site.json; firmware of its sources" in desk.lines
    assert not desk.printed("update")
    desk.app.news = "generation 050ce418 (b) was given up: it was started 3 times"
    desk.ask("status")
    assert desk.printed("update: generation 050ce418 (b) was given up"), "who comes later has not read the lines of boot"


def test_errors_name_what_was_typed_and_what_is_meant():
    desk = desk_with()
    assert "20kA" in desk.ask("charge 20kA") and "kW" in desk.answers()[-1]
    for line, wanted in (
        ("charge 5000kW", "charge 5000kW: allowed are above 0 to 100.0 kW"),
        ("discharge 500 kW 1h", "discharge 500kW: allowed are above 0 to 100.0 kW"),
        ("charge 110%", "charge 110%: allowed are above 0 to 90.0 %"),
        ("charge 20kW 5000h", "charge 5000h: allowed are 1 to 10080 min, whole minutes"),
        ("discharge 5000h", "discharge 5000h: allowed are 1 to 10080 min, whole minutes"),
        ("discharge 5kW 30s", "discharge 30s: allowed are 1 to 10080 min, whole minutes"),
        ("pause .5min", "pause .5min: allowed are 1 to 10080 min, whole minutes"),
        ("pause 0min", "pause 0min: allowed are 1 to 10080 min, whole minutes"),
        ("limit charge 500kW", "limit charge 500kW: allowed are 0 to 100.0 kW"),
        ("limit charge 5kW 5000h", "limit 5000h: allowed are above 0 to 86400 s"),
        ("schedule add 01:00 charge 5000kW 4h", "schedule add charge 5000kW: allowed are above 0 to 100.0 kW"),
        ("schedule add 01:00 idle 5kW 1h", "schedule add idle 5kW: `idle` holds 0 W"),
        ("schedule add 01:00 charge 40kW 25h", "schedule add 25h: allowed are 1 to 1440 min, whole minutes"),
        ("schedule add 25:00 charge 40kW 2h", "hour = 25: allowed are 0 to 23 h"),
        (
            "schedule add 01:00 charge 40kW 2h mon tues",
            "schedule add tues: a day (sun mon tue wed thu fri sat), or a number without sign and its unit is meant, "
            "as in 20kW or 4h",
        ),
        ("charge +5kW", None),
        ("charge: 5kW", None),
    ):
        desk = desk_with()
        if wanted is None:
            wanted = "! %s: neither a command nor Python: `help charge` says what it takes" % line
            assert desk.ask(line) == wanted
        else:
            assert desk.ask(line) == "! PowerError: " + wanted, (line, desk.answers()[-1])
        assert kw(desk) is None and desk.plant.pm.schedules() == [] and desk.plant.pm.curtailments() == [], line
    desk = desk_with()
    assert "charge 20: kV is no unit here" in desk.ask("charge 20 kV")
    assert "charge 20: its unit is missing: numbers in kW or W" in desk.ask("charge 20")
    assert "charge 20kW: kW is there twice" in desk.ask("charge 20kW 20kW")
    assert "discharge POWER" in desk.ask("limit 5kW")


def test_a_typed_0_is_not_as_much_as_may_flow():
    """`schedule add 03:00 discharge 0kW 1h` was full power, `charge 0%` charged to the ceiling, 0 s was a limit without an end."""
    for line, wanted in (
        ("charge 0%", "charge 0%: allowed are above 0 to 90.0 %; `charge` alone goes as far as it may"),
        ("charge 0,0 %", "charge 0,0%: allowed are above 0 to 90.0 %"),
        ("charge 0kW", "charge 0kW: allowed are above 0 to 100.0 kW; `pause` holds 0 W"),
        ("charge 0W 1h", "charge 0W: allowed are above 0 to 100.0 kW; `pause` holds 0 W"),
        ("discharge 0kW", "discharge 0kW: allowed are above 0 to 100.0 kW; `pause` holds 0 W"),
        ("schedule add 03:00 discharge 0kW 1h", "schedule add discharge 0kW: allowed are above 0 to 100.0 kW; `idle` holds 0 W"),
        ("schedule add 03:00 charge 0 W 1h mon", "schedule add charge 0W: allowed are above 0 to 100.0 kW; `idle` holds 0 W"),
        ("limit charge 5kW 0s", "limit 0s: allowed are above 0 to 86400 s; without a time it holds until `limit off`"),
    ):
        desk = desk_with()
        answer = desk.ask(line)
        assert answer[: 14 + len(wanted)] == "! PowerError: " + wanted, (line, answer)
        assert kw(desk) is None and desk.plant.pm.schedules() == [] and desk.plant.pm.curtailments() == [], line
    desk = desk_with()
    assert desk.ask("schedule add 03:00 idle 0kW 1h") == desk.ask("schedule add 03:00 idle 1h").replace("entry 1", "entry 0")
    assert desk.ask("limit charge 0kW")[:7] == "= bound", "a bound of 0 is one"


def test_claims_have_the_sign_of_all_powers_and_say_what_for():
    for line, wanted in (
        ("charge 80%", "manual (manual)  charge, -100.0 kW  no end"),
        ("charge 20kW 1h", "manual (manual)  power, -20.0 kW  3600"),
        ("discharge 20kW", "manual (manual)  discharge, 20.0 kW  no end"),
        ("pause", "manual (pause)  pause, 0.0 kW  no end"),
    ):
        desk = desk_with()
        desk.ask(line)
        desk.ask("claims")
        assert [text for text in desk.lines if text.startswith(wanted)], (wanted, desk.lines)


def test_config_shows_and_does_not_set():
    """`config max_soc 95` printed max_soc = 90.0, and nothing of the 95."""
    desk = desk_with()
    for line in ("config max_soc 95", "config max_soc=95", "config max_soc min_soc"):
        answer = desk.ask(line)
        assert answer[:2] == "! " and "max_soc" in answer, (line, answer)
    assert not desk.printed("max_soc = ")
    assert "only shows, one field or all; what it is stands in power.max_soc of the site file" in desk.ask("config max_soc 95")


REFUSAL = "power.max_soc = 120: allowed are 0 to 100 %"


def test_on_a_refused_site_everything_that_is_missing_names_that_cause():
    """The file had a clock, a history and a power of 30 kW: it is not in force, and that was blamed on its content."""
    desk = desk_with()
    desk.plant.pm.refused = REFUSAL
    told = "the site file is refused: " + REFUSAL
    for line in ("clock", "clock 2026-11-22 09:56:17", "history", "history day"):
        assert desk.ask(line)[: 14 + len(told)] == "! PowerError: " + told, line
    assert desk.ask("schedule add 01:00 idle 1h").startswith("= entry 0; it does not start: " + told)
    assert desk.printed("schedule 0: accepted, but " + told)
    for line in ("schedule", "config max_charge_power"):
        before = len(desk.lines)
        desk.ask(line)
        assert told in "\n".join(desk.lines[before:]), line
    desk.ask("status")
    assert desk.printed("max_charge_power = 100.0  ("), "the defaults are shown as what they are"
    assert desk.printed("no site: site.json is refused; firmware of its sources") and not desk.printed("site a desk")


def test_start_stop_resume_reset():
    plant = Plant()
    plant.run(2)
    desk = desk_with(plant)
    assert desk.ask("start")[:10] == "= accepted"
    plant.ready()
    assert desk.ask("discharge 20kW")[:10] == "= accepted"
    plant.run(5)
    assert plant.command() == 20000
    assert desk.ask("pause")[:10] == "= accepted"
    plant.run(40)
    assert plant.command() == 0
    assert desk.ask("resume") == "= done" and kw(desk) is None
    assert desk.ask("emergency stop!") == "= False" and desk.plant.pm.is_emergency
    assert desk.ask("reset") == "= False" and not desk.plant.pm.is_emergency, "nothing here stores it"
    plant.ready()
    assert desk.ask("stop") == "= done"
    plant.run(100)
    assert plant.pm.mode == Mode.STANDBY


def test_what_shows_something_shows_it_line_by_line():
    desk = desk_with()
    with desk.plant.image.lock:
        desk.plant.pm.events.post(Event.MODE_CHANGE, Mode.CHARGE, 7)
    desk.turn(20)
    for line, words in (
        ("status", "battery: SoC"), ("why", "kW"), ("limits", "configuration"), ("events", "MODE_CHANGE  CHARGE"),
        ("faults", "none since boot"), ("claims", "nobody asks for power"), ("devices", "bms: frames 7"),
        ("services", "console: "), ("config", "max_soc = "), ("config max_soc", "max_soc = 90.0  (%)"),
        ("schedule", "nothing starts: this site has no clock"),
        ("scan", "can0: frames 7"), ("help", "charge"), ("help schedule", "remove ID"),
    ):  # fmt: skip
        before = len(desk.lines)
        assert desk.ask(line) == "= None", line
        assert words in "\n".join(desk.lines[before:]), (line, desk.lines[before:])
    assert desk.ask("devices()")[:3] == "= {"
    assert len(desk.printed("max_soc = ")) == 2


def test_leave_is_a_command_as_leave_with_brackets_is():
    desk = desk_with()
    left = []
    desk.app.leave = lambda: left.append(1)
    desk.console.names["leave"] = lambda: left.append(2)  # as the application names it
    assert desk.ask("leave") == "= None" and desk.ask("leave()") == "= None" and left == [1, 2]


def test_what_services_and_devices_have_counted_is_in_words():
    desk = desk_with()

    class Box:
        def counters(self):
            return {
                "flash": {"writes": 2, "last_error": ""}, "faults": {}, "problems": [],
                "clients": [{"address": "10.0.0.1", "asks": 3}],
                "alarms": ["over_voltage", "fan"], "is_on": False, "note": None, "gap": (1, 2),
            }  # fmt: skip

    desk.app.services["records"] = desk.app.site.devices["bms"] = Box()
    desk.app.restarts["records"] = 2
    desk.app.stopped["web"] = "MemoryError: x"
    words = "alarms over_voltage and fan, clients address 10.0.0.1, asks 3, flash (writes 2), gap 1 and 2, is_on False"
    for line in ("services", "services()"):
        before = len(desk.lines)
        assert desk.ask(line) == "= None"
        told = desk.lines[before:]
        assert "records: " + words + ", started again 2 times" in told and "web: MemoryError: x" in told, told
        assert "console: dropped 0, starved 0, stores 0" in told, told
    desk.ask("devices")
    assert "bms: " + words in desk.lines


def test_no_plain_command_shows_what_only_python_reads():
    desk = desk_with()
    desk.plant.pm.clock = Clock(PosixTZ("UTC0"), 0)
    desk.plant.pm.clock.set_text("2026-10-22 09:56:17")
    for line in ("charge 5kW", "limit charge 4kW 1h", "schedule add 10:00 charge 5kW 1h"):
        assert desk.ask(line)[:2] == "= ", line
    for word in lines.COMMANDS.split():
        if word not in ("monitor", "scan", "login", "pin", "leave", "reboot"):
            before = len(desk.lines)
            desk.ask(word)
            told = "\n".join([text for text in desk.lines[before:] if text[:9] != '{"event":'])
            for mark in ("{", "}", "':", "('", "['"):
                assert mark not in told, (word, told)


def test_the_schedule_is_listed_added_to_and_removed_from():
    desk = desk_with()
    told = desk.ask("schedule add 01:00 charge 40kW 4h mon tue")
    assert told == "= entry 0; it does not start: this site has no clock: its site file has no \"clock\" section"
    desk.plant.pm.clock = Clock(PosixTZ("UTC0"), 0)
    assert "= entry 1; it does not start: the clock is not set" in desk.ask("schedule add 18:30 discharge 2h")
    desk.plant.pm.clock.set_text("2026-10-22 09:56:17")
    assert desk.ask("schedule add 12:00 idle 30min Mon TUE") == "= entry 2"
    assert desk.plant.pm.get_schedule(2).mask() == 0b0000110
    desk.plant.pm.delete_schedule(2)
    assert desk.ask("schedule add 12:00 idle 30min") == "= entry 2"
    entries = dict(desk.plant.pm.schedules())
    assert (entries[0].power_setpoint, entries[0].duration_minutes, entries[0].mask()) == (-40.0, 240, 0b0000110)
    assert entries[1].wants_most() and entries[1].mode == Mode.DISCHARGE and entries[1].mask() == 127
    desk.ask("schedule")
    assert "0: 01:00 CHARGE -40.0 kW 240 min, mon tue" in desk.lines
    assert "1: 18:30 DISCHARGE most kW 120 min, every day" in desk.lines
    assert "2: 12:00 IDLE 30 min, every day" in desk.lines
    assert "2026-10-22 12:00 UTC  2: IDLE 30 min" in desk.lines, "and what starts next"
    once = ScheduleEntry(hour=3, mode=Mode.IDLE, repeat=False)
    desk.plant.pm.add_schedule(once)
    once.days = 3
    desk.plant.pm.add_schedule(once)
    desk.ask("schedule")
    assert "3: 03:00 IDLE 60 min, once" in desk.lines and "4: 03:00 IDLE 60 min, sun mon, once" in desk.lines
    desk.plant.pm.delete_schedule(3)
    desk.plant.pm.delete_schedule(4)
    desk.plant.pm.image.par[im.PAR_P_CHG] = 30000  # the site file has changed since
    desk.ask("schedule")
    assert "0: 01:00 CHARGE -40.0 kW 240 min, mon tue, of which the site allows 30.0 kW" in desk.lines
    assert desk.ask("schedule remove 1") == "= removed" and sorted(dict(desk.plant.pm.schedules())) == [0, 2]


def test_a_limit_of_the_console_binds_and_is_taken_away():
    desk = desk_with()
    assert desk.ask("limit charge 5kW discharge 10kW 1h") == "= bound for 3600 s"
    desk.plant.run(2)
    desk.ask("limits")
    assert [line for line in desk.lines if line.split()[1:] == ["10.0", "5.0"]]
    assert desk.ask("limit charge 5kW") == "= bound until `limit off`; discharging is not bound here"
    assert desk.ask("limit discharge 5kW 1h") == "= bound for 3600 s; charging is not bound here"
    assert "twice" in desk.ask("limit charge 5kW charge 6kW")
    assert desk.ask("limit charge 5 kW discharge .5 kW 1 h") == "= bound for 3600 s", "a number may stand apart from its unit"
    assert [(c["charge_kw"], c["discharge_kw"]) for c in desk.plant.pm.curtailments()] == [(5.0, 0.5)]
    assert "its unit is missing" in desk.ask("limit charge 5") and "limit takes" in desk.ask("limit charge")
    assert desk.ask("limit off")[:2] == "= "
    desk.plant.run(2)
    before = len(desk.lines)
    desk.ask("limits")
    assert not [line for line in desk.lines[before:] if line.split()[1:] == ["10.0", "5.0"]]


def test_monitor_takes_a_time():
    desk = desk_with()
    assert desk.ask("monitor 100ms") == "= None"
    desk.turn(200)
    assert desk.printed('"soc"')
    assert desk.ask("monitor off") == "= None" and desk.ask("monitor 1s") == "= None" and desk.ask("monitor 500") == "= None"


def test_whatever_stands_behind_the_emergency_it_is_one():
    for behind in (" stop", " STOP", " Stop!", "!", "!!!", " !", ".", ", stop", " - fire"):
        line = ("emergency", "EMERGENCY", "Emergency")[len(behind) % 3] + behind
        desk = desk_with()
        assert desk.ask(line)[:2] == "= " and desk.plant.pm.is_emergency, line
    for behind in (" = 5", " == 5", ".x", "x", " != 5", "_shutdown", "?"):
        line = "emergency" + behind
        desk = desk_with()
        desk.ask(line)
        assert not desk.plant.pm.is_emergency, line


def test_every_command_may_have_empty_brackets():
    desk = desk_with()
    for line in ("events()", "faults()", "claims()", "config()", "status()", "help()", "devices()", "stop()", "start()"):
        assert desk.ask(line)[:2] == "= ", line
    desk.console.names["events"] = lambda: 5
    assert desk.ask("events()") == "= 5", "a name of one's own goes first"


def test_python_is_python_where_it_begins_like_a_command():
    desk = desk_with()
    for line, answer in (("status = 5", "= None"), ("charge=3", "= None"), ("charge", "= accepted"), ("limits.x", "! ")):
        assert desk.ask(line)[: len(answer)] == answer, line
    assert desk.console.names["charge"] == 3
    for name in ("why", "limits", "services", "devices"):
        assert desk.ask(name + " = 5") == "= None"
    for name in ("status", "why", "limits", "services", "devices"):
        assert desk.ask(name)[:2] == "= " and desk.console.names[name] == 5, "a name of one's own takes no command away: " + name
    assert desk.ask("events == 5")[:12] == "! NameError:"
    for line, word in (("stop!", "stop"), ("stop !", "stop"), ("status?", "status"), ("charge -5kW!", "charge")):
        told = desk.ask(line)
        assert told[:2] == "! " and word in told and "SyntaxError" not in told, told
    assert desk.ask("?") == "! ?: not a command; `help` lists all"
    assert desk.ask("1 +")[:14] == "! SyntaxError:" and desk.ask("for x in")[:14] == "! SyntaxError:"


# ---- roles ----------------------------------------------------------------------------------------------


def locked(store, **pins):
    """A desk whose PINs were set by the one before it."""
    desk = desk_with()
    for name in ("service", "operate"):
        if name in pins:
            assert desk.ask("pin %s %s" % (name, pins[name]))[:8] == "= stored"
    return desk_with()


MOVES = "start;stop;charge 5kW;discharge 5kW;pause;resume;limit charge 5kW;schedule add 01:00 idle 1h;schedule remove 1".split(";")
SEES = "status;why;limits;limits();events;faults;claims;devices;services;config;schedule;help;help()".split(";")
RUNS = (
    "pm.stop()", "1 + 1", "x = 5", "pin service 9999", "pin service off", "reboot", "leave", "login('1' + '234')",
    "login('1234') or pm.stop()",
)  # fmt: skip


def test_without_a_pin_everybody_is_a_technician_and_it_is_said():
    with Store() as store:
        desk = desk_with()
        assert "no PIN is set" in desk.ask("login 1234")
        for line in ("1 + 1", "charge 5kW"):
            assert desk.ask(line)[:2] == "= "
        assert store.files == {}


def test_view_sees_operate_moves_service_runs_python():
    with Store() as store:
        desk = locked(store, service="technician1", operate="4711")
        for line in SEES:
            assert desk.ask(line)[:2] == "= ", line
        for line in MOVES + list(RUNS) + ["reset", "scan can0", "clock 2026-11-22 09:56:17"]:
            answer = desk.ask(line)
            assert answer[:2] == "! " and ("role" in answer or "clock" in line), (line, answer)
        assert "operate" in desk.ask("login 4711")
        for line in MOVES:
            assert "role" not in desk.ask(line), line
        for line in RUNS:
            assert "role" in desk.ask(line), line
        assert "service" in desk.ask("login('technician1')")
        assert desk.ask("1 + 1") == "= 2" and desk.ask("pin operate off")[:8] == "= stored"
        assert "view" in desk.ask("logout") and "role" in desk.ask("charge 5kW")
        assert desk.ask("login 4711")[:2] == "! "


def test_the_emergency_needs_no_pin_and_its_end_does():
    with Store() as store:
        desk = locked(store, service="1234")
        assert desk.ask("emergency") == "= False" and desk.plant.pm.is_emergency
        assert "role" in desk.ask("reset") and desk.plant.pm.is_emergency
        desk.ask("login 1234")
        assert desk.ask("reset") == "= False" and not desk.plant.pm.is_emergency


def test_programs_need_a_technician_who_may_log_in_by_one():
    with Store() as store:
        desk = locked(store, service="1234")
        desk.type(b"\r\x01")
        for program, said in (
            ("print(1)", b"role service"),
            ("login('9999')", b"wrong PIN"),
            ("login('1234')", b"the role is service"),
            ("print(1)", b"1\r\n"),
            ("logout", b"the role is view"),
            ("status", b"battery: SoC"),
            ("charge 5kW", b"needs the role operate"),
            ("login 1234", b"the role is service"),
        ):
            before = len(b"".join(desk.port.out))
            desk.type(program + "\x04")
            desk.turn(60)
            assert said in b"".join(desk.port.out)[before:], program


def test_a_pin_is_kept_as_a_hash_with_salt_and_never_said():
    with Store() as store:
        desk = locked(store, service="technician1", operate="technician1")
        desk.ask("login technician1")
        desk.type(b"login technician1\rpin operate technician2\r")
        desk.turn(100)
        desk.ask("login wrong-technician")
        for line in ("technician", "technician1", "print('x')"):
            desk.ask(line)
        out = b"".join(desk.port.out).decode()
        assert "technician2" not in out and "wrong-technician" not in out and "logi***" in out
        kept = store.files[PINS]
        assert "technician" not in repr(kept) and kept["service"] != kept["operate"], "the salt is its own"


def test_wrong_pins_take_longer_and_longer():
    with Virtual(console, terminal, roles) as life, Store() as store:
        desk = locked(store, service="1234")
        for _ in range(3):
            assert "wrong PIN" in desk.ask("login 0000")
        waits = []
        for _ in range(9):
            answer = desk.ask("login 1234")
            assert "wait" in answer, "the right one waits too"
            waits.append(int(answer.split("wait ")[1].split(" ")[0]))
            life.skip(waits[-1] * 1000 + 10)
            assert "wrong PIN" in desk.ask("login 0000")
        assert waits[:3] == [5, 10, 20] and waits[-1] == 320 and sorted(waits) == waits
        life.skip(321000)
        assert "service" in desk.ask("login 1234")


def test_the_operators_pin_buys_no_tries_at_the_technicians():
    with Virtual(console, terminal, roles) as life, Store() as store:
        desk = locked(store, service="1234", operate="5678")
        tried = 0
        for _ in range(4):
            tried += "wait" not in desk.ask("login 0000")
            desk.ask("login 5678")
        assert tried == 3 and "wait" in desk.ask("login 5678")
        life.skip(3601000)
        for _ in range(2):
            assert "wrong PIN" in desk.ask("login 0000"), "an hour later nobody counts them"
        assert "operate" in desk.ask("login 5678")


def test_a_role_ends_ten_minutes_behind_the_last_key():
    with Virtual(console, terminal, roles) as life, Store() as store:
        desk = locked(store, service="1234")
        desk.ask("login 1234")
        life.skip(599000)
        assert desk.ask("1 + 1") == "= 2"
        life.skip(601000)
        desk.turn(3)
        assert "role" in desk.ask("1 + 1")
        desk.type(b"\r\x01")
        desk.turn(20)
        life.skip(601000)
        desk.turn(20)
        assert desk.ask("why")[:2] == "= ", "programs are not read for ever either"


def test_pins_that_cannot_be_read_lock_and_do_not_open():
    with Store() as store:
        locked(store, service="1234")
        store.problem = "its CRC is wrong"
        desk = desk_with()
        assert "role" in desk.ask("1 + 1") and "CRC" in desk.ask("login 1234")
        assert desk.ask("status") == "= None" and desk.ask("emergency") == "= False"


def test_the_roles_are_named_alike_everywhere():
    assert [lines.NAMES[role] for role in (lines.VIEW, lines.OPERATE, lines.SERVICE)] == ["view", "operate", "service"]
    assert hasattr(os, "urandom")


def first_command(line):
    """What happens in which turn, as a line of Python and then a first command are typed."""
    desk = desk_with()
    order = []
    known, value = desk.console.known_commands, desk.console.lines.value
    desk.console.known_commands = lambda: order.append("known") or known()
    desk.console.lines.value = lambda text: order.append("value") or value(text)
    desk.type("1 + 1\n" + line + "\n")
    while order.count("value") < 2:
        order.append("turn")
        desk.turn()
    return order


def test_the_commands_are_loaded_in_a_turn_of_their_own_before_the_first_is_run():
    for line in ("limits", "faults()"):
        order = first_command(line)
        first = order.index("known")
        assert order.index("value") < first, "a line of Python loads none"
        assert "turn" in order[first : order.index("value", first)], order
