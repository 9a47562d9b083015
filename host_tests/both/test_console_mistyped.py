"""What the console says of a line that was mistyped: the word, and the command that is probably meant."""

from host_tests.both.desk import Desk


def test_a_word_that_is_no_command_is_named_with_the_one_that_is_meant():
    desk = Desk()
    before = desk.plant.pm.claims()
    for line, word, meant in (
        ("statsu", "statsu", "status"), ("Status", "Status", "status"), ("stat", "stat", "status"), ("limts", "limts", "limits"),
        ("chrage 20kW 30min", "chrage", "charge"), ("disharge 5kW", "disharge", "discharge"), ("STOP", "STOP", "stop"),
        ("shedule add 01:00 charge 40kW 4h", "shedule", "schedule"), ("evnts 5", "evnts", "events"),
        ("emergncy", "emergncy", "emergency"),
        ("hlep", "hlep", "help"), ("rsume -5", "rsume", "resume"),
    ):  # fmt: skip
        assert desk.ask(line) == "! %s: not a command; did you mean %s? `help` lists all" % (word, meant), line
    for line in ("nonsense", "halt", "print 5", "pm start", "set_power 20kW", "xy"):
        assert desk.ask(line) == "! %s: not a command; `help` lists all" % line.split()[0], line
    assert desk.ask("help statsu") == "! PowerError: statsu: not a command; did you mean status? `help` lists all"
    assert desk.plant.pm.claims() == before
    for line in ("for x in", "import", "while True", "statsu = = 5", "if statsu", "1 +"):
        assert desk.ask(line)[:14] == "! SyntaxError:", line
    for line in ("statsu.x", "statsu()", "x = statsu", "statsu + 1", "[statsu]"):
        assert desk.ask(line)[:12] == "! NameError:", line
    assert desk.ask("statsu = 5") == "= None" and desk.ask("statsu") == "= 5", "a line of Python is one"
