"""The console: lines and answers, bounds, events and monitor in between, an emergency that waits for nothing, no flash."""

import builtins
import json
import sys
import time

import micropython
from posixtz import PosixTZ

import firmware
from firmware import image as im
from firmware import sitefile
from firmware.clock import Clock
from firmware.event_codes import Event
from firmware.modes import Mode
from firmware.requests import MANUAL, REMOTE
from firmware.schedule_entry import ScheduleEntry
from firmware.services import console
from firmware.services.answers import ANSWER_MAX
from firmware.services.terminal import LINE_MAX, PIECE
from host_tests.both.desk import Desk, Port
from host_tests.both.plant import Plant
from host_tests.both.virtual import Virtual

CUT = "(cut: longer than %d characters)" % ANSWER_MAX


def value(text):
    """What an answer says, as a value."""
    assert text[:2] == "= ", text
    return eval(text[2:], {"array": __import__("array").array})


def post(desk, event, data):
    with desk.plant.image.lock:
        desk.plant.pm.events.post(event, data, 5)


class Collected:
    """Stands for the Collector of a heap of which a collection leaves so much free."""

    small = True

    def __init__(self, metering, free):
        self.metering = metering
        self.free = free

    def before_a_line(self):
        pass

    def sweep(self):
        self.metering.free_bytes = self.free


def test_names_are_forgotten_where_the_heap_is_full_and_not_where_a_line_has_left_much_garbage():
    for free in (90000, 4000):
        desk = Desk()
        desk.ask("mine = 5")
        desk.app.collector = Collected(desk.app.metering, free)
        desk.ask("1 + 1")
        desk.app.metering.free_bytes = 4000  # as it is seen, with the garbage of that line
        desk.turn(20)
        assert bool(desk.printed("the heap was full")) is (free == 4000)
        desk.app.metering.free_bytes = 90000
        assert (desk.ask("mine") == "= 5") is (free == 90000)


# ---- lines and answers ----------------------------------------------------------------------------------


def test_a_value_comes_back_as_it_is():
    desk = Desk()
    for text in (
        "6 * 7", "'it''s'", "None", "[]", "()", "(1,)", "{}", "[(1, 2), {'a': [None, True]}, b'x']", "-0.5", "{3}",
        "array('i', range(300))", "'x' * 1000", "b'\\x00\\xff' * 100", "'\\'\"\\n' * 200", "\"it's\" * 300", "'it\"s' * 300",
        "{'a' * 300: 1}", "'\\u00fc\\u20ac' * 300",
    ):  # fmt: skip
        desk.ask("from array import array")
        assert value(desk.ask(text)) == eval(text, {"array": __import__("array").array}), text


def test_what_pm_says_is_answered_whole():
    desk = Desk()
    desk.plant.pm.claim("optimiser", 5, 60, "test")
    stats = value(desk.ask("pm.stats()"))
    assert stats["mode"] == "IDLE" and stats == desk.plant.pm.stats()
    assert value(desk.ask("pm.claims()"))[0]["owner"] == "test"
    assert value(desk.ask("devices()")) == {name: {"frames": 7, "last_error": ""} for name in ("can0", "bms")}
    assert value(desk.ask("pm.events.history()")) == desk.plant.pm.events.history()


def test_limits_come_a_line_each_and_then_the_answer():
    desk = Desk()
    assert desk.ask("limits()") == "= None"
    told = [line.split() for line in desk.lines[-16:-1]]
    assert told[0] == ["mode", "-", "-"] and told[-1] == ["configuration", "100.0", "100.0"]
    assert desk.lines[-17].split() == ["at", "most,", "kW", "discharge", "charge"], "what the columns are, and their unit"


def test_statements_print_and_names_stay():
    desk = Desk()
    assert desk.ask("x = 3") == "= None" and desk.ask("x + 1") == "= 4"
    assert desk.ask("for i in range(3): print(i, 'of', x)") == "= None"
    assert desk.lines[-4:] == ["0 of 3", "1 of 3", "2 of 3", "= None"]


def test_what_is_wrong_with_a_line_is_said_and_the_next_is_answered():
    desk = Desk()
    assert desk.ask("nonsense + 1")[:12] == "! NameError:"
    assert desk.ask("1 +")[:14] == "! SyntaxError:"
    assert "1000" in desk.ask("ChargeParams(charge_current_max=5000)")
    for wrong in ("'x'", "50", "-1", "60001", "True", "100.5", "None"):
        assert "60000" in desk.ask("monitor(%s)" % wrong), wrong
    assert desk.ask("monitor('x')")[:14] == "! ValueError: " and "'x'" in desk.answers()[-1]
    assert value(desk.ask("'\xff'")) == "\xff" and desk.ask("1") == "= 1"
    desk.type(b"\xff\xfe\n")
    desk.turn(5)
    assert desk.answers()[-1] == "! ValueError: b'\\xff\\xfe': is no text in UTF-8; nothing of it was run"
    desk.type(b"charge 5kW " + b"\xe9" * 100 + b"\n")
    desk.turn(20)
    said = desk.answers()[-1]
    assert said.startswith("! ValueError: b'charge 5kW ") and said.endswith("'...: is no text in UTF-8; nothing of it was run")
    assert len(said) < 180 and desk.plant.pm.claims() == []


def test_a_function_without_brackets_is_not_called_and_says_so():
    desk = Desk()
    before = desk.plant.pm.claims()
    for line in ("pm.start", "pm.stop_operation", "save_site", "upcoming", "pm.events.history", "print", "len", "  pm.stop  "):
        name = line.strip()
        answer = desk.ask(line)
        assert answer == "! %s is a function, and was not called: %s() calls it" % (name, name), answer
    assert desk.ask("x = pm.start") == "= None" and desk.ask("x")[:2] == "! "
    assert desk.plant.pm.claims() == before and desk.plant.pm.mode == Mode.IDLE
    for line in ("pm.mode", "Mode", "pm.config", "Event.MODE_CHANGE"):
        assert desk.ask(line)[:2] == "= ", line


def test_help_says_the_commands_and_what_python_looks_like():
    desk = Desk()
    assert desk.ask("help()") == "= None"
    text = "\n".join(desk.lines)
    for line in ("`help`", "pm.start()", "pm.set_constant_power(-20)", "save_site({...})", "emergency", "help(pm)"):
        assert line in text, line
    assert "{'" not in text and len(text) < 2500
    desk = Desk()
    assert desk.ask("help") == "= None"
    text = "\n".join(desk.lines)
    for command in ("start ", "charge 20kW 30min", "limits ", "monitor 500ms", "emergency ", "help()"):
        assert command in text, command
    assert len(text) < ANSWER_MAX, "not cut"


def test_a_site_is_saved_from_json_as_it_was_pasted():
    desk = Desk()
    saved = []
    real = sitefile.store, sitefile.refused

    class Stored:
        def __init__(self, path):
            self.path = path

        def steps(self, content):
            yield
            saved.append((self.path, content))

    sitefile.store, sitefile.refused = Stored, lambda content: []
    try:
        pasted = '{"schema": 1, "power": {"allow_grid_export": true, "auto_restart": false}, "clock": null}'
        for line in ("save_site(%s)" % pasted, "save_site('%s')" % pasted):
            assert desk.ask(line) == "= None", line
        twice = desk.ask('save_site(\'{"schema": 1, "power": {}, "power": {}}\')')
        assert '"power" stands twice in one object: only the last would count' in twice, "only the last was kept"
        assert "a comma is missing" in desk.ask('save_site(\'{"schema": 1 "power": {}}\')')
        refused = desk.ask("save_site('{schema: 1')")
        assert refused[:27] == "! ConfigError: the text is " and "JSON" in refused
    finally:
        sitefile.store, sitefile.refused = real
    wanted = {"schema": 1, "power": {"allow_grid_export": True, "auto_restart": False}, "clock": None}
    assert saved == [("site.json", wanted), ("site.json", wanted)]
    for wrong in ("5", "[]", "'5'", "'[]'", "None", "{}", "'{\"schema\": 1}'"):
        assert desk.ask("save_site(%s)" % wrong)[:15] == "! ConfigError: ", wrong


def test_an_events_number_is_named():
    desk = Desk()
    for event, data, word in (
        (Event.MODE_CHANGE, Mode.CHARGE, "CHARGE"),
        (Event.FAULT_RAISED, 0, "bms_lost"),
        (Event.COMMS_LOST, 0, "bms_lost"),
        (Event.EMERGENCY, -1, "commanded"),
        (Event.EMERGENCY, 0, "bms_lost"),
        (Event.LIMIT_CHANGE, 0, "discharge by mode"),
        (Event.LIMIT_CHANGE, 32, "charge by mode"),
        (Event.CHARGE_COMPLETE, MANUAL, "manual"),
        (Event.OPERATION_TIMEOUT, REMOTE, "remote"),
    ):
        post(desk, event, data)
        desk.turn(10)
        assert json.loads(desk.printed('"event"')[-1]) == {"event": Event.name(event), "data": word, "t": 5}
    numbers = ((Event.CLOCK_SET, 7), (Event.OVERPOWER, 100), (Event.GRID_CONNECTED, 0), (Event.FAULT_RAISED, 199), (0, 77))
    for event, data in numbers:
        post(desk, event, data)
        desk.turn(10)
        assert json.loads(desk.printed('"event"')[-1]) == {"event": Event.name(event), "data": data, "t": 5}


def test_editing_keys():
    desk = Desk()
    assert desk.ask("\x7f\x081x\x7f + 1\r") == "= 2"
    assert desk.ask("while True: \x033") == "= 3"
    desk.type("\n\n\r\n")
    assert desk.ask("4") == "= 4"


def test_a_line_over_the_limit_is_refused_whole():
    desk = Desk()
    desk.ask("done = []")
    most = "done.append(1)" + " " * (LINE_MAX - 14)
    assert desk.ask(most) == "= None"
    for longer in (most + " ", most + " " * 5000, most + "#\x7f\x7f\x7f"):
        answer = desk.ask(longer)
        assert answer[:2] == "! " and str(LINE_MAX) in answer
        assert "a site file goes by `mpremote cp site.json :site.json`, then `reboot`" in answer, "no paste of one fits"
    desk.type(most + " and more\x03")
    assert desk.ask("done") == "= [1]"


def test_everything_public_is_there():
    desk = Desk()
    names = desk.console.names
    public = [name for name in dir(firmware) if "A" <= name[0] <= "Z"]
    for name in public + ["pm", "app", "limits", "devices", "monitor", "save_site", "restore_site", "help", "print", "emergency"]:
        assert name in names, name
    desk.ask("help()")
    assert "emergency" in desk.lines[-2] and "pm" in desk.lines[-2].split(", ")
    desk.ask("help(Mode)")
    assert "CHARGE" in desk.lines[-2].split(", ")
    desk.ask("help(pm)")
    assert "set_constant_power" in desk.lines[-2].split(", ")
    assert desk.ask("hasattr(pm, 'set_charge_params')") == "= True"


# ---- bounds ---------------------------------------------------------------------------------------------


def test_an_answer_is_cut_with_a_note():
    """console-flood: whatever a line answers with is bounded."""
    for line in ("'x' * 50000", "list(range(5000))", "b'x' * 50000", "{i: i for i in range(5000)}", "(i for i in range(10**9))"):
        desk = Desk()
        answer = desk.ask(line)
        text = "\n".join(desk.lines)
        assert CUT in text and len(text) < ANSWER_MAX + 200, line
        assert answer == "= None" if "for i in range(10" in line else answer.endswith(CUT), line
        assert desk.ask("7") == "= 7", line


def test_an_answer_of_the_limit_is_not_cut():
    desk = Desk()
    assert len(desk.ask("'x' * %d" % (ANSWER_MAX - 4))) == ANSWER_MAX
    assert desk.ask("'x' * %d" % (ANSWER_MAX - 3)).endswith(CUT)


def test_one_that_contains_itself_ends():
    desk = Desk()
    desk.ask("a = [1]; a.append(a)")
    assert "..." in desk.ask("a") and desk.ask("2") == "= 2"


def test_while_a_long_answer_drains_events_monitor_and_the_next_line_come():
    desk = Desk()
    desk.ask("monitor(100)")
    desk.type("'x' * 50000\n" * 4 + "8\n")
    for i in range(3000):
        if i % 10 == 0:
            post(desk, Event.CLOCK_SET, i)
        desk.turn()
        time.sleep_ms(1)
        if desk.answers()[-1] == "= 8":
            break
    kinds = ["cut" if CUT in line else line[2:6] for line in desk.lines]
    first, last = kinds.index("cut"), len(kinds) - 1 - kinds[::-1].index("cut")
    between = kinds[first:last]
    assert "even" in between and 't": ' in between, "events and the monitor"
    assert desk.answers()[-1] == "= 8"


def test_nothing_is_sent_faster_than_the_port():
    desk = Desk()
    desk.ask("'x' * 5000")
    assert max(len(piece) for piece in desk.port.out) <= PIECE
    before = len(desk.port.out)
    desk.type("pm.stats()\n")
    desk.turn()
    desk.turn()
    assert len(desk.port.out) <= before + 2, "one piece a turn"


def test_lines_of_others_are_whole_bounded_and_never_raise():
    desk = Desk()
    desk.console.write("pcs: found")
    for _ in range(200):
        desk.console.write("y" * 40)
    assert desk.console.dropped > 100
    desk.turn(400)
    assert desk.lines[0] != "" and "pcs: found" in desk.lines
    assert all(line == "y" * 40 for line in desk.printed("yyy")), "whole"


# ---- events and the monitor -----------------------------------------------------------------------------


def test_each_event_is_printed_once_in_order():
    desk = Desk()
    for i in range(40):
        post(desk, Event.CLOCK_SET, i)
    desk.turn(300)
    told = [json.loads(line) for line in desk.printed("CLOCK_SET")]
    assert [one["data"] for one in told] == list(range(40)) and told[0]["t"] == 5


def test_the_monitor_line_is_one_instant():
    with Virtual(console, look_us=5000):  # a turn has the time for one piece, and the image moves on between any two
        desk = Desk()
        desk.ask("monitor(100)")
        for i in range(400):
            power = 1000 * i
            for slot in (im.PCS_P, im.CMD_P, im.REQUEST_P):
                desk.plant.now[slot] = power
            desk.turn()
    lines = [json.loads(line) for line in desk.printed('"soc"')]
    assert lines and all(line["p"] == line["cmd"] == line["req"] for line in lines)
    assert len({line["p"] for line in lines}) == len(lines)


def test_monitor_starts_repeats_and_ends():
    desk = Desk()
    desk.ask("monitor(100)")
    desk.turn(60)
    seen = json.loads(desk.printed('"soc"')[0])
    for key in "t mode p cmd req soc lim_dis lim_chg by why_dis why_chg faults cycles events heap_used heap_free waiting".split():
        assert key in seen, key
    desk.ask("monitor(0)")
    count = len(desk.printed('"soc"'))
    desk.turn(300)
    assert len(desk.printed('"soc"')) == count


# ---- the emergency --------------------------------------------------------------------------------------


def running():
    plant = Plant().ready()
    plant.pm.set_constant_power(20)
    plant.run(5)
    assert plant.command() == 20000
    return Desk(plant)


def test_the_emergency_waits_for_no_answer():
    for line in ("pm.emergency_shutdown()", "emergency", "emergency()", "pm.emergency_shutdown()  "):
        desk = running()
        desk.type("'x' * 100000\n" * 3)
        desk.turn(2)
        desk.type(line + "\n")
        desk.turn()
        assert desk.plant.pm.is_emergency and desk.plant.command() == 0, line
        desk.turn(300)
        assert desk.answers()[-1] == "= False", "nothing here stores it: " + line


def test_what_only_looks_like_it_is_a_line_like_any_other():
    desk = running()
    for line in ("pm.emergency_shutdown", "#pm.emergency_shutdown()", "emergency1", "xemergency", "'emergency'"):
        desk.ask(line)
    desk.type("emergency" + " " * LINE_MAX + "\n")
    desk.turn(200)
    assert not desk.plant.pm.is_emergency


class Locking(Port):
    """From the first byte that is typed until there are no more the heap is locked."""

    locked = False

    def lock(self):
        if not self.locked:
            self.locked = True
            micropython.heap_lock()

    def letters(self, line, at, end):
        if self.at < len(self.typed):
            self.lock()
        return super().letters(line, at, end)

    def read(self):
        code = super().read()
        if code >= 0:
            self.lock()
        else:
            self.unlock()
        return code

    def unlock(self):
        if self.locked:
            self.locked = False
            micropython.heap_unlock()


def test_the_emergency_allocates_nothing():
    desk = Desk(running().plant, Locking())
    desk.turn(5)
    desk.type("emergency\n")
    try:
        desk.turn()
        assert not desk.port.locked and desk.console.counters()["starved"] == 0
    finally:
        desk.port.unlock()
    assert desk.plant.pm.mode == Mode.EMERGENCY
    desk.turn(50)
    assert desk.answers()[-1] == "= False"

    class Memory:
        """Stores it."""

        @staticmethod
        def settle():
            return True

    desk.plant.pm.emergency_memory = Memory
    assert desk.ask("emergency") == "= True"


def test_one_that_is_refused_says_so():
    desk = running()

    def refused():
        raise firmware.PowerError("no")

    desk.plant.pm.emergency_shutdown = refused
    assert desk.ask("pm.emergency_shutdown()") == "! PowerError: no"


# ---- a host that does not read --------------------------------------------------------------------------


def test_a_port_that_takes_nothing_stops_neither_lines_nor_the_emergency():
    desk = running()
    desk.ask("done = []")
    desk.port.takes = False
    desk.type("'x' * 5000\n" + "done.append(1)\n" * 20)
    desk.turn(400)
    assert len(desk.console.names["done"]) == 20, "what nobody reads is thrown away"
    desk.type("emergency\n")
    desk.turn()
    assert desk.plant.pm.is_emergency
    desk.port.takes = True
    desk.turn(50)
    assert desk.ask("done[-1]") == "= 1"


# ---- flash ----------------------------------------------------------------------------------------------

LINES = (
    "pm.stats()", "limits()", "devices()", "pm.claims()", "pm.faults()", "pm.fault_counts()", "pm.events.history()",
    "pm.schedules()", "pm.upcoming(5)", "help()", "help(pm)", "monitor(100)", "nonsense", "1 +", "pm.start(1)",
    "pm.set_charge_params(ChargeParams(target_soc=80, method=ChargeMethod.PULSED))",
    "pm.set_charge_params(ChargeParams(target_soc=800))", "pm.set_discharge_params(DischargeParams(min_soc=30))",
    "pm.set_constant_power(20)", "pm.set_constant_power(2000)", "pm.curtail(5, 5, 10)", "pm.stop_operation()", "pm.resume()",
    "pm.claim('remote', 5, 1, 'ems')", "pm.claim('nobody', 5, 1, 'ems')", "pm.release('remote')", "pm.service()",
    "pm.register_callback(Event.ALL, print)", "pm.unregister_callback(Event.ALL, print)", "pm.set_grid_connection(Grid.BACKUP)",
    "pm.set_mode(Mode.IDLE)", "pm.reset_emergency()", "DischargeParams(min_soc=30)", "Mode.name(3)", "Mode.parse('idle')", "app",
    "from firmware import Event, PowerManager, limits as rows", "import firmware", "pm.emergency_shutdown()", "pm.stop()",
)  # fmt: skip


def test_no_line_event_or_monitor_reads_flash():
    desk = Desk()
    path, kept = list(sys.path), builtins.open

    def no_flash(*args):
        raise AssertionError("open%r" % (args,))

    sys.path[:] = ["/nowhere"]
    builtins.open = no_flash
    try:
        answers = [desk.ask(line) for line in LINES]
        for event in range(len(Event.names)):
            post(desk, event, 1)
        desk.turn(300)
        assert desk.ask("import nowhere")[:14] == "! ImportError:" or "ModuleNotFoundError" in desk.answers()[-1]
    finally:
        builtins.open = kept
        sys.path[:] = path
    wrong = [(line, answer) for line, answer in zip(LINES, answers) if "ImportError" in answer or "AssertionError" in answer]
    assert wrong == [], wrong
    assert len(desk.printed('"event"')) >= len(Event.names) and desk.printed('"soc"')


def test_a_line_is_answered_when_what_it_stores_is_stored_and_not_before():
    desk = Desk()
    real = sitefile.saving
    steps = []

    def saving(path, content):
        for n in range(3):
            yield
            steps.append(n)
        if content["schema"] == 2:
            raise OSError(28)

    sitefile.saving = saving
    try:
        desk.type('save_site({"schema": 1}); save_site({"schema": 1})\n')
        while not desk.answers():
            desk.turn()
        assert steps == [0, 1, 2, 0, 1, 2] and desk.answers() == ["= None"]
        assert desk.ask('x = save_site({"schema": 2})')[:10] == "! OSError:"
        assert desk.ask("1") == "= 1"
    finally:
        sitefile.saving = real
    assert desk.console.stores == 12, "each step is counted: it may erase flash"


def test_a_line_waits_where_something_long_was_done_since_the_last_cycle_and_the_emergency_does_not():
    desk = Desk()
    loop_time = desk.app.metering.loop_time
    desk.turn()
    assert loop_time.take_turn()
    desk.type("x = 5\n")
    for _ in range(50):
        desk.console.turn()
    assert "x" not in desk.console.names
    desk.type("emergency\n")
    desk.console.turn()
    assert desk.plant.pm.is_emergency
    desk.turn(20)
    assert desk.console.names["x"] == 5


def test_what_will_start_next_is_listed_line_by_line_as_the_manager_has_it():
    desk = Desk()
    pm = desk.plant.pm
    assert desk.ask("upcoming()") == "= None" and desk.printed("nothing starts: this site has no clock")
    pm.clock = Clock(PosixTZ("CET-1CEST,M3.5.0,M10.5.0/3"), 0)
    desk.ask("upcoming()")
    assert desk.printed("nothing starts: the clock is not set")
    pm.clock.set_text("2026-10-22 09:56:17")
    desk.ask("upcoming()")
    assert desk.printed("nothing starts: the schedule has no entry")
    for hour in (3, 15):
        pm.add_schedule(ScheduleEntry(hour=hour, mode=Mode.CHARGE, power_setpoint=-40, duration_minutes=40))
    pm.add_schedule(ScheduleEntry(hour=9, repeat=False))
    assert desk.ask("upcoming(17)") == "= None"
    told = desk.printed("2026-")
    assert told[0] == "2026-10-22 15:00 CEST  1: CHARGE -40.0 kW 40 min" and len(told) == 17
    assert [line.split("  ")[0] for line in told] == [start["start"] for start in pm.upcoming(17)]
    assert [line for line in told if " 2: " in line] == ["2026-10-23 09:00 CEST  2: IDLE 60 min"]
    pm.enable_scheduling(False)
    desk.ask("upcoming()")
    assert desk.printed("nothing starts: scheduling is off")
    assert "1 to 100" in desk.ask("upcoming(101)") and desk.ask("upcoming(0)")[:2] == "! "


def test_dir_gives_the_names_and_asks_no_property_for_its_value():
    desk = Desk()
    names = eval(desk.ask("dir(pm)")[2:].replace(" ... (cut: longer than 4096 characters)", ""))
    assert "emergency_reason" in names and "set_constant_power" in names and names == sorted(names)
    assert desk.plant.pm.planned is None, "the schedule was not loaded for it"
    assert "pm" in eval(desk.ask("dir()")[2:])
