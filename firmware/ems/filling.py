"""What the EMS's chain says from the beginning, and what the site's size makes of it: needed while a site is built only."""

from array import array

from micropython import const

from firmware import image as im
from firmware.ems import tables as t
from modbus import registers as rows

_MOST_W = const(30000)  # of the rating in an int16: room for what is measured beyond it
_MOST_WH = const(65000)


def fill(registers, own, par, texts: "tuple[str, str, str, str]", unit: int) -> array:
    """What is kept, as it is before anything is written; the divisors of modbus.registers.fill.

    texts: manufacturer, model, version and serial number; unit: the one that answers.
    """
    index = 0
    for i in range(0, len(t.KEPT), 3):
        rows.expand(t.INITIAL, t.KEPT[i] << 8 | t.KEPT[i + 1], t.KEPT[i + 2], registers, index)
        index += t.KEPT[i + 2]
    for place, text in zip((t.MN, t.MD, t.VR, t.SN), texts):
        data = text.encode()[: 16 if place == t.VR else 32]
        for i in range(len(data)):
            registers[place + i // 2] |= data[i] << (0 if i & 1 else 8)
    registers[t.DA] = unit
    registers[t.FROM_GRID] = par[im.PAR_GRID_CHG]  # what is configured, until the EMS writes something else
    registers[t.RSV_MIN] = par[im.PAR_SOC_MIN]
    registers[t.RSV_MAX] = par[im.PAR_SOC_MAX]
    registers[t.RAMP] = min(65534, max(1, par[im.PAR_RAMP_UP] * 100 // max(1, par[im.PAR_P_DIS])))
    own[t.O_PORT] = own[t.O_PORTS] = 1
    own[t.O_PORTS_LENGTH] = t.PORTS_LENGTH
    return _scale(own, par)


def _scale(own, par) -> array:
    """The scale factors that the site's power and its energy need."""
    divisors = array("i", (1, 10, 100, 1000, 10000, 100000, 1, 1))
    most = max(par[im.PAR_P_CHG], par[im.PAR_P_DIS])
    for i, value, bound, place in ((6, most, _MOST_W, t.O_POWER_FACTOR), (7, par[im.PAR_ENERGY], _MOST_WH, t.O_ENERGY_FACTOR)):
        power = 0
        while value > bound:
            value //= 10
            power += 1
        divisors[i] = 10**power
        own[place] = power
    return divisors


def limits(chain) -> array:
    """The lowest and the highest value of each of tables.R_*, as the site has them."""
    par = chain.image.par
    limits = array("i", [0] * (2 * (t.R_DROOP + 1)))
    for kind, low, high in (
        (t.R_SWITCH, 0, 1),
        (t.R_ON, 1, 1),
        (t.R_PERCENT, 0, 10000),
        (t.R_SIGNED_PERCENT, -10000, 10000),
        (t.R_WATTS, -par[im.PAR_P_CHG], par[im.PAR_P_DIS]),
        (t.R_SECONDS, 0, 1000000),
        (t.R_RAMP, 1, max(1, chain.registers[t.RAMP])),
        (t.R_TWO_BITS, 0, 3),
        (t.R_CONNECT, 1, 2),
        (t.R_CURVE, 1, 2),
        (t.R_GRID, 0, par[im.PAR_GRID_CHG]),
        (t.R_PLAIN, 0, 65534),
        (t.R_VOLTS, 0, 3000),
        (t.R_POINTS_4, 1, 4),
        (t.R_POINTS_2, 1, 2),
        (t.R_POINTS_6, 1, 6),
        (t.R_REFERENCE, 0, 3),
        (t.R_REACTIVE, -1000, 1000),
        (t.R_SIGNED, -0x7FFF, 0x7FFF),
        (t.R_LONG, 0, 1000000),
        (t.R_MODE_2, 0, 1),
        (t.R_DROOP, 1, 65534),
    ):
        limits[2 * kind] = low
        limits[2 * kind + 1] = high
    return limits


def serial() -> str:
    """The chip's own number, as text; "0" where it has none."""
    try:
        from machine import unique_id

        return "".join(["%02x" % byte for byte in unique_id()])
    except (ImportError, AttributeError):
        return "0"
