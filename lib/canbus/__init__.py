"""CAN for MicroPython: one interface, that of upstream's machine.CAN, over whatever controller the board has.

    import canbus
    can = canbus.open("machine", 1, 500_000)     # the port's own machine.CAN, where the firmware has it
    bus = canbus.Bus(can)                        # shares the controller between several readers
    bus.subscribe(0x4210, 0x1FFFFF0F, True, on_frame)
    asyncio.create_task(bus.run())

Back ends: "machine" (the port's machine.CAN), "twai" (the ESP32's controller through its registers, for stock
firmware, which has no CAN class) and "mcp2515" (a controller on SPI).  A back end is imported when it is opened.
"""

from canbus.bus import Bus as Bus


def open(backend, id, bitrate, mode="NORMAL", **options):
    """Open CAN controller `id` at `bitrate` (bit/s) and return an object with the interface of machine.CAN.

    `mode` is the name of one of its modes: "NORMAL", "SILENT", "LOOPBACK" or "SILENT_LOOPBACK".  `options` are
    the back end's own (pins, SPI, oscillator) besides machine.CAN's sample_point, sjw, tseg1 and tseg2.  Raises
    ValueError for an unknown back end or a value the controller cannot do, OSError where no hardware answers.
    """
    from canbus.backends import kind_of  # here: who opens all controllers at boot may let go of it

    kind = kind_of(backend)
    if not hasattr(kind, "MODE_" + mode):
        raise ValueError("mode %r: backend %s has no such mode" % (mode, backend))
    return kind(id, bitrate, mode=getattr(kind, "MODE_" + mode), **options)
