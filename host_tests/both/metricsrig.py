"""An application with as much of it as metrics look at: a healthy site, its metering, and what services it is given."""

from looptime import LoopTime

from firmware.metering import Metering
from host_tests.both.plant import Plant


class Box:
    """A device or a bus that counts."""

    def __init__(self, **counts):
        self._counts = counts

    def counters(self):
        return self._counts


class Site:
    """Its devices and buses."""

    def __init__(self):
        self.name = 'yard "7" \\ north'
        self.buses = {"can0": Box(frames=1200, tec=3, state=None, last_error="none")}
        self.devices = {"bms": Box(frames=600, timeouts=2, oddities=[]), "pcs": Box(requests=800, note="")}


class App:
    """One site under control."""

    def __init__(self, plant=None, **services):
        self.plant = (plant or Plant()).ready()
        self.pm = self.plant.pm
        self.site = Site()
        self.services = services
        self.restarts = {"meter": 2}
        self.stopped = {}
        self.metering = Metering(50, LoopTime())
        self.metering.free_bytes = 31000
        self.metering.collections = 7
        for late_us in (0, 0, 12000, 65000):
            self.metering.add(50000 + late_us, 600)


class Memory:
    """A service that remembers energy."""

    def totals(self):
        return {"charged": 1000, "discharged": 900, "imported": 2000000000000, "exported": 0, "pv": None, "load": 5}
