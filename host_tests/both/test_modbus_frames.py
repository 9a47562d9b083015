"""Modbus frames on three interpreters: the CRC, bytes and words, and every answer a server can give."""

from array import array

from modbus import hot
from modbus.bank import Bank
from modbus.rtu_client import answer_length
from modbus.rtu_server import request_length
from modbus.server import HOLDING_REGISTERS, Server


def bank():
    one = Bank(holding=100, inputs=50, coils=40, discretes=40, first=10)
    for i in range(100):
        one.holding[i] = 1000 + i
    for i in range(50):
        one.inputs[i] = 2000 + i
    for i in range(40):
        one.discretes[i] = i % 3 == 0
    return one


def serve(server, pdu, unit=1):
    reply = bytearray(260)
    frame = b"???" + pdu
    length = server.serve(unit, frame, 3, len(pdu), reply, 5)
    return bytes(reply[5 : 5 + length])


def test_crc_is_the_one_of_the_specification():
    # the frame of the specification's own example, and one found in every tutorial
    assert hot.crc16(b"\x02\x07", 0, 2) == 0x1241
    assert hot.crc16(b"\x01\x03\x00\x00\x00\x0a", 0, 6) == 0xCDC5
    assert hot.crc16(b"xx\x01\x03\x00\x00\x00\x0a\xc5\xcd", 2, 10) == 0


def test_words_become_bytes_and_bytes_words():
    words = array("H", (0, 1, 0x1234, 0xFFFF))
    frame = bytearray(10)
    hot.pack(words, 4, frame, 1)
    assert bytes(frame) == b"\0\0\0\0\1\x12\x34\xff\xff\0"
    back = array("H", bytes(8))
    hot.unpack(frame, 1, 4, back)
    assert back == words


def test_bytes_move_towards_the_beginning_of_their_buffer():
    buffer = bytearray(b"abcdefgh")
    hot.move(buffer, 3, 5, buffer, 0)
    assert bytes(buffer) == b"defghfgh"


def test_registers_and_bits_are_read():
    server = Server(bank())
    assert serve(server, b"\x03\x00\x0a\x00\x02") == b"\x03\x04\x03\xe8\x03\xe9"
    assert serve(server, b"\x04\x00\x3b\x00\x01") == b"\x04\x02\x08\x01"
    assert serve(server, b"\x02\x00\x0a\x00\x0a") == b"\x02\x02\x49\x02"
    assert serve(server, b"\x01\x00\x0a\x00\x01") == b"\x01\x01\x00"


def test_writes_are_echoed_and_act():
    model = bank()
    server = Server(model)
    assert serve(server, b"\x06\x00\x0b\x12\x34") == b"\x06\x00\x0b\x12\x34"
    assert serve(server, b"\x10\x00\x0c\x00\x02\x04\x00\x07\xff\xff") == b"\x10\x00\x0c\x00\x02"
    assert list(model.holding[1:4]) == [0x1234, 7, 0xFFFF]
    assert serve(server, b"\x05\x00\x0a\xff\x00") == b"\x05\x00\x0a\xff\x00"
    assert serve(server, b"\x0f\x00\x0b\x00\x0a\x02\x05\x02") == b"\x0f\x00\x0b\x00\x0a"
    assert list(model.coils[:12]) == [1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    assert serve(server, b"\x16\x00\x0b\x00\xf2\x00\x25") == b"\x16\x00\x0b\x00\xf2\x00\x25"
    assert model.holding[1] == (0x1234 & 0xF2) | (0x25 & ~0xF2)
    assert serve(server, b"\x17\x00\x0a\x00\x02\x00\x0b\x00\x01\x02\x00\x63") == b"\x17\x04\x03\xe8\x00\x63"


def test_every_request_out_of_range_is_refused_with_its_code():
    model = bank()
    server = Server(model)
    for pdu, code in (
        (b"\x07", 1),  # no such function
        (b"\x2b\x0d\x00\x00", 1),  # no such sub-function
        (b"\x03\x00\x00\x00\x01", 2),  # before the first register
        (b"\x03\x00\x6d\x00\x02", 2),  # beyond the last
        (b"\x03\xff\xff\x00\x02", 2),  # beyond the last address
        (b"\x03\x00\x0a\x00\x00", 3),  # none
        (b"\x03\x00\x0a\x00\x7e", 3),  # 126
        (b"\x03\x00\x0a\x00", 3),  # too short
        (b"\x01\x00\x0a\x07\xd1", 3),  # 2001 bits
        (b"\x05\x00\x0a\x12\x34", 3),  # neither on nor off
        (b"\x05\x00\x0a", 3),
        (b"\x06\x00\x0a\x12", 3),
        (b"\x0f\x00\x0a\x00\x0a\x01\x05", 3),  # byte count
        (b"\x10\x00\x0a\x00\x02\x02\x00\x07", 3),  # byte count
        (b"\x10\x00\x0a\x00\x02\x04\x00\x07\xff", 3),  # too short
        (b"\x10\x00\x6d\x00\x02\x04\x00\x07\xff\xff", 2),
        (b"\x16\x00\x00\x00\xf2\x00\x25", 2),
        (b"\x16\x00\x0a\x00\xf2\x00", 3),
        (b"\x17\x00\x0a\x00\x02\x00\x00\x00\x01\x02\x00\x63", 2),
        (b"\x17\x00\x00\x00\x02\x00\x0b\x00\x01\x02\x00\x63", 2),
        (b"\x17\x00\x0a\x00\x02\x00\x0b\x00\x02\x02\x00\x63", 3),
        (b"\x2b\x0e\x05\x00", 3),
        (b"\x2b\x0e\x04\x80", 2),
    ):
        assert serve(server, pdu) == bytes((pdu[0] | 0x80, code)), (pdu, serve(server, pdu))
    assert list(model.holding) == list(range(1000, 1100)), "nothing acted"


class Picky(Bank):
    """Accepts no 13 anywhere in a write, fails on 14, and has no heap for 15 once."""

    fed = False

    def check(self, table, address, count, words):
        for i in range(count):
            if words[i] == 13:
                return 3
        return Bank.check(self, table, address, count, words)

    def write(self, table, address, count, words):
        if words[0] == 14:
            raise RuntimeError("broken")
        if words[0] == 15 and not self.fed:
            self.fed = True
            raise MemoryError
        return Bank.write(self, table, address, count, words)


def test_a_write_that_is_not_wholly_acceptable_does_not_act_at_all():
    model = Picky(holding=4)
    server = Server(model)
    assert serve(server, b"\x10\x00\x00\x00\x03\x06\x00\x01\x00\x02\x00\x0d") == b"\x90\x03"
    assert serve(server, b"\x17\x00\x00\x00\x01\x00\x00\x00\x02\x04\x00\x05\x00\x0d") == b"\x97\x03"
    assert list(model.holding) == [0, 0, 0, 0]


def test_a_model_that_fails_is_a_device_failure_and_the_server_lives():
    server = Server(Picky(holding=4))
    assert serve(server, b"\x06\x00\x00\x00\x0e") == b"\x86\x04"
    assert "broken" in server.count.last_error
    assert serve(server, b"\x06\x00\x00\x00\x0f") == b"\x86\x06", "busy: who asks again has it"
    assert serve(server, b"\x06\x00\x00\x00\x0f") == b"\x06\x00\x00\x00\x0f"


def test_units_have_models_of_their_own():
    server = Server({3: Bank(holding=1), 4: Bank(holding=2)})
    assert serve(server, b"\x03\x00\x00\x00\x02", 4) == b"\x03\x04\0\0\0\0"
    assert serve(server, b"\x03\x00\x00\x00\x02", 3) == b"\x83\x02"
    assert serve(server, b"\x03\x00\x00\x00\x01", 5) == b"\x83\x0b"
    assert server.knows(3) and not server.knows(5)


def test_broadcast_reaches_every_unit_and_only_writes():
    server = Server({3: Bank(holding=1), 4: Bank(holding=2)})
    scratch = bytearray(260)
    server.broadcast(b"\x06\x00\x00\x00\x09", 0, 5, scratch, 0)
    server.broadcast(b"\x03\x00\x00\x00\x01", 0, 5, scratch, 0)
    assert server.count.frames == 2
    assert serve(server, b"\x03\x00\x00\x00\x01", 3) == b"\x03\x02\x00\x09"
    assert serve(server, b"\x03\x00\x00\x00\x01", 4) == b"\x03\x02\x00\x09"


def test_identification_that_does_not_fit_one_answer_goes_on_in_the_next():
    texts = {0: "A" * 100, 1: "B" * 100, 2: "C" * 100}
    server = Server(Bank(), texts)
    first = serve(server, b"\x2b\x0e\x01\x00")
    assert first[:7] == b"\x2b\x0e\x01\x82\xff\x02\x02"
    assert len(first) == 7 + 2 * 102
    assert serve(server, b"\x2b\x0e\x01\x02") == b"\x2b\x0e\x01\x82\x00\x00\x01" + b"\x02\x64" + b"C" * 100


def test_serving_does_not_change_the_heap():
    try:
        import micropython

        lock, unlock = micropython.heap_lock, micropython.heap_unlock
    except (ImportError, AttributeError):
        return
    server = Server(bank())
    reply = bytearray(260)
    requests = (
        b"\x03\x00\x0a\x00\x32",
        b"\x06\x00\x0b\x12\x34",
        b"\x10\x00\x0c\x00\x02\x04\x00\x07\xff\xff",
        b"\x02\x00\x0a\x00\x0a",
        b"\x0f\x00\x0b\x00\x0a\x02\x05\x02",
        b"\x16\x00\x0b\x00\xf2\x00\x25",
        b"\x17\x00\x0a\x00\x02\x00\x0b\x00\x01\x02\x00\x63",
        b"\x03\x00\x00\x00\x01",
        b"\x07",
    )
    server.count.frames = server.count.exceptions = 0x3FFFFFFF  # an EMS that asks 100 times a second is there in four months
    server.serve(1, b"\x07", 0, 1, reply, 0)
    lock()
    try:
        for pdu in requests:
            server.serve(1, pdu, 0, len(pdu), reply, 0)
    finally:
        unlock()


def test_lengths_of_frames_are_known_from_their_beginning():
    assert request_length(b"\x01\x03\x00\x00\x00\x01\xff\xff", 0, 8) == 8
    assert request_length(b"\x01\x10\x00\x00\x00\x01\x02", 0, 7) == 11
    assert request_length(b"\x01\x10\x00\x00", 0, 4) > 4
    assert request_length(b"\x01\x17\x00\x00\x00\x01\x00\x00\x00\x01\x02", 0, 11) == 15
    assert answer_length(b"\x01\x03\x14", 0, 3) == 25
    assert answer_length(b"\x01\x83\x02", 0, 3) == 5
    assert answer_length(b"\x01\x10\x00\x00", 0, 4) == 8
    text = b"\x01\x2b\x0e\x01\x01\x00\x00\x02\x00\x02AB\x01\x03CDE"
    assert answer_length(text, 0, len(text)) == len(text) + 2
    assert answer_length(text, 0, len(text) - 4) > len(text) - 4


def test_bank_tells_of_writes():
    told = []
    model = Bank(holding=10)
    model.written = lambda *what: told.append(what)
    serve(Server(model), b"\x10\x00\x04\x00\x02\x04\x00\x07\xff\xff")
    assert told == [(HOLDING_REGISTERS, 4, 2)]
