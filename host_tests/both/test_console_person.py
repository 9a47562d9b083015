"""A person at the console: echo, prompt, history, editing keys, completion; and none of it for programs."""

from firmware.services import commands, console, lines, terminal
from host_tests.both.desk import Desk
from host_tests.both.virtual import Virtual


class Screen:
    """A terminal as a person sees it: text, carriage return, erase to the end of the line, cursor left."""

    def __init__(self):
        self.rows = [""]
        self.at = 0

    def feed(self, data):
        text = data.decode()
        i = 0
        while i < len(text):
            char = text[i]
            i += 1
            if char == "\r":
                self.at = 0
            elif char == "\n":
                self.rows.append("")
                self.at = 0
            elif char == "\x1b":
                end = i + 1
                while text[end] in "0123456789;":
                    end += 1
                number = int(text[i + 1 : end] or "1")
                if text[end] == "K":
                    self.rows[-1] = self.rows[-1][: self.at]
                elif text[end] == "D":
                    self.at -= number
                i = end + 1
            else:
                row = self.rows[-1]
                self.rows[-1] = row[: self.at] + char + row[self.at + 1 :]
                self.at += 1


class Person(Desk):
    """Types keys with pauses between them, and looks at a screen."""

    life = None  # the time of the test that runs

    def __init__(self):
        super().__init__()
        self.screen = Screen()
        self.seen = 0

    def press(self, keys):
        """Keys, and the time to see what they do."""
        self.type(keys)
        self.turn(2)
        self.life.skip(25)
        still = 0
        while still < 4 or self.port.at < len(self.port.typed):
            before = len(self.port.out)
            self.turn()
            still = still + 1 if len(self.port.out) == before else 0
        out = b"".join(self.port.out)
        self.screen.feed(out[self.seen :])
        self.seen = len(out)
        return self.screen.rows[-1]


def in_virtual_time(test):
    """A pause takes no time."""

    def run():
        with Virtual(console, terminal) as life:
            Person.life = life
            test()

    return run


@in_virtual_time
def test_a_program_that_ends_its_lines_with_a_line_feed_sees_no_echo_and_no_prompt():
    desk = Person()
    desk.ask("1 + 1")
    desk.ask("status")
    out = b"".join(desk.port.out)
    assert b"\x1b" not in out and b"> " not in out and b"\r\n= 2\r\n" in b"\r\n" + out


@in_virtual_time
def test_a_person_has_echo_prompt_and_a_greeting_that_says_who_may_do_what():
    desk = Person()
    assert desk.press(b"\r") == "service> "
    assert "no PIN is set" in "\n".join(desk.screen.rows) and "emergency" in "\n".join(desk.screen.rows)
    assert desk.press(b"1 +") == "service> 1 +"
    assert desk.press(b" 1") == "service> 1 + 1"
    desk.press(b"\r")
    assert desk.screen.rows[-3:] == ["service> 1 + 1", "= 2", "service> "]


@in_virtual_time
def test_what_comes_meanwhile_does_not_cut_the_line_being_typed():
    desk = Person()
    desk.press(b"1 + ")
    desk.console.write("pcs: found")
    assert desk.press(b"2") == "service> 1 + 2"
    assert desk.screen.rows[-2] == "pcs: found"


@in_virtual_time
def test_keys_edit_the_line():
    for keys, line in (
        (b"12\x1b[D3", "132"),  # left
        (b"12\x01\x7f3", "312"),  # Ctrl-A, backspace at the beginning
        (b"12\x1b[H3\x1b[F4", "3124"),  # home, end
        (b"12\x1b[1~3\x1b[4~4", "3124"),
        (b"123\x1b[D\x1b[D\x1b[3~", "13"),  # delete
        (b"123\x1b[D\x7f", "13"),
        (b"1 + 2\x1b[D\x1b[D\x0b", "1 +"),  # Ctrl-K
        (b"1 + 2\x1b[D\x15", "2"),  # Ctrl-U
        (b"one two\x17", "one "),  # Ctrl-W
        (b"12\x1b[1;5D3", "132"),  # Ctrl-left
        (b"\xc3\xbc\xe2\x82\xac1\x1b[D\x1b[D2", "\xfc2\u20ac1"),  # letters of two and three bytes
        (b"\xc3\xbc\xe2\x82\xac\x7f1", "\xfc1"),
        (b"a\x1bb", "ab"),  # the escape key alone costs nothing
        (b"1\x03" + b"2", "2"),  # Ctrl-C
    ):
        desk = Person()
        assert desk.press(keys).rstrip() == ("service> " + line).rstrip(), keys
        assert desk.screen.at == len(desk.screen.rows[-1]) or keys[-1:] != b"1", keys


@in_virtual_time
def test_earlier_lines_come_back():
    desk = Person()
    for line in (b"1 + 1", b"2 + 2", b"2 + 2", b"3 + 3"):
        desk.press(line + b"\r")
    assert desk.press(b"\x1b[A") == "service> 3 + 3"
    assert desk.press(b"\x1b[A") == "service> 2 + 2"
    assert desk.press(b"\x1b[A\x1b[A\x1b[A") == "service> 1 + 1", "the same line twice is one, and there are no more"
    assert desk.press(b"\x1b[B") == "service> 2 + 2"
    desk.press(b"\r")
    assert desk.screen.rows[-2] == "= 4"
    assert desk.press(b"\x10") == "service> 2 + 2" and desk.press(b"\x0e") == "service> "
    for i in range(20):
        desk.press(b"%d\r" % i)
    for _ in range(30):
        desk.press(b"\x1b[A")
    assert desk.press(b"") == "service> 12", "the last eight"


@in_virtual_time
def test_tab_completes_commands_names_and_what_things_have():
    desk = Person()
    for typed, whole in (
        (b"stat", "status "),
        (b"disch", "discharge "),
        (b"pm.set_const", "pm.set_constant_power"),
        (b"pm.events.hist", "pm.events.history"),
        (b"print(pm.set_const", "print(pm.set_constant_power"),
        (b"help sched", "help schedule "),
        (b"config max_s", "config max_soc "),
        (b"schedule re", "schedule remove "),
        (b"ChargeP", "ChargeParams "),
        (b"nothing_of_that", "nothing_of_that"),
        (b"1 + ", "1 + "),
    ):
        assert desk.press(typed + b"\t") == "service> " + whole, typed
        desk.press(b"\x15")
    desk.press(b"res\t")
    assert "reset  restore_site  resume" in desk.screen.rows and desk.screen.rows[-1] == "service> res"
    desk.press(b"\x15x = pm\r")
    assert desk.press(b"x.emergency_r\t") == "service> x.emergency_reason"
    assert desk.plant.pm.planned is None, "no property was asked for its value"


@in_virtual_time
def test_long_lines_are_shown_around_the_cursor():
    desk = Person()
    shown = desk.press(b"x = '" + b"0123456789" * 30)
    assert len(shown) < 80 and shown[-10:] == "0123456789"
    assert desk.press(b"\x01")[:14] == "service> x = '" and desk.screen.at == len("service> ")
    desk.press(b"\x05'\r")
    desk.press(b"len(x)\r")
    assert desk.screen.rows[-2] == "= 300"


@in_virtual_time
def test_the_emergency_word_works_whatever_has_been_pressed_before_its_line():
    keys = b"1 + 1\r|\x1b|\x1b[|sta\t\x15|\x1b[A\x1b[A\x15|\x02|\x04|\x80\xff\x03|monitor(100)\n"
    for before in keys.split(b"|"):
        desk = Person()
        desk.press(before)
        desk.type(b"Emergency \r")
        desk.turn(2)
        assert desk.plant.pm.is_emergency, before


@in_virtual_time
def test_keys_without_a_pause_between_them_are_all_taken():
    desk = Person()
    desk.press(b"\r")
    desk.press(b"1 + 1\rsta\t\x1b[A + 3\r2 + 2\r")
    assert [row for row in desk.screen.rows if row[:2] == "= "] == ["= 2", "= 5", "= 4"]


@in_virtual_time
def test_a_program_that_follows_a_person_is_answered_and_crlf_is_one_end():
    desk = Person()
    desk.press(b"1 + 1\r")
    assert desk.ask("2 + 2") == "= 4"
    desk.press(b"3 + 3\r\n4 + 4\r\n")
    assert desk.answers()[-2:] == ["= 6", "= 8"]


@in_virtual_time
def test_ctrl_d_is_no_soft_reset():
    desk = Person()
    desk.press(b"x = 5\r")
    desk.press(b"\x04")
    assert any("not done" in row for row in desk.screen.rows)
    desk.press(b"x\r")
    assert desk.screen.rows[-2] == "= 5"


@in_virtual_time
def test_the_words_that_lines_know_are_those_of_the_table():
    assert sorted(lines.COMMANDS.split()) == sorted([row[0] for row in commands.TABLE])
