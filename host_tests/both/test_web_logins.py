"""Logins of the web server: roles by PINs, wrong ones cost time, and every login ends."""

import os

from httpd.answer import Refused

from firmware import loading
from firmware.services.lines import OPERATE, SERVICE, VIEW
from firmware.services.roles import Roles
from firmware.web.logins import Logins
from host_tests.both import scratch

MINUTE = 60000
_PATH = scratch.place("pins") + ".json"


class Request:
    """As much of a request as a login looks at."""

    def __init__(self, session=None, address="10.0.0.1"):
        self.headers = {} if session is None else {"cookie": "theme=dark; session=%s; x=y" % session.token}
        self.address = address


class Lines:
    """The console's, which know the PINs."""

    def __init__(self, **pins):
        self.roles = Roles(_PATH, self)
        for name in ("service", "operate", "view"):  # the others need a technician's first
            if name in pins:
                self.set(name, pins[name])

    def known(self):
        return self.roles

    def set(self, name, pin):
        """As `pin` at the console does."""
        for _ in self.roles.set_pin(name, pin):
            pass
        os.remove(_PATH)

    def kept(self):
        """The modules that stay, as of an application."""
        return loading.BUILDERS


def whole(work):
    """What a generator returns."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def refused(logins, now, name="operate", pin="wrong", address="10.0.0.1"):
    """The status of a login that is refused."""
    try:
        whole(logins.login(address, name, pin, now))
    except Refused as error:
        return error.status
    raise AssertionError("it was let in")


def logins_of(**pins):
    """Logins, the lines that know the PINs, and what is noted."""
    noted = []
    lines = Lines(**pins)
    return Logins(lines, 30, lambda who, accepted: noted.append((who, accepted))), lines, noted


def test_a_role_has_a_login_once_it_has_a_pin():
    logins, lines, noted = logins_of()
    assert logins.names() == []
    assert refused(logins, 0, "service", "1234") == 409, "there is no default"
    lines.set("service", "98765")
    lines.set("operate", "1234")
    lines.set("view", "2468")
    assert logins.names() == ["view", "operate", "service"]
    now = 0
    for role, name, pin in ((VIEW, "view", "2468"), (OPERATE, "operate", "1234"), (SERVICE, "service", "98765")):
        now += 2000
        assert whole(logins.login("10.0.0.1", name, pin, now)).role == role
        assert refused(logins, now, name, pin + "0") == 401
    assert refused(logins, 90000, "operate", "98765") == 401, "the PIN of another role"
    assert noted[0] == ("web: view 10.0.0.1", True)


def test_what_is_no_login_is_refused():
    logins, _, _ = logins_of(service="98765", operate="1234")
    for name in (None, "root", [], 1):
        assert refused(logins, 0, name, "1234") == 400
    for pin in (None, 1234, "", "1" * 33, {}):
        assert refused(logins, 0, "operate", pin) == 400


def test_wrong_pins_cost_more_and_more_time_also_of_who_knows_the_right_one():
    logins, _, noted = logins_of(service="98765", operate="1234")
    now = 0
    for _ in range(3):
        assert logins.wait_s("10.0.0.1", now) == 0
        assert refused(logins, now) == 401
        now += 1000
    assert noted == [("web: 10.0.0.1", False)], "the third is in the journal"
    assert logins.wait_s("10.0.0.1", now) == 4
    assert refused(logins, now, "operate", "1234") == 429
    assert whole(logins.login("10.0.0.2", "operate", "1234", now)).role == OPERATE, "another place does not wait"
    now += 4000
    assert refused(logins, now) == 401
    assert logins.wait_s("10.0.0.1", now) == 10
    for _ in range(8):
        now += 400000
        assert refused(logins, now) == 401
    assert logins.wait_s("10.0.0.1", now) == 320
    now += 320000
    assert whole(logins.login("10.0.0.1", "operate", "1234", now)).role == OPERATE
    assert refused(logins, now + 5000) == 401, "from the beginning"


def test_many_addresses_get_no_further_than_one_but_who_is_logged_in_does():
    logins, _, _ = logins_of(service="98765", operate="1234")
    mine = whole(logins.login("10.0.0.1", "operate", "1234", 0))
    now = 10000
    for i in range(20):
        assert refused(logins, now, address="10.0.1.%d" % i) == 401
        assert refused(logins, now, address="10.0.2.%d" % i) == 429, "one PIN a second, from wherever"
        now += 1000
    assert logins.wait_s("10.0.3.1", now) == 9
    assert refused(logins, now, "operate", "1234", "10.0.3.1") == 429
    assert logins.wait_s("10.0.0.1", now) == 0
    assert whole(logins.login("10.0.0.1", "service", "98765", now)).role == SERVICE
    assert logins.of(Request(mine), now) is mine


def test_a_viewers_pin_buys_no_tries_at_the_technicians():
    logins, _, noted = logins_of(service="98765", operate="1234", view="2468")
    now = 0
    statuses = []
    for i in range(12):
        now += 2000
        statuses.append(refused(logins, now, "service", "wrong"))
        now += 2000
        try:
            whole(logins.login("10.0.0.1", ("view", "operate")[i % 2], ("2468", "1234")[i % 2], now))
        except Refused as error:
            assert error.status == 429
    assert statuses[:3] == [401, 401, 401] and statuses.count(401) < 6, statuses
    assert ("web: 10.0.0.1", False) in noted
    now += 400000
    assert whole(logins.login("10.0.0.1", "service", "98765", now)).role == SERVICE
    assert logins.wait_s("10.0.0.1", now) == 0
    assert [refused(logins, now + 2000 * i) for i in (1, 2)] == [401, 401]
    now += 2 * 3600000
    assert [refused(logins, now + 2000 * i) for i in (1, 2)] == [401, 401], "an hour later nobody counts them"
    assert logins.wait_s("10.0.0.1", now + 5000) == 0


def test_nor_does_it_end_the_logins_of_who_may_more():
    logins, _, _ = logins_of(service="98765", operate="1234", view="2468")
    mine = whole(logins.login("10.0.0.1", "operate", "1234", 0))
    for i in range(12):
        whole(logins.login("10.0.0.2", "view", "2468", 1000 + i))
    assert logins.count() == 8 and logins.of(Request(mine), 5000) is mine
    for i in range(8):
        whole(logins.login("10.0.0.3", "service", "98765", 6000 + i))
    assert refused(logins, 9000, "operate", "1234") == 503, "all are a technician's"
    assert logins.count() == 8


def test_who_goes_before_he_is_told_has_tried_a_pin_too():
    logins, _, _ = logins_of(service="98765", operate="1234")
    for i in range(3):
        work = logins.login("10.0.0.1", "operate", "0000", 2000 * i)
        next(work)
        work.close()
    assert logins.wait_s("10.0.0.1", 4000) == 5


def test_a_crowd_of_addresses_locks_nobody_out_who_was_in_before_and_has_few_lines_of_the_journal():
    logins, _, noted = logins_of(service="98765", operate="1234")
    logins.end(whole(logins.login("10.0.0.1", "operate", "1234", 0)))
    now = 0
    for i in range(90):
        now += 10000
        assert refused(logins, now, address="10.0.1.%d" % (i % 15)) == 401
    assert logins.wait_s("10.0.1.200", now) == 10
    assert logins.wait_s("10.0.0.1", now) == 0
    assert whole(logins.login("10.0.0.1", "operate", "1234", now + 1000)).role == OPERATE
    assert len({who for who, accepted in noted if not accepted}) == 5


def test_cookies_of_other_servers_hide_none_of_ours():
    logins, _, _ = logins_of(service="98765")
    mine = whole(logins.login("10.0.0.1", "service", "98765", 0))
    for cookie in ("mysession=1; session=%s", "session=of another port; session=%s", "session=%s; session=x"):
        request = Request()
        request.headers["cookie"] = cookie % mine.token
        assert logins.of(request, 0) is mine, cookie


def test_a_login_ends_with_its_time_its_pin_and_logout():
    logins, lines, _ = logins_of(service="98765", operate="1234")
    first = whole(logins.login("10.0.0.1", "operate", "1234", 0))
    assert logins.of(Request(first), 29 * MINUTE) is first
    assert logins.left_s(first, 29 * MINUTE) == 1800
    assert logins.of(Request(first), 58 * MINUTE) is first, "asking keeps it"
    assert logins.of(Request(first), 88 * MINUTE) is None, "nothing was asked for half an hour"
    assert (logins.count(), first.is_over) == (0, True)
    second = whole(logins.login("10.0.0.1", "operate", "1234", 0))
    for minute in range(20, 720, 20):
        assert logins.of(Request(second), minute * MINUTE) is second
    assert logins.of(Request(second), 720 * MINUTE) is None, "12 h after it, whatever was asked"
    third = whole(logins.login("10.0.0.1", "operate", "1234", 0))
    other = whole(logins.login("10.0.0.1", "service", "98765", 0))
    lines.set("operate", "5678")
    assert logins.of(Request(third), 1000) is None, "its PIN is another"
    assert logins.of(Request(other), 1000) is other
    logins.end(other)
    assert logins.of(Request(other), 1000) is None


def test_tokens_are_long_and_never_the_same_and_a_stranger_has_none():
    logins, _, _ = logins_of(service="98765")
    some = [whole(logins.login("10.0.0.1", "service", "98765", 0)) for _ in range(8)]
    assert len({one.token for one in some} | {one.csrf for one in some}) == 16
    assert min([len(one.token) for one in some]) == 32
    for cookie in ("", "session", "session=", "session=" + "0" * 32, "Session=" + some[0].token, "session=" + some[0].token[:31]):
        request = Request()
        request.headers["cookie"] = cookie
        assert logins.of(request, 0) is None, cookie
    logins.of(Request(some[0]), 1000)
    ninth = whole(logins.login("10.0.0.1", "service", "98765", 2000))
    assert logins.count() == 8, "the one idle for longest has gone"
    assert logins.of(Request(some[0]), 2000) is some[0]
    assert logins.of(Request(ninth), 2000) is ninth


def test_pins_that_cannot_be_read_let_nobody_in():
    logins, lines, _ = logins_of(service="98765")
    session = whole(logins.login("10.0.0.1", "service", "98765", 0))
    lines.roles.problem = "damaged"
    assert logins.of(Request(session), 0) is None
    assert refused(logins, 5000, "service", "98765") == 409
    assert logins.names() == []


def test_looking_at_a_pin_is_done_in_pieces():
    logins, _, _ = logins_of(service="98765")
    work = logins.login("10.0.0.1", "service", "98765", 0)
    assert len(list(work)) >= 8


def test_a_pin_that_is_changed_while_it_is_looked_at_lets_nobody_in():
    for pin, status in (("5678", 401), ("off", 401)):
        for steps in range(1, 8):
            logins, lines, noted = logins_of(service="98765", operate="1234")
            work = logins.login("10.0.0.1", "operate", "1234", 0)
            for _ in range(steps):
                next(work)
            lines.set("operate", pin)
            try:
                session = whole(work)
            except Refused as error:
                assert error.status == status, pin
            else:
                raise AssertionError("let in as %s by a PIN that is none any more, with %s" % (session.who, pin))
            assert logins.count() == 0 and noted == [], pin
            assert refused(logins, 2000, "operate", "1234") in (401, 409), "and it stays wrong"
