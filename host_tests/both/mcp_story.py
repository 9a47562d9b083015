"""A day in the life of an MCP2515 driver, told twice: beside the emulated chip, and from the record of its SPI bus."""


def story(can, world):
    """Drive `can` through setting up, filters, sending, receiving, errors; world(n) lets things happen outside.

    Returns what a caller saw: it must be the same on every interpreter.
    """
    seen = []
    message = [0, memoryview(bytearray(8)), 0, 0]

    def read():
        while can.recv(message) is not None:
            seen.append((message[0], bytes(message[1]).hex(), message[2], message[3]))

    can.set_filters(None)
    world(0)
    read()
    can.set_filters([(0x351, 0x7FF, 0), (0x4200, 0x1FFFFF0F, can.FLAG_EXT_ID)])
    world(1)
    read()
    seen.append(can.send(0x4200, b"\0" * 8, can.FLAG_EXT_ID))
    seen.append(can.send(0x305, b"12345678"))
    seen.append(can.send(0x306, b"", can.FLAG_RTR))
    seen.append(can.send(0x100, b"first?"))
    world(2)
    read()
    seen.append(can.state())
    world(3)
    for _ in range(3):
        read()
        seen.append(can.get_counters())
    seen.append(can.get_timings())
    seen.append(can.cancel_send(7))
    for n in range(4, 8):
        world(n)
        read()
        seen.append(can.state())
    can.restart()
    world(8)
    seen.append(can.get_counters())
    can.deinit()
    seen.append(can.state())
    can.init(250000, sample_point=80)
    seen.append(can.get_timings())
    return seen
