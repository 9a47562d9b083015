"""What people may bound a site's power to, over the page and MQTT; sites that have neither do not load it."""

from firmware import image as im
from firmware.errors import in_range


def bound(par, name: str, kw) -> float:
    """discharge_kw or charge_kw of a limit that somebody asks for.  PowerError for more than the site has: it would be believed."""
    return in_range(name, kw, 0, par[im.PAR_P_CHG if name == "charge_kw" else im.PAR_P_DIS] / 1000, "kW")
