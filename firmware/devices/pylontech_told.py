"""What a Pylontech battery says of itself, from its equipment frames; loaded only when somebody asks.

`hv` and `lv` take the frames in the order of their protocol's EQUIPMENT table (None for those that have not come) and
the byte order, and return a dict of what is known.
"""


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
