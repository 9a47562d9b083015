"""What a battery on CAN says, in words: its alarms, and what it said that cannot be true."""

from firmware import image as im
from firmware.battery_words import conditions, reading


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
