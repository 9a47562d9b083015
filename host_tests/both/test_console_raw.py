"""Programs at the console: the raw REPL with raw paste as mpremote speaks it, its bounds, and what comes between."""

import random

import micropython

from firmware.event_codes import Event
from firmware.modes import Mode
from firmware.services.rawrepl import RawRepl
from firmware.services.terminal import Terminal
from host_tests.both.desk import Desk
from host_tests.both.plant import Plant

BANNER = b"raw REPL; CTRL-B to exit\r\n>"


class Host(Desk):
    """A host that waits for what it needs before it goes on."""

    def __init__(self, *given):
        super().__init__(*given)
        self.seen = 0

    def type(self, text):
        self.port.typed, self.port.at = self.port.typed[self.port.at :], 0  # what has been read takes no memory
        super().type(text)

    def get(self, ending, turns=3000):
        """What came up to that; AssertionError where it does not come."""
        for _ in range(turns):
            out = b"".join(self.port.out)
            at = out.find(ending, self.seen)
            if at >= 0:
                said = out[self.seen : at + len(ending)]
                self.seen = at + len(ending)
                return said
            self.turn()
        raise AssertionError("%r did not come: %r" % (ending, b"".join(self.port.out)[self.seen :][-200:]))

    def enter(self, soft_reset=False):
        """As mpremote does."""
        self.type(b"\r\x03\r\x01")
        self.get(BANNER)
        if soft_reset:
            self.type(b"\x04")
            self.get(b"soft reboot\r\n")
            self.get(BANNER)
        return self

    def leave(self):
        self.type(b"\r\x02")
        self.get(b"\r\n")

    def run(self, program):
        """(output, error) of a program, sent at once."""
        self.type((program if isinstance(program, bytes) else program.encode()) + b"\x04")
        self.get(b"OK")
        return self.follow()

    def follow(self):
        output = self.get(b"\x04")[:-1]
        error = self.get(b"\x04")[:-1]
        self.get(b">")
        return output, error

    def paste(self, program):
        """(output, error) of a program, sent by windows."""
        self.type(b"\x05A\x01")
        self.get(b"R\x01")
        out = b"".join(self.port.out)
        while len(out) < self.seen + 2:
            self.turn()
            out = b"".join(self.port.out)
        window = out[self.seen] + 256 * out[self.seen + 1]
        self.seen += 2
        left = window
        program = program if isinstance(program, bytes) else program.encode()
        at = 0
        while at < len(program):
            while left == 0:
                self.get(b"\x01")
                left += window
            self.type(program[at : at + left])
            at, left = at + left, max(0, at + left - len(program))
        self.type(b"\x04")
        self.get(b"\x04")
        return self.follow()


def answers_again(host):
    """Whatever has been sent: a host that begins anew is served, and so is a person."""
    host.type(b"\r\x03\x03\r\x01\x04")
    host.get(b"soft reboot\r\n" + BANNER)
    assert host.paste("print(6 * 7)") == (b"42\r\n", b"")
    host.leave()
    assert host.ask("1 + 1") == "= 2"


def test_programs_run_and_what_they_print_comes_back():
    host = Host().enter(soft_reset=True)
    for way in (host.run, host.paste):
        assert way("print(6 * 7)") == (b"42\r\n", b"")
        assert way("print(repr([1, 'x']), end=',')\nprint(2, 3, sep='')") == (b"[1, 'x'],23\r\n", b"")
        assert way("x = 5\ndef f():\n  return x\n") == (b"", b"")
        assert way("print(f(), __name__)") == (b"5 __main__\r\n", b"")
        assert way("print(b'\\x00\\xff', '\xfc\u20ac')") == (b"b'\\x00\\xff' \xc3\xbc\xe2\x82\xac\r\n", b"")
    assert host.paste("") == (b"", b"")
    host.leave()
    assert host.ask("x") == "= 5", "the names are the console's"


def test_what_a_program_raises_is_its_error_with_a_trace_of_its_own():
    host = Host().enter()
    for way in (host.run, host.paste):
        output, error = way("print(1)\ndef f():\n  1 / 0\nf()")
        assert output == b"1\r\n"
        lines = error.decode().split("\r\n")
        assert lines[0] == "Traceback (most recent call last):" and lines[1][:15] == '  File "<stdin>'
        assert "ZeroDivision" in lines[-2] and "console.py" not in error.decode()
        assert b"SyntaxError" in way("1 +")[1]
        assert b"OSError" in way("raise OSError(2)")[1]
        assert way("print(1)\nraise SystemExit")[0] == b"1\r\n"
        assert way("1") == (b"", b"")


def test_what_shows_something_shows_it_to_a_program_of_one_line_and_to_eval():
    host = Host().enter()
    for way in (host.run, host.paste):
        for line, said in (
            ("status()", b"battery: SoC"), ("status", b"battery: SoC"), ("why()", b"nobody asks"), ("limits()", b"at most, kW"),
            ("limits", b"configuration"), ("events 3", b" s  "), ("events()", b" s  "), ("devices", b"bms: frames 7"),
            ("devices()", b"'bms'"), ("services()", b"console: dropped 0"),
            ("help", b"charge 20kW"), ("help(pm)", b"set_constant_power"),
            ("config", b"cycle_ms"),
            ("print(status())", b"battery: SoC"), ("print(limits())", b"configuration"), ("(n for n in (1, 2))", b"1\r\n2\r\n"),
        ):  # fmt: skip
            output, error = way(line)
            assert said in output and error == b"" and b"generator" not in output and output[:2] != b"= ", (line, output, error)
        assert way("status()\n")[0] == way("status")[0]
        assert way("charge 5kW 30min") == (b"accepted\r\n", b"") and way("monitor off") == (b"", b"")
        for line in ("1 + 1", "x = 3", "pm.mode", "'text'", "x = status()", "None", "status()\nwhy()", "pm.stats()"):
            assert way(line) == (b"", b""), "as on any board: %s" % line
        for line, said in (
            ("charge 20", b"charge 20: its unit is missing"), ("statsu", b"did you mean status?"),
            ("chrage 20kW", b"did you mean charge?"), ("pm.start", b"pm.start() calls it"),
            ("print(events())", b"events is a command"), ("(1 / n for n in (1, 0))", b"ZeroDivision"),
        ):  # fmt: skip
            error = way(line)[1]
            assert said in error and b"console" not in error and b"commands.py" not in error, line
        assert b"Traceback" not in way("charge 20")[1] and b"Traceback" not in way("help statsu")[1], "as at the prompt"
    host.leave()
    assert host.ask("print(limits())") == "= None" and host.printed("configuration ")


def test_control_keys_do_what_they_do_on_a_board():
    host = Host().enter()
    host.type(b"print(1)\x03print(2)\x04")
    host.get(b"OK")
    assert host.follow() == (b"2\r\n", b"")
    host.type(b"print(1)\x01")
    host.get(BANNER)
    host.type(b"\x05B\x01")
    host.get(b"R\x00")
    assert host.run("print(3)") == (b"3\r\n", b"")
    host.type(b"\x05A\x01print(1)\x03")
    host.get(b"\x04")
    output, error = host.follow()
    assert output == b"" and b"KeyboardInterrupt" in error
    host.leave()
    assert host.ask("2") == "= 2"


def test_a_long_program_comes_by_windows_and_one_too_long_is_refused_whole():
    host = Host().enter()
    host.paste("n = 0")
    assert host.paste("n += 1\n" * 2000 + "print(n)") == (b"2000\r\n", b"")
    assert host.paste("n = -1\n" * 4000)[1][:12] == b"MemoryError:"
    assert host.run("n = -1\n" * 4000)[1][:12] == b"MemoryError:"
    assert host.paste("print(n)") == (b"2000\r\n", b"")
    answers_again(host)


def test_what_a_program_prints_is_whole_or_an_error():
    host = Host().enter()
    host.app.metering.free_bytes = 100000
    assert host.paste("for i in range(300): print('line', i)")[0] == b"".join(b"line %d\r\n" % i for i in range(300))
    output, error = host.paste("for i in range(30000): print('line', i)")
    assert b"MemoryError" in error and b"prints more" in error and output[:16] == b"line 0\r\nline 1\r\n"
    assert host.paste("print(1)") == (b"1\r\n", b"")


def test_nothing_else_is_printed_while_programs_are_read_and_then_it_is():
    host = Host()
    host.ask("monitor(100)")
    host.enter()
    host.console.write("pcs: found")
    before = len(b"".join(host.port.out))
    for i in range(100):
        with host.plant.image.lock:
            host.plant.pm.events.post(Event.CLOCK_SET, i, 5)
        host.console.write("y" * 100)
        host.turn(3)
    assert len(b"".join(host.port.out)) == before
    assert host.paste("print(1)") == (b"1\r\n", b"")
    host.leave()
    host.turn(400)
    assert host.printed("pcs: found") and host.printed("were dropped") and host.printed('"soc"')
    assert len(host.printed('"event": "CLOCK_SET"')) == 64, "the last of them"


def test_what_a_program_stores_is_stored_before_its_answer():
    host = Host().enter()
    steps = []

    def saving(_content):
        for n in range(3):
            yield
            steps.append(n)
        raise OSError(28)

    host.app.saving = saving
    output, error = host.paste("save_site({})\nprint(1)")
    assert output == b"1\r\n" and b"OSError" in error and steps == [0, 1, 2]


def running():
    plant = Plant().ready()
    plant.pm.set_constant_power(20)
    plant.run(5)
    return Host(plant)


def test_an_emergency_waits_for_no_end_of_a_program():
    long = b"n = -1\n" * 4000
    for before in (b"", b"x = 1\n", b"\x05A\x01", b"\x05A\x01x = 1\r\n", long, b"\x05A\x01" + long, b"\x05A"):
        for word in (b"\nemergency\r", b"\npm.emergency_shutdown()\n", b"\r\n  EMERGENCY() \r"):
            host = running().enter()
            host.type(before + word)
            host.turn(400)
            assert host.plant.pm.mode == Mode.EMERGENCY, (before[:20], word)
            answers_again(host)


def test_an_emergency_as_a_program_says_what_became_of_it():
    for way in ("run", "paste"):
        host = running().enter()
        assert getattr(host, way)("emergency") == (b"False\r\n", b""), "nothing here stores it"
        assert host.plant.pm.mode == Mode.EMERGENCY
    host = running().enter()
    for text in ("'emergency'\n", "# emergency\n", "x = '''\nemergency stop\n'''", "emergency1 = 2\n"):
        host.paste(text)
    assert host.plant.pm.mode == Mode.DISCHARGE


def test_random_bytes_never_cost_the_console_nor_control():
    chance = random.getrandbits
    random.seed(5)
    pieces = [b"\x05A\x01", b"\x1b[A", b"\x1b[", b"print(1)", b"1/0", b"x" * 200, b"status", b"help", b"(", b"'", b"\xff", b"\xc3"]
    pieces += [bytes([code]) for code in (1, 2, 3, 4, 5, 10, 13, 27, 9, 127, 0, 16, 21)]
    for _ in range(40):
        host = Host()
        before = (host.plant.pm.mode, host.plant.pm.claims())
        for _ in range(60):
            which = chance(6)
            host.type(pieces[which] if which < len(pieces) else bytes([chance(8)]))
            if chance(2) == 0:
                host.turn()
        host.turn(50)
        answers_again(host)
        assert (host.plant.pm.mode, host.plant.pm.claims()) == before


class Port:
    """A serial port that takes everything."""

    sent = b""

    def write(self, data):
        self.sent += bytes(data)
        return len(data)


def test_the_end_of_an_answer_that_cannot_be_made_needs_no_heap():
    """Not even the table of names grows by it, whose next entry may want a piece that is not there."""
    port = Port()
    terminal = Terminal(port)
    programs = RawRepl(terminal)
    programs.run("= 1", None, 100000)
    names = ["name%d" % i for i in range(200)]  # what the table has place for without heap is taken
    micropython.heap_lock()
    try:
        try:
            for name in names:
                getattr(terminal, name, None)
        except MemoryError:
            pass
        programs.give_up()
    finally:
        micropython.heap_unlock()
    terminal.drain()
    assert port.sent == b"\x04MemoryError: the heap is full\r\n\x04>"
