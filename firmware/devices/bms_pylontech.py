"""Pylontech-style battery management system on CAN: asks it, and wakes it; can_tables.py reads what it answers.

`variant` says which frames: "hv" the 29-bit high-voltage protocol (pylontech_hv.py), "lv" the 11-bit one in all its
editions (pylontech_lv.py); only that table is loaded.  Neither protocol has a command for balancing: CMD_BALANCE is left to
the BMS, whose own balancing shows in BMS_REQUESTS.
"""

from firmware import image as im
from firmware.devices.can_tables import Battery

OPTIONS = (
    ("bus", "str", "REQUIRED", 0, 0, "name of the CAN bus"),
    ("variant", ("hv", "lv"), "hv", 0, 0, "hv: 29-bit ids, high voltage; lv: 11-bit ids, below 327 V"),
    ("address", "int", 0, 0, 15, "hv: the battery's address, x in 0x421x"),
    ("period_ms", "int", 1000, 100, 60000, "ms between polls; lv: between the battery's own reports"),
    ("byte_order", ("little", "big"), "little", 0, 0, "of 16-bit values; some makers swap them"),
    ("current_offset", "int", 30000, 0, 65535, "hv: 0.1 A, the raw value that means 0 A; with 0 currents are signed"),
    ("current_positive", ("charge", "discharge"), "charge", 0, 0, "which way a positive current flows on this bus"),
    ("discharge_limit_sign", ("either", "positive", "negative"), "either", 0, 0, "sign of the discharge current limit"),
    ("current_max", "int", 1000, 1, 3000, "A; a current or limit beyond it cannot be true"),
    ("voltage_max", "int", 1500, 10, 1500, "V; a battery voltage beyond it cannot be true"),
    ("wake", "bool", True, 0, 0, "hv: wake a sleeping or empty pack when the site is started"),
    ("warnings_first", "bool", False, 0, 0, "lv: 0x359 holds its warnings before its protections (LG)"),
)


class Device(Battery):
    """One battery on one bus."""

    def __init__(self, name, options, image, buses):
        """Raises ValueError if there is no such bus."""
        Battery.__init__(self, name, options, image, buses, _variant(options["variant"]))
        self._wake = options["wake"]

    def poll(self, turn):
        """Send one period's frames; False if they did not go out."""
        return self.protocol.poll(self.bus, self._wish(), self.answers, turn)

    def _wish(self):
        """What the pack is asked for, bits: 1 wake up, from start() on; 2 close yours for a charge, with the site's contactors.

        Asleep it may say 0 V, and start() waits for a voltage before these close.  In under-voltage it has opened its own, and
        nothing but this closes them; it says itself when it is charged.
        """
        inp = self.image.inp
        now = self.image.now
        closed = now[im.CMD_CONTACTOR] == 1
        if not self._wake or not (closed or now[im.ORDER] == im.ORDER_START):
            return 0
        wish = 1 if inp[im.BMS_STATUS] == 0 else 0
        if closed and inp[im.BMS_PROTECT] > 0 and inp[im.BMS_PROTECT] & im.BMS_PROT_UNDER_V and inp[im.BMS_STATUS] != 1:
            wish |= 2
        return wish


def _variant(variant):
    """The module with the frames of `variant`; only this one is loaded."""
    if variant == "hv":
        from firmware.devices import pylontech_hv

        return pylontech_hv
    from firmware.devices import pylontech_lv

    return pylontech_lv
