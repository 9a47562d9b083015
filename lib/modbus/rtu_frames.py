"""Which bytes of an RTU stream are the answer to a request: nothing in a frame says how long it is."""

from micropython import const

from modbus.client import PDU

SHORTEST = const(5)  # unit, function, exception code, CRC


def expected_length(frame) -> int:
    """How long the answer to the request in `frame` will be at least, with unit and CRC."""
    function = frame[PDU]
    count = frame[PDU + 3] << 8 | frame[PDU + 4]
    if function == 3 or function == 4 or function == 23:
        return 5 + 2 * count
    if function <= 2:
        return 5 + (count + 7) // 8
    return SHORTEST


def fits(frame, rx, at: int) -> bool:
    """The answer at rx[at] is one to the request in `frame`, and not to an earlier one of the same function."""
    function = rx[at + 1]
    if function <= 4 or function == 23:
        return rx[at + 2] == expected_length(frame) - 5
    if function <= 22:
        return rx[at + 2] == frame[PDU + 1] and rx[at + 3] == frame[PDU + 2]
    return True


def answer_length(rx, at: int, have: int) -> int:
    """How long the answer that begins at rx[at] is, with unit and CRC; more than there is if that cannot be told."""
    function = rx[at + 1]
    if function & 0x80:
        return 5
    if function <= 4 or function == 23:
        return 5 + rx[at + 2]
    if function == 22:
        return 10
    if function == 43:
        return _identification_length(rx, at, have)
    return 8


def _identification_length(rx, at: int, have: int) -> int:
    """Function 43/14 says how many objects follow, each with its own length."""
    end = at + 8
    if end > have:
        return have - at + 1
    for _ in range(rx[at + 7]):
        if end + 2 > have:
            return have - at + 1
        end += 2 + rx[end + 1]
    return end + 2 - at
