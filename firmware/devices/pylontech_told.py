"""What a Pylontech battery says of itself, and what was wrong with a frame, in words; loaded only when somebody asks.

`hv` and `lv` take the frames in the order of their protocol's EQUIPMENT table (None for those that have not come) and
the byte order, and return a dict of what is known.
"""

from micropython import const

_BAD_LENGTH = const(-1)  # as in bms_pylontech.py
_BAD_PAIR = const(-2)


def refused(can_id, slot, value):
    """Why a frame was refused."""
    if slot == _BAD_LENGTH:
        return "0x%x: length %d" % (can_id, value)
    if slot == _BAD_PAIR:
        return "0x%x: maximum %d below its minimum" % (can_id, value)
    return "0x%x: slot %d cannot be %d" % (can_id, slot, value)


def _text(data):
    return "".join([chr(byte) for byte in data if 32 <= byte < 127]).strip()


def hv(known, order):
    """Cells, modules, voltage, Ah (0x732x) and maker (0x733x, 0x734x)."""
    answer = {}
    sizes = known[1]
    if sizes is not None and len(sizes) == 8:
        answer["cells"] = int.from_bytes(sizes[0:2], order)
        answer["modules_in_series"] = sizes[2]
        answer["cells_per_module"] = sizes[3]
        answer["nominal_v"] = int.from_bytes(sizes[4:6], order)
        answer["nominal_ah"] = int.from_bytes(sizes[6:8], order)
    if known[2] is not None and known[3] is not None:
        answer["maker"] = _text(known[2] + known[3])
    return answer


def lv(known, order):
    """Maker (0x35E), version and nominal Ah (0x35F)."""
    answer = {}
    if known[0] is not None:
        answer["maker"] = _text(known[0])
    if known[1] is not None and len(known[1]) >= 6:
        answer["version"] = int.from_bytes(known[1][2:4], order)
        answer["nominal_ah"] = int.from_bytes(known[1][4:6], order)
    return answer
