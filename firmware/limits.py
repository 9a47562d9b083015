"""The limit list: every reason that can bound the power, in the order in which an equal bound is blamed.

To add a limit: one name here, `make slots`, and one line in kernel/battery_limits.py or kernel/site_limits.py.  Each row is
published in the image in W for both directions; the smallest binds and its name is the reason people see.
"""

from firmware import image as im

NAMES = (  # at most 24
    "mode",  # the mode moves nothing (STANDBY, EMERGENCY), or little (MAINTENANCE)
    "fault",  # a fault forbids this direction
    "missing_data",  # something this direction depends on is not heard, stale or not plausible
    "bms_forbids",  # the BMS says no, or one of its protections has tripped
    "pcs",  # the inverter's rating now, and whether it can switch
    "soc",  # taper to the floor or the ceiling
    "cell_voltage",  # what the worst cell leaves
    "pack_voltage",  # what the pack's cut-off voltage leaves
    "temperature",  # derating at both ends
    "bms_current",  # the BMS's current limit x voltage
    "grid_connection",  # the type of grid connection, and the grid's presence
    "export",  # export at the point of connection
    "operation",  # power and current of the charge or discharge parameters
    "remote",  # limit() and curtail(): curtailment by an EMS, a grid operator, a tariff, a person
    "configuration",  # max_charge_power, max_discharge_power
    "banks",  # what several banks give together, each inside its own limits
)

def published(image) -> "list[tuple[str, int, int]]":
    """Every limit of a site or bank now: (name, discharge W, charge W); a row that limits nothing says image.FREE."""
    now = image.now
    rows = [(NAMES[i], now[im.LIMIT_ROWS_DIS + i], now[im.LIMIT_ROWS_CHG + i]) for i in range(len(NAMES))]
    return rows if image.divided else [row for row in rows if row[0] != "banks"]
