"""A bank as the cycle sees it: what hangs on one DC bus.  A site with one battery and one inverter is one bank."""

from array import array


class Bank:
    """The arrays of a bank, its mode machine, the state of its faults; batteries, inverters: banks.Parts where they are several."""

    def __init__(self, image, states, rows) -> None:
        self.image = image
        self.inp = image.inp
        self.now = image.now
        self.par = image.par
        self.states = states
        self.fault_state = array("H", [0] * len(rows))  # three numbers for each, the third the times it was raised
        self.differ = False  # conditions and faults did in the cycle before
        self.batteries = None
        self.inverters = None
        self.parts = False  # it has devices in parallel
