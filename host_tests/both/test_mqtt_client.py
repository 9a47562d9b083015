"""The MQTT client: what it says on the wire, what it promises, and what a broker that lies can do to it: end the connection."""

import time

from host_tests.both.mqttbroker import Rig, Socket, message, packet, text


def refused(what, *given):
    """The error of a call that must fail."""
    try:
        what(*given)
    except OSError as error:
        return str(error)
    raise AssertionError("it was accepted")


def test_a_session_begins_with_user_password_and_a_will_that_is_retained():
    rig = Rig(connected=False, keepalive_s=300)
    rig.do(rig.client.connect(rig.sock))
    ((kind, body),) = rig.sock.packets()
    assert kind == 0x10
    said = [text(one) for one in ("bess-1", "bess/status", "offline", "me", "secret")]
    assert body == b"\x00\x04MQTT\x04\xee\x01\x2c" + b"".join(said)
    assert rig.client.connected


def test_why_a_broker_refuses_is_said_and_the_socket_is_closed():
    for code, words in ((4, "user or password"), (5, "not authorised"), (200, "code 200")):
        rig = Rig(connected=False)
        rig.sock.answers[0x10] = packet(0x20, bytes((0, code)))
        assert words in refused(rig.do, rig.client.connect(rig.sock))
        assert rig.sock.closed and not rig.client.connected


def test_what_comes_is_taken_whole_however_it_is_cut_and_acknowledged_at_qos_1():
    for most in (1, 2, 3, 7, 4096):
        rig = Rig()
        rig.sock.most = most
        rig.receive(message("a/command", b'{"do":"stop"}', 1, 513) + message("b", b"", 0, retain=True) + message("c", b"\x00\xff"))
        assert rig.came == [("a/command", b'{"do":"stop"}', False), ("b", b"", True), ("c", b"\x00\xff", False)]
        assert rig.client.is_due(0)
        rig.sock.most = 4096
        rig.do(rig.client.flush())
        assert rig.sock.packets()[0] == (0x40, b"\x02\x01")


def test_a_message_that_is_too_long_is_skipped_acknowledged_and_counted_and_the_next_is_taken():
    rig = Rig(largest=64)
    rig.sock.most = 50
    rig.receive(message("a", b"1") + message("a", b"x" * 5000, 1, 9) + message("a", b"2"))
    assert [payload for _, payload, _ in rig.came] == [b"1", b"2"]
    assert rig.client.too_long == 1
    rig.sock.most = 4096
    rig.do(rig.client.flush())
    assert rig.sock.packets() == [(0x40, b"\x00\x09")]


def test_a_promise_is_kept_until_it_is_acknowledged_and_sent_again_over_the_next_connection():
    rig = Rig()
    for i in range(3):
        assert rig.client.promise("event", b"%d" % i)
    rig.do(rig.client.flush())
    sent = rig.sock.packets()
    assert [body[9:] for _, body in sent] == [b"0", b"1", b"2"] and {kind for kind, _ in sent} == {0x32}
    rig.receive(packet(0x40, sent[1][1][7:9]))
    rig.sock.gone = True
    assert "closed" in refused(rig.client.look, 0)
    rig.sock = Socket()
    rig.do(rig.client.connect(rig.sock))
    rig.sock.packets()
    rig.do(rig.client.flush())
    again = rig.sock.packets()
    assert [body[9:] for _, body in again] == [b"0", b"2"] and rig.client.repeated == 2
    for _, body in again:
        rig.receive(packet(0x40, body[7:9]))
    assert rig.client.waiting == [] and not rig.client.is_due(0)


def test_what_finds_the_queue_full_is_dropped_and_counted():
    rig = Rig(window=2)
    assert [rig.client.promise("event", b"x") for _ in range(5)] == [True, True, False, False, False]
    assert rig.client.dropped == 3 and len(rig.client.waiting) == 2


def test_a_long_message_goes_out_in_pieces_of_the_length_that_was_said():
    rig = Rig()
    pieces = [b"%d," % i * 40 for i in range(30)]
    assert rig.do(rig.client.publish_pieces("state", lambda: iter(pieces), True)) == sum([len(piece) for piece in pieces])
    ((kind, body),) = rig.sock.packets()
    assert kind == 0x31 and body == text("state") + b"".join(pieces)


def test_one_that_becomes_longer_meanwhile_ends_the_connection_before_it_spoils_the_next():
    rig = Rig()
    made = [[b"12"], [b"123"]]
    assert "one length" in refused(rig.do, rig.client.publish_pieces("state", lambda: iter(made.pop(0))))


def test_a_broker_that_is_silent_is_asked_for_a_sign_of_life_and_then_given_up():
    for answers in (True, False):
        rig = Rig(keepalive_s=0)
        rig.do(rig.client.flush())
        assert rig.sock.packets() == [(0xC0, b"")]
        if answers:
            rig.receive(b"\xd0\x00")
        later = time.ticks_add(time.ticks_ms(), 11000)
        if answers:
            rig.client.look(later)
        else:
            assert "silent" in refused(rig.client.look, later)


def test_a_broker_that_acknowledges_nothing_is_given_up_too():
    rig = Rig()
    rig.client.promise("event", b"1")
    rig.do(rig.client.flush())
    assert "acknowledges nothing" in refused(rig.client.look, time.ticks_add(time.ticks_ms(), 11000))


def test_bytes_that_are_no_mqtt_end_the_connection_and_nothing_else():
    for data in (
        b"\x30\xff\xff\xff\xff\x7f", b"\x30\x00", b"\x30\x01\x00", b"\x30\x05\x00\x09abc", b"\x36\x05\x00\x01abc", b"\x00\x00",
        b"\xf0\x00", packet(0x40, b"\x01"), packet(0x20, b"\x00\x00"), packet(0x90, b"\x00"), b"\x10\x00", b"\xd0\x01\x00",
        message("\x00", b"")[:3] + b"\xff\xff", packet(0x30, b"\x00\x02\xff\xfe12"), packet(0x90, b"x" * 2000),
        packet(0x30, b"\xff\xff" + b"x" * 3000),
    ):  # fmt: skip
        rig = Rig(largest=128)
        assert refused(rig.receive, data), data
        assert rig.came == []


def test_ten_thousand_bytes_of_nonsense_never_raise_anything_but_that():
    state = 12345
    for _ in range(60):
        rig = Rig(largest=64)
        data = b""
        for _ in range(40):
            state = (state * 1103515245 + 12345) & 0x3FFFFFFF
            whole = packet(0x40, b"\x00\x01") if state >> 16 & 1 else message("a", b"x" * (state >> 8 & 127), state >> 4 & 1)
            at = (state >> 7) % len(whole)
            data += whole[:at] + bytes((state >> 20 & 255,)) + whole[at + 1 :]
        rig.sock.most = 1 + (state >> 9) % 90
        try:
            rig.receive(data, 1000)
        except OSError:
            pass
        assert len(rig.came) < 41
