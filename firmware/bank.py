"""A bank as the cycle sees it: what hangs on one DC bus.  A site with one battery and one inverter is one bank."""

from array import array


class Bank:
    """The arrays of a bank, its mode machine, and the state of its faults; batteries, inverters: Images where they are several."""

    def __init__(self, image, states, rows) -> None:
        self.image = image
        self.inp = image.inp
        self.now = image.now
        self.par = image.par
        self.states = states
        self.fault_state = array("i", [0] * len(rows))  # three numbers for each, the third the times it was raised
        self.batteries = image.batteries if len(image.batteries) > 1 else []
        self.inverters = image.inverters if len(image.inverters) > 1 else []
        self.parts = bool(self.batteries or self.inverters)
        self.rises = 0  # its command is on its way up, and not yet its portion
