"""What people see of one of several banks; a site that is one bank does not load it."""

from firmware import believed, faults, reasons
from firmware import image as im
from firmware.limits import NAMES
from firmware.modes import Mode
from firmware.reports import Instant, number


class BankInstant(Instant):
    """An Instant of one of several banks: its own image, and who asks as the site has it."""

    def __init__(self, site: Instant, bank) -> None:
        self.now = bank.now[: im.LIMIT_ROWS_DIS]
        self.par = bank.par[:]
        self.told = believed.told(self.now, self.par)
        self.places = bank.places
        self.name = bank.name
        self.claims = site.claims
        self.owners = site.owners
        self.curtailed = site.curtailed
        self.forbids_grid = site.forbids_grid
        self.refused = ""
        self.barred = [each.barred for each in bank.inverters]
        self.stays = "the site stands by" if site.now[im.MODE] == Mode.STANDBY else ""
        self.clock = site.clock
        self.banks = self.batteries = self.inverters = []
        parallel = bank.inverters if len(bank.inverters) > 1 else ()
        self.parallel = [(each.name, each.now[im.AGE + im.SEQ_PCS], each.now[im.PCS_STATE]) for each in parallel]

    def figures(self) -> dict:
        """The bank in a few figures, in the units of stats(): what it does, what it may do, and why."""
        now = self.now
        return {
            "name": self.name,
            "mode": Mode.name(now[im.MODE]),
            "soc": number(now[im.SOC], 100),
            "power": number(self.told[im.PCS_P], 1000),
            "command": now[im.CMD_P] / 1000,
            "limit_discharge": now[im.LIMIT_DIS] / 1000,
            "limit_charge": now[im.LIMIT_CHG] / 1000,
            "why_discharge": NAMES[now[im.WHY_DIS]],
            "why_charge": NAMES[now[im.WHY_CHG]],
            "faults": faults.names(now[im.FAULTS]),
            "reason": reasons.of_bank(self),
        }
