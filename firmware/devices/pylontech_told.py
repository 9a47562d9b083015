"""What a Pylontech battery says of itself, in words: its equipment, its alarms, and what it said that cannot be true.

`hv` and `lv` take the frames in the order of their protocol's EQUIPMENT table (None for those that have not come) and
the byte order, and return a dict of what is known.
"""

from firmware import image as im
from firmware.battery_words import conditions, reading


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
    """Maker (0x35E), version and nominal Ah (0x35F, or 0x379)."""
    answer = {}
    if known[0] is not None:
        answer["maker"] = _text(known[0])
    if known[1] is not None and len(known[1]) >= 6:
        answer["version"] = int.from_bytes(known[1][2:4], order)
        answer["nominal_ah"] = int.from_bytes(known[1][4:6], order)
    if known[2] is not None and len(known[2]) >= 2:
        answer["nominal_ah"] = int.from_bytes(known[2][0:2], order)
    return answer


def oddity(odd, slot, kinds):
    """One reading's last oddity in words; `odd` holds times, kind, value and id of each reading from BMS_SOC on."""
    at = 4 * (slot - im.BMS_SOC)
    return "0x%x: %s %s" % (odd[at + 3], reading(slot, odd[at + 2]), kinds[odd[at + 1]])


def oddities(odd, kinds, two):
    """Every reading that was ever odd, once each, with its times."""
    found = []
    for at in range(0, len(odd), 4):
        if odd[at]:
            found.append("%s (%d times)" % (oddity(odd, im.BMS_SOC + at // 4, kinds), odd[at]))
    if two:
        found.append("two batteries answer on this bus: their states of charge alternate")
    return found


def alarms(inp, frames, raw, order):
    """What it protects against and warns of now; a bit without a known meaning is shown with its frame."""
    told = inp[im.BMS_ALARM]
    if told <= 0 and inp[im.BMS_PROTECT] <= 0:
        return []
    found = ["protection: " + what for what in conditions(inp[im.BMS_PROTECT])]
    for what in conditions(told):
        found.append("warning: " + what)
    modules = im.BMS_PROT_MODULE_CHG | im.BMS_PROT_MODULE_DIS | im.BMS_PROT_MODULE_OFF
    for i in range(len(frames)):
        data = raw[i]
        if frames[i][0] == 0x372 and told > 0 and told & modules:
            numbers = [int.from_bytes(data[at : at + 2], order) for at in (0, 2, 4, 6)]
            found.append("modules: %d online, %d block charging, %d block discharging, %d offline" % tuple(numbers))
        elif told > 0 and told & im.BMS_PROT_OTHER and im.BMS_PROT_OTHER in frames[i][3] and any(data):
            found.append("0x%x: %s" % (frames[i][0], " ".join(["%02x" % byte for byte in data])))
    return found
