"""The ESP32 family around its CAN controller (TWAI): clock, reset, pins through the GPIO matrix.

Addresses and bits are those of Espressif's technical reference manuals (ESP32: DPORT_PERIP_CLK_EN/RST_EN;
ESP32-S3 and ESP32-C3: SYSTEM_PERIP_CLK_EN0/RST_EN0, bit 19 in all of them).
"""

import os

from micropython import const

CLOCK_HZ = const(80000000)  # APB, from which the TWAI's quanta are made
_TWAI_BIT = const(19)

# chip -> TWAI registers, clock enable, reset, GPIO matrix input select, output select, "through the matrix" bit,
# input signal, output signal, largest prescaler, whether it is the first ESP32 with its layout bit and errata
CHIPS = {
    "esp32": (0x3FF6B000, 0x3FF000C0, 0x3FF000C4, 0x3FF44130, 0x3FF44530, 7, 94, 123, 128, True),
    "esp32s3": (0x6002B000, 0x600C0018, 0x600C0020, 0x60004154, 0x60004554, 7, 116, 116, 16384, False),
    "esp32c3": (0x6002B000, 0x600C0010, 0x600C0018, 0x60004154, 0x60004554, 6, 74, 74, 16384, False),
}


def this_chip():
    """The key of CHIPS for the chip we run on.  Raises ValueError on any other."""
    # "Generic ESP32S3 module with ESP32S3"; a simulated board has no uname
    name = os.uname().machine.lower().split()[-1] if hasattr(os, "uname") else "simulated"
    if name.startswith("esp32-"):  # packages of the first chip: ESP32-PICO-D4, ESP32-D0WD
        name = "esp32"
    if name not in CHIPS:
        raise ValueError("backend 'twai': chip %r, known are %s" % (name, ", ".join(sorted(CHIPS))))
    return name


class Esp32Port:
    """Clock, reset and pins of one chip.  `memory` is machine.mem32 or something that behaves like it."""

    def __init__(self, chip=None, memory=None):
        if memory is None:
            from machine import mem32 as memory
        row = CHIPS[chip or this_chip()]
        self.registers = row[0]
        self.prescaler_most = row[8]
        self.first = row[9]
        self._row = row
        self._memory = memory

    def _set(self, address, on):
        """Set or clear the TWAI's bit; read until two reads agree: the other core may disturb one (CPU-3.10)."""
        memory = self._memory
        value = memory[address]
        while memory[address] != value:
            value = memory[address]
        bit = 1 << _TWAI_BIT
        memory[address] = value | bit if on else value & (0xFFFFFFFF ^ bit)

    def power(self, on):
        """Clock the controller and take it out of reset, or stop its clock."""
        self._set(self._row[1], on)
        self._set(self._row[2], not on)

    def reset(self):
        """Pulse the controller's reset: every register and the FIFO start anew."""
        self._set(self._row[2], True)
        self._set(self._row[2], False)

    def route(self, tx_pin, rx_pin):
        """Connect the controller to its pins through the GPIO matrix.  Raises ValueError for pins not given."""
        if tx_pin < 0 or rx_pin < 0:
            raise ValueError("tx_pin %d, rx_pin %d: the twai back end needs both" % (tx_pin, rx_pin))
        from machine import Pin

        row = self._row
        Pin(tx_pin, Pin.OUT, value=1)  # recessive, until the controller drives it
        Pin(rx_pin, Pin.IN, Pin.PULL_UP)  # an unplugged transceiver reads recessive
        self._memory[row[3] + 4 * row[6]] = rx_pin | 1 << row[5]
        self._memory[row[4] + 4 * tx_pin] = row[7]
