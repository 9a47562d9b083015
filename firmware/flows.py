"""Grid connection types and power flow directions: the codes of the kernels site_limits and flow, with names."""

from firmware.names import Names


class Grid(Names):
    """How the site is joined to the grid; what each allows is in kernel/site_limits.py and docs/product.md."""

    ISOLATED = 0
    BACKUP = 1
    INTERACTIVE = 2
    EXPORT = 3
    names = ("ISOLATED", "BACKUP", "INTERACTIVE", "EXPORT")


class Flow(Names):
    """Where the power goes, from measured battery, grid, load and PV power."""

    NONE = 0
    GRID_TO_BATTERY = 1
    BATTERY_TO_GRID = 2
    GRID_TO_LOAD = 3
    BATTERY_TO_LOAD = 4
    MIXED = 5
    PV_TO_LOAD = 6
    PV_TO_BATTERY = 7
    PV_TO_GRID = 8
    names = (
        "NONE",
        "GRID_TO_BATTERY",
        "BATTERY_TO_GRID",
        "GRID_TO_LOAD",
        "BATTERY_TO_LOAD",
        "MIXED",
        "PV_TO_LOAD",
        "PV_TO_BATTERY",
        "PV_TO_GRID",
    )


# the bits of image.FLOW_PATHS: several can carry power at once
PATHS = (
    (1, "GRID_TO_BATTERY"),
    (2, "BATTERY_TO_GRID"),
    (4, "GRID_TO_LOAD"),
    (8, "BATTERY_TO_LOAD"),
    (16, "PV_TO_LOAD"),
    (32, "PV_TO_BATTERY"),
    (64, "PV_TO_GRID"),
)
