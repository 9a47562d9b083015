"""Who may read and command over the EMS's servers: addresses, one controller at a time, and what of it is kept."""

import micropython
from rows import each

from firmware import image as im
from firmware import remote
from firmware.ems import access, allowing

SITE = {"192.168.1.10": "control", "192.168.1.0/24": "read-only", "192.168.1.66": "off", "10.0.0.5": "service"}


class Ticks:
    """A clock that only goes when it is told."""

    def __init__(self):
        self.ms = 1000

    def ticks_ms(self):
        return self.ms & 0x3FFFFFFF

    def ticks_diff(self, a, b):
        return ((a - b + 0x20000000) & 0x3FFFFFFF) - 0x20000000


class Records:
    """The journal of a site: the lines that it was given."""

    def __init__(self):
        self.lines = []
        self.records = self

    def log(self, _clock, name, data=0, _urgent=False):
        self.lines.append((name, data))


class App:
    """As much of the application as access looks at."""

    def __init__(self, keeps_records=True):
        self.pm = self
        self.image = im.Image()
        self.clock = None
        self.services = {"records": Records()} if keeps_records else {}
        self.remote = remote.Remote(self)


def _rig(clients=4, keeps_records=True, **given):
    options = {row[0]: row[2] for row in each(allowing.OPTIONS)}
    options["allow"] = SITE
    options.update(given)
    app = App(keeps_records)
    clock = access.time = remote.time = Ticks()
    return access.Access(options, clients, app), app, clock


def _tell(gate):
    for _ in range(40):
        gate.tell()


def test_the_narrowest_entry_that_holds_an_address_decides():
    gate = _rig()[0]
    for address, rights in (("192.168.1.10", 2), ("192.168.1.11", 1), ("192.168.1.66", 0), ("10.0.0.5", 3), ("172.16.3.4", 1)):
        assert gate.rank(address) == rights, address


def test_control_over_plain_tcp_is_for_this_machine_and_who_is_allowed():
    gate = _rig(allow={})[0]
    assert gate.rank("127.0.0.1") == access.CONTROL
    assert gate.rank("192.168.1.10") == access.READ
    assert _rig(allow={"127.0.0.0/8": "off"})[0].rank("127.0.0.1") == access.OFF
    assert _rig(allow={}, others="off")[0].rank("192.168.1.10") == access.OFF


def test_who_has_no_rights_is_not_let_in():
    gate = _rig()[0]
    assert gate.opened(0, "192.168.1.10") and gate.role(0) == access.CONTROL
    assert not gate.opened(1, "192.168.1.66") and gate.role(1) == access.OFF
    assert not gate.opened(1, "no address")


def test_a_serial_line_has_the_rights_of_its_option():
    gate = _rig(serial_rights="service")[0]
    assert gate.opened(3, access.SERIAL) and gate.role(3) == access.SERVICE


def test_a_certificate_has_the_rights_of_its_role_and_none_without_a_known_one():
    gate = _rig()[0]
    assert not gate.opened(0, "172.16.3.4", "GridServiceSunSpec"), "no roles are known before they are given"
    gate.roles = {"ReadOnlySunSpec": 1, "GridServiceSunSpec": 2}
    assert gate.opened(0, "172.16.3.4", "GridServiceSunSpec") and gate.role(0) == access.CONTROL
    assert gate.opened(1, "192.168.1.10", "ReadOnlySunSpec") and gate.role(1) == access.READ
    assert not gate.opened(2, "192.168.1.10", "") and not gate.opened(2, "192.168.1.10", "gridservicesunspec")
    assert gate.who(0) == "172.16.3.4 GridServiceSunSpec"
    assert gate.is_shut_out("192.168.1.66") and not gate.is_shut_out("172.16.3.4")


def test_one_controls_and_the_other_is_told():
    gate = _rig()[0]
    for client in (0, 1):
        assert gate.opened(client, "192.168.1.10")
    assert gate.take(0) == 0 and gate.take(0) == 0 and gate.controller == 0
    assert gate.take(1) == access.BUSY and gate.controller == 0
    gate.closed(0)
    assert gate.controller == -1 and gate.take(1) == 0 and gate.controller == 1


def test_who_controls_keeps_the_seat_by_commands_and_heartbeats_and_not_by_reading():
    gate, _, clock = _rig(seat_s=30)
    for client in (0, 1):
        assert gate.opened(client, "127.0.0.1")
    assert gate.take(0) == 0
    clock.ms += 29000
    assert gate.take(1) == access.BUSY
    gate.keep(0)
    gate.keep(1)
    clock.ms += 29000
    assert gate.take(1) == access.BUSY, "its heart has beaten meanwhile"
    assert gate.take(0) == 0
    for _ in range(30):
        clock.ms += 1000
        gate.asked(0, clock.ms)
        gate.tell()
    assert gate.controller == -1, "it only reads"
    assert not [one["who"] for one in gate.clients() if one["controls"]]
    gate.keep(0)
    assert gate.controller == -1 and gate.take(1) == 0 and gate.controller == 1
    assert gate.take(0) == access.BUSY


def test_a_seat_is_free_after_days_of_silence_too():
    for days in (1, 6, 7, 9, 12):
        gate, _, clock = _rig()
        gate.opened(0, "127.0.0.1")
        gate.opened(1, "127.0.0.1")
        assert gate.take(0) == 0
        clock.ms += days * 86400000
        assert gate.take(1) == 0, days


def test_who_may_only_read_commands_nothing_and_takes_no_seat():
    gate = _rig()[0]
    gate.opened(0, "172.16.3.4")
    assert gate.take(0) == access.ILLEGAL_FUNCTION and gate.controller == -1
    assert gate.take(2) == access.ILLEGAL_FUNCTION, "nobody is there"


def test_commands_that_come_too_fast_are_busy_until_the_next_second():
    gate, _, clock = _rig(commands_per_s=3)
    gate.opened(0, "127.0.0.1")
    assert [gate.take(0) for _ in range(5)] == [0, 0, 0, access.BUSY, access.BUSY]
    clock.ms += 1000
    assert gate.take(0) == 0


def test_requests_that_come_too_fast_wait_for_the_rest_of_their_second():
    gate, _, clock = _rig(requests_per_s=3)
    gate.opened(0, "127.0.0.1")
    gate.opened(1, "127.0.0.1")
    assert [gate.asked(0, clock.ms), gate.asked(0, clock.ms + 100)] == [0, 0]
    assert gate.asked(0, clock.ms + 400) == 600
    assert gate.asked(1, clock.ms + 400) == 0, "another is not held up"
    assert gate.asked(0, clock.ms + 1000) == 0
    free = _rig(requests_per_s=0)[0]
    free.opened(0, "127.0.0.1")
    assert not any(free.asked(0, 1000) for _ in range(2000))


def test_a_command_is_in_the_journal_with_who_what_and_whether_it_was_accepted():
    gate, app, _ = _rig()
    gate.opened(0, "192.168.1.10")
    gate.opened(1, "172.16.3.4")
    gate.note(0, True, "WSet", -5000)
    gate.note(1, False, "WSet", 7000)
    _tell(gate)
    assert app.services["records"].lines == [("EMS 192.168.1.10 WSet", -5000), ("EMS REFUSED 172.16.3.4 WSet", 7000)]
    assert [(one["who"], one["accepted"], one["value"], one["count"]) for one in gate.commands()] == [
        ("192.168.1.10", True, -5000, 1),
        ("172.16.3.4", False, 7000, 1),
    ]


def test_a_value_beyond_all_bounds_is_kept_as_the_largest():
    gate = _rig()[0]
    gate.opened(0, "127.0.0.1")
    for value, kept in ((0xFFFFFFFF, 0x3FFFFFFF), (-0x80000000, -0x3FFFFFFF)):
        gate.note(0, True, "WSetRvrtTms", value)
        assert gate.commands()[0]["value"] == kept


def test_what_is_repeated_is_one_line_more_and_the_window_after_begins_anew():
    gate, app, _ = _rig()
    gate.opened(0, "192.168.1.10")
    for second in range(600):
        app.image.now[im.UPTIME_S] = second
        gate.note(0, True, "WSet", second)
        gate.tell()
    lines = app.services["records"].lines
    assert lines == [("EMS 192.168.1.10 WSet", 0)]
    app.image.now[im.UPTIME_S] = 600
    _tell(gate)
    assert lines[1:] == [("EMS 192.168.1.10 WSet x599", 599)] and gate.commands() == []
    gate.note(0, True, "WSet", 4)
    _tell(gate)
    assert lines[2:] == [("EMS 192.168.1.10 WSet", 4)]


def test_what_stays_the_same_is_one_line_however_long_it_is_repeated_and_a_change_is_one_more():
    gate, app, _ = _rig()
    gate.opened(0, "192.168.1.10")
    lines = app.services["records"].lines
    for second in range(0, 3000, 5):
        app.image.now[im.UPTIME_S] = second
        gate.note(0, True, "WSet", 500)
        gate.note(0, True, "WSet", 500)
        gate.tell()
    assert lines == [("EMS 192.168.1.10 WSet x2", 500)]
    for second in range(3000, 3700, 5):
        app.image.now[im.UPTIME_S] = second
        gate.note(0, True, "WSet", 700)
        gate.tell()
    assert lines[1:] == [("EMS 192.168.1.10 WSet x239", 700)]


def test_a_flood_writes_few_lines_and_does_not_hide_what_another_commands():
    gate, app, _ = _rig()
    gate.opened(0, "192.168.1.11")
    gate.opened(1, "192.168.1.10")
    points = ["point %d" % i for i in range(50)]
    for turn in range(20):
        for point in points:
            gate.note(0, False, point, turn)
        gate.tell()
    gate.note(1, True, "WSet", 5000)
    _tell(gate)
    lines = app.services["records"].lines
    assert ("EMS 192.168.1.10 WSet", 5000) in lines
    assert len(lines) <= 8
    app.image.now[im.UPTIME_S] = 700
    _tell(gate)
    assert len(lines) <= 16
    counted = sum([1 if " x" not in name else int(name.rsplit("x", 1)[1]) for name, _ in lines])
    assert counted + gate.seat.commands.lost == 20 * 50 + 1, "nothing is forgotten: what is not told apart is counted"


def test_a_flood_from_many_addresses_fills_no_more_than_the_table_and_is_counted():
    gate, app, _ = _rig(others="control", allow={})
    for host in range(200):
        gate.opened(0, "10.1.1.%d" % host)
        gate.note(0, True, "WSet", host)
        gate.closed(0)
    _tell(gate)
    assert len(app.services["records"].lines) == 16 and gate.seat.commands.lost == 184
    assert len(gate.commands()) == 16


def test_a_connection_beside_one_that_asks_is_another_program_s():
    gate, _, _ = _rig()
    gate.opened(0, "192.168.1.10")
    gate.opened(1, "192.168.1.10")
    gate.opened(2, "10.0.0.5")
    gate.here(0)
    assert [gate.is_beside(client) for client in range(3)] == [False, True, False]
    gate.closed(2)
    gate.opened(2, "192.168.1.10")
    assert not gate.is_beside(2), "the first may be gone, and this be the same, that connects anew"
    gate.here(0)
    assert gate.is_beside(2), "but it is there"
    gate.closed(0)
    gate.opened(0, "192.168.1.10")
    assert not gate.is_beside(0) and gate.is_beside(1) and gate.is_beside(2)


def _noted(gate, who, point, accepted=True, value=1):
    gate.seat.commands.note(who, accepted, point, value)


def test_refusals_from_many_addresses_hide_no_command_that_was_accepted():
    gate, app, _ = _rig(others="read-only", allow={})
    for host in range(16):
        gate.opened(0, "10.1.1.%d" % host)
        gate.note(0, False, "read-only register", 7)
        gate.closed(0)
    _tell(gate)
    for point in ("power", "stop", "start"):
        _noted(gate, "mqtt: bess", point)
    _noted(gate, "mqtt: bess", "emergency")
    _tell(gate)
    told = [name for name, _ in app.services["records"].lines]
    for point in ("power", "stop", "start", "emergency"):
        assert "MQTT bess " + point in told
        assert point in [one["point"] for one in gate.commands()]
    _noted(gate, "10.1.1.99", "read-only register", False)
    assert gate.seat.commands.lost == 1, "a refusal displaces nothing"


def test_what_was_not_told_yet_of_a_displaced_refusal_is_counted():
    gate, app, _ = _rig()
    for host in range(16):
        for _ in range(3):
            _noted(gate, "10.1.1.%d" % host, "WSet", False)
    _noted(gate, "mqtt: bess", "power")
    assert gate.seat.commands.lost == 3
    _tell(gate)
    _noted(gate, "mqtt: bess", "stop")
    assert gate.seat.commands.lost == 3, "it was in the journal"


def test_an_accepted_command_displaces_the_oldest_that_was_told_and_none_that_waits():
    gate, app, _ = _rig()
    for host in range(16):
        app.image.now[im.UPTIME_S] = host
        _noted(gate, "10.1.1.%d" % host, "WSet")
    _noted(gate, "mqtt: bess", "power")
    assert gate.seat.commands.lost == 1 and "mqtt: bess" not in [one["who"] for one in gate.commands()]
    _tell(gate)
    _noted(gate, "mqtt: bess", "power")
    there = [one["who"] for one in gate.commands()]
    assert "mqtt: bess" in there and "10.1.1.0" not in there and "10.1.1.1" in there and gate.seat.commands.lost == 1


def test_an_emergency_is_told_whatever_stands_in_the_table():
    gate, app, _ = _rig()
    for host in range(16):
        _noted(gate, "10.1.1.%d" % host, "WSet")
    _noted(gate, "mqtt: bess", "emergency")
    assert gate.seat.commands.lost == 1
    for i in range(20):
        _noted(gate, "mqtt: other", "point %d" % i)
    _noted(gate, "mqtt: other", "emergency")
    _tell(gate)
    told = [name for name, _ in app.services["records"].lines]
    assert "MQTT bess emergency" in told and "MQTT other emergency" in told


def test_what_one_was_refused_does_not_take_the_place_of_what_was_accepted_of_it():
    gate, app, _ = _rig()
    for i in range(9):
        _noted(gate, "mqtt: bess", "point %d" % i, False)
    for point in ("power", "stop", "start"):
        _noted(gate, "mqtt: bess", point)
    _tell(gate)
    told = [name for name, _ in app.services["records"].lines]
    assert "MQTT bess power" in told and "MQTT bess stop" in told and "MQTT bess start" in told
    assert len(gate.commands()) <= 8


def test_of_what_was_accepted_of_one_client_more_points_are_told_apart_than_of_what_was_refused():
    gate, app, _ = _rig()
    for i in range(20):
        _noted(gate, "192.168.1.10", "point %d" % i)
        _noted(gate, "192.168.1.66", "point %d" % i, False)
    _tell(gate)
    told = [name for name, _ in app.services["records"].lines]
    assert "EMS 192.168.1.10 point 7" in told and "EMS 192.168.1.10 point 8" not in told
    assert len([name for name in told if "REFUSED" in name]) == 6, "five points, and the others"
    assert "EMS 192.168.1.10 other points x12" in told
    _noted(gate, "192.168.1.10", "point 0", False)
    _tell(gate)
    assert "EMS REFUSED 192.168.1.10 other points" in told + [name for name, _ in app.services["records"].lines]


def test_without_records_people_can_still_see_what_was_commanded():
    gate = _rig(keeps_records=False)[0]
    gate.opened(0, "127.0.0.1")
    gate.note(0, True, "WSet", 1)
    _tell(gate)
    assert gate.commands()[0]["point"] == "WSet"
    gate.take(0)
    assert gate.clients() == [{"who": "127.0.0.1", "rights": "control", "controls": True}]


def test_asking_taking_and_noting_allocate_nothing():
    gate, _, clock = _rig()
    gate.opened(0, "192.168.1.10")
    gate.opened(1, "192.168.1.11")
    names = ["10.1.1.%d" % host for host in range(20)]
    locked = getattr(micropython, "heap_lock", None)
    if locked is not None:
        locked()
    try:
        for i in range(200):
            gate.asked(0, 5000 + i)
            gate.take(0)
            gate.take(1)
            gate.role(1)
            gate.here(i & 1)
            gate.is_beside(0)
            gate.note(0, True, "WSet", i)
            gate.note(1, False, "WMaxLimPct" if i & 1 else "WSet", i)
        for name in names:
            gate.seat.commands.note(name, False, "WSet", 1)
        gate.seat.commands.note(names[0], True, "emergency", 1)
    finally:
        if locked is not None:
            micropython.heap_unlock()
    assert gate.commands()[0]["count"] == 200 and "emergency" in [one["point"] for one in gate.commands()]


def test_what_is_wrong_with_an_allow_list_is_named():
    for allow, words in (
        ({"192.168.1": "control"}, "must be an address such as"),
        ({"192.168.1.300": "control"}, "must be an address such as"),
        ({"192.168.1.10/24": "control"}, "must be an address such as"),
        ({"192.168.1.0/33": "control"}, "must be an address such as"),
        ({"host": "control"}, "'host'"),
        ({"192.168.1.10": "all"}, "allowed are off, read-only, control, service"),
        ({"192.168.1.10": ["control"]}, "allowed are off, read-only, control, service"),
        ([], "must be an object"),
        ({"10.0.0.%d" % i: "off" for i in range(17)}, "at most 16"),
    ):
        errors = []
        allowing.check("services.ems", {"allow": allow}, errors)
        assert len(errors) == 1 and errors[0].startswith("services.ems.allow") and words in errors[0], (allow, errors)
    errors = []
    allowing.check("services.ems", {"allow": SITE}, errors)
    assert errors == []
