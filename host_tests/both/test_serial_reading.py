"""How a block of registers is read over a serial line: in few requests, as each costs a device's time to think."""

from firmware.devices.connection import reading


class Line:
    def __init__(self, baudrate):
        self.baudrate = baudrate


class Gateway:
    pass


SERIAL = {"bus": "rs485", "longest_read": 125}


def test_the_faster_the_line_the_more_is_read_along():
    gaps = [reading(SERIAL, Line(baudrate))[1] for baudrate in (1200, 9600, 19200, 38400, 115200)]
    assert gaps == sorted(gaps) and gaps[0] < 20 and gaps[2] >= 75, "the gap in an inverter's AC block (701) is 75 registers"
    assert gaps[-1] == 125, "a whole request"


def test_no_more_than_the_device_gives_in_one_answer():
    assert reading({"bus": "rs485", "longest_read": 40}, Line(115200)) == (40, 40)
    assert reading({"host": "10.0.0.2", "longest_read": 40}, Gateway()) == (40, 40)


def test_over_tcp_a_request_costs_more_than_all_it_brings_and_a_gateway_has_a_slow_line_behind_it():
    assert reading({"host": "10.0.0.2", "longest_read": 125}, Gateway()) == (125, 125)
    behind = reading({"host": "10.0.0.2", "transport": "rtu_over_tcp", "longest_read": 125}, Gateway())
    assert behind == reading(SERIAL, Line(9600))
